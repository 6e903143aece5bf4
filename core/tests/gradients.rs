//! Gradients against central differences of a forward pass in f64, for random networks and every loss.

mod common;

use common::{Tiles, activation, checked, network};
use narrows_core::error::Error;
use narrows_core::layer::{Activation, LayerKind, Work};
use narrows_core::loss::Loss;
use narrows_core::math::Math;
use narrows_core::network::Network;
use narrows_core::optimizer::Optimizer;
use narrows_core::penalty::{Penalty, Sparsity};
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
        Loss::HalfSquaredError => pairs.map(|(a, t)| (a - t) * (a - t)).sum::<f64>() / 2.0,
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
        penalties: &[],
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
        penalties: &[],
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
        penalties: &[],
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

/// Two layers, a sigmoid with a sparsity first, penalties on all: what a batch costs, by the formulas.
fn cost(
    network: &Network<'_>,
    penalties: &[Penalty],
    parameters: &[f64],
    inputs: &[f64],
    targets: &[f64],
) -> (f64, f64) {
    let first = Network::new(network.input(), &network.layers()[..1], 0).unwrap();
    let (input_len, hidden_len) = (network.input().len(), first.output().len());
    let samples = inputs.chunks_exact(input_len);
    let batch = samples.len() as f64;
    let hidden: Vec<Vec<f64>> = samples
        .clone()
        .map(|input| forward(&first, &parameters[..first.parameter_len()], input))
        .collect();
    let outputs: Vec<Vec<f64>> = samples
        .map(|input| forward(network, parameters, input))
        .collect();
    let losses = outputs
        .iter()
        .zip(targets.chunks_exact(network.output().len()));
    let loss = losses
        .map(|(output, target)| loss(Loss::BinaryCrossEntropy, output, target))
        .sum::<f64>()
        / batch;
    let mut penalty = 0.0;
    for (step, outputs) in network.steps().zip([&hidden, &outputs]) {
        let charged = penalties[step.index];
        let weights = &parameters
            [step.parameters.start..step.parameters.start + step.work.parameter_lens().0];
        penalty += charged.kernel_l1 * weights.iter().map(|w| w.abs()).sum::<f64>();
        penalty += charged.kernel_l2 * weights.iter().map(|w| w * w).sum::<f64>();
        penalty +=
            charged.activity_l1 * outputs.iter().flatten().map(|a| a.abs()).sum::<f64>() / batch;
    }
    let Sparsity { target, weight } = penalties[0].sparsity.unwrap();
    for unit in 0..hidden_len {
        let mean = hidden.iter().map(|sample| sample[unit]).sum::<f64>() / batch;
        penalty += weight
            * (target * (target / mean).ln()
                + (1.0 - target) * ((1.0 - target) / (1.0 - mean)).ln());
    }
    (loss, penalty)
}

/// The first step of plain descent with rate 1 goes down by the whole gradient: penalties of weights and of activities, the
/// last also where the loss would have taken the sigmoid's slope in.
#[test]
fn a_step_goes_down_the_gradient_of_loss_and_penalties_together() {
    let kinds = [
        LayerKind::Dense {
            units: 3,
            activation: Activation::Sigmoid,
        },
        LayerKind::Dense {
            units: 4,
            activation: Activation::Sigmoid,
        },
    ];
    let network = checked(Shape::flat(5), &kinds);
    let sparsity = Some(Sparsity {
        target: 0.2,
        weight: 0.7,
    });
    let penalties = [
        Penalty {
            layer: 0,
            kernel_l1: 0.11,
            kernel_l2: 0.13,
            activity_l1: 0.17,
            sparsity,
        },
        Penalty {
            layer: 1,
            kernel_l1: 0.05,
            kernel_l2: 0.02,
            activity_l1: 0.03,
            sparsity: None,
        },
    ];
    let batch = 3;
    let options = Options {
        loss: Loss::BinaryCrossEntropy,
        penalties: &penalties,
        optimizer: Optimizer::Sgd {
            learning_rate: 1.0,
            momentum: 0.0,
        },
        mode: Mode::Accumulate { batch },
        first_trainable: 0,
        math: Math::Exact,
    };
    let before = uniform(1, network.parameter_len(), -0.6, 0.6);
    let (input, target) = (
        uniform(2, 5 * batch, -1.0, 1.0),
        uniform(3, 4 * batch, 0.05, 0.95),
    );
    let mut memory = vec![0.0; memory_len(&network, &options).unwrap()];
    let mut trainer = Trainer::new(&network, options, &mut memory).unwrap();
    let mut after = before.clone();
    let loss = trainer
        .step(&Tiles::<4, 8>(1), &mut after, &input, &target)
        .unwrap();
    let (mut parameters, inputs, targets) = (wide(&before), wide(&input), wide(&target));
    let expected = cost(&network, &penalties, &parameters, &inputs, &targets);
    assert!(
        (loss - expected.0).abs() < 1e-6,
        "loss {loss}, not {}",
        expected.0
    );
    let penalty = trainer.penalty();
    assert!(
        (penalty - expected.1).abs() < 1e-6,
        "penalty {penalty}, not {}",
        expected.1
    );
    for index in 0..parameters.len() {
        let original = parameters[index];
        let mut total = |value| {
            parameters[index] = value;
            let (loss, penalty) = cost(&network, &penalties, &parameters, &inputs, &targets);
            loss + penalty
        };
        let expected = (total(original + 1e-6) - total(original - 1e-6)) / 2e-6;
        parameters[index] = original;
        let ours = f64::from(before[index] - after[index]);
        assert!(
            (expected - ours).abs() < 1e-5,
            "parameter {index}: expected {expected}, got {ours}"
        );
    }
}

#[test]
fn sparsity_wants_a_whole_batch_observed_before_it_is_learnt() {
    let kinds = [LayerKind::Dense {
        units: 2,
        activation: Activation::Sigmoid,
    }];
    let network = checked(Shape::flat(2), &kinds);
    let sparsity = Some(Sparsity {
        target: 0.2,
        weight: 1.0,
    });
    let penalties = [Penalty {
        layer: 0,
        sparsity,
        ..Penalty::default()
    }];
    let options = Options {
        loss: Loss::MeanSquaredError,
        penalties: &penalties,
        optimizer: Optimizer::adam(),
        mode: Mode::Accumulate { batch: 1 },
        first_trainable: 0,
        math: Math::Exact,
    };
    let refused = |result: Result<(), Error>| {
        assert!(matches!(result, Err(Error::Mode { .. })), "{result:?}");
    };
    refused(
        memory_len(
            &network,
            &Options {
                mode: Mode::Fused,
                ..options
            },
        )
        .map(|_| ()),
    );
    let mut memory = vec![0.0; memory_len(&network, &options).unwrap()];
    let mut trainer = Trainer::new(&network, options, &mut memory).unwrap();
    let (executor, mut parameters, sample) = (Tiles::<4, 8>(1), vec![0.1; 6], [0.5, 0.25]);
    refused(
        trainer
            .accumulate(&executor, &parameters, &sample, &sample)
            .map(|_| ()),
    );
    trainer.observe(&executor, &parameters, &sample).unwrap();
    trainer.observe(&executor, &parameters, &sample).unwrap();
    trainer
        .accumulate(&executor, &parameters, &sample, &sample)
        .unwrap();
    refused(trainer.observe(&executor, &parameters, &sample));
    refused(trainer.apply(&executor, &mut parameters));
    refused(
        trainer
            .step(&executor, &mut parameters, &sample, &sample)
            .map(|_| ()),
    );
    trainer
        .accumulate(&executor, &parameters, &sample, &sample)
        .unwrap();
    trainer.apply(&executor, &mut parameters).unwrap();
    assert_eq!(trainer.steps(), 1);
}

#[test]
fn a_penalty_that_cannot_be_is_refused_by_layer_and_reason() {
    let dense = |units, activation| LayerKind::Dense { units, activation };
    let kinds = [
        LayerKind::Flatten,
        dense(3, Activation::Relu),
        dense(4, Activation::Softmax),
    ];
    let network = checked(Shape::picture(2, 2, 1), &kinds);
    let base = Penalty {
        layer: 1,
        ..Penalty::default()
    };
    let sparsity = |target, weight| Some(Sparsity { target, weight });
    let refused: [(&[Penalty], &str); 9] = [
        (
            &[Penalty { layer: 3, ..base }],
            "penalty of layer 3: expected a layer of the network",
        ),
        (
            &[base, base],
            "penalty of layer 1: expected one penalty for a layer, but a second one came",
        ),
        (
            &[Penalty {
                kernel_l1: -1.0,
                ..base
            }],
            "kernel_l1: expected a finite number from 0 on, but -1 came",
        ),
        (
            &[Penalty {
                activity_l1: f64::NAN,
                ..base
            }],
            "activity_l1: expected a finite number from 0 on, but NaN came",
        ),
        (
            &[Penalty {
                sparsity: sparsity(1.0, 1.0),
                ..base
            }],
            "sparsity.target: expected a number above 0 and below 1, but 1 came",
        ),
        (
            &[Penalty {
                sparsity: sparsity(0.1, 1.0),
                ..base
            }],
            "penalty of layer 1: sparsity needs the activation \"sigmoid\"",
        ),
        (
            &[Penalty {
                layer: 0,
                kernel_l2: 1.0,
                ..base
            }],
            "penalty of layer 0: kernel_l1 and kernel_l2 need a layer with weights",
        ),
        (
            &[Penalty {
                layer: 0,
                activity_l1: 1.0,
                ..base
            }],
            "penalty of layer 0: a layer that computes nothing has no activity to penalize",
        ),
        (
            &[Penalty {
                layer: 2,
                activity_l1: 1.0,
                ..base
            }],
            "penalty of layer 2: categorical cross-entropy takes no activity penalty on the layer of its softmax",
        ),
    ];
    for (penalties, message) in refused {
        let options = Options {
            loss: Loss::CategoricalCrossEntropy,
            penalties,
            optimizer: Optimizer::adam(),
            mode: Mode::Fused,
            first_trainable: 0,
            math: Math::Exact,
        };
        assert_eq!(
            memory_len(&network, &options).unwrap_err().to_string(),
            message
        );
    }
}
