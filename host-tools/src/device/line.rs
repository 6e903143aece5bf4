//! One request, one answer, over a line on which bytes can get lost.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::{Mutex, PoisonError};
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

    pub(super) fn name(&self) -> &str {
        &self.name
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
            Ok(Answer::Refused(refusal)) => Err(self.refusal(action, refusal)),
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

    /// The error that a refusal is.
    fn refusal(&self, action: &str, refusal: Refusal<'_>) -> Error {
        let refusal = match refusal {
            Refusal::Core(bytes) => match CORES.keep(bytes).map(frame::body) {
                Some(Ok(source)) => {
                    return Error::Core {
                        device: self.name.clone(),
                        action: action.into(),
                        source,
                    };
                }
                Some(Err(_)) => return self.garbage(action, bytes.len(), bytes),
                None => Refusal::Core(&[]),
            },
            // The others hold no bytes of the answer.
            Refusal::Version { device } => Refusal::Version { device },
            Refusal::Damaged => Refusal::Damaged,
            Refusal::TooLong { limit } => Refusal::TooLong { limit },
            Refusal::NotARequest => Refusal::NotARequest,
            Refusal::NoModel => Refusal::NoModel,
            Refusal::NoTraining => Refusal::NoTraining,
            Refusal::NotWritten(buffer) => Refusal::NotWritten(buffer),
            Refusal::NotRead(buffer) => Refusal::NotRead(buffer),
            Refusal::Range {
                buffer,
                end,
                available,
            } => Refusal::Range {
                buffer,
                end,
                available,
            },
            Refusal::AnswerTooLong { limit } => Refusal::AnswerTooLong { limit },
        };
        self.refused(action, refusal)
    }
}

/// Bytes that are kept as long as the program lives, once for each content, and no more than a program can spare.
struct Kept(Mutex<BTreeSet<&'static [u8]>>);

/// What devices' cores have said: core's errors have strings that live as long as the program.
static CORES: Kept = Kept::new();

impl Kept {
    /// A device that means well has a few errors to tell, one that does not can make them up.
    const MOST: usize = 64;

    const fn new() -> Self {
        Self(Mutex::new(BTreeSet::new()))
    }

    /// The same bytes, unless too many others are kept already.
    fn keep(&self, bytes: &[u8]) -> Option<&'static [u8]> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.get(bytes) {
            return Some(*found);
        }
        if kept.len() >= Self::MOST {
            return None;
        }
        let new: &'static [u8] = bytes.to_vec().leak();
        kept.insert(new);
        Some(new)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_kept_once_and_no_more_than_the_limit() {
        let kept = Kept::new();
        let first = kept.keep(&[7, 7]).unwrap();
        for number in 1..Kept::MOST {
            assert_eq!(kept.keep(&[number as u8]), Some(&[number as u8][..]));
        }
        assert_eq!(kept.keep(&[8, 8]), None);
        let again = kept.keep(&[7, 7]).unwrap();
        assert!(std::ptr::eq(first, again));
    }
}
