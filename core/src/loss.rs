//! Losses: what training makes small, and its gradient.

use serde::{Deserialize, Serialize};

use crate::kernels::{Machine, Task, Vectors, split, split_mut};
use crate::layer::Activation;
use crate::math;

/// The loss of one sample of N outputs `a` and targets `t`. A batch's loss is the mean over its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// `1/N Σ (a - t)²`; gradient `(a - t) · (2/N)`.
    MeanSquaredError,
    /// `1/2 Σ (a - t)²`, as in the literature of sparse autoencoders; gradient `a - t`.
    HalfSquaredError,
    /// `-1/N Σ (t ln p + (1 - t) ln(1 - p))`, p being `a` clipped to [1e-7, 1 - 1e-7] as in Keras. After a sigmoid the
    /// gradient of the two together is `(a - t) · (1/N)`; elsewhere `(p - t) / (p (1 - p)) · (1/N)`, 0 where clipped.
    BinaryCrossEntropy,
    /// `-Σ t ln p`, after a softmax over the sample, with targets that sum to 1; the gradient of
    /// the two together is `a - t`.
    CategoricalCrossEntropy,
}

/// Keras's `epsilon()`: how near 0 and 1 a probability may come in a logarithm.
const CLIP: f32 = 1e-7;

impl Loss {
    /// Whether the loss's gradient is that of the activation's input already.
    #[must_use]
    pub const fn includes_slope(self, last: Activation) -> bool {
        matches!(
            (self, last),
            (Self::BinaryCrossEntropy, Activation::Sigmoid)
                | (Self::CategoricalCrossEntropy, Activation::Softmax)
        )
    }

    /// The factor of a sample's gradient, and that of its loss: computed in f64 and rounded once.
    fn factors(self, outputs: usize) -> (f32, f32) {
        let n = outputs as f64;
        match self {
            Self::MeanSquaredError => ((2.0 / n) as f32, (1.0 / n) as f32),
            Self::HalfSquaredError => (1.0, 0.5),
            Self::BinaryCrossEntropy => ((1.0 / n) as f32, (-1.0 / n) as f32),
            Self::CategoricalCrossEntropy => (1.0, -1.0),
        }
    }
}

#[inline(always)]
pub(crate) fn clipped(a: f32) -> f32 {
    let a = if a < CLIP { CLIP } else { a };
    if a > 1.0 - CLIP { 1.0 - CLIP } else { a }
}

/// Number of partial sums of a sample's loss.
const PARTS: usize = 8;

/// A sum of terms, such as a sample's loss. It is made of eight: part k adds the terms k, k + 8, k + 16, ... in this order from +0.0 on.
/// They are joined as `((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7))`, and multiplied by the factor.
#[inline(always)]
pub(crate) fn reduced(
    output: &[f32],
    target: &[f32],
    factor: f32,
    term: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut parts = [0.0f32; PARTS];
    let ((outputs, output_rest), (targets, target_rest)) =
        (output.as_chunks::<PARTS>(), target.as_chunks::<PARTS>());
    for (outputs, targets) in outputs.iter().zip(targets) {
        for ((part, &a), &t) in parts.iter_mut().zip(outputs).zip(targets) {
            *part += term(a, t);
        }
    }
    for ((part, &a), &t) in parts.iter_mut().zip(output_rest).zip(target_rest) {
        *part += term(a, t);
    }
    let [p0, p1, p2, p3, p4, p5, p6, p7] = parts;
    (((p0 + p4) + (p2 + p6)) + ((p1 + p5) + (p3 + p7))) * factor
}

/// The losses of a batch's samples, and their gradients where they are wanted.
#[derive(Debug)]
pub struct Evaluate<'a> {
    /// Which loss.
    pub loss: Loss,
    /// Whether the gradient is to be that of the last activation's input: only where [`Loss::includes_slope`] says so.
    pub with_slope: bool,
    /// `[sample][output]`.
    pub output: &'a [f32],
    /// `[sample][output]`.
    pub target: &'a [f32],
    /// `[sample][output]`, or empty where no gradient is wanted.
    pub gradient: &'a mut [f32],
    /// `[sample]`.
    pub losses: &'a mut [f32],
    /// Outputs of a sample.
    pub outputs: usize,
}

impl Task for Evaluate<'_> {
    fn units(&self) -> usize {
        self.losses.len()
    }

    fn operations(&self) -> usize {
        let each = match self.loss {
            Loss::MeanSquaredError | Loss::HalfSquaredError => 4,
            Loss::BinaryCrossEntropy | Loss::CategoricalCrossEntropy => 40,
        };
        self.output.len().saturating_mul(each)
    }

    fn split(self, units: usize) -> (Self, Self) {
        let at = units.wrapping_mul(self.outputs);
        let (output, output_rest) = split(self.output, at);
        let (target, target_rest) = split(self.target, at);
        let (gradient, gradient_rest) = split_mut(self.gradient, at);
        let (losses, losses_rest) = split_mut(self.losses, units);
        (
            Self {
                output,
                target,
                gradient,
                losses,
                ..self
            },
            Self {
                output: output_rest,
                target: target_rest,
                gradient: gradient_rest,
                losses: losses_rest,
                ..self
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        let (gradient_factor, loss_factor) = self.loss.factors(self.outputs);
        let samples = self
            .output
            .chunks_exact(self.outputs.max(1))
            .zip(self.target.chunks_exact(self.outputs.max(1)));
        for (loss, (output, target)) in self.losses.iter_mut().zip(samples) {
            *loss = match self.loss {
                Loss::MeanSquaredError | Loss::HalfSquaredError => {
                    reduced(output, target, loss_factor, |a, t| (a - t) * (a - t))
                }
                Loss::BinaryCrossEntropy => reduced(output, target, loss_factor, |a, t| {
                    let p = clipped(a);
                    t * math::ln(p) + (1.0 - t) * math::ln(1.0 - p)
                }),
                Loss::CategoricalCrossEntropy => {
                    reduced(output, target, loss_factor, |a, t| t * math::ln(clipped(a)))
                }
            };
        }
        let each = self
            .gradient
            .iter_mut()
            .zip(self.output.iter().zip(self.target));
        if self.loss == Loss::BinaryCrossEntropy && !self.with_slope {
            each.for_each(|(g, (&a, &t))| {
                let p = clipped(a);
                *g = if p == a {
                    (p - t) / (p * (1.0 - p)) * gradient_factor
                } else {
                    0.0
                };
            });
        } else {
            each.for_each(|(g, (&a, &t))| *g = (a - t) * gradient_factor);
        }
    }
}
