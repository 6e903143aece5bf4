//! Training: forward, loss, backward, update, in the memory that the caller lends.
//!
//! A batch's gradients are sums over its samples in their order, multiplied once by 1/B. So it makes no difference to any
//! bit whether a desktop takes the batch at once, or a device one sample after the other with
//! [`Trainer::accumulate`] and then [`Trainer::apply`]. With batches of one sample, [`Mode::Fused`] updates each
//! parameter within the backward pass and keeps no gradients: the same bits again.

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::inference::{
    self, Forward, Inference, activation_and_row, check_finite, weights_and_bias,
};
use crate::kernels::activation::Slope;
use crate::kernels::{
    Accumulate, BiasGradient, Executor, GradientSink, Transpose, conv, dense, pool, split,
    split_mut, upsample,
};
use crate::layer::{Activation, Work};
use crate::loss::{Evaluate, Loss};
use crate::math::Math;
use crate::memory::exactly;
use crate::network::{Network, Step, check_len};
use crate::optimizer::{Fused, Optimizer, Update};
use crate::penalty::{self, Penalty};

/// How gradients become updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Gradients are summed up in memory over any number of calls.
    Accumulate {
        /// The most samples that one call takes; activations are kept for so many.
        batch: usize,
    },
    /// One sample a step, and no memory for gradients.
    Fused,
}

impl Mode {
    /// The most samples that one call takes.
    #[must_use]
    pub const fn batch(self) -> usize {
        match self {
            Self::Accumulate { batch } => batch,
            Self::Fused => 1,
        }
    }
}

/// What a training run does at each step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options<'a> {
    /// What is made small.
    pub loss: Loss,
    /// What is paid beside it, one a layer; frozen layers pay nothing. It does not go over a wire.
    #[serde(skip)]
    pub penalties: &'a [Penalty],
    /// How.
    pub optimizer: Optimizer,
    /// In which memory.
    pub mode: Mode,
    /// Layers before this index are frozen.
    pub first_trainable: usize,
    /// Whose exp in the forward pass.
    pub math: Math,
}

impl<'a> Options<'a> {
    /// What a layer pays.
    fn penalty_of(&self, layer: usize) -> Option<&'a Penalty> {
        self.penalties.iter().find(|penalty| penalty.layer == layer)
    }

    /// What a layer pays for its outputs.
    fn activity_of(&self, layer: usize) -> Option<&'a Penalty> {
        self.penalty_of(layer)
            .filter(|penalty| penalty.is_of_activity())
    }

    /// What a layer pays for its outputs, where that depends on the whole batch.
    fn sparsity_of(&self, layer: usize) -> Option<&'a Penalty> {
        self.penalty_of(layer)
            .filter(|penalty| penalty.sparsity.is_some())
    }

    /// What a layer pays for its weights.
    fn weights_of(&self, layer: usize) -> Option<penalty::Weights> {
        self.penalty_of(layer).and_then(Penalty::of_weights)
    }

    /// Whether the loss's gradient is to be that of the last activation's input.
    fn with_slope(&self, network: &Network<'_>) -> bool {
        let last = network.last_computed();
        // An activity penalty comes between the two.
        let between = last.is_some_and(|last| self.activity_of(last).is_some());
        !between && self.loss.includes_slope(network.last_activation())
    }
}

/// Elements that a desktop's cache holds, more or less.
const CACHED: usize = 1 << 21;

/// How the lent memory is divided; all in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    /// The first layer that has parameters and is not frozen.
    first: usize,
    /// The trainable parameters within all of them.
    parameters: Range<usize>,
    /// Sums of gradients, for each trainable parameter.
    gradients: usize,
    /// One array of the optimizer's state.
    state: usize,
    /// How many such arrays.
    states: usize,
    /// Sums of the outputs of layers that keep to a mean activity.
    activity: usize,
    /// What comes into the first trainable layer from the frozen ones, a sample.
    frozen: usize,
    /// Outputs of the trainable layers, a sample.
    activations: usize,
    /// Two neighbouring gradients of outputs, a sample.
    deltas: usize,
    /// A transposed gradient of an output, a sample.
    transposed: usize,
    /// Deltas and the transposed one; before them, the workspace of the frozen layers lies there.
    transient: usize,
    /// Samples.
    batch: usize,
    /// Samples that go through the network together.
    few: usize,
}

impl Plan {
    fn new(network: &Network<'_>, options: &Options<'_>) -> Result<Self, Error> {
        let last = network.last_activation();
        if options.loss == Loss::CategoricalCrossEntropy && last != Activation::Softmax {
            return Err(Error::Mode {
                reason: "categorical cross-entropy needs softmax as the last layer's activation",
            });
        }
        inference::check_math(options.math)?;
        options.optimizer.check()?;
        Penalty::check(options.penalties, network, options.loss)?;
        if options.mode == Mode::Fused
            && options
                .penalties
                .iter()
                .any(|penalty| penalty.sparsity.is_some())
        {
            return Err(Error::Mode {
                reason: "Kullback-Leibler sparsity needs the mean of a batch: the fused mode has none",
            });
        }
        let batch = options.mode.batch();
        if batch == 0 {
            return Err(Error::Mode {
                reason: "a batch needs at least one sample, but 0 came",
            });
        }
        let trainable =
            |step: &Step<'_>| step.index >= options.first_trainable && !step.parameters.is_empty();
        let Some(first) = network.steps().find(trainable) else {
            return Err(Error::Mode {
                reason: "no layer that is not frozen has parameters",
            });
        };
        let parameters = first.parameters.start..network.parameter_len();
        let frozen = network
            .steps()
            .take(first.index)
            .any(|step| !step.layer.kind.is_view());
        let mut plan = Self {
            first: first.index,
            gradients: if options.mode == Mode::Fused {
                0
            } else {
                parameters.len()
            },
            state: parameters.len(),
            states: options.optimizer.state_per_parameter(),
            parameters,
            activity: 0,
            frozen: if frozen { first.input.len() } else { 0 },
            activations: 0,
            deltas: network.output().len(),
            transposed: 0,
            transient: 0,
            batch,
            few: batch,
        };
        for step in network
            .steps()
            .filter(|step| step.index >= first.index && !step.layer.kind.is_view())
        {
            plan.activations = plan.activations.saturating_add(step.output.len());
            if options.sparsity_of(step.index).is_some() {
                plan.activity = plan.activity.saturating_add(step.output.len());
            }
            if step.index > first.index {
                plan.deltas = plan
                    .deltas
                    .max(step.input.len().saturating_add(step.output.len()));
                if batch > 1 && matches!(step.work, Work::Dense { .. }) {
                    plan.transposed = plan.transposed.max(step.output.len());
                }
            }
        }
        let frozen_workspace = inference::workspace_len(network, 0..first.index, 1);
        plan.transient = plan
            .deltas
            .saturating_add(plan.transposed)
            .max(frozen_workspace);
        if !options.penalties.iter().any(Penalty::is_of_activity) {
            let each = plan.activations.saturating_add(plan.transient).max(1);
            let most = CACHED.checked_div(each).unwrap_or(0).max(1);
            // Parts of equal size.
            plan.few = batch.div_ceil(batch.div_ceil(most).max(1));
        }
        Ok(plan)
    }

    fn len(&self) -> usize {
        let per_sample = [1, self.frozen, self.activations, self.transient];
        let per_sample = per_sample
            .iter()
            .fold(0usize, |sum, part| sum.saturating_add(*part));
        let states = self.state.saturating_mul(self.states);
        per_sample
            .saturating_mul(self.batch)
            .saturating_add(self.gradients)
            .saturating_add(states)
            .saturating_add(self.activity)
    }
}

/// Elements of memory that training with these options needs, exactly (four bytes each).
///
/// # Errors
/// Options that do not go with one another or with the network.
pub fn memory_len(network: &Network<'_>, options: &Options<'_>) -> Result<usize, Error> {
    Ok(Plan::new(network, options)?.len())
}

/// A training run: how far it is, and the memory that it works in.
#[derive(Debug)]
pub struct Trainer<'a> {
    network: &'a Network<'a>,
    options: Options<'a>,
    plan: Plan,
    /// β1^t and β2^t.
    powers: [f64; 2],
    /// Steps done.
    steps: u64,
    /// Samples in the sums of gradients.
    accumulated: usize,
    /// Samples in the sums of activities.
    observed: usize,
    /// What the activities of the accumulated samples cost, but for sparsity.
    activity_cost: f64,
    /// What the last step paid beside the loss.
    penalty: f64,
    gradients: &'a mut [f32],
    state: &'a mut [f32],
    activity: &'a mut [f32],
    losses: &'a mut [f32],
    frozen: &'a mut [f32],
    activations: &'a mut [f32],
    transient: &'a mut [f32],
}

impl<'a> Trainer<'a> {
    /// A run at its start, in the first [`memory_len`] elements of `memory`.
    ///
    /// # Errors
    /// As [`memory_len`]; [`Error::BufferTooSmall`].
    pub fn new(
        network: &'a Network<'a>,
        options: Options<'a>,
        memory: &'a mut [f32],
    ) -> Result<Self, Error> {
        let plan = Plan::new(network, &options)?;
        let memory = exactly("training memory", memory, plan.len())?;
        let (gradients, memory) = split_mut(memory, plan.gradients);
        let (state, memory) = split_mut(memory, plan.state.saturating_mul(plan.states));
        let (activity, memory) = split_mut(memory, plan.activity);
        gradients.fill(0.0);
        state.fill(0.0);
        activity.fill(0.0);
        let (losses, memory) = split_mut(memory, plan.batch);
        let (frozen, memory) = split_mut(memory, plan.frozen.saturating_mul(plan.batch));
        let (activations, transient) =
            split_mut(memory, plan.activations.saturating_mul(plan.batch));
        Ok(Self {
            network,
            options,
            plan,
            powers: [1.0; 2],
            steps: 0,
            accumulated: 0,
            observed: 0,
            activity_cost: 0.0,
            penalty: 0.0,
            gradients,
            state,
            activity,
            losses,
            frozen,
            activations,
            transient,
        })
    }

    /// Steps done.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What the last step's batch paid beside the mean loss of its samples, with the parameters as they were before it.
    #[must_use]
    pub fn penalty(&self) -> f64 {
        self.penalty
    }

    /// Goes on with another learning rate, as a schedule asks.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn set_learning_rate(&mut self, rate: f64) -> Result<(), Error> {
        let optimizer = self.options.optimizer.with_learning_rate(rate);
        optimizer.check()?;
        self.options.optimizer = optimizer;
        Ok(())
    }

    /// The sums of gradients since the last step, of the parameters that are not frozen; none in the fused mode.
    #[must_use]
    pub fn gradient_sums(&self) -> &[f32] {
        self.gradients
    }

    /// The optimizer's state: what a checkpoint keeps beside the parameters, between two steps.
    #[must_use]
    pub fn state(&self) -> (&[f32], u64, [f64; 2]) {
        (self.state, self.steps, self.powers)
    }

    /// Goes on from what [`Trainer::state`] gave.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::NotFinite`].
    pub fn restore(&mut self, state: &[f32], steps: u64, powers: [f64; 2]) -> Result<(), Error> {
        check_len("optimizer's state", self.state.len(), state.len())?;
        check_finite("optimizer's state", state)?;
        if let Some(power) = powers.iter().find(|power| !(0.0..=1.0).contains(*power)) {
            return Err(Error::Setting {
                key: "powers",
                expected: "numbers from 0 to 1",
                given: *power as f32,
            });
        }
        inference::copy(state, self.state);
        self.gradients.fill(0.0);
        (self.steps, self.powers) = (steps, powers);
        self.forget_batch();
        Ok(())
    }

    /// One step on one batch: the mean loss of its samples before the step.
    ///
    /// # Errors
    /// As [`Trainer::accumulate`] and [`Trainer::apply`].
    pub fn step(
        &mut self,
        executor: &impl Executor,
        parameters: &mut [f32],
        input: &[f32],
        target: &[f32],
    ) -> Result<f64, Error> {
        let samples = self.check(parameters, input, target)?;
        let loss = if self.options.mode == Mode::Fused {
            self.fused(executor, parameters, input, target, samples)?
        } else {
            if !self.activity.is_empty() && (self.accumulated != 0 || self.observed != 0) {
                return Err(Error::Mode {
                    reason: "with Kullback-Leibler sparsity a step is a whole batch: apply the one that was begun first",
                });
            }
            let loss = self.add_samples(executor, parameters, input, target, samples)?;
            self.apply(executor, parameters)?;
            loss
        };
        Ok(loss / samples as f64)
    }

    /// Lets the next batch's mean activities know some of its samples, at most the mode's batch: what Kullback-Leibler
    /// sparsity needs of all of them before the first is accumulated.
    ///
    /// # Errors
    /// As [`Trainer::accumulate`].
    pub fn observe(
        &mut self,
        executor: &impl Executor,
        parameters: &[f32],
        input: &[f32],
    ) -> Result<(), Error> {
        let samples = self.check_input(parameters, input)?;
        if self.accumulated != 0 {
            return Err(Error::Mode {
                reason: "all of a batch is observed before the first sample is accumulated",
            });
        }
        self.activate(executor, parameters, input, samples)?;
        self.add_activities(samples);
        Ok(())
    }

    /// Adds the gradients of some samples, at most the mode's batch, to the sums. The sum of the samples' losses.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::NotFinite`] with the layer, after which the batch may have to be begun anew,
    /// [`Error::Mode`] in the fused mode.
    pub fn accumulate(
        &mut self,
        executor: &impl Executor,
        parameters: &[f32],
        input: &[f32],
        target: &[f32],
    ) -> Result<f64, Error> {
        if self.options.mode == Mode::Fused {
            return Err(Error::Mode {
                reason: "the fused mode keeps no gradients: use step with one sample",
            });
        }
        let samples = self.check(parameters, input, target)?;
        if !self.activity.is_empty() && self.observed == 0 {
            return Err(Error::Mode {
                reason: "Kullback-Leibler sparsity needs the whole batch observed before a sample is accumulated",
            });
        }
        self.add_samples(executor, parameters, input, target, samples)
    }

    /// Adds the gradients of samples to the sums, a few at a time: they go all the way while their numbers are in the cache.
    /// The order of each sum is that of all at once. What activities pay is one sum over the batch, which is not cut.
    fn add_samples(
        &mut self,
        executor: &impl Executor,
        parameters: &[f32],
        input: &[f32],
        target: &[f32],
        samples: usize,
    ) -> Result<f64, Error> {
        let (input_len, output_len) = (self.network.input().len(), self.network.output().len());
        let few = self.plan.few.max(1);
        let parts = input
            .chunks(few.saturating_mul(input_len).max(1))
            .zip(target.chunks(few.saturating_mul(output_len).max(1)));
        let mut done: usize = 0;
        for (input, target) in parts {
            let part = few.min(samples.wrapping_sub(done));
            let forward = self.forward(executor, parameters, input, target, done, part);
            if forward.is_err() && done > 0 {
                // The samples before are of no use without the others.
                self.gradients.fill(0.0);
                self.forget_batch();
            }
            forward?;
            if self.observed == 0 {
                self.add_activities(part);
            }
            self.add_gradients(executor, parameters, input, part);
            done = done.saturating_add(part);
        }
        Ok(self.loss(samples))
    }

    fn add_gradients(
        &mut self,
        executor: &impl Executor,
        parameters: &[f32],
        input: &[f32],
        samples: usize,
    ) {
        let gradients = core::mem::take(&mut self.gradients);
        let offset = self.plan.parameters.start;
        self.backward(executor, input, samples, |backward, step| {
            let range = step.parameters.start.wrapping_sub(offset)
                ..step.parameters.end.wrapping_sub(offset);
            let sums = gradients.get_mut(range).unwrap_or(&mut []);
            let (weights, biases) = split_mut(sums, step.work.parameter_lens().0);
            let (down, up) = backward.divided(step);
            let operations = step.work.multiply_accumulates() as usize;
            executor.join(
                operations.saturating_mul(samples),
                || down.run(executor, step, parameters),
                || up.run(executor, step, Accumulate(weights), Accumulate(biases)),
            );
        });
        self.gradients = gradients;
        self.accumulated = self.accumulated.saturating_add(samples);
    }

    /// Ends the batch: multiplies the sums by one over the number of its samples, and updates the parameters.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where a parameter stops being finite; [`Error::Mode`] where nothing was accumulated.
    pub fn apply(&mut self, executor: &impl Executor, parameters: &mut [f32]) -> Result<(), Error> {
        self.network.check_parameters(parameters)?;
        if self.accumulated == 0 {
            return Err(Error::Mode {
                reason: "no sample was accumulated before the update",
            });
        }
        if !self.activity.is_empty() && self.observed != self.accumulated {
            return Err(Error::Mode {
                reason: "Kullback-Leibler sparsity needs all samples of a batch observed and accumulated once",
            });
        }
        self.penalty = self.cost(parameters, self.accumulated);
        let rule = self
            .options
            .optimizer
            .next(&mut self.powers, self.accumulated);
        let not_finite = AtomicBool::new(false);
        let (all, sums) = (self.plan.parameters.clone(), &mut *self.gradients);
        let (first, second) = split_mut(self.state, self.plan.state);
        let mut update = |range: Range<usize>, penalty| {
            let local = range.start.wrapping_sub(all.start)..range.end.wrapping_sub(all.start);
            if let (Some(parameters), Some(sums)) =
                (parameters.get_mut(range), sums.get_mut(local.clone()))
            {
                executor.execute(Update {
                    rule,
                    penalty,
                    parameters,
                    sums,
                    first: first.get_mut(local.clone()).unwrap_or(&mut []),
                    second: second.get_mut(local).unwrap_or(&mut []),
                    not_finite: &not_finite,
                });
            }
        };
        // One long update, but for weights with a penalty.
        let mut from = all.start;
        for step in self.network.steps().skip(self.plan.first) {
            if let Some(penalty) = self.options.weights_of(step.index) {
                let start = step.parameters.start;
                let end = start.wrapping_add(step.work.parameter_lens().0);
                update(from..start, None);
                update(start..end, Some(penalty));
                from = end;
            }
        }
        update(from..all.end, None);
        self.steps = self.steps.saturating_add(1);
        self.forget_batch();
        check_updated(&not_finite, parameters, self.state)
    }

    fn forget_batch(&mut self) {
        (self.accumulated, self.observed, self.activity_cost) = (0, 0, 0.0);
        self.activity.fill(0.0);
    }

    /// What a batch of `samples` samples pays beside its loss.
    fn cost(&self, parameters: &[f32], samples: usize) -> f64 {
        let mut cost = self.activity_cost / samples.max(1) as f64;
        let mut sums: &[f32] = self.activity;
        for step in self.network.steps().skip(self.plan.first) {
            let Some(penalty) = self.options.penalty_of(step.index) else {
                continue;
            };
            cost += penalty.weights_cost(weights_and_bias(&step, parameters).0);
            if penalty.sparsity.is_some() {
                let (mine, others) = split(sums, step.output.len());
                cost += penalty.sparsity_cost(mine, samples);
                sums = others;
            }
        }
        cost
    }

    fn fused(
        &mut self,
        executor: &impl Executor,
        parameters: &mut [f32],
        input: &[f32],
        target: &[f32],
        samples: usize,
    ) -> Result<f64, Error> {
        self.forward(executor, parameters, input, target, 0, samples)?;
        let loss = self.loss(samples);
        self.penalty = self.cost(parameters, samples);
        let (rule, options) = (
            self.options.optimizer.next(&mut self.powers, samples),
            self.options,
        );
        let not_finite = AtomicBool::new(false);
        let state = core::mem::take(&mut self.state);
        let (each, offset) = (self.plan.state, self.plan.parameters.start);
        self.backward(executor, input, samples, |backward, step| {
            // The gradient that goes down is made of the weights as they were.
            let (down, _) = backward.divided(step);
            down.run(executor, step, parameters);
            let range = step.parameters.start.wrapping_sub(offset)
                ..step.parameters.end.wrapping_sub(offset);
            let (first, second) = split_mut(state, each);
            let first = first.get_mut(range.clone()).unwrap_or(&mut []);
            let second = second.get_mut(range).unwrap_or(&mut []);
            if let Some(parameters) = parameters.get_mut(step.parameters.clone()) {
                let whole = Fused {
                    rule,
                    penalty: None,
                    parameters,
                    first,
                    second,
                    not_finite: &not_finite,
                };
                let (mut weights, biases) = whole.split(step.work.parameter_lens().0);
                weights.penalty = options.weights_of(step.index);
                let (_, up) = backward.divided(step);
                up.run(executor, step, weights, biases);
            }
        });
        self.state = state;
        self.steps = self.steps.saturating_add(1);
        self.forget_batch();
        check_updated(&not_finite, parameters, self.state)?;
        Ok(loss)
    }

    /// Checks the lengths; the number of samples.
    fn check(&self, parameters: &[f32], input: &[f32], target: &[f32]) -> Result<usize, Error> {
        let samples = self.check_input(parameters, input)?;
        let output_len = self.network.output().len();
        check_len("target", samples.saturating_mul(output_len), target.len())?;
        check_finite("target", target)?;
        Ok(samples)
    }

    fn check_input(&self, parameters: &[f32], input: &[f32]) -> Result<usize, Error> {
        self.network.check_parameters(parameters)?;
        let input_len = self.network.input().len();
        let samples = input
            .len()
            .checked_div(input_len)
            .unwrap_or(0)
            .min(self.plan.batch)
            .max(1);
        check_len("input", samples.saturating_mul(input_len), input.len())?;
        check_finite("input", input)?;
        Ok(samples)
    }

    /// The trainable layers that compute something, with what they gave for `samples` samples.
    fn stored(&self, samples: usize) -> impl Iterator<Item = (Step<'a>, &[f32])> {
        let steps = self.network.steps().skip(self.plan.first);
        let mut rest: &[f32] = self.activations;
        steps
            .filter(|step| !step.layer.kind.is_view())
            .map(move |step| {
                let (output, after) = split(rest, step.output.len().saturating_mul(samples));
                rest = after;
                (step, output)
            })
    }

    /// Adds the outputs of layers that keep to a mean activity to the sums, in the order of the samples.
    fn add_activities(&mut self, samples: usize) {
        if self.activity.is_empty() {
            return;
        }
        let activity = core::mem::take(&mut self.activity);
        let mut sums = &mut *activity;
        for (step, output) in self.stored(samples) {
            if self.options.sparsity_of(step.index).is_some() {
                let (mine, others) = split_mut(sums, step.output.len());
                for sample in output.chunks_exact(step.output.len().max(1)) {
                    mine.iter_mut().zip(sample).for_each(|(sum, a)| *sum += a);
                }
                sums = others;
            }
        }
        self.activity = activity;
        self.observed = self.observed.saturating_add(samples);
    }

    /// The sum of the first losses.
    fn loss(&self, samples: usize) -> f64 {
        let losses = self.losses.iter().take(samples);
        losses.fold(0.0, |sum, loss| sum + f64::from(*loss))
    }

    /// Fills `activations`, the last output's gradient, and `losses` from `done` on.
    fn forward(
        &mut self,
        executor: &impl Executor,
        parameters: &[f32],
        input: &[f32],
        target: &[f32],
        done: usize,
        samples: usize,
    ) -> Result<(), Error> {
        self.activate(executor, parameters, input, samples)?;
        let cost = self.stored(samples).fold(0.0, |sum, (step, output)| {
            let penalty = self.options.activity_of(step.index);
            sum + penalty.map_or(0.0, |penalty| {
                penalty.activity_cost(output, step.output.len())
            })
        });
        self.activity_cost += cost;
        let end = self.plan.activations.saturating_mul(samples);
        let outputs = self.network.output().len();
        let start = end.saturating_sub(outputs.saturating_mul(samples));
        let output = self.activations.get(start..end).unwrap_or(&[]);
        let losses = split_mut(self.losses, done.saturating_add(samples)).0;
        let deltas = split_mut(self.transient, self.plan.deltas.saturating_mul(samples)).0;
        executor.execute(Evaluate {
            loss: self.options.loss,
            with_slope: self.options.with_slope(self.network),
            output,
            target,
            gradient: split_mut(deltas, output.len()).0,
            losses: split_mut(losses, done).1,
            outputs,
        });
        check_finite("loss of sample", losses)
    }

    /// Fills `frozen` and `activations`.
    fn activate(
        &mut self,
        executor: &impl Executor,
        parameters: &[f32],
        input: &[f32],
        samples: usize,
    ) -> Result<(), Error> {
        let (network, math) = (self.network, self.options.math);
        let frozen = split_mut(self.frozen, self.plan.frozen.saturating_mul(samples)).0;
        if !frozen.is_empty() {
            Inference {
                executor,
                network,
                parameters,
                math,
            }
            .run(0..self.plan.first, input, frozen, self.transient)?;
        }
        let mut previous: &[f32] = if frozen.is_empty() { input } else { frozen };
        let mut rest = &mut *self.activations;
        for step in network
            .steps()
            .filter(|step| step.index >= self.plan.first && !step.layer.kind.is_view())
        {
            let (output, after) = split_mut(rest, step.output.len().saturating_mul(samples));
            Forward {
                executor,
                step: &step,
                parameters,
                math,
            }
            .run(previous, output)?;
            (previous, rest) = (output, after);
        }
        Ok(())
    }

    /// Walks from the last layer to the first trainable one; `each` takes the gradient down and to the parameters.
    fn backward<E: Executor>(
        &mut self,
        executor: &E,
        input: &[f32],
        samples: usize,
        mut each: impl FnMut(&mut Backward<'_>, &Step<'_>),
    ) {
        let (network, plan) = (self.network, &self.plan);
        let (deltas, transposed) = split_mut(self.transient, plan.deltas.saturating_mul(samples));
        let frozen = split(self.frozen, plan.frozen.saturating_mul(samples)).0;
        let bottom = if frozen.is_empty() { input } else { frozen };
        let mut end = plan.activations.saturating_mul(samples);
        let mut backward = Backward {
            input: bottom,
            output: &[],
            deltas,
            transposed,
            at_start: true,
            samples,
            first: plan.first,
            relu: false,
        };
        let last = network.last_computed();
        let with_slope = self.options.with_slope(network);
        let mut sums: &[f32] = self.activity;
        for index in (plan.first..network.layers().len()).rev() {
            let Some(step) = network
                .steps()
                .nth(index)
                .filter(|step| !step.layer.kind.is_view())
            else {
                continue;
            };
            let start = end.saturating_sub(step.output.len().saturating_mul(samples));
            backward.output = self.activations.get(start..end).unwrap_or(&[]);
            let below = start.saturating_sub(step.input.len().saturating_mul(samples));
            backward.input = if index == plan.first {
                bottom
            } else {
                self.activations.get(below..start).unwrap_or(&[])
            };
            end = start;
            let (activation, row) = activation_and_row(&step);
            if let Some(&penalty) = self.options.activity_of(index) {
                let elements = step.output.len();
                let (others, mine) = if penalty.sparsity.is_some() {
                    split(sums, sums.len().saturating_sub(elements))
                } else {
                    (sums, sums)
                };
                sums = others;
                let output = backward.output;
                executor.execute(penalty::Activity {
                    penalty,
                    output,
                    gradient: backward.gradient_mut(&step),
                    elements,
                    sums: mine,
                    batch: self.observed,
                });
            }
            let included = backward.relu || Some(index) == last && with_slope;
            if activation != Activation::Linear && !included {
                let output = backward.output;
                let gradient = backward.gradient_mut(&step);
                executor.execute(Slope {
                    gradient,
                    output,
                    activation,
                    row,
                });
            }
            let layers = network.layers().get(..index).unwrap_or(&[]);
            let below = layers.iter().rposition(|layer| !layer.kind.is_view());
            backward.relu = matches!(step.work, Work::MaxPool2d(_))
                && below.is_some_and(|below| {
                    let layer = network.layers().get(below);
                    layer.is_some_and(|layer| layer.kind.activation() == Activation::Relu)
                        && self.options.activity_of(below).is_none()
                });
            each(&mut backward, &step);
            backward.at_start = !backward.at_start;
        }
    }
}

/// Says which number stopped being finite, where one did.
fn check_updated(not_finite: &AtomicBool, parameters: &[f32], state: &[f32]) -> Result<(), Error> {
    if !not_finite.load(Ordering::Relaxed) {
        return Ok(());
    }
    check_finite(Error::PARAMETER, parameters)?;
    check_finite("optimizer's state", state)
}

/// The backward pass at one layer: its stored input and output, and the gradients on both its sides, which lie at the two
/// ends of `deltas` by turns.
struct Backward<'a> {
    input: &'a [f32],
    output: &'a [f32],
    deltas: &'a mut [f32],
    transposed: &'a mut [f32],
    /// Whether the output's gradient lies at the start.
    at_start: bool,
    samples: usize,
    /// The layer that no gradient goes below.
    first: usize,
    /// Whether the gradient that goes down is multiplied by the slope of relu on the way: a pooling does it in passing.
    relu: bool,
}

impl Backward<'_> {
    /// The gradient of the layer's output.
    fn gradient_mut(&mut self, step: &Step<'_>) -> &mut [f32] {
        let output = step.output.len().saturating_mul(self.samples);
        if self.at_start {
            split_mut(self.deltas, output).0
        } else {
            split_mut(self.deltas, self.deltas.len().saturating_sub(output)).1
        }
    }

    /// The two ways on from the layer, which know nothing of one another.
    fn divided(&mut self, step: &Step<'_>) -> (Down<'_>, ToParameters<'_>) {
        let (output, input) = (
            step.output.len().saturating_mul(self.samples),
            step.input.len().saturating_mul(self.samples),
        );
        let length = self.deltas.len();
        let (gradient, input_gradient) = if self.at_start {
            let (gradient, rest) = split_mut(self.deltas, output);
            let below = rest.len().saturating_sub(input);
            (gradient, split_mut(rest, below).1)
        } else {
            let (rest, gradient) = split_mut(self.deltas, length.saturating_sub(output));
            (gradient, split_mut(rest, input).0)
        };
        let gradient: &[f32] = gradient;
        (
            Down {
                input: self.input,
                output: self.output,
                gradient,
                input_gradient,
                transposed: &mut *self.transposed,
                samples: self.samples,
                is_needed: step.index > self.first,
                relu: self.relu,
            },
            ToParameters {
                input: self.input,
                gradient,
            },
        )
    }
}

/// The way to the gradient of a layer's input.
struct Down<'a> {
    input: &'a [f32],
    output: &'a [f32],
    gradient: &'a [f32],
    input_gradient: &'a mut [f32],
    transposed: &'a mut [f32],
    samples: usize,
    /// Whether a layer below needs it.
    is_needed: bool,
    relu: bool,
}

impl Down<'_> {
    fn run(self, executor: &impl Executor, step: &Step<'_>, parameters: &[f32]) {
        let Self {
            input,
            output,
            gradient,
            input_gradient,
            transposed,
            samples,
            is_needed,
            relu,
        } = self;
        if !is_needed {
            return;
        }
        let (weights, _) = weights_and_bias(step, parameters);
        let columns = if samples > 1 && matches!(step.work, Work::Dense { .. }) {
            let columns = split_mut(transposed, gradient.len()).0;
            let elements = step.output.len();
            executor.execute(Transpose {
                rows: gradient,
                columns: &mut *columns,
                elements,
                samples,
                first: 0,
            });
            columns
        } else {
            gradient
        };
        match step.work {
            Work::Dense { inputs, outputs } => executor.execute(dense::InputGradient {
                gradient: columns,
                weights,
                input_gradient,
                inputs,
                outputs,
                samples,
                first: 0,
            }),
            Work::Conv2d(window) => {
                executor.execute(conv::InputGradient {
                    gradient,
                    weights,
                    input_gradient,
                    window,
                });
            }
            Work::MaxPool2d(window) => {
                executor.execute(pool::InputGradient {
                    input,
                    output,
                    gradient,
                    input_gradient,
                    window,
                    relu,
                });
            }
            Work::UpSample2d(window) => executor.execute(upsample::InputGradient {
                gradient,
                input_gradient,
                window,
            }),
            Work::View { .. } => {}
        }
    }
}

/// The way to the gradients of a layer's weights and biases.
struct ToParameters<'a> {
    input: &'a [f32],
    gradient: &'a [f32],
}

impl ToParameters<'_> {
    fn run<S: GradientSink>(
        self,
        executor: &impl Executor,
        step: &Step<'_>,
        weight_sink: S,
        bias_sink: S,
    ) {
        let Self { input, gradient } = self;
        let outputs = match step.work {
            Work::Dense { inputs, outputs } => {
                let sink = weight_sink;
                executor.execute(dense::WeightGradient {
                    input,
                    gradient,
                    sink,
                    inputs,
                    outputs,
                    first: 0,
                    count: inputs,
                });
                outputs
            }
            Work::Conv2d(window) => {
                let count = window.y.size.wrapping_mul(window.x.size);
                executor.execute(conv::WeightGradient {
                    input,
                    gradient,
                    sink: weight_sink,
                    window,
                    first: 0,
                    count,
                });
                window.channels_out
            }
            _ => return,
        };
        executor.execute(BiasGradient {
            gradient,
            outputs,
            sink: bias_sink,
        });
    }
}
