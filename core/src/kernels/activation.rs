//! Activations, in place on a layer's output, and their slopes.

use core::sync::atomic::{AtomicBool, Ordering};

use super::{Machine, Task, Vectors, split, split_mut};
use crate::layer::Activation;
use crate::math::{self, Math};

/// `values = activation(values)`; says whether a number that came was not finite.
#[derive(Debug)]
pub struct Forward<'a> {
    /// A layer's sums with their biases, in rows of `row`.
    pub values: &'a mut [f32],
    /// What is applied.
    pub activation: Activation,
    /// Numbers that softmax takes together: a dense layer's units, a place's channels.
    pub row: usize,
    /// Whose exp.
    pub math: Math,
    /// Set where an infinity or a NaN came; never cleared.
    pub not_finite: &'a AtomicBool,
}

impl Task for Forward<'_> {
    fn units(&self) -> usize {
        self.values.len().checked_div(self.row).unwrap_or(0)
    }

    fn operations(&self) -> usize {
        let each = match self.activation {
            Activation::Linear | Activation::Relu => 1,
            Activation::Sigmoid | Activation::Tanh | Activation::Softmax => 20,
        };
        self.values.len().saturating_mul(each)
    }

    fn split(self, units: usize) -> (Self, Self) {
        let (values, rest) = split_mut(self.values, units.wrapping_mul(self.row));
        (
            Self { values, ..self },
            Self {
                values: rest,
                ..self
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        if !all_finite(self.values) {
            self.not_finite.store(true, Ordering::Relaxed);
        }
        match self.math {
            Math::Exact => activate(
                self.values,
                self.activation,
                self.row,
                math::exp,
                math::sigmoid,
                math::tanh,
            ),
            #[cfg(feature = "fast-math")]
            Math::Fast => {
                activate(
                    self.values,
                    self.activation,
                    self.row,
                    math::fast::exp,
                    math::fast::sigmoid,
                    math::fast::tanh,
                );
            }
            // Whoever runs a network asks `Math::is_available` first.
            #[cfg(not(feature = "fast-math"))]
            Math::Fast => {}
        }
    }
}

/// Whether a number is neither infinite nor NaN: by its bits, which vectorizes.
#[inline(always)]
#[must_use]
pub(crate) fn is_finite(value: f32) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    value.to_bits() & EXPONENT != EXPONENT
}

/// Whether every number is neither infinite nor NaN.
#[inline(always)]
#[must_use]
pub fn all_finite(values: &[f32]) -> bool {
    values
        .iter()
        .fold(true, |fine, value| fine & is_finite(*value))
}

#[inline(always)]
fn activate(
    values: &mut [f32],
    activation: Activation,
    row: usize,
    exp: impl Fn(f32) -> f32,
    sigmoid: impl Fn(f32) -> f32,
    tanh: impl Fn(f32) -> f32,
) {
    match activation {
        Activation::Linear => {}
        Activation::Relu => values.iter_mut().for_each(|x| *x = relu(*x)),
        Activation::Sigmoid => values.iter_mut().for_each(|x| *x = sigmoid(*x)),
        Activation::Tanh => values.iter_mut().for_each(|x| *x = tanh(*x)),
        Activation::Softmax => {
            for row in values.chunks_exact_mut(row.max(1)) {
                let largest = row.iter().fold(
                    f32::NEG_INFINITY,
                    |best, &x| if x > best { x } else { best },
                );
                row.iter_mut().for_each(|x| *x = exp(*x - largest));
                let sum = row.iter().fold(0.0, |sum, x| sum + x);
                row.iter_mut().for_each(|x| *x /= sum);
            }
        }
    }
}

#[inline(always)]
fn relu(x: f32) -> f32 {
    if x > 0.0 { x } else { 0.0 }
}

/// `gradient = gradient · slope`, the slope from the stored output `a`: relu `if a > 0 { g } else { 0 }`, sigmoid
/// `g · (a · (1 - a))`, tanh `g · (1 - a · a)`, softmax `a_i · (g_i - Σ_j g_j · a_j)`.
#[derive(Debug)]
pub struct Slope<'a> {
    /// The gradient of the activation's output, and then of its input.
    pub gradient: &'a mut [f32],
    /// The activation's output.
    pub output: &'a [f32],
    /// What was applied.
    pub activation: Activation,
    /// Numbers that softmax took together.
    pub row: usize,
}

impl Task for Slope<'_> {
    fn units(&self) -> usize {
        self.gradient.len().checked_div(self.row).unwrap_or(0)
    }

    fn operations(&self) -> usize {
        self.gradient.len().saturating_mul(2)
    }

    fn split(self, units: usize) -> (Self, Self) {
        let at = units.wrapping_mul(self.row);
        let (gradient, rest) = split_mut(self.gradient, at);
        let (output, output_rest) = split(self.output, at);
        (
            Self {
                gradient,
                output,
                ..self
            },
            Self {
                gradient: rest,
                output: output_rest,
                ..self
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        let pairs = self.gradient.iter_mut().zip(self.output);
        match self.activation {
            Activation::Linear => {}
            Activation::Relu => pairs.for_each(|(g, &a)| *g = if a > 0.0 { *g } else { 0.0 }),
            Activation::Sigmoid => pairs.for_each(|(g, &a)| *g *= a * (1.0 - a)),
            Activation::Tanh => pairs.for_each(|(g, &a)| *g *= 1.0 - a * a),
            Activation::Softmax => {
                let row = self.row.max(1);
                for (gradient, output) in self
                    .gradient
                    .chunks_exact_mut(row)
                    .zip(self.output.chunks_exact(row))
                {
                    let sum = gradient
                        .iter()
                        .zip(output)
                        .fold(0.0, |sum, (g, a)| sum + g * a);
                    gradient
                        .iter_mut()
                        .zip(output)
                        .for_each(|(g, a)| *g = a * (*g - sum));
                }
            }
        }
    }
}
