//! IDX, the format of MNIST and its kin: two zeros, the kind of number, the number of axes, the extent of each axis
//! (32 bits, the high byte first), the numbers. Gzipped or not.

use std::io::Read;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::{Array, Numbers, Raw};
use crate::error::{Error, Result};
use crate::files;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const BYTES: u8 = 0x08;

/// Reads a folder with files named as MNIST's, of which the labels and the test data may be missing.
///
/// # Errors
/// [`Error::File`] and [`Error::Data`].
pub fn load_folder(folder: &Path) -> Result<Raw> {
    let read = |name: &str| -> Result<Option<Array>> {
        // Some copies of MNIST write `train-images.idx3-ubyte`.
        for name in [name.to_owned(), name.replace("-idx", ".idx")] {
            for path in [folder.join(format!("{name}.gz")), folder.join(name)] {
                if path.is_file() {
                    return parse(&files::read(&path)?, path.display().to_string()).map(Some);
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
    if raw.train.is_none() && raw.test.is_none() {
        return Err(Error::Data {
            place: folder.display().to_string(),
            expected: "train-images-idx3-ubyte or t10k-images-idx3-ubyte, perhaps with .gz".into(),
            given: "neither is there".into(),
        });
    }
    Ok(raw)
}

/// Reads the bytes of one file. Memory is taken for what comes, never for what the header says will come.
///
/// # Errors
/// [`Error::Data`] where the bytes are not IDX with numbers of 8 bits, or not as many as it says.
pub fn parse(bytes: &[u8], place: String) -> Result<Array> {
    if bytes.starts_with(&GZIP) {
        from_reader(MultiGzDecoder::new(bytes), place)
    } else {
        from_reader(bytes, place)
    }
}

fn from_reader(mut reader: impl Read, place: String) -> Result<Array> {
    let error = |expected: String, given: String| Error::Data {
        place: place.clone(),
        expected,
        given,
    };
    let broken = |cause: std::io::Error| match cause.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            error("a whole file".into(), "it ends too early".into())
        }
        _ => error("a whole file".into(), cause.to_string()),
    };
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).map_err(broken)?;
    let [0, 0, kind, axes] = magic else {
        let expected = "IDX (00 00 08 ..), NumPy or gzip";
        return Err(error(
            expected.into(),
            format!("a file that begins with {magic:02x?} came"),
        ));
    };
    if kind != BYTES {
        return Err(error(
            "numbers of the kind 08 (unsigned bytes)".into(),
            format!("kind {kind:02x} came"),
        ));
    }
    if axes == 0 {
        return Err(error("at least one axis".into(), "0 came".into()));
    }
    let mut shape = Vec::new();
    for _ in 0..axes {
        let mut extent = [0; 4];
        reader.read_exact(&mut extent).map_err(broken)?;
        shape.push(u32::from_be_bytes(extent) as usize);
    }
    let count = shape
        .iter()
        .try_fold(1usize, |count, extent| count.checked_mul(*extent))
        .filter(|count| *count < usize::MAX);
    let Some(count) = count else {
        return Err(error(
            "extents whose product can be counted".into(),
            format!("{shape:?} came"),
        ));
    };
    let mut numbers = Vec::new();
    // One more than it says would show that it says too few.
    reader
        .take(count as u64 + 1)
        .read_to_end(&mut numbers)
        .map_err(broken)?;
    if numbers.len() != count {
        let given = if numbers.len() > count {
            "more".into()
        } else {
            numbers.len().to_string()
        };
        return Err(error(
            format!("{count} numbers for its shape {shape:?}"),
            format!("{given} came"),
        ));
    }
    numbers.shrink_to_fit();
    Array::new(place, shape, Numbers::Bytes(numbers))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

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
        parse(bytes, "test".into())
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
                prop_assert_eq!(array.numbers, Numbers::Bytes(numbers.clone()));
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
                if let Ok(Array { numbers: Numbers::Bytes(numbers), .. }) = read(&bytes) {
                    prop_assert!(numbers.len() <= rest.len());
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
                assert!(
                    read(&damaged).is_ok_and(|found| found == array) || read(&damaged).is_err()
                );
            }
        }
    }
}
