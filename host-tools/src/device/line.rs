//! One request, one answer, over a line on which bytes can get lost.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::{Duration, Instant};

use narrows_protocol::frame::{self, FRAME, MESSAGE, Receiver};
use narrows_protocol::message::{Answer, Header, Refusal, Request, VERSION};

use super::{Error, Result};

/// The host's end of the line.
#[derive(Debug)]
pub(super) struct Line<S> {
    stream: BufReader<S>,
    name: String,
    attempts: u32,
    sequence: u16,
    frame: Vec<u8>,
    receiver: Receiver,
    message: Vec<u8>,
}

/// What came in the time of one attempt.
enum Arrival {
    /// The answer: the first so many bytes of `message`.
    Answer(usize),
    /// Something that was damaged, on the way here or there.
    Damage,
    /// No frame.
    Nothing,
}

impl<S: Read + Write> Line<S> {
    pub(super) fn new(stream: S, name: String, attempts: u32) -> Self {
        Self {
            stream: BufReader::new(stream),
            name,
            attempts: attempts.max(1),
            sequence: 0,
            frame: vec![0; FRAME],
            receiver: Receiver::new(),
            message: vec![0; MESSAGE],
        }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream.into_inner()
    }

    pub(super) fn into_name(self) -> String {
        self.name
    }

    /// Asks, and takes out of the answer what the caller needs; an answer that `take` does not want is none.
    ///
    /// `action` is what the device is to do, in words, for errors.
    pub(super) fn ask<'s, T>(
        &'s mut self,
        action: &str,
        request: Request<'_>,
        wait: Duration,
        take: impl FnOnce(Answer<'s>) -> Option<T>,
    ) -> Result<T> {
        let length = self.exchange(action, request, wait)?;
        let message = self.message.get(..length).unwrap_or(&[]);
        let body = frame::header(message).and_then(|(_, body)| frame::body(body));
        match body {
            Ok(Answer::Refused(_)) => Err(self.refusal(action, message)),
            Ok(answer) => take(answer).ok_or_else(|| self.garbage(action, length, message)),
            Err(_) => Err(self.garbage(action, length, message)),
        }
    }

    /// Sends the request until an answer comes; the answer's length.
    fn exchange(&mut self, action: &str, request: Request<'_>, wait: Duration) -> Result<usize> {
        // A device says 0 where it could not read the number.
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        let header = Header {
            version: VERSION,
            sequence: self.sequence,
        };
        // A piece is cut so that it fits.
        let length = frame::encode(header, &request, &mut self.frame).map_or(0, <[u8]>::len);
        let start = Instant::now();
        let (mut bytes, mut first) = (0, Vec::new());
        for _ in 0..self.attempts {
            let arrival = self
                .send(length)
                .and_then(|()| self.receive(wait, &mut bytes, &mut first));
            match arrival {
                Ok(Arrival::Answer(length)) => return Ok(length),
                Ok(Arrival::Damage | Arrival::Nothing) => {}
                Err(error) if is_timeout(&error) => {}
                Err(source) => {
                    return Err(Error::Gone {
                        device: self.name.clone(),
                        action: action.into(),
                        source,
                    });
                }
            }
        }
        if bytes == 0 {
            return Err(Error::Silent {
                device: self.name.clone(),
                action: action.into(),
                waited: start.elapsed(),
            });
        }
        Err(self.garbage(action, bytes, &first))
    }

    fn send(&mut self, length: usize) -> io::Result<()> {
        let stream = self.stream.get_mut();
        // The zero ends whatever the device has taken for the beginning of a frame.
        stream.write_all(&[0])?;
        stream.write_all(self.frame.get(..length).unwrap_or(&[]))?;
        stream.flush()
    }

    /// Waits for the answer to the present request. `bytes` counts what comes, and `first` keeps its beginning.
    fn receive(
        &mut self,
        wait: Duration,
        bytes: &mut usize,
        first: &mut Vec<u8>,
    ) -> io::Result<Arrival> {
        let start = Instant::now();
        while start.elapsed() < wait {
            let chunk = match self.stream.fill_buf() {
                Ok([]) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has ended")),
                Ok(chunk) => chunk,
                Err(error) if is_timeout(&error) || error.kind() == io::ErrorKind::Interrupted => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (mut used, mut arrival) = (0, None);
            for byte in chunk {
                used += 1;
                if first.len() < 8 {
                    first.push(*byte);
                }
                arrival = match self.receiver.push(*byte, &mut self.message) {
                    None => continue,
                    Some(Err(_)) => Some(Arrival::Damage),
                    Some(Ok(received)) => {
                        let message = self.message.get(..received.length).unwrap_or(&[]);
                        match frame::header(message) {
                            Ok((header, _)) if header.sequence == self.sequence => {
                                Some(Arrival::Answer(received.length))
                            }
                            Ok((header, _)) if header.sequence == 0 => Some(Arrival::Damage),
                            // The answer to an earlier request, said twice.
                            _ => continue,
                        }
                    }
                };
                break;
            }
            self.stream.consume(used);
            *bytes += used;
            if let Some(arrival) = arrival {
                return Ok(arrival);
            }
        }
        Ok(Arrival::Nothing)
    }

    pub(super) fn refused(&self, action: &str, refusal: Refusal<'static>) -> Error {
        Error::Refused {
            device: self.name.clone(),
            action: action.into(),
            refusal,
        }
    }

    fn garbage(&self, action: &str, bytes: usize, first: &[u8]) -> Error {
        let first = first.iter().copied().take(8).collect();
        Error::Garbage {
            device: self.name.clone(),
            action: action.into(),
            bytes,
            first,
        }
    }

    /// The error that a refusal is. Core's errors have strings that live as long as the program, so the bytes of a refusal,
    /// a few dozen, are kept as long.
    fn refusal(&self, action: &str, message: &[u8]) -> Error {
        let kept: &'static [u8] = message.to_vec().leak();
        match frame::header(kept).and_then(|(_, body)| frame::body(body)) {
            Ok(Answer::Refused(Refusal::Core(error))) => match frame::body(error) {
                Ok(source) => Error::Core {
                    device: self.name.clone(),
                    action: action.into(),
                    source,
                },
                Err(_) => self.garbage(action, message.len(), message),
            },
            Ok(Answer::Refused(refusal)) => self.refused(action, refusal),
            _ => self.garbage(action, message.len(), message),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}
