//! `narrows train`.

use std::path::PathBuf;
use std::process::ExitCode;

use narrows::data::{self, Reading};
use narrows::error::Result;
use narrows::model::Blob;
use narrows::train::Checkpoint;
use narrows::{files, train};
use serde_json::json;

use super::progress::{Console, stop_on_ctrl_c};

/// Train a network and write it as a blob
///
/// Ctrl-C ends the run at the next batch and saves a checkpoint, as does every epoch; with --resume the run goes on, to
/// the same bits as one that was never stopped.
///
/// A recipe's network may name its code layer. Where it does not, the code is the first of the narrowest layers before
/// the last one.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows train vanilla
  narrows train denoising --data fashion-mnist --epochs 20 --out models
  narrows preset convolutional > mine.toml
  narrows train mine.toml --data pictures.npz
  narrows train mine.toml --data pictures.npz --epochs 10 --resume")]
pub(super) struct Arguments {
    /// A preset (see `narrows preset`) or a file with a recipe
    #[arg(value_name = "PRESET|RECIPE.toml")]
    recipe: String,
    /// A folder with MNIST's four IDX files or with PNG and JPEG, or a file: .npy, .npz, IDX, WAV or .csv [default: what comes with the program]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Times that each sample is seen
    #[arg(long, value_name = "N", value_parser = super::at_least_one::<u32>)]
    epochs: Option<u32>,
    /// Samples a step
    #[arg(long, value_name = "N", value_parser = super::at_least_one::<usize>)]
    batch: Option<usize>,
    #[command(flatten)]
    threads: super::Threads,
    /// Behind every random draw
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where NAME.narrows and NAME.checkpoint are written
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Go on from the checkpoint in the folder of --out
    #[arg(long)]
    resume: bool,
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<ExitCode> {
        let mut recipe = super::recipe(&self.recipe)?;
        recipe.training.epochs = self.epochs.unwrap_or(recipe.training.epochs);
        recipe.training.batch_size = self.batch.unwrap_or(recipe.training.batch_size);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        let plan = recipe.plan()?;
        let (raw, place) = match &self.data {
            Some(path) => (
                data::load(path, &Reading::of_plan(&plan))?,
                path.display().to_string(),
            ),
            None => (
                data::bundled::load(recipe.data.bundled)?,
                "bundled data".into(),
            ),
        };
        let data = raw.training_data(&plan, &place)?;
        let checkpoint = self.out.join(format!("{}.checkpoint", recipe.name));
        let model = self.out.join(format!("{}.narrows", recipe.name));
        let from = if self.resume {
            Some(Checkpoint::load(&checkpoint, &plan, &data)?)
        } else {
            None
        };
        files::make_folder(&self.out)?;

        stop_on_ctrl_c()?;
        let executor = self.threads.executor()?;
        let mut console = Console::new(
            recipe.training.epochs,
            data.train.len(),
            json,
            Some(checkpoint.clone()),
        );
        let outcome = executor.enter(|| train::run(&executor, &plan, &data, from, &mut console));
        console.finish();
        let outcome = outcome?;
        if outcome.stopped {
            super::print(if json {
                json!({ "stopped": true, "checkpoint": checkpoint }).to_string()
            } else {
                format!("stopped; --resume goes on from {}", checkpoint.display())
            })?;
            return Ok(ExitCode::from(130));
        }
        let blob = Blob::export(
            &executor,
            &plan,
            &outcome.parameters,
            data.train.digest()?,
            &model,
        )?;
        blob.save()?;
        let (parameters, bytes) = (outcome.parameters.len(), blob.bytes().len());
        super::print(if json {
            json!({ "model": model, "parameters": parameters, "bytes": bytes }).to_string()
        } else {
            format!(
                "{}: {parameters} parameters, {bytes} bytes",
                model.display()
            )
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
