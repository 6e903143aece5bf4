//! NumPy's `.npy`, one array, and `.npz`, several of them in a zip.

use std::io::{self, Cursor, Read, Seek, Write};
use std::path::Path;

use super::numbers::Source;
use super::{Array, FINITE, Kind, Raw, UNTOUCHED};
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
#[derive(Debug, PartialEq)]
struct Header {
    /// The type of the numbers: their bytes' order, kind and width, `<f4`.
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Reads a dictionary of Python's with exactly these three keys: NumPy writes no other, so no more of Python is read.
    fn parse(text: &str) -> Result<Self, String> {
        let mut text = Literal {
            rest: text,
            len: text.len(),
        };
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        text.expect("{")?;
        while !text.accept("}") {
            let before = text.missing("'descr', 'fortran_order' or 'shape', each once,");
            let key = text.string("a key in quotes")?;
            text.expect(":")?;
            match key {
                "descr" if descr.is_none() => {
                    // A list describes numbers with names.
                    let expected = "the type of integers or real numbers, like '<f4',";
                    descr = Some(text.string(expected)?.to_owned());
                }
                "fortran_order" if fortran_order.is_none() => fortran_order = Some(text.boolean()?),
                "shape" if shape.is_none() => shape = Some(text.integers()?),
                _ => return Err(before),
            }
            if !text.accept(",") && !text.rest.starts_with('}') {
                return Err(text.missing("',' or '}'"));
            }
        }
        let end = text.missing("nothing but spaces");
        if !text.rest.trim_ascii().is_empty() {
            return Err(end);
        }
        match (descr, fortran_order, shape) {
            (Some(descr), Some(fortran_order), Some(shape)) => Ok(Self {
                descr,
                fortran_order,
                shape,
            }),
            _ => Err("'descr', 'fortran_order' and 'shape' in its header".into()),
        }
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
        let text = std::str::from_utf8(&text)
            .map_err(|problem| invalid(format!("its header is no text: {problem}")))?;
        Self::parse(text).map_err(|expected| invalid(format!("it lacks {expected}")))
    }
}

/// What is left of a header. No value holds another of its kind, so nothing recurses.
struct Literal<'a> {
    rest: &'a str,
    /// Bytes of the whole header.
    len: usize,
}

impl<'a> Literal<'a> {
    /// Says that `expected` should stand here.
    fn missing(&self, expected: &str) -> String {
        let at = self.len - self.rest.len();
        format!("{expected} at byte {at} of its header")
    }

    /// Goes past spaces, and past `token` if that comes next; whether it did.
    fn accept(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_ascii_start();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        let found = self.accept(token);
        found
            .then_some(())
            .ok_or_else(|| self.missing(&format!("'{token}'")))
    }

    fn string(&mut self, expected: &str) -> Result<&'a str, String> {
        let quote = ["'", "\""].into_iter().find(|quote| self.accept(quote));
        let parts = quote.and_then(|quote| self.rest.split_once(quote));
        let (string, rest) = parts.ok_or_else(|| self.missing(expected))?;
        self.rest = rest;
        Ok(string)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        let value = self.accept("True");
        if value || self.accept("False") {
            Ok(value)
        } else {
            Err(self.missing("True or False"))
        }
    }

    /// A tuple of integers. In one of a single integer, Python wants a comma.
    fn integers(&mut self) -> Result<Vec<usize>, String> {
        let mut found = Vec::new();
        self.expect("(")?;
        while !self.accept(")") {
            let other = |c: char| !c.is_ascii_digit();
            let end = self.rest.find(other).unwrap_or(self.rest.len());
            let (integer, rest) = self.rest.split_at(end);
            let integer = integer.parse().map_err(|_| self.missing("an extent"))?;
            found.push(integer);
            self.rest = rest;
            if !(self.accept(",") || found.len() > 1 && self.rest.starts_with(')')) {
                return Err(self.missing("','"));
            }
        }
        Ok(found)
    }
}

/// What is known of an array before its numbers.
struct Start {
    shape: Vec<usize>,
    kind: Kind,
    big_endian: bool,
}

impl Start {
    fn read(reader: &mut impl Read, place: &str) -> Result<Self> {
        let Header {
            descr,
            fortran_order,
            shape,
        } = Header::read(reader).map_err(broken(place))?;
        let error = |expected: &str, given: String| Error::Data {
            place: place.into(),
            expected: expected.into(),
            given,
        };
        if fortran_order && shape.len() > 1 {
            let given = "one in Fortran order came: save it with numpy.ascontiguousarray";
            return Err(error("an array in C order", given.into()));
        }
        let kind = match descr.strip_prefix(['<', '>', '|']).unwrap_or_default() {
            "b1" => Kind::Bool,
            "u1" => Kind::U8,
            "i1" => Kind::I8,
            "u2" => Kind::U16,
            "i2" => Kind::I16,
            "u4" => Kind::U32,
            "i4" => Kind::I32,
            "u8" => Kind::U64,
            "i8" => Kind::I64,
            "f4" => Kind::F32,
            "f8" => Kind::F64,
            _ => {
                let expected = "an array of integers or real numbers of 32 or 64 bits";
                return Err(error(expected, format!("numbers {descr} came")));
            }
        };
        Ok(Self {
            shape,
            kind,
            big_endian: descr.starts_with('>'),
        })
    }
}

/// For `map_err`: the array is not whole.
fn broken(place: &str) -> impl Fn(io::Error) -> Error {
    move |cause| Error::Data {
        place: place.into(),
        expected: "a whole array".into(),
        given: match cause.kind() {
            io::ErrorKind::UnexpectedEof => "it ends too early".into(),
            _ => cause.to_string(),
        },
    }
}

/// An array of integers or real numbers whose numbers stay where they are.
///
/// # Errors
/// [`Error::Data`] where it is not one, or has other bytes than its shape asks for.
pub(super) fn open(source: Source, place: String) -> Result<Array> {
    let mut reader = source.reader();
    let Start {
        shape,
        kind,
        big_endian,
    } = Start::read(&mut reader, &place)?;
    let offset = reader.at;
    Array::new(place, shape, source, offset, kind, big_endian)
}

/// Reads the arrays of a zip: `x_train`, `x_test`, `y_train` and `y_test` as Keras names them, or a single one.
///
/// # Errors
/// [`Error::Data`].
pub(super) fn open_npz(file: impl Read + Seek, place: &str) -> Result<Raw> {
    let error = |place: &str, expected: &str, given: String| Error::Data {
        place: place.into(),
        expected: expected.into(),
        given,
    };
    let archive = zip::ZipArchive::new(file);
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
        let mut entry = archive
            .by_name(&file)
            .map_err(|cause| error(&place, "an array", cause.to_string()))?;
        let Start {
            shape,
            kind,
            big_endian,
        } = Start::read(&mut entry, &place)?;
        let broken = broken(&place);
        Array::from_reader(place.clone(), shape, entry, kind, big_endian, broken).map(Some)
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
    let mut bytes = preamble("<f4", shape);
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

/// What stands before an array's numbers: the bytes that NumPy itself writes, but for spaces.
fn preamble(descr: &str, shape: &[u64]) -> Vec<u8> {
    let extents: Vec<String> = shape.iter().map(u64::to_string).collect();
    // A tuple of one has a comma.
    let comma = if shape.len() == 1 { "," } else { "" };
    let shape = extents.join(", ") + comma;
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    // The format wants the numbers at a multiple of 64, and a line's end before them.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header = format!("{header:<0$}\n", length - 1);
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes
}

/// What an array of an [`Archive`] holds.
#[derive(Clone, Copy, Debug)]
pub enum Elements<'a> {
    /// 32-bit real numbers, with the extents of their axes.
    Reals(&'a [u64], &'a [f32]),
    /// One 64-bit real number.
    Double(f64),
    /// One 64-bit integer.
    Count(i64),
}

/// Writes arrays as a `.npz`, each in `NAME.npy`, not compressed: what `numpy.savez` does.
///
/// # Errors
/// [`Error::File`].
pub fn write_npz(path: &Path, arrays: &[(String, Elements<'_>)]) -> Result<()> {
    let encode = || -> zip::result::ZipResult<Vec<u8>> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, elements) in arrays {
            let bytes = match *elements {
                Elements::Reals(shape, numbers) => encode(shape, numbers),
                Elements::Double(number) => {
                    [&preamble("<f8", &[])[..], &number.to_le_bytes()].concat()
                }
                Elements::Count(number) => {
                    [&preamble("<i8", &[])[..], &number.to_le_bytes()].concat()
                }
            };
            let options = zip::write::SimpleFileOptions::default()
                .compression_method(zip::CompressionMethod::Stored)
                .large_file(u32::try_from(bytes.len()).is_err());
            writer.start_file(format!("{name}.npy"), options)?;
            writer.write_all(&bytes)?;
        }
        Ok(writer.finish()?.into_inner())
    };
    let bytes = encode().map_err(|cause| Error::file(path, "encode")(io::Error::other(cause)))?;
    files::write_whole(path, &bytes)
}

/// A `.npz` whose arrays are asked for by name, type and shape. No more is read than was asked for, whatever a header
/// says.
pub struct Archive<'a> {
    zip: zip::ZipArchive<Cursor<&'a [u8]>>,
    place: String,
    names: Vec<String>,
}

impl<'a> Archive<'a> {
    /// Reads the directory of a zip. `place` is what errors call it.
    ///
    /// # Errors
    /// [`Error::Data`] where it is none, or has files in it that are no arrays.
    pub fn open(bytes: &'a [u8], place: &str) -> Result<Self> {
        let error = |given: String| Error::Data {
            place: place.into(),
            expected: "a whole .npz, a zip of arrays".into(),
            given,
        };
        let zip = zip::ZipArchive::new(Cursor::new(bytes));
        let zip = zip.map_err(|cause| error(cause.to_string()))?;
        let mut names = Vec::new();
        for name in zip.file_names() {
            let name = name.map_err(|cause| error(cause.to_string()))?;
            let array = name.strip_suffix(".npy");
            names.push(
                array
                    .ok_or_else(|| error(format!("{name:?} is in it")))?
                    .to_owned(),
            );
        }
        let place = place.to_owned();
        Ok(Self { zip, place, names })
    }

    /// The arrays' names, in the order of the zip.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What errors call an array.
    #[must_use]
    pub fn place(&self, name: &str) -> String {
        format!("{}, array {name}", self.place)
    }

    /// An array of 32-bit real numbers with the axes `shape`, or of 64-bit ones, which are rounded.
    ///
    /// # Errors
    /// [`Error::Data`] where there is no such array, or its type or shape is another, it is damaged, or a number is not
    /// finite.
    pub fn reals(&mut self, name: &str, shape: &[u64]) -> Result<Vec<f32>> {
        let (place, kinds) = (self.place(name), [Kind::F32, Kind::F64]);
        let (entry, start) = self.start(name, shape, "real numbers of 32 or 64 bits", &kinds)?;
        let Start {
            shape,
            kind,
            big_endian,
        } = start;
        let broken = broken(&place);
        let array = Array::from_reader(place.clone(), shape, entry, kind, big_endian, broken)?;
        array.check(FINITE, UNTOUCHED)?;
        let mut numbers = vec![0.0; array.numbers.len()];
        array.numbers.read(0, &mut numbers)?;
        Ok(numbers)
    }

    /// One real number of 64 bits.
    ///
    /// # Errors
    /// As [`Archive::reals`], but for numbers that are not finite.
    pub fn double(&mut self, name: &str) -> Result<f64> {
        let bytes = self.single(name, "a real number of 64 bits", Kind::F64);
        bytes.map(f64::from_le_bytes)
    }

    /// One integer of 64 bits.
    ///
    /// # Errors
    /// As [`Archive::double`].
    pub fn count(&mut self, name: &str) -> Result<i64> {
        let bytes = self.single(name, "an integer of 64 bits", Kind::I64);
        bytes.map(i64::from_le_bytes)
    }

    /// The bytes of one number, the low one first.
    fn single(&mut self, name: &str, expected: &str, kind: Kind) -> Result<[u8; 8]> {
        let place = self.place(name);
        let kinds = [kind];
        let (mut entry, start) = self.start(name, &[], expected, &kinds)?;
        let mut bytes = [0; 8];
        entry.read_exact(&mut bytes).map_err(broken(&place))?;
        // The end is where a zip's checksum is held against the bytes.
        if entry.read(&mut [0]).map_err(broken(&place))? > 0 {
            let (expected, given) = (expected.into(), "more bytes came".into());
            return Err(Error::Data {
                place,
                expected,
                given,
            });
        }
        if start.big_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }

    /// Finds an array of the axes `shape` and one of the types `kinds`, and reads up to its numbers.
    fn start(
        &mut self,
        name: &str,
        shape: &[u64],
        expected: &str,
        kinds: &[Kind],
    ) -> Result<(zip::read::ZipFile<'_, Cursor<&'a [u8]>>, Start)> {
        let place = self.place(name);
        let error = |expected: String, given: String| Error::Data {
            place: place.clone(),
            expected,
            given,
        };
        let count = self.names.len();
        let entry = self.zip.by_name(&format!("{name}.npy"));
        let mut entry = entry.map_err(|cause| match cause {
            zip::result::ZipError::FileNotFound => error(
                format!("{expected}, in the shape {shape:?}"),
                format!("the file has {count} arrays and not this one"),
            ),
            _ => error("a whole array".into(), cause.to_string()),
        })?;
        let start = Start::read(&mut entry, &place)?;
        let extents: Vec<u64> = start.shape.iter().map(|extent| *extent as u64).collect();
        if extents != shape {
            let turned = shape.iter().rev().eq(&extents);
            let advice = if turned { ": transpose it" } else { "" };
            let given = format!("{extents:?} came{advice}");
            return Err(error(format!("the shape {shape:?}"), given));
        }
        if !kinds.contains(&start.kind) {
            let given = format!("numbers of the type {:?} came", start.kind);
            return Err(error(expected.into(), given));
        }
        Ok((entry, start))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Array> {
        open(Source::Memory(bytes.to_vec().into()), "test".into())
    }

    fn parse_npz(bytes: &[u8]) -> Result<Raw> {
        open_npz(Cursor::new(bytes), "test")
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(rows in 0u64..5, columns in 0u64..700, seed in any::<u32>()) {
            let bits = (0..(rows * columns) as u32).map(|index| index.wrapping_mul(seed | 1) & 0xbfff_ffff);
            let numbers: Vec<f32> = bits.map(f32::from_bits).collect();
            let array = read(&encode(&[rows, columns], &numbers)).unwrap();
            prop_assert_eq!(array.shape, [rows as usize, columns as usize]);
            let mut found = vec![0.0; array.numbers.len()];
            array.numbers.read(0, &mut found).unwrap();
            prop_assert!(found.iter().map(|x| x.to_bits()).eq(numbers.iter().map(|x| x.to_bits())));
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
            let _ = parse_npz(&bytes);
        }
    }

    #[test]
    fn headers_are_read_however_python_may_write_them() {
        for text in [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 40), }   \n",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 40)}",
            "{\"shape\":(3,40,),\"descr\":\"<f4\",'fortran_order':False}",
            " { 'fortran_order' : False , 'shape' : ( 3 , 40 ) , 'descr' : '<f4' , } ",
        ] {
            let expected = Header {
                descr: "<f4".into(),
                fortran_order: false,
                shape: vec![3, 40],
            };
            assert_eq!(Header::parse(text), Ok(expected), "{text}");
        }
        for (shape, expected) in [("()", vec![]), ("(0,)", vec![0]), ("( 7, )", vec![7])] {
            let text = format!("{{'descr': '|u1', 'fortran_order': True, 'shape': {shape}}}");
            let header = Header::parse(&text).unwrap();
            assert_eq!((header.shape, header.fortran_order), (expected, true));
        }
    }

    #[test]
    fn a_header_of_anything_else_is_an_error_that_says_what_should_stand_where() {
        let whole = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)}";
        for (was, becomes, expected) in [
            ("{", "", "'{' at byte 0"),
            ("'descr'", "descr", "a key in quotes at byte 1"),
            ("'descr':", "'descr'", "':' at byte 9"),
            ("descr", "describe", "'shape', each once, at byte 1"),
            ("shape", "descr", "'shape', each once, at byte 41"),
            (
                "'<f4'",
                "[('a', '<f4')]",
                "the type of integers or real numbers, like '<f4', at byte 10",
            ),
            ("'<f4'", "'<f4\"", "',' or '}' at byte 18"),
            ("False", "0", "True or False at byte 34"),
            ("False,", "False", "',' or '}' at byte 40"),
            ("(3, 4)", "[3, 4]", "'(' at byte 50"),
            ("(3, 4)", "(3)", "',' at byte 52"),
            ("(3, 4)", "(3 4)", "',' at byte 53"),
            ("(3, 4)", "(,)", "an extent at byte 51"),
            ("(3, 4)", "(-3, 4)", "an extent at byte 51"),
            (
                "(3, 4)",
                "(99999999999999999999, 4)",
                "an extent at byte 51",
            ),
            ("(3, 4)", "(3, (4,))", "an extent at byte 54"),
            ("4)}", "4)", "',' or '}' at byte 56"),
            ("4)}", "4", "',' at byte 55"),
            ("4)}", "4)} 5", "nothing but spaces at byte 57"),
            (
                ", 'shape': (3, 4)",
                "",
                "'descr', 'fortran_order' and 'shape' in its header",
            ),
        ] {
            let text = whole.replacen(was, becomes, 1);
            let problem = Header::parse(&text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }

    /// A reader that tries every reading would not come back from these.
    #[test]
    fn deep_nesting_is_refused_at_its_first_bracket() {
        for bracket in ["(", "[", "{", "[(", "{'descr':"] {
            for depth in [1, 30, 500] {
                let nested = bracket.repeat(depth);
                for text in [
                    nested.clone(),
                    format!("{{{nested}"),
                    format!("{{'descr': {nested}"),
                    format!("{{'shape': ({nested}"),
                    format!("{{'shape': {nested}1,{}", ")".repeat(nested.len())),
                ] {
                    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
                    bytes.extend((text.len() as u16).to_le_bytes());
                    bytes.extend(text.as_bytes());
                    let problem = read(&bytes).unwrap_err().to_string();
                    assert!(
                        problem.contains("it lacks "),
                        "{depth} of {bracket}: {problem}"
                    );
                }
            }
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
        assert_eq!(parse_npz(&whole).unwrap().test.unwrap().shape, [3, 4]);
        for at in 0..whole.len() {
            assert!(parse_npz(&whole[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                let _ = parse_npz(&bytes);
            }
        }
    }
}
