//! A folder of its own for each test, and the files that the command works on, written by hand so that no reader is
//! tested with its own writer.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Six numbers, three, and six: trained in no time.
pub(crate) const TINY: &str = r#"
name = "tiny"

[network]
input = [6]
code = "code"
layers = [
  { type = "dense", units = 3, activation = "relu", name = "code" },
  { type = "dense", units = 6, activation = "sigmoid", name = "output" },
]

[training]
batch_size = 4
epochs = 3
"#;

pub(crate) struct Workplace(tempfile::TempDir);

impl Workplace {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One with `tiny.toml`, ten samples in `samples.npy`, and `out/tiny.narrows` and its checkpoint trained on them.
    pub(crate) fn trained() -> Self {
        let place = Self::new();
        place.write("tiny.toml", TINY);
        place.write("samples.npy", reals(&[10, 6], &ramp(60)));
        place.succeed(&[
            "train",
            "tiny.toml",
            "--data",
            "samples.npy",
            "--out",
            "out",
        ]);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|cause| panic!("{name}: {cause}"))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_narrows"));
        command.args(arguments).current_dir(self.0.path());
        command
    }

    /// Runs the command to its good end, and returns what it prints.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the command, which must refuse with one line that has all `facts` in it, and change no file.
    pub(crate) fn refuse(&self, arguments: &[&str], facts: &[&str]) {
        let before = self.files();
        let output = self.command(arguments).output().unwrap();
        refused(&output, facts);
        assert!(
            before == self.files(),
            "{arguments:?} changed a file: {:?}",
            self.files().keys()
        );
    }

    /// The names of all files and folders, and what is in them.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        collect(self.0.path(), &mut found);
        found
    }
}

fn collect(folder: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            collect(&path, found);
        }
        let bytes = kind.is_file().then(|| fs::read(&path).unwrap());
        found.insert(path, bytes);
    }
}

/// Holds an output against what is promised for bad input: an exit status of its own, and one line with the facts.
pub(crate) fn refused(output: &Output, facts: &[&str]) {
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    // 101 is a panic's status, and a signal has none.
    assert!(
        matches!(output.status.code(), Some(1 | 2)),
        "{:?}: {line}",
        output.status
    );
    assert_eq!(line.lines().count(), 1, "one line, not {line:?}");
    assert!(
        line.starts_with("error: ") && line.ends_with('\n'),
        "{line:?}"
    );
    assert!(line.len() < 500, "a line that can be read, not {line:?}");
    for fact in facts {
        assert!(line.contains(fact), "expected {fact:?} in {line:?}");
    }
}

/// Numbers from 0 to below 1 that repeat late.
pub(crate) fn ramp(count: usize) -> Vec<f32> {
    (0..count)
        .map(|index| (index * 7919 % 1009) as f32 / 1009.0)
        .collect()
}

/// A `.npy` of any type, `shape` as Python writes it.
pub(crate) fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let mut header =
        format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// A `.npy` of 32-bit real numbers.
pub(crate) fn reals(shape: &[usize], numbers: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let shape: String = shape.iter().map(|extent| format!("{extent},")).collect();
    npy("'<f4'", false, &format!("({shape})"), &data)
}

/// The shape as Python writes it, and the numbers, of a `.npy` of 32-bit real numbers.
pub(crate) fn read_reals(bytes: &[u8]) -> (String, Vec<f32>) {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    assert!(
        header.contains("<f4") && header.contains("False"),
        "{header}"
    );
    let shape = header.split_once('(').unwrap().1.split_once(')').unwrap().0;
    let numbers = bytes[start..]
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    (
        shape.replace(' ', "").trim_end_matches(',').to_owned(),
        numbers.collect(),
    )
}

/// IDX with unsigned bytes.
pub(crate) fn idx(shape: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    bytes.extend(shape.iter().flat_map(|extent| extent.to_be_bytes()));
    bytes.extend(data);
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zip that does not compress, so that a test can find the bytes of an array in it.
pub(crate) fn npz(arrays: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in arrays {
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
