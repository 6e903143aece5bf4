//! The line to the host: requests come in, answers go out.

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::OutputPin;
use embedded_io::{Read, Write};
use narrows_core::error::Error;
use narrows_protocol::frame::{self, Damage, FRAME, MESSAGE, Received, Receiver};
use narrows_protocol::message::{Answer, Header, Refusal, Request, VERSION};

use crate::board::Board;
use crate::log::warning;

/// How long to wait after the serial port has failed, before it is tried again.
const PAUSE_MS: u32 = 10;

/// Why a request was not done.
#[derive(Debug)]
pub(crate) enum Problem {
    /// It cannot be done at all, or not now.
    Refused(Refusal<'static>),
    /// Core found something wrong.
    Core(Error),
}

impl From<Refusal<'static>> for Problem {
    fn from(refusal: Refusal<'static>) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

/// The line, with the request that is being worked on and the last answer.
pub(crate) struct Link<'m> {
    receiver: Receiver,
    message: &'m mut [u8],
    /// The request within `message`.
    request: Received,
    /// Whether the request was handed back to be worked on elsewhere.
    kept: bool,
    frame: &'m mut [u8],
    /// The last answer is the first so many bytes of `frame`.
    answer: usize,
    /// The checksum of the request that it answers.
    answered: Option<u32>,
}

impl<'m> Link<'m> {
    /// Takes what the link needs of the memory; the rest is left.
    pub(crate) fn new(memory: &'m mut [u8]) -> Result<(Self, &'m mut [u8]), Error> {
        let given = memory.len();
        let too_small = Error::BufferTooSmall {
            what: "memory of the link",
            needed: MESSAGE.saturating_add(FRAME),
            given,
        };
        let (message, memory) = memory.split_at_mut_checked(MESSAGE).ok_or(too_small)?;
        let (frame, memory) = memory.split_at_mut_checked(FRAME).ok_or(too_small)?;
        let request = Received {
            length: 0,
            checksum: 0,
        };
        Ok((
            Self {
                receiver: Receiver::new(),
                message,
                request,
                kept: false,
                frame,
                answer: 0,
                answered: None,
            },
            memory,
        ))
    }

    /// Waits for a request, and switches the light on; false when the line has ended.
    ///
    /// A request that was answered already is answered again here: the host did not get the answer.
    pub(crate) fn receive(&mut self, board: &mut impl Board) -> bool {
        if core::mem::take(&mut self.kept) {
            return true;
        }
        loop {
            let mut byte = [0];
            match board.serial().read(&mut byte) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(_) => {
                    warning!("the serial port failed");
                    self.receiver = Receiver::new();
                    board.delay().delay_ms(PAUSE_MS);
                    continue;
                }
            }
            let [byte] = byte;
            match self.receiver.push(byte, self.message) {
                None => {}
                Some(Ok(request)) if self.answered == Some(request.checksum) => self.send(board),
                Some(Ok(request)) => {
                    self.request = request;
                    self.answered = None;
                    let _ = board.light().set_high();
                    return true;
                }
                Some(Err(damage)) => complain(board, damage),
            }
        }
    }

    /// The request that is to be worked on.
    pub(crate) fn request(&self) -> Result<Request<'_>, Refusal<'static>> {
        let message = self.message.get(..self.request.length).unwrap_or(&[]);
        let (header, body) = frame::header(message).map_err(|_| Refusal::NotARequest)?;
        if header.version != VERSION {
            return Err(Refusal::Version { device: VERSION });
        }
        frame::body(body).map_err(|_| Refusal::NotARequest)
    }

    /// Hands the request back: the next [`Link::receive`] gives it again.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }

    /// Answers the request, and switches the light off.
    pub(crate) fn answer(&mut self, board: &mut impl Board, outcome: Result<Answer<'_>, Problem>) {
        let sequence = frame::header(self.message).map_or(0, |(header, _)| header.sequence);
        let header = Header {
            version: VERSION,
            sequence,
        };
        let answer = match outcome {
            Ok(answer) => answer,
            Err(Problem::Refused(refusal)) => Answer::Refused(refusal),
            Err(Problem::Core(error)) => {
                // The request was read, so that its place is free.
                let bytes = postcard::to_slice(&error, self.message).map_or(&[][..], |bytes| bytes);
                Answer::Refused(Refusal::Core(bytes))
            }
        };
        let too_long = Answer::Refused(Refusal::AnswerTooLong {
            limit: MESSAGE as u32,
        });
        self.answer = frame::encode(header, &answer, self.frame)
            .map(<[u8]>::len)
            .or_else(|_| frame::encode(header, &too_long, self.frame).map(<[u8]>::len))
            .unwrap_or(0);
        self.answered = Some(self.request.checksum);
        let _ = board.light().set_low();
        self.send(board);
    }

    fn send(&self, board: &mut impl Board) {
        send(board, self.frame.get(..self.answer).unwrap_or(&[]));
    }
}

/// Says that a frame was damaged. The last answer is kept: the frame may have been the request for it once more.
fn complain(board: &mut impl Board, damage: Damage) {
    let refusal = match damage {
        Damage::Damaged => Refusal::Damaged,
        Damage::TooLong => Refusal::TooLong {
            limit: MESSAGE as u32,
        },
    };
    warning!("a damaged frame came");
    let mut frame = [0; 32];
    let header = Header {
        version: VERSION,
        sequence: 0,
    };
    if let Ok(frame) = frame::encode(header, &Answer::Refused(refusal), &mut frame) {
        send(board, frame);
    }
}

/// An answer that cannot be sent is lost: the host asks again.
fn send(board: &mut impl Board, frame: &[u8]) {
    let serial = board.serial();
    if serial
        .write_all(frame)
        .and_then(|()| serial.flush())
        .is_err()
    {
        warning!("an answer could not be sent");
    }
}
