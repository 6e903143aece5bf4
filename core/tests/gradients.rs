//! Gradients against central differences of a forward pass in f64, for random networks and every loss.

mod common;

use common::{Tiles, activation, checked, network};
use narrows_core::layer::{Activation, LayerKind, Work};
use narrows_core::loss::Loss;
use narrows_core::math::Math;
use narrows_core::network::Network;
use narrows_core::optimizer::Optimizer;
use narrows_core::random::{Purpose, Random};
use narrows_core::shape::{Shape, Window};
use narrows_core::training::{Mode, Options, Trainer, memory_len};
use proptest::prelude::*;

fn under(w: &Window, oy: usize, ox: usize, ky: usize, kx: usize) -> Option<usize> {
    let y = (oy * w.y.stride + ky)
        .checked_sub(w.y.before)
        .filter(|y| *y < w.y.input)?;
    let x = (ox * w.x.stride + kx)
        .checked_sub(w.x.before)
        .filter(|x| *x < w.x.input)?;
    Some(y * w.x.input + x)
}

fn forward(network: &Network<'_>, parameters: &[f64], input: &[f64]) -> Vec<f64> {
    let mut values = input.to_vec();
    for step in network.steps() {
        let parameters = &parameters[step.parameters.clone()];
        let mut output = vec![0.0f64; step.output.len()];
        match step.work {
            Work::Dense { inputs, outputs } => {
                for (o, out) in output.iter_mut().enumerate() {
                    *out = parameters[inputs * outputs + o];
                    *out += (0..inputs)
                        .map(|i| values[i] * parameters[i * outputs + o])
                        .sum::<f64>();
                }
            }
            Work::Conv2d(w) | Work::MaxPool2d(w) => {
                let pool = matches!(step.work, Work::MaxPool2d(_));
                for (at, out) in output.iter_mut().enumerate() {
                    let (f, place) = (at % w.channels_out, at / w.channels_out);
                    let (oy, ox) = (place / w.x.output, place % w.x.output);
                    *out = if pool {
                        f64::NEG_INFINITY
                    } else {
                        parameters[w.kernel_len() + f]
                    };
                    for (ky, kx) in
                        (0..w.y.size).flat_map(|ky| (0..w.x.size).map(move |kx| (ky, kx)))
                    {
                        let Some(place) = under(&w, oy, ox, ky, kx) else {
                            continue;
                        };
                        if pool {
                            *out = out.max(values[place * w.channels_in + f]);
                            continue;
                        }
                        for c in 0..w.channels_in {
                            let weight = parameters
                                [((ky * w.x.size + kx) * w.channels_in + c) * w.channels_out + f];
                            *out += values[place * w.channels_in + c] * weight;
                        }
                    }
                }
            }
            Work::UpSample2d(w) => {
                for (at, out) in output.iter_mut().enumerate() {
                    let (c, place) = (at % w.channels_in, at / w.channels_in);
                    let (y, x) = (place / w.x.input / w.y.size, place % w.x.input / w.x.size);
                    *out = values[(y * w.x.output + x) * w.channels_in + c];
                }
            }
            Work::View { .. } => output.copy_from_slice(&values),
        }
        let row = step.work.parameter_lens().1.max(1);
        for row in output.chunks_exact_mut(row) {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            for x in row {
                *x = match step.layer.kind.activation() {
                    Activation::Linear => *x,
                    Activation::Relu => x.max(0.0),
                    Activation::Sigmoid => 1.0 / (1.0 + (-*x).exp()),
                    Activation::Tanh => x.tanh(),
                    Activation::Softmax => x.exp() / sum,
                };
            }
        }
        values = output;
    }
    values
}

fn loss(kind: Loss, output: &[f64], target: &[f64]) -> f64 {
    let pairs = output.iter().zip(target);
    let n = output.len() as f64;
    let p = |a: &f64| a.clamp(1e-7, 1.0 - 1e-7);
    match kind {
        Loss::MeanSquaredError => pairs.map(|(a, t)| (a - t) * (a - t)).sum::<f64>() / n,
        Loss::BinaryCrossEntropy => {
            -pairs
                .map(|(a, t)| t * p(a).ln() + (1.0 - t) * (1.0 - p(a)).ln())
                .sum::<f64>()
                / n
        }
        Loss::CategoricalCrossEntropy => -pairs.map(|(a, t)| t * p(a).ln()).sum::<f64>(),
    }
}

fn uniform(seed: u64, length: usize, low: f32, high: f32) -> Vec<f32> {
    let random = Random::new(seed, Purpose::Initialize);
    (0..length as u32)
        .map(|element| low + (high - low) * random.uniform(0, 0, element))
        .collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

/// Loss and gradients of a batch against f64; says what differs first.
fn compare(network: &Network<'_>, kind: Loss, seed: u64, batch: usize) -> Result<(), String> {
    let parameters = uniform(seed, network.parameter_len(), -0.6, 0.6);
    let input = uniform(seed ^ 1, network.input().len() * batch, -1.0, 1.0);
    let mut target = uniform(seed ^ 2, network.output().len() * batch, 0.05, 0.95);
    if kind == Loss::CategoricalCrossEntropy {
        target
            .chunks_exact_mut(network.output().len())
            .for_each(|row| {
                let sum: f32 = row.iter().sum();
                row.iter_mut().for_each(|t| *t /= sum);
            });
    }
    let options = Options {
        loss: kind,
        optimizer: Optimizer::adam(),
        mode: Mode::Accumulate { batch },
        first_trainable: 0,
        math: Math::Exact,
    };
    let mut memory = vec![0.0; memory_len(network, &options).unwrap()];
    let mut trainer = Trainer::new(network, options, &mut memory).unwrap();
    let ours = trainer
        .accumulate(&Tiles::<4, 8>(2), &parameters, &input, &target)
        .unwrap();

    let (input, target) = (wide(&input), wide(&target));
    let total = |parameters: &[f64]| -> f64 {
        let samples = input
            .chunks_exact(network.input().len())
            .zip(target.chunks_exact(network.output().len()));
        samples
            .map(|(input, target)| loss(kind, &forward(network, parameters, input), target))
            .sum()
    };
    let mut parameters = wide(&parameters);
    let expected = total(&parameters);
    if (ours - expected).abs() > 1e-4 * (1.0 + expected.abs()) {
        return Err(format!("loss: expected {expected}, got {ours}"));
    }
    // Every parameter of small layers, some of large ones.
    let every = (parameters.len() / 150).max(1);
    for index in (0..parameters.len()).step_by(every) {
        let step = 1e-5;
        let original = parameters[index];
        parameters[index] = original + step;
        let above = total(&parameters);
        parameters[index] = original - step;
        let below = total(&parameters);
        parameters[index] = original;
        let (expected, ours) = (
            (above - below) / (2.0 * step),
            f64::from(trainer.gradient_sums()[index]),
        );
        // A kink within the step shows as a difference between the two sides; there is no derivative to compare with.
        let here = total(&parameters);
        let kink = ((above - here) - (here - below)).abs() / step > 3e-4 * (1.0 + expected.abs());
        if !kink && (expected - ours).abs() > 2e-4 * (1.0 + expected.abs()) {
            return Err(format!(
                "parameter {index}: expected {expected}, got {ours}"
            ));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn gradients_of_random_networks_are_those_of_the_loss((input, kinds) in network(), batch in 1usize..4, seed: u64) {
        let network = checked(input, &kinds);
        prop_assume!(network.parameter_len() > 0);
        prop_assert_eq!(compare(&network, Loss::MeanSquaredError, seed, batch), Ok(()));
    }

    #[test]
    fn gradients_of_dense_layers_hold_for_every_activation_and_loss(
        inputs in 1u32..12, hidden in 1u32..12, outputs in 2u32..8, first in activation(), last in activation(), batch in 1usize..4, seed: u64,
    ) {
        let kinds = [LayerKind::Dense { units: hidden, activation: first }, LayerKind::Dense { units: outputs, activation: last }];
        let network = checked(Shape::flat(inputs), &kinds);
        prop_assert_eq!(compare(&network, Loss::MeanSquaredError, seed, batch), Ok(()));
        if matches!(last, Activation::Sigmoid | Activation::Softmax) {
            prop_assert_eq!(compare(&network, Loss::BinaryCrossEntropy, seed, batch), Ok(()));
        }
        if last == Activation::Softmax {
            prop_assert_eq!(compare(&network, Loss::CategoricalCrossEntropy, seed, batch), Ok(()));
        }
    }
}

/// The comparison itself can fail: a gradient of another loss is not taken for the right one.
#[test]
fn a_wrong_gradient_is_noticed() {
    let kinds = [LayerKind::Dense {
        units: 3,
        activation: Activation::Tanh,
    }];
    let network = checked(Shape::flat(4), &kinds);
    let options = Options {
        loss: Loss::MeanSquaredError,
        optimizer: Optimizer::adam(),
        mode: Mode::Accumulate { batch: 1 },
        first_trainable: 0,
        math: Math::Exact,
    };
    let (parameters, input, target) = (
        uniform(1, 15, -0.6, 0.6),
        uniform(2, 4, -1.0, 1.0),
        uniform(3, 3, 0.0, 1.0),
    );
    let mut memory = vec![0.0; memory_len(&network, &options).unwrap()];
    let mut trainer = Trainer::new(&network, options, &mut memory).unwrap();
    trainer
        .accumulate(&Tiles::<4, 8>(1), &parameters, &input, &target)
        .unwrap();
    let ours = f64::from(trainer.gradient_sums()[0]);
    let (mut above, mut below) = (wide(&parameters), wide(&parameters));
    above[1] += 1e-5;
    below[1] -= 1e-5;
    let total = |parameters: &[f64]| {
        loss(
            Loss::MeanSquaredError,
            &forward(&network, parameters, &wide(&input)),
            &wide(&target),
        )
    };
    let other = (total(&above) - total(&below)) / 2e-5;
    assert!(
        (other - ours).abs() > 2e-4 * (1.0 + other.abs()),
        "the neighbour's gradient {other} passed for {ours}"
    );
}

/// Without a sigmoid before it: `(p - t) / (p (1 - p)) / N` where p is not clipped, and 0 where it is.
#[test]
fn binary_cross_entropy_of_a_linear_output_has_no_gradient_where_it_is_clipped() {
    let kinds = [LayerKind::Dense {
        units: 4,
        activation: Activation::Linear,
    }];
    let network = checked(Shape::flat(1), &kinds);
    let options = Options {
        loss: Loss::BinaryCrossEntropy,
        optimizer: Optimizer::adam(),
        mode: Mode::Accumulate { batch: 1 },
        first_trainable: 0,
        math: Math::Exact,
    };
    // With weights of zero the biases are the outputs, and their gradients those of the outputs.
    let parameters = [0.0, 0.0, 0.0, 0.0, -0.1, 0.25, 0.5, 1.2];
    let mut memory = vec![0.0; memory_len(&network, &options).unwrap()];
    let mut trainer = Trainer::new(&network, options, &mut memory).unwrap();
    let target = [1.0, 1.0, 0.0, 0.0];
    trainer
        .accumulate(&Tiles::<4, 8>(1), &parameters, &[1.0], &target)
        .unwrap();
    let biases = &trainer.gradient_sums()[4..];
    assert_eq!(biases, [0.0, -1.0, 0.5, 0.0]);
}
