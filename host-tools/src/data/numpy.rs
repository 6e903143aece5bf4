//! NumPy's `.npy`, one array, and `.npz`, several of them in a zip.

use std::io::{self, Cursor, Read};
use std::path::Path;

use py_literal::Value;

use super::{Array, Numbers, Raw};
use crate::error::{Error, Result};
use crate::files;

/// Bytes of the longest header that is read. NumPy has the same limit, and headers of arrays stay far below it.
const LONGEST_HEADER: u32 = 10_000;

/// Whether bytes begin as a `.npy`.
#[must_use]
pub fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x93NUMPY")
}

/// Whether bytes begin as a zip.
#[must_use]
pub fn is_npz(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// What a header says.
struct Header {
    /// The type of the numbers: their bytes' order, kind and width, `<f4`.
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    fn parse(text: &str) -> Option<Self> {
        let value: Value = text.trim_end().parse().ok()?;
        let entries = value.as_dict()?;
        let get = |name: &str| {
            let mut entries = entries.iter();
            let found = entries.find(|(key, _)| key.as_string().is_some_and(|key| key == name));
            found.map(|(_, value)| value)
        };
        // A list describes numbers with names.
        let descr = get("descr")?.as_string();
        let extents = get("shape")?.as_tuple()?.iter();
        Some(Self {
            descr: descr.map_or("of a record", String::as_str).to_owned(),
            fortran_order: get("fortran_order")?.as_boolean()?,
            shape: extents
                .map(|extent| extent.as_integer()?.to_string().parse().ok())
                .collect::<Option<_>>()?,
        })
    }

    fn read(reader: &mut impl Read) -> io::Result<Self> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut start = [0; 10];
        reader.read_exact(&mut start)?;
        let [.., version, _, low, high] = start;
        let mut length = [low, high, 0, 0];
        if version > 1 {
            reader.read_exact(&mut length[2..])?;
        }
        let length = u32::from_le_bytes(length);
        if length > LONGEST_HEADER {
            return Err(invalid(format!(
                "its header has {length} bytes, more than {LONGEST_HEADER}"
            )));
        }
        let mut text = vec![0; length as usize];
        reader.read_exact(&mut text)?;
        let header = std::str::from_utf8(&text).ok().and_then(Self::parse);
        header.ok_or_else(|| invalid("its header is not of descr, fortran_order and shape".into()))
    }
}

/// Reads one array of integers or real numbers, of `size` bytes with its header.
///
/// # Errors
/// [`Error::Data`] where it is not one, has other bytes than its shape asks for, or numbers that are not finite.
pub fn parse(reader: impl Read, size: u64, place: String) -> Result<Array> {
    let error = |expected: String, given: String| Error::Data {
        place: place.clone(),
        expected,
        given,
    };
    let broken = |cause: io::Error| match cause.kind() {
        io::ErrorKind::UnexpectedEof => error("a whole array".into(), "it ends too early".into()),
        _ => error("a whole array".into(), cause.to_string()),
    };
    // One byte more than there should be would show that there are more.
    let mut reader = reader.take(size.saturating_add(1));
    let Header {
        descr,
        fortran_order,
        shape,
    } = Header::read(&mut reader).map_err(broken)?;
    if fortran_order && shape.len() > 1 {
        return Err(error(
            "an array in C order".into(),
            "one in Fortran order came: save it with numpy.ascontiguousarray".into(),
        ));
    }
    let count = shape
        .iter()
        .try_fold(1usize, |count, extent| count.checked_mul(*extent));
    let Some(count) = count else {
        return Err(error(
            "extents whose product can be counted".into(),
            format!("{shape:?} came"),
        ));
    };
    let mut read = Numerals {
        reader: &mut reader,
        big_endian: descr.starts_with('>'),
        count,
    };
    let numbers = match descr.strip_prefix(['<', '>', '|']).unwrap_or_default() {
        "u1" => read.all(u8::from_le_bytes).map(Numbers::Bytes),
        "b1" => read.all(|[byte]| u8::from(byte != 0)).map(Numbers::Bytes),
        "i1" => read
            .all(|bytes| i8::from_le_bytes(bytes).into())
            .map(Numbers::Counts),
        "u2" => read
            .all(|bytes| u16::from_le_bytes(bytes).into())
            .map(Numbers::Counts),
        "i2" => read
            .all(|bytes| i16::from_le_bytes(bytes).into())
            .map(Numbers::Counts),
        "u4" => read
            .all(|bytes| u32::from_le_bytes(bytes) as f32)
            .map(Numbers::Counts),
        "i4" => read
            .all(|bytes| i32::from_le_bytes(bytes) as f32)
            .map(Numbers::Counts),
        "u8" => read
            .all(|bytes| u64::from_le_bytes(bytes) as f32)
            .map(Numbers::Counts),
        "i8" => read
            .all(|bytes| i64::from_le_bytes(bytes) as f32)
            .map(Numbers::Counts),
        "f4" => read.all(f32::from_le_bytes).map(Numbers::Reals),
        "f8" => read
            .all(|bytes| f64::from_le_bytes(bytes) as f32)
            .map(Numbers::Reals),
        _ => {
            return Err(error(
                "an array of integers or real numbers".into(),
                format!("numbers {descr} came"),
            ));
        }
    };
    let numbers = numbers.map_err(|cause| match cause.kind() {
        io::ErrorKind::UnexpectedEof => error(
            format!("{count} numbers for its shape {shape:?}"),
            "it ends too early".into(),
        ),
        _ => broken(cause),
    })?;
    // The end is where a zip's checksum is held against the bytes.
    if reader.read(&mut [0]).map_err(broken)? > 0 {
        let expected = format!("{count} numbers for its shape {shape:?}");
        return Err(error(expected, "more bytes came".into()));
    }
    Array::new(place, shape, numbers)
}

/// Numbers that are to be read.
struct Numerals<'a, R> {
    reader: &'a mut R,
    big_endian: bool,
    count: usize,
}

impl<R: Read> Numerals<'_, R> {
    /// Reads block by block, so that memory grows with what is there. `convert` is handed the low byte first.
    fn all<const WIDTH: usize, T>(
        &mut self,
        convert: impl Fn([u8; WIDTH]) -> T,
    ) -> io::Result<Vec<T>> {
        let mut numbers = Vec::new();
        let mut block = [0; 8192];
        while numbers.len() < self.count {
            let more = (block.len() / WIDTH).min(self.count - numbers.len());
            let block = &mut block[..more * WIDTH];
            self.reader.read_exact(block)?;
            let (bytes, _) = block.as_chunks_mut::<WIDTH>();
            if self.big_endian {
                bytes.iter_mut().for_each(|bytes| bytes.reverse());
            }
            numbers.extend(bytes.iter().map(|bytes| convert(*bytes)));
        }
        Ok(numbers)
    }
}

/// Reads the arrays of a zip: `x_train`, `x_test`, `y_train` and `y_test` as Keras names them, or a single one.
///
/// # Errors
/// [`Error::Data`].
pub fn parse_npz(bytes: &[u8], place: &str) -> Result<Raw> {
    let error = |place: &str, expected: &str, given: String| Error::Data {
        place: place.into(),
        expected: expected.into(),
        given,
    };
    let archive = zip::ZipArchive::new(Cursor::new(bytes));
    let mut archive =
        archive.map_err(|cause| error(place, "a whole zip of arrays", cause.to_string()))?;
    let names: Result<Vec<String>, _> = archive
        .file_names()
        .map(|name| name.map(String::from))
        .collect();
    let names = names.map_err(|cause| error(place, "a whole zip of arrays", cause.to_string()))?;
    let mut read = |name: &str| -> Result<Option<Array>> {
        let file = format!("{name}.npy");
        if !names.contains(&file) {
            return Ok(None);
        }
        let place = format!("{place}, array {name}");
        let entry = archive
            .by_name(&file)
            .map_err(|cause| error(&place, "an array", cause.to_string()))?;
        let size = entry.size();
        parse(entry, size, place).map(Some)
    };
    let (train, test) = (read("x_train")?, read("x_test")?);
    if train.is_some() || test.is_some() {
        return Ok(Raw {
            train,
            train_labels: read("y_train")?,
            test,
            test_labels: read("y_test")?,
        });
    }
    match &names[..] {
        [name] if name.ends_with(".npy") => Ok(Raw {
            train: read(&name[..name.len() - ".npy".len()])?,
            ..Raw::default()
        }),
        _ => Err(error(
            place,
            "an array x_train or x_test, or a single array",
            format!("{names:?} came"),
        )),
    }
}

/// Writes real numbers as a `.npy` of the shape `shape`.
///
/// # Errors
/// [`Error::File`].
pub fn write(path: &Path, shape: &[u64], numbers: &[f32]) -> Result<()> {
    files::write_whole(path, &encode(shape, numbers))
}

fn encode(shape: &[u64], numbers: &[f32]) -> Vec<u8> {
    let shape: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    // The format wants the numbers at a multiple of 64, and a line's end before them.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header = format!("{header:<0$}\n", length - 1);
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Array> {
        parse(bytes, bytes.len() as u64, "test".into())
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(rows in 0u64..5, columns in 0u64..700, seed in any::<u32>()) {
            let bits = (0..(rows * columns) as u32).map(|index| index.wrapping_mul(seed | 1) & 0xbfff_ffff);
            let numbers: Vec<f32> = bits.map(f32::from_bits).collect();
            let array = read(&encode(&[rows, columns], &numbers)).unwrap();
            prop_assert_eq!(array.shape, [rows as usize, columns as usize]);
            prop_assert_eq!(array.numbers, Numbers::Reals(numbers));
        }

        #[test]
        fn an_array_cut_anywhere_is_refused(rows in 1u64..5, columns in 1u64..50, cut in any::<prop::sample::Index>()) {
            let bytes = encode(&[rows, columns], &vec![0.5; (rows * columns) as usize]);
            prop_assert!(read(&bytes[..cut.index(bytes.len())]).is_err());
        }

        #[test]
        fn hostile_bytes_give_an_array_or_an_error(
            text in r"\{?('(descr|shape|fortran_order)': ?('[<>|]?[a-z][0-9]{1,2}'|\[|\(|[0-9]{1,20},?|\)|False|True|[{}()\[\]\x00-\xff])?, ?){0,4}\}?",
            version in 0u8..4,
            rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut bytes = b"\x93NUMPY".to_vec();
            bytes.extend([version, 0]);
            bytes.extend((text.len() as u32).to_le_bytes().iter().take(if version > 1 { 4 } else { 2 }));
            bytes.extend(text.as_bytes());
            bytes.extend(&rest);
            if let Ok(array) = read(&bytes) {
                prop_assert!(array.shape.iter().product::<usize>() <= rest.len());
            }
        }

        #[test]
        fn a_byte_changed_anywhere_gives_an_array_or_an_error(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = encode(&[3, 4], &[0.5; 12]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = read(&bytes);
            let _ = parse_npz(&bytes, "test");
        }
    }

    #[test]
    fn a_zip_changed_or_cut_anywhere_gives_arrays_or_an_error() {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        for name in ["x_train.npy", "x_test.npy"] {
            writer.start_file(name, options).unwrap();
            std::io::Write::write_all(&mut writer, &encode(&[3, 4], &[0.5; 12])).unwrap();
        }
        let whole = writer.finish().unwrap().into_inner();
        assert_eq!(
            parse_npz(&whole, "test").unwrap().test.unwrap().shape,
            [3, 4]
        );
        for at in 0..whole.len() {
            assert!(parse_npz(&whole[..at], "test").is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                let _ = parse_npz(&bytes, "test");
            }
        }
    }
}
