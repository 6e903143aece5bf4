//! The specification of the arithmetic, loop by loop: the twin that every fast kernel equals to the bit.
//!
//! Nothing on a device calls it; it may index and panic like any plain program. Those of layers and
//! losses work on one sample.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::needless_range_loop,
    clippy::expect_used,
    reason = "plain loops over plain indices are what makes the specification readable"
)]

use crate::layer::Activation;
use crate::loss::Loss;
use crate::math;
use crate::optimizer::Optimizer;
use crate::penalty::{Penalty, Sparsity};
use crate::shape::Window;

/// A dense layer without its activation.
pub fn dense(input: &[f32], weights: &[f32], bias: &[f32], output: &mut [f32]) {
    for o in 0..output.len() {
        let mut sum = 0.0;
        for i in 0..input.len() {
            sum += input[i] * weights[i * output.len() + o];
        }
        output[o] = sum + bias[o];
    }
}

/// The gradient of a dense layer's input.
pub fn dense_input_gradient(gradient: &[f32], weights: &[f32], input_gradient: &mut [f32]) {
    for i in 0..input_gradient.len() {
        let mut sum = 0.0;
        for o in 0..gradient.len() {
            sum += weights[i * gradient.len() + o] * gradient[o];
        }
        input_gradient[i] = sum;
    }
}

/// Adds one sample to the sums of a dense layer's gradients, which start at +0.0.
pub fn dense_parameter_gradient(
    input: &[f32],
    gradient: &[f32],
    weight_sums: &mut [f32],
    bias_sums: &mut [f32],
) {
    for i in 0..input.len() {
        for o in 0..gradient.len() {
            weight_sums[i * gradient.len() + o] += input[i] * gradient[o];
        }
    }
    for o in 0..gradient.len() {
        bias_sums[o] += gradient[o];
    }
}

/// Where tap (ky, kx) of the window at (oy, ox) lies on the input, as `y * width + x`; `None` on the padding.
fn under(w: &Window, oy: usize, ox: usize, ky: usize, kx: usize) -> Option<usize> {
    let y = (oy * w.y.stride + ky).checked_sub(w.y.before)?;
    let x = (ox * w.x.stride + kx).checked_sub(w.x.before)?;
    (y < w.y.input && x < w.x.input).then_some(y * w.x.input + x)
}

/// A convolution without its activation.
pub fn conv(w: &Window, input: &[f32], weights: &[f32], bias: &[f32], output: &mut [f32]) {
    let (channels, filters) = (w.channels_in, w.channels_out);
    for oy in 0..w.y.output {
        for ox in 0..w.x.output {
            for f in 0..filters {
                let mut sum = 0.0;
                for ky in 0..w.y.size {
                    for kx in 0..w.x.size {
                        for c in 0..channels {
                            let value = under(w, oy, ox, ky, kx)
                                .map_or(0.0, |place| input[place * channels + c]);
                            sum += value
                                * weights[((ky * w.x.size + kx) * channels + c) * filters + f];
                        }
                    }
                }
                output[(oy * w.x.output + ox) * filters + f] = sum + bias[f];
            }
        }
    }
}

/// The gradient of a convolution's input.
pub fn conv_input_gradient(
    w: &Window,
    gradient: &[f32],
    weights: &[f32],
    input_gradient: &mut [f32],
) {
    let (channels, filters) = (w.channels_in, w.channels_out);
    input_gradient.fill(0.0);
    for oy in 0..w.y.output {
        for ox in 0..w.x.output {
            for f in 0..filters {
                for ky in 0..w.y.size {
                    for kx in 0..w.x.size {
                        for c in 0..channels {
                            if let Some(place) = under(w, oy, ox, ky, kx) {
                                input_gradient[place * channels + c] += weights
                                    [((ky * w.x.size + kx) * channels + c) * filters + f]
                                    * gradient[(oy * w.x.output + ox) * filters + f];
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Adds one sample to the sums of a convolution's gradients, which start at +0.0.
pub fn conv_parameter_gradient(
    w: &Window,
    input: &[f32],
    gradient: &[f32],
    weight_sums: &mut [f32],
    bias_sums: &mut [f32],
) {
    let (channels, filters) = (w.channels_in, w.channels_out);
    for oy in 0..w.y.output {
        for ox in 0..w.x.output {
            for f in 0..filters {
                let g = gradient[(oy * w.x.output + ox) * filters + f];
                for ky in 0..w.y.size {
                    for kx in 0..w.x.size {
                        for c in 0..channels {
                            let value = under(w, oy, ox, ky, kx)
                                .map_or(0.0, |place| input[place * channels + c]);
                            weight_sums[((ky * w.x.size + kx) * channels + c) * filters + f] +=
                                value * g;
                        }
                    }
                }
                bias_sums[f] += g;
            }
        }
    }
}

/// The input place that wins the window at (oy, ox) in channel `c`.
fn winner(w: &Window, input: &[f32], oy: usize, ox: usize, c: usize) -> usize {
    let mut best: Option<usize> = None;
    for ky in 0..w.y.size {
        for kx in 0..w.x.size {
            if let Some(place) = under(w, oy, ox, ky, kx)
                && best.is_none_or(|best| {
                    input[place * w.channels_in + c] > input[best * w.channels_in + c]
                })
            {
                best = Some(place);
            }
        }
    }
    best.expect("a window lies on the input with one tap at least")
}

/// Max-pooling.
pub fn max_pool(w: &Window, input: &[f32], output: &mut [f32]) {
    for oy in 0..w.y.output {
        for ox in 0..w.x.output {
            for c in 0..w.channels_in {
                output[(oy * w.x.output + ox) * w.channels_in + c] =
                    input[winner(w, input, oy, ox, c) * w.channels_in + c];
            }
        }
    }
}

/// The gradient of a max-pooling's input.
pub fn max_pool_input_gradient(
    w: &Window,
    input: &[f32],
    gradient: &[f32],
    input_gradient: &mut [f32],
) {
    input_gradient.fill(0.0);
    for oy in 0..w.y.output {
        for ox in 0..w.x.output {
            for c in 0..w.channels_in {
                input_gradient[winner(w, input, oy, ox, c) * w.channels_in + c] +=
                    gradient[(oy * w.x.output + ox) * w.channels_in + c];
            }
        }
    }
}

/// Upsampling; the window is that of the pooling that would undo it.
pub fn up_sample(w: &Window, input: &[f32], output: &mut [f32]) {
    for y in 0..w.y.input {
        for x in 0..w.x.input {
            for c in 0..w.channels_in {
                let place = y / w.y.size * w.x.output + x / w.x.size;
                output[(y * w.x.input + x) * w.channels_in + c] = input[place * w.channels_in + c];
            }
        }
    }
}

/// The gradient of an upsampling's input.
pub fn up_sample_input_gradient(w: &Window, gradient: &[f32], input_gradient: &mut [f32]) {
    input_gradient.fill(0.0);
    for y in 0..w.y.input {
        for x in 0..w.x.input {
            for c in 0..w.channels_in {
                let place = y / w.y.size * w.x.output + x / w.x.size;
                input_gradient[place * w.channels_in + c] +=
                    gradient[(y * w.x.input + x) * w.channels_in + c];
            }
        }
    }
}

/// An activation over numbers that softmax takes together.
pub fn activation(kind: Activation, values: &mut [f32]) {
    if kind == Activation::Softmax {
        let mut largest = f32::NEG_INFINITY;
        for &x in values.iter() {
            if x > largest {
                largest = x;
            }
        }
        let mut sum = 0.0;
        for x in values.iter_mut() {
            *x = math::exp(*x - largest);
            sum += *x;
        }
        for x in values.iter_mut() {
            *x /= sum;
        }
        return;
    }
    for x in values.iter_mut() {
        *x = match kind {
            Activation::Relu if *x > 0.0 => *x,
            Activation::Relu => 0.0,
            Activation::Sigmoid => math::sigmoid(*x),
            Activation::Tanh => math::tanh(*x),
            Activation::Linear | Activation::Softmax => *x,
        };
    }
}

/// Takes the gradient of an activation's output down to its input, by the output `a`.
pub fn slope(kind: Activation, output: &[f32], gradient: &mut [f32]) {
    let mut sum = 0.0;
    for i in 0..output.len() {
        sum += gradient[i] * output[i];
    }
    for i in 0..output.len() {
        let (g, a) = (gradient[i], output[i]);
        gradient[i] = match kind {
            Activation::Linear => g,
            Activation::Relu if a > 0.0 => g,
            Activation::Relu => 0.0,
            Activation::Sigmoid => g * (a * (1.0 - a)),
            Activation::Tanh => g * (1.0 - a * a),
            Activation::Softmax => a * (g - sum),
        };
    }
}

/// The loss of one sample, and its gradient: of the activation's output, or, `with_slope`, of its input.
pub fn loss(
    kind: Loss,
    with_slope: bool,
    output: &[f32],
    target: &[f32],
    gradient: &mut [f32],
) -> f32 {
    let n = output.len() as f64;
    let (gradient_factor, loss_factor) = match kind {
        Loss::MeanSquaredError => ((2.0 / n) as f32, (1.0 / n) as f32),
        Loss::HalfSquaredError => (1.0, 0.5),
        Loss::BinaryCrossEntropy => ((1.0 / n) as f32, (-1.0 / n) as f32),
        Loss::CategoricalCrossEntropy => (1.0, -1.0),
    };
    let mut parts = [0.0f32; 8];
    for i in 0..output.len() {
        let (a, t) = (output[i], target[i]);
        let p = if a < 1e-7 { 1e-7 } else { a };
        let p = if p > 1.0 - 1e-7 { 1.0 - 1e-7 } else { p };
        parts[i % 8] += match kind {
            Loss::MeanSquaredError | Loss::HalfSquaredError => (a - t) * (a - t),
            Loss::BinaryCrossEntropy => t * math::ln(p) + (1.0 - t) * math::ln(1.0 - p),
            Loss::CategoricalCrossEntropy => t * math::ln(p),
        };
        gradient[i] = if kind == Loss::BinaryCrossEntropy && !with_slope {
            if p == a {
                (p - t) / (p * (1.0 - p)) * gradient_factor
            } else {
                0.0
            }
        } else {
            (a - t) * gradient_factor
        };
    }
    let [p0, p1, p2, p3, p4, p5, p6, p7] = parts;
    (((p0 + p4) + (p2 + p6)) + ((p1 + p5) + (p3 + p7))) * loss_factor
}

/// Adds the gradient of an activity penalty to that of a sample's `output`; `means` are the batch's.
pub fn activity_penalty(penalty: Penalty, output: &[f32], means: &[f32], gradient: &mut [f32]) {
    for i in 0..output.len() {
        if penalty.activity_l1 != 0.0 {
            gradient[i] += penalty.activity_l1 as f32 * sign(output[i]);
        }
        if let Some(Sparsity { target, weight }) = penalty.sparsity {
            let q = if means[i] < 1e-7 { 1e-7 } else { means[i] };
            let q = if q > 1.0 - 1e-7 { 1.0 - 1e-7 } else { q };
            let away = (1.0 - target) as f32 / (1.0 - q);
            gradient[i] += weight as f32 * (away - target as f32 / q);
        }
    }
}

/// The gradient of a weight, 1/B multiplied in, with the penalties of its layer.
pub fn weight_penalty(penalty: Penalty, gradient: f32, weight: f32) -> f32 {
    if penalty.kernel_l1 == 0.0 && penalty.kernel_l2 == 0.0 {
        return gradient;
    }
    (gradient + penalty.kernel_l1 as f32 * sign(weight)) + (2.0 * penalty.kernel_l2) as f32 * weight
}

fn sign(value: f32) -> f32 {
    match value {
        value if value > 0.0 => 1.0,
        value if value < 0.0 => -1.0,
        _ => 0.0,
    }
}

/// A step of an optimizer on the sums of `batch` samples' gradients. `first` and `second` are its state, zeros at the start;
/// `powers` are β1 and β2 to the power of the steps so far, ones at the start. `penalized` gives the gradient of the
/// parameter with an index, by its gradient and its value, with [`weight_penalty`].
#[allow(clippy::too_many_arguments, reason = "a reference that hides nothing")]
pub fn update(
    optimizer: Optimizer,
    powers: &mut [f64; 2],
    batch: usize,
    parameters: &mut [f32],
    sums: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    penalized: impl Fn(usize, f32, f32) -> f32,
) {
    let scale = (1.0 / batch as f64) as f32;
    if let Optimizer::Adam { beta_1, beta_2, .. } = optimizer {
        powers[0] *= beta_1;
        powers[1] *= beta_2;
    }
    for i in 0..parameters.len() {
        let g = penalized(i, sums[i] * scale, parameters[i]);
        match optimizer {
            Optimizer::Adam {
                learning_rate,
                beta_1,
                beta_2,
                epsilon,
            } => {
                let alpha = learning_rate * math::sqrt_f64(1.0 - powers[1]) / (1.0 - powers[0]);
                first[i] += (g - first[i]) * (1.0 - beta_1) as f32;
                second[i] += (g * g - second[i]) * (1.0 - beta_2) as f32;
                parameters[i] -=
                    (first[i] * alpha as f32) / (math::sqrt(second[i]) + epsilon as f32);
            }
            Optimizer::Sgd {
                learning_rate,
                momentum,
            } if momentum != 0.0 => {
                first[i] = momentum as f32 * first[i] - learning_rate as f32 * g;
                parameters[i] += first[i];
            }
            Optimizer::Sgd { learning_rate, .. } => parameters[i] -= learning_rate as f32 * g,
        }
    }
}
