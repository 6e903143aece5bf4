//! What can go wrong, as values with the facts in them.

use serde::{Deserialize, Serialize};

use crate::layer::LayerProblem;
use crate::shape::Shape;

/// Why core refused.
///
/// It can be sent over a wire. Its strings are `'static`: to read it back takes bytes that are, too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Error {
    /// A lent buffer is too small.
    BufferTooSmall {
        /// What it is for.
        what: &'static str,
        /// Bytes that are needed.
        needed: usize,
        /// Bytes that were given.
        given: usize,
    },
    /// A buffer of bytes does not start where its numbers must.
    Misaligned {
        /// What it is for.
        what: &'static str,
        /// The address must be a multiple of this many bytes.
        alignment: usize,
    },
    /// A slice has another length than the network asks for.
    Length {
        /// Which slice.
        what: &'static str,
        /// Elements that are needed.
        expected: usize,
        /// Elements that were given.
        given: usize,
    },
    /// A layer cannot stand where it stands.
    Layer {
        /// Its index, from 0.
        index: usize,
        /// Its kind's name.
        kind: &'static str,
        /// What is wrong.
        problem: LayerProblem,
    },
    /// The input's shape has no elements, or too many.
    Input {
        /// What came.
        shape: Shape,
    },
    /// The list has no layers, or more than a network can hold.
    LayerCount {
        /// The most that are possible.
        limit: usize,
        /// How many came.
        given: usize,
    },
    /// The code is marked at a layer that is not there.
    Code {
        /// Number of layers.
        layers: usize,
        /// Index that came.
        given: usize,
    },
    /// The parameters of all layers together are more than a network may have.
    TooManyParameters {
        /// The most that are possible.
        limit: usize,
    },
    /// An infinity or a NaN.
    NotFinite {
        /// Where: the input, the parameters, a layer's sums.
        what: &'static str,
        /// The element's or the layer's index.
        index: usize,
    },
    /// A setting outside its range.
    Setting {
        /// Which.
        key: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// What came.
        given: f32,
    },
    /// What was asked for cannot be done in this mode of training.
    Mode {
        /// What, and why.
        reason: &'static str,
    },
    /// A blob is not one that this build can read.
    Blob(crate::blob::BlobProblem),
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::BufferTooSmall {
                what,
                needed,
                given,
            } => {
                write!(
                    f,
                    "{what}: {needed} bytes are needed, but {given} were given"
                )
            }
            Self::Misaligned { what, alignment } => {
                write!(
                    f,
                    "{what}: expected an address that is a multiple of {alignment} bytes"
                )
            }
            Self::Length {
                what,
                expected,
                given,
            } => write!(f, "{what}: expected {expected} elements, but {given} came"),
            Self::Layer {
                index,
                kind,
                problem,
            } => write!(f, "layer {index} ({kind}): {problem}"),
            Self::Input { shape } => write!(
                f,
                "input: expected a shape of 1 to {} elements, but {shape} came",
                crate::shape::MAX_ELEMENTS
            ),
            Self::LayerCount { limit, given } => {
                write!(f, "layers: expected 1 to {limit} of them, but {given} came")
            }
            Self::Code { layers, given } => {
                write!(
                    f,
                    "code: expected the index of one of {layers} layers, but {given} came"
                )
            }
            Self::TooManyParameters { limit } => write!(
                f,
                "parameters: expected at most {limit} in all, but more came"
            ),
            Self::NotFinite { what, index } => write!(
                f,
                "{what} {index}: expected a finite number, but infinity or NaN came"
            ),
            Self::Setting {
                key,
                expected,
                given,
            } => write!(f, "{key}: expected {expected}, but {given} came"),
            Self::Mode { reason } => f.write_str(reason),
            Self::Blob(problem) => write!(f, "blob: {problem}"),
        }
    }
}

impl core::error::Error for Error {}
