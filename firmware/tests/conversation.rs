//! The application on a board that is a script: what comes over the line, and what goes back.
#![allow(missing_docs, reason = "a test")]

use std::collections::VecDeque;
use std::convert::Infallible;

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::{self, OutputPin};
use embedded_io::{ErrorKind, Read, Write};
use narrows_core::blob::{
    self, BlobProblem, Golden, Header, InputKind, Precision, Preprocessing, Provenance,
};
use narrows_core::error::Error;
use narrows_core::inference::{self, Inference};
use narrows_core::kernels::{Portable, Sequential};
use narrows_core::layer::{Activation, Layer, LayerKind};
use narrows_core::loss::Loss;
use narrows_core::math::Math;
use narrows_core::network::{Layers, Network};
use narrows_core::optimizer::Optimizer;
use narrows_core::shape::Shape;
use narrows_core::training::{Mode, Options, Trainer, memory_len};
use narrows_firmware::application::serve;
use narrows_firmware::board::Board;
use narrows_protocol::frame::{self, FRAME, MESSAGE, PIECE, Receiver};
use narrows_protocol::message::{self, Answer, Buffer, Part, Refusal, Request, VERSION};
use proptest::prelude::*;

/// What a line brings: bytes, or an error of the port.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Byte(u8),
    Failure,
}

/// A board whose line brings a script and then ends.
#[derive(Default)]
struct Scripted {
    incoming: VecDeque<Event>,
    outgoing: Vec<u8>,
    light_on: bool,
    /// How often the light went on.
    flashes: usize,
    waited_ns: u64,
    /// Each look at the clock takes a tick.
    ticks: std::cell::Cell<u32>,
}

impl Board for Scripted {
    type Serial = Self;
    type Light = Self;
    type Delay = Self;
    type Machine = Portable;

    const NAME: &'static str = "scripted";
    const TICKS_PER_SECOND: u32 = 1000;

    fn serial(&mut self) -> &mut Self {
        self
    }

    fn light(&mut self) -> &mut Self {
        self
    }

    fn delay(&mut self) -> &mut Self {
        self
    }

    fn ticks(&self) -> u32 {
        assert!(self.light_on, "computing without a light");
        self.ticks.update(|ticks| ticks + 1);
        self.ticks.get()
    }
}

impl embedded_io::ErrorType for Scripted {
    type Error = ErrorKind;
}

impl Read for Scripted {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        assert!(!self.light_on, "waiting with the light on");
        match self.incoming.pop_front() {
            None => Ok(0),
            Some(Event::Byte(byte)) => {
                buffer[0] = byte;
                Ok(1)
            }
            Some(Event::Failure) => Err(ErrorKind::Other),
        }
    }
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        // A port need not take everything at once.
        let taken = bytes.len().min(7);
        self.outgoing.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl digital::ErrorType for Scripted {
    type Error = Infallible;
}

impl OutputPin for Scripted {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.light_on = false;
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.light_on = true;
        self.flashes += 1;
        Ok(())
    }
}

impl DelayNs for Scripted {
    fn delay_ns(&mut self, ns: u32) {
        self.waited_ns += u64::from(ns);
    }
}

/// Memory that starts where a blob may.
#[repr(align(16))]
struct Memory<const N: usize>([u8; N]);

/// Memory for the line's buffers, as the application divides it.
const LINK: usize = (MESSAGE + FRAME).next_multiple_of(16);

/// One request as bytes on the line.
fn frame(sequence: u16, request: Request<'_>) -> Vec<Event> {
    let mut buffer = [0; FRAME];
    let bytes = frame::encode(
        message::Header {
            version: VERSION,
            sequence,
        },
        &request,
        &mut buffer,
    )
    .unwrap();
    bytes.iter().map(|byte| Event::Byte(*byte)).collect()
}

/// Lets the application run over a script; its answers, each with the number of its request.
fn converse(script: Vec<Event>, memory: &mut [u8]) -> (Vec<(u16, Answer<'static>)>, Scripted) {
    let mut board = Scripted {
        incoming: script.into(),
        ..Scripted::default()
    };
    serve(&mut board, memory).unwrap();
    (answers_in(&board.outgoing), board)
}

/// The answers that went over the line. They live as long as the test program, as core's errors in them must.
fn answers_in(outgoing: &[u8]) -> Vec<(u16, Answer<'static>)> {
    let (mut receiver, mut buffer, mut answers) = (Receiver::new(), [0; MESSAGE], vec![]);
    for byte in outgoing {
        if let Some(received) = receiver.push(*byte, &mut buffer) {
            let message: &'static [u8] = buffer[..received.unwrap().length].to_vec().leak();
            let (header, body) = frame::header(message).unwrap();
            assert_eq!(header.version, VERSION);
            answers.push((header.sequence, frame::body(body).unwrap()));
        }
    }
    answers
}

/// The answers to some requests, one to each.
fn ask(requests: &[Request<'_>], memory: &mut [u8]) -> Vec<Answer<'static>> {
    let script = (1..)
        .zip(requests)
        .flat_map(|(sequence, request)| frame(sequence, *request))
        .collect();
    let (answers, board) = converse(script, memory);
    assert_eq!(board.flashes, requests.len());
    assert_eq!(
        answers
            .iter()
            .map(|(sequence, _)| usize::from(*sequence))
            .collect::<Vec<_>>(),
        (1..=requests.len()).collect::<Vec<_>>()
    );
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn core_error(answer: Answer<'static>) -> Error {
    match answer {
        Answer::Refused(Refusal::Core(bytes)) => frame::body(bytes).unwrap(),
        other => panic!("expected an error of core's, not {other:?}"),
    }
}

fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

const LAYERS: [Layer<'static>; 2] = [
    Layer {
        name: "code",
        kind: LayerKind::Dense {
            units: 2,
            activation: Activation::Relu,
        },
    },
    Layer {
        name: "output",
        kind: LayerKind::Dense {
            units: 5,
            activation: Activation::Sigmoid,
        },
    },
];
const INPUT: [f32; 5] = [0.5, -0.25, 1.0, 0.0, 0.125];
const TARGET: [f32; 5] = [0.0, 1.0, 0.75, 0.5, 0.25];

/// A network of 5 - 2 - 5, with parameters that are all different.
fn model() -> (Network<'static>, Vec<f32>, Vec<u8>) {
    model_of(InputKind::F32)
}

/// The same for another kind of input.
fn model_of(input_kind: InputKind) -> (Network<'static>, Vec<f32>, Vec<u8>) {
    let network = Network::new(Shape::flat(5), &LAYERS, 0).unwrap();
    let parameters: Vec<f32> = (0..network.parameter_len())
        .map(|index| (index as f32 * 0.7).sin())
        .collect();
    let header = Header {
        name: "small",
        input: network.input(),
        input_kind,
        layers: Layers::from_slice(&LAYERS).unwrap(),
        code: 0,
        preprocessing: Preprocessing {
            offset: 0.0,
            scale: 1.0,
            rule: blob::Rule::None,
        },
        precision: Precision::F32,
        math: Math::Exact,
        math_digest: 0,
        rounding: Default::default(),
        threshold: None,
        provenance: Provenance {
            seed: 0,
            data_digest: 0,
            recipe_digest: 0,
        },
        golden: Golden { seed: 0, digest: 0 },
    };
    let mut blob = vec![0; blob::len(&header, parameters.len()).unwrap()];
    blob::write(&header, &parameters, &mut blob).unwrap();
    (network, parameters, blob)
}

/// The requests that upload a blob in pieces of 50 bytes.
fn upload(blob: &[u8]) -> Vec<Request<'_>> {
    let pieces = blob.chunks(50).enumerate();
    let mut requests: Vec<_> = pieces
        .map(|(index, bytes)| Request::Write {
            buffer: Buffer::Model,
            offset: index as u32 * 50,
            bytes,
        })
        .collect();
    requests.push(Request::Load {
        length: blob.len() as u32,
    });
    requests
}

fn options(mode: Mode) -> Options<'static> {
    Options {
        loss: Loss::MeanSquaredError,
        optimizer: Optimizer::adam(),
        mode,
        first_trainable: 0,
        penalties: &[],
        math: Math::Exact,
    }
}

const ONE_BY_ONE: Mode = Mode::Accumulate { batch: 1 };
const DONE: Answer<'static> = Answer::Done { ticks: 0 };

#[test]
fn an_uploaded_model_answers_with_the_desktops_bits() {
    let (network, parameters, blob) = model();
    let run = |layers, input: &[f32], length| {
        let (mut output, mut workspace) = (vec![0.0; length], vec![0.0; 16]);
        let executor = Sequential::<Portable>::new();
        Inference {
            executor: &executor,
            network: &network,
            parameters: &parameters,
            math: Math::Exact,
        }
        .run(layers, input, &mut output, &mut workspace)
        .unwrap();
        output
    };
    let (input, code) = (bytes_of(&INPUT), bytes_of(&run(0..1, &INPUT, 2)));
    let read = |buffer, length| Request::Read {
        buffer,
        offset: 0,
        length,
    };
    let mut requests = upload(&blob);
    requests.extend([
        Request::Write {
            buffer: Buffer::Input,
            offset: 0,
            bytes: &input[..7],
        },
        Request::Write {
            buffer: Buffer::Input,
            offset: 7,
            bytes: &input[7..],
        },
        Request::Run(Part::Reconstruct),
        read(Buffer::Output, 20),
        Request::Run(Part::Encode),
        read(Buffer::Output, 8),
        Request::Write {
            buffer: Buffer::Input,
            offset: 0,
            bytes: &code,
        },
        Request::Run(Part::Decode),
        read(Buffer::Output, 20),
        read(Buffer::Parameters, 4 * parameters.len() as u32),
        Request::Read {
            buffer: Buffer::Input,
            offset: 4,
            length: 4,
        },
    ]);
    let answers = ask(&requests, &mut Memory([0xA5; LINK + 1000]).0);
    let (uploads, answers) = answers.split_at(upload(&blob).len());
    assert!(uploads.iter().all(|answer| *answer == DONE), "{uploads:?}");
    let (output, parameters) = (bytes_of(&run(0..2, &INPUT, 5)), bytes_of(&parameters));
    let ran = Answer::Done { ticks: 1 };
    let expected = [
        DONE,
        DONE,
        ran,
        Answer::Bytes(&output),
        ran,
        Answer::Bytes(&code),
        DONE,
        ran,
        Answer::Bytes(&output),
        Answer::Bytes(&parameters),
        Answer::Bytes(&code[4..]),
    ];
    assert_eq!(answers, expected);
}

#[test]
fn training_gives_the_desktops_losses_and_parameters() {
    for mode in [ONE_BY_ONE, Mode::Fused] {
        let (network, mut parameters, blob) = model();
        let samples = if mode == Mode::Fused { 1 } else { 3 };
        let inputs: Vec<Vec<f32>> = (0..samples)
            .map(|index| INPUT.map(|x| x + index as f32 / 8.0).to_vec())
            .collect();
        let input_bytes: Vec<Vec<u8>> = inputs.iter().map(|input| bytes_of(input)).collect();
        let target = bytes_of(&TARGET);
        let mut requests = upload(&blob);
        requests.push(Request::TrainStart(options(mode)));
        for bytes in &input_bytes {
            requests.push(Request::Write {
                buffer: Buffer::Input,
                offset: 0,
                bytes,
            });
            requests.push(Request::Write {
                buffer: Buffer::Target,
                offset: 0,
                bytes: &target,
            });
            requests.push(Request::Train);
        }
        if mode != Mode::Fused {
            requests.push(Request::Apply);
        }
        // Inference works while training goes on.
        requests.push(Request::Run(Part::Reconstruct));
        requests.push(Request::Read {
            buffer: Buffer::Parameters,
            offset: 0,
            length: 4 * parameters.len() as u32,
        });
        let answers = ask(&requests, &mut Memory([0xA5; LINK + 2000]).0);

        let desktop = options(if mode == Mode::Fused {
            mode
        } else {
            Mode::Accumulate { batch: samples }
        });
        let mut memory = vec![0.0; memory_len(&network, &desktop).unwrap()];
        let mut trainer = Trainer::new(&network, desktop, &mut memory).unwrap();
        let executor = Sequential::<Portable>::new();
        let loss = trainer
            .step(
                &executor,
                &mut parameters,
                &inputs.concat(),
                &TARGET.repeat(samples),
            )
            .unwrap();
        let losses: Vec<f64> = answers
            .iter()
            .filter_map(|answer| match answer {
                Answer::Loss { loss, ticks: 1 } => Some(*loss),
                _ => None,
            })
            .collect();
        assert_eq!(
            (losses.len(), losses.iter().sum::<f64>() / samples as f64),
            (samples, loss),
            "{mode:?}"
        );
        assert_eq!(
            answers.last(),
            Some(&Answer::Bytes(&bytes_of(&parameters))),
            "{mode:?}"
        );
    }
}

#[test]
fn memory_is_enough_to_the_byte_and_one_byte_fewer_is_an_error_that_says_how_many() {
    let (network, _, blob) = model();
    let numbers = 5 + 5 + inference::workspace_len(&network, 0..2, 1);
    let training = 5 + memory_len(&network, &options(ONE_BY_ONE)).unwrap();
    let for_blob = blob.len().next_multiple_of(16);
    let (inference_bytes, training_bytes) = (4 * numbers, 4 * training);
    let mut requests = upload(&blob);
    requests.extend([Request::TrainStart(options(ONE_BY_ONE)), Request::Info]);
    let mut memory = Memory([0; LINK + 2000]);
    let mut ask_with = |bytes: usize| {
        let (used, guard) = memory.0.split_at_mut(LINK + bytes);
        guard.fill(0x5A);
        let answers = ask(&requests, used);
        assert!(
            guard.iter().all(|byte| *byte == 0x5A),
            "bytes behind the memory were written"
        );
        answers
    };
    let total = for_blob + inference_bytes + training_bytes;
    let answers = ask_with(total);
    assert_eq!(answers[answers.len() - 2], DONE);
    match answers.last() {
        Some(Answer::Info(info)) => {
            let model = info.model.unwrap();
            let given = (
                info.memory,
                model.blob_bytes,
                model.inference_bytes,
                model.training_bytes,
            );
            assert_eq!(
                given,
                (
                    total as u32,
                    for_blob as u32,
                    inference_bytes as u32,
                    training_bytes as u32
                )
            );
            assert_eq!(
                (model.name, model.input, model.code, model.output),
                ("small", 5, 2, 5)
            );
        }
        other => panic!("expected what the device is, not {other:?}"),
    }
    let answers = ask_with(total - 1);
    let expected = Error::BufferTooSmall {
        what: "memory for training",
        needed: training_bytes,
        given: training_bytes - 1,
    };
    assert_eq!(core_error(answers[answers.len() - 2]), expected);
    let answers = ask_with(for_blob + inference_bytes - 1);
    let expected = Error::BufferTooSmall {
        what: "memory for inference",
        needed: inference_bytes,
        given: inference_bytes - 1,
    };
    assert_eq!(core_error(answers[answers.len() - 3]), expected);
    let answers = ask_with(for_blob - 1);
    let (end, available) = (blob.len() as u64, for_blob as u32 - 1);
    let expected = Refusal::Range {
        buffer: Buffer::Model,
        end,
        available,
    };
    assert_eq!(answers[answers.len() - 3], Answer::Refused(expected));
}

#[test]
fn memory_that_is_too_small_for_the_line_is_an_error_that_says_how_many_bytes() {
    let (needed, given) = (MESSAGE + FRAME, MESSAGE + FRAME - 1);
    let expected = Error::BufferTooSmall {
        what: "memory of the link",
        needed,
        given,
    };
    assert_eq!(
        serve(&mut Scripted::default(), &mut vec![0; given]),
        Err(expected)
    );
    assert_eq!(
        serve(&mut Scripted::default(), &mut vec![0; needed]),
        Ok(())
    );
}

#[test]
fn what_cannot_be_done_now_or_at_all_is_refused() {
    let (_, parameters, blob) = model();
    let mut memory = Memory([0; LINK + 2000]);
    let refused = |requests: &[Request<'_>], memory: &mut [u8]| match ask(requests, memory).last() {
        Some(Answer::Refused(refusal)) => *refusal,
        other => panic!("expected a refusal, not {other:?}"),
    };
    for request in [
        Request::Run(Part::Encode),
        Request::Train,
        Request::Apply,
        Request::TrainStart(options(Mode::Fused)),
    ] {
        assert_eq!(
            refused(&[request], &mut memory.0),
            Refusal::NoModel,
            "{request:?}"
        );
    }
    let (bytes, offset) = (&[1, 2, 3][..], 0);
    let read = |buffer, offset, length| Request::Read {
        buffer,
        offset,
        length,
    };
    let range = |buffer, end, available| Refusal::Range {
        buffer,
        end,
        available,
    };
    let parameter_bytes = 4 * parameters.len() as u32;
    let cases = [
        (Request::Train, Refusal::NoTraining),
        (Request::Apply, Refusal::NoTraining),
        (
            Request::Write {
                buffer: Buffer::Target,
                offset,
                bytes,
            },
            Refusal::NoTraining,
        ),
        (
            Request::Write {
                buffer: Buffer::Output,
                offset,
                bytes,
            },
            Refusal::NotWritten(Buffer::Output),
        ),
        (
            Request::Write {
                buffer: Buffer::Parameters,
                offset,
                bytes,
            },
            Refusal::NotWritten(Buffer::Parameters),
        ),
        (read(Buffer::Model, 0, 1), Refusal::NotRead(Buffer::Model)),
        (read(Buffer::Target, 0, 1), Refusal::NotRead(Buffer::Target)),
        (
            Request::Write {
                buffer: Buffer::Input,
                offset: 18,
                bytes,
            },
            range(Buffer::Input, 21, 20),
        ),
        (
            Request::Write {
                buffer: Buffer::Input,
                offset: u32::MAX,
                bytes,
            },
            range(Buffer::Input, u64::from(u32::MAX) + 3, 20),
        ),
        (read(Buffer::Output, 1, 20), range(Buffer::Output, 21, 20)),
        (
            read(Buffer::Parameters, u32::MAX, u32::MAX),
            range(Buffer::Parameters, 2 * u64::from(u32::MAX), parameter_bytes),
        ),
        (
            Request::Load { length: u32::MAX },
            range(Buffer::Model, u32::MAX.into(), 2000),
        ),
    ];
    for (request, expected) in cases {
        let mut requests = upload(&blob);
        requests.push(request);
        assert_eq!(refused(&requests, &mut memory.0), expected, "{request:?}");
    }
}

#[test]
fn a_blob_with_any_byte_changed_or_cut_is_refused_and_none_is_loaded() {
    let (_, _, blob) = model();
    let mut memory = Memory([0; LINK + 2000]);
    let mut last_two = |blob: &[u8]| {
        let mut requests = upload(blob);
        requests.push(Request::Run(Part::Reconstruct));
        let answers = ask(&requests, &mut memory.0);
        (
            core_error(answers[answers.len() - 2]),
            answers[answers.len() - 1],
        )
    };
    for index in 0..blob.len() {
        let mut changed = blob.clone();
        changed[index] ^= 0x10;
        let (error, after) = last_two(&changed);
        assert!(matches!(error, Error::Blob(_)), "byte {index}: {error:?}");
        assert_eq!(after, Answer::Refused(Refusal::NoModel));
        let (error, after) = last_two(&blob[..index]);
        assert!(matches!(error, Error::Blob(_)), "{index} bytes: {error:?}");
        assert_eq!(after, Answer::Refused(Refusal::NoModel));
    }
}

#[test]
fn a_model_that_wants_other_numbers_than_f32_is_refused_by_name_and_none_is_loaded() {
    let (_, _, blob) = model_of(InputKind::Raw {
        scale: 0.5,
        zero_point: 0,
    });
    let mut requests = upload(&blob);
    requests.push(Request::Run(Part::Reconstruct));
    let answers = ask(&requests, &mut Memory([0; LINK + 2000]).0);
    assert_eq!(
        core_error(answers[answers.len() - 2]).to_string(),
        "input kind: the device takes f32, but the model wants other numbers"
    );
    assert_eq!(answers.last(), Some(&Answer::Refused(Refusal::NoModel)));
}

/// A board whose name is longer than a message.
#[derive(Default)]
struct LongName(Scripted);

impl Board for LongName {
    type Serial = Scripted;
    type Light = Scripted;
    type Delay = Scripted;
    type Machine = Portable;

    const NAME: &'static str = match str::from_utf8(&[b'n'; MESSAGE]) {
        Ok(name) => name,
        Err(_) => panic!("ASCII is UTF-8"),
    };
    const TICKS_PER_SECOND: u32 = 1000;

    fn serial(&mut self) -> &mut Scripted {
        &mut self.0
    }

    fn light(&mut self) -> &mut Scripted {
        &mut self.0
    }

    fn delay(&mut self) -> &mut Scripted {
        &mut self.0
    }

    fn ticks(&self) -> u32 {
        self.0.ticks()
    }
}

#[test]
fn an_answer_that_is_longer_than_a_message_becomes_a_refusal_and_not_silence() {
    let mut board = LongName::default();
    board.0.incoming.extend(frame(7, Request::Info));
    board.0.incoming.extend(frame(8, Request::Train));
    serve(&mut board, &mut Memory([0; LINK + 1000]).0).unwrap();
    let refusals = [
        Refusal::AnswerTooLong {
            limit: MESSAGE as u32,
        },
        Refusal::NoModel,
    ];
    assert_eq!(
        answers_in(&board.0.outgoing),
        [
            (7, Answer::Refused(refusals[0])),
            (8, Answer::Refused(refusals[1]))
        ]
    );
}

#[test]
fn a_model_is_replaced_at_any_time_and_a_training_run_begun_anew() {
    let (_, _, blob) = model();
    let mut requests = upload(&blob);
    requests.extend([
        Request::TrainStart(options(Mode::Fused)),
        Request::Train,
        Request::TrainStart(options(ONE_BY_ONE)),
    ]);
    let trained = requests.len();
    requests.extend(upload(&blob));
    requests.extend([
        Request::Run(Part::Reconstruct),
        Request::Load { length: 40 },
        Request::Info,
    ]);
    let answers = ask(&requests, &mut Memory([0; LINK + 2000]).0);
    assert_eq!(answers[trained - 1], DONE);
    let after = &answers[trained + upload(&blob).len() - 1..];
    assert_eq!(after[..2], [DONE, Answer::Done { ticks: 1 }]);
    let problem = BlobProblem::Length {
        expected: blob.len() as u64,
        given: 40,
    };
    assert_eq!(core_error(after[2]), Error::Blob(problem));
    assert!(matches!(
        after[3],
        Answer::Info(message::Info {
            model: None,
            board: "scripted",
            ..
        })
    ));
}

#[test]
fn a_request_that_comes_again_is_answered_again_and_done_once() {
    let (_, _, blob) = model();
    let (input, target) = (bytes_of(&INPUT), bytes_of(&TARGET));
    let mut requests = upload(&blob);
    requests.extend([
        Request::TrainStart(options(Mode::Fused)),
        Request::Write {
            buffer: Buffer::Input,
            offset: 0,
            bytes: &input,
        },
        Request::Write {
            buffer: Buffer::Target,
            offset: 0,
            bytes: &target,
        },
        Request::Train,
        Request::Read {
            buffer: Buffer::Parameters,
            offset: 0,
            length: 100,
        },
    ]);
    let frames: Vec<Vec<Event>> = (1..)
        .zip(&requests)
        .map(|(sequence, request)| frame(sequence, *request))
        .collect();
    let once = converse(frames.concat(), &mut Memory([0; LINK + 2000]).0).0;
    // Each again, and between the two a damaged frame: the answer must not be lost by that.
    let noise = [5, 9, 0].map(Event::Byte).to_vec();
    let twice = frames
        .iter()
        .flat_map(|frame| [frame.clone(), noise.clone(), frame.clone()].concat())
        .collect();
    let twice = converse(twice, &mut Memory([0; LINK + 2000]).0).0;
    let damaged = (0, Answer::Refused(Refusal::Damaged));
    let expected: Vec<_> = once
        .iter()
        .flat_map(|answer| [*answer, damaged, *answer])
        .collect();
    assert_eq!(twice, expected);
}

#[test]
fn a_port_that_fails_is_tried_again_after_a_pause() {
    let mut script = frame(7, Request::Info);
    script.truncate(3);
    script.extend([Event::Failure; 3]);
    script.extend(frame(8, Request::Info));
    let (answers, board) = converse(script, &mut Memory([0; LINK]).0);
    assert!(matches!(answers[..], [(8, Answer::Info(_))]), "{answers:?}");
    assert_eq!(board.waited_ns, 30_000_000);
}

#[test]
fn another_version_and_an_unknown_request_are_refused_by_name() {
    let mut buffer = [0; FRAME];
    let mut script = vec![];
    for (version, body) in [(VERSION + 1, 200), (VERSION, 200)] {
        let frame = frame::encode(
            message::Header {
                version,
                sequence: 9,
            },
            &body,
            &mut buffer,
        )
        .unwrap();
        script.extend(frame.iter().map(|byte| Event::Byte(*byte)));
    }
    let (answers, _) = converse(script, &mut Memory([0; LINK]).0);
    let refused = |refusal| (9, Answer::Refused(refusal));
    assert_eq!(
        answers,
        [
            refused(Refusal::Version { device: VERSION }),
            refused(Refusal::NotARequest)
        ]
    );
}

#[test]
fn a_frame_that_is_too_long_is_refused() {
    let mut script = vec![Event::Byte(3); FRAME + 100];
    script.push(Event::Byte(0));
    script.extend(frame(1, Request::Info));
    let (answers, _) = converse(script, &mut Memory([0; LINK]).0);
    assert_eq!(
        answers[0],
        (
            0,
            Answer::Refused(Refusal::TooLong {
                limit: MESSAGE as u32
            })
        )
    );
    assert!(matches!(answers[1..], [(1, Answer::Info(_))]));
}

#[test]
fn a_piece_as_long_as_the_device_says_goes_through() {
    let bytes = vec![0x55; PIECE];
    let write = Request::Write {
        buffer: Buffer::Model,
        offset: 0,
        bytes: &bytes,
    };
    assert_eq!(ask(&[write], &mut vec![0; LINK + 16 + PIECE]), [DONE]);
}

/// Any request, mostly with numbers that nearly make sense.
fn any_request() -> impl Strategy<Value = Request<'static>> {
    let buffer = prop::sample::select(vec![
        Buffer::Model,
        Buffer::Input,
        Buffer::Target,
        Buffer::Output,
        Buffer::Parameters,
    ]);
    let number = || prop_oneof![0u32..200, any::<u32>()];
    let mode = prop_oneof![
        (0usize..5).prop_map(|batch| Mode::Accumulate { batch }),
        any::<usize>().prop_map(|batch| Mode::Accumulate { batch }),
        Just(Mode::Fused)
    ];
    let rate = prop_oneof![Just(0.01), any::<f64>()];
    let optimizer = prop_oneof![
        Just(Optimizer::adam()),
        (rate.clone(), rate).prop_map(|(learning_rate, momentum)| Optimizer::Sgd {
            learning_rate,
            momentum
        }),
    ];
    let loss = prop::sample::select(vec![
        Loss::MeanSquaredError,
        Loss::BinaryCrossEntropy,
        Loss::CategoricalCrossEntropy,
    ]);
    let options = (
        loss,
        optimizer,
        mode,
        prop_oneof![0usize..4, any::<usize>()],
        any::<bool>(),
    )
        .prop_map(|(loss, optimizer, mode, first_trainable, exact)| {
            let math = if exact { Math::Exact } else { Math::Fast };
            Request::TrainStart(Options {
                loss,
                optimizer,
                mode,
                first_trainable,
                math,
                penalties: &[],
            })
        });
    prop_oneof![
        Just(Request::Info),
        (
            buffer.clone(),
            number(),
            prop::collection::vec(any::<u8>(), 0..40)
        )
            .prop_map(|(buffer, offset, bytes)| Request::Write {
                buffer,
                offset,
                bytes: bytes.leak()
            }),
        (buffer, number(), number()).prop_map(|(buffer, offset, length)| Request::Read {
            buffer,
            offset,
            length
        }),
        number().prop_map(|length| Request::Load { length }),
        prop::sample::select(vec![Part::Reconstruct, Part::Encode, Part::Decode])
            .prop_map(Request::Run),
        options,
        Just(Request::Train),
        Just(Request::Apply),
    ]
}

proptest! {
    #[test]
    fn whatever_is_asked_for_gets_an_answer(requests in prop::collection::vec(any_request(), 1..20)) {
        let (_, _, blob) = model();
        let mut all = upload(&blob);
        all.extend(requests);
        ask(&all, &mut Memory([0; LINK + 2000]).0);
    }

    #[test]
    fn whatever_comes_over_the_line_the_next_whole_request_is_answered(
        bytes in prop::collection::vec(prop_oneof![4 => any::<u8>().prop_map(Event::Byte), 1 => Just(Event::Byte(0)), 1 => Just(Event::Failure)], 0..500),
    ) {
        let mut script = bytes;
        script.push(Event::Byte(0));
        script.extend(frame(77, Request::Info));
        let (answers, _) = converse(script, &mut Memory([0; LINK + 2000]).0);
        prop_assert!(matches!(answers.last(), Some((77, Answer::Info(_)))));
    }
}
