//! `narrows train`.

use std::path::PathBuf;
use std::process::ExitCode;

use narrows::data::{self, Reading};
use narrows::error::Result;
use narrows::model::Blob;
use narrows::recipe::Plan;
use narrows::train::{Checkpoint, Epoch, Progress, Record, StageEnd, Warning, Watcher};
use narrows::{files, train, weights};
use serde_json::json;

use super::progress::{Console, stop_on_ctrl_c};

/// Train a network and write it as a blob
///
/// Ctrl-C ends the run at the next batch and saves a checkpoint, as does every epoch; with --resume the run goes on, to
/// the same bits as one that was never stopped.
///
/// A recipe's network may name its code layer. Where it does not, the code is the layer in the middle.
///
/// Beside the model and the checkpoint, NAME.run.json tells of every epoch; `narrows report` draws it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows train vanilla
  narrows train denoising --data fashion-mnist --epochs 20 --out models
  narrows train denoising --data noisy.npy --target clean.npy
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
    /// What the network is to make of each sample, in the same order: clean ones for noisy ones, say
    #[arg(long, value_name = "DATA", requires = "data")]
    target: Option<PathBuf>,
    /// The columns of a CSV that are taken [default: the recipe's, or all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    columns: Vec<String>,
    /// The column of a CSV that has the labels [default: the recipe's]
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// Times that each sample is seen
    #[arg(long, value_name = "N", value_parser = super::at_least_one::<u32>)]
    epochs: Option<u32>,
    /// Steps after which the run ends
    #[arg(long, value_name = "N", value_parser = super::at_least_one::<u64>)]
    steps: Option<u64>,
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
    #[arg(long, conflicts_with = "from")]
    resume: bool,
    /// Start with the weights that `narrows export` or NumPy wrote
    #[arg(long, value_name = "WEIGHTS.npz")]
    from: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<ExitCode> {
        let mut recipe = super::recipe(&self.recipe)?;
        for training in recipe.trainings_mut() {
            training.epochs = self.epochs.unwrap_or(training.epochs);
            training.batch_size = self.batch.unwrap_or(training.batch_size);
            training.steps = self.steps.or(training.steps);
        }
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        if !self.columns.is_empty() {
            recipe.data.columns.clone_from(&self.columns);
        }
        if self.label.is_some() {
            recipe.data.label.clone_from(&self.label);
        }
        let plan = recipe.plan()?;
        let (raw, place) = data::load_for(&plan, self.data.as_deref())?;
        let data = match &self.target {
            None => raw.training_data(&plan, &place)?,
            Some(path) => {
                let targets = data::load(path, &Reading::of_plan(&plan))?;
                let targets_place = path.display().to_string();
                raw.training_pairs(targets, &plan, [&place, &targets_place])?
            }
        };
        let checkpoint = self.out.join(format!("{}.checkpoint", recipe.name));
        let model = self.out.join(format!("{}.narrows", recipe.name));
        let from = if self.resume {
            Some(Checkpoint::load(&checkpoint, &plan, &data)?)
        } else if let Some(path) = &self.from {
            let weights = weights::load(path, plan.network())?;
            Some(Checkpoint::start(&plan, &data, weights)?)
        } else {
            None
        };
        let samples = train::epoch_len(&plan, &data)?;
        files::make_folder(&self.out)?;

        stop_on_ctrl_c()?;
        let executor = self.threads.executor()?;
        let run = self.out.join(format!("{}.run.json", recipe.name));
        let mut record = Record::new(
            &plan,
            place,
            self.threads.count(),
            executor.vectors().to_string(),
        );
        if let Some(from) = from.as_ref().filter(|_| self.resume) {
            record.resume(&plan, &run, from);
        }
        let mut keeper = Keeper {
            console: Console::new(&plan, samples, json, Some(checkpoint.clone())),
            plan: &plan,
            record,
            path: run,
        };
        let outcome = executor.enter(|| train::run(&executor, &plan, &data, from, &mut keeper));
        keeper.console.finish();
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
            data.digest()?,
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

/// Shows a run, and keeps its record.
struct Keeper<'a> {
    console: Console,
    plan: &'a Plan<'a>,
    record: Record,
    path: PathBuf,
}

impl Watcher for Keeper<'_> {
    fn step(&mut self, progress: Progress) {
        self.console.step(progress);
    }

    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        self.record.epoch(self.plan, epoch);
        self.record.save(&self.path)?;
        self.console.epoch(epoch)
    }

    fn stage_end(&mut self, end: &StageEnd) -> Result<()> {
        self.record.stage_end(self.plan, end);
        self.record.save(&self.path)?;
        self.console.stage_end(end)
    }

    fn warn(&mut self, warning: &Warning) -> Result<()> {
        if !self.record.warnings.contains(warning) {
            self.record.warnings.push(warning.clone());
        }
        self.console.warn(warning)
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.record.data_digest = checkpoint.data_digest;
        self.console.checkpoint(checkpoint)
    }

    fn wants_checkpoint(&self) -> bool {
        self.console.wants_checkpoint()
    }

    fn stop(&self) -> bool {
        self.console.stop()
    }
}
