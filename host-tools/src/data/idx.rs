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
