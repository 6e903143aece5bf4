//! IDX, the format of MNIST and its kin: two zeros, the kind of number, the number of axes, the extent of each axis
//! (32 bits), the numbers; the high byte first in each. Gzipped or not.

use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::numbers::Source;
use super::{Array, Kind, Raw};
use crate::error::{Error, Result};

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Reads a folder with files named as MNIST's, of which the labels and the training or the test data may be
/// missing; none where both are.
///
/// # Errors
/// [`Error::File`] and [`Error::Data`].
pub(super) fn load_folder(folder: &Path) -> Result<Option<Raw>> {
    let read = |name: &str| -> Result<Option<Array>> {
        // Some copies of MNIST write `train-images.idx3-ubyte`.
        for name in [name.to_owned(), name.replace("-idx", ".idx")] {
            for path in [folder.join(format!("{name}.gz")), folder.join(name)] {
                if path.is_file() {
                    return open(Source::open(&path)?, path.display().to_string()).map(Some);
                }
            }
        }
        Ok(None)
    };
    let raw = Raw {
        train: read("train-images-idx3-ubyte")?,
        train_labels: read("train-labels-idx1-ubyte")?,
        test: read("t10k-images-idx3-ubyte")?,
        test_labels: read("t10k-labels-idx1-ubyte")?,
    };
    Ok((raw.train.is_some() || raw.test.is_some()).then_some(raw))
}

/// An array whose numbers stay where they are, or are unpacked into memory.
///
/// # Errors
/// [`Error::Data`] where the bytes are not IDX, or not as many as it says.
pub(super) fn open(source: Source, place: String) -> Result<Array> {
    let mut start = Vec::new();
    let read = source.reader().take(2).read_to_end(&mut start);
    read.map_err(broken(&place))?;
    if start == GZIP {
        return unpack(source.reader(), place);
    }
    let mut reader = source.reader();
    let (kind, shape) = read_header(&mut reader, &place)?;
    let offset = reader.at;
    Array::new(place, shape, source, offset, kind, true)
}

/// Reads a gzipped array.
///
/// # Errors
/// As [`open`].
pub(super) fn unpack(reader: impl Read, place: String) -> Result<Array> {
    let mut reader = MultiGzDecoder::new(BufReader::new(reader));
    let (kind, shape) = read_header(&mut reader, &place)?;
    let broken = broken(&place);
    Array::from_reader(place.clone(), shape, reader, kind, true, broken)
}

/// For `map_err`: the file is not whole.
fn broken(place: &str) -> impl Fn(io::Error) -> Error {
    move |cause| Error::Data {
        place: place.into(),
        expected: "a whole file".into(),
        given: match cause.kind() {
            io::ErrorKind::UnexpectedEof => "it ends too early".into(),
            _ => cause.to_string(),
        },
    }
}

fn read_header(reader: &mut impl Read, place: &str) -> Result<(Kind, Vec<usize>)> {
    let error = |expected: &str, given: String| Error::Data {
        place: place.into(),
        expected: expected.into(),
        given,
    };
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).map_err(broken(place))?;
    let [0, 0, kind, axes] = magic else {
        let given = format!("a file that begins with {magic:02x?} came");
        return Err(error("IDX (00 00 08 ..), NumPy, WAV, .csv or gzip", given));
    };
    let kind = match kind {
        0x08 => Kind::U8,
        0x09 => Kind::I8,
        0x0b => Kind::I16,
        0x0c => Kind::I32,
        0x0d => Kind::F32,
        0x0e => Kind::F64,
        _ => {
            let expected = "numbers of the kind 08 (unsigned bytes), 09, 0b, 0c, 0d or 0e";
            return Err(error(expected, format!("kind {kind:02x} came")));
        }
    };
    if axes == 0 {
        return Err(error("at least one axis", "0 came".into()));
    }
    let mut shape = Vec::new();
    for _ in 0..axes {
        let mut extent = [0; 4];
        reader.read_exact(&mut extent).map_err(broken(place))?;
        shape.push(u32::from_be_bytes(extent) as usize);
    }
    Ok((kind, shape))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    const BYTES: u8 = 0x08;

    fn encode(shape: &[u32], numbers: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, BYTES, shape.len() as u8];
        bytes.extend(shape.iter().flat_map(|extent| extent.to_be_bytes()));
        bytes.extend(numbers);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Array> {
        open(Source::Memory(bytes.to_vec().into()), "test".into())
    }

    fn numbers(array: &Array) -> Vec<f32> {
        let mut numbers = vec![0.0; array.numbers.len()];
        array.numbers.read(0, &mut numbers).unwrap();
        numbers
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_gzipped_or_not(
            shape in prop::collection::vec(0u32..6, 1..5),
            seed in any::<u8>(),
        ) {
            let count = shape.iter().product::<u32>();
            let numbers: Vec<u8> = (0..count).map(|index| (index as u8).wrapping_mul(seed)).collect();
            let bytes = encode(&shape, &numbers);
            for bytes in [gzip(&bytes), bytes] {
                let array = read(&bytes).unwrap();
                prop_assert!(array.shape.iter().map(|extent| *extent as u32).eq(shape.iter().copied()));
                prop_assert!(self::numbers(&array).into_iter().eq(numbers.iter().map(|byte| f32::from(*byte))));
            }
        }

        #[test]
        fn hostile_bytes_give_an_array_or_an_error(
            kind in prop_oneof![Just(BYTES), any::<u8>()],
            axes in any::<u8>(),
            rest in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let bytes = [&[0, 0, kind, axes], &rest[..]].concat();
            for bytes in [gzip(&bytes), bytes] {
                if let Ok(array) = read(&bytes) {
                    prop_assert!(array.numbers.len() <= rest.len());
                }
            }
            let _ = read(&[&GZIP[..], &rest].concat());
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_and_a_changed_gzip_never_believed() {
        let bytes = encode(&[2, 3], &[9, 1, 8, 2, 7, 3]);
        let packed = gzip(&bytes);
        for whole in [&bytes, &packed] {
            for length in 0..whole.len() {
                assert!(read(&whole[..length]).is_err(), "cut at {length}");
            }
        }
        let array = read(&packed).unwrap();
        for at in 0..packed.len() {
            for bit in 0..8 {
                let mut damaged = packed.clone();
                damaged[at] ^= 1 << bit;
                // The time, the flags and the like may change; the numbers may not.
                let same =
                    |found: Array| found.shape == array.shape && numbers(&found) == numbers(&array);
                assert!(read(&damaged).map_or(true, same));
            }
        }
    }
}
