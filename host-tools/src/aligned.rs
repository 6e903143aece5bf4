//! Memory that wide vectors load quickly.

use std::ops::{Deref, DerefMut};

use crate::error::Result;
use crate::train::zeros;

/// Numbers that begin where a line of the cache does. A wide vector that lies across two lines takes twice as long to load
/// and to store; with 512 bits, and numbers that begin anywhere, every one does.
#[derive(Debug)]
pub(crate) struct Aligned {
    numbers: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// Bytes of a line.
    const LINE: usize = 64;

    /// So many zeros, or an error where the system has not so much memory.
    ///
    /// # Errors
    /// [`Error::Memory`] with `what` they are for.
    pub(crate) fn zeros(what: &'static str, len: usize) -> Result<Self> {
        let numbers = zeros(what, len.saturating_add(Self::LINE / size_of::<f32>()))?;
        let start = numbers.as_ptr().align_offset(Self::LINE);
        // Where the offset cannot be told, anywhere will do.
        let start = if start <= numbers.len() - len {
            start
        } else {
            0
        };
        Ok(Self {
            numbers,
            start,
            len,
        })
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[self.start..][..self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.start..][..self.len]
    }
}
