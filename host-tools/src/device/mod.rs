//! A device on a serial line, or an emulated one, as a thing that answers.
//!
//! ```no_run
//! use narrows::device::qemu::Emulator;
//! # fn main() -> Result<(), narrows::device::Error> {
//! # let (elf, blob, picture) = (std::path::Path::new("firmware"), [0; 4], [0.0; 784]);
//! let mut device = Emulator::start(elf)?.device()?;
//! device.load(&blob)?;
//! let answer = device.reconstruct(&picture)?;
//! # Ok(())
//! # }
//! ```
//!
//! [`serial::open`] does the same for a board. One request is under way at a time. What gets lost or damaged on the line
//! is asked for again, and the device does nothing twice.

use std::io::{self, Read, Write};
use std::time::Duration;

use narrows_core::training::{Mode, Options};
use narrows_protocol::SCHEMA;
use narrows_protocol::frame::PIECE;
use narrows_protocol::message::{Answer, Buffer, Part, Refusal, Request};

pub use narrows_protocol::message::{Info, ModelInfo};

use line::Line;

mod line;
pub mod qemu;
pub mod serial;
#[cfg(test)]
mod tests;

/// Why there is no answer from a device. Each is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A serial port cannot be opened.
    #[error("{port}: cannot open the serial port: {source}; the ports of this computer: {known}")]
    Port {
        /// Its name.
        port: String,
        /// What the system says.
        source: serialport::Error,
        /// The names of those that there are.
        known: String,
    },
    /// The emulator cannot be started, or ended before it could be used.
    #[error("{program}: cannot emulate a device: {problem}")]
    Emulator {
        /// The emulator's program.
        program: &'static str,
        /// What the system or the emulator says.
        problem: String,
    },
    /// Nothing comes from the device.
    #[error("{device}: expected an answer while it was to {action}, but nothing came in {} s; does the Narrows firmware run there?", waited.as_secs_f32())]
    Silent {
        /// Its name.
        device: String,
        /// What it was asked to do.
        action: String,
        /// How long it had time, in all.
        waited: Duration,
    },
    /// Something comes, but no answer.
    #[error(
        "{device}: expected an answer while it was to {action}, but {bytes} bytes came that are none, the first {first:02x?}; is it the right port and speed?"
    )]
    Garbage {
        /// Its name.
        device: String,
        /// What it was asked to do.
        action: String,
        /// How many bytes came.
        bytes: usize,
        /// Up to eight of them.
        first: Vec<u8>,
    },
    /// The line broke.
    #[error("{device}: the connection broke while it was to {action}: {source}")]
    Gone {
        /// Its name.
        device: String,
        /// What it was asked to do.
        action: String,
        /// What the system says.
        source: io::Error,
    },
    /// Something that the messages do not carry.
    #[error(
        "{device}: expected training without penalties, which the messages do not carry, but some came"
    )]
    Penalties {
        /// Its name.
        device: String,
    },
    /// The firmware is of another release.
    #[error(
        "{device}: expected firmware with the messages {SCHEMA:08x}, but it has {found:08x}: flash the firmware of this release"
    )]
    Schema {
        /// Its name.
        device: String,
        /// The device's hash.
        found: u32,
    },
    /// The device refused the request.
    #[error("{device}: cannot {action}: {refusal}")]
    Refused {
        /// Its name.
        device: String,
        /// What it was asked to do.
        action: String,
        /// Why it refused.
        refusal: Refusal<'static>,
    },
    /// The core on the device refused the model, the numbers or the memory.
    #[error("{device}: cannot {action}: {source}")]
    Core {
        /// Its name.
        device: String,
        /// What it was asked to do.
        action: String,
        /// Why it refused.
        source: narrows_core::error::Error,
    },
    /// The caller's numbers do not fit the device's model.
    #[error("{what}: expected {expected} numbers, but {given} came")]
    Length {
        /// Which numbers.
        what: &'static str,
        /// How many the model takes.
        expected: usize,
        /// How many came.
        given: usize,
    },
}

/// This room's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How long to wait for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For an answer that takes no computation.
    pub message: Duration,
    /// For an answer that does.
    pub computation: Duration,
    /// How often a request is sent before the device is given up.
    pub attempts: u32,
}

impl Default for Patience {
    /// 2 s, 60 s, three attempts.
    fn default() -> Self {
        Self {
            message: Duration::from_secs(2),
            computation: Duration::from_secs(60),
            attempts: 3,
        }
    }
}

/// Numbers that a device has computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Computed {
    /// The numbers.
    pub values: Vec<f32>,
    /// How long it took, in ticks of the device's clock ([`Info::ticks_per_second`]), without the transfer.
    pub ticks: u64,
}

/// What a training step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trained {
    /// The mean loss of the samples before the step.
    pub loss: f64,
    /// How long it took, in ticks of the device's clock, without the transfer.
    pub ticks: u64,
}

/// A device that has answered once.
///
/// `S` is the line to it. A read or write must wait no longer than a moment, and then fail with
/// [`io::ErrorKind::TimedOut`] or [`io::ErrorKind::WouldBlock`]; a read of 0 bytes means that the line has ended.
#[derive(Debug)]
pub struct Device<S> {
    line: Line<S>,
    patience: Patience,
    /// The most bytes of a piece.
    piece: usize,
    model: Option<Lens>,
    /// Of the training run.
    mode: Mode,
}

/// How many numbers the device's model takes and gives.
#[derive(Clone, Copy, Debug)]
struct Lens {
    input: usize,
    code: usize,
    output: usize,
    parameters: usize,
}

impl<S: Read + Write> Device<S> {
    /// Greets the device at the other end of a line; `name` is what errors call it.
    ///
    /// # Errors
    /// When no answer comes, or the firmware is of another release.
    pub fn open(line: S, name: impl Into<String>, patience: Patience) -> Result<Self> {
        let line = Line::new(line, name.into(), patience.attempts);
        let mut device = Self {
            line,
            patience,
            piece: 1,
            model: None,
            mode: Mode::Fused,
        };
        let info = device.info()?;
        let (found, piece) = (info.schema, info.piece);
        if found != SCHEMA {
            return Err(Error::Schema {
                device: device.line.into_name(),
                found,
            });
        }
        device.piece = (piece as usize).clamp(1, PIECE);
        Ok(device)
    }

    /// What the device is, and which model it has.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn info(&mut self) -> Result<Info<'_>> {
        let take = |answer| {
            if let Answer::Info(info) = answer {
                Some(info)
            } else {
                None
            }
        };
        let info = self
            .line
            .ask("say what it is", Request::Info, self.patience.message, take)?;
        self.model = info.model.map(|model| Lens {
            input: model.input as usize,
            code: model.code as usize,
            output: model.output as usize,
            parameters: model.parameters as usize,
        });
        Ok(info)
    }

    /// Uploads a blob, and makes it the device's model.
    ///
    /// # Errors
    /// When the device refuses it, has too little memory for it, or is gone.
    pub fn load(&mut self, blob: &[u8]) -> Result<()> {
        self.load_with(blob, |_| ())
    }

    /// As [`Device::load`]; `progress` is told how many bytes have arrived.
    ///
    /// # Errors
    /// As [`Device::load`].
    pub fn load_with(&mut self, blob: &[u8], progress: impl FnMut(usize)) -> Result<()> {
        self.model = None;
        self.write("take the model", Buffer::Model, blob, progress)?;
        let length = u32::try_from(blob.len()).unwrap_or(u32::MAX);
        self.run("load the model", Request::Load { length })?;
        self.info()?;
        Ok(())
    }

    /// Runs the whole network on one sample.
    ///
    /// # Errors
    /// When the sample has another length than the model's input, the device refuses it, or is gone.
    pub fn reconstruct(&mut self, input: &[f32]) -> Result<Computed> {
        let lens = self.lens()?;
        self.compute(
            "reconstruct",
            Part::Reconstruct,
            ("input", input, lens.input),
            lens.output,
        )
    }

    /// Runs the network on one sample up to its code.
    ///
    /// # Errors
    /// As [`Device::reconstruct`].
    pub fn encode(&mut self, input: &[f32]) -> Result<Computed> {
        let lens = self.lens()?;
        self.compute(
            "encode",
            Part::Encode,
            ("input", input, lens.input),
            lens.code,
        )
    }

    /// Runs the network on one code.
    ///
    /// # Errors
    /// As [`Device::reconstruct`].
    pub fn decode(&mut self, code: &[f32]) -> Result<Computed> {
        let lens = self.lens()?;
        self.compute(
            "decode",
            Part::Decode,
            ("code", code, lens.code),
            lens.output,
        )
    }

    /// Begins to train the device's model, with a fresh state of the optimizer.
    ///
    /// A device takes one sample at a time, so that a mode of accumulation with a batch of one is enough for batches of
    /// any size.
    ///
    /// # Errors
    /// When the device refuses the options, has too little memory for them, or is gone.
    pub fn train_start(&mut self, options: Options<'_>) -> Result<()> {
        if !options.penalties.is_empty() {
            return Err(Error::Penalties {
                device: self.line.name().into(),
            });
        }
        self.mode = options.mode;
        let options = Options {
            penalties: &[],
            ..options
        };
        self.run("start training", Request::TrainStart(options))?;
        Ok(())
    }

    /// Makes one step on a batch: the samples one after the other, then the update. In the fused mode it is a step for
    /// each sample.
    ///
    /// # Errors
    /// When the numbers are not those of whole samples, the device refuses them, or is gone.
    pub fn train(&mut self, inputs: &[f32], targets: &[f32]) -> Result<Trained> {
        let lens = self.lens()?;
        let samples = (inputs.len() / lens.input.max(1)).max(1);
        check("inputs", samples * lens.input, inputs.len())?;
        check("targets", samples * lens.output, targets.len())?;
        let (mut sum, mut ticks) = (0.0, 0);
        for (input, target) in inputs
            .chunks_exact(lens.input.max(1))
            .zip(targets.chunks_exact(lens.output.max(1)))
        {
            self.write("take an input", Buffer::Input, &bytes_of(input), |_| ())?;
            self.write("take a target", Buffer::Target, &bytes_of(target), |_| ())?;
            let take = |answer| {
                if let Answer::Loss { loss, ticks } = answer {
                    Some((loss, ticks))
                } else {
                    None
                }
            };
            let (loss, duration) =
                self.line
                    .ask("train", Request::Train, self.patience.computation, take)?;
            sum += loss;
            ticks += u64::from(duration);
        }
        if self.mode != Mode::Fused {
            ticks += self.run("update the parameters", Request::Apply)?;
        }
        Ok(Trained {
            loss: sum / samples as f64,
            ticks,
        })
    }

    /// The parameters of the device's model, as they are now.
    ///
    /// # Errors
    /// When the device has no model, or is gone.
    pub fn parameters(&mut self) -> Result<Vec<f32>> {
        let lens = self.lens()?;
        self.read("give the parameters", Buffer::Parameters, lens.parameters)
    }

    /// Ends the connection, and gives the line back.
    #[must_use]
    pub fn into_line(self) -> S {
        self.line.into_inner()
    }

    fn lens(&mut self) -> Result<Lens> {
        let refused = |line: &Line<S>| line.refused("run a model", Refusal::NoModel);
        self.model.ok_or_else(|| refused(&self.line))
    }

    fn compute(
        &mut self,
        action: &str,
        part: Part,
        (what, input, expected): (&'static str, &[f32], usize),
        output: usize,
    ) -> Result<Computed> {
        check(what, expected, input.len())?;
        self.write("take an input", Buffer::Input, &bytes_of(input), |_| ())?;
        let ticks = self.run(action, Request::Run(part))?;
        let values = self.read("give the output", Buffer::Output, output)?;
        Ok(Computed { values, ticks })
    }

    /// Has something computed that needs no answer but how long it took.
    fn run(&mut self, action: &str, request: Request<'_>) -> Result<u64> {
        let take = |answer| {
            if let Answer::Done { ticks } = answer {
                Some(ticks.into())
            } else {
                None
            }
        };
        self.line
            .ask(action, request, self.patience.computation, take)
    }

    fn write(
        &mut self,
        action: &str,
        buffer: Buffer,
        bytes: &[u8],
        mut progress: impl FnMut(usize),
    ) -> Result<()> {
        let mut done = 0;
        for bytes in bytes.chunks(self.piece) {
            let action = format!("{action} from byte {done} on");
            let offset = u32::try_from(done).unwrap_or(u32::MAX);
            let take = |answer| {
                if let Answer::Done { .. } = answer {
                    Some(())
                } else {
                    None
                }
            };
            self.line.ask(
                &action,
                Request::Write {
                    buffer,
                    offset,
                    bytes,
                },
                self.patience.message,
                take,
            )?;
            done += bytes.len();
            progress(done);
        }
        Ok(())
    }

    fn read(&mut self, action: &str, buffer: Buffer, numbers: usize) -> Result<Vec<f32>> {
        let length = numbers * size_of::<f32>();
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let piece = self.piece.min(length - bytes.len());
            let action = format!("{action} from byte {} on", bytes.len());
            let request = Request::Read {
                buffer,
                offset: bytes.len() as u32,
                length: piece as u32,
            };
            let take = |answer| match answer {
                Answer::Bytes(bytes) if bytes.len() == piece => Some(bytes),
                _ => None,
            };
            bytes.extend_from_slice(self.line.ask(
                &action,
                request,
                self.patience.message,
                take,
            )?);
        }
        let (numbers, _) = bytes.as_chunks();
        Ok(numbers
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect())
    }
}

fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

fn check(what: &'static str, expected: usize, given: usize) -> Result<()> {
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
