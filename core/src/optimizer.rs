//! Optimizers: what a gradient does to a parameter.

use core::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::kernels::activation::is_finite;
use crate::kernels::{GradientSink, MOST_LANES, Machine, Task, Vector, Vectors, split_mut};
use crate::penalty;

/// A rule of update, with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Optimizer {
    /// Adam (Kingma and Ba, arXiv 1412.6980) in Keras's form:
    /// `m += (g - m) · (1 - β1)`, `v += (g · g - v) · (1 - β2)`, `w -= (m · α) / (sqrt(v) + ε)`, with
    /// `α = rate · sqrt(1 - β2^t) / (1 - β1^t)`. 1 - β and α are computed in f64 and rounded once.
    Adam {
        /// Keras: 0.001.
        learning_rate: f64,
        /// β1: 0.9.
        beta_1: f64,
        /// β2: 0.999.
        beta_2: f64,
        /// ε: 1e-7.
        epsilon: f64,
    },
    /// Gradient descent. Without momentum `w -= rate · g`; with it, as in Keras, `u = momentum · u - rate · g`, `w += u`.
    Sgd {
        /// Keras: 0.01.
        learning_rate: f64,
        /// 0 for none; below 1.
        momentum: f64,
    },
}

impl Optimizer {
    /// Adam with Keras's defaults.
    #[must_use]
    pub const fn adam() -> Self {
        Self::Adam {
            learning_rate: 1e-3,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-7,
        }
    }

    /// The same with another learning rate.
    #[must_use]
    pub const fn with_learning_rate(mut self, rate: f64) -> Self {
        match &mut self {
            Self::Adam { learning_rate, .. } | Self::Sgd { learning_rate, .. } => {
                *learning_rate = rate;
            }
        }
        self
    }

    /// How far a step goes.
    #[must_use]
    pub const fn learning_rate(&self) -> f64 {
        match *self {
            Self::Adam { learning_rate, .. } | Self::Sgd { learning_rate, .. } => learning_rate,
        }
    }

    /// How many numbers it keeps for each parameter.
    #[must_use]
    pub fn state_per_parameter(&self) -> usize {
        match *self {
            Self::Adam { .. } => 2,
            Self::Sgd { momentum, .. } => usize::from(momentum != 0.0),
        }
    }

    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first that is outside.
    pub fn check(&self) -> Result<(), Error> {
        let positive = |key, value: f64| {
            let given = value as f32;
            let fine = given.is_finite() && given > 0.0;
            if fine {
                Ok(())
            } else {
                Err(Error::Setting {
                    key,
                    expected: "a finite number above 0",
                    given,
                })
            }
        };
        let fraction = |key, value: f64| {
            let fine = (0.0..1.0).contains(&value);
            if fine {
                Ok(())
            } else {
                Err(Error::Setting {
                    key,
                    expected: "a number from 0 to below 1",
                    given: value as f32,
                })
            }
        };
        match *self {
            Self::Adam {
                learning_rate,
                beta_1,
                beta_2,
                epsilon,
            } => {
                positive("learning_rate", learning_rate)?;
                fraction("beta_1", beta_1)?;
                fraction("beta_2", beta_2)?;
                positive("epsilon", epsilon)
            }
            Self::Sgd {
                learning_rate,
                momentum,
            } => {
                positive("learning_rate", learning_rate)?;
                fraction("momentum", momentum)
            }
        }
    }

    /// The constants of the step after those that led to `powers`, which goes one step further.
    pub(crate) fn next(&self, powers: &mut [f64; 2], batch: usize) -> Rule {
        let scale = (1.0 / batch.max(1) as f64) as f32;
        match *self {
            Self::Adam {
                learning_rate,
                beta_1,
                beta_2,
                epsilon,
            } => {
                let [power_1, power_2] = *powers;
                let (power_1, power_2) = (power_1 * beta_1, power_2 * beta_2);
                *powers = [power_1, power_2];
                let alpha = learning_rate * crate::math::sqrt_f64(1.0 - power_2) / (1.0 - power_1);
                let kind = RuleKind::Adam {
                    alpha: alpha as f32,
                    first: (1.0 - beta_1) as f32,
                    second: (1.0 - beta_2) as f32,
                    epsilon: epsilon as f32,
                };
                Rule { scale, kind }
            }
            Self::Sgd {
                learning_rate,
                momentum,
            } if momentum != 0.0 => Rule {
                scale,
                kind: RuleKind::Momentum {
                    rate: learning_rate as f32,
                    momentum: momentum as f32,
                },
            },
            Self::Sgd { learning_rate, .. } => Rule {
                scale,
                kind: RuleKind::Plain {
                    rate: learning_rate as f32,
                },
            },
        }
    }
}

/// The constants of one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// 1/B.
    scale: f32,
    kind: RuleKind,
}

#[derive(Clone, Copy, Debug)]
enum RuleKind {
    Adam {
        alpha: f32,
        first: f32,
        second: f32,
        epsilon: f32,
    },
    Momentum {
        rate: f32,
        momentum: f32,
    },
    Plain {
        rate: f32,
    },
}

/// A step over parameters, their gradients' sums over the batch, and the optimizer's state for them.
#[derive(Debug)]
pub(crate) struct Update<'a> {
    pub(crate) rule: Rule,
    /// What the parameters pay, where they are a layer's weights with a penalty.
    pub(crate) penalty: Option<penalty::Weights>,
    pub(crate) parameters: &'a mut [f32],
    /// Set to +0.0 for the next batch.
    pub(crate) sums: &'a mut [f32],
    /// Adam's m; momentum's u; else empty.
    pub(crate) first: &'a mut [f32],
    /// Adam's v; else empty.
    pub(crate) second: &'a mut [f32],
    /// Set where a parameter or the state stopped being finite.
    pub(crate) not_finite: &'a AtomicBool,
}

impl Task for Update<'_> {
    fn units(&self) -> usize {
        self.parameters.len()
    }

    fn operations(&self) -> usize {
        self.parameters.len().saturating_mul(16)
    }

    fn split(self, units: usize) -> (Self, Self) {
        let (parameters, parameters_rest) = split_mut(self.parameters, units);
        let (sums, sums_rest) = split_mut(self.sums, units);
        let (first, first_rest) = split_mut(self.first, units);
        let (second, second_rest) = split_mut(self.second, units);
        (
            Self {
                parameters,
                sums,
                first,
                second,
                ..self
            },
            Self {
                parameters: parameters_rest,
                sums: sums_rest,
                first: first_rest,
                second: second_rest,
                ..self
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        if !update::<M>(
            self.rule,
            self.penalty,
            self.parameters,
            self.sums,
            self.first,
            self.second,
        ) {
            self.not_finite.store(true, Ordering::Relaxed);
        }
        self.sums.fill(0.0);
    }
}

/// Updates each parameter; whether parameters and state are finite afterwards.
#[inline(always)]
fn update<M: Machine>(
    rule: Rule,
    penalty: Option<penalty::Weights>,
    parameters: &mut [f32],
    sums: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) -> bool {
    let gradient = |sum: f32, w: f32| match penalty {
        None => sum * rule.scale,
        Some(penalty) => penalty.add(sum * rule.scale, w),
    };
    let mut finite = true;
    match rule.kind {
        RuleKind::Adam {
            alpha,
            first: keep_first,
            second: keep_second,
            epsilon,
        } => {
            for (((w, &sum), m), v) in parameters.iter_mut().zip(sums).zip(first).zip(second) {
                let g = gradient(sum, *w);
                *m += (g - *m) * keep_first;
                *v += (g * g - *v) * keep_second;
                *w -= (*m * alpha) / (M::sqrt(*v) + epsilon);
                finite &= is_finite(*w) & is_finite(*v);
            }
        }
        RuleKind::Momentum { rate, momentum } => {
            for ((w, &sum), u) in parameters.iter_mut().zip(sums).zip(first) {
                *u = momentum * *u - rate * gradient(sum, *w);
                *w += *u;
                finite &= is_finite(*w);
            }
        }
        RuleKind::Plain { rate } => {
            for (w, &sum) in parameters.iter_mut().zip(sums) {
                *w -= rate * gradient(sum, *w);
                finite &= is_finite(*w);
            }
        }
    }
    finite
}

/// Updates each parameter as soon as its gradient is whole: the single-sample mode, which keeps no gradients.
#[derive(Debug)]
pub(crate) struct Fused<'a> {
    pub(crate) rule: Rule,
    /// What the parameters pay, where they are a layer's weights with a penalty.
    pub(crate) penalty: Option<penalty::Weights>,
    pub(crate) parameters: &'a mut [f32],
    pub(crate) first: &'a mut [f32],
    pub(crate) second: &'a mut [f32],
    pub(crate) not_finite: &'a AtomicBool,
}

impl GradientSink for Fused<'_> {
    #[inline(always)]
    fn load<V: Vector>(&self, _at: usize) -> V {
        V::splat(0.0)
    }

    #[inline(always)]
    fn store<M: Machine, V: Vector>(&mut self, at: usize, sums: V) {
        let mut lanes = [0.0; MOST_LANES];
        sums.store(&mut lanes);
        let sums = lanes.get(..V::LANES).unwrap_or(&[]);
        let range = at..at.wrapping_add(sums.len());
        let Some(parameters) = self.parameters.get_mut(range.clone()) else {
            return;
        };
        let first = self.first.get_mut(range.clone()).unwrap_or(&mut []);
        let second = self.second.get_mut(range).unwrap_or(&mut []);
        if !update::<M>(self.rule, self.penalty, parameters, sums, first, second) {
            self.not_finite.store(true, Ordering::Relaxed);
        }
    }

    fn split(self, at: usize) -> (Self, Self) {
        let (parameters, parameters_rest) = split_mut(self.parameters, at);
        let (first, first_rest) = split_mut(self.first, at);
        let (second, second_rest) = split_mut(self.second, at);
        (
            Self {
                parameters,
                first,
                second,
                ..self
            },
            Self {
                parameters: parameters_rest,
                first: first_rest,
                second: second_rest,
                ..self
            },
        )
    }
}
