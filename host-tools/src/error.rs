//! What can go wrong on the desktop, as values with the facts in them. Each is one line.

use std::io;
use std::path::{Path, PathBuf};

/// Why the library refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused a file.
    #[error("{}: cannot {action}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was to be done with it.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A recipe is not one.
    #[error("{file}:{line}: {problem}")]
    Recipe {
        /// The file's name, or the preset's.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The key, what was expected, what came.
        problem: String,
    },
    /// A recipe made by a program, or changed by an option, does not hold together.
    #[error("recipe \"{recipe}\": {problem}")]
    Plan {
        /// The recipe's name.
        recipe: String,
        /// The key or the layer, what was expected, what came.
        problem: String,
    },
    /// A name is not one of those that are known.
    #[error("{0}")]
    Unknown(
        /// What is unknown, what was perhaps meant, what is known.
        String,
    ),
    /// Data are not what they should be.
    #[error("{place}: expected {expected}, but {given}")]
    Data {
        /// The file, and the array or the element in it.
        place: String,
        /// What should be there.
        expected: String,
        /// What came, as a clause: `12 came`, `it ends after 3 bytes`.
        given: String,
    },
    /// A file of the program's own, a model or a checkpoint, cannot be used.
    #[error("{}: {problem}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What was expected, what came.
        problem: String,
    },
    /// Core refused.
    #[error("{place}: {source}")]
    Core {
        /// What was being worked on.
        place: String,
        /// Why.
        source: narrows_core::error::Error,
    },
    /// Training went astray.
    #[error(
        "{stage}, epoch {epoch}, step {step}: {problem}; the last checkpoint is kept, try learning_rate = {rate}"
    )]
    Diverged {
        /// The stage's name.
        stage: String,
        /// The epoch of the stage, from 1.
        epoch: u32,
        /// The step since the stage's start, from 1.
        step: u64,
        /// What was expected, what came, in which layer first.
        problem: String,
        /// A learning rate that may do better.
        rate: f64,
    },
    /// The system does not tell the program of Ctrl-C.
    #[error("Ctrl-C: expected to be told of it, but {problem}")]
    Interrupt {
        /// What the system says.
        problem: String,
    },
    /// There is not enough memory.
    #[error("{what}: expected {bytes} bytes of memory, but the system has not so many")]
    Memory {
        /// What for.
        what: &'static str,
        /// How much.
        bytes: usize,
    },
    /// The system does not give so many threads.
    #[error("expected {asked} threads, but {problem}")]
    Threads {
        /// How many were to compute.
        asked: usize,
        /// What the system says.
        problem: String,
    },
    /// A device does not answer.
    #[error(transparent)]
    Device(#[from] crate::device::Error),
    /// A device answered with other bits.
    #[error(
        "picture {picture}, output {output}: expected {desktop} ({:#010x}) as on the desktop, but the device answered {device} ({:#010x})",
        desktop.to_bits(), device.to_bits()
    )]
    Different {
        /// The picture's index.
        picture: usize,
        /// The first output that differs.
        output: usize,
        /// The desktop's value.
        desktop: f32,
        /// The device's.
        device: f32,
    },
}

/// The library's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// For `map_err`: the system could not do `action` with the file at `path`.
    pub(crate) fn file(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            path: path.to_path_buf(),
            action,
            source,
        }
    }

    /// For `map_err`: core refused `place`.
    pub(crate) fn core(
        place: impl Into<String>,
    ) -> impl FnOnce(narrows_core::error::Error) -> Self {
        move |source| Self::Core {
            place: place.into(),
            source,
        }
    }
}
