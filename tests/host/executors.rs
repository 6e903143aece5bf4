//! More threads and wider vectors change no bit: the desktop's executor against one sample at a time in portable code.

use narrows::data::bundled;
use narrows::processor::{Desktop, Vectors};
use narrows::recipe::Recipe;
use narrows::train;
use narrows_core::inference::{self, Inference};
use narrows_core::kernels::{Executor, Portable, Sequential};
use narrows_core::layer::{Activation, Layer, LayerKind};
use narrows_core::loss::Loss;
use narrows_core::math::Math;
use narrows_core::network::Network;
use narrows_core::optimizer::Optimizer;
use narrows_core::random::{Purpose, Random};
use narrows_core::shape::{Padding, Shape};
use narrows_core::training::{Mode, Options, Trainer, memory_len};

const NAMES: [&str; 12] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];

fn network(input: Shape, kinds: &[LayerKind]) -> Network<'static> {
    let layers: Vec<_> = kinds
        .iter()
        .zip(NAMES)
        .map(|(kind, name)| Layer { name, kind: *kind })
        .collect();
    Network::new(input, &layers, 0).unwrap()
}

fn dense(units: u32, activation: Activation) -> LayerKind {
    LayerKind::Dense { units, activation }
}

fn conv(filters: u32, padding: Padding, activation: Activation) -> LayerKind {
    LayerKind::Conv2d {
        filters,
        kernel_size: [3, 3],
        strides: [1, 1],
        padding,
        activation,
    }
}

fn networks() -> [(&'static str, Network<'static>); 3] {
    let pool = LayerKind::MaxPool2d {
        pool_size: [2, 2],
        strides: [2, 2],
        padding: Padding::Same,
    };
    let up = LayerKind::UpSample2d { size: [2, 2] };
    let (relu, same) = (Activation::Relu, Padding::Same);
    let convolutional = [
        conv(16, same, relu),
        pool,
        conv(8, same, relu),
        pool,
        conv(8, same, relu),
        up,
        conv(16, Padding::Valid, relu),
        up,
        conv(3, same, Activation::Sigmoid),
    ];
    [
        (
            "vanilla",
            network(
                Shape::flat(784),
                &[dense(64, relu), dense(784, Activation::Sigmoid)],
            ),
        ),
        (
            "odd sizes",
            network(
                Shape::flat(53),
                &[
                    dense(29, Activation::Tanh),
                    dense(17, relu),
                    dense(10, Activation::Softmax),
                ],
            ),
        ),
        (
            "convolutional",
            network(Shape::picture(20, 20, 3), &convolutional),
        ),
    ]
}

/// A loss that goes with the network's last activation.
fn losses(network: &Network<'_>) -> Vec<Loss> {
    match network.last_activation() {
        Activation::Softmax => vec![Loss::MeanSquaredError, Loss::CategoricalCrossEntropy],
        Activation::Sigmoid => vec![Loss::MeanSquaredError, Loss::BinaryCrossEntropy],
        _ => vec![Loss::MeanSquaredError],
    }
}

/// Every loss with Adam, and every optimizer and both kinds of math with one loss.
fn settings(network: &Network<'_>) -> Vec<Options<'static>> {
    let sgd = |momentum| Optimizer::Sgd {
        learning_rate: 0.01,
        momentum,
    };
    let base = Options {
        loss: Loss::MeanSquaredError,
        optimizer: Optimizer::adam(),
        mode: Mode::Fused,
        first_trainable: 0,
        penalties: &[],
        math: Math::Exact,
    };
    let mut settings: Vec<Options<'_>> = losses(network)
        .into_iter()
        .map(|loss| Options { loss, ..base })
        .collect();
    settings.extend([sgd(0.0), sgd(0.9)].map(|optimizer| Options { optimizer, ..base }));
    settings.push(Options {
        math: Math::Fast,
        ..base
    });
    settings
}

/// Losses, parameters after training, and the answer after it, as bits.
fn run(
    executor: &impl Executor,
    network: &Network<'_>,
    options: Options<'_>,
    batch: usize,
    at_once: usize,
) -> Vec<u64> {
    let (input_len, output_len) = (network.input().len(), network.output().len());
    let random = Random::new(7, Purpose::Initialize);
    let mut parameters = vec![0.0; network.parameter_len()];
    random.fill_uniform(0, 0, &mut parameters);
    parameters.iter_mut().for_each(|w| *w = (*w - 0.5) * 0.2);
    let mode = Mode::Accumulate { batch: at_once };
    let options = Options { mode, ..options };
    let mut memory = vec![0.0; memory_len(network, &options).unwrap()];
    let mut trainer = Trainer::new(network, options, &mut memory).unwrap();
    let (mut input, mut target) = (vec![0.0; input_len * batch], vec![0.0; output_len * batch]);
    let mut losses = Vec::new();
    for step in 1..4 {
        let mut loss = 0.0;
        random.fill_uniform(step, 1, &mut input);
        random.fill_uniform(step, 2, &mut target);
        for (input, target) in input
            .chunks(input_len * at_once)
            .zip(target.chunks(output_len * at_once))
        {
            loss += trainer
                .accumulate(executor, &parameters, input, target)
                .unwrap();
        }
        trainer.apply(executor, &mut parameters).unwrap();
        losses.push(loss.to_bits());
    }
    let layers = 0..network.layers().len();
    let mut workspace = vec![0.0; inference::workspace_len(network, layers.clone(), at_once)];
    for (input, output) in input
        .chunks(input_len * at_once)
        .zip(target.chunks_mut(output_len * at_once))
    {
        Inference {
            executor,
            network,
            parameters: &parameters,
            math: options.math,
        }
        .run(layers.clone(), input, output, &mut workspace)
        .unwrap();
    }
    let numbers = parameters.iter().chain(&target);
    losses
        .into_iter()
        .chain(numbers.map(|x| x.to_bits().into()))
        .collect()
}

#[test]
fn threads_and_vector_widths_change_no_bit() {
    for (name, network) in networks() {
        for options in settings(&network) {
            let portable = Sequential::<Portable>::new();
            for batch in [1, 7, 32] {
                let expected = run(&portable, &network, options, batch, 1);
                for vectors in Vectors::available() {
                    for threads in [1, 3] {
                        let executor = Desktop::with_vectors(threads, vectors).unwrap();
                        let got = run(&executor, &network, options, batch, batch);
                        let differs = expected.iter().zip(&got).position(|(a, b)| a != b);
                        assert_eq!(
                            differs, None,
                            "{name}, {options:?}, batch {batch}, {vectors}, {threads} threads: first place that differs"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn training_with_noise_gives_the_same_bits_with_every_executor() {
    for noise in [
        r#"type = "gaussian", stddev = 0.5, clip = [0.0, 1.0]"#,
        r#"type = "masking", fraction = 0.3"#,
        r#"type = "salt_and_pepper", fraction = 0.2"#,
    ] {
        let text = format!(
            r#"
            name = "noise"
            [network]
            input = [784]
            layers = [
              {{ type = "dense", units = 12, activation = "relu" }},
              {{ type = "dense", units = 784, activation = "sigmoid" }},
            ]
            [training]
            epochs = 2
            noise = {{ {noise} }}
            "#
        );
        let recipe = Recipe::parse(&text, "noise").unwrap();
        let plan = recipe.plan().unwrap();
        let raw = bundled::load(recipe.data.bundled).unwrap();
        let mut data = raw.training_data(&plan, "bundled").unwrap();
        data.train.truncate(100);
        data.validation = None;
        let portable = Sequential::<Portable>::new();
        let bits = |executor: &Desktop| {
            let outcome = train::run(executor, &plan, &data, None, &mut ()).unwrap();
            outcome
                .parameters
                .iter()
                .map(|x| x.to_bits())
                .collect::<Vec<_>>()
        };
        let expected = train::run(&portable, &plan, &data, None, &mut ()).unwrap();
        let expected: Vec<_> = expected.parameters.iter().map(|x| x.to_bits()).collect();
        for vectors in Vectors::available() {
            for threads in [1, 3] {
                let executor = Desktop::with_vectors(threads, vectors).unwrap();
                assert!(
                    bits(&executor) == expected,
                    "{noise}, {vectors}, {threads} threads"
                );
            }
        }
    }
}
