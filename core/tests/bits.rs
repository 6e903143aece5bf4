//! Every way through the arithmetic gives the bits of the naive twin.

mod common;

use common::{Tiles, bits, checked, network, numbers, parameters};
use narrows_core::inference::{self, Inference};
use narrows_core::kernels::{Executor, Sequential, naive};
use narrows_core::layer::{Activation, LayerKind, Work};
use narrows_core::loss::Loss;
use narrows_core::math::Math;
use narrows_core::network::{Network, Step};
use narrows_core::optimizer::Optimizer;
use narrows_core::penalty::{Penalty, Sparsity};
use narrows_core::shape::Shape;
use narrows_core::training::{Mode, Options, Trainer, memory_len};
use proptest::prelude::*;

/// The outputs of all layers for one sample, by the twin.
fn naive_forward(network: &Network<'_>, parameters: &[f32], input: &[f32]) -> Vec<Vec<f32>> {
    let mut outputs: Vec<Vec<f32>> = Vec::new();
    for step in network.steps() {
        let input = outputs.last().map_or(input, |output| &output[..]);
        let mut output = vec![0.0; step.output.len()];
        let (weights, bias) =
            parameters[step.parameters.clone()].split_at(step.work.parameter_lens().0);
        match step.work {
            Work::Dense { .. } => naive::dense(input, weights, bias, &mut output),
            Work::Conv2d(w) => naive::conv(&w, input, weights, bias, &mut output),
            Work::MaxPool2d(w) => naive::max_pool(&w, input, &mut output),
            Work::UpSample2d(w) => naive::up_sample(&w, input, &mut output),
            Work::View { .. } => output.copy_from_slice(input),
        }
        let row = step.work.parameter_lens().1.max(1);
        output
            .chunks_exact_mut(row)
            .for_each(|row| naive::activation(step.layer.kind.activation(), row));
        outputs.push(output);
    }
    outputs
}

fn penalty_of(penalties: &[Penalty], layer: usize) -> Penalty {
    let mut penalties = penalties.iter();
    let penalty = penalties.find(|penalty| penalty.layer == layer);
    penalty.copied().unwrap_or_default()
}

/// A training run by the twin: sample after sample, in the words of the specification.
struct NaiveTrainer<'a> {
    network: &'a Network<'a>,
    options: Options<'a>,
    first: Vec<f32>,
    second: Vec<f32>,
    powers: [f64; 2],
}

impl<'a> NaiveTrainer<'a> {
    fn new(network: &'a Network<'a>, options: Options<'a>) -> Self {
        let zeros = vec![0.0; network.parameter_len()];
        Self {
            network,
            options,
            first: zeros.clone(),
            second: zeros,
            powers: [1.0; 2],
        }
    }

    fn penalty(&self, layer: usize) -> Penalty {
        penalty_of(self.options.penalties, layer)
    }

    /// Whether the loss's gradient is that of the last activation's input: not where a penalty comes between them.
    fn with_slope(&self) -> bool {
        let penalty = self.penalty(self.network.last_computed().unwrap());
        let between = penalty.activity_l1 != 0.0 || penalty.sparsity.is_some();
        !between
            && self
                .options
                .loss
                .includes_slope(self.network.last_activation())
    }

    /// The mean outputs of every layer over a batch.
    fn means(&self, parameters: &[f32], input: &[f32]) -> Vec<Vec<f32>> {
        let steps = self.network.steps();
        let mut means: Vec<Vec<f32>> = steps.map(|step| vec![0.0; step.output.len()]).collect();
        let samples = input.chunks_exact(self.network.input().len());
        let scale = (1.0 / samples.len() as f64) as f32;
        for sample in samples {
            let outputs = naive_forward(self.network, parameters, sample);
            for (sum, a) in means.iter_mut().flatten().zip(outputs.iter().flatten()) {
                *sum += a;
            }
        }
        means.iter_mut().flatten().for_each(|sum| *sum *= scale);
        means
    }

    /// The sample's loss.
    fn add_gradients(
        &self,
        parameters: &[f32],
        input: &[f32],
        target: &[f32],
        means: &[Vec<f32>],
        sums: &mut [f32],
    ) -> f32 {
        let outputs = naive_forward(self.network, parameters, input);
        let mut gradient = vec![0.0; target.len()];
        let value = naive::loss(
            self.options.loss,
            self.with_slope(),
            &outputs[outputs.len() - 1],
            target,
            &mut gradient,
        );
        for step in self.network.steps().collect::<Vec<_>>().into_iter().rev() {
            let input = if step.index == 0 {
                input
            } else {
                &outputs[step.index - 1]
            };
            let (weight_len, bias_len) = step.work.parameter_lens();
            let (output, means) = (&outputs[step.index], &means[step.index]);
            naive::activity_penalty(self.penalty(step.index), output, means, &mut gradient);
            let last = self.network.last_computed() == Some(step.index);
            if !(last && self.with_slope()) {
                let rows = gradient
                    .chunks_exact_mut(bias_len.max(1))
                    .zip(outputs[step.index].chunks_exact(bias_len.max(1)));
                rows.for_each(|(gradient, output)| {
                    naive::slope(step.layer.kind.activation(), output, gradient);
                });
            }
            let (weights, _) = parameters[step.parameters.clone()].split_at(weight_len);
            let (weight_sums, bias_sums) = sums[step.parameters.clone()].split_at_mut(weight_len);
            let mut below = vec![0.0; step.input.len()];
            match step.work {
                Work::Dense { .. } => {
                    naive::dense_parameter_gradient(input, &gradient, weight_sums, bias_sums);
                    naive::dense_input_gradient(&gradient, weights, &mut below);
                }
                Work::Conv2d(w) => {
                    naive::conv_parameter_gradient(&w, input, &gradient, weight_sums, bias_sums);
                    naive::conv_input_gradient(&w, &gradient, weights, &mut below);
                }
                Work::MaxPool2d(w) => {
                    naive::max_pool_input_gradient(&w, input, &gradient, &mut below);
                }
                Work::UpSample2d(w) => naive::up_sample_input_gradient(&w, &gradient, &mut below),
                Work::View { .. } => below.copy_from_slice(&gradient),
            }
            gradient = below;
        }
        value
    }

    /// The sum of the samples' losses.
    fn step(&mut self, parameters: &mut [f32], input: &[f32], target: &[f32]) -> f64 {
        let (input_len, output_len) = (self.network.input().len(), self.network.output().len());
        let mut sums = vec![0.0; parameters.len()];
        let (batch, mut loss) = (input.len() / input_len, 0.0);
        let means = self.means(parameters, input);
        for (input, target) in input
            .chunks_exact(input_len)
            .zip(target.chunks_exact(output_len))
        {
            loss += f64::from(self.add_gradients(parameters, input, target, &means, &mut sums));
        }
        let steps = self
            .network
            .steps()
            .find(|s| s.index >= self.options.first_trainable && !s.parameters.is_empty());
        let trainable = steps.unwrap().parameters.start;
        let (network, penalties) = (self.network, self.options.penalties);
        naive::update(
            self.options.optimizer,
            &mut self.powers,
            batch,
            &mut parameters[trainable..],
            &sums[trainable..],
            &mut self.first[trainable..],
            &mut self.second[trainable..],
            |index, gradient, parameter| {
                let at = trainable + index;
                let weights = |step: &Step<'_>| {
                    let start = step.parameters.start;
                    (start..start + step.work.parameter_lens().0).contains(&at)
                };
                let step = network.steps().find(weights);
                step.map_or(gradient, |step| {
                    naive::weight_penalty(penalty_of(penalties, step.index), gradient, parameter)
                })
            },
        );
        loss
    }
}

fn run(
    executor: &impl Executor,
    network: &Network<'_>,
    parameters: &[f32],
    layers: std::ops::Range<usize>,
    input: &[f32],
    batch: usize,
) -> Vec<f32> {
    let output = layers
        .end
        .checked_sub(1)
        .map_or(network.input(), |last| network.output_of(last).unwrap());
    let mut output = vec![f32::NAN; output.len() * batch];
    let mut workspace = vec![f32::NAN; inference::workspace_len(network, layers.clone(), batch)];
    Inference {
        executor,
        network,
        parameters,
        math: Math::Exact,
    }
    .run(layers, input, &mut output, &mut workspace)
    .unwrap();
    output
}

/// The bits of the parameters, and of the sum of the losses at each step.
fn train(
    executor: &impl Executor,
    network: &Network<'_>,
    options: Options<'_>,
    samples_at_once: usize,
    parameters: &[f32],
    batches: &[(Vec<f32>, Vec<f32>)],
) -> (Vec<u32>, Vec<u64>) {
    let (mut parameters, mut losses) = (parameters.to_vec(), Vec::new());
    let mut memory = vec![f32::NAN; memory_len(network, &options).unwrap()];
    let mut trainer = Trainer::new(network, options, &mut memory).unwrap();
    let (input_len, output_len) = (
        network.input().len() * samples_at_once,
        network.output().len() * samples_at_once,
    );
    for (input, target) in batches {
        if options.mode == Mode::Fused {
            let loss = trainer.step(executor, &mut parameters, input, target);
            losses.push(loss.unwrap().to_bits());
            continue;
        }
        let mut sum = 0.0;
        if options.penalties.iter().any(|p| p.sparsity.is_some()) {
            for input in input.chunks(input_len) {
                trainer.observe(executor, &parameters, input).unwrap();
            }
        }
        for (input, target) in input.chunks(input_len).zip(target.chunks(output_len)) {
            sum += trainer
                .accumulate(executor, &parameters, input, target)
                .unwrap();
        }
        trainer.apply(executor, &mut parameters).unwrap();
        losses.push(sum.to_bits());
    }
    (bits(&parameters), losses)
}

/// The bits of the parameters after a step on each whole batch.
fn train_by_steps(
    executor: &impl Executor,
    network: &Network<'_>,
    options: Options<'_>,
    parameters: &[f32],
    batches: &[(Vec<f32>, Vec<f32>)],
) -> Vec<u32> {
    let mut parameters = parameters.to_vec();
    let mut memory = vec![f32::NAN; memory_len(network, &options).unwrap()];
    let mut trainer = Trainer::new(network, options, &mut memory).unwrap();
    for (input, target) in batches {
        trainer
            .step(executor, &mut parameters, input, target)
            .unwrap();
    }
    bits(&parameters)
}

fn optimizer() -> impl Strategy<Value = Optimizer> {
    prop::sample::select(vec![
        Optimizer::adam(),
        Optimizer::Sgd {
            learning_rate: 0.1,
            momentum: 0.0,
        },
        Optimizer::Sgd {
            learning_rate: 0.1,
            momentum: 0.9,
        },
    ])
}

/// Penalties of some layers: of weights where there are any, of the outputs, and sparsity after a sigmoid.
fn penalties(network: &Network<'_>, seed: u64, loss: Loss) -> Vec<Penalty> {
    let penalty = |step: Step<'_>| {
        let chosen = |bit: usize| seed >> ((5 * step.index + bit) % 60) & 1 == 1;
        let of = |chosen: bool, value: f64| if chosen { value } else { 0.0 };
        let weights = !step.parameters.is_empty();
        let last = network.last_computed() == Some(step.index);
        let fused = last && loss == Loss::CategoricalCrossEntropy;
        let active = !step.layer.kind.is_view() && !fused;
        let sigmoid = step.layer.kind.activation() == Activation::Sigmoid;
        chosen(0).then(|| Penalty {
            layer: step.index,
            kernel_l1: of(weights && chosen(1), 0.03),
            kernel_l2: of(weights && chosen(2), 0.07),
            activity_l1: of(active && chosen(3), 0.05),
            sparsity: (sigmoid && active && chosen(4)).then_some(Sparsity {
                target: 0.05,
                weight: 0.3,
            }),
        })
    };
    network.steps().filter_map(penalty).collect()
}

fn batches(network: &Network<'_>, seed: u64, sizes: &[usize]) -> Vec<(Vec<f32>, Vec<f32>)> {
    let (input, output) = (network.input().len(), network.output().len());
    let pair = |(step, size): (usize, &usize)| {
        let seed = seed.wrapping_add(1 + 2 * step as u64);
        (
            numbers(seed, input * size),
            numbers(seed + 1, output * size)
                .into_iter()
                .map(f32::abs)
                .collect(),
        )
    };
    sizes.iter().enumerate().map(pair).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn inference_in_any_tiles_and_parts_gives_the_twins_bits((input, kinds) in network(), batch in 1usize..20, seed: u64) {
        let network = checked(input, &kinds);
        let parameters = parameters(&network, seed);
        let input = numbers(seed ^ 1, network.input().len() * batch);
        let expected: Vec<Vec<Vec<f32>>> =
            input.chunks_exact(network.input().len()).map(|sample| naive_forward(&network, &parameters, sample)).collect();
        for last in 0..kinds.len() {
            let expected: Vec<f32> = expected.iter().flat_map(|outputs| outputs[last].clone()).collect();
            let layers = 0..last + 1;
            prop_assert_eq!(bits(&run(&Sequential::<narrows_core::kernels::Portable>::new(), &network, &parameters, layers.clone(), &input, batch)), bits(&expected));
            prop_assert_eq!(bits(&run(&Tiles::<4, 4>(1), &network, &parameters, layers.clone(), &input, batch)), bits(&expected));
            prop_assert_eq!(bits(&run(&Tiles::<8, 8>(3), &network, &parameters, layers.clone(), &input, batch)), bits(&expected));
            prop_assert_eq!(bits(&run(&Tiles::<8, 16>(2), &network, &parameters, layers, &input, batch)), bits(&expected));
        }
    }

    #[test]
    fn decode_of_encode_gives_the_bits_of_reconstruct((input, kinds) in network(), batch in 1usize..4, seed: u64) {
        let network = checked(input, &kinds);
        let parameters = parameters(&network, seed);
        let input = numbers(seed, network.input().len() * batch);
        let (executor, end) = (Tiles::<4, 4>(1), kinds.len());
        let code = run(&executor, &network, &parameters, 0..network.code() + 1, &input, batch);
        let layers = network.code() + 1..end;
        let mut decoded = vec![f32::NAN; network.output().len() * batch];
        let mut workspace = vec![f32::NAN; inference::workspace_len(&network, layers.clone(), batch)];
        Inference { executor: &executor, network: &network, parameters: &parameters, math: Math::Exact }.run(layers, &code, &mut decoded, &mut workspace).unwrap();
        prop_assert_eq!(bits(&decoded), bits(&run(&executor, &network, &parameters, 0..end, &input, batch)));
    }

    #[test]
    fn training_in_every_mode_gives_the_twins_parameters(
        (input, kinds) in network(), seed: u64, optimizer in optimizer(), frozen in 0usize..3, charges: u64, sizes in prop::collection::vec(1usize..19, 1..3),
    ) {
        let network = checked(input, &kinds);
        prop_assume!(network.steps().any(|step| step.index >= frozen && !step.parameters.is_empty()));
        let initial = parameters(&network, seed);
        let loss = match (network.last_activation(), seed % 3) {
            (Activation::Softmax, 0) => Loss::CategoricalCrossEntropy,
            (Activation::Softmax | Activation::Sigmoid, 1) => Loss::BinaryCrossEntropy,
            (_, 2) => Loss::HalfSquaredError,
            _ => Loss::MeanSquaredError,
        };
        let most = *sizes.iter().max().unwrap();
        let penalties = penalties(&network, charges, loss);
        let options = Options { loss, optimizer, mode: Mode::Accumulate { batch: most }, first_trainable: frozen, math: Math::Exact, penalties: &penalties };
        let batches = batches(&network, seed, &sizes);
        let mut expected = initial.clone();
        let mut twin = NaiveTrainer::new(&network, options);
        let losses = batches.iter().map(|(input, target)| twin.step(&mut expected, input, target).to_bits()).collect::<Vec<_>>();
        let expected = (bits(&expected), losses);

        let at_once = train(&Tiles::<8, 16>(3), &network, options, most, &initial, &batches);
        prop_assert_eq!(&at_once, &expected);
        let narrow = train(&Tiles::<8, 8>(1), &network, options, most, &initial, &batches);
        prop_assert_eq!(&narrow, &expected);
        let steps = train_by_steps(&Tiles::<8, 16>(2), &network, options, &initial, &batches);
        prop_assert_eq!(&steps, &expected.0);
        let one = Options { mode: Mode::Accumulate { batch: 1 }, ..options };
        let one_by_one = train(&Sequential::<narrows_core::kernels::Portable>::new(), &network, one, 1, &initial, &batches);
        prop_assert_eq!(&one_by_one, &expected);
    }

    #[test]
    fn the_fused_mode_gives_the_bits_of_batches_of_one((input, kinds) in network(), seed: u64, optimizer in optimizer(), frozen in 0usize..3, charges: u64) {
        let network = checked(input, &kinds);
        prop_assume!(network.steps().any(|step| step.index >= frozen && !step.parameters.is_empty()));
        let initial = parameters(&network, seed);
        let mode = Mode::Accumulate { batch: 1 };
        let mut penalties = penalties(&network, charges, Loss::MeanSquaredError);
        penalties.iter_mut().for_each(|penalty| penalty.sparsity = None);
        let options = Options { loss: Loss::MeanSquaredError, optimizer, mode, first_trainable: frozen, math: Math::Exact, penalties: &penalties };
        let batches = batches(&network, seed, &[1, 1, 1]);
        let executor = Sequential::<narrows_core::kernels::Portable>::new();
        let expected = train(&executor, &network, options, 1, &initial, &batches);
        let fused = train(&executor, &network, Options { mode: Mode::Fused, ..options }, 1, &initial, &batches);
        prop_assert_eq!(fused, expected);
    }
}

#[test]
fn a_signal_is_a_picture_of_height_one() {
    let kinds = [
        LayerKind::Conv2d {
            filters: 4,
            kernel_size: [1, 5],
            strides: [1, 2],
            padding: narrows_core::shape::Padding::Same,
            activation: Activation::Relu,
        },
        LayerKind::UpSample2d { size: [1, 2] },
        LayerKind::Conv2d {
            filters: 1,
            kernel_size: [1, 5],
            strides: [1, 1],
            padding: narrows_core::shape::Padding::Same,
            activation: Activation::Linear,
        },
    ];
    let network = checked(Shape::picture(1, 64, 1), &kinds);
    assert_eq!(network.output(), Shape::picture(1, 64, 1));
    let parameters = parameters(&network, 3);
    let input = numbers(4, 64);
    // The same convolution, written for one axis.
    let mut expected = vec![0.0f32; 32 * 4];
    for place in 0..32usize {
        for filter in 0..4 {
            let mut sum = 0.0;
            for tap in 0..5 {
                let at = (2 * place + tap).checked_sub(1).filter(|at| *at < 64);
                sum += at.map_or(0.0, |at| input[at]) * parameters[tap * 4 + filter];
            }
            let value = sum + parameters[20 + filter];
            expected[place * 4 + filter] = if value > 0.0 { value } else { 0.0 };
        }
    }
    let code = run(
        &Sequential::<narrows_core::kernels::Portable>::new(),
        &network,
        &parameters,
        0..1,
        &input,
        1,
    );
    assert_eq!(bits(&code), bits(&expected));
}

#[test]
fn a_batch_that_goes_through_the_network_in_parts_gives_the_same_bits() {
    let conv = |filters| LayerKind::Conv2d {
        filters,
        kernel_size: [3, 3],
        strides: [1, 1],
        padding: narrows_core::shape::Padding::Same,
        activation: Activation::Relu,
    };
    let network = checked(Shape::picture(160, 160, 1), &[conv(8), conv(1)]);
    let initial = parameters(&network, 5);
    let options = |batch| Options {
        loss: Loss::MeanSquaredError,
        penalties: &[],
        optimizer: Optimizer::adam(),
        mode: Mode::Accumulate { batch },
        first_trainable: 0,
        math: Math::Exact,
    };
    let (executor, samples) = (Tiles::<8, 8>(1), batches(&network, 6, &[7, 3]));
    let portable = Sequential::<narrows_core::kernels::Portable>::new();
    let expected = train(&portable, &network, options(1), 1, &initial, &samples);
    let at_once = train(&executor, &network, options(7), 7, &initial, &samples);
    assert_eq!(at_once, expected);
    let steps = train_by_steps(&executor, &network, options(7), &initial, &samples);
    assert_eq!(steps, expected.0);
}
