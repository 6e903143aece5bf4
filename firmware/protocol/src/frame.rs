//! Frames: messages as bytes on the line.
//!
//! | part | bytes |
//! | --- | --- |
//! | header and body, in postcard's encoding | up to [`MESSAGE`] - 4 |
//! | CRC-32 of them (ISO-HDLC), little-endian | 4 |
//!
//! both in the COBS encoding, then a zero. The checksum is checked before anything is decoded.

use core::fmt;

use cobs::{CobsEncoder, DecodeResult, DecoderState};
use serde::{Deserialize, Serialize};

use crate::message::Header;

/// The most bytes that one message writes to a buffer or reads from it.
pub const PIECE: usize = 4096;

/// The most bytes of a message with its checksum. What stands around a piece is smaller than 64 bytes.
pub const MESSAGE: usize = PIECE + 64;

/// The most bytes of a frame with the zero that ends it.
pub const FRAME: usize = cobs::max_encoding_length(MESSAGE) + 1;

const CHECKSUM: usize = 4;
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// A message that is longer than [`MESSAGE`] or than the buffer for its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected a message of at most {MESSAGE} bytes")
    }
}

impl core::error::Error for TooLong {}

/// Puts a message into a frame: the bytes of `frame` that are to be sent.
///
/// # Errors
/// [`TooLong`] where `frame` is too small, or where no receiver would take the message; [`FRAME`] bytes are enough for every
/// message that has no more than a piece in it.
pub fn encode<'f>(
    header: Header,
    body: &impl Serialize,
    frame: &'f mut [u8],
) -> Result<&'f [u8], TooLong> {
    let encoder = Encoder {
        encoder: CobsEncoder::new(frame),
        checksum: CRC.digest(),
        room: MESSAGE,
    };
    let length = postcard::serialize_with_flavor(&(header, body), encoder).map_err(|_| TooLong)?;
    *frame.get_mut(length).ok_or(TooLong)? = 0;
    frame.get(..=length).ok_or(TooLong)
}

/// Takes the bytes of a message, and passes them on as a part of a frame.
struct Encoder<'f> {
    encoder: CobsEncoder<'f>,
    checksum: crc::Digest<'static, u32>,
    /// Bytes that a receiver still has room for: zeros are so short in a frame that more of them would fit into it.
    room: usize,
}

impl Encoder<'_> {
    fn push(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        let full = || postcard::Error::SerializeBufferFull;
        self.room = self.room.checked_sub(bytes.len()).ok_or_else(full)?;
        self.encoder.push(bytes).map_err(|_| full())
    }
}

impl postcard::ser_flavors::Flavor for Encoder<'_> {
    type Output = usize;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // The encoder takes any push as a sign that more bytes follow.
        if bytes.is_empty() {
            return Ok(());
        }
        self.checksum.update(bytes);
        self.push(bytes)
    }

    fn finalize(mut self) -> postcard::Result<usize> {
        let checksum = self.checksum.clone().finalize();
        self.push(&checksum.to_le_bytes())?;
        Ok(self.encoder.finalize())
    }
}

/// Why no message came out of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The checksum or the framing is wrong.
    Damaged,
    /// The frame is longer than the receiver's buffer.
    TooLong,
}

/// A message that has arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// It is the first so many bytes of the receiver's buffer.
    pub length: usize,
    /// Its checksum, by which a repetition is known.
    pub checksum: u32,
}

/// Takes frames off the line byte by byte. After every zero it begins anew.
#[derive(Debug, Default)]
pub struct Receiver {
    state: DecoderState,
    length: usize,
    damage: Option<Damage>,
}

impl Receiver {
    /// A receiver before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one byte. `buffer` keeps what has arrived of a message, and must be the same for all bytes of a frame;
    /// [`MESSAGE`] bytes are enough for every message. `None` as long as no frame has ended.
    pub fn push(&mut self, byte: u8, buffer: &mut [u8]) -> Option<Result<Received, Damage>> {
        match self.state.feed(byte) {
            Ok(DecodeResult::DataContinue(byte)) => match buffer.get_mut(self.length) {
                Some(place) => {
                    *place = byte;
                    self.length = self.length.saturating_add(1);
                }
                None => self.damage = Some(Damage::TooLong),
            },
            Ok(DecodeResult::DataStart | DecodeResult::NoData) => {}
            Ok(DecodeResult::DataComplete) => {
                let whole = Self::check(buffer.get(..self.length).unwrap_or(&[]));
                let result = self.damage.map_or(whole, Err);
                *self = Self::new();
                return Some(result);
            }
            Err(_) => {
                // Only a zero where none may be is an error: the frame was cut.
                let damage = self.damage.unwrap_or(Damage::Damaged);
                *self = Self::new();
                return Some(Err(damage));
            }
        }
        None
    }

    fn check(bytes: &[u8]) -> Result<Received, Damage> {
        let (message, checksum) = bytes
            .split_last_chunk::<CHECKSUM>()
            .ok_or(Damage::Damaged)?;
        let checksum = u32::from_le_bytes(*checksum);
        if CRC.checksum(message) != checksum {
            return Err(Damage::Damaged);
        }
        Ok(Received {
            length: message.len(),
            checksum,
        })
    }
}

/// Splits a message into its header, which is the same in all versions, and the bytes of its body.
///
/// # Errors
/// When there is no header.
pub fn header(message: &[u8]) -> postcard::Result<(Header, &[u8])> {
    postcard::take_from_bytes(message)
}

/// Decodes the whole body of a message.
///
/// # Errors
/// When it is not a `T`, or more than one.
pub fn body<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> postcard::Result<T> {
    match postcard::take_from_bytes(bytes)? {
        (body, []) => Ok(body),
        _ => Err(postcard::Error::DeserializeBadEncoding),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{Answer, Buffer, Request, VERSION};

    fn write(sequence: u16, bytes: &[u8]) -> Vec<u8> {
        let header = Header {
            version: VERSION,
            sequence,
        };
        let request = Request::Write {
            buffer: Buffer::Input,
            offset: u32::MAX,
            bytes,
        };
        let mut frame = [0; FRAME];
        encode(header, &request, &mut frame).unwrap().to_vec()
    }

    /// What a receiver makes of bytes: the bytes that were written by each request, or the damage.
    fn receive(line: &[u8]) -> Vec<Result<(u16, Vec<u8>), Damage>> {
        let (mut receiver, mut buffer, mut results) = (Receiver::new(), [0; MESSAGE], vec![]);
        for byte in line {
            let Some(result) = receiver.push(*byte, &mut buffer) else {
                continue;
            };
            results.push(result.map(|received| {
                let (header, rest) = header(&buffer[..received.length]).unwrap();
                match body(rest) {
                    Ok(Request::Write { bytes, .. }) => (header.sequence, bytes.to_vec()),
                    other => panic!("expected what was sent, not {other:?}"),
                }
            }));
        }
        results
    }

    #[test]
    fn every_piece_fits_into_a_frame_and_one_byte_more_than_a_message_does_not() {
        let bytes: Vec<u8> = (0..PIECE).map(|index| (index % 255 + 1) as u8).collect();
        assert_eq!(
            receive(&write(u16::MAX, &bytes)),
            [Ok((u16::MAX, bytes.clone()))]
        );
        let mut frame = [0; FRAME];
        let header = Header {
            version: VERSION,
            sequence: u16::MAX,
        };
        assert!(encode(header, &Answer::Bytes(&bytes), &mut frame).is_ok());
        for byte in [0, 1] {
            // With the header and the checksum it is longer than a message, though zeros would fit into the frame.
            let answer = Answer::Bytes(&[byte; MESSAGE]);
            assert_eq!(encode(header, &answer, &mut frame), Err(TooLong));
        }
        let exact = write(7, &[1, 0, 2]);
        for length in 0..exact.len() {
            let request = Request::Write {
                buffer: Buffer::Input,
                offset: u32::MAX,
                bytes: &[1, 0, 2],
            };
            let header = Header {
                version: VERSION,
                sequence: 7,
            };
            assert_eq!(
                encode(header, &request, &mut vec![0; length]),
                Err(TooLong),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_an_error_and_the_next_one_arrives() {
        let mut line = vec![1; FRAME + 10];
        line.push(0);
        line.extend(write(3, b"next"));
        assert_eq!(
            receive(&line),
            [Err(Damage::TooLong), Ok((3, b"next".to_vec()))]
        );
    }

    #[test]
    fn a_frame_with_any_bit_flipped_is_never_taken_for_a_message() {
        let frame = write(300, &[0, 1, 0, 0, 255, 254, 3]);
        for index in 0..frame.len() {
            for bit in 0..8 {
                let mut line = frame.clone();
                line[index] ^= 1 << bit;
                // Where the last zero was damaged, the next frame's begins anew.
                line.push(0);
                line.extend(write(4, b"next"));
                let results = receive(&line);
                assert_eq!(
                    results.last(),
                    Some(&Ok((4, b"next".to_vec()))),
                    "byte {index}, bit {bit}"
                );
                let before = &results[..results.len() - 1];
                assert!(
                    before.iter().all(Result::is_err),
                    "byte {index}, bit {bit}: {before:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_arrives(sequence: u16, bytes in proptest::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..=PIECE)) {
            prop_assert_eq!(receive(&write(sequence, &bytes)), [Ok((sequence, bytes))]);
        }

        #[test]
        fn a_frame_cut_anywhere_is_an_error_or_silence_and_the_next_one_arrives(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            place: prop::sample::Index,
        ) {
            let mut line = write(1, &bytes);
            line.truncate(place.index(line.len()));
            line.push(0);
            line.extend(write(2, b"next"));
            let mut results = receive(&line);
            prop_assert_eq!(results.pop(), Some(Ok((2, b"next".to_vec()))));
            // All but the zero was there: the zero that we added makes the frame whole.
            let whole = place.index(write(1, &bytes).len()) + 1 == write(1, &bytes).len();
            prop_assert!(results.len() <= 1 && results.iter().all(|result| result.is_ok() == whole));
        }

        #[test]
        fn whatever_comes_over_the_line_is_a_message_or_an_error(line in proptest::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..2000)) {
            let (mut receiver, mut buffer) = (Receiver::new(), [0; 300]);
            for byte in line {
                if let Some(Ok(received)) = receiver.push(byte, &mut buffer) {
                    prop_assert!(received.length + CHECKSUM <= buffer.len());
                }
            }
        }

        #[test]
        fn whatever_is_in_a_message_is_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((_, rest)) = header(&bytes) {
                let _ = body::<Request<'_>>(rest);
                let _ = body::<Answer<'_>>(rest);
            }
        }
    }
}
