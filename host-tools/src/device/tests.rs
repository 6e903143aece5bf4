//! The host's side against a stand-in that is a script: no device, and no emulator.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use narrows_core::optimizer::Optimizer;
use narrows_protocol::frame::{self, FRAME, MESSAGE, Receiver};
use narrows_protocol::message::{Header, VERSION};

use super::*;

/// For devices that do not answer.
const PATIENCE: Patience = Patience {
    message: Duration::from_millis(80),
    computation: Duration::from_millis(80),
    attempts: 3,
};
/// For those that do, on a machine that may be busy.
const MORE_PATIENCE: Patience = Patience {
    message: Duration::from_secs(1),
    computation: Duration::from_secs(1),
    attempts: 3,
};

/// The device's end of the line.
struct StandIn {
    line: TcpStream,
    receiver: Receiver,
}

impl StandIn {
    /// The next request's number, and its body as bytes; nothing when the host has hung up.
    fn receive(&mut self) -> Option<(u16, Vec<u8>)> {
        let mut buffer = [0; MESSAGE];
        loop {
            let mut byte = [0];
            if self.line.read(&mut byte).unwrap_or(0) == 0 {
                return None;
            }
            if let Some(received) = self.receiver.push(byte[0], &mut buffer) {
                let (header, body) = frame::header(&buffer[..received.unwrap().length]).unwrap();
                return Some((header.sequence, body.to_vec()));
            }
        }
    }

    fn frame(sequence: u16, answer: Answer<'_>) -> Vec<u8> {
        let mut buffer = [0; FRAME];
        frame::encode(
            Header {
                version: VERSION,
                sequence,
            },
            &answer,
            &mut buffer,
        )
        .unwrap()
        .to_vec()
    }

    fn send(&mut self, bytes: &[u8]) {
        self.line.write_all(bytes).unwrap();
    }

    fn answer(&mut self, answer: Answer<'_>) {
        let (sequence, _) = self.receive().unwrap();
        self.send(&Self::frame(sequence, answer));
    }
}

/// A line with a script at its other end.
fn line(script: impl FnOnce(&mut StandIn) + Send + 'static) -> (TcpStream, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    near.set_read_timeout(Some(Duration::from_millis(5)))
        .unwrap();
    let (far, _) = listener.accept().unwrap();
    (
        near,
        thread::spawn(move || {
            script(&mut StandIn {
                line: far,
                receiver: Receiver::new(),
            });
        }),
    )
}

const MODEL: ModelInfo<'static> = ModelInfo {
    name: "small",
    input: 3,
    code: 1,
    output: 2,
    parameters: 9,
    blob_bytes: 48,
    inference_bytes: 20,
    training_bytes: 0,
};
const INFO: Info<'static> = Info {
    schema: SCHEMA,
    board: "stand-in",
    firmware: "0.1.0",
    piece: 8,
    ticks_per_second: 1000,
    memory: 4000,
    model: Some(MODEL),
};
const DONE: Answer<'static> = Answer::Done { ticks: 5 };

/// What a device that greets properly and then follows a script makes of `work`.
fn with<T>(
    script: impl FnOnce(&mut StandIn) + Send + 'static,
    work: impl FnOnce(&mut Device<TcpStream>) -> Result<T>,
) -> Result<T> {
    let (line, script) = line(|device| {
        device.answer(Answer::Info(INFO));
        script(device);
    });
    let mut device = Device::open(line, "/dev/tty7", MORE_PATIENCE).unwrap();
    let result = work(&mut device);
    drop(device);
    script.join().unwrap();
    result
}

/// Takes requests, and answers none.
fn silent(device: &mut StandIn) {
    while device.receive().is_some() {}
}

fn message<T>(result: Result<T>) -> String {
    let message = result.err().expect("an error").to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn a_sample_goes_to_the_device_in_pieces_and_the_answer_comes_back_in_pieces() {
    let result = with(
        |device| {
            let number = |x: f32| x.to_le_bytes();
            let input = [number(1.0), number(-2.0), number(0.5)].concat();
            let expected = [
                Request::Write {
                    buffer: Buffer::Input,
                    offset: 0,
                    bytes: &input[..8],
                },
                Request::Write {
                    buffer: Buffer::Input,
                    offset: 8,
                    bytes: &input[8..],
                },
                Request::Run(Part::Reconstruct),
                Request::Read {
                    buffer: Buffer::Output,
                    offset: 0,
                    length: 8,
                },
            ];
            let output = [number(0.25), number(-0.0)].concat();
            for (request, answer) in
                expected
                    .into_iter()
                    .zip([DONE, DONE, DONE, Answer::Bytes(&output)])
            {
                let (sequence, body) = device.receive().unwrap();
                assert_eq!(frame::body(&body), Ok(request));
                device.send(&StandIn::frame(sequence, answer));
            }
        },
        |device| device.reconstruct(&[1.0, -2.0, 0.5]),
    );
    let answer = result.unwrap();
    assert_eq!(
        answer
            .values
            .iter()
            .map(|x| x.to_bits())
            .collect::<Vec<_>>(),
        [0x3E80_0000, 0x8000_0000]
    );
    assert_eq!(answer.ticks, 5);
}

#[test]
fn a_batch_is_trained_sample_by_sample_and_then_applied() {
    let options = |mode| Options {
        loss: narrows_core::loss::Loss::MeanSquaredError,
        optimizer: Optimizer::adam(),
        mode,
        first_trainable: 0,
        penalties: &[],
        math: narrows_core::math::Math::Exact,
    };
    for (mode, applies) in [(Mode::Accumulate { batch: 1 }, 1), (Mode::Fused, 0)] {
        let result = with(
            move |device| {
                device.answer(DONE);
                for loss in [0.5, 0.25] {
                    for _ in 0..3 {
                        device.answer(DONE);
                    }
                    device.answer(Answer::Loss { loss, ticks: 100 });
                }
                for _ in 0..applies {
                    let (sequence, body) = device.receive().unwrap();
                    assert_eq!(frame::body(&body), Ok(Request::Apply));
                    device.send(&StandIn::frame(sequence, DONE));
                }
                assert_eq!(device.receive(), None);
            },
            |device| {
                device.train_start(options(mode))?;
                device.train(&[0.0; 6], &[0.0; 4])
            },
        );
        assert_eq!(
            result.unwrap(),
            Trained {
                loss: 0.375,
                ticks: 200 + 5 * applies
            },
            "{mode:?}"
        );
    }
}

#[test]
fn a_device_that_says_nothing_is_an_error_after_all_attempts() {
    let (line, script) = line(silent);
    let start = Instant::now();
    let result = Device::open(line, "/dev/tty7", PATIENCE);
    assert!(start.elapsed() >= 3 * PATIENCE.message);
    let message = message(result);
    assert!(
        message.starts_with(
            "/dev/tty7: expected an answer while it was to say what it is, but nothing came in 0."
        ),
        "{message}"
    );
    script.join().unwrap();
}

#[test]
fn a_device_that_answers_garbage_is_an_error_that_shows_its_beginning() {
    let (line, script) = line(|device| {
        while device.receive().is_some() {
            device.send(b"login: \0\0\0hello\0");
        }
    });
    let message = message(Device::open(line, "/dev/tty7", PATIENCE));
    assert!(
        message.contains("bytes came that are none, the first [6c, 6f, 67, 69, 6e, 3a, 20, 00]"),
        "{message}"
    );
    script.join().unwrap();
}

#[test]
fn a_device_that_never_stops_talking_is_an_error_in_time() {
    let (line, script) = line(
        |device| {
            while device.line.write_all(&[0x55; 512]).is_ok() {}
        },
    );
    let start = Instant::now();
    assert!(matches!(
        Device::open(line, "/dev/tty7", PATIENCE),
        Err(Error::Garbage { .. })
    ));
    assert!(start.elapsed() < Duration::from_secs(10));
    script.join().unwrap();
}

#[test]
fn an_answer_to_another_request_than_the_one_asked_is_garbage() {
    let result = with(
        |device| device.answer(Answer::Bytes(&[1])),
        |device| device.load(&[0; 4]),
    );
    assert!(matches!(result, Err(Error::Garbage { .. })), "{result:?}");
    let wrong_length = with(
        |device| device.answer(Answer::Bytes(&[1])),
        Device::parameters,
    );
    assert!(
        matches!(wrong_length, Err(Error::Garbage { .. })),
        "{wrong_length:?}"
    );
}

#[test]
fn a_device_unplugged_in_mid_upload_is_an_error_that_says_how_far_it_was() {
    let result = with(
        |device| (0..3).for_each(|_| device.answer(DONE)),
        |device| device.load(&[0; 100]),
    );
    let message = message(result);
    assert!(
        message.starts_with(
            "/dev/tty7: the connection broke while it was to take the model from byte 24 on: "
        ),
        "{message}"
    );
}

#[test]
fn firmware_of_another_release_is_an_error_that_says_to_flash() {
    let (line, script) = line(|device| {
        device.answer(Answer::Info(Info {
            schema: 0xBAD,
            ..INFO
        }));
    });
    let message = message(Device::open(line, "/dev/tty7", MORE_PATIENCE));
    assert!(
        message.ends_with("but it has 00000bad: flash the firmware of this release"),
        "{message}"
    );
    script.join().unwrap();
}

#[test]
fn what_the_device_refuses_is_an_error_with_its_facts() {
    let refusal = Refusal::Range {
        buffer: Buffer::Model,
        end: 100,
        available: 64,
    };
    let result = with(
        move |device| device.answer(Answer::Refused(refusal)),
        |device| device.load(&[0; 100]),
    );
    let expected = "/dev/tty7: cannot take the model from byte 0 on: model: the request goes up to byte 100, but 64 are available";
    assert_eq!(message(result), expected);

    let error = narrows_core::error::Error::BufferTooSmall {
        what: "memory for inference",
        needed: 20,
        given: 19,
    };
    let refuse = move |device: &mut StandIn| {
        device.answer(DONE);
        let mut buffer = [0; 64];
        device.answer(Answer::Refused(Refusal::Core(
            postcard::to_slice(&error, &mut buffer).unwrap(),
        )));
    };
    let result = with(refuse, |device| device.load(&[0; 4]));
    assert!(
        matches!(&result, Err(Error::Core { source, .. }) if *source == error),
        "{result:?}"
    );
    let expected = "/dev/tty7: cannot load the model: memory for inference: 20 bytes are needed, but 19 were given";
    assert_eq!(message(result), expected);
}

#[test]
fn numbers_that_do_not_fit_the_model_are_not_sent() {
    let result = with(
        |device| assert_eq!(device.receive(), None),
        |device| device.encode(&[0.0; 4]),
    );
    assert_eq!(message(result), "input: expected 3 numbers, but 4 came");
    let result = with(
        |device| assert_eq!(device.receive(), None),
        |device| device.train(&[0.0; 6], &[0.0; 3]),
    );
    assert_eq!(message(result), "targets: expected 4 numbers, but 3 came");
}

#[test]
fn a_lost_or_damaged_message_is_sent_again_as_the_same_bytes() {
    let output = [0; 8];
    let result = with(
        move |device| {
            // Lost on the way back.
            let lost = device.receive().unwrap();
            // Answered, and damaged on the way back.
            let again = device.receive().unwrap();
            assert_eq!(again, lost);
            let mut damaged = StandIn::frame(again.0, DONE);
            damaged[2] ^= 1;
            device.send(&damaged);
            let again = device.receive().unwrap();
            assert_eq!(again, lost);
            device.send(&StandIn::frame(again.0, DONE));
            // Answers that come twice are passed over.
            device.send(&StandIn::frame(again.0, DONE));
            device.send(&StandIn::frame(again.0, DONE));
            device.answer(DONE);
            // Damaged on the way to the device.
            let sent = device.receive().unwrap();
            device.send(&StandIn::frame(0, Answer::Refused(Refusal::Damaged)));
            assert_eq!(device.receive().unwrap(), sent);
            device.send(&StandIn::frame(sent.0, DONE));
            device.answer(Answer::Bytes(&output));
        },
        |device| device.reconstruct(&[0.0; 3]),
    );
    assert_eq!(
        result.unwrap(),
        Computed {
            values: vec![0.0; 2],
            ticks: 5
        }
    );
}

#[test]
fn an_upload_tells_how_far_it_is() {
    let mut steps = vec![];
    let result = with(
        |device| {
            (0..4).for_each(|_| device.answer(DONE));
            device.answer(Answer::Info(Info {
                model: None,
                ..INFO
            }));
        },
        |device| device.load_with(&[0; 20], |done| steps.push(done)),
    );
    result.unwrap();
    assert_eq!(steps, [8, 16, 20]);
}

#[test]
fn without_a_model_nothing_is_computed() {
    let work = |device: &mut Device<TcpStream>| {
        device.info()?;
        device.reconstruct(&[0.0; 3])
    };
    let result = with(
        |device| {
            device.answer(Answer::Info(Info {
                model: None,
                ..INFO
            }));
        },
        work,
    );
    assert_eq!(
        message(result),
        "/dev/tty7: cannot run a model: no model is loaded"
    );
}

#[test]
fn a_serial_port_that_is_not_there_is_an_error_that_lists_those_that_are() {
    let message = message(serial::open("/dev/no-such-port", serial::BAUD));
    assert!(
        message.starts_with("/dev/no-such-port: cannot open the serial port: "),
        "{message}"
    );
    assert!(
        message.contains("; the ports of this computer: "),
        "{message}"
    );
}
