//! What PyTorch and Keras said (`tests/peers/record_figures.py`), held against narrows-core.
//!
//! The file holds networks, seeds and answers; parameters, inputs and targets are drawn here again.

use std::collections::{BTreeMap, BTreeSet};

use narrows_core::inference::{self, Inference};
use narrows_core::kernels::{Portable, Sequential};
use narrows_core::layer::{Activation, Layer, LayerKind};
use narrows_core::loss::Loss;
use narrows_core::math::Math;
use narrows_core::network::Network;
use narrows_core::optimizer::Optimizer;
use narrows_core::shape::{Padding, Shape};
use narrows_core::training::{Mode, Options, Trainer, memory_len};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Figures {
    versions: BTreeMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The first state of [`Numbers`].
    seed: u32,
    input: Shape,
    layers: Vec<LayerKind>,
    loss: Loss,
    batch: usize,
    training: Option<Training>,
    input_scale: f32,
    parameter_scale: f32,
    /// For each peer, the quantities that another formula sets apart, and the reason.
    differs: BTreeMap<String, BTreeMap<Quantity, String>>,
    answers: BTreeMap<String, Quantities<f64>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Training {
    optimizer: Optimizer,
    steps: usize,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
enum Quantity {
    Output,
    Loss,
    ParameterGradient,
    InputGradient,
    Losses,
    Parameters,
}

type Quantities<T> = BTreeMap<Quantity, Vec<T>>;

impl Quantity {
    /// How far two right answers may lie apart, in units of 2^-23 of the quantity's largest value.
    ///
    /// Both sides round the same sums in orders of their own. That puts each off by about sqrt(n) / 2 units of the
    /// largest partial sum where n products are added, and n is at most 168 here; exp and its relatives add a unit or
    /// two. In gradients, two such sums stand behind one another, and between them slopes such as 1 - a * a, which lose
    /// bits where a is near 1. Ten steps change parameters by little, so that they keep what they began with.
    /// The peers themselves lie up to 5.3 units from float64, in such gradients. The limits are about twice the greatest
    /// distances that were seen: 1.9 for outputs, 2.5 after ten steps, 6.1 for gradients.
    const fn units(self) -> f64 {
        match self {
            Self::Output | Self::Loss | Self::Losses | Self::Parameters => 4.0,
            Self::ParameterGradient | Self::InputGradient => 12.0,
        }
    }
}

fn figures() -> Figures {
    serde_json::from_str(include_str!("../peers/figures.json")).expect("tests/peers/figures.json")
}

/// x' = 1664525 x + 1013904223 mod 2^32; the upper 24 bits, exactly, in [-1, 1).
struct Numbers(u32);

impl Numbers {
    fn draw(&mut self, count: usize, scale: f32) -> Vec<f32> {
        let one = |_| {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((self.0 >> 8) as f32 / 8_388_608.0 - 1.0) * scale
        };
        (0..count).map(one).collect()
    }

    /// In [0, 1); for categorical cross-entropy a distribution in each sample.
    fn targets(&mut self, batch: usize, outputs: usize, loss: Loss) -> Vec<f32> {
        let mut drawn = self.draw(batch * outputs, 1.0);
        drawn
            .iter_mut()
            .for_each(|target| *target = (*target + 1.0) * 0.5);
        if loss == Loss::CategoricalCrossEntropy {
            for row in drawn.chunks_exact_mut(outputs) {
                let total = row.iter().fold(0.0, |sum, target| sum + target);
                row.iter_mut().for_each(|target| *target /= total);
            }
        }
        drawn
    }
}

const EXECUTOR: Sequential<Portable> = Sequential::new();

/// The gradients that one step on these samples is made of: of all parameters, and of the loss's mean.
fn step(
    network: &Network<'_>,
    options: Options<'_>,
    parameters: &[f32],
    input: &[f32],
    target: &[f32],
) -> (Vec<f32>, f64) {
    // With this rate and no step before, the momentum's state is the gradient with its sign turned, to the bit.
    let options = Options {
        optimizer: Optimizer::Sgd {
            learning_rate: 1.0,
            momentum: 0.5,
        },
        ..options
    };
    let mut memory = vec![0.0; memory_len(network, &options).unwrap()];
    let mut trainer = Trainer::new(network, options, &mut memory).unwrap();
    let loss = trainer
        .step(&EXECUTOR, &mut parameters.to_vec(), input, target)
        .unwrap();
    (
        trainer.state().0.iter().map(|momentum| -momentum).collect(),
        loss,
    )
}

impl Case {
    fn named_layers<'a>(kinds: &[LayerKind], names: &'a [String]) -> Vec<Layer<'a>> {
        kinds
            .iter()
            .zip(names)
            .map(|(&kind, name)| Layer { name, kind })
            .collect()
    }

    fn answer(&self) -> Quantities<f32> {
        let names: Vec<_> = (0..self.layers.len() + 2)
            .map(|index| index.to_string())
            .collect();
        let network = Network::new(self.input, &Self::named_layers(&self.layers, &names), 0)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let mut numbers = Numbers(self.seed);
        let parameters = numbers.draw(network.parameter_len(), self.parameter_scale);
        let (inputs, outputs) = (network.input().len(), network.output().len());
        let mut batch = || {
            (
                numbers.draw(self.batch * inputs, self.input_scale),
                numbers.targets(self.batch, outputs, self.loss),
            )
        };
        let options = Options {
            loss: self.loss,
            optimizer: self
                .training
                .map_or(Optimizer::adam(), |training| training.optimizer),
            mode: Mode::Accumulate { batch: self.batch },
            first_trainable: 0,
            penalties: &[],
            math: Math::Exact,
        };
        match self.training {
            Some(training) => {
                let batches = (0..training.steps).map(|_| batch());
                train(&network, options, parameters, batches)
            }
            None => {
                let (input, target) = batch();
                let (gradients, loss, down) =
                    self.gradients(&names, options, &parameters, &input, &target);
                let layers = 0..self.layers.len();
                let mut output = vec![0.0; self.batch * outputs];
                let mut workspace =
                    vec![0.0; inference::workspace_len(&network, layers.clone(), self.batch)];
                Inference {
                    executor: &EXECUTOR,
                    network: &network,
                    parameters: &parameters,
                    math: Math::Exact,
                }
                .run(layers, &input, &mut output, &mut workspace)
                .unwrap();
                BTreeMap::from([
                    (Quantity::Output, output),
                    (Quantity::Loss, vec![loss as f32]),
                    (Quantity::ParameterGradient, gradients),
                    (Quantity::InputGradient, down),
                ])
            }
        }
    }

    /// The gradients of the parameters, the mean loss, and the gradients of the inputs.
    ///
    /// Before the network stands a dense layer that changes nothing (ones on its diagonal): what comes down to its
    /// biases is the input's gradient, of the sum over a batch, so it is asked for sample by sample. It also makes
    /// networks trainable that have no parameters of their own.
    fn gradients(
        &self,
        names: &[String],
        options: Options<'_>,
        parameters: &[f32],
        input: &[f32],
        target: &[f32],
    ) -> (Vec<f32>, f64, Vec<f32>) {
        let inputs = self.input.len();
        let identity = LayerKind::Dense {
            units: inputs as u32,
            activation: Activation::Linear,
        };
        let mut kinds = vec![identity, LayerKind::Reshape { target: self.input }];
        kinds.extend(&self.layers);
        let network = Network::new(
            Shape::flat(inputs as u32),
            &Self::named_layers(&kinds, names),
            0,
        )
        .unwrap();

        let weights = inputs * inputs;
        let own = weights + inputs;
        let mut all = vec![0.0; own];
        all.iter_mut()
            .take(weights)
            .step_by(inputs + 1)
            .for_each(|diagonal| *diagonal = 1.0);
        all.extend(parameters);

        let (gradients, loss) = step(&network, options, &all, input, target);
        let samples = input
            .chunks_exact(inputs)
            .zip(target.chunks_exact(network.output().len()));
        let down = samples.flat_map(|(input, target)| {
            let (gradients, _) = step(&network, options, &all, input, target);
            gradients[weights..own]
                .iter()
                .map(|gradient| gradient / self.batch as f32)
                .collect::<Vec<_>>()
        });
        (gradients[own..].to_vec(), loss, down.collect())
    }

    /// What is wrong with narrows' answer, in the words of one line.
    fn compare(&self, got: &Quantities<f32>) -> Result<(), String> {
        for (peer, expected) in &self.answers {
            if !got.keys().eq(expected.keys()) {
                return Err(format!(
                    "{}: {peer}: expected {:?}, got {:?}",
                    self.name,
                    got.keys(),
                    expected.keys()
                ));
            }
            for (quantity, values) in expected {
                let place = format!("{}: {peer}: {quantity:?}", self.name);
                match (
                    compare_values(*quantity, values, &got[quantity]),
                    differs(self, peer, *quantity),
                ) {
                    (Err(message), false) => return Err(format!("{place}{message}")),
                    (Ok(()), true) => {
                        return Err(format!("{place}: expected a difference, got none"));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn compare_values(quantity: Quantity, expected: &[f64], got: &[f32]) -> Result<(), String> {
    if expected.len() != got.len() {
        return Err(format!(
            ": expected {} values, got {}",
            expected.len(),
            got.len()
        ));
    }
    let tolerance = tolerance(quantity, expected);
    for (index, (&expected, &got)) in expected.iter().zip(got).enumerate() {
        // Written so that NaN is wrong.
        let right = (expected - f64::from(got)).abs() <= tolerance;
        if !right {
            return Err(format!(
                "[{index}]: expected {expected:e} within {tolerance:.1e}, got {got:e}"
            ));
        }
    }
    Ok(())
}

fn tolerance(quantity: Quantity, expected: &[f64]) -> f64 {
    let largest = expected
        .iter()
        .fold(0.0, |largest: f64, value| largest.max(value.abs()));
    quantity.units() * f64::from(f32::EPSILON) * largest
}

fn train(
    network: &Network<'_>,
    options: Options<'_>,
    mut parameters: Vec<f32>,
    batches: impl Iterator<Item = (Vec<f32>, Vec<f32>)>,
) -> Quantities<f32> {
    let mut memory = vec![0.0; memory_len(network, &options).unwrap()];
    let mut trainer = Trainer::new(network, options, &mut memory).unwrap();
    let losses = batches.map(|(input, target)| {
        trainer
            .step(&EXECUTOR, &mut parameters, &input, &target)
            .unwrap() as f32
    });
    let losses = losses.collect();
    BTreeMap::from([
        (Quantity::Losses, losses),
        (Quantity::Parameters, parameters),
    ])
}

#[test]
fn narrows_answers_as_pytorch_and_keras_do() {
    for case in figures().cases {
        if let Err(message) = case.compare(&case.answer()) {
            panic!("{message}");
        }
    }
}

#[test]
fn a_value_a_few_units_off_is_noticed_and_named() {
    for case in figures().cases {
        let right = case.answer();
        for (quantity, values) in &right {
            let agreeing = case
                .answers
                .iter()
                .find(|(peer, _)| !differs(&case, peer, *quantity));
            let tolerance =
                agreeing.map_or(0.0, |(_, answer)| tolerance(*quantity, &answer[quantity]));
            for index in (0..values.len()).step_by(7) {
                let mut wrong = right.clone();
                wrong.get_mut(quantity).unwrap()[index] +=
                    (3.0 * tolerance) as f32 + f32::MIN_POSITIVE;
                let message = case.compare(&wrong).expect_err(&case.name);
                let named = message.starts_with(&case.name)
                    && message.contains(&format!("{quantity:?}[{index}]: expected"));
                assert!(named, "{message}");
            }
        }
    }
}

fn differs(case: &Case, peer: &str, quantity: Quantity) -> bool {
    case.differs
        .get(peer)
        .is_some_and(|reasons| reasons.contains_key(&quantity))
}

/// What a case is about, in words that can be listed.
fn subjects(case: &Case) -> Vec<String> {
    let mut subjects = vec![format!("{:?}", case.loss)];
    for layer in &case.layers {
        let (name, activation) = (layer.name(), layer.activation());
        subjects.push(match layer {
            LayerKind::Conv2d { padding, .. } | LayerKind::MaxPool2d { padding, .. } => {
                format!("{name} {padding:?}")
            }
            _ => name.to_owned(),
        });
        subjects.push(format!("{name} {activation:?}"));
    }
    if let Some(training) = case.training {
        let convolutional = case
            .layers
            .iter()
            .any(|layer| matches!(layer, LayerKind::Conv2d { .. }));
        let network = if convolutional {
            "convolutional"
        } else {
            "dense"
        };
        let (rule, steps) = (training.optimizer, training.steps);
        subjects.push(match rule {
            Optimizer::Adam { .. } => format!("{steps} steps of Adam, {network}"),
            Optimizer::Sgd { momentum, .. } => {
                format!("{steps} steps of SGD with momentum {momentum}, {network}")
            }
        });
        if rule == Optimizer::adam() {
            subjects.push(format!(
                "{steps} steps of Adam with Keras's defaults, {network}"
            ));
        }
    }
    subjects
}

#[test]
fn the_figures_cover_layers_activations_losses_and_optimizers_by_both_peers() {
    const LEAST_CASES: usize = 56;
    let figures = figures();
    assert!(
        figures.cases.len() >= LEAST_CASES,
        "expected at least {LEAST_CASES} cases, got {}",
        figures.cases.len()
    );
    for package in ["pytorch", "keras", "tensorflow", "numpy", "python"] {
        assert!(
            figures.versions.contains_key(package),
            "expected the version of {package}"
        );
    }

    let mut names = BTreeSet::new();
    let mut covered = BTreeSet::new();
    for case in &figures.cases {
        assert!(
            names.insert(&case.name),
            "{}: expected a name of its own",
            case.name
        );
        for peer in ["pytorch", "keras"] {
            let answer = case
                .answers
                .get(peer)
                .unwrap_or_else(|| panic!("{}: expected an answer of {peer}", case.name));
            covered.extend(
                subjects(case)
                    .into_iter()
                    .map(|subject| format!("{peer}: {subject}")),
            );
            let training = answer.contains_key(&Quantity::Parameters);
            assert_eq!(training, case.training.is_some(), "{}: {peer}", case.name);
        }
        for (peer, reasons) in &case.differs {
            assert!(
                case.answers.contains_key(peer),
                "{}: {peer} differs, but has no answer",
                case.name
            );
            assert!(
                reasons.values().all(|reason| !reason.is_empty()),
                "{}: {peer} differs without a reason",
                case.name
            );
        }
        let all_quantities = case
            .answers
            .values()
            .next()
            .into_iter()
            .flat_map(BTreeMap::keys);
        for quantity in all_quantities {
            let agreed = case
                .answers
                .keys()
                .any(|peer| !differs(case, peer, *quantity));
            assert!(agreed, "{}: no peer agrees on {quantity:?}", case.name);
        }
    }

    let mut expected: Vec<String> = Vec::new();
    let activations = [
        Activation::Linear,
        Activation::Relu,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Softmax,
    ];
    for name in ["dense", "conv2d"] {
        expected.extend(activations.map(|activation| format!("{name} {activation:?}")));
    }
    for name in ["conv2d", "max_pooling2d"] {
        expected
            .extend([Padding::Same, Padding::Valid].map(|padding| format!("{name} {padding:?}")));
    }
    expected.extend(["up_sampling2d", "flatten", "reshape"].map(str::to_owned));
    let losses = [
        Loss::MeanSquaredError,
        Loss::BinaryCrossEntropy,
        Loss::CategoricalCrossEntropy,
    ];
    expected.extend(losses.map(|loss| format!("{loss:?}")));
    for network in ["dense", "convolutional"] {
        expected.push(format!("10 steps of Adam with Keras's defaults, {network}"));
        expected.push(format!("10 steps of SGD with momentum 0.9, {network}"));
    }
    for subject in expected {
        for peer in ["pytorch", "keras"] {
            assert!(
                covered.contains(&format!("{peer}: {subject}")),
                "expected a case of {peer} for {subject}"
            );
        }
    }
}
