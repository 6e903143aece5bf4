//! WAV: a recording of one or more channels, as integers or real numbers that stay in the file.
//!
//! Integers are counts, as in every other format: `scale = 1/32768` takes those of 16 bits to the range from -1 to 1. Those
//! of 8 bits have no sign, as the format has it; `offset = 128` is silence.

use std::io;

use super::numbers::{Numbers, Source};
use super::{Array, Kind};
use crate::error::{Error, Result};

/// Whether bytes begin as a WAV.
pub(super) fn is_wav(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WAVE")
}

/// The recording `[frame][channel]`, which must have the rate `sample_rate` where one is expected.
///
/// # Errors
/// [`Error::Data`] where it is not a whole recording of numbers that are not compressed, or of another rate.
pub(super) fn open(source: Source, place: String, sample_rate: Option<u32>) -> Result<Array> {
    let error = |expected: String, given: String| Error::Data {
        place: place.clone(),
        expected,
        given,
    };
    let broken = |cause: hound::Error| {
        let given = match cause {
            hound::Error::IoError(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
                "it ends too early".into()
            }
            // The reader says of a file that ends within a number that it has too few bytes.
            cause => cause.to_string(),
        };
        error("a whole recording".into(), given)
    };
    let reader = hound::WavReader::new(source.reader()).map_err(broken)?;
    let (spec, count) = (reader.spec(), reader.len() as usize);
    let offset = reader.into_inner().at;
    // How many bytes a number takes is only to be seen from how far the reader goes to read one.
    let mut reader = hound::WavReader::new(source.reader()).map_err(broken)?;
    match spec.sample_format {
        hound::SampleFormat::Int => reader.samples::<i32>().next().map(|x| x.map(drop)),
        hound::SampleFormat::Float => reader.samples::<f32>().next().map(|x| x.map(drop)),
    }
    .unwrap_or(Ok(()))
    .map_err(broken)?;
    let width = reader.into_inner().at - offset;
    let kind = match (spec.sample_format, spec.bits_per_sample, width) {
        _ if count == 0 => Kind::U8,
        (hound::SampleFormat::Int, 8, 1) => Kind::U8,
        (hound::SampleFormat::Int, 16, 2) => Kind::I16,
        (hound::SampleFormat::Int, 24, 3) => Kind::I24,
        (hound::SampleFormat::Int, 32, 4) => Kind::I32,
        (hound::SampleFormat::Float, 32, 4) => Kind::F32,
        (format, bits, bytes) => {
            return Err(error(
                "integers of 8, 16, 24 or 32 bits or real numbers of 32".into(),
                format!("{format:?} of {bits} bits in {bytes} bytes came"),
            ));
        }
    };
    if let Some(expected) = sample_rate.filter(|expected| *expected != spec.sample_rate) {
        let given = spec.sample_rate;
        return Err(error(
            format!("{expected} frames a second"),
            format!("{given} came"),
        ));
    }
    let there = source.len().saturating_sub(offset) / kind.width() as u64;
    if there < count as u64 {
        return Err(error(
            format!("a recording of {count} numbers"),
            format!("it ends too early: {there} came"),
        ));
    }
    let channels = usize::from(spec.channels);
    let numbers = Numbers::new(source, offset, kind, false).first(count);
    Ok(Array::recording(place, channels, numbers))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn encode(spec: hound::WavSpec, counts: &[i16]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        for count in counts {
            writer.write_sample(*count).unwrap();
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    const SPEC: hound::WavSpec = hound::WavSpec {
        channels: 2,
        sample_rate: 360,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };

    fn read(bytes: &[u8]) -> Result<Array> {
        open(Source::Memory(bytes.to_vec().into()), "test".into(), None)
    }

    #[test]
    fn a_recording_cut_anywhere_is_refused() {
        let whole = encode(SPEC, &[1, -2, 3, -4, 5, -6]);
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "cut at {length}");
        }
        let array = read(&whole).unwrap();
        assert_eq!(array.shape, [3, 2]);
        let mut found = [0.0; 6];
        array.numbers.read(0, &mut found).unwrap();
        assert_eq!(found, [1.0, -2.0, 3.0, -4.0, 5.0, -6.0]);
    }

    proptest! {
        #[test]
        fn a_byte_changed_anywhere_gives_a_recording_of_what_is_there_or_an_error(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = encode(SPEC, &[1, -2, 3, -4, 5, -6]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(array) = read(&bytes) {
                prop_assert!(array.numbers.len() <= bytes.len());
                prop_assert_eq!(array.shape.iter().product::<usize>(), array.numbers.len());
                let mut found = vec![0.0; array.numbers.len()];
                prop_assert!(array.numbers.read(0, &mut found).is_ok());
            }
        }
    }
}
