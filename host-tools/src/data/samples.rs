//! Samples: numbers that become what a network takes when they are read.

use std::sync::OnceLock;

use narrows_core::blob::Preprocessing;

use super::Numbers;
use crate::error::Result;
use crate::train::zeros;

/// Samples that a network takes. Their numbers stay where they are, perhaps in a file, and are prepared one sample at a
/// time.
#[derive(Clone, Debug)]
pub struct Samples {
    numbers: Numbers,
    preprocessing: Preprocessing,
    sample_len: usize,
    /// Numbers from the beginning of a sample to that of the next.
    stride: usize,
    /// Which sample of `numbers` is the first of these.
    first: usize,
    len: usize,
    labels: Option<Vec<u8>>,
    digest: OnceLock<u32>,
}

/// Numbers that a pass over all samples has in memory, unless a single one has more.
const PASS: usize = 1 << 14;

impl Samples {
    /// `len` samples of `sample_len` numbers, one of which begins every `stride` numbers: `numbers` must have as many.
    pub(super) fn new(
        numbers: Numbers,
        preprocessing: Preprocessing,
        [sample_len, stride, len]: [usize; 3],
        labels: Option<Vec<u8>>,
    ) -> Self {
        Self {
            numbers,
            preprocessing,
            sample_len,
            stride,
            first: 0,
            len,
            labels,
            digest: OnceLock::new(),
        }
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

    /// Numbers of one sample.
    #[must_use]
    pub fn sample_len(&self) -> usize {
        self.sample_len
    }

    /// The samples' labels.
    #[must_use]
    pub fn labels(&self) -> Option<&[u8]> {
        self.labels.as_deref()
    }

    /// Prepares the samples from the index `first` on, as many as `to` has room for.
    ///
    /// # Errors
    /// [`Error::File`](crate::error::Error::File), and [`Error::Data`](crate::error::Error::Data) where the file was cut
    /// meanwhile.
    ///
    /// # Panics
    /// Where `to` is not whole samples, or there are fewer.
    pub fn read(&self, first: usize, to: &mut [f32]) -> Result<()> {
        let count = to.len() / self.sample_len;
        assert!(
            to.len().is_multiple_of(self.sample_len) && count <= self.len.saturating_sub(first),
            "{} numbers from sample {first} on of {} of {}",
            to.len(),
            self.len,
            self.sample_len
        );
        let first = self.first + first;
        if self.stride == self.sample_len {
            self.numbers.read(first * self.stride, to)?;
        } else {
            for (index, sample) in to.chunks_exact_mut(self.sample_len).enumerate() {
                self.numbers.read((first + index) * self.stride, sample)?;
            }
        }
        if self.numbers.kind().counts().is_some() {
            prepare(self.preprocessing, to);
        }
        Ok(())
    }

    /// Prepares block after block of `samples` samples, the last of which may have fewer, and hands each to `take` with the
    /// index of its first sample.
    ///
    /// # Errors
    /// As [`Self::read`]; [`Error::Memory`](crate::error::Error::Memory); what `take` says.
    pub fn for_each_block(
        &self,
        samples: usize,
        mut take: impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let samples = samples.clamp(1, self.len.max(1));
        let mut block = zeros("samples", samples.saturating_mul(self.sample_len))?;
        for first in (0..self.len).step_by(samples) {
            let block = &mut block[..samples.min(self.len - first) * self.sample_len];
            self.read(first, block)?;
            take(first, block)?;
        }
        Ok(())
    }

    /// All numbers, sample after sample, where there is memory for them.
    ///
    /// # Errors
    /// As [`Self::read`]; [`Error::Memory`](crate::error::Error::Memory).
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        let mut all = zeros("samples", self.len.saturating_mul(self.sample_len))?;
        self.read(0, &mut all)?;
        Ok(all)
    }

    /// CRC-32 of the numbers' bits, little-endian: for a blob's provenance. The first call reads all samples; later ones
    /// know.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn digest(&self) -> Result<u32> {
        if let Some(digest) = self.digest.get() {
            return Ok(*digest);
        }
        let mut hasher = crc32fast::Hasher::new();
        let mut bytes = Vec::new();
        self.for_each_block(PASS / self.sample_len, |_, block| {
            bytes.clear();
            bytes.extend(block.iter().flat_map(|value| value.to_le_bytes()));
            hasher.update(&bytes);
            Ok(())
        })?;
        Ok(*self.digest.get_or_init(|| hasher.finalize()))
    }

    /// Leaves the first `count` of them, or all if there are fewer.
    pub fn truncate(&mut self, count: usize) {
        if count < self.len {
            self.split_off(count);
        }
    }

    /// Takes the last part away, and returns it: this share of them, from 0 to 1, rounded down.
    pub fn split_last(&mut self, share: f64) -> Self {
        let count = (share * self.len as f64).floor() as usize;
        self.split_off(self.len - count.min(self.len))
    }

    /// Takes the samples from the index `at` on away.
    fn split_off(&mut self, at: usize) -> Self {
        let rest = Self {
            numbers: self.numbers.clone(),
            first: self.first + at,
            len: self.len - at,
            labels: self.labels.as_mut().map(|labels| labels.split_off(at)),
            digest: OnceLock::new(),
            ..*self
        };
        self.len = at;
        self.digest = OnceLock::new();
        rest
    }
}

/// Prepares counts: `(x - offset) * scale`.
pub(super) fn prepare(Preprocessing { offset, scale, .. }: Preprocessing, counts: &mut [f32]) {
    for count in counts {
        *count = (*count - offset) * scale;
    }
}
