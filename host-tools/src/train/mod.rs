//! The training run: epochs of shuffled batches, each a step of core's, with checkpoints and a loss on data that the run
//! does not learn from.
//!
//! Every draw depends on the seed, the epoch and the sample alone, and core's arithmetic on nothing else. So a run gives
//! the same bits with any number of threads, and one that was stopped and goes on from its [`Checkpoint`] ends as if it
//! had never been stopped.

mod checkpoint;

use std::time::{Duration, Instant};

use narrows_core::error::Error as CoreError;
use narrows_core::inference::{self, Inference};
use narrows_core::kernels::{Executor, Machine, Task, Vectors};
use narrows_core::loss::Evaluate;
use narrows_core::noise::Noise;
use narrows_core::random::{Purpose, Random};
use narrows_core::training::{Mode, Trainer, memory_len};

use crate::data::{Data, Samples};
use crate::error::{Error, Result};
use crate::recipe::Plan;

pub use checkpoint::{Checkpoint, Position};

/// What a finished epoch was like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: u32,
    /// Mean loss of the training samples, each at the step that it was part of.
    pub loss: f64,
    /// Mean loss of the validation samples after the epoch, with the same noise every time.
    pub validation: Option<f64>,
    /// Training alone: without validation and checkpoints.
    pub samples_per_second: f64,
}

/// Who watches a run, keeps its checkpoints, and may stop it.
pub trait Watcher {
    /// A step is done; `samples` of the current epoch are behind.
    fn step(&mut self, epoch: u32, samples: usize) {
        let _ = (epoch, samples);
    }

    /// An epoch is over.
    ///
    /// # Errors
    /// Whatever keeps the watcher from doing its part; it ends the run.
    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        let _ = epoch;
        Ok(())
    }

    /// Where the run could go on: after each epoch, and where it is stopped.
    ///
    /// # Errors
    /// Whatever keeps the watcher from keeping it; it ends the run.
    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let _ = checkpoint;
        Ok(())
    }

    /// Whether the run is to end before the next step.
    fn stop(&self) -> bool {
        false
    }
}

/// A watcher that looks away.
impl Watcher for () {}

/// What a run leaves.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The network's parameters.
    pub parameters: Vec<f32>,
    /// The epochs that this call finished.
    pub epochs: Vec<Epoch>,
    /// Whether the run was stopped before its end.
    pub stopped: bool,
}

/// Trains as `plan` says, from the start or from a checkpoint.
///
/// # Errors
/// [`Error::Diverged`] where a number stops being finite, [`Error::Memory`], [`Error::Core`] where a checkpoint does not
/// fit, and the watcher's own.
pub fn run(
    executor: &impl Executor,
    plan: &Plan<'_>,
    data: &Data,
    from: Option<Checkpoint>,
    watcher: &mut impl Watcher,
) -> Result<Outcome> {
    let (recipe, network) = (plan.recipe(), plan.network());
    // No step has more samples than there are.
    let batch = recipe.training.batch_size.min(data.train.len());
    let mut options = *plan.options();
    options.mode = Mode::Accumulate { batch };
    let mut memory = zeros(
        "training",
        memory_len(network, &options).map_err(Error::core("training"))?,
    )?;
    let mut trainer =
        Trainer::new(network, options, &mut memory).map_err(Error::core("training"))?;
    let (mut parameters, mut at) = match from {
        None => (plan.initial_parameters(), Position::default()),
        Some(from) => {
            network
                .check_parameters(&from.parameters)
                .map_err(Error::core("checkpoint"))?;
            trainer
                .restore(&from.state, from.steps, from.powers)
                .map_err(Error::core("checkpoint"))?;
            (from.parameters, from.at)
        }
    };
    let mut validation = Validation::new(plan, data.validation.as_ref())?;
    let mut feed = Feed::new(plan, &data.train, batch)?;
    let mut outcome = Outcome {
        parameters: Vec::new(),
        epochs: Vec::new(),
        stopped: false,
    };
    let (train, epochs) = (&data.train, recipe.training.epochs);
    while at.epoch < epochs {
        feed.start_epoch(at.epoch, recipe.training.shuffle);
        let (mut trained, mut spent) = (0, Duration::ZERO);
        while at.sample < train.len() {
            if watcher.stop() {
                watcher.checkpoint(&Checkpoint::of(
                    plan,
                    data.train.digest()?,
                    at,
                    &trainer,
                    &parameters,
                ))?;
                return Ok(Outcome {
                    parameters,
                    stopped: true,
                    ..outcome
                });
            }
            let start = Instant::now();
            let samples = batch.min(train.len() - at.sample);
            let (input, target) = feed.batch(executor, at.sample, samples)?;
            let number = trainer.steps() + 1;
            let step = trainer.step(executor, &mut parameters, input, target);
            let loss = step.map_err(|source| diverged(source, at.epoch, number))?;
            at.loss += loss * samples as f64;
            at.sample += samples;
            trained += samples;
            spent += start.elapsed();
            watcher.step(at.epoch + 1, at.sample);
        }
        let epoch = Epoch {
            number: at.epoch + 1,
            loss: at.loss / train.len() as f64,
            validation: validation.loss(executor, &parameters)?,
            samples_per_second: trained as f64 / spent.as_secs_f64(),
        };
        at = Position {
            epoch: epoch.number,
            ..Position::default()
        };
        watcher.checkpoint(&Checkpoint::of(
            plan,
            data.train.digest()?,
            at,
            &trainer,
            &parameters,
        ))?;
        watcher.epoch(&epoch)?;
        outcome.epochs.push(epoch);
    }
    Ok(Outcome {
        parameters,
        ..outcome
    })
}

fn diverged(source: CoreError, epoch: u32, step: u64) -> Error {
    match source {
        CoreError::NotFinite { .. } => Error::Diverged {
            epoch: epoch + 1,
            step,
            source,
        },
        other => Error::Core {
            place: "training".into(),
            source: other,
        },
    }
}

/// Memory for numbers, or an error where the system has not so much.
pub(crate) fn zeros(what: &'static str, elements: usize) -> Result<Vec<f32>> {
    let mut memory = Vec::new();
    let bytes = elements.saturating_mul(size_of::<f32>());
    memory
        .try_reserve_exact(elements)
        .map_err(|_| Error::Memory { what, bytes })?;
    memory.resize(elements, 0.0);
    Ok(memory)
}

/// Lays out batches: the samples in the epoch's order, and what noise makes of them.
struct Feed<'a> {
    noise: Option<&'a Noise>,
    seed: u64,
    epoch: u32,
    train: &'a Samples,
    order: Vec<u32>,
    target: Vec<f32>,
    input: Vec<f32>,
}

impl<'a> Feed<'a> {
    fn new(plan: &'a Plan<'_>, train: &'a Samples, batch: usize) -> Result<Self> {
        let elements = batch * train.sample_len();
        let (noise, seed) = (plan.noise(), plan.recipe().seed);
        let input = if noise.is_some() { elements } else { 0 };
        let (target, input) = (zeros("batch", elements)?, zeros("batch", input)?);
        Ok(Self {
            noise,
            seed,
            epoch: 0,
            train,
            order: Vec::new(),
            target,
            input,
        })
    }

    fn start_epoch(&mut self, epoch: u32, shuffle: bool) {
        self.epoch = epoch;
        self.order.clear();
        self.order.extend(0..self.train.len() as u32);
        if shuffle {
            Random::new(self.seed, Purpose::Shuffle).shuffle(epoch, &mut self.order);
        }
    }

    /// Inputs and targets of the `samples` samples from the place `first` of the epoch on.
    fn batch(
        &mut self,
        executor: &impl Executor,
        first: usize,
        samples: usize,
    ) -> Result<(&[f32], &[f32])> {
        let len = self.train.sample_len();
        let order = &self.order[first..first + samples];
        let target = &mut self.target[..samples * len];
        for (to, index) in target.chunks_exact_mut(len).zip(order) {
            self.train.read(*index as usize, to)?;
        }
        let Some(noise) = self.noise else {
            return Ok((target, target));
        };
        let noisy = &mut self.input[..samples * len];
        executor.execute(Corrupt {
            noise,
            seed: self.seed,
            epoch: self.epoch,
            indices: order,
            len,
            clean: target,
            noisy,
        });
        Ok((noisy, target))
    }
}

/// Corrupts a batch of samples.
pub(crate) struct Corrupt<'a> {
    pub(crate) noise: &'a Noise,
    pub(crate) seed: u64,
    pub(crate) epoch: u32,
    /// The samples' indices within their set.
    pub(crate) indices: &'a [u32],
    /// Numbers of a sample.
    pub(crate) len: usize,
    /// `[sample][element]`.
    pub(crate) clean: &'a [f32],
    /// `[sample][element]`.
    pub(crate) noisy: &'a mut [f32],
}

impl Task for Corrupt<'_> {
    fn units(&self) -> usize {
        self.indices.len()
    }

    fn operations(&self) -> usize {
        // A normal number takes a logarithm, a root, and half of a sine and a cosine.
        self.clean.len() * 60
    }

    fn split(self, units: usize) -> (Self, Self) {
        let units = units.min(self.indices.len());
        let (indices, other_indices) = self.indices.split_at(units);
        let (clean, other_clean) = self.clean.split_at(units * self.len);
        let (noisy, other_noisy) = self.noisy.split_at_mut(units * self.len);
        (
            Self {
                indices,
                clean,
                noisy,
                ..self
            },
            Self {
                indices: other_indices,
                clean: other_clean,
                noisy: other_noisy,
                ..self
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        let samples = self
            .clean
            .chunks_exact(self.len)
            .zip(self.noisy.chunks_exact_mut(self.len));
        for (index, (clean, noisy)) in self.indices.iter().zip(samples) {
            self.noise
                .apply(self.seed, self.epoch, *index, clean, noisy, M::sqrt);
        }
    }
}

/// Samples that a run is judged by. Where the recipe has noise, they are corrupted once, in the same way for every epoch.
struct Validation<'a> {
    plan: &'a Plan<'a>,
    samples: Option<&'a Samples>,
    inputs: Vec<f32>,
    outputs: Vec<f32>,
    workspace: Vec<f32>,
    losses: Vec<f32>,
}

/// Samples that inference takes at once on a desktop: enough for wide kernels, and little memory.
pub(crate) const INFERENCE_BATCH: usize = 64;

/// The epoch whose noise corrupts what a run is judged by: no run gets so far.
pub(crate) const VALIDATION_EPOCH: u32 = u32::MAX;

impl<'a> Validation<'a> {
    fn new(plan: &'a Plan<'a>, samples: Option<&'a Samples>) -> Result<Self> {
        let network = plan.network();
        let batch = samples.map_or(0, |samples| samples.len().min(INFERENCE_BATCH));
        let elements = batch * network.output().len();
        let inputs = if plan.noise().is_some() { elements } else { 0 };
        Ok(Self {
            plan,
            samples,
            inputs: zeros("validation", inputs)?,
            outputs: zeros("validation", elements)?,
            workspace: zeros(
                "validation",
                inference::workspace_len(network, 0..network.layers().len(), batch),
            )?,
            losses: zeros("validation", batch)?,
        })
    }

    fn loss(&mut self, executor: &impl Executor, parameters: &[f32]) -> Result<Option<f64>> {
        let Some(samples) = self.samples.filter(|samples| !samples.is_empty()) else {
            return Ok(None);
        };
        let (network, len) = (self.plan.network(), samples.sample_len());
        let mut sum = 0.0;
        samples.for_each_block(INFERENCE_BATCH, |first, clean| {
            let first = first as u32;
            let indices: Vec<u32> = (first..first + (clean.len() / len) as u32).collect();
            let input = match self.plan.noise() {
                None => clean,
                Some(noise) => {
                    let noisy = &mut self.inputs[..clean.len()];
                    let (seed, epoch) = (self.plan.recipe().seed, VALIDATION_EPOCH);
                    executor.execute(Corrupt {
                        noise,
                        seed,
                        epoch,
                        indices: &indices,
                        len,
                        clean,
                        noisy,
                    });
                    &*noisy
                }
            };
            let (output, losses) = (
                &mut self.outputs[..clean.len()],
                &mut self.losses[..indices.len()],
            );
            let (math, layers) = (self.plan.options().math, 0..network.layers().len());
            Inference {
                executor,
                network,
                parameters,
                math,
            }
            .run(layers, input, output, &mut self.workspace)
            .map_err(Error::core("validation"))?;
            executor.execute(Evaluate {
                loss: self.plan.options().loss,
                last: network.last_activation(),
                output,
                target: clean,
                gradient: &mut [],
                losses: &mut *losses,
                outputs: len,
            });
            sum += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
            Ok(())
        })?;
        Ok(Some(sum / samples.len() as f64))
    }
}
