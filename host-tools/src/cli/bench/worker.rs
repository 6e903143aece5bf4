//! This program's side of a comparison; `tests/peers/side.py` says how a side is driven.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Instant;

use narrows::data::{self, Data, Reading};
use narrows::error::{Error, Result};
use narrows::processor::Desktop;
use narrows::recipe::{Plan, Preset, Recipe};
use narrows::train;
use narrows_core::inference::{Inference, workspace_len};
use narrows_core::network::Part;
use serde_json::json;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[arg(long)]
    work: Work,
    #[arg(long)]
    network: String,
    #[arg(long)]
    batch: usize,
    #[command(flatten)]
    threads: super::super::Threads,
    #[arg(long)]
    data: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Work {
    Train,
    Encode,
    Reconstruct,
}

impl Arguments {
    pub(super) fn run(self) -> Result<()> {
        let recipe = Preset::find(&self.network)?.recipe()?;
        let raw = data::load(&self.data, &Reading::of_plan(&recipe.plan()?))?;
        let loaded = Instant::now();
        let executor = self.threads.executor()?;
        let place = self.data.display().to_string();
        let mut data = raw.training_data(&recipe.plan()?, &place)?;
        data.validation = None;
        let (part, first) = match self.work {
            Work::Train => {
                let first = train(&executor, &recipe, &data, 1, self.batch)?;
                (None, Some(first.end.duration_since(loaded).as_secs_f64()))
            }
            Work::Encode => (Some(Part::Encode), None),
            Work::Reconstruct => (Some(Part::Reconstruct), None),
        };
        super::super::print(json!({
            "version": env!("CARGO_PKG_VERSION"), "first_batch_seconds": first,
        }))?;
        let plan = recipe.plan()?;
        let mut inference = match part {
            None => None,
            Some(part) => Some(Passes::new(&plan, part, data.train.to_vec()?)),
        };
        for line in std::io::stdin().lines() {
            let line = line.unwrap_or_default();
            let Some((steps, batch)) = go(&line) else {
                return Err(Error::Unknown(format!(
                    "standard input: expected \"go STEPS BATCH\", but {line:?} came"
                )));
            };
            let rate = match &mut inference {
                None => rate(&executor, &recipe, &data, steps, batch)?,
                Some(passes) => passes.rate(&executor, steps, batch)?,
            };
            let peak = peak_rss_bytes();
            super::super::print(json!({ "samples_per_second": rate, "peak_rss_bytes": peak }))?;
        }
        Ok(())
    }
}

/// The two numbers of a line, both at least one.
fn go(line: &str) -> Option<(usize, usize)> {
    let (steps, batch) = line.strip_prefix("go ")?.split_once(' ')?;
    let (steps, batch) = (steps.parse().ok()?, batch.parse().ok()?);
    (steps > 0 && batch > 0).then_some((steps, batch))
}

/// Trains from the start for some steps: samples a second.
pub(super) fn rate(
    executor: &Desktop,
    recipe: &Recipe,
    data: &Data,
    steps: usize,
    batch: usize,
) -> Result<f64> {
    let stopwatch = train(executor, recipe, data, steps, batch)?;
    let seconds = stopwatch.end.duration_since(stopwatch.start.get());
    Ok(stopwatch.samples as f64 / seconds.as_secs_f64())
}

fn train(
    executor: &Desktop,
    recipe: &Recipe,
    data: &Data,
    steps: usize,
    batch: usize,
) -> Result<Stopwatch> {
    let mut recipe = recipe.clone();
    recipe.training.batch_size = batch;
    recipe.training.epochs = u32::MAX;
    let plan = recipe.plan()?;
    let mut stopwatch = Stopwatch {
        steps,
        left: steps,
        start: Cell::new(Instant::now()),
        end: Instant::now(),
        samples: 0,
        at: (0, 0),
    };
    executor.enter(|| train::run(executor, &plan, data, None, &mut stopwatch))?;
    Ok(stopwatch)
}

/// Stops a run after some steps, takes their time, and counts their samples: an epoch may end with a smaller batch.
struct Stopwatch {
    steps: usize,
    left: usize,
    /// Of the first step.
    start: Cell<Instant>,
    /// Of the last.
    end: Instant,
    samples: usize,
    /// The epoch, and how many of its samples are behind.
    at: (u32, usize),
}

impl train::Watcher for Stopwatch {
    fn step(&mut self, progress: train::Progress) {
        let (epoch, samples) = (progress.epoch, progress.samples);
        let before = if self.at.0 == epoch { self.at.1 } else { 0 };
        self.samples += samples - before;
        self.at = (epoch, samples);
        self.left -= 1;
        if self.left == 0 {
            self.end = Instant::now();
        }
    }

    fn stop(&self) -> bool {
        // It is asked before every step.
        if self.left == self.steps {
            self.start.set(Instant::now());
        }
        self.left == 0
    }
}

/// A part of a network that samples go through.
struct Passes<'a> {
    plan: &'a Plan<'a>,
    part: Part,
    parameters: Vec<f32>,
    inputs: Vec<f32>,
}

impl<'a> Passes<'a> {
    fn new(plan: &'a Plan<'a>, part: Part, inputs: Vec<f32>) -> Self {
        Self {
            plan,
            part,
            parameters: plan.initial_parameters(),
            inputs,
        }
    }

    /// Lets `steps` batches go through, the first again after the last: samples a second.
    fn rate(&mut self, executor: &Desktop, steps: usize, batch: usize) -> Result<f64> {
        let network = self.plan.network();
        let layers = network.part(self.part);
        let mut output = vec![0.0; batch * network.shape_before(layers.end).len()];
        let mut workspace = vec![0.0; workspace_len(network, layers.clone(), batch)];
        let inference = Inference {
            executor,
            network,
            parameters: &self.parameters,
            math: self.plan.math(),
        };
        let inputs = self.inputs.chunks_exact(batch * network.input().len());
        if inputs.len() == 0 {
            return Err(Error::Data {
                place: "standard input".into(),
                expected: format!("at least a batch of {batch} samples"),
                given: "fewer came".into(),
            });
        }
        executor.enter(|| {
            let start = Instant::now();
            for input in inputs.cycle().take(steps) {
                let layers = layers.clone();
                inference
                    .run(layers, input, &mut output, &mut workspace)
                    .map_err(|source| Error::Core {
                        place: "inference".into(),
                        source,
                    })?;
            }
            Ok((steps * batch) as f64 / start.elapsed().as_secs_f64())
        })
    }
}

/// The most memory that this process has held, where the system tells.
fn peak_rss_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}
