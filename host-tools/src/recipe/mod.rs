//! Recipes: what is trained, on what, and how, as a TOML file with Keras's names.
//!
//! ```
//! let recipe = narrows::recipe::Recipe::parse(r#"
//!     name = "tiny"
//!
//!     [network]
//!     input = [784]
//!     layers = [
//!       { type = "dense", units = 8, activation = "relu" },
//!       { type = "dense", units = 784, activation = "sigmoid" },
//!     ]
//!
//!     [training]
//!     optimizer = { type = "sgd", learning_rate = 0.1, momentum = 0.9 }
//! "#, "tiny.toml")?;
//! let plan = recipe.plan()?;
//! assert_eq!(plan.network().parameter_len(), 784 * 8 + 8 + 8 * 784 + 784);
//! # Ok::<(), narrows::error::Error>(())
//! ```
//!
//! [`Recipe::parse`] says everything that is wrong, with the line; the [`Plan`] that a recipe becomes holds together.

mod presets;
mod read;

use narrows_core::blob::{Filter, Preprocessing, Rule};
use narrows_core::initializer::Initializer;
use narrows_core::layer::{Activation, Layer, LayerKind};
use narrows_core::loss::Loss;
use narrows_core::math::Math;
use narrows_core::network::Network;
use narrows_core::noise::{Noise, NoiseKind};
use narrows_core::optimizer::Optimizer;
use narrows_core::shape::{Padding, Shape};
use narrows_core::training::{self, Mode, Options};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub use presets::Preset;
pub(crate) use read::unknown;

/// A recipe as it is written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The model's name, and that of its files: letters, digits, `-` and `_`.
    pub name: String,
    /// Behind every random draw.
    #[serde(default)]
    pub seed: u64,
    /// Which data, and how they are prepared.
    #[serde(default)]
    pub data: DataRecipe,
    /// The layers.
    pub network: NetworkRecipe,
    /// How they learn.
    #[serde(default)]
    pub training: TrainingRecipe,
}

/// The section `[data]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataRecipe {
    /// What is trained on where the command names no data.
    pub bundled: Bundled,
    /// Integers x become `(x - offset) * scale`; floating-point data are taken as they are.
    pub offset: f32,
    /// 1/255 by default, which takes bytes to the range from 0 to 1.
    pub scale: f32,
    /// A recording is cut into windows as long as the network's input; one begins every `step` frames, each a number of
    /// every channel. By default as many as a window has.
    pub step: Option<u32>,
    /// Frames a second that a WAV must have. Any will do where none are named.
    pub sample_rate: Option<u32>,
    /// `[height, width]` that pictures are resized to: by default the network's input, if that is a picture. Pictures for a
    /// flat input must have its size where nothing is named.
    pub resize: Option<[u32; 2]>,
    /// How they are resized: `"nearest"`, `"triangle"` or `"catmull_rom"`.
    pub filter: Filter,
    /// The columns of a CSV that are taken: by default all but `label`.
    pub columns: Vec<String>,
    /// The column of a CSV that has the labels.
    pub label: Option<String>,
    /// The last part of the training data that is kept for validation, as in Keras. Where it is 0, the test data serve.
    pub validation_split: f64,
}

impl Default for DataRecipe {
    fn default() -> Self {
        Self {
            bundled: Bundled::default(),
            offset: 0.0,
            scale: 1.0 / 255.0,
            step: None,
            sample_rate: None,
            resize: None,
            filter: Filter::default(),
            columns: Vec::new(),
            label: None,
            validation_split: 0.0,
        }
    }
}

/// The data that come with the library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bundled {
    /// 2,000 and 500 pictures of clothes, 28 x 28, bytes.
    #[default]
    FashionMnist,
    /// Five minutes of an electrocardiogram, 360 counts a second.
    Ecg,
}

/// The section `[network]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRecipe {
    /// `[length]` or `[height, width, channels]`.
    #[serde(deserialize_with = "shape")]
    pub input: Shape,
    /// The name of the layer whose output is the code. By default it is the first of the narrowest before the last layer
    /// that computes something, be they as wide as the input; in a network of one layer it is that one.
    #[serde(default)]
    pub code: Option<String>,
    /// `"exact"` or `"fast"`.
    #[serde(default, with = "MathName")]
    pub math: Math,
    /// In order.
    pub layers: Vec<LayerRecipe>,
}

/// A layer. What Keras knows by the same name has the same meaning and the same default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the fields are Keras's, and core's documentation of the kinds has them"
)]
pub enum LayerRecipe {
    /// [`LayerKind::Dense`].
    #[serde(rename = "dense")]
    Dense {
        #[serde(default)]
        name: String,
        units: u32,
        #[serde(default = "linear", with = "ActivationName")]
        activation: Activation,
        #[serde(default = "glorot_uniform", with = "InitializerName")]
        kernel_initializer: Initializer,
    },
    /// [`LayerKind::Conv2d`].
    #[serde(rename = "conv2d")]
    Conv2d {
        #[serde(default)]
        name: String,
        filters: u32,
        kernel_size: Pair,
        #[serde(default = "one")]
        strides: Pair,
        #[serde(default = "valid", with = "PaddingName")]
        padding: Padding,
        #[serde(default = "linear", with = "ActivationName")]
        activation: Activation,
        #[serde(default = "glorot_uniform", with = "InitializerName")]
        kernel_initializer: Initializer,
    },
    /// [`LayerKind::MaxPool2d`].
    #[serde(rename = "max_pooling2d")]
    MaxPooling2d {
        #[serde(default)]
        name: String,
        #[serde(default = "two")]
        pool_size: Pair,
        /// As `pool_size` by default.
        #[serde(default)]
        strides: Option<Pair>,
        #[serde(default = "valid", with = "PaddingName")]
        padding: Padding,
    },
    /// [`LayerKind::UpSample2d`].
    #[serde(rename = "up_sampling2d")]
    UpSampling2d {
        #[serde(default)]
        name: String,
        #[serde(default = "two")]
        size: Pair,
    },
    /// [`LayerKind::Flatten`].
    #[serde(rename = "flatten")]
    Flatten {
        #[serde(default)]
        name: String,
    },
    /// [`LayerKind::Reshape`].
    #[serde(rename = "reshape")]
    Reshape {
        #[serde(default)]
        name: String,
        #[serde(deserialize_with = "shape")]
        target_shape: Shape,
    },
}

/// Two numbers, rows and columns; one number stands for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pair(pub [u32; 2]);

/// The section `[training]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingRecipe {
    /// `"mse"`, `"binary_crossentropy"` or `"categorical_crossentropy"`.
    #[serde(with = "LossName")]
    pub loss: Loss,
    /// `"adam"` or `"sgd"`, or a table with settings.
    #[serde(with = "OptimizerName")]
    pub optimizer: Optimizer,
    /// Samples a step; the last of an epoch may be fewer.
    pub batch_size: usize,
    /// Times that each sample is seen.
    pub epochs: u32,
    /// Whether each epoch has an order of its own.
    pub shuffle: bool,
    /// What corrupts the inputs; the targets stay clean.
    pub noise: Option<NoiseRecipe>,
}

impl Default for TrainingRecipe {
    fn default() -> Self {
        Self {
            loss: Loss::MeanSquaredError,
            optimizer: Optimizer::adam(),
            batch_size: 32,
            epochs: 5,
            shuffle: true,
            noise: None,
        }
    }
}

/// [`NoiseKind`], with what it is clipped to, and whether it is the same in every epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are core's, and documented there")]
pub enum NoiseRecipe {
    /// [`NoiseKind::Gaussian`].
    Gaussian {
        stddev: f32,
        #[serde(default)]
        clip: Option<[f32; 2]>,
        #[serde(default)]
        fixed: bool,
    },
    /// [`NoiseKind::Masking`].
    Masking {
        fraction: f32,
        #[serde(default)]
        clip: Option<[f32; 2]>,
        #[serde(default)]
        fixed: bool,
    },
    /// [`NoiseKind::SaltAndPepper`].
    SaltAndPepper {
        fraction: f32,
        #[serde(default)]
        clip: Option<[f32; 2]>,
        #[serde(default)]
        fixed: bool,
    },
}

/// A recipe that holds together: what it says, as core's checked values.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    recipe: &'a Recipe,
    network: Network<'a>,
    noise: Option<Noise>,
    options: Options,
}

/// What is wrong with a recipe, and at which layer if at one.
struct Flaw {
    layer: Option<usize>,
    problem: String,
}

impl Recipe {
    /// Reads a recipe and checks that it holds together. `file` is what errors call it.
    ///
    /// # Errors
    /// [`Error::Recipe`] with the line of the first thing that is wrong.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        let error = |line, problem| Error::Recipe {
            file: file.into(),
            line,
            problem,
        };
        let document = toml::de::DeTable::parse(text).map_err(|problem| {
            let line = read::line(text, problem.span().map_or(0, |span| span.start));
            error(line, problem.message().replace('\n', ", "))
        })?;
        let mut recipe: Self = read::from_table(&document).map_err(|problem| {
            let (line, problem) = problem.describe(text);
            error(line, problem)
        })?;
        recipe.name_layers();
        if let Err(flaw) = recipe.check() {
            let network = document.get_ref().get("network");
            let layer = network
                .and_then(|network| network.get_ref().get("layers")?.get_ref().get(flaw.layer?));
            let line = layer
                .or(network)
                .map_or(1, |place| read::line(text, place.span().start));
            return Err(error(line, flaw.problem));
        }
        Ok(recipe)
    }

    /// Gives every layer without a name one: its kind and its index.
    pub fn name_layers(&mut self) {
        for (index, layer) in self.network.layers.iter_mut().enumerate() {
            let kind = layer.kind().name();
            let name = layer.name_mut();
            if name.is_empty() {
                *name = format!("{kind}_{index}");
            }
        }
    }

    /// The checked values that the recipe stands for.
    ///
    /// # Errors
    /// [`Error::Plan`] with the first thing that does not hold together.
    pub fn plan(&self) -> Result<Plan<'_>> {
        self.check().map_err(|flaw| Error::Plan {
            recipe: self.name.clone(),
            problem: flaw.problem,
        })
    }

    fn check(&self) -> Result<Plan<'_>, Flaw> {
        let flaw = |problem: String| Flaw {
            layer: None,
            problem,
        };
        let in_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || !self.name.chars().all(in_name) {
            return Err(flaw(format!(
                "name: expected letters, digits, - and _, but {:?} came",
                self.name
            )));
        }
        let data = &self.data;
        if !(data.offset.is_finite() && data.scale.is_finite()) {
            return Err(flaw(format!(
                "data: expected a finite offset and scale, but {} and {} came",
                data.offset, data.scale
            )));
        }
        if !(0.0..1.0).contains(&data.validation_split) {
            let given = data.validation_split;
            return Err(flaw(format!(
                "data.validation_split: expected a number from 0 to below 1, but {given} came"
            )));
        }
        for (key, value) in [("step", data.step), ("sample_rate", data.sample_rate)] {
            if value == Some(0) {
                return Err(flaw(format!("data.{key}: expected at least 1, but 0 came")));
            }
        }
        if let Some([height, width]) = data.resize {
            let pixels = u64::from(height) * u64::from(width);
            let len = self.network.input.len() as u64;
            let fits = match self.network.input {
                Shape::Flat { .. } => pixels > 0 && (len == pixels || len == 3 * pixels),
                Shape::Picture {
                    height: rows,
                    width: columns,
                    ..
                } => [height, width] == [rows, columns],
            };
            if !fits || data.step.or(data.sample_rate).is_some() {
                return Err(flaw(format!(
                    "data.resize: expected the height and width of pictures for the input {}, and no step and sample_rate, but [{height}, {width}] came",
                    self.network.input
                )));
            }
        }
        let training = &self.training;
        if training.epochs == 0 {
            return Err(flaw(
                "training.epochs: expected at least 1, but 0 came".into(),
            ));
        }
        let network = self.check_network()?;
        let noise = match &training.noise {
            Some(noise) => Some(
                noise
                    .check()
                    .map_err(|problem| flaw(format!("training.{problem}")))?,
            ),
            None => None,
        };
        let options = Options {
            loss: training.loss,
            optimizer: training.optimizer,
            mode: Mode::Accumulate {
                batch: training.batch_size,
            },
            first_trainable: 0,
            math: self.network.math,
        };
        training::memory_len(&network, &options)
            .map_err(|problem| flaw(format!("training: {problem}")))?;
        Ok(Plan {
            recipe: self,
            network,
            noise,
            options,
        })
    }

    fn check_network(&self) -> Result<Network<'_>, Flaw> {
        let flaw = |problem: String| Flaw {
            layer: None,
            problem,
        };
        let layers: Vec<Layer<'_>> = self.network.layers.iter().map(LayerRecipe::layer).collect();
        let network =
            Network::new(self.network.input, &layers, 0).map_err(|error| match error {
                narrows_core::error::Error::Layer {
                    index,
                    kind,
                    problem,
                } => {
                    let name = layers.get(index).map_or("", |layer| layer.name);
                    Flaw {
                        layer: Some(index),
                        problem: format!("layer {index} \"{name}\" ({kind}): {problem}"),
                    }
                }
                other => flaw(format!("network: {other}")),
            })?;
        let (input, output, last) = (network.input(), network.output(), layers.len() - 1);
        let flat = |shape| matches!(shape, Shape::Flat { .. });
        if input != output && !(input.len() == output.len() && (flat(input) || flat(output))) {
            let layer = &layers[last];
            let place = format!("layer {last} \"{}\" ({})", layer.name, layer.kind.name());
            let problem = format!(
                "{place}: expected an output {input}, the shape of the network's input, but {output} came"
            );
            return Err(Flaw {
                layer: Some(last),
                problem,
            });
        }
        let code = match &self.network.code {
            None => narrowest(&network),
            Some(name) => network.index_of(name).ok_or_else(|| {
                let names: Vec<&str> = layers.iter().map(|layer| layer.name).collect();
                flaw(format!("network.code: {}", unknown("layer", name, &names)))
            })?,
        };
        Network::new(input, &layers, code).map_err(|error| flaw(error.to_string()))
    }

    /// CRC-32 of all settings, however they are written down: for a blob's provenance.
    #[must_use]
    pub fn digest(&self) -> u32 {
        // A recipe has nothing that postcard cannot write into memory that grows.
        crc32fast::hash(&postcard::to_stdvec(self).unwrap_or_default())
    }
}

impl<'a> Plan<'a> {
    /// What the plan was made of.
    #[must_use]
    pub fn recipe(&self) -> &'a Recipe {
        self.recipe
    }

    /// The layers.
    #[must_use]
    pub fn network(&self) -> &Network<'a> {
        &self.network
    }

    /// What corrupts the inputs.
    #[must_use]
    pub fn noise(&self) -> Option<&Noise> {
        self.noise.as_ref()
    }

    /// What each step does.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What data go through.
    #[must_use]
    pub fn preprocessing(&self) -> Preprocessing {
        let data = &self.recipe.data;
        let (step, sample_rate, filter) = (data.step, data.sample_rate, data.filter);
        let resize = |height, width| Rule::Resize {
            height,
            width,
            filter,
        };
        let rule = match (data.resize, self.network.input()) {
            (Some([height, width]), _) => resize(height, width),
            _ if step.or(sample_rate).is_some() => Rule::Window { step, sample_rate },
            (None, Shape::Picture { height, width, .. }) if height > 1 => resize(height, width),
            _ => Rule::None,
        };
        Preprocessing {
            offset: data.offset,
            scale: data.scale,
            rule,
        }
    }

    /// The initial weights; biases are zero.
    #[must_use]
    pub fn initial_parameters(&self) -> Vec<f32> {
        let mut parameters = vec![0.0; self.network.parameter_len()];
        for (step, layer) in self.network.steps().zip(&self.recipe.network.layers) {
            let Some(initializer) = layer.initializer() else {
                continue;
            };
            let (weights, biases) = step.work.parameter_lens();
            // Each weight joins one input of a unit with one of the units, or with one place of a kernel.
            let fan_in = weights / biases.max(1);
            let fan_out = match step.work {
                narrows_core::layer::Work::Conv2d(window) => weights / window.channels_in.max(1),
                _ => biases,
            };
            let range = step.parameters.start..step.parameters.start + weights;
            initializer.fill(
                self.recipe.seed,
                step.index as u32,
                fan_in,
                fan_out,
                &mut parameters[range],
            );
        }
        parameters
    }
}

/// The layer that is the code where a recipe names none.
fn narrowest(network: &Network<'_>) -> usize {
    let layers = network.layers();
    let last = layers.iter().rposition(|layer| !layer.kind.is_view());
    let before = network.steps().take(last.unwrap_or(0));
    let narrowest = before.min_by_key(|step| step.output.len());
    narrowest.map_or(0, |step| step.index)
}

/// The range that the last layer's activation can reach.
pub(crate) fn range(network: &Network<'_>) -> [f32; 2] {
    let last = network
        .layers()
        .iter()
        .rev()
        .find(|layer| !layer.kind.is_view());
    match last.map_or(Activation::Linear, |layer| layer.kind.activation()) {
        Activation::Sigmoid | Activation::Softmax => [0.0, 1.0],
        Activation::Tanh => [-1.0, 1.0],
        Activation::Relu => [0.0, f32::MAX],
        Activation::Linear => [f32::MIN, f32::MAX],
    }
}

impl LayerRecipe {
    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Dense { name, .. }
            | Self::Conv2d { name, .. }
            | Self::MaxPooling2d { name, .. }
            | Self::UpSampling2d { name, .. }
            | Self::Flatten { name }
            | Self::Reshape { name, .. } => name,
        }
    }

    fn name_mut(&mut self) -> &mut String {
        match self {
            Self::Dense { name, .. }
            | Self::Conv2d { name, .. }
            | Self::MaxPooling2d { name, .. }
            | Self::UpSampling2d { name, .. }
            | Self::Flatten { name }
            | Self::Reshape { name, .. } => name,
        }
    }

    /// Core's kind with these settings.
    #[must_use]
    pub fn kind(&self) -> LayerKind {
        match *self {
            Self::Dense {
                units, activation, ..
            } => LayerKind::Dense { units, activation },
            Self::Conv2d {
                filters,
                kernel_size: Pair(kernel_size),
                strides: Pair(strides),
                padding,
                activation,
                ..
            } => LayerKind::Conv2d {
                filters,
                kernel_size,
                strides,
                padding,
                activation,
            },
            Self::MaxPooling2d {
                pool_size: Pair(pool_size),
                strides,
                padding,
                ..
            } => LayerKind::MaxPool2d {
                pool_size,
                strides: strides.map_or(pool_size, |Pair(strides)| strides),
                padding,
            },
            Self::UpSampling2d {
                size: Pair(size), ..
            } => LayerKind::UpSample2d { size },
            Self::Flatten { .. } => LayerKind::Flatten,
            Self::Reshape { target_shape, .. } => LayerKind::Reshape {
                target: target_shape,
            },
        }
    }

    fn layer(&self) -> Layer<'_> {
        Layer {
            name: self.name(),
            kind: self.kind(),
        }
    }

    fn initializer(&self) -> Option<Initializer> {
        match *self {
            Self::Dense {
                kernel_initializer, ..
            }
            | Self::Conv2d {
                kernel_initializer, ..
            } => Some(kernel_initializer),
            _ => None,
        }
    }
}

impl NoiseRecipe {
    fn check(&self) -> Result<Noise, narrows_core::noise::NoiseProblem> {
        match *self {
            Self::Gaussian {
                stddev,
                clip,
                fixed,
            } => Noise::new(NoiseKind::Gaussian { stddev }, clip, fixed),
            Self::Masking {
                fraction,
                clip,
                fixed,
            } => Noise::new(NoiseKind::Masking { fraction }, clip, fixed),
            Self::SaltAndPepper {
                fraction,
                clip,
                fixed,
            } => Noise::new(NoiseKind::SaltAndPepper { fraction }, clip, fixed),
        }
    }
}

// What follows tells serde how core's values are written in a recipe.

#[derive(Serialize, Deserialize)]
#[serde(remote = "Activation", rename_all = "snake_case")]
enum ActivationName {
    Linear,
    Relu,
    Sigmoid,
    Tanh,
    Softmax,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Padding", rename_all = "snake_case")]
enum PaddingName {
    Valid,
    Same,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Math", rename_all = "snake_case")]
enum MathName {
    Exact,
    Fast,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Initializer", rename_all = "snake_case")]
enum InitializerName {
    GlorotUniform,
    GlorotNormal,
    HeUniform,
    HeNormal,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Loss")]
enum LossName {
    #[serde(rename = "mse", alias = "mean_squared_error")]
    MeanSquaredError,
    #[serde(rename = "binary_crossentropy")]
    BinaryCrossEntropy,
    #[serde(rename = "categorical_crossentropy")]
    CategoricalCrossEntropy,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Optimizer", rename_all = "snake_case", deny_unknown_fields)]
enum OptimizerName {
    Adam {
        #[serde(default = "adam_rate")]
        learning_rate: f64,
        #[serde(default = "adam_beta_1")]
        beta_1: f64,
        #[serde(default = "adam_beta_2")]
        beta_2: f64,
        #[serde(default = "adam_epsilon")]
        epsilon: f64,
    },
    Sgd {
        #[serde(default = "sgd_rate")]
        learning_rate: f64,
        #[serde(default)]
        momentum: f64,
    },
}

fn linear() -> Activation {
    Activation::Linear
}
fn glorot_uniform() -> Initializer {
    Initializer::GlorotUniform
}
fn valid() -> Padding {
    Padding::Valid
}
fn one() -> Pair {
    Pair([1, 1])
}
fn two() -> Pair {
    Pair([2, 2])
}
fn adam_rate() -> f64 {
    1e-3
}
fn adam_beta_1() -> f64 {
    0.9
}
fn adam_beta_2() -> f64 {
    0.999
}
fn adam_epsilon() -> f64 {
    1e-7
}
fn sgd_rate() -> f64 {
    1e-2
}

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> serde::de::Visitor<'de> for Numbers {
            type Value = Pair;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, or two as [rows, columns]")
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Pair, E> {
                let number = u32::try_from(number)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(number), &self))?;
                Ok(Pair([number; 2]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut numbers: A,
            ) -> Result<Pair, A::Error> {
                let mut pair = [0; 2];
                for (index, number) in pair.iter_mut().enumerate() {
                    let next = numbers.next_element()?;
                    *number = next.ok_or_else(|| serde::de::Error::invalid_length(index, &self))?;
                }
                Ok(Pair(pair))
            }
        }
        deserializer.deserialize_any(Numbers)
    }
}

fn shape<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Shape, D::Error> {
    let numbers = Vec::<u32>::deserialize(deserializer)?;
    match *numbers {
        [length] => Ok(Shape::flat(length)),
        [height, width, channels] => Ok(Shape::picture(height, width, channels)),
        _ => Err(serde::de::Error::custom(format!(
            "expected [length] or [height, width, channels], but {} numbers came",
            numbers.len()
        ))),
    }
}
