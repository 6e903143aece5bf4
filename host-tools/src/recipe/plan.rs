//! A recipe becomes a plan: core's checked values, for the whole network and for each stage of its training.

use std::ops::Range;

use narrows_core::blob::{Preprocessing, Rule};
use narrows_core::layer::{Activation, Layer, Work};
use narrows_core::math::{Math, cos_turns};
use narrows_core::network::Network;
use narrows_core::noise::Noise;
use narrows_core::penalty::Penalty;
use narrows_core::shape::Shape;
use narrows_core::training::{self, Mode, Options};

use super::{Flaw, LayerRecipe, Recipe, Schedule, Target, TrainingRecipe, unknown};
use crate::error::{Error, Result};

/// A recipe that holds together.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    recipe: &'a Recipe,
    network: Network<'a>,
    stages: Vec<Stage<'a>>,
}

/// A part of a training: which layers learn, what stands behind them meanwhile, and how.
#[derive(Clone, Debug)]
pub struct Stage<'a> {
    name: &'a str,
    index: usize,
    seed: u64,
    layers: Range<usize>,
    parameters: Range<usize>,
    network: Network<'a>,
    recipes: Vec<&'a LayerRecipe>,
    training: &'a TrainingRecipe,
    noise: Option<Noise>,
    penalties: Vec<Penalty>,
    math: Math,
}

fn flaw(problem: impl Into<String>) -> Flaw {
    Flaw {
        layer: None,
        problem: problem.into(),
    }
}

impl Recipe {
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

    pub(super) fn check(&self) -> Result<Plan<'_>, Flaw> {
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
        if data.classes.as_ref().is_some_and(Vec::is_empty) {
            return Err(flaw(
                "data.classes: expected at least one label, but none came",
            ));
        }
        if let Some(quiet) = data.quiet.filter(|quiet| !(*quiet > 0.0 && *quiet <= 1.0)) {
            return Err(flaw(format!(
                "data.quiet: expected a number above 0 and at most 1, but {quiet} came"
            )));
        }
        let network = self.check_network()?;
        let stages = if self.stages.is_empty() {
            let layers: Vec<&LayerRecipe> = self.network.layers.iter().collect();
            let whole = 0..layers.len();
            vec![self.check_stage(0, "training", &network, whole, layers, &self.training)?]
        } else {
            self.check_stages(&network)?
        };
        Ok(Plan {
            recipe: self,
            network,
            stages,
        })
    }

    fn check_network(&self) -> Result<Network<'_>, Flaw> {
        let layers: Vec<Layer<'_>> = self.network.layers.iter().map(LayerRecipe::layer).collect();
        let network = self::network(self.network.input, &layers, 0)?;
        let code = match &self.network.code {
            None => middle(&network),
            Some(name) => index_of("network.code", &network, name)?,
        };
        self::network(self.network.input, &layers, code)
    }

    fn check_stages<'a>(&'a self, whole: &Network<'a>) -> Result<Vec<Stage<'a>>, Flaw> {
        if self.training != TrainingRecipe::default() {
            return Err(flaw(
                "training: expected either this section or [[stages]], but both came",
            ));
        }
        let mut stages = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            let place = format!("stages[{index}] \"{}\"", stage.name);
            let (first, last) = match &stage.layers[..] {
                [one] => (one, one),
                [first, last] => (first, last),
                other => {
                    return Err(flaw(format!(
                        "{place}: layers: expected the names of the first and the last layer, but {} came",
                        other.len()
                    )));
                }
            };
            let key = format!("{place}: layers");
            let (first, last) = (index_of(&key, whole, first)?, index_of(&key, whole, last)?);
            if first > last {
                return Err(flaw(format!(
                    "{place}: layers: expected the first layer before the last, but {:?} came",
                    stage.layers
                )));
            }
            let own = self.network.layers[first..=last].iter();
            let layers = own.chain(&stage.decoder).collect();
            let name = &stage.name;
            let within = |flaw: Flaw| Flaw {
                layer: None,
                problem: format!("{place}: {}", flaw.problem),
            };
            stages.push(
                self.check_stage(index, name, whole, first..last + 1, layers, &stage.training)
                    .map_err(within)?,
            );
        }
        let untrained = whole.steps().find(|step| {
            let mut stages = stages.iter();
            !step.parameters.is_empty() && !stages.any(|stage| stage.layers.contains(&step.index))
        });
        if let Some(step) = untrained {
            return Err(flaw(format!(
                "stages: expected every layer in one of them, but \"{}\" is in none",
                step.layer.name
            )));
        }
        Ok(stages)
    }

    /// One stage: `range` of the whole network's layers and a decoder, all of them in `recipes`.
    fn check_stage<'a>(
        &'a self,
        index: usize,
        name: &'a str,
        whole: &Network<'a>,
        range: Range<usize>,
        recipes: Vec<&'a LayerRecipe>,
        training: &'a TrainingRecipe,
    ) -> Result<Stage<'a>, Flaw> {
        if training.epochs == 0 {
            return Err(flaw("training.epochs: expected at least 1, but 0 came"));
        }
        if training.steps == Some(0) {
            return Err(flaw("training.steps: expected at least 1, but 0 came"));
        }
        check_schedule(training)?;
        let layers: Vec<Layer<'a>> = recipes.iter().map(|recipe| recipe.layer()).collect();
        let code = whole.code().checked_sub(range.start);
        let code = code.filter(|code| *code < range.len());
        let network = network(
            whole.shape_before(range.start),
            &layers,
            code.unwrap_or(range.len() - 1),
        )?;
        check_target(training.target, &network)?;
        let noise = match &training.noise {
            Some(noise) => Some(
                noise
                    .check()
                    .map_err(|problem| flaw(format!("training.{problem}")))?,
            ),
            None => None,
        };
        let steps = whole.steps().skip(range.start).take(range.len());
        let parameters = steps.fold(None, |all: Option<Range<usize>>, step| {
            let start = all.map_or(step.parameters.start, |all| all.start);
            Some(start..step.parameters.end)
        });
        let penalties = recipes.iter().enumerate();
        let stage = Stage {
            name,
            index,
            seed: self.seed,
            layers: range,
            parameters: parameters.unwrap_or_default(),
            network,
            penalties: penalties
                .filter_map(|(index, recipe)| recipe.penalty(index))
                .collect(),
            recipes,
            training,
            noise,
            math: self.network.math,
        };
        use narrows_core::error::Error as Core;
        training::memory_len(&stage.network, &stage.options()).map_err(
            |problem| match problem {
                Core::Penalty { layer, problem } => Flaw {
                    layer: Some(layer).filter(|_| self.stages.is_empty()),
                    problem: format!("{}: {problem}", place(layer, &layers)),
                },
                other => flaw(format!("training: {other}")),
            },
        )?;
        Ok(stage)
    }
}

/// A layer's place in messages.
fn place(index: usize, layers: &[Layer<'_>]) -> String {
    layers.get(index).map_or_else(String::new, |layer| {
        format!("layer {index} \"{}\" ({})", layer.name, layer.kind.name())
    })
}

fn network<'a>(input: Shape, layers: &[Layer<'a>], code: usize) -> Result<Network<'a>, Flaw> {
    use narrows_core::error::Error as Core;
    Network::new(input, layers, code).map_err(|error| match error {
        Core::Layer { index, problem, .. } => Flaw {
            layer: Some(index),
            problem: format!("{}: {problem}", place(index, layers)),
        },
        other => flaw(format!("network: {other}")),
    })
}

fn index_of(key: &str, network: &Network<'_>, name: &str) -> Result<usize, Flaw> {
    network.index_of(name).ok_or_else(|| {
        let names: Vec<&str> = network.layers().iter().map(|layer| layer.name).collect();
        flaw(format!("{key}: {}", unknown("layer", name, &names)))
    })
}

/// Whether the network can answer what it is to answer.
fn check_target(target: Target, network: &Network<'_>) -> Result<(), Flaw> {
    let (input, output) = (network.input(), network.output());
    let flat = |shape| matches!(shape, Shape::Flat { .. });
    let (fits, expected) = match target {
        Target::Input => {
            let fits =
                input == output || (input.len() == output.len() && (flat(input) || flat(output)));
            let expected =
                format!("an output {input}, the shape of what comes into the first layer");
            (fits, expected)
        }
        Target::Labels => {
            let fits = flat(output) && (2..=256).contains(&output.len());
            (fits, "a flat output for 2 to 256 labels".into())
        }
    };
    if fits {
        return Ok(());
    }
    let last = network.layers().len() - 1;
    let place = place(last, network.layers());
    Err(Flaw {
        layer: Some(last),
        problem: format!("{place}: expected {expected}, but {output} came"),
    })
}

fn check_schedule(training: &TrainingRecipe) -> Result<(), Flaw> {
    let rate = training.optimizer.learning_rate();
    match training.schedule {
        Some(Schedule::Step { epochs, factor }) => {
            if epochs == 0 {
                return Err(flaw(
                    "training.schedule.epochs: expected at least 1, but 0 came",
                ));
            }
            if !(factor > 0.0 && factor <= 1.0) {
                return Err(flaw(format!(
                    "training.schedule.factor: expected a number above 0 and at most 1, but {factor} came"
                )));
            }
        }
        Some(Schedule::Cosine { to }) if !(to >= 0.0 && to <= rate) => {
            return Err(flaw(format!(
                "training.schedule.to: expected a number from 0 to the learning rate {rate}, but {to} came"
            )));
        }
        Some(Schedule::Cosine { .. }) | None => {}
    }
    match training.early_stopping {
        Some(stopping) if stopping.patience == 0 => Err(flaw(
            "training.early_stopping.patience: expected at least 1 epoch, but 0 came",
        )),
        Some(stopping) if !(stopping.min_delta >= 0.0 && stopping.min_delta.is_finite()) => {
            Err(flaw(format!(
                "training.early_stopping.min_delta: expected a finite number from 0 on, but {} came",
                stopping.min_delta
            )))
        }
        _ => Ok(()),
    }
}

impl<'a> Plan<'a> {
    /// What the plan was made of.
    #[must_use]
    pub fn recipe(&self) -> &'a Recipe {
        self.recipe
    }

    /// The whole network.
    #[must_use]
    pub fn network(&self) -> &Network<'a> {
        &self.network
    }

    /// What is done one after the other: one stage that trains everything, or the recipe's.
    #[must_use]
    pub fn stages(&self) -> &[Stage<'a>] {
        &self.stages
    }

    /// What samples may be, to be given back by the stages that take them.
    #[must_use]
    pub fn range(&self) -> [f32; 2] {
        let stages = self.stages.iter();
        let mut stages = stages.filter(|stage| stage.layers.start == 0 && !stage.has_labels());
        let anything = [f32::MIN, f32::MAX];
        stages
            .next()
            .map_or(anything, |stage| range(&stage.network))
    }

    /// What corrupts the inputs, where the first stage has something.
    #[must_use]
    pub fn noise(&self) -> Option<&Noise> {
        self.stages.first().and_then(Stage::noise)
    }

    /// Whose exp the network uses.
    #[must_use]
    pub fn math(&self) -> Math {
        self.recipe.network.math
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
        let recipes = &self.recipe.network.layers;
        initialize(self.recipe.seed, 0, &self.network, recipes, &mut parameters);
        parameters
    }
}

impl<'a> Stage<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Behind every draw.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Its place among the stages.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Which of the whole network's layers learn.
    #[must_use]
    pub fn layers(&self) -> Range<usize> {
        self.layers.clone()
    }

    /// Where their parameters lie among the whole network's.
    #[must_use]
    pub fn parameters(&self) -> Range<usize> {
        self.parameters.clone()
    }

    /// These layers, and the decoder behind them.
    #[must_use]
    pub fn network(&self) -> &Network<'a> {
        &self.network
    }

    /// How they learn.
    #[must_use]
    pub fn training(&self) -> &'a TrainingRecipe {
        self.training
    }

    /// What corrupts what comes into the first of them.
    #[must_use]
    pub fn noise(&self) -> Option<&Noise> {
        self.noise.as_ref()
    }

    /// What each step does.
    #[must_use]
    pub fn options(&self) -> Options<'_> {
        Options {
            loss: self.training.loss,
            penalties: &self.penalties,
            optimizer: self.training.optimizer,
            mode: Mode::Accumulate {
                batch: self.training.batch_size,
            },
            first_trainable: 0,
            math: self.math,
        }
    }

    /// The initial parameters of the decoder.
    #[must_use]
    pub fn initial_decoder(&self) -> Vec<f32> {
        let mut parameters = vec![0.0; self.network.parameter_len()];
        // No layer of the whole network draws the same numbers.
        let first = 1000 * (1 + self.index as u32);
        let recipes = self.recipes.iter().copied();
        initialize(self.seed, first, &self.network, recipes, &mut parameters);
        parameters.split_off(self.parameters.len())
    }

    /// The learning rate of an epoch, the first being 0.
    #[must_use]
    pub fn learning_rate(&self, epoch: u32) -> f64 {
        let rate = self.training.optimizer.learning_rate();
        match self.training.schedule {
            None => rate,
            Some(Schedule::Step { epochs, factor }) => {
                (0..epoch / epochs).fold(rate, |rate, _| rate * factor)
            }
            Some(Schedule::Cosine { to }) => {
                let turns = 0.5 * (f64::from(epoch) / f64::from(self.training.epochs)).min(1.0);
                let share = 0.5 * (1.0 + f64::from(cos_turns(turns as f32)));
                to + (rate - to) * share
            }
        }
    }

    /// Whether the loss is one of labels.
    #[must_use]
    pub fn has_labels(&self) -> bool {
        self.training.target == Target::Labels
    }
}

/// Draws the initial weights of a network, whose first layer draws as layer `first`.
fn initialize<'r>(
    seed: u64,
    first: u32,
    network: &Network<'_>,
    recipes: impl IntoIterator<Item = &'r LayerRecipe>,
    parameters: &mut [f32],
) {
    for (step, layer) in network.steps().zip(recipes) {
        let Some(initializer) = layer.initializer() else {
            continue;
        };
        let (weights, biases) = step.work.parameter_lens();
        // Each weight joins one input of a unit with one of the units, or with one place of a kernel.
        let fan_in = weights / biases.max(1);
        let fan_out = match step.work {
            Work::Conv2d(window) => weights / window.channels_in.max(1),
            _ => biases,
        };
        let range = step.parameters.start..step.parameters.start + weights;
        let index = first + step.index as u32;
        initializer.fill(seed, index, fan_in, fan_out, &mut parameters[range]);
    }
}

/// The layer that is the code where a recipe names none.
fn middle(network: &Network<'_>) -> usize {
    let computed: Vec<(usize, usize)> = network
        .steps()
        .filter(|step| !step.layer.kind.is_view())
        .map(|step| (step.index, step.output.len()))
        .collect();
    // Of n layers that lead from one tensor to the next, the tensor in the middle is the output of the n/2th; an odd n
    // has two in the middle.
    let half = (computed.len() / 2).max(1);
    let candidates = computed.iter().skip(half - 1).take(1 + computed.len() % 2);
    let narrower = candidates.min_by_key(|(_, width)| *width);
    narrower.map_or(0, |(index, _)| *index)
}

/// The range of what a network can give back: what its last activation can reach, or anything where it gives back nothing.
pub(crate) fn range(network: &Network<'_>) -> [f32; 2] {
    if network.output().len() != network.input().len() {
        return [f32::MIN, f32::MAX];
    }
    match network.last_activation() {
        Activation::Sigmoid | Activation::Softmax => [0.0, 1.0],
        Activation::Tanh => [-1.0, 1.0],
        Activation::Relu => [0.0, f32::MAX],
        Activation::Linear => [f32::MIN, f32::MAX],
    }
}
