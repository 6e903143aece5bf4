//! `narrows diagnose`.

use std::path::PathBuf;

use narrows::analysis::diagnose::{Diagnosis, Recovery};
use narrows::data::Samples;
use narrows::error::Result;
use narrows::model::Blob;
use narrows::recipe::Bundled;
use narrows::{analysis, data};
use serde_json::json;

/// Say whether a model copies or has learnt
///
/// The model is given its training data, unseen data, the same with their pixels shuffled, and white noise; and it is held
/// against principal component analysis with the same code size.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows diagnose vanilla.narrows --data fashion-mnist
  narrows diagnose mine.narrows --data pictures.npz --json")]
pub(super) struct Arguments {
    /// A blob
    model: PathBuf,
    /// What it was trained on and, best, test data: a folder with MNIST's four IDX files, or a file: .npy, .npz or IDX
    /// [default: the pictures that come with the program]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    reading: super::DataArguments,
    #[command(flatten)]
    threads: super::Threads,
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let blob = Blob::read(&self.model)?;
        let model = blob.model()?;
        let place = match &self.data {
            Some(path) => path.display().to_string(),
            None => "bundled data".into(),
        };
        let (train, test) = match &self.data {
            Some(path) => self.reading.samples(path, &model)?,
            None => {
                let raw = data::bundled::load(Bundled::default())?;
                let preprocessing = self.reading.preprocessing(&model);
                analysis::samples(raw, &model.network, preprocessing, &place)?
            }
        };
        let (train, unseen) = match train {
            Some(train) => (train, Some(test)),
            None => (test, None),
        };
        let same_data = train.digest()? == model.header.provenance.data_digest;
        let unseen = unseen.as_ref().map(Samples::to_vec).transpose()?;
        let found = Diagnosis::of(
            &self.threads.executor()?,
            &model,
            &train.to_vec()?,
            unseen.as_deref(),
        )?;
        let verdict = found.verdict();
        if json {
            let recovery = |recovery: Recovery| json!({ "mse": recovery.error, "variance": recovery.variance, "share": recovery.share() });
            return super::print(json!({
                "verdict": verdict.name(), "words": verdict.to_string(), "reasons": found.reasons(),
                "undercomplete": found.is_undercomplete(), "input": found.input_len, "code": found.code_len,
                "train": recovery(found.train), "unseen": found.unseen.map(recovery),
                "shuffled": recovery(found.shuffled), "noise": recovery(found.noise), "pca": recovery(found.linear),
                "inactive_units": found.inactive_units, "constant_units": found.constant_units,
                "code_mean_abs": found.code_mean_abs, "code_zero_share": found.code_zero_share,
                "trained_on_these_data": same_data,
            }));
        }
        super::print(verdict)?;
        for reason in found.reasons() {
            super::print(format!("- {reason}"))?;
        }
        if !same_data {
            super::print(format!(
                "- It was not trained on exactly the data of {place}, so its \"training data\" here may be unseen ones."
            ))?;
        }
        super::print("")?;
        super::print(format!(
            "{:<16} {:>10} {:>10} {:>11}",
            "", "error", "variance", "given back"
        ))?;
        let line = |name: &str, recovery: Recovery| {
            super::print(format!(
                "{name:<16} {:>10.6} {:>10.6} {:>9.1} %",
                recovery.error,
                recovery.variance,
                100.0 * recovery.share()
            ))
        };
        line("training data", found.train)?;
        found
            .unseen
            .map_or(Ok(()), |unseen| line("unseen data", unseen))?;
        line("shuffled pixels", found.shuffled)?;
        line("white noise", found.noise)?;
        line("PCA, the data", found.linear)
    }
}
