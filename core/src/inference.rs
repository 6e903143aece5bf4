//! Running a network, or a part of it, on one sample or on a batch.
//!
//! ```
//! use narrows_core::kernels::{Portable, Sequential};
//! use narrows_core::layer::{Activation, Layer, LayerKind};
//! use narrows_core::math::Math;
//! use narrows_core::network::Network;
//! use narrows_core::shape::Shape;
//! use narrows_core::inference::{Inference, workspace_len};
//!
//! let dense = |units, activation| LayerKind::Dense { units, activation };
//! let layers = [
//!     Layer { name: "code", kind: dense(1, Activation::Relu) },
//!     Layer { name: "output", kind: dense(2, Activation::Linear) },
//! ];
//! let network = Network::new(Shape::flat(2), &layers, 0)?;
//! let parameters = [0.5, 0.5, 0.0, 1.0, 2.0, 0.0, 0.25];
//! let (mut output, mut workspace) = ([0.0; 2], [0.0; 1]);
//! assert_eq!(workspace_len(&network, 0..2, 1), workspace.len());
//! let executor = Sequential::<Portable>::new();
//! let inference = Inference { executor: &executor, network: &network, parameters: &parameters, math: Math::Exact };
//! inference.reconstruct(&[1.0, 3.0], &mut output, &mut workspace)?;
//! assert_eq!(output, [2.0, 4.25]);
//! # Ok::<(), narrows_core::error::Error>(())
//! ```

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::kernels::{Executor, activation, conv, dense, pool, split, split_mut, upsample};
use crate::layer::{Activation, Work};
use crate::math::Math;
use crate::memory::exactly;
use crate::network::{Network, Part, Step, check_len};

/// Elements of workspace that the layers `layers` need for a batch of `batch` samples, exactly.
///
/// Input and output are the caller's. What lies between two layers is put at the two ends of the workspace by turns,
/// so that the largest two neighbours decide. Flatten and reshape need nothing.
#[must_use]
pub fn workspace_len(network: &Network<'_>, layers: Range<usize>, batch: usize) -> usize {
    let (mut previous, mut needed) = (None, 0usize);
    let mut computed = computing(network, layers).peekable();
    while let Some(step) = computed.next() {
        let length = if computed.peek().is_some() {
            step.output.len()
        } else {
            0
        };
        needed = needed.max(length.saturating_add(previous.unwrap_or(0)));
        previous = Some(length);
    }
    needed.saturating_mul(batch)
}

/// The steps among `layers` that compute something.
fn computing<'a>(network: &'a Network<'_>, layers: Range<usize>) -> impl Iterator<Item = Step<'a>> {
    network
        .steps()
        .filter(move |step| layers.contains(&step.index) && !step.layer.kind.is_view())
}

/// A network with its parameters, ready to run. Every method takes a batch: as many samples as its input has.
///
/// `workspace` has at least [`workspace_len`] elements for the layers that are run. All methods fail with
/// [`Error::Length`], [`Error::BufferTooSmall`], or [`Error::NotFinite`] with the layer whose sums stopped being finite; the
/// output is of no use then.
#[derive(Debug)]
pub struct Inference<'a, E> {
    /// Who computes.
    pub executor: &'a E,
    /// The layers.
    pub network: &'a Network<'a>,
    /// Of all layers.
    pub parameters: &'a [f32],
    /// Whose exp.
    pub math: Math,
}

impl<E: Executor> Inference<'_, E> {
    /// The whole network.
    ///
    /// # Errors
    /// See [`Inference`].
    pub fn reconstruct(
        &self,
        input: &[f32],
        output: &mut [f32],
        workspace: &mut [f32],
    ) -> Result<(), Error> {
        self.run(
            self.network.part(Part::Reconstruct),
            input,
            output,
            workspace,
        )
    }

    /// Up to the code.
    ///
    /// # Errors
    /// See [`Inference`].
    pub fn encode(
        &self,
        input: &[f32],
        code: &mut [f32],
        workspace: &mut [f32],
    ) -> Result<(), Error> {
        self.run(self.network.part(Part::Encode), input, code, workspace)
    }

    /// From the code on. What [`Inference::encode`] gave becomes, to the bit, what [`Inference::reconstruct`] gives.
    ///
    /// # Errors
    /// See [`Inference`].
    pub fn decode(
        &self,
        code: &[f32],
        output: &mut [f32],
        workspace: &mut [f32],
    ) -> Result<(), Error> {
        self.run(self.network.part(Part::Decode), code, output, workspace)
    }

    /// The output of the layer with index `layer`.
    ///
    /// # Errors
    /// See [`Inference`].
    pub fn features(
        &self,
        layer: usize,
        input: &[f32],
        features: &mut [f32],
        workspace: &mut [f32],
    ) -> Result<(), Error> {
        self.run(0..layer.saturating_add(1), input, features, workspace)
    }

    /// Any neighbouring layers.
    ///
    /// # Errors
    /// See [`Inference`].
    pub fn run(
        &self,
        layers: Range<usize>,
        input: &[f32],
        output: &mut [f32],
        workspace: &mut [f32],
    ) -> Result<(), Error> {
        let Self {
            executor,
            network,
            parameters,
            math,
        } = *self;
        check_math(math)?;
        network.check_parameters(parameters)?;
        if layers.start > layers.end || layers.end > network.layers().len() {
            let Range { start, end } = layers;
            return Err(Error::Layers {
                start,
                end,
                layers: network.layers().len(),
            });
        }
        let (input_len, output_len) = (
            network.shape_before(layers.start).len(),
            network.shape_before(layers.end).len(),
        );
        let batch = input.len().checked_div(input_len).unwrap_or(0);
        check_len("input", batch.max(1).saturating_mul(input_len), input.len())?;
        check_len("output", batch.saturating_mul(output_len), output.len())?;
        check_finite("input", input)?;
        let workspace = exactly(
            "workspace",
            workspace,
            workspace_len(network, layers.clone(), batch),
        )?;

        let mut computed = computing(network, layers).peekable();
        if computed.peek().is_none() {
            copy(input, output);
        }
        // Hidden tensors lie at the workspace's start and end by turns; `length` is that of the one that was written last.
        let (mut hidden, mut at_start, mut length): (bool, bool, usize) = (false, true, 0);
        while let Some(step) = computed.next() {
            let forward = Forward {
                executor,
                step: &step,
                parameters,
                math,
            };
            let out = step.output.len().saturating_mul(batch);
            let last = computed.peek().is_none();
            if !hidden {
                forward.run(
                    input,
                    if last {
                        &mut *output
                    } else {
                        split_mut(workspace, out).0
                    },
                )?;
            } else if last {
                let from = if at_start {
                    0
                } else {
                    workspace.len().saturating_sub(length)
                };
                forward.run(split(split(workspace, from).1, length).0, output)?;
            } else if at_start {
                let middle = workspace.len().saturating_sub(out);
                let (before, after) = split_mut(workspace, middle);
                forward.run(split(before, length).0, after)?;
                at_start = false;
            } else {
                let middle = workspace.len().saturating_sub(length);
                let (before, after) = split_mut(workspace, middle);
                forward.run(after, split_mut(before, out).0)?;
                at_start = true;
            }
            (hidden, length) = (true, out);
        }
        Ok(())
    }
}

/// Refuses math that this build was made without.
pub(crate) fn check_math(math: Math) -> Result<(), Error> {
    if math.is_available() {
        return Ok(());
    }
    Err(Error::Mode {
        reason: "math \"fast\" needs a build with the feature \"fast-math\"",
    })
}

/// Checks that every number is finite.
///
/// # Errors
/// [`Error::NotFinite`] with the first that is not.
pub(crate) fn check_finite(what: &'static str, values: &[f32]) -> Result<(), Error> {
    if activation::all_finite(values) {
        return Ok(());
    }
    let index = values
        .iter()
        .position(|value| !value.is_finite())
        .unwrap_or(0);
    Err(Error::NotFinite { what, index })
}

/// Copies as many numbers as both have.
pub(crate) fn copy(from: &[f32], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// One layer's forward pass: what inference and training share.
pub(crate) struct Forward<'a, E> {
    pub(crate) executor: &'a E,
    pub(crate) step: &'a Step<'a>,
    /// Of the whole network.
    pub(crate) parameters: &'a [f32],
    pub(crate) math: Math,
}

impl<E: Executor> Forward<'_, E> {
    pub(crate) fn run(&self, input: &[f32], output: &mut [f32]) -> Result<(), Error> {
        let (weights, bias) = weights_and_bias(self.step, self.parameters);
        let (activation, row) = activation_and_row(self.step);
        let not_finite = AtomicBool::new(false);
        let mut is_ended = false;
        match self.step.work {
            Work::Dense { inputs, outputs } => {
                self.executor.execute(dense::Forward {
                    input,
                    weights,
                    bias,
                    output: &mut *output,
                    inputs,
                    outputs,
                });
            }
            Work::Conv2d(window) => {
                self.executor.execute(conv::Forward {
                    input,
                    weights,
                    bias,
                    output: &mut *output,
                    window,
                    relu: activation == Activation::Relu,
                    not_finite: &not_finite,
                });
                is_ended = matches!(activation, Activation::Linear | Activation::Relu);
            }
            Work::MaxPool2d(window) => {
                self.executor.execute(pool::Forward {
                    input,
                    output,
                    window,
                });
                return Ok(());
            }
            Work::UpSample2d(window) => {
                self.executor.execute(upsample::Forward {
                    input,
                    output,
                    window,
                });
                return Ok(());
            }
            Work::View { .. } => return Ok(()),
        }
        if !is_ended {
            self.executor.execute(activation::Forward {
                values: output,
                activation,
                row,
                math: self.math,
                not_finite: &not_finite,
            });
        }
        if not_finite.load(Ordering::Relaxed) {
            return Err(Error::NotFinite {
                what: Error::LAYER,
                index: self.step.index,
            });
        }
        Ok(())
    }
}

/// A layer's weights and biases among the parameters of the whole network.
pub(crate) fn weights_and_bias<'p>(
    step: &Step<'_>,
    parameters: &'p [f32],
) -> (&'p [f32], &'p [f32]) {
    let (weights, _) = step.work.parameter_lens();
    split(
        parameters.get(step.parameters.clone()).unwrap_or(&[]),
        weights,
    )
}

/// A layer's activation, and how many numbers softmax takes together.
pub(crate) fn activation_and_row(step: &Step<'_>) -> (Activation, usize) {
    let (_, row) = step.work.parameter_lens();
    (step.layer.kind.activation(), row)
}
