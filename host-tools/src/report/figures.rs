//! What a report shows, as plain data: gathered from a run's record, its model, and samples.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use narrows_core::blob::{Model, Provenance};
use narrows_core::inference::Inference;
use narrows_core::kernels::Executor;
use narrows_core::layer::Work;
use narrows_core::network::Part;
use narrows_core::shape::Shape;

use crate::analysis::pca::Pca;
use crate::analysis::roc::Roc;
use crate::confusion::Confusion;
use crate::data::{self, Samples};
use crate::error::{Error, Result};
use crate::evaluate::{Quality, corrupt};
use crate::footprint::inference_bytes;
use crate::model::{self, Blob};
use crate::processor::Desktop;
use crate::train::Record;
use crate::train::zeros;

/// Samples that are looked at, at most: the first ones.
const SAMPLES: usize = 10_000;
/// Samples in the plane of the code, at most.
const POINTS: usize = 1_000;
/// Samples in the rows, and among the worst.
const SHOWN: usize = 10;
/// Numbers of the code that principal components are computed of, at most: their matrix grows with the square.
const WIDEST_CODE: usize = 1_024;
/// Weights of units or kernels that are shown.
const FILTERS: usize = 128;

/// A run: its record and its model, of files that lie beside each other.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where it came from, and every epoch.
    pub record: Record,
    /// The model.
    pub blob: Blob,
    /// Of the record.
    pub path: PathBuf,
}

impl Run {
    /// Opens `NAME.run.json`, the model `NAME.narrows` beside it, or a folder with exactly one run.
    ///
    /// # Errors
    /// [`Error::Data`] where `path` is neither; [`Error::Unusable`] where the record is none, or the model another
    /// run's; [`Error::File`].
    pub fn open(path: &Path) -> Result<Self> {
        const RECORD: &str = ".run.json";
        let path = if path.is_dir() {
            the_only_record(path, RECORD)?
        } else {
            path.to_path_buf()
        };
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let stem = name
            .strip_suffix(RECORD)
            .or_else(|| name.strip_suffix(".narrows"));
        let Some(stem) = stem else {
            return Err(Error::Data {
                place: path.display().to_string(),
                expected:
                    "NAME.run.json, the model NAME.narrows beside it, or a folder with one run"
                        .into(),
                given: "another name came".into(),
            });
        };
        let path = path.with_file_name(format!("{stem}{RECORD}"));
        let record = Record::load(&path)?;
        let blob = Blob::read(&path.with_file_name(format!("{stem}.narrows")))?;
        let found = blob.model()?.header.provenance.recipe_digest;
        if found != record.recipe_digest {
            return Err(Error::Unusable {
                path: blob.path().to_path_buf(),
                problem: format!(
                    "expected the model of {name}, whose recipe is {:08x}, but one of recipe {found:08x} came",
                    record.recipe_digest
                ),
            });
        }
        Ok(Self { record, blob, path })
    }

    /// Where its data are; none where they come with the library.
    #[must_use]
    pub fn data_path(&self) -> Option<&Path> {
        (self.record.data != BUNDLED).then(|| Path::new(&self.record.data))
    }
}

/// What a record calls the data that come with the library.
const BUNDLED: &str = "bundled data";

fn the_only_record(folder: &Path, ending: &str) -> Result<PathBuf> {
    let read = |folder: &Path| -> std::io::Result<Vec<PathBuf>> {
        let paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
        paths.collect()
    };
    let mut found = read(folder).map_err(Error::file(folder, "read"))?;
    found.retain(|path| path.to_string_lossy().ends_with(ending));
    match &found[..] {
        [one] => Ok(one.clone()),
        _ => Err(Error::Data {
            place: folder.display().to_string(),
            expected: format!("exactly one file NAME{ending}"),
            given: match found.len() {
                0 => "none came".into(),
                many => format!("{many} came: name one of them"),
            },
        }),
    }
}

/// How a sample is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum View {
    /// As a picture.
    Picture {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
        /// 3 are red, green and blue; of others the first is shown.
        channels: u32,
    },
    /// As a line of so many numbers, of which a place may have several channels: the first is shown.
    Signal {
        /// Places.
        length: u32,
        /// Numbers of a place.
        channels: u32,
    },
}

impl View {
    /// A flat input has no sides of its own: those of the array do, or it is a picture if it is square.
    fn of(input: Shape, array: &[usize]) -> Self {
        let picture = |height: usize, width: usize, channels: usize| Self::Picture {
            height: height as u32,
            width: width as u32,
            channels: channels as u32,
        };
        match input {
            Shape::Picture {
                height: 1,
                width: length,
                channels,
            }
            | Shape::Picture {
                height: length,
                width: 1,
                channels,
            } => Self::Signal { length, channels },
            Shape::Picture {
                height,
                width,
                channels,
            } => Self::Picture {
                height,
                width,
                channels,
            },
            Shape::Flat { length } => {
                let side = length.isqrt() as usize;
                let square = side > 1 && side * side == length as usize;
                match *array {
                    [_, height, width] if height > 1 && width > 1 => picture(height, width, 1),
                    [_, height, width, channels] if height > 1 && width > 1 => {
                        picture(height, width, channels)
                    }
                    [_, _] if square => picture(side, side, 1),
                    _ => Self::Signal {
                        length,
                        channels: 1,
                    },
                }
            }
        }
    }
}

/// A sample and what became of it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its index among the samples.
    pub index: usize,
    /// Its label.
    pub label: Option<u8>,
    /// The label that a classifier gave it.
    pub answered: Option<usize>,
    /// As it should come out.
    pub original: Vec<f32>,
    /// What went in, where that is something else.
    pub noisy: Option<Vec<f32>>,
    /// What came out; nothing of a classifier.
    pub answer: Option<Vec<f32>>,
    /// The mean of the squared differences; of a classifier, 1 - the share that it gave the right label.
    pub error: f64,
}

/// How the samples come out of an autoencoder.
#[derive(Clone, Debug)]
pub struct Reconstruction {
    /// Of what went in, where there is noise.
    pub noisy: Option<Quality>,
    /// Of what came out.
    pub answers: Quality,
    /// Of a network that always answers with the mean of these samples.
    pub mean_sample: Quality,
    /// Of as many principal components of these samples as the code has numbers: the best linear code for them. None
    /// where there are more than [`Pca`] finds.
    pub components: Option<Quality>,
    /// The mean squared error of each sample.
    pub errors: Vec<f64>,
    /// By label.
    pub labels: Vec<(u8, Quality)>,
    /// Numbers of a sample that differ between samples.
    pub varying: usize,
    /// How many of these hardly differ between answers: by a hundredth of what they differ between samples, or less.
    pub constant: usize,
}

/// What one number of the code does over all samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// The share of samples for which it is exactly zero.
    pub zeros: f64,
    /// Its mean.
    pub mean: f64,
    /// The smallest and the largest.
    pub range: [f32; 2],
}

impl Unit {
    /// Whether it is the same for every sample, and so says nothing.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.range[0] == self.range[1]
    }
}

/// A sample in the plane of the code's first two principal components.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Its index among the samples.
    pub index: usize,
    /// Its label.
    pub label: Option<u8>,
    /// The two components.
    pub place: [f64; 2],
}

/// What the samples' codes are like.
#[derive(Clone, Debug)]
pub struct Codes {
    /// A unit for each number of the code, in order.
    pub units: Vec<Unit>,
    /// The samples in a plane; none where the code is too wide or varies in fewer than two directions.
    pub points: Vec<Point>,
    /// The share of the codes' variance that each of the two directions has.
    pub explained: [f64; 2],
}

/// The first layer's weights.
#[derive(Clone, Debug)]
pub struct Filters {
    /// The layer's name.
    pub layer: String,
    /// Whether they are a convolution's kernels, else each belongs to a unit that sees the whole input.
    pub kernels: bool,
    /// `[filter][height][width]`; a kernel's channels in come one after another, as filters of their own.
    pub weights: Vec<Vec<f32>>,
    /// Height and width.
    pub size: [u32; 2],
    /// Whether the filter's output is the same everywhere and for every sample.
    pub dead: Vec<bool>,
    /// How many the layer has, of which only the first may be here.
    pub count: usize,
}

/// A layer's costs.
#[derive(Clone, Debug)]
pub struct LayerCost {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// What it gives.
    pub output: Shape,
    /// Weights and biases.
    pub parameters: usize,
    /// Multiply-accumulates of a sample.
    pub multiply_accumulates: u64,
    /// The share of the time that all layers took on this machine, one after another.
    pub time: f64,
    /// Whether its output is the code.
    pub is_code: bool,
}

/// What a device has to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Weights and biases.
    pub parameters: usize,
    /// The blob: parameters and header.
    pub flash: usize,
    /// RAM for a sample of inference: input, output, workspace.
    pub inference: usize,
    /// Multiply-accumulates of a sample.
    pub multiply_accumulates: u64,
}

/// How well the error tells samples with normal labels from the others.
#[derive(Clone, Debug)]
pub struct Detection {
    /// The labels.
    pub normal: Vec<u8>,
    /// Whether each sample has another.
    pub odd: Vec<bool>,
    /// For every threshold.
    pub roc: Roc,
}

/// All that a report shows.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The run's record.
    pub record: Record,
    /// Of the blob: seed and digests.
    pub provenance: Provenance,
    /// `(x - offset) * scale` of integers.
    pub preprocessing: [f32; 2],
    /// Shapes of the input, the code and the output.
    pub shapes: [Shape; 3],
    /// How samples are shown.
    pub view: View,
    /// The least and the largest number of the originals: what black and white stand for; 0 and 1 where all lie there.
    pub range: [f32; 2],
    /// Where the samples come from.
    pub place: String,
    /// Samples looked at.
    pub samples: usize,
    /// Whether training never saw them.
    pub unseen: bool,
    /// None for a classifier.
    pub reconstruction: Option<Reconstruction>,
    /// A few samples, one of each label where there are labels.
    pub shown: Vec<Shown>,
    /// Those that came out worst.
    pub worst: Vec<Shown>,
    /// The samples of [`Codes::points`], in their order.
    pub thumbnails: Vec<Vec<f32>>,
    /// The codes.
    pub codes: Codes,
    /// None where the first layer has no weights.
    pub filters: Option<Filters>,
    /// The error above which a sample is odd, where the blob has one.
    pub threshold: Option<f64>,
    /// How well the error tells the samples with normal labels from the others.
    pub detection: Option<Detection>,
    /// What the samples of labels are taken for, at the end of each stage that learns labels, by its name; or by the model.
    pub confusion: Vec<(String, Confusion)>,
    /// By layer.
    pub layers: Vec<LayerCost>,
    /// In all.
    pub costs: Costs,
}

impl Figures {
    /// Runs the model of a run on samples, and looks at everything.
    ///
    /// The samples are the test samples of `data`, which stands for the place that the record names; of a file without
    /// test samples, all. `normal` are the labels of normal samples, from which the error is to tell the others.
    ///
    /// # Errors
    /// Whatever keeps the data from being read or the model from taking them; [`Error::Data`] where `normal` is given and
    /// there are no labels, or all samples are normal, or none.
    pub fn gather(
        executor: &impl Executor,
        run: &Run,
        data: Option<&Path>,
        normal: &[u8],
    ) -> Result<Self> {
        let model = run.blob.model()?;
        let (header, network, record) = (&model.header, &model.network, &run.record);
        let plan = record.recipe.plan()?;
        let (raw, place) = data::load_for(&plan, data.or(run.data_path()))?;
        let unseen = raw.test.is_some();
        let array = raw.test.as_ref().or(raw.train.as_ref());
        let view = View::of(network.input(), array.map_or(&[][..], |array| &array.shape));
        let mut samples = raw.test_data(network, header.preprocessing, &place)?;
        samples.truncate(SAMPLES);
        let noisy = plan
            .noise()
            .map(|noise| corrupt(executor, noise, record.recipe.seed, &samples))
            .transpose()?;
        let clean = samples.to_vec()?;
        let inputs = noisy.as_deref().unwrap_or(&clean);
        let answers = model::run(executor, &model, Part::Reconstruct, inputs)?;
        let is_classifier = network.output().len() != network.input().len();

        let looked = Looked {
            samples: &samples,
            clean: &clean,
            noisy: noisy.as_deref(),
            answers: &answers,
            is_classifier,
        };
        let errors = looked.errors();
        let shown = looked.one_of_each_label();
        let mut order: Vec<usize> = (0..samples.len()).collect();
        order.sort_by(|a, b| errors[*b].total_cmp(&errors[*a]));
        let worst: Vec<usize> = order.into_iter().take(SHOWN).collect();
        let show = |indices: &[usize]| -> Vec<Shown> {
            indices
                .iter()
                .map(|index| looked.show(*index, errors[*index]))
                .collect()
        };
        let (shown, worst) = (show(&shown), show(&worst));

        let codes = Codes::of(
            &model::run(executor, &model, Part::Encode, inputs)?,
            &samples,
            network.code_shape().len(),
        )?;
        let thumbnails = codes
            .points
            .iter()
            .map(|point| looked.sample(point.index).to_vec())
            .collect();
        let stages = record.stages.iter();
        let mut confusion: Vec<(String, Confusion)> = stages
            .filter_map(|stage| Some((stage.name.clone(), stage.confusion.clone()?)))
            .collect();
        if is_classifier && confusion.is_empty() && samples.labels().is_some() {
            let found = Confusion::of(executor, &model, &samples)?;
            confusion.push(("the model".into(), found));
        }
        // A network that learnt some classes alone is to tell them from the others.
        let classes = record.recipe.data.classes.as_deref();
        let normal = match (normal, classes) {
            ([], Some(classes)) if samples.labels().is_some() => classes,
            (normal, _) => normal,
        };
        let detection = detection(&errors, &samples, normal, &place)?;
        Ok(Self {
            record: record.clone(),
            provenance: header.provenance,
            preprocessing: [header.preprocessing.offset, header.preprocessing.scale],
            shapes: [network.input(), network.code_shape(), network.output()],
            view,
            range: range(&clean),
            place,
            samples: samples.len(),
            unseen,
            reconstruction: if is_classifier {
                None
            } else {
                Some(looked.reconstruction(errors, network.code_shape().len())?)
            },
            shown,
            worst,
            thumbnails,
            codes,
            filters: filters(executor, &model, inputs, view)?,
            threshold: header.threshold.map(f64::from),
            detection,
            confusion,
            layers: layers(&model, inputs)?,
            costs: Costs {
                parameters: network.parameter_len(),
                flash: run.blob.bytes().len(),
                inference: inference_bytes(network),
                multiply_accumulates: network.multiply_accumulates(),
            },
        })
    }
}

/// From 0 to 1 where all values lie there.
fn range(values: &[f32]) -> [f32; 2] {
    let [low, high] = extent(values.iter().copied());
    if low >= 0.0 && high <= 1.0 {
        [0.0, 1.0]
    } else {
        [low, high]
    }
}

fn extent(values: impl Iterator<Item = f32>) -> [f32; 2] {
    values.fold([f32::INFINITY, f32::NEG_INFINITY], |[low, high], value| {
        [low.min(value), high.max(value)]
    })
}

/// Samples with what went in and what came out.
struct Looked<'a> {
    samples: &'a Samples,
    clean: &'a [f32],
    noisy: Option<&'a [f32]>,
    answers: &'a [f32],
    is_classifier: bool,
}

impl<'a> Looked<'a> {
    fn sample(&self, index: usize) -> &'a [f32] {
        let len = self.samples.sample_len();
        &self.clean[index * len..][..len]
    }

    fn answer(&self, index: usize) -> &'a [f32] {
        let len = self.answers.len() / self.samples.len();
        &self.answers[index * len..][..len]
    }

    fn label(&self, index: usize) -> Option<u8> {
        self.samples.labels().map(|labels| labels[index])
    }

    fn answered(&self, index: usize) -> Option<usize> {
        let shares = self.answer(index).iter().enumerate();
        let largest = shares
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(label, _)| label);
        largest.filter(|_| self.is_classifier)
    }

    fn errors(&self) -> Vec<f64> {
        let indices = 0..self.samples.len();
        if !self.is_classifier {
            return indices
                .map(|index| Quality::of(self.answer(index), self.sample(index)).mean_squared_error)
                .collect();
        }
        let share = |index| {
            let right = self.answer(index).get(usize::from(self.label(index)?))?;
            Some(f64::from(*right))
        };
        indices
            .map(|index| 1.0 - share(index).unwrap_or(0.0))
            .collect()
    }

    fn show(&self, index: usize, error: f64) -> Shown {
        let len = self.samples.sample_len();
        Shown {
            index,
            label: self.label(index),
            answered: self.answered(index),
            original: self.sample(index).to_vec(),
            noisy: self.noisy.map(|noisy| noisy[index * len..][..len].to_vec()),
            answer: (!self.is_classifier).then(|| self.answer(index).to_vec()),
            error,
        }
    }

    /// The first sample of each label; where there are no labels, some from the first to the last.
    fn one_of_each_label(&self) -> Vec<usize> {
        let count = self.samples.len();
        let mut found: Vec<usize> = match self.samples.labels() {
            Some(labels) => {
                let first = |label: u8| labels.iter().position(|given| *given == label);
                (0..=u8::MAX).filter_map(first).take(SHOWN).collect()
            }
            None => Vec::new(),
        };
        if found.len() < SHOWN {
            let spread = (0..SHOWN).map(|place| place * count / SHOWN);
            let more: Vec<usize> = spread.filter(|index| !found.contains(index)).collect();
            found.extend(more);
            found.truncate(SHOWN);
        }
        found.dedup();
        found
    }

    fn reconstruction(&self, errors: Vec<f64>, code: usize) -> Result<Reconstruction> {
        let (values, len, count) = (self.clean, self.samples.sample_len(), self.samples.len());
        let pca = Pca::fit(values, len, code)?;
        // With as many components as there are samples or numbers, anything can be given back.
        let components = (pca.len() == code && code < len.min(count))
            .then(|| Quality::of(&pca.reconstruct(self.noisy.unwrap_or(values), code), values));
        let span = |values: &[f32], place: usize| {
            let [low, high] = extent(values.iter().skip(place).step_by(len).copied());
            high - low
        };
        let spans = (0..len).map(|place| [span(values, place), span(self.answers, place)]);
        let varying: Vec<[f32; 2]> = spans.filter(|[samples, _]| *samples > 0.0).collect();
        let labels = self.samples.labels().map_or_else(Vec::new, |given| {
            let of_label = |label: u8| {
                let of = errors
                    .iter()
                    .zip(given)
                    .filter(|(_, given)| **given == label)
                    .map(|(error, _)| *error);
                let of: Vec<f64> = of.collect();
                let mean_squared_error = of.iter().sum::<f64>() / of.len() as f64;
                (!of.is_empty()).then_some((label, Quality { mean_squared_error }))
            };
            (0..=u8::MAX).filter_map(of_label).collect()
        });
        Ok(Reconstruction {
            noisy: self.noisy.map(|noisy| Quality::of(noisy, values)),
            answers: Quality::of(self.answers, values),
            mean_sample: Quality {
                mean_squared_error: pca.mean_squared_error(values, 0),
            },
            components,
            varying: varying.len(),
            constant: varying
                .iter()
                .filter(|[samples, answers]| *answers <= samples * 0.01)
                .count(),
            errors,
            labels,
        })
    }
}

impl Codes {
    fn of(codes: &[f32], samples: &Samples, len: usize) -> Result<Self> {
        let count = samples.len();
        let units = (0..len).map(|unit| {
            let values = || codes.iter().skip(unit).step_by(len);
            let share = |number: usize| number as f64 / count as f64;
            Unit {
                zeros: share(values().filter(|value| **value == 0.0).count()),
                mean: values().map(|value| f64::from(*value)).sum::<f64>() / count as f64,
                range: extent(values().copied()),
            }
        });
        let mut found = Self {
            units: units.collect(),
            points: Vec::new(),
            explained: [0.0; 2],
        };
        let alive = found.units.iter().filter(|unit| !unit.is_dead()).count();
        if !(2..=WIDEST_CODE).contains(&len) || alive < 2 || count < 3 {
            return Ok(found);
        }
        let pca = Pca::fit(codes, len, 2)?;
        let [first, second] = pca.explained()[..] else {
            return Ok(found);
        };
        found.explained = [first, second];
        let step = count.div_ceil(POINTS);
        let chosen: Vec<usize> = (0..count).step_by(step).collect();
        let chosen_codes: Vec<f32> = chosen
            .iter()
            .flat_map(|index| &codes[index * len..][..len])
            .copied()
            .collect();
        let places = pca.project(&chosen_codes);
        let points = chosen
            .into_iter()
            .zip(places.chunks_exact(2))
            .map(|(index, place)| Point {
                index,
                label: samples.labels().map(|labels| labels[index]),
                place: [f64::from(place[0]), f64::from(place[1])],
            });
        found.points = points.collect();
        found.points.sort_by_key(|point| (point.label, point.index));
        Ok(found)
    }
}

fn detection(
    errors: &[f64],
    samples: &Samples,
    normal: &[u8],
    place: &str,
) -> Result<Option<Detection>> {
    if normal.is_empty() {
        return Ok(None);
    }
    let refuse = |expected: &str, given: String| Error::Data {
        place: place.into(),
        expected: expected.into(),
        given,
    };
    let labels = samples
        .labels()
        .ok_or_else(|| refuse("labels, as some are to be normal", "none came".into()))?;
    let odd: Vec<bool> = labels.iter().map(|label| !normal.contains(label)).collect();
    let count = odd.iter().filter(|odd| **odd).count();
    let roc = Roc::of(errors, &odd).ok_or_else(|| {
        refuse(
            "samples with normal labels and with others",
            format!(
                "{count} of {} samples have others than {normal:?}",
                odd.len()
            ),
        )
    })?;
    Ok(Some(Detection {
        normal: normal.to_vec(),
        odd,
        roc,
    }))
}

fn filters(
    executor: &impl Executor,
    model: &Model<'_>,
    inputs: &[f32],
    view: View,
) -> Result<Option<Filters>> {
    let mut steps = model.network.steps();
    let Some(step) = steps.find(|step| !step.layer.kind.is_view()) else {
        return Ok(None);
    };
    let outputs = model::run_layers(executor, model, 0..step.index + 1, inputs)?;
    let (weights, filters) = step.work.parameter_lens();
    let Some(weights) = model
        .parameters
        .get(step.parameters.start..step.parameters.start + weights)
    else {
        return Ok(None);
    };
    let column = |first: usize, count: usize| -> Vec<f32> {
        weights
            .iter()
            .skip(first)
            .step_by(filters)
            .take(count)
            .copied()
            .collect()
    };
    // Outputs are channels-last, so those of a filter are every so many.
    let dead = |filter: usize| {
        let [low, high] = extent(outputs.iter().skip(filter).step_by(filters).copied());
        low == high
    };
    let found = |kernels, size, weights: Vec<Vec<f32>>, dead| Filters {
        layer: step.layer.name.into(),
        kernels,
        weights,
        size,
        dead,
        count: filters,
    };
    Ok(match step.work {
        Work::Dense { inputs, .. } => {
            let size = match view {
                View::Picture {
                    height,
                    width,
                    channels: 1,
                } => [height, width],
                View::Picture { .. } => return Ok(None),
                View::Signal { .. } => [1, inputs as u32],
            };
            let shown = filters.min(FILTERS);
            let weights = (0..shown).map(|unit| column(unit, inputs)).collect();
            Some(found(false, size, weights, (0..shown).map(dead).collect()))
        }
        Work::Conv2d(window) => {
            let (places, channels) = (window.y.size * window.x.size, window.channels_in);
            let shown = filters.min(FILTERS / channels.clamp(1, FILTERS));
            let of = |filter: usize, channel: usize| -> Vec<f32> {
                (0..places)
                    .map(|place| weights[(place * channels + channel) * filters + filter])
                    .collect()
            };
            let all =
                (0..shown).flat_map(|filter| (0..channels).map(move |channel| (filter, channel)));
            let size = [window.y.size as u32, window.x.size as u32];
            let (weights, dead) = all
                .map(|(filter, channel)| (of(filter, channel), dead(filter)))
                .unzip();
            Some(found(true, size, weights, dead))
        }
        _ => None,
    })
}

/// Every layer by itself, on one thread: the best of a few runs, so that whatever else the machine does counts little.
fn layers(model: &Model<'_>, inputs: &[f32]) -> Result<Vec<LayerCost>> {
    const BATCH: usize = 32;
    const ENOUGH: Duration = Duration::from_millis(25);
    let (network, executor) = (&model.network, Desktop::new(1)?);
    let mut values = inputs[..inputs.len().min(BATCH * network.input().len())].to_vec();
    let batch = values.len() / network.input().len();
    let (mut costs, mut times) = (Vec::new(), Vec::new());
    for step in network.steps() {
        let mut output = zeros("outputs", batch * step.output.len())?;
        let inference = Inference {
            executor: &executor,
            network,
            parameters: model.parameters,
            math: model.header.math,
        };
        let (start, mut best, mut runs) = (Instant::now(), Duration::MAX, 0);
        while runs < 3 || (start.elapsed() < ENOUGH && runs < 200) {
            let start = Instant::now();
            inference
                .run(step.index..step.index + 1, &values, &mut output, &mut [])
                .map_err(Error::core(format!("model \"{}\"", model.header.name)))?;
            best = best.min(start.elapsed());
            runs += 1;
        }
        // A view is a copy here, and nothing where layers run one after another.
        times.push(if step.layer.kind.is_view() {
            0.0
        } else {
            best.as_secs_f64()
        });
        costs.push(LayerCost {
            name: step.layer.name.into(),
            kind: step.layer.kind.name(),
            output: step.output,
            parameters: step.parameters.len(),
            multiply_accumulates: step.work.multiply_accumulates(),
            time: 0.0,
            is_code: step.index == network.code(),
        });
        values = output;
    }
    let all = times.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    for (cost, time) in costs.iter_mut().zip(times) {
        cost.time = time / all;
    }
    Ok(costs)
}
