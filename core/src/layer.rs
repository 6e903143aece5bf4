//! What each kind of layer is: its settings, its output's shape, its number of parameters.

use serde::{Deserialize, Serialize};

use crate::shape::{Axis, MAX_ELEMENTS, Padding, Shape, Window};

/// What a layer does to each sum, or to all of one place, at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// Nothing: `x`.
    Linear,
    /// `if x > 0 { x } else { 0 }`, with slope 0 at 0.
    Relu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `exp(x - max) / sum`, over all units of a dense layer, over the channels of a convolution's place.
    Softmax,
}

/// One kind of layer with its settings. Names are those of Keras.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayerKind {
    /// Every unit sees every input. Weights `[input][unit]`, then the biases. Takes a flat shape.
    Dense {
        /// Number of outputs.
        units: u32,
        /// Applied to each output.
        activation: Activation,
    },
    /// A two-dimensional convolution (cross-correlation, as everywhere in the field). Weights
    /// `[ky][kx][channel in][filter]`, then the biases. Takes a picture.
    Conv2d {
        /// Number of output channels.
        filters: u32,
        /// Rows and columns of the kernel.
        kernel_size: [u32; 2],
        /// Steps down and to the right.
        strides: [u32; 2],
        /// At the edges.
        padding: Padding,
        /// Applied to each output.
        activation: Activation,
    },
    /// The largest value of each window and channel; padding never wins. Takes a picture.
    MaxPool2d {
        /// Rows and columns of the window.
        pool_size: [u32; 2],
        /// Steps down and to the right.
        strides: [u32; 2],
        /// At the edges.
        padding: Padding,
    },
    /// Repeats each place (nearest neighbour). Takes a picture.
    UpSample2d {
        /// How often each row and each column is repeated.
        size: [u32; 2],
    },
    /// The same numbers, without places.
    Flatten,
    /// The same numbers in another shape.
    Reshape {
        /// The shape that follows.
        target: Shape,
    },
}

impl LayerKind {
    /// The kind's name in recipes and messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Conv2d { .. } => "conv2d",
            Self::MaxPool2d { .. } => "max_pooling2d",
            Self::UpSample2d { .. } => "up_sampling2d",
            Self::Flatten => "flatten",
            Self::Reshape { .. } => "reshape",
        }
    }

    /// What stands at the layer's end; linear where the kind has no activation.
    #[must_use]
    pub const fn activation(&self) -> Activation {
        match *self {
            Self::Dense { activation, .. } | Self::Conv2d { activation, .. } => activation,
            _ => Activation::Linear,
        }
    }

    /// Whether the output is the input's own numbers in their own order, so that nothing is computed or stored.
    #[must_use]
    pub const fn is_view(&self) -> bool {
        matches!(self, Self::Flatten | Self::Reshape { .. })
    }

    /// What the layer makes of an input of the shape `input`.
    ///
    /// # Errors
    /// The [`LayerProblem`] that keeps the layer from taking it.
    pub fn plan(&self, input: Shape) -> Result<Work, LayerProblem> {
        let work = match *self {
            Self::Dense { units, .. } => match input {
                Shape::Flat { length } => Work::Dense {
                    inputs: length as usize,
                    outputs: nonzero("units", units)? as usize,
                },
                Shape::Picture { .. } => return Err(LayerProblem::NeedsFlat { input }),
            },
            Self::Conv2d {
                filters,
                kernel_size,
                strides,
                padding,
                ..
            } => {
                nonzero("filters", filters)?;
                Work::Conv2d(window(
                    input,
                    "kernel_size",
                    kernel_size,
                    strides,
                    padding,
                    Some(filters),
                )?)
            }
            Self::MaxPool2d {
                pool_size,
                strides,
                padding,
            } => Work::MaxPool2d(window(
                input,
                "pool_size",
                pool_size,
                strides,
                padding,
                None,
            )?),
            Self::UpSample2d { size } => {
                // Seen from its output, upsampling is a window of `size` that steps by `size`.
                let [rows, columns] = size;
                nonzero("size", rows.min(columns))?;
                let Shape::Picture {
                    height,
                    width,
                    channels,
                } = input
                else {
                    return Err(LayerProblem::NeedsPicture { input });
                };
                let axis = |small: u32, factor: u32| {
                    small
                        .checked_mul(factor)
                        .and_then(|large| Axis::new(large, factor, factor, Padding::Valid))
                };
                let (Some(y), Some(x)) = (axis(height, rows), axis(width, columns)) else {
                    return Err(LayerProblem::TooLarge {
                        limit: MAX_ELEMENTS,
                    });
                };
                Work::UpSample2d(Window {
                    y,
                    x,
                    channels_in: channels as usize,
                    channels_out: channels as usize,
                })
            }
            Self::Flatten => Work::View {
                output: Shape::Flat {
                    length: input.len() as u32,
                },
            },
            Self::Reshape { target } => {
                if target.checked_len() != input.checked_len() {
                    return Err(LayerProblem::ReshapeLength { input, target });
                }
                Work::View { output: target }
            }
        };
        let small = |length: Option<usize>| length.is_some_and(|length| length <= MAX_ELEMENTS);
        if work.output_shape().checked_len().is_none() || !small(work.checked_parameter_len()) {
            return Err(LayerProblem::TooLarge {
                limit: MAX_ELEMENTS,
            });
        }
        Ok(work)
    }
}

fn nonzero(key: &'static str, value: u32) -> Result<u32, LayerProblem> {
    if value == 0 {
        Err(LayerProblem::Zero { key })
    } else {
        Ok(value)
    }
}

fn window(
    input: Shape,
    key: &'static str,
    size: [u32; 2],
    strides: [u32; 2],
    padding: Padding,
    filters: Option<u32>,
) -> Result<Window, LayerProblem> {
    let Shape::Picture {
        height,
        width,
        channels,
    } = input
    else {
        return Err(LayerProblem::NeedsPicture { input });
    };
    let ([rows, columns], [down, right]) = (size, strides);
    nonzero(key, rows.min(columns))?;
    nonzero("strides", down.min(right))?;
    let axes =
        Axis::new(height, rows, down, padding).zip(Axis::new(width, columns, right, padding));
    let Some((y, x)) = axes else {
        return Err(LayerProblem::WindowTooLarge { input, size });
    };
    Ok(Window {
        y,
        x,
        channels_in: channels as usize,
        channels_out: filters.unwrap_or(channels) as usize,
    })
}

/// A layer whose input is known: the geometry that its kernels work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A matrix product.
    Dense {
        /// Elements of a sample of the input.
        inputs: usize,
        /// Elements of a sample of the output.
        outputs: usize,
    },
    /// A convolution.
    Conv2d(Window),
    /// A pooling.
    MaxPool2d(Window),
    /// Upsampling, as the pooling that would undo it: the window's input is the layer's output.
    UpSample2d(Window),
    /// Nothing to compute.
    View {
        /// The new shape.
        output: Shape,
    },
}

impl Work {
    /// The output's shape.
    #[must_use]
    pub fn output_shape(&self) -> Shape {
        let picture = |height: usize, width: usize, channels: usize| {
            Shape::picture(height as u32, width as u32, channels as u32)
        };
        match *self {
            Self::Dense { outputs, .. } => Shape::flat(outputs as u32),
            Self::Conv2d(w) | Self::MaxPool2d(w) => picture(w.y.output, w.x.output, w.channels_out),
            Self::UpSample2d(w) => picture(w.y.input, w.x.input, w.channels_in),
            Self::View { output } => output,
        }
    }

    /// The number of weights: parameters without the biases, and of biases.
    #[must_use]
    pub fn parameter_lens(&self) -> (usize, usize) {
        match *self {
            Self::Dense { inputs, outputs } => (inputs.wrapping_mul(outputs), outputs),
            Self::Conv2d(w) => (w.kernel_len(), w.channels_out),
            _ => (0, 0),
        }
    }

    fn checked_parameter_len(&self) -> Option<usize> {
        match *self {
            Self::Dense { inputs, outputs } => inputs.checked_mul(outputs)?.checked_add(outputs),
            Self::Conv2d(w) => {
                let taps = w.y.size.checked_mul(w.x.size)?.checked_mul(w.channels_in)?;
                taps.checked_mul(w.channels_out)?
                    .checked_add(w.channels_out)
            }
            _ => Some(0),
        }
    }

    /// Multiply-accumulates for one sample, padded taps counted as the field does.
    #[must_use]
    pub fn multiply_accumulates(&self) -> u64 {
        match *self {
            Self::Dense { inputs, outputs } => (inputs as u64).saturating_mul(outputs as u64),
            Self::Conv2d(w) => (w.kernel_len() as u64)
                .saturating_mul((w.y.output as u64).saturating_mul(w.x.output as u64)),
            _ => 0,
        }
    }
}

/// A layer of a network: a kind and a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer<'a> {
    /// Unique within the network; shown in messages and used to ask for features.
    pub name: &'a str,
    /// What it does.
    pub kind: LayerKind,
}

/// Why a layer cannot stand where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayerProblem {
    /// A dense layer was given a picture.
    NeedsFlat {
        /// What came.
        input: Shape,
    },
    /// A layer that needs places was given a flat vector.
    NeedsPicture {
        /// What came.
        input: Shape,
    },
    /// A number that must be at least 1 is 0.
    Zero {
        /// Which setting.
        key: &'static str,
    },
    /// With `valid` padding no window fits.
    WindowTooLarge {
        /// What came.
        input: Shape,
        /// Rows and columns of the window.
        size: [u32; 2],
    },
    /// The new shape has another number of elements.
    ReshapeLength {
        /// What came.
        input: Shape,
        /// What was asked for.
        target: Shape,
    },
    /// The output or the parameters have more elements than a tensor may have.
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// Two layers have one name.
    DuplicateName,
    /// The name has too many bytes.
    LongName {
        /// The limit.
        limit: usize,
        /// How many came.
        given: usize,
    },
}

impl core::fmt::Display for LayerProblem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NeedsFlat { input } => {
                write!(
                    f,
                    "expected a flat input, but {input} came: put a layer \"flatten\" before it"
                )
            }
            Self::NeedsPicture { input } => write!(
                f,
                "expected an input [height, width, channels], but {input} came: put a layer \"reshape\" before it"
            ),
            Self::Zero { key } => write!(f, "expected {key} of at least 1, but 0 came"),
            Self::WindowTooLarge {
                input,
                size: [rows, columns],
            } => write!(
                f,
                "expected an input of at least {rows} x {columns} for a window with padding \"valid\", but {input} came"
            ),
            Self::ReshapeLength { input, target } => write!(
                f,
                "expected a target with the {} elements of the input {input}, but {target} came",
                input.len()
            ),
            Self::TooLarge { limit } => write!(
                f,
                "expected output and parameters of at most {limit} elements, but more came"
            ),
            Self::LongName { limit, given } => write!(
                f,
                "expected a name of at most {limit} bytes, but {given} came"
            ),
            Self::DuplicateName => write!(
                f,
                "expected a name of its own, but an earlier layer has the same"
            ),
        }
    }
}
