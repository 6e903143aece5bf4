//! NumPy's `.npy`, one array, and `.npz`, several of them in a zip.

use std::io::{Cursor, Read};
use std::path::Path;

use npyz::{DType, Deserialize, NpyFile, Order, TypeChar, WriterBuilder};

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

/// Reads one array of integers or real numbers, of `size` bytes with its header.
///
/// # Errors
/// [`Error::Data`] where it is not one, has other bytes than its shape asks for, or numbers that are not finite.
pub fn parse(mut reader: impl Read, size: u64, place: String) -> Result<Array> {
    let error = |expected: String, given: String| Error::Data {
        place: place.clone(),
        expected,
        given,
    };
    let broken = |cause: std::io::Error| match cause.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            error("a whole NumPy array".into(), "it ends too early".into())
        }
        // What follows the first line shows the header, however long.
        _ => error("a NumPy array".into(), first_line(&cause)),
    };
    let mut start = [0; 12];
    reader.read_exact(&mut start).map_err(broken)?;
    let header = match start {
        [_, _, _, _, _, _, 1, _, low, high, _, _] => u16::from_le_bytes([low, high]).into(),
        [.., a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
    };
    if header > LONGEST_HEADER {
        return Err(error(
            format!("a header of at most {LONGEST_HEADER} bytes"),
            format!("one of {header} came"),
        ));
    }
    // One byte more than there should be would show that there are more.
    let mut reader = start.chain(reader).take(size.saturating_add(1));
    let npy = NpyFile::new(&mut reader).map_err(broken)?;
    let header = npy.header();
    let (dtype, order) = (header.dtype(), header.order());
    let shape: Option<Vec<usize>> = header
        .shape()
        .iter()
        .map(|extent| usize::try_from(*extent).ok())
        .collect();
    let shape = shape.filter(|shape| {
        shape
            .iter()
            .try_fold(1usize, |count, extent| count.checked_mul(*extent))
            .is_some()
    });
    let Some(shape) = shape else {
        return Err(error(
            "extents whose product can be counted".into(),
            format!("{:?} came", header.shape()),
        ));
    };
    if order == Order::Fortran && shape.len() > 1 {
        return Err(error(
            "an array in C order".into(),
            "one in Fortran order came: save it with numpy.ascontiguousarray".into(),
        ));
    }
    let count = shape.iter().product::<usize>();
    let unknown = || {
        error(
            "an array of integers or real numbers".into(),
            format!("dtype {} came", dtype.descr()),
        )
    };
    let DType::Plain(kind) = &dtype else {
        return Err(unknown());
    };
    let bytes = (count as u64).checked_mul(kind.size_field());
    if bytes.is_none_or(|bytes| bytes > size) {
        let expected = format!("{} for its shape {shape:?}", plural(bytes, "byte"));
        return Err(error(expected, format!("a file of {size} bytes came")));
    }
    let numbers = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Uint, 1) => read::<u8, _, _>(npy, |x| x).map(Numbers::Bytes),
        (TypeChar::Bool, 1) => read::<bool, _, _>(npy, u8::from).map(Numbers::Bytes),
        (TypeChar::Int, 1) => read::<i8, _, _>(npy, f32::from).map(Numbers::Counts),
        (TypeChar::Uint, 2) => read::<u16, _, _>(npy, f32::from).map(Numbers::Counts),
        (TypeChar::Int, 2) => read::<i16, _, _>(npy, f32::from).map(Numbers::Counts),
        (TypeChar::Uint, 4) => read::<u32, _, _>(npy, |x| x as f32).map(Numbers::Counts),
        (TypeChar::Int, 4) => read::<i32, _, _>(npy, |x| x as f32).map(Numbers::Counts),
        (TypeChar::Uint, 8) => read::<u64, _, _>(npy, |x| x as f32).map(Numbers::Counts),
        (TypeChar::Int, 8) => read::<i64, _, _>(npy, |x| x as f32).map(Numbers::Counts),
        (TypeChar::Float, 4) => read::<f32, _, _>(npy, |x| x).map(Numbers::Reals),
        (TypeChar::Float, 8) => read::<f64, _, _>(npy, |x| x as f32).map(Numbers::Reals),
        _ => return Err(unknown()),
    };
    let numbers = numbers.map_err(broken)?;
    // The end is where a zip's checksum is held against the bytes.
    if reader.read(&mut [0]).map_err(broken)? > 0 {
        let expected = format!("{count} numbers for its shape {shape:?}");
        return Err(error(expected, "more bytes came".into()));
    }
    Array::new(place, shape, numbers)
}

fn first_line(cause: &std::io::Error) -> String {
    let text = cause.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_end_matches(':').to_owned()
}

fn plural(count: Option<u64>, what: &str) -> String {
    count.map_or_else(
        || format!("more {what}s than can be counted"),
        |count| format!("{count} {what}s"),
    )
}

/// Reads number by number, so that memory grows with what is there.
fn read<T: Deserialize, U, R: Read>(
    npy: NpyFile<R>,
    convert: impl Fn(T) -> U,
) -> std::io::Result<Vec<U>> {
    let numbers = npy
        .data::<T>()
        .map_err(|cause| std::io::Error::new(std::io::ErrorKind::InvalidData, cause.to_string()))?;
    numbers.map(|number| number.map(&convert)).collect()
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
    let mut bytes = Vec::new();
    let encode = |bytes: &mut Vec<u8>| {
        let options = npyz::WriteOptions::new()
            .default_dtype()
            .shape(shape)
            .writer(bytes);
        let mut writer = options.begin_nd()?;
        writer.extend(numbers.iter().copied())?;
        writer.finish()
    };
    encode(&mut bytes).map_err(Error::file(path, "encode"))?;
    files::write_whole(path, &bytes)
}
