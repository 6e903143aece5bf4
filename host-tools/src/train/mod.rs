//! The training run: epochs of shuffled batches, each a step of core's, with checkpoints and a loss on data that the run
//! does not learn from.
//!
//! Every draw depends on the seed, the epoch and the sample alone, and core's arithmetic on nothing else. So a run gives
//! the same bits with any number of threads, and one that was stopped and goes on from its [`Checkpoint`] ends as if it
//! had never been stopped.
//!
//! A recipe's stages follow each other: each trains some layers of the network, on what the layers before them make of the
//! samples.

mod checkpoint;
mod feed;
mod judge;
mod record;

use std::time::{Duration, Instant};

use narrows_core::error::Error as CoreError;
use narrows_core::inference::{self, Inference};
use narrows_core::kernels::Executor;
use narrows_core::network::Network;
use narrows_core::random::{Purpose, Random};
use narrows_core::training::{Mode, Options, Trainer, memory_len};
use serde::{Deserialize, Serialize};

use crate::aligned::Aligned;
use crate::confusion::Confusion;
use crate::data::Data;
use crate::error::{Error, Result};
use crate::recipe::{Plan, Stage};

pub use checkpoint::{Best, Checkpoint, Position};
pub(crate) use feed::Corrupt;
use feed::{Batch, Feed, Set};
pub use judge::Constant;
use judge::Judge;
pub use record::{Ended, Record, StageRecord, Warning};

/// What a finished epoch was like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// The index of its stage.
    pub stage: usize,
    /// Its number within the stage, from 1.
    pub number: u32,
    /// Mean loss of the training samples, each at the step that it was part of.
    pub loss: f64,
    /// What was paid beside it, the mean over the samples.
    pub penalty: f64,
    /// Mean loss of the validation samples after the epoch, with the same noise every time.
    pub validation: Option<f64>,
    /// The share of validation samples that are given their label, where the stage learns labels.
    pub accuracy: Option<f64>,
    /// Training alone: without validation and checkpoints.
    pub samples_per_second: f64,
    /// How long it took.
    pub seconds: f64,
    /// The learning rate.
    pub learning_rate: f64,
}

/// How far an epoch is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The index of its stage.
    pub stage: usize,
    /// Its number within the stage, from 1.
    pub epoch: u32,
    /// Samples that are behind.
    pub samples: usize,
    /// Their mean loss.
    pub loss: f64,
}

/// How a stage ended.
#[derive(Clone, Debug)]
pub struct StageEnd {
    /// Its index.
    pub stage: usize,
    /// Why.
    pub ended: Ended,
    /// The epoch whose parameters are the result, where it was chosen.
    pub best: Option<u32>,
    /// What the validation samples are taken for, where the stage learns labels.
    pub confusion: Option<Confusion>,
}

/// Who watches a run, keeps its checkpoints, and may stop it.
pub trait Watcher {
    /// A step is done.
    fn step(&mut self, progress: Progress) {
        let _ = progress;
    }

    /// An epoch is over.
    ///
    /// # Errors
    /// Whatever keeps the watcher from doing its part; it ends the run.
    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        let _ = epoch;
        Ok(())
    }

    /// A stage is over.
    ///
    /// # Errors
    /// Whatever keeps the watcher from doing its part; it ends the run.
    fn stage_end(&mut self, end: &StageEnd) -> Result<()> {
        let _ = end;
        Ok(())
    }

    /// Something is strange.
    ///
    /// # Errors
    /// Whatever keeps the watcher from doing its part; it ends the run.
    fn warn(&mut self, warning: &Warning) -> Result<()> {
        let _ = warning;
        Ok(())
    }

    /// Where the run could go on: after each epoch, where it is stopped, and wherever [`Watcher::wants_checkpoint`].
    ///
    /// # Errors
    /// Whatever keeps the watcher from keeping it; it ends the run.
    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let _ = checkpoint;
        Ok(())
    }

    /// Whether it is time for a checkpoint within an epoch.
    fn wants_checkpoint(&self) -> bool {
        false
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
/// [`Error::Data`] where a stage needs labels that are not there, [`Error::Diverged`] where a number stops being finite or
/// the loss explodes, [`Error::Memory`], [`Error::Core`] where a checkpoint does not fit, and the watcher's own.
pub fn run(
    executor: &impl Executor,
    plan: &Plan<'_>,
    data: &Data,
    from: Option<Checkpoint>,
    watcher: &mut impl Watcher,
) -> Result<Outcome> {
    for stage in plan.stages().iter().filter(|stage| stage.has_labels()) {
        check_labels(stage, data)?;
    }
    let members = feed::members(plan, data)?;
    let train = Set {
        inputs: &data.train,
        targets: data.targets.as_ref(),
        members: &members.train,
    };
    let judges = &members.validation;
    let validation = data.validation.as_ref().filter(|_| !judges.is_empty());
    let validation = validation.map(|inputs| Set {
        inputs,
        targets: data.validation_targets.as_ref(),
        members: judges,
    });
    let mut from = from;
    let first = from.as_ref().map_or(0, |from| from.at.stage);
    let mut parameters = match &from {
        None => plan.initial_parameters(),
        Some(from) => from.parameters.clone(),
    };
    let network = plan.network();
    network
        .check_parameters(&parameters)
        .map_err(Error::core("checkpoint"))?;
    let mut epochs = Vec::new();
    for stage in plan.stages().iter().skip(first) {
        let mut run = StageRun::new(
            plan,
            stage,
            data,
            (train, validation),
            parameters,
            from.take(),
        )?;
        let mut memory = Aligned::zeros("training", run.memory_len()?)?;
        let finished = run.train(executor, &mut memory, watcher, &mut epochs)?;
        parameters = run.model;
        if !finished {
            return Ok(Outcome {
                parameters,
                epochs,
                stopped: true,
            });
        }
    }
    Ok(Outcome {
        parameters,
        epochs,
        stopped: false,
    })
}

/// How many samples an epoch has: those of the recipe's classes that are quiet enough for it.
///
/// # Errors
/// [`Error::Data`] where a class is absent; as [`Samples::read`](crate::data::Samples::read).
pub fn epoch_len(plan: &Plan<'_>, data: &Data) -> Result<usize> {
    feed::members(plan, data).map(|members| members.train.len())
}

/// Checks that every sample has a label that the stage's network has an output for.
fn check_labels(stage: &Stage<'_>, data: &Data) -> Result<()> {
    let classes = stage.network().output().len();
    let sets = [
        ("training", Some(&data.train)),
        ("validation", data.validation.as_ref()),
    ];
    for (which, samples) in sets {
        let Some(samples) = samples else { continue };
        let problem = |given: String| Error::Data {
            place: format!("{which} data"),
            expected: format!(
                "labels from 0 to {}, which the stage \"{}\" learns",
                classes - 1,
                stage.name()
            ),
            given,
        };
        let labels = samples
            .labels()
            .ok_or_else(|| problem("none came".into()))?;
        if let Some(index) = labels
            .iter()
            .position(|label| usize::from(*label) >= classes)
        {
            return Err(problem(format!("sample {index} has {}", labels[index])));
        }
    }
    Ok(())
}

/// A loss that is so many times that of the first step has exploded.
const EXPLOSION: f64 = 1e6;

/// A stage at work.
struct StageRun<'a> {
    plan: &'a Plan<'a>,
    stage: &'a Stage<'a>,
    data: &'a Data,
    train: Set<'a>,
    validation: Option<Set<'a>>,
    batch: usize,
    /// The whole network's parameters.
    model: Vec<f32>,
    /// The stage's: those of its layers, and then its decoder's.
    own: Aligned,
    at: Position,
    best: Option<Best>,
    from: Option<Checkpoint>,
    /// The last epoch, but for the times that it took.
    last: Option<Epoch>,
    /// What the watcher was warned of last.
    warned: Option<Constant>,
}

impl<'a> StageRun<'a> {
    fn new(
        plan: &'a Plan<'a>,
        stage: &'a Stage<'a>,
        data: &'a Data,
        (train, validation): (Set<'a>, Option<Set<'a>>),
        model: Vec<f32>,
        from: Option<Checkpoint>,
    ) -> Result<Self> {
        let decoder = match &from {
            None => stage.initial_decoder(),
            Some(from) => from.decoder.clone(),
        };
        let layers = &model[stage.parameters()];
        let mut own = Aligned::zeros("parameters", layers.len() + decoder.len())?;
        own[..layers.len()].copy_from_slice(layers);
        own[layers.len()..].copy_from_slice(&decoder);
        stage
            .network()
            .check_parameters(&own)
            .map_err(Error::core("checkpoint"))?;
        let at = Position {
            stage: stage.index(),
            ..Position::default()
        };
        Ok(Self {
            plan,
            stage,
            data,
            train,
            validation,
            // No step has more samples than there are.
            batch: stage.training().batch_size.min(train.members.len()),
            model,
            own,
            at: from.as_ref().map_or(at, |from| from.at),
            best: from.as_ref().and_then(|from| from.best.clone()),
            last: from.as_ref().and_then(|from| from.last),
            from,
            warned: None,
        })
    }

    fn options(&self) -> Options<'a> {
        Options {
            mode: Mode::Accumulate { batch: self.batch },
            ..self.stage.options()
        }
    }

    fn memory_len(&self) -> Result<usize> {
        memory_len(self.stage.network(), &self.options()).map_err(Error::core("training"))
    }

    /// Trains to the end: true; or until the watcher stops it: false.
    fn train(
        &mut self,
        executor: &impl Executor,
        memory: &mut [f32],
        watcher: &mut impl Watcher,
        epochs: &mut Vec<Epoch>,
    ) -> Result<bool> {
        let (stage, training, plan) = (self.stage, self.stage.training(), self.plan);
        let network: &Network<'a> = stage.network();
        let trainer = Trainer::new(network, self.options(), memory);
        let mut trainer = trainer.map_err(Error::core("training"))?;
        // Given weights are a start without moments.
        if let Some(from) = self.from.take().filter(|from| from.steps > 0) {
            trainer
                .restore(&from.state, from.steps, from.powers)
                .map_err(Error::core("checkpoint"))?;
        }
        let mut feed = Feed::new(plan, stage, self.train, self.batch)?;
        let judge = self.validation.map(|set| Judge::new(plan, stage, set));
        let mut judge = judge.transpose()?;
        let mut probe = Judge::new(plan, stage, self.train)?;
        let mut order = Vec::new();
        let (samples, before) = (self.train.members.len(), epochs_before(plan, stage));
        let (mut ended, mut confusion, mut first_loss) = (Ended::Finished, None, None);
        let steps = training.steps.unwrap_or(u64::MAX);
        while self.at.epoch < training.epochs && trainer.steps() < steps {
            let epoch = before + self.at.epoch;
            order.clear();
            order.extend(self.train.members);
            if training.shuffle {
                Random::new(stage.seed(), Purpose::Shuffle).shuffle(epoch, &mut order);
            }
            let rate = stage.learning_rate(self.at.epoch);
            // A schedule may end at zero, with an epoch that changes nothing.
            trainer
                .set_learning_rate(rate.max(f64::from(f32::MIN_POSITIVE)))
                .map_err(Error::core("training"))?;
            let (mut trained, mut spent, begun) = (0, Duration::ZERO, Instant::now());
            while self.at.sample < samples && trainer.steps() < steps {
                if watcher.stop() {
                    watcher.checkpoint(&self.checkpoint(&trainer)?)?;
                    self.write_back();
                    return Ok(false);
                }
                if watcher.wants_checkpoint() {
                    watcher.checkpoint(&self.checkpoint(&trainer)?)?;
                }
                let start = Instant::now();
                let count = self.batch.min(samples - self.at.sample);
                let indices = &order[self.at.sample..self.at.sample + count];
                let Batch { input, target } = feed.batch(executor, &self.model, epoch, indices)?;
                let number = trainer.steps() + 1;
                let loss = trainer
                    .step(executor, &mut self.own, input, target)
                    .map_err(|source| self.diverged(number, source, rate))?;
                if loss > EXPLOSION * *first_loss.get_or_insert(loss) {
                    return Err(self.exploded(executor, number, loss, input, rate));
                }
                self.at.loss += loss * count as f64;
                self.at.penalty += trainer.penalty() * count as f64;
                let middle = (self.at.sample..self.at.sample + count).contains(&(samples / 2));
                self.at.sample += count;
                trained += count;
                spent += start.elapsed();
                watcher.step(Progress {
                    stage: stage.index(),
                    epoch: self.at.epoch + 1,
                    samples: self.at.sample,
                    loss: self.at.loss / self.at.sample as f64,
                });
                if self.at.epoch == 0 && middle {
                    self.warn(executor, &mut probe, number, watcher)?;
                }
            }
            let judgement = judge
                .as_mut()
                .map(|judge| judge.judge(executor, &self.model, &self.own))
                .transpose()?;
            self.warn(executor, &mut probe, trainer.steps(), watcher)?;
            let seen = self.at.sample.max(1) as f64;
            let finished = Epoch {
                stage: stage.index(),
                number: self.at.epoch + 1,
                loss: self.at.loss / seen,
                penalty: self.at.penalty / seen,
                validation: judgement.as_ref().map(|judgement| judgement.loss),
                accuracy: judgement
                    .as_ref()
                    .and_then(|judgement| Some(judgement.confusion.as_ref()?.accuracy())),
                samples_per_second: trained as f64 / spent.as_secs_f64().max(1e-9),
                seconds: begun.elapsed().as_secs_f64(),
                learning_rate: rate,
            };
            confusion = judgement.and_then(|judgement| judgement.confusion);
            let whole = self.at.sample == samples;
            if whole {
                self.at = Position {
                    stage: self.at.stage,
                    epoch: finished.number,
                    ..Position::default()
                };
            }
            let patience = self.improve(&finished);
            self.last = Some(Epoch {
                samples_per_second: 0.0,
                seconds: 0.0,
                ..finished
            });
            watcher.checkpoint(&self.checkpoint(&trainer)?)?;
            watcher.epoch(&finished)?;
            epochs.push(finished);
            if patience {
                ended = Ended::EarlyStopping;
                break;
            }
        }
        let best = self.best.take();
        if let Some(best) = &best {
            self.own.copy_from_slice(&best.parameters);
            confusion = None;
        }
        if let Some(mut judge) = judge.filter(|_| stage.has_labels() && confusion.is_none()) {
            confusion = judge.judge(executor, &self.model, &self.own)?.confusion;
        }
        self.write_back();
        watcher.stage_end(&StageEnd {
            stage: stage.index(),
            ended,
            best: best.map(|best| best.epoch),
            confusion,
        })?;
        Ok(true)
    }

    /// Keeps the best epoch, where the recipe wants it; whether the stage's patience is over.
    fn improve(&mut self, epoch: &Epoch) -> bool {
        let Some(stopping) = self.stage.training().early_stopping else {
            return false;
        };
        let loss = epoch.validation.unwrap_or(epoch.loss + epoch.penalty);
        let best = self.best.as_ref();
        if best.is_none_or(|best| loss < best.loss - stopping.min_delta) {
            self.best = Some(Best {
                epoch: epoch.number,
                loss,
                parameters: self.own.to_vec(),
            });
        }
        let since = self
            .best
            .as_ref()
            .map_or(0, |best| epoch.number - best.epoch);
        since >= stopping.patience
    }

    /// Tells the watcher, once, where output or code has become constant.
    fn warn(
        &mut self,
        executor: &impl Executor,
        probe: &mut Judge<'_>,
        step: u64,
        watcher: &mut impl Watcher,
    ) -> Result<()> {
        let constant = probe.constant(executor, &self.model, &self.own)?;
        let before = std::mem::replace(&mut self.warned, constant);
        match constant {
            Some(constant) if before != Some(constant) => watcher.warn(&Warning {
                stage: self.stage.name().into(),
                epoch: self.at.epoch + 1,
                step,
                constant,
            }),
            _ => Ok(()),
        }
    }

    fn write_back(&mut self) {
        let range = self.stage.parameters();
        let (layers, _) = self.own.split_at(range.len());
        self.model[range].copy_from_slice(layers);
    }

    fn checkpoint(&self, trainer: &Trainer<'_>) -> Result<Checkpoint> {
        let (state, steps, powers) = trainer.state();
        let range = self.stage.parameters();
        let (layers, decoder) = self.own.split_at(range.len());
        let mut parameters = self.model.clone();
        parameters[range].copy_from_slice(layers);
        Ok(Checkpoint {
            recipe_digest: checkpoint::digest(self.plan.recipe()),
            data_digest: self.data.digest()?,
            at: self.at,
            steps,
            powers,
            parameters,
            decoder: decoder.to_vec(),
            state: state.to_vec(),
            best: self.best.clone(),
            last: self.last,
        })
    }

    fn diverged(&self, step: u64, source: CoreError, rate: f64) -> Error {
        let network = self.stage.network();
        let problem = match source {
            CoreError::NotFinite { what, index } => {
                let layer = network
                    .steps()
                    .find(|step| what == CoreError::PARAMETER && step.parameters.contains(&index));
                let layer = layer.or_else(|| {
                    let layer = what == CoreError::LAYER;
                    network.steps().nth(index).filter(|_| layer)
                });
                match layer {
                    Some(layer) => format!(
                        "expected finite numbers, but layer \"{}\" had infinity or NaN first ({what} {index})",
                        layer.layer.name
                    ),
                    None => format!("expected finite numbers, but {source}"),
                }
            }
            other => return Error::core("training")(other),
        };
        self.stray(step, problem, rate)
    }

    /// The error of a loss beyond all bounds: with the first layer whose outputs are large for its inputs.
    fn exploded(
        &self,
        executor: &impl Executor,
        step: u64,
        loss: f64,
        input: &[f32],
        rate: f64,
    ) -> Error {
        let network = self.stage.network();
        let largest = |values: &[f32]| values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let samples = input.len() / network.input().len();
        let mut worst = (0.0, "");
        let mut before = largest(input).max(1.0);
        for layer in network.steps().filter(|step| !step.parameters.is_empty()) {
            let range = 0..layer.index + 1;
            let workspace = inference::workspace_len(network, range.clone(), samples);
            let mut workspace = vec![0.0; workspace];
            let mut output = vec![0.0; samples * layer.output.len()];
            let inference = Inference {
                executor,
                network,
                parameters: &self.own,
                math: self.stage.options().math,
            };
            let run = inference.run(range, input, &mut output, &mut workspace);
            let most = run.map_or(f32::INFINITY, |()| largest(&output));
            if most / before > worst.0 {
                worst = (most / before, layer.layer.name);
            }
            before = most.max(1.0);
        }
        let problem = format!(
            "expected a loss that falls, but it has grown to {loss:.3e}, most of all in layer \"{}\"",
            worst.1
        );
        self.stray(step, problem, rate)
    }

    fn stray(&self, step: u64, problem: String, rate: f64) -> Error {
        Error::Diverged {
            stage: self.stage.name().into(),
            epoch: self.at.epoch + 1,
            step,
            problem,
            rate: rate / 10.0,
        }
    }
}

/// The epochs of the stages before, so that no two epochs draw the same numbers.
fn epochs_before(plan: &Plan<'_>, stage: &Stage<'_>) -> u32 {
    let before = plan.stages().iter().take(stage.index());
    before.fold(0, |sum: u32, stage| {
        sum.saturating_add(stage.training().epochs)
    })
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

/// Samples that inference takes at once on a desktop: enough for wide kernels, and little memory.
pub(crate) const INFERENCE_BATCH: usize = 64;

/// The epoch whose noise corrupts what a run is judged by: no run gets so far.
pub(crate) const VALIDATION_EPOCH: u32 = u32::MAX;
