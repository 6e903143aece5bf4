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
    /// A range of layers that the network does not have.
    Layers {
        /// Its first layer.
        start: usize,
        /// The one behind its last.
        end: usize,
        /// How many layers there are.
        layers: usize,
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
    /// A layer cannot have this penalty.
    Penalty {
        /// Its index, from 0.
        layer: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// What was asked for cannot be done in this mode of training.
    Mode {
        /// What, and why.
        reason: &'static str,
    },
    /// A blob is not one that this build can read.
    Blob(BlobProblem),
}

impl Error {
    /// The `what` of a layer's sums that are [`Error::NotFinite`]; the index is the layer's.
    pub const LAYER: &'static str = "sums of layer";
    /// The `what` of a parameter that is [`Error::NotFinite`]; the index is that among all.
    pub const PARAMETER: &'static str = "parameter";
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
            Self::Layers { start, end, layers } => {
                write!(
                    f,
                    "expected a range of the {layers} layers, but {start}..{end} came"
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
            Self::Penalty { layer, problem } => write!(f, "penalty of layer {layer}: {problem}"),
            Self::Mode { reason } => f.write_str(reason),
            Self::Blob(problem) => write!(f, "blob: {problem}"),
        }
    }
}

impl core::error::Error for Error {}

/// Why bytes are not a blob that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BlobProblem {
    /// The bytes do not begin as a blob does.
    NotABlob {
        /// The first bytes.
        found: [u8; 4],
    },
    /// Written by a later release.
    Version {
        /// The newest that this build reads.
        supported: u16,
        /// What came.
        found: u16,
    },
    /// More or fewer bytes than the blob says it has.
    Length {
        /// Bytes that it says it has.
        expected: u64,
        /// Bytes that came.
        given: usize,
    },
    /// More or fewer bytes of parameters than the header's layers have.
    Parameters {
        /// Bytes that the layers have.
        expected: usize,
        /// Bytes that the blob has.
        given: usize,
    },
    /// A bit was changed on the way.
    Checksum {
        /// What the blob says.
        expected: u32,
        /// What its bytes give.
        found: u32,
    },
    /// The header is not one.
    Header,
    /// Bytes that must be zero are not.
    NotZero,
    /// The build cannot answer with the bits of the blob's math.
    Math {
        /// The digest in the blob.
        expected: u32,
        /// The build's digest.
        found: u32,
    },
    /// An int8 part in a model of f32, or the other way round.
    Precision,
    /// The model's name has too many bytes.
    LongName {
        /// The limit.
        limit: usize,
        /// How many came.
        given: usize,
    },
    /// The self-test answered otherwise.
    Golden {
        /// The digest in the blob.
        expected: u32,
        /// This machine's digest.
        found: u32,
    },
}

impl core::fmt::Display for BlobProblem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotABlob { found } => write!(
                f,
                "expected it to begin with \"NARW\", but the bytes {found:02x?} came"
            ),
            Self::Version { supported, found } => {
                write!(f, "expected format version {supported}, but {found} came")
            }
            Self::Length { expected, given } => {
                write!(f, "expected {expected} bytes, but {given} came")
            }
            Self::Parameters { expected, given } => {
                write!(
                    f,
                    "expected the {expected} bytes of parameters that its layers have, but {given} came"
                )
            }
            Self::Checksum { expected, found } => {
                write!(
                    f,
                    "expected the checksum {expected:08x}, but the bytes give {found:08x}: they are damaged"
                )
            }
            Self::Header => write!(f, "expected a header, but the bytes do not decode as one"),
            Self::NotZero => write!(f, "expected zeros in the reserved bytes, but others came"),
            Self::Math { expected, found } => {
                write!(
                    f,
                    "expected math that answers {expected:08x}, but this build's answers {found:08x}"
                )
            }
            Self::Precision => write!(
                f,
                "expected an f32 model with f32 or raw input, but int8 parts came"
            ),
            Self::LongName { limit, given } => {
                write!(f, "name: expected at most {limit} bytes, but {given} came")
            }
            Self::Golden { expected, found } => {
                write!(
                    f,
                    "self-test: expected the answer {expected:08x}, but this machine gives {found:08x}"
                )
            }
        }
    }
}
