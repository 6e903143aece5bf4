//! Data: files become arrays, and arrays become the samples that a network takes.
//!
//! | what | read by |
//! | --- | --- |
//! | IDX, gzipped or not, one file or a folder with MNIST's four | [`idx`] |
//! | NumPy's `.npy` and `.npz` | [`numpy`] |
//! | a recording as WAV, of integers or real numbers | `wav` |
//! | CSV with a header: a row a sample, or a recording with a column for each channel | `csv` |
//! | a folder of PNG and JPEG, or of folders of them, one for each class | `pictures` |
//! | what comes with the library | [`bundled`] |
//!
//! An [`Array`] is what a file says, with its [`Numbers`] where they lie: what is not compressed is never read as a whole.
//! [`Array::samples`] says how it becomes samples: integers are counts and become `(x - offset) * scale`, real numbers are
//! taken as they are, and a recording is cut into windows. [`Array::check`] refuses what the network could not give back.
//! [`Samples`] are read one by one, in any order.

pub mod bundled;
mod csv;
pub mod idx;
mod numbers;
pub mod numpy;
mod pictures;
mod samples;
mod wav;

use std::io::{self, BufReader, Read};
use std::path::Path;

use narrows_core::blob::{Model, Preprocessing, Rule};
use narrows_core::network::Network;
use narrows_core::shape::Shape;

use crate::error::{Error, Result};
use crate::recipe;
use crate::train::zeros;
use numbers::Source;
pub use numbers::{Kind, Numbers};
pub use samples::Samples;
use samples::prepare;

/// An array as a file has it.
#[derive(Clone, Debug)]
pub struct Array {
    /// The file, and the name of the array in it if there are several.
    pub place: String,
    /// The extent of each axis; the first counts the samples.
    pub shape: Vec<usize>,
    /// As many as the product of the extents.
    pub numbers: Numbers,
    /// Whether the first axis counts the frames of a recording, and the second, if there is one, its channels.
    pub recording: bool,
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

/// What a training run works on.
#[derive(Clone, Debug)]
pub struct Data {
    /// What is trained on.
    pub train: Samples,
    /// What the run is judged by after each epoch, where there is something.
    pub validation: Option<Samples>,
    /// What the network is to make of each sample of `train`, where that is not the sample itself.
    pub targets: Option<Samples>,
    /// The same for `validation`.
    pub validation_targets: Option<Samples>,
}

impl Data {
    /// CRC-32 of the training samples, and of their targets where they have some: for a blob's provenance.
    ///
    /// # Errors
    /// As [`Samples::digest`].
    pub fn digest(&self) -> Result<u32> {
        let inputs = self.train.digest()?;
        let Some(targets) = &self.targets else {
            return Ok(inputs);
        };
        let both = [inputs.to_le_bytes(), targets.digest()?.to_le_bytes()];
        Ok(crc32fast::hash(both.as_flattened()))
    }
}

/// What is asked of files that do not say it themselves.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// What a sample is to be.
    pub input: Shape,
    /// What becomes of recordings and pictures.
    pub rule: Rule,
    /// Names of the columns of a CSV that are taken; all where there are none.
    pub columns: &'a [String],
    /// Name of the column with the labels.
    pub label: Option<&'a str>,
}

impl<'a> Reading<'a> {
    /// As a plan asks for it.
    #[must_use]
    pub fn of_plan(plan: &recipe::Plan<'a>) -> Self {
        let settings = &plan.recipe().data;
        Self {
            input: plan.network().input(),
            rule: plan.preprocessing().rule,
            columns: &settings.columns,
            label: settings.label.as_deref(),
        }
    }

    /// As a model asks for it: all columns, no labels.
    #[must_use]
    pub fn of_model(model: &Model<'_>) -> Self {
        Self {
            input: model.network.input(),
            rule: model.header.preprocessing.rule,
            columns: &[],
            label: None,
        }
    }
}

/// Reads what a plan is trained on, and says where it comes from: a file or a folder, or else the recipe's bundled data.
///
/// # Errors
/// As [`load`].
pub fn load_for(plan: &recipe::Plan<'_>, path: Option<&Path>) -> Result<(Raw, String)> {
    Ok(match path {
        Some(path) => (
            load(path, &Reading::of_plan(plan))?,
            path.display().to_string(),
        ),
        None => (
            bundled::load(plan.recipe().data.bundled)?,
            "bundled data".into(),
        ),
    })
}

/// Reads a folder with MNIST's file names or with pictures, or one file of any known kind.
///
/// # Errors
/// [`Error::File`] and [`Error::Data`].
pub fn load(path: &Path, reading: &Reading<'_>) -> Result<Raw> {
    if path.is_dir() {
        return match idx::load_folder(path)? {
            None if pictures::are_in(path)? => pictures::load_folder(path, reading),
            None => Err(Error::Data {
                place: path.display().to_string(),
                expected: "train-images-idx3-ubyte or t10k-images-idx3-ubyte, perhaps with .gz, or pictures".into(),
                given: "neither is there".into(),
            }),
            Some(raw) => Ok(raw),
        };
    }
    let source = Source::open(path)?;
    let place = path.display().to_string();
    let whole = |array| Raw {
        train: Some(array),
        ..Raw::default()
    };
    let mut start = Vec::new();
    let read = source.reader().take(12).read_to_end(&mut start);
    read.map_err(Error::file(path, "read"))?;
    let is_csv = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    if is_csv {
        csv::open(&source, &place, reading)
    } else if numpy::is_npy(&start) {
        numpy::open(source, place).map(whole)
    } else if numpy::is_npz(&start) {
        numpy::open_npz(BufReader::new(source.reader()), &place)
    } else if wav::is_wav(&start) {
        let sample_rate = match reading.rule {
            Rule::Window { sample_rate, .. } => sample_rate,
            _ => None,
        };
        wav::open(source, place, sample_rate).map(whole)
    } else {
        idx::open(source, place).map(whole)
    }
}

impl Raw {
    /// Prepares what a training run works on: the training samples, of which the last part may be kept for validation;
    /// else the test samples are what validates.
    ///
    /// # Errors
    /// As [`Array::samples`] and [`Array::check`]; [`Error::Data`] where there is nothing to train on.
    pub fn training_data(self, plan: &recipe::Plan<'_>, place: &str) -> Result<Data> {
        self.prepared(plan, place, plan.range())
    }

    /// Prepares pairs: these are what the network is given, and may be outside the range that it can give back, and each
    /// sample of `targets` is what it is to make of the sample at the same place.
    ///
    /// # Errors
    /// As [`Self::training_data`]; [`Error::Data`] where there are more or fewer targets than inputs.
    pub fn training_pairs(
        self,
        targets: Self,
        plan: &recipe::Plan<'_>,
        [place, targets_place]: [&str; 2],
    ) -> Result<Data> {
        let inputs = self.prepared(plan, place, FINITE)?;
        let targets = targets.training_data(plan, targets_place)?;
        let validation = |data: &Data| data.validation.as_ref().map_or(0, Samples::len);
        let expected = [inputs.train.len(), validation(&inputs)];
        let given = [targets.train.len(), validation(&targets)];
        if expected != given {
            let count = |[train, validation]: [usize; 2]| {
                format!("{train} samples to train on and {validation} to validate with")
            };
            return Err(Error::Data {
                place: targets_place.into(),
                expected: format!("a target for each of {place}: {}", count(expected)),
                given: format!("{} came", count(given)),
            });
        }
        Ok(Data {
            targets: Some(targets.train),
            validation_targets: targets.validation,
            ..inputs
        })
    }

    /// The data with all numbers within `range`.
    fn prepared(self, plan: &recipe::Plan<'_>, place: &str, range: [f32; 2]) -> Result<Data> {
        let (settings, network) = (&plan.recipe().data, plan.network());
        let preprocessing = plan.preprocessing();
        let prepare = |array: Array, labels| {
            let samples = array.samples(network.input(), preprocessing, labels)?;
            array.check(range, preprocessing).map(|()| samples)
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
        let kept = train.split_last(settings.validation_split);
        let validation = if !kept.is_empty() {
            Some(kept)
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
        Ok(Data {
            train,
            validation,
            targets: None,
            validation_targets: None,
        })
    }

    /// Prepares what a model is judged by: the test samples, or all there are.
    ///
    /// # Errors
    /// As [`Array::samples`].
    pub fn test_data(
        self,
        network: &Network<'_>,
        preprocessing: Preprocessing,
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
        let array = array.ok_or_else(nothing)?;
        let samples = array.samples(network.input(), preprocessing, labels)?;
        array.check(recipe::range(network), preprocessing)?;
        if samples.is_empty() {
            Err(nothing())
        } else {
            Ok(samples)
        }
    }
}

/// What changes no count.
pub const UNTOUCHED: Preprocessing = Preprocessing {
    offset: 0.0,
    scale: 1.0,
    rule: Rule::None,
};

/// All finite numbers, for [`Array::check`].
pub const FINITE: [f32; 2] = [f32::MIN, f32::MAX];

/// Numbers that a pass over an array has in memory.
const PASS: usize = 1 << 12;

impl Array {
    /// An array whose numbers are all that is left of `source` from `offset` on.
    ///
    /// # Errors
    /// [`Error::Data`] where there are more or fewer than the shape asks for.
    fn new(
        place: String,
        shape: Vec<usize>,
        source: Source,
        offset: u64,
        kind: Kind,
        big_endian: bool,
    ) -> Result<Self> {
        let expected = bytes(&shape, kind, &place)?;
        let given = source.len().saturating_sub(offset);
        if given != expected {
            let width = kind.width() as u64;
            return Err(Error::Data {
                place,
                expected: format!("{} numbers for its shape {shape:?}", expected / width),
                given: if given > expected {
                    "more came".into()
                } else {
                    format!("it ends too early: {} came", given / width)
                },
            });
        }
        let numbers = Numbers::new(source, offset, kind, big_endian);
        Ok(Self {
            place,
            shape,
            numbers,
            recording: false,
        })
    }

    /// A recording `[frame][channel]`, or `[frame]` where there is one channel; a part of a frame at the end is left out.
    fn recording(place: String, channels: usize, numbers: Numbers) -> Self {
        let frames = numbers.len() / channels.max(1);
        Self {
            place,
            shape: if channels == 1 {
                vec![frames]
            } else {
                vec![frames, channels]
            },
            numbers: numbers.first(frames.saturating_mul(channels)),
            recording: true,
        }
    }

    /// An array whose numbers are all that is left of `reader`. Memory is taken for what comes, never for what the shape
    /// says will come.
    ///
    /// # Errors
    /// As [`Self::new`]; what `broken` makes of a reader's error.
    fn from_reader(
        place: String,
        shape: Vec<usize>,
        reader: impl Read,
        kind: Kind,
        big_endian: bool,
        broken: impl Fn(io::Error) -> Error,
    ) -> Result<Self> {
        let mut numbers = Vec::new();
        // One byte more than there should be shows that there are more; and the end is where a checksum is looked at.
        reader
            .take(bytes(&shape, kind, &place)?.saturating_add(1))
            .read_to_end(&mut numbers)
            .map_err(broken)?;
        numbers.shrink_to_fit();
        let source = Source::Memory(numbers.into());
        Self::new(place, shape, source, 0, kind, big_endian)
    }

    /// Checks that all real numbers are finite, and that every number, once it is prepared, is from `low` to `high`, the
    /// range that the network can give back. Counts are only read where their type alone does not say so.
    ///
    /// # Errors
    /// [`Error::Data`] with the first number that is not, and its index; as [`Numbers::read`].
    pub fn check(&self, [low, high]: [f32; 2], preprocessing: Preprocessing) -> Result<()> {
        let counts = self.numbers.kind().counts();
        let within = |value: &f32| (*value >= low) & (*value <= high);
        let all_within =
            |values: &[f32]| values.iter().fold(true, |all, value| all & within(value));
        if let Some(mut ends) = counts {
            // Preparing keeps the order or reverses it, so what holds for both ends holds between them.
            prepare(preprocessing, &mut ends);
            if all_within(&ends) {
                return Ok(());
            }
        }
        let mut block = [0.0; PASS];
        for first in (0..self.numbers.len()).step_by(PASS) {
            let block = &mut block[..PASS.min(self.numbers.len() - first)];
            self.numbers.read(first, block)?;
            if counts.is_some() {
                prepare(preprocessing, block);
            }
            if all_within(block) {
                continue;
            }
            let index = block.iter().position(|value| !within(value)).unwrap_or(0);
            let (value, Preprocessing { offset, scale, .. }) = (block[index], preprocessing);
            let how = if counts.is_some() {
                format!(" as (count - {offset}) * {scale}")
            } else {
                String::new()
            };
            let place = format!(
                "{}, element {}",
                self.place,
                element(&self.shape, first + index)
            );
            return Err(Error::Data {
                place,
                expected: if value.is_finite() {
                    format!(
                        "a number from {low} to {high}, which the network's last activation can give"
                    )
                } else {
                    "a finite number of 32 bits".into()
                },
                given: format!("{value} came{how}"),
            });
        }
        Ok(())
    }

    /// The samples of the shape `input`, unchecked: see [`Self::check`].
    ///
    /// A sample must have the axes of `input`, or it or the input is flat; axes of extent one don't count. A recording, or an
    /// array with one axis that is longer than a sample, is cut into windows as the rule says. Nothing is copied but labels.
    ///
    /// # Errors
    /// [`Error::Data`] where the shape is another, and where labels are not an integer from 0 to 255 for each sample.
    pub fn samples(
        &self,
        input: Shape,
        preprocessing: Preprocessing,
        labels: Option<Self>,
    ) -> Result<Samples> {
        let len = input.len();
        let error = |expected: String, given: String| Error::Data {
            place: self.place.clone(),
            expected,
            given,
        };
        let (count, stride) = match &self.shape[..] {
            [frames, channels @ ..]
                if self.recording || (channels.is_empty() && *frames != len) =>
            {
                let channels = channels.first().map_or(1, |channels| *channels);
                let fitting = match input {
                    Shape::Picture {
                        height: 1,
                        channels: expected,
                        ..
                    } if self.recording => expected as usize == channels,
                    _ => channels > 0 && len.is_multiple_of(channels),
                };
                if !fitting {
                    return Err(error(
                        format!("channels for windows of {input}"),
                        format!("{channels} came"),
                    ));
                }
                let window = len / channels;
                let step = match preprocessing.rule {
                    Rule::Window {
                        step: Some(step), ..
                    } => (step as usize).max(1),
                    _ => window,
                };
                let windows = frames.checked_sub(window).ok_or_else(|| {
                    error(
                        format!("a recording of at least {window} numbers, as a sample has"),
                        format!("{frames} came"),
                    )
                })?;
                (windows / step + 1, step.saturating_mul(channels))
            }
            shape => {
                let (count, axes) = match shape.split_first() {
                    Some((count, axes)) if shape.len() > 1 => (*count, axes),
                    _ => (1, shape),
                };
                if !fits(axes, input) {
                    return Err(error(
                        format!("samples of {input}"),
                        format!("samples of {axes:?} came"),
                    ));
                }
                (count, len)
            }
        };
        let labels = labels.map(|labels| labels.labels(count)).transpose()?;
        let numbers = self.numbers.clone();
        Ok(Samples::new(
            numbers,
            preprocessing,
            [len, stride, count],
            labels,
        ))
    }

    /// The array as the labels of `count` samples.
    fn labels(self, count: usize) -> Result<Vec<u8>> {
        if self.numbers.kind().counts().is_none() || self.shape != [count] {
            return Err(Error::Data {
                place: self.place,
                expected: format!("an integer for each of {count} samples"),
                given: format!("an array of {:?} came", self.shape),
            });
        }
        let mut labels = zeros("labels", count)?;
        self.numbers.read(0, &mut labels)?;
        let label = |(index, label): (usize, &f32)| {
            if (0.0..=255.0).contains(label) {
                return Ok(*label as u8);
            }
            Err(Error::Data {
                place: format!("{}, element [{index}]", self.place),
                expected: "a label from 0 to 255".into(),
                given: format!("{label} came"),
            })
        };
        labels.iter().enumerate().map(label).collect()
    }
}

/// The bytes that an array of this shape has.
fn bytes(shape: &[usize], kind: Kind, place: &str) -> Result<u64> {
    let bytes = shape
        .iter()
        .try_fold(1usize, |count, extent| count.checked_mul(*extent))
        .and_then(|count| (count as u64).checked_mul(kind.width() as u64))
        .filter(|bytes| *bytes < u64::MAX);
    bytes.ok_or_else(|| Error::Data {
        place: place.into(),
        expected: "extents whose product can be counted".into(),
        given: format!("{shape:?} came"),
    })
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
