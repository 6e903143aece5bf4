//! Penalties: what training pays for large weights and for busy units, beside the loss.
//!
//! A batch of B samples costs the mean of its losses, and of each layer with a penalty
//! `λ1 Σ|w| + λ2 Σ w²` over its weights (not its biases), `λ 1/B Σ|a|` over its outputs `a`, and
//! `β Σ_j (ρ ln(ρ/q_j) + (1 - ρ) ln((1 - ρ)/(1 - q_j)))` over its units, `q_j` being the unit's mean output in the batch,
//! clipped to [1e-7, 1 - 1e-7]: the Kullback-Leibler divergence of activities (A. Ng, Sparse autoencoder, CS294A lecture
//! notes, 2011).

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::kernels::{Machine, Task, Vectors, split, split_mut};
use crate::layer::Activation;
use crate::loss::{Loss, clipped, reduced};
use crate::math;
use crate::network::Network;

/// What a layer pays. Zeros and `None` cost nothing; with all of them the penalty is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Penalty {
    /// The layer's index.
    pub layer: usize,
    /// λ1 of the weights: adds `λ1 · sign(w)` to a weight's gradient. Keras's `L1`.
    pub kernel_l1: f64,
    /// λ2 of the weights: adds `2 λ2 · w` to a weight's gradient. Keras's `L2`.
    pub kernel_l2: f64,
    /// λ of the outputs: adds `λ · sign(a)` to the gradient of an output. Keras's `activity_regularizer=L1`, whose sum is
    /// divided by the batch too.
    pub activity_l1: f64,
    /// How busy each unit is to be in the mean.
    pub sparsity: Option<Sparsity>,
}

/// A mean activity to keep to, by Kullback-Leibler divergence. It needs outputs from 0 to 1: a sigmoid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sparsity {
    /// ρ, above 0 and below 1.
    pub target: f64,
    /// β, at least 0.
    pub weight: f64,
}

/// The sign of a number, 0 for both zeros, times a factor.
#[inline(always)]
fn signed(factor: f32, value: f32) -> f32 {
    if value > 0.0 {
        factor
    } else if value < 0.0 {
        -factor
    } else {
        0.0
    }
}

/// The sum of the magnitudes, in the order of a loss's sum.
fn magnitudes(values: &[f32]) -> f64 {
    f64::from(reduced(values, values, 1.0, |value, _| value.abs()))
}

impl Penalty {
    /// Checks penalties against their network and the loss beside them.
    pub(crate) fn check(
        penalties: &[Self],
        network: &Network<'_>,
        loss: Loss,
    ) -> Result<(), Error> {
        for (at, penalty) in penalties.iter().enumerate() {
            let refuse = |problem| {
                Err(Error::Penalty {
                    layer: penalty.layer,
                    problem,
                })
            };
            let Some(step) = network.steps().nth(penalty.layer) else {
                return refuse("expected a layer of the network");
            };
            let (before, _) = penalties.split_at_checked(at).unwrap_or((&[], &[]));
            if before.iter().any(|other| other.layer == penalty.layer) {
                return refuse("expected one penalty for a layer, but a second one came");
            }
            for (key, value) in [
                ("kernel_l1", penalty.kernel_l1),
                ("kernel_l2", penalty.kernel_l2),
                ("activity_l1", penalty.activity_l1),
                (
                    "sparsity.weight",
                    penalty.sparsity.map_or(0.0, |s| s.weight),
                ),
            ] {
                let given = value as f32;
                if !(given.is_finite() && given >= 0.0) {
                    return Err(Error::Setting {
                        key,
                        expected: "a finite number from 0 on",
                        given,
                    });
                }
            }
            if let Some(Sparsity { target, .. }) = penalty.sparsity {
                let given = target as f32;
                if !(given > 0.0 && given < 1.0) {
                    return Err(Error::Setting {
                        key: "sparsity.target",
                        expected: "a number above 0 and below 1",
                        given,
                    });
                }
                if step.layer.kind.activation() != Activation::Sigmoid {
                    return refuse("sparsity needs the activation \"sigmoid\"");
                }
            }
            if step.parameters.is_empty() && penalty.of_weights().is_some() {
                return refuse("kernel_l1 and kernel_l2 need a layer with weights");
            }
            if penalty.is_of_activity() {
                if step.layer.kind.is_view() {
                    return refuse("a layer that computes nothing has no activity to penalize");
                }
                if loss == Loss::CategoricalCrossEntropy
                    && network.last_computed() == Some(penalty.layer)
                {
                    return refuse(
                        "categorical cross-entropy takes no activity penalty on the layer of its softmax",
                    );
                }
            }
        }
        Ok(())
    }

    /// Whether it looks at the layer's outputs.
    pub(crate) fn is_of_activity(&self) -> bool {
        self.activity_l1 != 0.0 || self.sparsity.is_some()
    }

    /// What it does to the weights, where it does something.
    pub(crate) fn of_weights(&self) -> Option<Weights> {
        (self.kernel_l1 != 0.0 || self.kernel_l2 != 0.0).then_some(Weights {
            l1: self.kernel_l1 as f32,
            twice_l2: (2.0 * self.kernel_l2) as f32,
        })
    }

    /// What the weights cost.
    pub(crate) fn weights_cost(&self, weights: &[f32]) -> f64 {
        let mut cost = 0.0;
        if self.kernel_l1 != 0.0 {
            cost += self.kernel_l1 * magnitudes(weights);
        }
        if self.kernel_l2 != 0.0 {
            let squares = reduced(weights, weights, 1.0, |weight, _| weight * weight);
            cost += self.kernel_l2 * f64::from(squares);
        }
        cost
    }

    /// What the outputs of some samples cost, without the sparsity; not yet divided by the batch.
    pub(crate) fn activity_cost(&self, output: &[f32], elements: usize) -> f64 {
        if self.activity_l1 == 0.0 {
            return 0.0;
        }
        let samples = output.chunks_exact(elements.max(1));
        self.activity_l1 * samples.fold(0.0, |sum, sample| sum + magnitudes(sample))
    }

    /// What the units' mean activities cost.
    pub(crate) fn sparsity_cost(&self, sums: &[f32], samples: usize) -> f64 {
        let Some(Sparsity { target, weight }) = self.sparsity else {
            return 0.0;
        };
        let (rho, rest) = (target as f32, (1.0 - target) as f32);
        let scale = (1.0 / samples.max(1) as f64) as f32;
        let divergence = reduced(sums, sums, 1.0, |sum, _| {
            let q = clipped(sum * scale);
            rho * math::ln(rho / q) + rest * math::ln(rest / (1.0 - q))
        });
        weight * f64::from(divergence)
    }
}

/// A penalty of weights as the update takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights {
    l1: f32,
    twice_l2: f32,
}

impl Weights {
    /// `(g + λ1 · sign(w)) + 2 λ2 · w`.
    #[inline(always)]
    pub(crate) fn add(self, gradient: f32, weight: f32) -> f32 {
        (gradient + signed(self.l1, weight)) + self.twice_l2 * weight
    }
}

/// Adds the gradient of a layer's activity penalties to that of its output: `g + λ · sign(a)` where λ is not 0, then
/// `g + β · ((1 - ρ)/(1 - q) - ρ/q)` where there is a sparsity. ρ, 1 - ρ, β and λ are computed in f64 and rounded once.
#[derive(Debug)]
pub(crate) struct Activity<'a> {
    pub(crate) penalty: Penalty,
    /// `[sample][element]`.
    pub(crate) output: &'a [f32],
    /// `[sample][element]`.
    pub(crate) gradient: &'a mut [f32],
    /// Outputs of a sample.
    pub(crate) elements: usize,
    /// The sums of each output over the batch; used by a sparsity alone.
    pub(crate) sums: &'a [f32],
    /// Samples in these sums.
    pub(crate) batch: usize,
}

impl Task for Activity<'_> {
    fn units(&self) -> usize {
        self.output.len().checked_div(self.elements).unwrap_or(0)
    }

    fn operations(&self) -> usize {
        let each = if self.penalty.sparsity.is_some() {
            20
        } else {
            3
        };
        self.output.len().saturating_mul(each)
    }

    fn split(self, units: usize) -> (Self, Self) {
        let at = units.wrapping_mul(self.elements);
        let (output, output_rest) = split(self.output, at);
        let (gradient, gradient_rest) = split_mut(self.gradient, at);
        (
            Self {
                output,
                gradient,
                ..self
            },
            Self {
                output: output_rest,
                gradient: gradient_rest,
                ..self
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        let lambda = self.penalty.activity_l1 as f32;
        if lambda != 0.0 {
            for (g, &a) in self.gradient.iter_mut().zip(self.output) {
                *g += signed(lambda, a);
            }
        }
        if let Some(Sparsity { target, weight }) = self.penalty.sparsity {
            let (rho, rest, beta) = (target as f32, (1.0 - target) as f32, weight as f32);
            let scale = (1.0 / self.batch.max(1) as f64) as f32;
            for gradient in self.gradient.chunks_exact_mut(self.elements.max(1)) {
                for (g, &sum) in gradient.iter_mut().zip(self.sums) {
                    let q = clipped(sum * scale);
                    *g += beta * (rest / (1.0 - q) - rho / q);
                }
            }
        }
    }
}
