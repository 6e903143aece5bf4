//! Numbers where they lie: in memory or in a file, in the type that the file has. They become f32 when they are read, so
//! that bytes stay bytes, and a file that is larger than the memory is read piece by piece.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::files;

/// A type of number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Rust's, with I24 beside them")]
pub enum Kind {
    /// A byte; all but 0 is 1.
    Bool,
    U8,
    I8,
    U16,
    I16,
    /// 24 bits, as WAV has them.
    I24,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Kind {
    /// Bytes of a number.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::I24 => 3,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The least and the greatest count, rounded to f32; none for real numbers.
    #[must_use]
    pub fn counts(self) -> Option<[f32; 2]> {
        Some(match self {
            Self::Bool => [0.0, 1.0],
            Self::U8 => [0.0, 255.0],
            Self::I8 => [-128.0, 127.0],
            Self::U16 => [0.0, 65535.0],
            Self::I16 => [-32768.0, 32767.0],
            Self::I24 => [-8_388_608.0, 8_388_607.0],
            Self::U32 => [0.0, u32::MAX as f32],
            Self::I32 => [i32::MIN as f32, i32::MAX as f32],
            Self::U64 => [0.0, u64::MAX as f32],
            Self::I64 => [i64::MIN as f32, i64::MAX as f32],
            Self::F32 | Self::F64 => return None,
        })
    }
}

/// Bytes of the largest file that is read into memory. A sample is there at once, while one of a file takes a call of the
/// system, a fifth of the time that a small network trains on it.
const SMALL: u64 = 256 << 20;

/// Bytes in memory or in a file. A clone shares them.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Memory(Arc<Vec<u8>>),
    File {
        file: Arc<File>,
        path: Arc<PathBuf>,
        len: u64,
    },
}

impl Source {
    /// Opens a file. What is at most [`SMALL`], and what can be read only once, like a pipe, is read into memory.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::open_beyond(SMALL, path)
    }

    fn open_beyond(small: u64, path: &Path) -> Result<Self> {
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            let len = metadata.len();
            Ok((metadata.is_file() && len > small).then_some((file, len)))
        };
        match open().map_err(Error::file(path, "read"))? {
            None => Ok(Self::Memory(Arc::new(files::read(path)?))),
            Some((file, len)) => Ok(Self::File {
                file: Arc::new(file),
                path: Arc::new(path.to_path_buf()),
                len,
            }),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// Reads as many bytes as `to` has, or fewer at the end.
    fn read_at(&self, at: u64, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(bytes) => {
                let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..));
                let rest = rest.unwrap_or(&[]);
                let count = rest.len().min(to.len());
                to[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
            Self::File { file, .. } => {
                let mut count = 0;
                while count < to.len() {
                    match positioned(file, &mut to[count..], at + count as u64) {
                        Ok(0) => break,
                        Ok(more) => count += more,
                        Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                        Err(cause) => return Err(cause),
                    }
                }
                Ok(count)
            }
        }
    }

    /// The bytes from the first on.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader {
            source: self,
            at: 0,
        }
    }
}

#[cfg(unix)]
fn positioned(file: &File, to: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, to, at)
}

#[cfg(windows)]
fn positioned(file: &File, to: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, to, at)
}

/// Reads a [`Source`] from its start; several may do so at once.
pub(crate) struct Reader<'a> {
    source: &'a Source,
    /// Bytes that were read.
    pub(crate) at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read_at(self.at, to)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl io::Seek for Reader<'_> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let (from, by) = match to {
            io::SeekFrom::Start(at) => (at, 0),
            io::SeekFrom::End(by) => (self.source.len(), by),
            io::SeekFrom::Current(by) => (self.at, by),
        };
        self.at = from
            .checked_add_signed(by)
            .ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Numbers of one type, one after the other.
#[derive(Clone, Debug)]
pub struct Numbers {
    source: Source,
    /// Where the first one begins.
    offset: u64,
    kind: Kind,
    big_endian: bool,
    len: usize,
}

/// Bytes that are read from a file at once.
const BLOCK: usize = 8192;

impl Numbers {
    /// The bytes of `source` from `offset` on as numbers; a part of one at the end is left out.
    pub(crate) fn new(source: Source, offset: u64, kind: Kind, big_endian: bool) -> Self {
        let len = source.len().saturating_sub(offset) / kind.width() as u64;
        Self {
            source,
            offset,
            kind,
            big_endian,
            len: usize::try_from(len).unwrap_or(usize::MAX),
        }
    }

    /// The first `len` of them.
    pub(crate) fn first(self, len: usize) -> Self {
        Self {
            len: len.min(self.len),
            ..self
        }
    }

    /// Counts of 8 bits in memory.
    #[must_use]
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self::new(Source::Memory(Arc::new(bytes)), 0, Kind::U8, false)
    }

    /// Real numbers in memory.
    #[must_use]
    pub fn reals(numbers: &[f32]) -> Self {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
        Self::new(
            Source::Memory(Arc::new(bytes.collect())),
            0,
            Kind::F32,
            false,
        )
    }

    /// Their type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads the numbers from the index `first` on, as many as `to` has, each rounded to f32.
    ///
    /// # Errors
    /// [`Error::File`] where the system cannot read, [`Error::Data`] where there are fewer, as in a file that was cut
    /// meanwhile.
    pub fn read(&self, first: usize, to: &mut [f32]) -> Result<()> {
        let width = self.kind.width();
        if let Source::Memory(bytes) = &self.source {
            let start = (self.offset as usize).saturating_add(first.saturating_mul(width));
            let bytes = bytes.get(start..).unwrap_or(&[]);
            let bytes = bytes.get(..to.len() * width).ok_or_else(too_few)?;
            self.decode(bytes, to);
            return Ok(());
        }
        let mut block = [0; BLOCK];
        let mut at = self.offset + first as u64 * width as u64;
        for to in to.chunks_mut(BLOCK / width) {
            let block = &mut block[..to.len() * width];
            let count = self.source.read_at(at, block);
            let count = count.map_err(|cause| match &self.source {
                Source::File { path, .. } => Error::file(path, "read")(cause),
                Source::Memory(_) => too_few(),
            })?;
            if count < block.len() {
                return Err(match &self.source {
                    Source::File { path, .. } => Error::Data {
                        place: path.display().to_string(),
                        expected: "the numbers that it had when it was opened".into(),
                        given: format!("it ends at byte {}", at + count as u64),
                    },
                    Source::Memory(_) => too_few(),
                });
            }
            self.decode(block, to);
            at += block.len() as u64;
        }
        Ok(())
    }

    fn decode(&self, bytes: &[u8], to: &mut [f32]) {
        match self.kind {
            Kind::Bool => self.convert(bytes, to, |[byte]| f32::from(u8::from(byte != 0))),
            Kind::U8 => self.convert(bytes, to, |[byte]| f32::from(byte)),
            Kind::I8 => self.convert(bytes, to, |bytes| i8::from_le_bytes(bytes).into()),
            Kind::U16 => self.convert(bytes, to, |bytes| u16::from_le_bytes(bytes).into()),
            Kind::I16 => self.convert(bytes, to, |bytes| i16::from_le_bytes(bytes).into()),
            // The lowest byte is none of the number's, and the shift takes the sign along.
            Kind::I24 => self.convert(bytes, to, |[low, middle, high]| {
                (i32::from_le_bytes([0, low, middle, high]) >> 8) as f32
            }),
            Kind::U32 => self.convert(bytes, to, |bytes| u32::from_le_bytes(bytes) as f32),
            Kind::I32 => self.convert(bytes, to, |bytes| i32::from_le_bytes(bytes) as f32),
            Kind::U64 => self.convert(bytes, to, |bytes| u64::from_le_bytes(bytes) as f32),
            Kind::I64 => self.convert(bytes, to, |bytes| i64::from_le_bytes(bytes) as f32),
            Kind::F32 => self.convert(bytes, to, f32::from_le_bytes),
            Kind::F64 => self.convert(bytes, to, |bytes| f64::from_le_bytes(bytes) as f32),
        }
    }

    /// `convert` is handed the low byte first.
    fn convert<const WIDTH: usize>(
        &self,
        bytes: &[u8],
        to: &mut [f32],
        convert: impl Fn([u8; WIDTH]) -> f32,
    ) {
        let (numbers, _) = bytes.as_chunks::<WIDTH>();
        if self.big_endian {
            for (to, number) in to.iter_mut().zip(numbers) {
                let mut number = *number;
                number.reverse();
                *to = convert(number);
            }
        } else {
            for (to, number) in to.iter_mut().zip(numbers) {
                *to = convert(*number);
            }
        }
    }
}

fn too_few() -> Error {
    Error::Data {
        place: "numbers in memory".into(),
        expected: "an index of one of them".into(),
        given: "a later one came".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, big_endian: bool, bytes: &[u8]) -> Vec<f32> {
        let numbers = Numbers::new(
            Source::Memory(Arc::new(bytes.to_vec())),
            0,
            kind,
            big_endian,
        );
        let mut found = vec![0.0; numbers.len()];
        numbers.read(0, &mut found).unwrap();
        found
    }

    #[test]
    fn numbers_of_24_bits_keep_their_sign() {
        let bytes = [
            0, 0, 0x80, 0xff, 0xff, 0xff, 1, 0, 0, 0xff, 0xff, 0x7f, 0x56, 0x34, 0x12,
        ];
        let expected = [
            -8_388_608.0,
            -1.0,
            1.0,
            8_388_607.0,
            f32::from(0x1234_u16) * 256.0 + 86.0,
        ];
        assert_eq!(read(Kind::I24, false, &bytes), expected);
    }

    #[test]
    fn either_order_of_bytes_and_the_ends_of_every_type_are_read() {
        let check = |kind: Kind, least: &[u8], greatest: &[u8]| {
            let expected = kind.counts().unwrap();
            assert_eq!(read(kind, false, &[least, greatest].concat()), expected);
            let reversed: Vec<u8> = [least, greatest]
                .iter()
                .flat_map(|bytes| bytes.iter().rev().copied())
                .collect();
            assert_eq!(read(kind, true, &reversed), expected);
        };
        check(Kind::Bool, &[0], &[7]);
        check(Kind::U8, &[0], &[255]);
        check(Kind::I8, &i8::MIN.to_le_bytes(), &i8::MAX.to_le_bytes());
        check(Kind::U16, &u16::MIN.to_le_bytes(), &u16::MAX.to_le_bytes());
        check(Kind::I16, &i16::MIN.to_le_bytes(), &i16::MAX.to_le_bytes());
        check(Kind::I24, &[0, 0, 0x80], &[0xff, 0xff, 0x7f]);
        check(Kind::U32, &u32::MIN.to_le_bytes(), &u32::MAX.to_le_bytes());
        check(Kind::I32, &i32::MIN.to_le_bytes(), &i32::MAX.to_le_bytes());
        check(Kind::U64, &u64::MIN.to_le_bytes(), &u64::MAX.to_le_bytes());
        check(Kind::I64, &i64::MIN.to_le_bytes(), &i64::MAX.to_le_bytes());
        assert_eq!(read(Kind::F64, true, &0.1f64.to_be_bytes()), [0.1]);
        assert_eq!(read(Kind::F32, true, &0.1f32.to_be_bytes()), [0.1]);
    }

    #[test]
    fn a_file_is_read_in_blocks_and_one_that_is_cut_meanwhile_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        let bytes: Vec<u8> = (0..BLOCK * 3)
            .map(|index| (index * 7919 % 251) as u8)
            .collect();
        std::fs::write(&path, &bytes).unwrap();
        for kind in [Kind::U8, Kind::I24, Kind::I64] {
            let numbers = Numbers::new(Source::open_beyond(0, &path).unwrap(), 1, kind, false);
            let first = 5;
            let mut found = vec![0.0; numbers.len() - first];
            numbers.read(first, &mut found).unwrap();
            assert_eq!(found, read(kind, false, &bytes[1 + first * kind.width()..]));
            assert!(numbers.read(numbers.len(), &mut [0.0]).is_err());
        }
        let numbers = Numbers::new(Source::open_beyond(0, &path).unwrap(), 0, Kind::U8, false);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(9000)
            .unwrap();
        numbers.read(8999, &mut [0.0]).unwrap();
        let problem = numbers.read(8999, &mut [0.0; 2]).unwrap_err().to_string();
        assert!(problem.contains("it ends at byte 9000"), "{problem}");
    }
}
