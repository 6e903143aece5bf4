//! `narrows eval`.

use std::path::PathBuf;

use narrows::confusion::Confusion;
use narrows::error::{Error, Result};
use narrows::evaluate::{Quality, evaluate};
use narrows::model::Blob;
use narrows::recipe::{Plan, Recipe};
use serde_json::json;

/// Say how well a model gives back samples, or how often it gives their labels
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows eval vanilla.narrows fashion-mnist
  narrows eval denoising.narrows pictures.npy --noise denoising
  narrows eval heart.narrows recording.npy --step 90 --json")]
pub(super) struct Arguments {
    /// A blob
    model: PathBuf,
    /// A folder with MNIST's IDX files, of which the test pictures are taken, or with PNG and JPEG, or a file: .npy, .npz,
    /// IDX, WAV or .csv
    data: PathBuf,
    /// Corrupt the samples first, as the training with this preset or recipe does
    #[arg(long, value_name = "PRESET|RECIPE.toml")]
    noise: Option<String>,
    #[command(flatten)]
    reading: super::DataArguments,
    #[command(flatten)]
    threads: super::Threads,
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let blob = Blob::read(&self.model)?;
        let model = blob.model()?;
        let recipe = self.noise.as_deref().map(super::recipe).transpose()?;
        let plan = recipe.as_ref().map(Recipe::plan).transpose()?;
        let noise = match &plan {
            None => None,
            Some(plan) => Some((
                plan.noise().ok_or_else(|| without_noise(plan))?,
                plan.recipe().seed,
            )),
        };
        let (_, samples) = self.reading.samples(&self.data, &model)?;
        if model.network.output().len() != model.network.input().len() {
            let confusion = Confusion::of(&self.threads.executor()?, &model, &samples)?;
            return super::print(if json {
                json!({ "samples": samples.len(), "accuracy": confusion.accuracy(), "confusion": confusion })
                    .to_string()
            } else {
                let head = format!(
                    "{} samples\naccuracy {:.2} %; rows are labels, columns answers",
                    samples.len(),
                    100.0 * confusion.accuracy()
                );
                [vec![head], super::matrix(&confusion)].concat().join("\n")
            });
        }
        let found = evaluate(&self.threads.executor()?, &model, &samples, noise)?;
        if json {
            let quality = |quality: Quality| json!({ "mse": quality.mean_squared_error, "psnr": quality.psnr() });
            let label = |(label, found): &(u8, Quality)| json!({ "label": label, "mse": found.mean_squared_error });
            return super::print(json!({
                "samples": found.samples,
                "noisy": found.noisy.map(quality),
                "answers": quality(found.answers),
                "labels": found.labels.iter().map(label).collect::<Vec<_>>(),
            }));
        }
        let line = |what: &str, quality: Quality| {
            super::print(format!(
                "{what:<10} error {:.6}   PSNR {:.2} dB",
                quality.mean_squared_error,
                quality.psnr()
            ))
        };
        super::print(format!("{} samples", found.samples))?;
        if let Some(noisy) = found.noisy {
            line("noisy", noisy)?;
        }
        line("answers", found.answers)?;
        for (label, quality) in found.labels {
            line(&format!("label {label}"), quality)?;
        }
        Ok(())
    }
}

fn without_noise(plan: &Plan<'_>) -> Error {
    Error::Plan {
        recipe: plan.recipe().name.clone(),
        problem: "training.noise: expected the noise of --noise, but none came".into(),
    }
}
