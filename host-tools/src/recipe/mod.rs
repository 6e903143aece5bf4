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

mod plan;
mod presets;
mod read;

use narrows_core::blob::Filter;
use narrows_core::initializer::Initializer;
use narrows_core::layer::{Activation, Layer, LayerKind};
use narrows_core::loss::Loss;
use narrows_core::math::Math;
use narrows_core::noise::{Noise, NoiseKind};
use narrows_core::optimizer::Optimizer;
use narrows_core::penalty::{Penalty, Sparsity};
use narrows_core::shape::{Padding, Shape};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub(crate) use plan::range;
pub use plan::{Plan, Stage};
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
    /// How they learn, all at once.
    #[serde(default)]
    pub training: TrainingRecipe,
    /// How they learn, part by part, in place of the section `[training]`.
    #[serde(default)]
    pub stages: Vec<StageRecipe>,
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
    /// Only samples with these labels are trained and validated on.
    pub classes: Option<Vec<u8>>,
    /// The share of the samples, above 0 and at most 1, that are trained on: those whose numbers have the smallest
    /// variance, of a recording its quieter parts. What is louder than the loudest of them is not validated on either.
    /// Together with `classes` it is a share of their samples.
    pub quiet: Option<f64>,
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
            classes: None,
            quiet: None,
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
    #[serde(with = "shape")]
    pub input: Shape,
    /// The name of the layer whose output is the code. By default it is the one in the middle of those that compute
    /// something; of two in the middle the narrower, of two as narrow the first.
    #[serde(default)]
    pub code: Option<String>,
    /// `"exact"` or `"fast"`.
    #[serde(default, with = "MathName")]
    pub math: Math,
    /// In order.
    pub layers: Vec<LayerRecipe>,
}

/// A layer. What Keras knows by the same name has the same meaning and the same default; what it pays beside the loss is
/// core's [`Penalty`].
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
        #[serde(default)]
        kernel_l1: f64,
        #[serde(default)]
        kernel_l2: f64,
        #[serde(default)]
        activity_l1: f64,
        #[serde(default)]
        sparsity: Option<SparsityRecipe>,
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
        #[serde(default)]
        kernel_l1: f64,
        #[serde(default)]
        kernel_l2: f64,
        #[serde(default)]
        activity_l1: f64,
        #[serde(default)]
        sparsity: Option<SparsityRecipe>,
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
        #[serde(default)]
        activity_l1: f64,
    },
    /// [`LayerKind::UpSample2d`].
    #[serde(rename = "up_sampling2d")]
    UpSampling2d {
        #[serde(default)]
        name: String,
        #[serde(default = "two")]
        size: Pair,
        #[serde(default)]
        activity_l1: f64,
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
        #[serde(with = "shape")]
        target_shape: Shape,
    },
}

/// [`Sparsity`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SparsityRecipe {
    /// The mean activity that each unit is to keep to.
    pub target: f64,
    /// How much it pays for another.
    #[serde(default = "unit_weight")]
    pub weight: f64,
}

/// Two numbers, rows and columns; one number stands for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pair(pub [u32; 2]);

/// The section `[training]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingRecipe {
    /// `"mse"`, `"half_squared_error"`, `"binary_crossentropy"` or `"categorical_crossentropy"`.
    #[serde(with = "LossName")]
    pub loss: Loss,
    /// `"adam"` or `"sgd"`, or a table with settings.
    #[serde(with = "OptimizerName")]
    pub optimizer: Optimizer,
    /// Samples a step; the last of an epoch may be fewer.
    pub batch_size: usize,
    /// Times that each sample is seen.
    pub epochs: u32,
    /// Steps after which the run ends, be it in the midst of an epoch.
    pub steps: Option<u64>,
    /// What the network is to answer.
    pub target: Target,
    /// How the learning rate goes down.
    pub schedule: Option<Schedule>,
    /// The run ends when the validation loss no longer falls, and the best epoch's parameters are the result.
    pub early_stopping: Option<EarlyStopping>,
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
            steps: None,
            target: Target::Input,
            schedule: None,
            early_stopping: None,
            shuffle: true,
            noise: None,
        }
    }
}

/// What a network learns to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// What it is given, before the noise; or the clean one of a pair.
    #[default]
    Input,
    /// The sample's label: 1 for the output of its number, 0 for the others.
    Labels,
}

/// How the learning rate of an epoch follows from that of the first. Computed in f64, by products, and rounded once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Schedule {
    /// Times `factor` after every so many epochs.
    Step {
        /// How many epochs have the same rate.
        epochs: u32,
        /// Above 0, at most 1.
        factor: f64,
    },
    /// Along half a cosine down to `to`, which the epoch after the last would have.
    Cosine {
        /// At least 0.
        #[serde(default)]
        to: f64,
    },
}

/// When a run ends of itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Epochs without a better one.
    pub patience: u32,
    /// By how much the validation loss must be lower to count as better.
    #[serde(default)]
    pub min_delta: f64,
}

/// A part of a stacked training: some layers learn, those before them stay as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRecipe {
    /// What it is called.
    pub name: String,
    /// The first layer that learns, and the last; one name stands for both.
    pub layers: Vec<String>,
    /// Layers that stand behind them while they learn to give back what comes into the first, and are thrown away then.
    #[serde(default)]
    pub decoder: Vec<LayerRecipe>,
    /// How they learn.
    #[serde(default)]
    pub training: TrainingRecipe,
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
        let decoders = self.stages.iter_mut().map(|stage| &mut stage.decoder);
        for layers in std::iter::once(&mut self.network.layers).chain(decoders) {
            for (index, layer) in layers.iter_mut().enumerate() {
                let kind = layer.kind().name();
                let name = layer.name_mut();
                if name.is_empty() {
                    *name = format!("{kind}_{index}");
                }
            }
        }
    }

    /// The settings of the trainings: the section `[training]`, or those of the stages.
    pub fn trainings_mut(&mut self) -> impl Iterator<Item = &mut TrainingRecipe> {
        let single = self.stages.is_empty().then_some(&mut self.training);
        let stages = self.stages.iter_mut().map(|stage| &mut stage.training);
        single.into_iter().chain(stages)
    }

    /// CRC-32 of all settings, however they are written down: for a blob's provenance.
    #[must_use]
    pub fn digest(&self) -> u32 {
        // A recipe has nothing that postcard cannot write into memory that grows.
        crc32fast::hash(&postcard::to_stdvec(self).unwrap_or_default())
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

    /// What the layer at `index` pays beside the loss.
    fn penalty(&self, index: usize) -> Option<Penalty> {
        let none = Penalty {
            layer: index,
            ..Penalty::default()
        };
        let penalty = match *self {
            Self::Dense {
                kernel_l1,
                kernel_l2,
                activity_l1,
                sparsity,
                ..
            }
            | Self::Conv2d {
                kernel_l1,
                kernel_l2,
                activity_l1,
                sparsity,
                ..
            } => Penalty {
                kernel_l1,
                kernel_l2,
                activity_l1,
                sparsity: sparsity
                    .map(|SparsityRecipe { target, weight }| Sparsity { target, weight }),
                ..none
            },
            Self::MaxPooling2d { activity_l1, .. } | Self::UpSampling2d { activity_l1, .. } => {
                Penalty {
                    activity_l1,
                    ..none
                }
            }
            Self::Flatten { .. } | Self::Reshape { .. } => none,
        };
        (penalty != none).then_some(penalty)
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
    #[serde(rename = "half_squared_error")]
    HalfSquaredError,
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

fn unit_weight() -> f64 {
    1.0
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

mod shape {
    use super::{Deserialize, Serialize, Shape};

    pub(super) fn serialize<S: serde::Serializer>(
        shape: &Shape,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match *shape {
            Shape::Flat { length } => vec![length],
            Shape::Picture {
                height,
                width,
                channels,
            } => vec![height, width, channels],
        }
        .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Shape, D::Error> {
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
}
