//! Does a network copy, or has it learnt?
//!
//! A reconstruction that is good says little: a network whose code is as wide as its input can hand the input through. So
//! it is also given what it has never seen the like of, the same samples with their pixels shuffled and white noise: who
//! gives these back too has learnt nothing about the data. And it is held against the best linear code of the same size.
//!
//! Errors of different inputs are compared as shares: how much of the inputs' variance is given back, 1 for all of it, 0
//! for no more than a constant would (see [`Recovery`]).

use std::fmt;

use narrows_core::blob::Model;
use narrows_core::kernels::Executor;
use narrows_core::random::{Purpose, Random};

use super::pca::Pca;
use super::score::{errors, mean};
use crate::error::{Error, Result};
use crate::model::{self, Part};
use crate::train::zeros;

/// Shuffled samples and samples of noise: their error is known to a few per cent with far fewer.
const PROBES: usize = 1024;

/// The share of shuffled pixels or of noise from which on a network copies, where its code is undercomplete. There are two
/// known ends: a copier gives back all of it, and the best linear code of data that have d directions gives back d/n of noise
/// of n numbers. Half is in the middle, and out of reach for a linear code of fewer than half of the input's numbers.
const COPIED: f64 = 0.5;

/// The same where it is overcomplete: nothing but penalties or noise keeps such a network from copying, so what it gives back
/// grows with every epoch. On Fashion-MNIST, 784-1000-784 with relu gives back 35 % of shuffled pixels after three epochs, and
/// none where it undoes noise.
const COPIED_OVERCOMPLETE: f64 = 0.25;

/// The share of the data below which a network has not learnt them: it misses more than it gives back.
const LEARNT: f64 = 0.5;

/// How much larger the error of unseen data may be than that of training data. Both are estimates from samples; on
/// Fashion-MNIST they differ by some per cent.
const OVERFITTED_RATIO: f64 = 2.0;

/// And by which share of the variance at least: of two tiny errors, one may be twice the other and no one would see it.
const OVERFITTED_GAP: f64 = 0.05;

/// How much larger the error may be than that of the linear code. A network of the same code size can compute that code,
/// with linear activations even exactly, so far behind it the training has not come to its end.
const UNDERFITTED_RATIO: f64 = 2.0;

/// And by which share of the variance at least.
const UNDERFITTED_GAP: f64 = 0.05;

/// Within this share of its largest magnitude, a unit is constant: what is left is rounding.
const CONSTANT: f32 = 1e-6;

/// How well inputs of a kind are given back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recovery {
    /// The mean squared error.
    pub error: f64,
    /// The mean squared error of a constant: for data the mean training sample; for shuffled pixels and noise each
    /// sample's own mean, so that knowing how bright a sample is counts for nothing.
    pub variance: f64,
}

impl Recovery {
    /// The share of the variance that is given back: `1 - error / variance`, but at least 0; 0 where nothing varies.
    #[must_use]
    pub fn share(self) -> f64 {
        if self.variance > 0.0 {
            (1.0 - self.error / self.variance).max(0.0)
        } else {
            0.0
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// Numbers of an input.
    pub input_len: usize,
    /// Numbers of a code.
    pub code_len: usize,
    /// Of training data.
    pub train: Recovery,
    /// Of data that were not trained on, where there are some.
    pub unseen: Option<Recovery>,
    /// Of the unseen data, or else the training data, each sample's pixels in an order of its own.
    pub shuffled: Recovery,
    /// Of uniform white noise, from the smallest to the largest number of the training data.
    pub noise: Recovery,
    /// Of the unseen data, or else the training data, by as many principal components as the code has numbers.
    pub linear: Recovery,
    /// Code units that are 0 for every training sample.
    pub inactive_units: usize,
    /// Code units that are another constant.
    pub constant_units: usize,
    /// The mean magnitude of all code units over the training data.
    pub code_mean_abs: f64,
    /// The share of them that is exactly 0.
    pub code_zero_share: f64,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It gives back data, and only data.
    Learnt,
    /// It gives back what it has never seen the like of: shuffled pixels or noise.
    Copies,
    /// It gives back its training data much better than unseen ones.
    Overfitted,
    /// It gives back little, though a linear code of the same size gives back more.
    Underfitted,
    /// It gives back little, and so does a linear code of the same size: there is nothing to learn in data without
    /// structure, or the code is too small for theirs.
    Unstructured,
}

impl Verdict {
    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Learnt => "learnt",
            Self::Copies => "copies",
            Self::Overfitted => "overfitted",
            Self::Underfitted => "underfitted",
            Self::Unstructured => "unstructured",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Learnt => {
                "It has learnt: it gives back data like those it was trained on, and nothing else."
            }
            Self::Copies => {
                "It copies: it gives back what it has never seen the like of. \
                 Take a smaller code, or add noise or a sparsity penalty."
            }
            Self::Overfitted => {
                "It has learnt its training data by heart: unseen data it gives back much worse. \
                 Take more data, fewer epochs, or a smaller network."
            }
            Self::Underfitted => {
                "It has not learnt: a linear code of the same size gives back far more. \
                 Train longer, or with another learning rate or seed."
            }
            Self::Unstructured => {
                "It cannot recover these data, and no linear code of this size can. \
                 They are too random, or the code is too small for them."
            }
        })
    }
}

impl Diagnosis {
    /// Measures a model on its training data and on unseen ones, if there are some: `[sample][element]`.
    ///
    /// Shuffles and noise are drawn by core's counter-based generator from the model's own seed, so that a model gets the
    /// same figures every time.
    ///
    /// # Errors
    /// [`Error::Data`] where the training samples are all alike, so that there is nothing to give back; as [`model::run`].
    pub fn of(
        executor: &impl Executor,
        model: &Model<'_>,
        train: &[f32],
        unseen: Option<&[f32]>,
    ) -> Result<Self> {
        let (input_len, code_len) = (
            model.network.input().len(),
            model.network.code_shape().len(),
        );
        let pca = Pca::fit(train, input_len, code_len)?;
        let measured = |samples: &[f32]| -> Result<Recovery> {
            Ok(Recovery {
                error: mean(&errors(executor, model, samples)?),
                variance: pca.mean_squared_error(samples, 0),
            })
        };
        let of_train = measured(train)?;
        if of_train.variance == 0.0 {
            return Err(Error::Data {
                place: "diagnosis".into(),
                expected: "training samples that differ".into(),
                given: format!("{} that are all alike came", train.len() / input_len),
            });
        }
        let judged = unseen.unwrap_or(train);
        let of_unseen = unseen.map(measured).transpose()?;
        let probes = (judged.len() / input_len).min(PROBES);
        let probe = |samples: &[f32]| -> Result<Recovery> {
            Ok(Recovery {
                error: mean(&errors(executor, model, samples)?),
                variance: variance_within(samples, input_len),
            })
        };
        let seed = model.header.provenance.seed;
        let of_shuffled = probe(&shuffled(&judged[..probes * input_len], input_len, seed)?)?;
        let of_noise = probe(&noise(train, probes, input_len, seed)?)?;
        let codes = model::run(executor, model, Part::Encode, train)?;
        let units = Units::of(&codes, code_len);
        Ok(Self {
            input_len,
            code_len,
            train: of_train,
            unseen: of_unseen,
            shuffled: of_shuffled,
            noise: of_noise,
            linear: Recovery {
                error: pca.mean_squared_error(judged, code_len),
                variance: pca.mean_squared_error(judged, 0),
            },
            inactive_units: units.inactive,
            constant_units: units.constant,
            code_mean_abs: units.mean_abs,
            code_zero_share: units.zero_share,
        })
    }

    /// Whether the code has fewer numbers than the input. If not, the network can hand the input through.
    #[must_use]
    pub fn is_undercomplete(&self) -> bool {
        self.code_len < self.input_len
    }

    /// What follows, by the first of these rules that holds; shares are those of [`Recovery::share`].
    ///
    /// | verdict | rule |
    /// | --- | --- |
    /// | copies | at least half of shuffled pixels or of noise is given back, or a quarter where the code is overcomplete |
    /// | overfitted | the unseen data's error is more than twice the training data's, and by more than 5 % of the variance |
    /// | underfitted | the code is undercomplete, and the error more than twice the linear code's, and by more than 5 % of the variance |
    /// | unstructured or underfitted | less than half of the data is given back; underfitted where the linear code gives back half |
    /// | learnt | none of these |
    ///
    /// Where there are no unseen data, the training data are judged by, and nothing counts as overfitted. A linear code as
    /// wide as the input gives back everything, and so says nothing about an overcomplete network: such a one is
    /// underfitted if it gives back less than half.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let judged = self.judged();
        let far_behind = |better: Recovery, ratio: f64, gap: f64| {
            judged.error > ratio * better.error
                && judged.error - better.error > gap * judged.variance
        };
        let copied = if self.is_undercomplete() {
            COPIED
        } else {
            COPIED_OVERCOMPLETE
        };
        if self.shuffled.share().max(self.noise.share()) >= copied {
            Verdict::Copies
        } else if far_behind(self.train, OVERFITTED_RATIO, OVERFITTED_GAP) {
            Verdict::Overfitted
        } else if self.is_undercomplete()
            && far_behind(self.linear, UNDERFITTED_RATIO, UNDERFITTED_GAP)
        {
            Verdict::Underfitted
        } else if judged.share() >= LEARNT {
            Verdict::Learnt
        } else if self.linear.share() >= LEARNT {
            Verdict::Underfitted
        } else {
            Verdict::Unstructured
        }
    }

    /// The unseen data's figures, or else the training data's.
    #[must_use]
    pub fn judged(&self) -> Recovery {
        self.unseen.unwrap_or(self.train)
    }

    /// The numbers that the verdict rests on, in plain words, a sentence each.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let percent = |recovery: Recovery| format!("{:.0} %", 100.0 * recovery.share());
        let Self {
            input_len,
            code_len,
            ..
        } = self;
        let mut reasons = vec![if self.is_undercomplete() {
            format!(
                "The code has {code_len} numbers, the input {input_len}: it is undercomplete and cannot copy all."
            )
        } else {
            format!(
                "The code has {code_len} numbers, the input {input_len}: it is overcomplete and could copy all."
            )
        }];
        let seen = percent(self.train);
        reasons.push(match self.unseen {
            Some(unseen) => format!(
                "Of the training data's variance it gives back {seen}, of unseen data's {}; their errors are {:.6} and {:.6}.",
                percent(unseen),
                self.train.error,
                unseen.error
            ),
            None => format!(
                "Of the training data's variance it gives back {seen}; how it does on unseen data is not known, as none came."
            ),
        });
        reasons.push(format!(
            "Of shuffled pixels it gives back {}, of white noise {}: a copier would give back both.",
            percent(self.shuffled),
            percent(self.noise)
        ));
        reasons.push(if self.is_undercomplete() {
            format!(
                "Principal components, as many as the code has numbers, give back {}; their error is {:.6}.",
                percent(self.linear),
                self.linear.error
            )
        } else {
            "As many principal components as the code has numbers give back everything: they are no yardstick here.".into()
        });
        let dead = self.inactive_units + self.constant_units;
        if dead > 0 {
            reasons.push(format!(
                "Of {code_len} code units, {dead} carry nothing: {} are always 0, {} always another constant.",
                self.inactive_units, self.constant_units
            ));
        }
        reasons
    }
}

/// What the code's units do over the data.
struct Units {
    inactive: usize,
    constant: usize,
    mean_abs: f64,
    zero_share: f64,
}

impl Units {
    fn of(codes: &[f32], len: usize) -> Self {
        let mut ranges = vec![[f32::INFINITY, f32::NEG_INFINITY]; len];
        for code in codes.chunks_exact(len) {
            for ([low, high], value) in ranges.iter_mut().zip(code) {
                *low = low.min(*value);
                *high = high.max(*value);
            }
        }
        let inactive = |[low, high]: &&[f32; 2]| *low == 0.0 && *high == 0.0;
        let still = |[low, high]: &&[f32; 2]| high - low <= CONSTANT * low.abs().max(high.abs());
        let inactive = ranges.iter().filter(inactive).count();
        let count = codes.len().max(1) as f64;
        Self {
            inactive,
            constant: ranges.iter().filter(still).count() - inactive,
            mean_abs: codes
                .iter()
                .map(|value| f64::from(value.abs()))
                .sum::<f64>()
                / count,
            zero_share: codes.iter().filter(|value| **value == 0.0).count() as f64 / count,
        }
    }
}

/// The mean squared distance of numbers from the mean of their own sample.
fn variance_within(samples: &[f32], len: usize) -> f64 {
    let of_sample = |sample: &[f32]| {
        let values = || sample.iter().map(|value| f64::from(*value));
        let mean = values().sum::<f64>() / len as f64;
        values().map(|value| (value - mean).powi(2)).sum::<f64>() / len as f64
    };
    mean(&samples.chunks_exact(len).map(of_sample).collect::<Vec<_>>())
}

/// The same samples, each with its numbers in an order of its own.
fn shuffled(samples: &[f32], len: usize, seed: u64) -> Result<Vec<f32>> {
    let random = Random::new(seed, Purpose::Shuffle);
    let mut found = zeros("shuffled samples", samples.len())?;
    let mut order: Vec<u32> = Vec::with_capacity(len);
    let pairs = samples.chunks_exact(len).zip(found.chunks_exact_mut(len));
    for (index, (from, to)) in (0..).zip(pairs) {
        order.clear();
        order.extend(0..len as u32);
        random.shuffle(index, &mut order);
        for (to, from_index) in to.iter_mut().zip(&order) {
            *to = from[*from_index as usize];
        }
    }
    Ok(found)
}

/// `count` samples of uniform noise in the range of `data`.
fn noise(data: &[f32], count: usize, len: usize, seed: u64) -> Result<Vec<f32>> {
    let low = data.iter().copied().fold(f32::INFINITY, f32::min);
    let high = data.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let random = Random::new(seed, Purpose::Noise);
    let mut found = zeros("noise", count * len)?;
    for (index, sample) in (0..).zip(found.chunks_exact_mut(len)) {
        random.fill_uniform(0, index, sample);
        for value in sample {
            *value = low + (high - low) * *value;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Array, Numbers, Raw};
    use crate::model::Blob;
    use crate::processor::Desktop;
    use crate::recipe::Recipe;
    use crate::train;

    const SIDE: usize = 8;
    const PIXELS: usize = SIDE * SIDE;

    /// Pictures of a soft spot somewhere, as a camera with some noise would see it.
    fn spots(seed: u64, count: usize) -> Vec<f32> {
        let random = Random::new(seed, Purpose::Noise);
        let mut pictures = vec![0.0; count * PIXELS];
        for (index, picture) in (0..).zip(pictures.chunks_exact_mut(PIXELS)) {
            random.fill_gaussian(0, index, picture, f32::sqrt);
            let [x, y, size] = [0, 1, 2].map(|draw| random.uniform(1, index, draw));
            let (x, y, width) = (1.0 + 5.0 * x, 1.0 + 5.0 * y, 1.0 + size);
            for (place, pixel) in picture.iter_mut().enumerate() {
                let [across, down] = [place % SIDE, place / SIDE].map(|side| side as f32);
                let distance = ((across - x).powi(2) + (down - y).powi(2)) / width.powi(2);
                *pixel = (0.1 + 0.8 * (-distance).exp() + 0.03 * *pixel).clamp(0.0, 1.0);
            }
        }
        pictures
    }

    /// Trains and diagnoses a network of two dense layers, with as many unseen samples as there are for training. `penalty`
    /// is what the code's layer pays.
    fn diagnosed(
        code: usize,
        activations: [&str; 2],
        penalty: &str,
        training: &str,
        samples: &[f32],
    ) -> Diagnosis {
        let text = format!(
            r#"
            name = "test"
            [network]
            input = [{PIXELS}]
            code = "code"
            layers = [
              {{ type = "dense", units = {code}, activation = "{}", name = "code"{penalty} }},
              {{ type = "dense", units = {PIXELS}, activation = "{}" }},
            ]
            [training]
            {training}
            "#,
            activations[0], activations[1]
        );
        let recipe = Recipe::parse(&text, "test").unwrap();
        let plan = recipe.plan().unwrap();
        let (seen, unseen) = samples.split_at(samples.len() / PIXELS / 2 * PIXELS);
        let shape = vec![seen.len() / PIXELS, PIXELS];
        let train = Array {
            place: "test".into(),
            shape,
            numbers: Numbers::reals(seen),
            recording: false,
        };
        let raw = Raw {
            train: Some(train),
            ..Raw::default()
        };
        let data = raw.training_data(&plan, "test").unwrap();
        let executor = Desktop::new(1).unwrap();
        let outcome = train::run(&executor, &plan, &data, None, &mut ()).unwrap();
        let blob = Blob::export(&executor, &plan, &outcome.parameters, 0, "test".as_ref()).unwrap();
        let model = blob.model().unwrap();
        Diagnosis::of(&executor, &model, seen, Some(unseen)).unwrap()
    }

    fn judge(expected: Verdict, diagnosis: &Diagnosis) {
        assert_eq!(
            diagnosis.verdict(),
            expected,
            "{diagnosis:#?} {:#?}",
            diagnosis.reasons()
        );
    }

    const LONG: &str =
        "epochs = 40\nbatch_size = 16\noptimizer = { type = \"adam\", learning_rate = 0.005 }";

    #[test]
    fn a_linear_network_with_a_code_as_wide_as_its_input_or_wider_copies() {
        for code in [PIXELS, PIXELS + 32] {
            let found = diagnosed(code, ["linear", "linear"], "", LONG, &spots(1, 600));
            judge(Verdict::Copies, &found);
            assert!(!found.is_undercomplete());
        }
    }

    #[test]
    fn a_good_undercomplete_network_has_learnt() {
        let found = diagnosed(12, ["relu", "sigmoid"], "", LONG, &spots(1, 1200));
        judge(Verdict::Learnt, &found);
        assert!(found.is_undercomplete());
    }

    #[test]
    fn a_network_that_saw_few_samples_is_overfitted() {
        let training = LONG.replace("epochs = 40", "epochs = 600");
        let found = diagnosed(24, ["relu", "sigmoid"], "", &training, &spots(1, 24));
        judge(Verdict::Overfitted, &found);
    }

    #[test]
    fn random_data_cannot_be_recovered() {
        let mut random = vec![0.0; 1200 * PIXELS];
        Random::new(5, Purpose::Noise).fill_uniform(0, 0, &mut random);
        let found = diagnosed(12, ["relu", "sigmoid"], "", LONG, &random);
        judge(Verdict::Unstructured, &found);
    }

    #[test]
    fn an_overcomplete_network_that_undoes_noise_does_not_copy() {
        let noise = format!("{LONG}\nnoise = {{ type = \"gaussian\", stddev = 0.5 }}");
        let found = diagnosed(
            PIXELS + 32,
            ["relu", "sigmoid"],
            "",
            &noise,
            &spots(1, 1200),
        );
        judge(Verdict::Learnt, &found);
        assert!(!found.is_undercomplete());
    }

    #[test]
    fn an_overcomplete_network_with_a_sparsity_penalty_does_not_copy() {
        for (activation, penalty) in [
            ("relu", ", activity_l1 = 0.001"),
            ("sigmoid", ", sparsity = { target = 0.05, weight = 0.01 }"),
        ] {
            let found = diagnosed(
                PIXELS + 32,
                [activation, "sigmoid"],
                penalty,
                LONG,
                &spots(1, 1200),
            );
            judge(Verdict::Learnt, &found);
            assert!(!found.is_undercomplete());
        }
    }

    #[test]
    fn what_keeps_an_overcomplete_network_from_copying_is_the_penalty() {
        let found = diagnosed(PIXELS + 32, ["relu", "sigmoid"], "", LONG, &spots(1, 1200));
        eprintln!(
            "CONTRAST {} {}",
            found.shuffled.share(),
            found.noise.share()
        );
        judge(Verdict::Copies, &found);
    }

    #[test]
    fn a_network_that_was_hardly_trained_is_underfitted() {
        let training =
            "epochs = 1\nbatch_size = 16\noptimizer = { type = \"sgd\", learning_rate = 0.0001 }";
        let found = diagnosed(12, ["relu", "sigmoid"], "", training, &spots(1, 600));
        judge(Verdict::Underfitted, &found);
    }

    #[test]
    fn units_that_never_change_are_counted() {
        let codes = [
            0.0,
            0.7,
            1.0,
            -1.0,
            0.0,
            0.7,
            1.0,
            2.0,
            0.0,
            0.7,
            1.000_000_1,
            0.0,
        ];
        let units = Units::of(&codes, 4);
        assert_eq!((units.inactive, units.constant), (1, 2));
        assert_eq!(units.zero_share, 4.0 / 12.0);
    }

    #[test]
    fn shuffled_samples_keep_their_numbers_and_noise_its_range() {
        let samples = spots(3, 5);
        let mixed = shuffled(&samples, PIXELS, 9).unwrap();
        for (before, after) in samples.chunks(PIXELS).zip(mixed.chunks(PIXELS)) {
            let sorted = |values: &[f32]| {
                let mut values = values.to_vec();
                values.sort_by(f32::total_cmp);
                values
            };
            assert_ne!(before, after);
            assert_eq!(sorted(before), sorted(after));
        }
        let noise = noise(&[-2.0, 3.0, 0.0], 20, PIXELS, 9).unwrap();
        assert_eq!(noise.len(), 20 * PIXELS);
        assert!(noise.iter().all(|value| (-2.0..=3.0).contains(value)));
        let expected = 25.0 / 12.0;
        assert!((variance_within(&noise, PIXELS) / expected - 1.0).abs() < 0.1);
    }
}
