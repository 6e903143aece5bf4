//! Data: files become arrays, and arrays become the samples that a network takes.
//!
//! | what | read by |
//! | --- | --- |
//! | IDX, gzipped or not, one file or a folder with MNIST's four | [`idx`] |
//! | NumPy's `.npy` and `.npz` | [`numpy`] |
//! | what comes with the library | [`bundled`] |
//!
//! An [`Array`] is what a file says, checked for counts and finite numbers. [`Array::samples`] prepares it as a recipe
//! asks: integers are counts and become `(x - offset) * scale`, real numbers are taken as they are, what the network could
//! not give back is refused, and a recording is cut into windows.

pub mod bundled;
pub mod idx;
pub mod numpy;

use std::path::Path;

use narrows_core::blob::Preprocessing;
use narrows_core::network::Network;
use narrows_core::shape::Shape;

use crate::error::{Error, Result};
use crate::{files, recipe};

/// The numbers of an array, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Counts of 8 bits.
    Bytes(Vec<u8>),
    /// Counts of any other width.
    Counts(Vec<f32>),
    /// Finite real numbers.
    Reals(Vec<f32>),
}

/// An array as a file has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The file, and the name of the array in it if there are several.
    pub place: String,
    /// The extent of each axis; the first counts the samples.
    pub shape: Vec<usize>,
    /// As many as the product of the extents.
    pub numbers: Numbers,
}

/// Arrays that belong together.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// What is trained on.
    pub train: Option<Array>,
    /// A label for each sample of `train`.
    pub train_labels: Option<Array>,
    /// What training never sees.
    pub test: Option<Array>,
    /// A label for each sample of `test`.
    pub test_labels: Option<Array>,
}

/// Samples that a network takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    values: Vec<f32>,
    sample_len: usize,
    labels: Option<Vec<u8>>,
}

/// What a training run works on.
#[derive(Clone, Debug)]
pub struct Data {
    /// What is trained on.
    pub train: Samples,
    /// What the run is judged by after each epoch, where there is something.
    pub validation: Option<Samples>,
}

/// Reads a folder with MNIST's file names, or one file of any known kind.
///
/// # Errors
/// [`Error::File`] and [`Error::Data`].
pub fn load(path: &Path) -> Result<Raw> {
    if path.is_dir() {
        return idx::load_folder(path);
    }
    let bytes = files::read(path)?;
    let place = path.display().to_string();
    let whole = |array| Raw {
        train: Some(array),
        ..Raw::default()
    };
    if numpy::is_npy(&bytes) {
        numpy::parse(&bytes[..], bytes.len() as u64, place).map(whole)
    } else if numpy::is_npz(&bytes) {
        numpy::parse_npz(&bytes, &place)
    } else {
        idx::parse(&bytes, place).map(whole)
    }
}

impl Raw {
    /// Prepares what a training run works on: the training samples, of which the last part may be kept for validation;
    /// else the test samples are what validates.
    ///
    /// # Errors
    /// As [`Array::samples`]; [`Error::Data`] where there is nothing to train on.
    pub fn training_data(self, plan: &recipe::Plan<'_>, place: &str) -> Result<Data> {
        let (settings, network) = (&plan.recipe().data, plan.network());
        let prepare = |array: Array, labels| {
            array.within(plan.range(), plan.preprocessing())?.samples(
                network.input(),
                settings.step,
                labels,
            )
        };
        let Some(train) = self.train else {
            return Err(Error::Data {
                place: place.into(),
                expected: "data to train on".into(),
                given: "only test data came".into(),
            });
        };
        let place = train.place.clone();
        let mut train = prepare(train, self.train_labels)?;
        let kept = (settings.validation_split * train.len() as f64).floor() as usize;
        let validation = if kept > 0 {
            Some(train.split_off(train.len() - kept))
        } else {
            self.test
                .map(|test| prepare(test, self.test_labels))
                .transpose()?
        };
        if train.is_empty() {
            return Err(Error::Data {
                place,
                expected: "at least one sample to train on".into(),
                given: "none came".into(),
            });
        }
        Ok(Data { train, validation })
    }

    /// Prepares what a model is judged by: the test samples, or all there are.
    ///
    /// # Errors
    /// As [`Array::samples`].
    pub fn test_data(
        self,
        network: &Network<'_>,
        preprocessing: Preprocessing,
        step: Option<usize>,
        place: &str,
    ) -> Result<Samples> {
        let (array, labels) = match self.test {
            Some(test) => (Some(test), self.test_labels),
            None => (self.train, self.train_labels),
        };
        let nothing = || Error::Data {
            place: place.into(),
            expected: "samples".into(),
            given: "none came".into(),
        };
        let array = array
            .ok_or_else(nothing)?
            .within(recipe::range(network), preprocessing)?;
        let samples = array.samples(network.input(), step, labels)?;
        if samples.is_empty() {
            Err(nothing())
        } else {
            Ok(samples)
        }
    }
}

impl Array {
    /// An array that holds together.
    ///
    /// # Errors
    /// [`Error::Data`] where a real number is not finite, with its index.
    pub(crate) fn new(place: String, shape: Vec<usize>, numbers: Numbers) -> Result<Self> {
        if let Numbers::Reals(values) = &numbers
            && let Some(index) = values.iter().position(|value| !value.is_finite())
        {
            let expected = "a finite number of 32 bits".into();
            let given = format!("{} came", values[index]);
            return Err(Error::Data {
                place: format!("{place}, element {}", element(&shape, index)),
                expected,
                given,
            });
        }
        Ok(Self {
            place,
            shape,
            numbers,
        })
    }

    /// The array with its integers prepared: `(x - offset) * scale`.
    #[must_use]
    pub fn prepared(mut self, Preprocessing { offset, scale }: Preprocessing) -> Self {
        let prepare = |count: f32| (count - offset) * scale;
        self.numbers = Numbers::Reals(match self.numbers {
            Numbers::Bytes(bytes) => bytes
                .into_iter()
                .map(|byte| prepare(f32::from(byte)))
                .collect(),
            Numbers::Counts(counts) => counts.into_iter().map(prepare).collect(),
            Numbers::Reals(reals) => reals,
        });
        self
    }

    /// The array prepared, with every number from `low` to `high`, the range that the network can give back.
    ///
    /// # Errors
    /// [`Error::Data`] with the first number that is outside, and its index.
    pub fn within(self, [low, high]: [f32; 2], preprocessing: Preprocessing) -> Result<Self> {
        let counts = !matches!(self.numbers, Numbers::Reals(_));
        let array = self.prepared(preprocessing);
        let Numbers::Reals(values) = &array.numbers else {
            return Ok(array);
        };
        let Some(index) = values
            .iter()
            .position(|value| !(low..=high).contains(value))
        else {
            return Ok(array);
        };
        let Preprocessing { offset, scale } = preprocessing;
        let how = if counts {
            format!(" as (count - {offset}) * {scale}")
        } else {
            String::new()
        };
        Err(Error::Data {
            place: format!("{}, element {}", array.place, element(&array.shape, index)),
            expected: format!(
                "a number from {low} to {high}, which the network's last activation can give"
            ),
            given: format!("{} came{how}", values[index]),
        })
    }

    /// The samples of the shape `input`.
    ///
    /// A sample must have the axes of `input`, or it or the input is flat; axes of extent one don't count. An array with
    /// one axis that is longer than a sample is a recording: it is cut into windows, one of which begins every `step`
    /// numbers, by default as many as a window has. Integers that were not prepared are taken as they are.
    ///
    /// # Errors
    /// [`Error::Data`] where the shape is another, and where labels are not one byte for each sample.
    pub fn samples(
        self,
        input: Shape,
        step: Option<usize>,
        labels: Option<Self>,
    ) -> Result<Samples> {
        let sample_len = input.len();
        let untouched = Preprocessing {
            offset: 0.0,
            scale: 1.0,
        };
        let Self {
            place,
            shape,
            numbers: Numbers::Reals(values),
        } = self.prepared(untouched)
        else {
            return Ok(Samples {
                values: Vec::new(),
                sample_len,
                labels: None,
            });
        };
        let (count, values) = if shape.len() == 1 && shape[0] != sample_len {
            windows(&values, sample_len, step.unwrap_or(sample_len), &place)?
        } else {
            let (count, axes) = match shape.split_first() {
                Some((count, axes)) if shape.len() > 1 => (*count, axes),
                _ => (1, &shape[..]),
            };
            if !fits(axes, input) {
                return Err(Error::Data {
                    place,
                    expected: format!("samples of {input}"),
                    given: format!("samples of {axes:?} came"),
                });
            }
            (count, values)
        };
        let labels = match labels {
            None => None,
            Some(Self {
                shape,
                numbers: Numbers::Bytes(labels),
                ..
            }) if shape == [count] => Some(labels),
            Some(labels) => {
                return Err(Error::Data {
                    place: labels.place,
                    expected: format!("a byte for each of {count} samples"),
                    given: format!("an array of {:?} came", labels.shape),
                });
            }
        };
        Ok(Samples {
            values,
            sample_len,
            labels,
        })
    }
}

/// Whether samples with these axes are what a network with this input takes.
fn fits(axes: &[usize], input: Shape) -> bool {
    let essential = |axes: &[usize]| {
        axes.iter()
            .copied()
            .filter(|extent| *extent != 1)
            .collect::<Vec<_>>()
    };
    let same_len = axes
        .iter()
        .try_fold(1usize, |len, extent| len.checked_mul(*extent))
        == Some(input.len());
    match input {
        Shape::Flat { .. } => same_len,
        Shape::Picture {
            height,
            width,
            channels,
        } => {
            let places = [height, width, channels].map(|extent| extent as usize);
            same_len && (axes.len() == 1 || essential(axes) == essential(&places))
        }
    }
}

/// Cuts a recording into windows.
fn windows(recording: &[f32], len: usize, step: usize, place: &str) -> Result<(usize, Vec<f32>)> {
    if recording.len() < len {
        return Err(Error::Data {
            place: place.into(),
            expected: format!("a recording of at least {len} numbers, as a sample has"),
            given: format!("{} came", recording.len()),
        });
    }
    let windows = recording.windows(len).step_by(step.max(1));
    let count = windows.len();
    let mut values = Vec::new();
    let bytes = count.saturating_mul(len).saturating_mul(size_of::<f32>());
    values
        .try_reserve_exact(count.saturating_mul(len))
        .map_err(|_| Error::Memory {
            what: "windows",
            bytes,
        })?;
    windows.for_each(|window| values.extend_from_slice(window));
    Ok((count, values))
}

/// The place of the element `index` along each axis, for messages.
fn element(shape: &[usize], mut index: usize) -> String {
    let mut place: Vec<usize> = Vec::new();
    for extent in shape.iter().rev() {
        place.push(index % (*extent).max(1));
        index /= (*extent).max(1);
    }
    place.reverse();
    format!("{place:?}")
}

impl Samples {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.sample_len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Numbers of one sample.
    #[must_use]
    pub fn sample_len(&self) -> usize {
        self.sample_len
    }

    /// All numbers, sample after sample.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Copies a sample.
    ///
    /// # Errors
    /// None where the samples lie in memory.
    pub fn read(&self, index: usize, out: &mut [f32]) -> Result<()> {
        out.copy_from_slice(&self.values[index * self.sample_len..][..self.sample_len]);
        Ok(())
    }

    /// The samples' labels.
    #[must_use]
    pub fn labels(&self) -> Option<&[u8]> {
        self.labels.as_deref()
    }

    /// CRC-32 of the numbers' bits, little-endian: for a blob's provenance.
    #[must_use]
    pub fn digest(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for values in self.values.chunks(1024) {
            let mut bytes = [0; 4096];
            for (to, value) in bytes.chunks_exact_mut(4).zip(values) {
                to.copy_from_slice(&value.to_le_bytes());
            }
            hasher.update(&bytes[..values.len() * 4]);
        }
        hasher.finalize()
    }

    /// Leaves the first `count` of them, or all if there are fewer.
    pub fn truncate(&mut self, count: usize) {
        if count < self.len() {
            self.split_off(count);
        }
    }

    /// Takes the samples from the index `at` on away.
    fn split_off(&mut self, at: usize) -> Self {
        let values = self.values.split_off(at * self.sample_len);
        let labels = self.labels.as_mut().map(|labels| labels.split_off(at));
        Self {
            values,
            sample_len: self.sample_len,
            labels,
        }
    }
}
