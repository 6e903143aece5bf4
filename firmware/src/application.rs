//! The application: what a device does when it is asked.
//!
//! It goes through three states, each a loop that answers requests until one of them belongs to another state. Before a
//! model is loaded, all memory is room for a blob. With a model, it is divided:
//!
//! | bytes | what |
//! | --- | --- |
//! | length of the blob, rounded up to 16 | the blob, with the parameters where they lie |
//! | 4 each | an input or a code, whichever is longer |
//! | 4 each | an output or a code, whichever is longer |
//! | 4 · [`inference::workspace_len`] | the workspace of inference |
//! | 4 each | while training: a target |
//! | 4 · [`memory_len`] | while training: the trainer's memory |
//!
//! What is left over is of no use to this model, but a larger one may come.

use core::ops::Range;

use narrows_core::blob::{ALIGNMENT, Header, InputKind, ModelMut};
use narrows_core::error::Error;
use narrows_core::inference;
use narrows_core::kernels::Sequential;
use narrows_core::math::Math;
use narrows_core::memory::{bytes_of, f32_mut};
use narrows_core::network::Network;
use narrows_core::training::{Mode, Options, Trainer, memory_len};
use narrows_protocol::SCHEMA;
use narrows_protocol::frame::PIECE;
use narrows_protocol::message::{Answer, Buffer, Info, ModelInfo, Part, Refusal, Request};

use crate::board::Board;
use crate::link::{Link, Problem};
use crate::log::info;

type Outcome<'a> = Result<Answer<'a>, Problem>;

/// Answers requests until the serial line ends; a board's never does.
///
/// # Errors
/// [`Error::BufferTooSmall`] where the memory is not enough for the line's own buffers.
pub fn serve<B: Board>(board: &mut B, memory: &mut [u8]) -> Result<(), Error> {
    let (mut link, memory) = Link::new(memory)?;
    let start = memory.as_ptr().align_offset(ALIGNMENT);
    let memory = memory.get_mut(start..).unwrap_or(&mut []);
    let total = memory.len();
    info!("ready, with {=usize} bytes of memory", total);
    while link.receive(board) {
        let outcome = match link.request() {
            Ok(Request::Info) => Ok(device_info::<B>(total, None)),
            Ok(Request::Write {
                buffer: Buffer::Model,
                offset,
                bytes,
            }) => write(Buffer::Model, memory, offset, bytes),
            Ok(Request::Load { length }) => match Loaded::new(&mut *memory, length) {
                Ok(loaded) => {
                    loaded.serve(board, &mut link, total);
                    continue;
                }
                Err(problem) => Err(problem),
            },
            Ok(_) => Err(Refusal::NoModel.into()),
            Err(refusal) => Err(refusal.into()),
        };
        link.answer(board, outcome);
    }
    Ok(())
}

/// A model, and the memory that it leaves.
struct Loaded<'m> {
    model: ModelMut<'m>,
    blob_bytes: usize,
    memory: &'m mut [u8],
}

impl<'m> Loaded<'m> {
    fn new(memory: &'m mut [u8], length: u32) -> Result<Self, Problem> {
        let available = memory.len();
        let too_long = Refusal::Range {
            buffer: Buffer::Model,
            end: length.into(),
            available: available as u32,
        };
        let blob_bytes = (length as usize)
            .checked_next_multiple_of(ALIGNMENT)
            .ok_or(too_long)?;
        let (blob, memory) = memory.split_at_mut_checked(blob_bytes).ok_or(too_long)?;
        let blob = blob.get_mut(..length as usize).ok_or(too_long)?;
        let model = ModelMut::read(blob)?;
        // The buffers hold f32, and to take a sensor's counts for real numbers would be a wrong answer.
        if model.header.input_kind != InputKind::F32 {
            return Err(Error::Mode {
                reason: "input kind: the device takes f32, but the model wants other numbers",
            }
            .into());
        }
        Ok(Self {
            model,
            blob_bytes,
            memory,
        })
    }

    /// Works with the model until another one comes.
    fn serve<B: Board>(self, board: &mut B, link: &mut Link<'_>, total: usize) {
        let ModelMut {
            header,
            network,
            parameters,
        } = self.model;
        let (mut inference, spare) =
            match Inference::new(&header, &network, parameters, self.blob_bytes, self.memory) {
                Ok(divided) => divided,
                Err(error) => return link.answer(board, Err(error.into())),
            };
        info!(
            "loaded a model of {=usize} parameters",
            inference.parameters.len()
        );
        link.answer(board, DONE);
        while link.receive(board) {
            let outcome = match link.request() {
                Ok(
                    Request::Write {
                        buffer: Buffer::Model,
                        ..
                    }
                    | Request::Load { .. },
                ) => return link.keep(),
                Ok(Request::Info) => Ok(device_info::<B>(total, Some(inference.info(0)))),
                Ok(Request::TrainStart(options)) => {
                    match Training::new(&network, options, &mut *spare) {
                        Ok(training) => {
                            training.serve(board, link, &mut inference, total);
                            continue;
                        }
                        Err(error) => Err(error.into()),
                    }
                }
                Ok(
                    Request::Write {
                        buffer: Buffer::Target,
                        ..
                    }
                    | Request::Train
                    | Request::Apply,
                ) => Err(Refusal::NoTraining.into()),
                Ok(request) => inference.answer(board, request),
                Err(refusal) => Err(refusal.into()),
            };
            link.answer(board, outcome);
        }
    }
}

/// A model that is ready to answer.
struct Inference<'m> {
    name: &'m str,
    network: &'m Network<'m>,
    parameters: &'m mut [f32],
    math: Math,
    input: &'m mut [f32],
    output: &'m mut [f32],
    workspace: &'m mut [f32],
    blob_bytes: usize,
    bytes: usize,
}

impl<'m> Inference<'m> {
    /// Takes what inference needs of the memory; the rest is left.
    fn new(
        header: &'m Header<'m>,
        network: &'m Network<'m>,
        parameters: &'m mut [f32],
        blob_bytes: usize,
        memory: &'m mut [u8],
    ) -> Result<(Self, &'m mut [u8]), Error> {
        let code = network.code_shape().len();
        let lens = [
            network.input().len().max(code),
            network.output().len().max(code),
            inference::workspace_len(network, network.part(Part::Reconstruct), 1),
        ];
        let divided = Divided::new("memory for inference", memory, lens)?;
        let Divided {
            parts: [input, output, workspace],
            bytes,
            rest,
        } = divided;
        let (name, math) = (header.name, header.math);
        Ok((
            Self {
                name,
                network,
                parameters,
                math,
                input,
                output,
                workspace,
                blob_bytes,
                bytes,
            },
            rest,
        ))
    }

    fn info(&self, training_bytes: usize) -> ModelInfo<'_> {
        ModelInfo {
            name: self.name,
            input: self.network.input().len() as u32,
            code: self.network.code_shape().len() as u32,
            output: self.network.output().len() as u32,
            parameters: self.parameters.len() as u32,
            blob_bytes: self.blob_bytes as u32,
            inference_bytes: self.bytes as u32,
            training_bytes: training_bytes as u32,
        }
    }

    fn answer<B: Board>(&mut self, board: &B, request: Request<'_>) -> Outcome<'_> {
        match request {
            Request::Write {
                buffer: buffer @ Buffer::Input,
                offset,
                bytes,
            } => write(
                buffer,
                bytemuck::must_cast_slice_mut(self.input),
                offset,
                bytes,
            ),
            Request::Write { buffer, .. } => Err(Refusal::NotWritten(buffer).into()),
            Request::Read {
                buffer,
                offset,
                length,
            } => {
                let values: &[f32] = match buffer {
                    Buffer::Input => self.input,
                    Buffer::Output => self.output,
                    Buffer::Parameters => self.parameters,
                    Buffer::Model | Buffer::Target => return Err(Refusal::NotRead(buffer).into()),
                };
                read(buffer, bytemuck::must_cast_slice(values), offset, length)
            }
            Request::Run(part) => {
                let start = board.ticks();
                self.run::<B>(part)?;
                Ok(Answer::Done {
                    ticks: board.ticks().wrapping_sub(start),
                })
            }
            _ => Err(Refusal::NotARequest.into()),
        }
    }

    fn run<B: Board>(&mut self, part: Part) -> Result<(), Error> {
        let (network, layers) = (self.network, self.network.part(part));
        let input = network.shape_before(layers.start).len();
        let output = network.shape_before(layers.end).len();
        let input = self.input.get(..input).unwrap_or(&[]);
        let output = self.output.get_mut(..output).unwrap_or(&mut []);
        let executor = Sequential::<B::Machine>::new();
        inference::Inference {
            executor: &executor,
            network,
            parameters: self.parameters,
            math: self.math,
        }
        .run(layers, input, output, self.workspace)
    }
}

/// A training run.
struct Training<'m> {
    trainer: Trainer<'m>,
    mode: Mode,
    target: &'m mut [f32],
    bytes: usize,
}

impl<'m> Training<'m> {
    fn new(
        network: &'m Network<'m>,
        options: Options<'m>,
        memory: &'m mut [u8],
    ) -> Result<Self, Error> {
        let lens = [network.output().len(), memory_len(network, &options)?];
        let Divided {
            parts: [target, memory],
            bytes,
            ..
        } = Divided::new("memory for training", memory, lens)?;
        Ok(Self {
            trainer: Trainer::new(network, options, memory)?,
            mode: options.mode,
            target,
            bytes,
        })
    }

    /// Trains until another model or another run comes.
    fn serve<B: Board>(
        mut self,
        board: &mut B,
        link: &mut Link<'_>,
        inference: &mut Inference<'_>,
        total: usize,
    ) {
        info!("training, in {=usize} bytes", self.bytes);
        link.answer(board, DONE);
        while link.receive(board) {
            let outcome = match link.request() {
                Ok(
                    Request::Write {
                        buffer: Buffer::Model,
                        ..
                    }
                    | Request::Load { .. }
                    | Request::TrainStart(_),
                ) => {
                    return link.keep();
                }
                Ok(Request::Info) => Ok(device_info::<B>(total, Some(inference.info(self.bytes)))),
                Ok(Request::Write {
                    buffer: buffer @ Buffer::Target,
                    offset,
                    bytes,
                }) => write(
                    buffer,
                    bytemuck::must_cast_slice_mut(self.target),
                    offset,
                    bytes,
                ),
                Ok(Request::Train) => self.train(board, inference),
                Ok(Request::Apply) => self.apply(board, inference),
                Ok(request) => inference.answer(board, request),
                Err(refusal) => Err(refusal.into()),
            };
            link.answer(board, outcome);
        }
    }

    fn train<B: Board>(&mut self, board: &B, inference: &mut Inference<'_>) -> Outcome<'static> {
        let start = board.ticks();
        let input = inference
            .input
            .get(..inference.network.input().len())
            .unwrap_or(&[]);
        let (parameters, target, executor) = (
            &mut *inference.parameters,
            &*self.target,
            Sequential::<B::Machine>::new(),
        );
        let loss = match self.mode {
            Mode::Fused => self.trainer.step(&executor, parameters, input, target),
            Mode::Accumulate { .. } => self
                .trainer
                .accumulate(&executor, parameters, input, target),
        }?;
        Ok(Answer::Loss {
            loss,
            ticks: board.ticks().wrapping_sub(start),
        })
    }

    fn apply<B: Board>(&mut self, board: &B, inference: &mut Inference<'_>) -> Outcome<'static> {
        let start = board.ticks();
        self.trainer
            .apply(&Sequential::<B::Machine>::new(), inference.parameters)?;
        Ok(Answer::Done {
            ticks: board.ticks().wrapping_sub(start),
        })
    }
}

/// What was no computation took no time.
const DONE: Outcome<'static> = Ok(Answer::Done { ticks: 0 });

fn device_info<B: Board>(memory: usize, model: Option<ModelInfo<'_>>) -> Answer<'_> {
    Answer::Info(Info {
        schema: SCHEMA,
        board: B::NAME,
        firmware: env!("CARGO_PKG_VERSION"),
        piece: PIECE as u32,
        ticks_per_second: B::TICKS_PER_SECOND,
        memory: memory as u32,
        model,
    })
}

/// A piece of memory as `N` slices of numbers.
struct Divided<'m, const N: usize> {
    parts: [&'m mut [f32]; N],
    /// How long the piece is.
    bytes: usize,
    /// The memory behind it.
    rest: &'m mut [u8],
}

impl<'m, const N: usize> Divided<'m, N> {
    fn new(what: &'static str, memory: &'m mut [u8], lens: [usize; N]) -> Result<Self, Error> {
        let elements = lens
            .iter()
            .fold(0usize, |sum, len| sum.saturating_add(*len));
        let (bytes, given) = (bytes_of(elements), memory.len());
        let too_small = Error::BufferTooSmall {
            what,
            needed: bytes,
            given,
        };
        let (memory, rest) = memory.split_at_mut_checked(bytes).ok_or(too_small)?;
        let mut numbers = f32_mut(what, memory, elements)?;
        let parts = lens.map(|len| numbers.split_off_mut(..len).unwrap_or(&mut []));
        Ok(Self { parts, bytes, rest })
    }
}

/// Where a request's bytes lie in a buffer.
fn range(
    buffer: Buffer,
    available: usize,
    offset: u32,
    length: usize,
) -> Result<Range<usize>, Problem> {
    let start = offset as usize;
    let out_of_range = |end| Refusal::Range {
        buffer,
        end,
        available: available as u32,
    };
    match start.checked_add(length) {
        Some(end) if end <= available => Ok(start..end),
        _ => Err(out_of_range(u64::from(offset).saturating_add(length as u64)).into()),
    }
}

fn write(buffer: Buffer, to: &mut [u8], offset: u32, bytes: &[u8]) -> Outcome<'static> {
    let range = range(buffer, to.len(), offset, bytes.len())?;
    for (to, byte) in to.get_mut(range).unwrap_or(&mut []).iter_mut().zip(bytes) {
        *to = *byte;
    }
    DONE
}

fn read(buffer: Buffer, from: &[u8], offset: u32, length: u32) -> Outcome<'_> {
    let range = range(buffer, from.len(), offset, length as usize)?;
    if range.len() > PIECE {
        return Err(Refusal::Range {
            buffer,
            end: length.into(),
            available: PIECE as u32,
        }
        .into());
    }
    Ok(Answer::Bytes(from.get(range).unwrap_or(&[])))
}
