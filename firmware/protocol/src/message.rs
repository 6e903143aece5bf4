//! The messages: what a host can ask for and what a device can answer.
//!
//! Data goes through a few buffers of the device in pieces of up to [`PIECE`](crate::frame::PIECE) bytes; the other
//! messages say what to do with what lies there. Numbers in buffers are little-endian.

use core::fmt;

pub use narrows_core::network::Part;
use narrows_core::training::Options;
use serde::{Deserialize, Serialize};

/// The version of the protocol. A device answers a message of another one with [`Refusal::Version`]: the header, and
/// the place of that refusal among the answers, stay the same in all versions.
pub const VERSION: u8 = 1;

/// Stands before every request and every answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub version: u8,
    /// The host's running number; an answer bears its request's. 0 where the device could not read the request.
    pub sequence: u16,
}

/// A part of the device's memory that can be written to or read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Buffer {
    /// The blob of the next model. Writing to it ends the work of the present one. Not read.
    Model,
    /// What the network is fed, f32.
    Input,
    /// What the network is trained to answer, f32. Only while training; not read.
    Target,
    /// What the network answered, f32. Not written.
    Output,
    /// The network's parameters, f32, layer after layer. Not written.
    Parameters,
}

impl fmt::Display for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::Input => "input",
            Self::Target => "target",
            Self::Output => "output",
            Self::Parameters => "parameters",
        })
    }
}

/// What a host asks for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// What the device is. Answered by [`Answer::Info`].
    Info,
    /// Puts bytes into a buffer. Answered by [`Answer::Done`].
    Write {
        /// Where.
        buffer: Buffer,
        /// From which byte on.
        offset: u32,
        /// What.
        bytes: &'a [u8],
    },
    /// Asks for bytes of a buffer. Answered by [`Answer::Bytes`].
    Read {
        /// Where.
        buffer: Buffer,
        /// From which byte on.
        offset: u32,
        /// How many.
        length: u32,
    },
    /// Checks the blob that was written, and makes it the model. Answered by [`Answer::Done`].
    Load {
        /// The blob's length in bytes.
        length: u32,
    },
    /// Runs a part of the network on the input. Answered by [`Answer::Done`].
    Run(Part),
    /// Begins a training run of the model, with a fresh state of the optimizer. Answered by [`Answer::Done`].
    TrainStart(Options<'static>),
    /// Learns one sample, the input with the target: adds its gradients to the batch's, or, in the fused mode, makes a
    /// whole step. Answered by [`Answer::Loss`].
    Train,
    /// Ends the batch and updates the parameters. Answered by [`Answer::Done`].
    Apply,
}

/// What a device answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer<'a> {
    /// Nothing was done.
    #[serde(borrow)]
    Refused(Refusal<'a>),
    /// It was done.
    Done {
        /// How long the computation took, in ticks of [`Info::ticks_per_second`].
        ticks: u32,
    },
    /// What was read.
    Bytes(&'a [u8]),
    /// What the device is.
    Info(Info<'a>),
    /// A sample was learnt.
    Loss {
        /// Its loss before the step.
        loss: f64,
        /// How long it took.
        ticks: u32,
    },
}

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info<'a> {
    /// [`SCHEMA`](crate::SCHEMA), as the device has it.
    pub schema: u32,
    /// The board's name.
    pub board: &'a str,
    /// The firmware's version.
    pub firmware: &'a str,
    /// The most bytes that one message writes or reads.
    pub piece: u32,
    /// How fast the clock goes by which computations are timed.
    pub ticks_per_second: u32,
    /// Bytes of memory for a model and all that it works with.
    pub memory: u32,
    /// The model that is at work.
    pub model: Option<ModelInfo<'a>>,
}

/// The model of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// Elements of an input.
    pub input: u32,
    /// Elements of a code.
    pub code: u32,
    /// Elements of an output.
    pub output: u32,
    /// Elements of the parameters.
    pub parameters: u32,
    /// Bytes of memory that hold its blob.
    pub blob_bytes: u32,
    /// Bytes of memory that inference needs beside the blob: input, output and workspace.
    pub inference_bytes: u32,
    /// Bytes of memory that the present training run needs beside those; 0 where there is none.
    pub training_bytes: u32,
}

/// Why a device did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal<'a> {
    /// The request is of another version of the protocol.
    Version {
        /// The device's.
        device: u8,
    },
    /// A frame was damaged on the way.
    Damaged,
    /// A frame was longer than any message.
    TooLong {
        /// The most bytes of a message.
        limit: u32,
    },
    /// The frame is whole, but there is no request in it.
    NotARequest,
    /// There is no model yet.
    NoModel,
    /// No training run was begun.
    NoTraining,
    /// The buffer is not one to write to.
    NotWritten(Buffer),
    /// The buffer is not one to read from.
    NotRead(Buffer),
    /// More bytes are asked for than a buffer has, or than an answer can hold.
    Range {
        /// Which buffer.
        buffer: Buffer,
        /// The byte behind the last one that was asked for.
        end: u64,
        /// Bytes that there are.
        available: u32,
    },
    /// Core refused: a [`narrows_core::error::Error`] in postcard's encoding. Its strings are `'static`, so whoever
    /// decodes it has to lend the bytes for ever.
    Core(&'a [u8]),
    /// The answer is longer than any message may be.
    AnswerTooLong {
        /// The most bytes of a message.
        limit: u32,
    },
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { device } => write!(
                f,
                "protocol: the device speaks version {device}, the host version {VERSION}"
            ),
            Self::Damaged => f.write_str("the frame was damaged on the way"),
            Self::TooLong { limit } => write!(
                f,
                "the frame was longer than the device's limit of {limit} bytes"
            ),
            Self::NotARequest => f.write_str("the device does not know this request"),
            Self::NoModel => f.write_str("no model is loaded"),
            Self::NoTraining => f.write_str("no training run was begun"),
            Self::NotWritten(buffer) => write!(f, "{buffer}: this buffer is not one to write to"),
            Self::NotRead(buffer) => write!(f, "{buffer}: this buffer is not one to read from"),
            Self::Range {
                buffer,
                end,
                available,
            } => {
                write!(
                    f,
                    "{buffer}: the request goes up to byte {end}, but {available} are available"
                )
            }
            Self::Core(_) => f.write_str("the model or its input was refused"),
            Self::AnswerTooLong { limit } => write!(
                f,
                "the device's answer would be longer than its limit of {limit} bytes"
            ),
        }
    }
}
