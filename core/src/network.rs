//! The checked list of layers: what follows from it about shapes and parameters.

use core::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::layer::{Activation, Layer, LayerProblem, Work};
use crate::shape::{MAX_ELEMENTS, Shape};

/// The most layers that a network can have.
pub const MAX_LAYERS: usize = 32;

/// The most bytes that the name of a layer or of a model can have: a device sends it in one message.
pub const MAX_NAME: usize = 64;

/// The list of layers, in the container that holds it on every machine.
pub type Layers<'a> = heapless::Vec<Layer<'a>, MAX_LAYERS>;

/// A list of layers of which everything is known to fit: shapes, sizes, names, and where the code is.
///
/// It holds no weights. Parameters are one flat slice, layer after layer, each layer's weights and then its biases.
#[derive(Clone, Debug, PartialEq)]
pub struct Network<'a> {
    input: Shape,
    layers: Layers<'a>,
    code: usize,
}

/// A layer at its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<'a> {
    /// Its index, from 0.
    pub index: usize,
    /// The layer.
    pub layer: Layer<'a>,
    /// Its geometry.
    pub work: Work,
    /// What comes in.
    pub input: Shape,
    /// What goes out.
    pub output: Shape,
    /// Where its parameters lie in the flat slice.
    pub parameters: Range<usize>,
}

/// A part of a network that is run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// All of it: from an input to its reconstruction.
    Reconstruct,
    /// From an input to its code.
    Encode,
    /// From a code to a reconstruction.
    Decode,
}

impl<'a> Network<'a> {
    /// Checks a list of layers. `code` is the index of the layer whose output is the code.
    ///
    /// # Errors
    /// The first thing that is wrong, with the layer's index and the shapes.
    pub fn new(input: Shape, layers: &[Layer<'a>], code: usize) -> Result<Self, Error> {
        let count = Error::LayerCount {
            limit: MAX_LAYERS,
            given: layers.len(),
        };
        let checked = Self {
            input,
            layers: Layers::from_slice(layers).map_err(|_| count)?,
            code,
        };
        if layers.is_empty() {
            return Err(count);
        }
        if input.checked_len().is_none() {
            return Err(Error::Input { shape: input });
        }
        if code >= layers.len() {
            return Err(Error::Code {
                layers: layers.len(),
                given: code,
            });
        }
        let (mut shape, mut parameters) = (input, 0usize);
        for (index, layer) in layers.iter().enumerate() {
            let problem = |problem| Error::Layer {
                index,
                kind: layer.kind.name(),
                problem,
            };
            if layer.name.len() > MAX_NAME {
                return Err(problem(LayerProblem::LongName {
                    limit: MAX_NAME,
                    given: layer.name.len(),
                }));
            }
            if layers
                .iter()
                .take(index)
                .any(|earlier| earlier.name == layer.name)
            {
                return Err(problem(LayerProblem::DuplicateName));
            }
            let work = layer.kind.plan(shape).map_err(problem)?;
            let (weights, biases) = work.parameter_lens();
            parameters = parameters.saturating_add(weights).saturating_add(biases);
            if parameters > MAX_ELEMENTS {
                return Err(Error::TooManyParameters {
                    limit: MAX_ELEMENTS,
                });
            }
            shape = work.output_shape();
        }
        Ok(checked)
    }

    /// The shape of one sample that comes in.
    #[must_use]
    pub fn input(&self) -> Shape {
        self.input
    }

    /// The list.
    #[must_use]
    pub fn layers(&self) -> &[Layer<'a>] {
        &self.layers
    }

    /// The index of the layer whose output is the code.
    #[must_use]
    pub fn code(&self) -> usize {
        self.code
    }

    /// The layers at their places, in order.
    pub fn steps(&self) -> impl Iterator<Item = Step<'a>> + '_ {
        let (mut shape, mut at) = (self.input, 0usize);
        self.layers
            .iter()
            .enumerate()
            .map_while(move |(index, layer)| {
                let work = layer.kind.plan(shape).ok()?;
                let (weights, biases) = work.parameter_lens();
                let (input, first) = (shape, at);
                at = at.wrapping_add(weights).wrapping_add(biases);
                shape = work.output_shape();
                Some(Step {
                    index,
                    layer: *layer,
                    work,
                    input,
                    output: shape,
                    parameters: first..at,
                })
            })
    }

    /// The indices of a part's layers.
    #[must_use]
    pub fn part(&self, part: Part) -> Range<usize> {
        let (code, end) = (self.code.saturating_add(1), self.layers.len());
        match part {
            Part::Reconstruct => 0..end,
            Part::Encode => 0..code,
            Part::Decode => code..end,
        }
    }

    /// The shape of what comes into layer `index`; behind the last layer, of what it gives.
    #[must_use]
    pub fn shape_before(&self, index: usize) -> Shape {
        let before = index
            .checked_sub(1)
            .and_then(|before| self.output_of(before));
        before.unwrap_or(if index == 0 {
            self.input
        } else {
            self.output()
        })
    }

    /// The shape of what layer `index` gives.
    #[must_use]
    pub fn output_of(&self, index: usize) -> Option<Shape> {
        self.steps().nth(index).map(|step| step.output)
    }

    /// The shape of the last layer's output.
    #[must_use]
    pub fn output(&self) -> Shape {
        self.steps().last().map_or(self.input, |step| step.output)
    }

    /// The index of the last layer that computes something.
    #[must_use]
    pub fn last_computed(&self) -> Option<usize> {
        self.layers.iter().rposition(|layer| !layer.kind.is_view())
    }

    /// What stands at the end of the last layer that computes something.
    #[must_use]
    pub fn last_activation(&self) -> Activation {
        self.last_computed()
            .and_then(|index| self.layers.get(index))
            .map_or(Activation::Linear, |layer| layer.kind.activation())
    }

    /// The shape of the code.
    #[must_use]
    pub fn code_shape(&self) -> Shape {
        self.output_of(self.code).unwrap_or(self.input)
    }

    /// Number of parameters of all layers.
    #[must_use]
    pub fn parameter_len(&self) -> usize {
        self.steps().last().map_or(0, |step| step.parameters.end)
    }

    /// Multiply-accumulates of one sample through all layers.
    #[must_use]
    pub fn multiply_accumulates(&self) -> u64 {
        self.steps().fold(0, |sum, step| {
            sum.saturating_add(step.work.multiply_accumulates())
        })
    }

    /// The index of the layer with this name.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.layers.iter().position(|layer| layer.name == name)
    }

    /// Checks that a slice holds this network's parameters.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn check_parameters(&self, parameters: &[f32]) -> Result<(), Error> {
        check_len("parameters", self.parameter_len(), parameters.len())
    }
}

/// Checks a slice's length.
pub(crate) fn check_len(what: &'static str, expected: usize, given: usize) -> Result<(), Error> {
    if expected == given {
        Ok(())
    } else {
        Err(Error::Length {
            what,
            expected,
            given,
        })
    }
}
