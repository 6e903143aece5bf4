//! How good a model is: the error of what it gives back, before and after.

use std::collections::BTreeMap;

use narrows_core::blob::Model;
use narrows_core::kernels::Executor;
use narrows_core::noise::Noise;

use crate::data::Samples;
use crate::error::{Error, Result};
use crate::model::{self, Part};
use crate::train::{Corrupt, INFERENCE_BATCH, VALIDATION_EPOCH, zeros};

/// How far numbers are from what they should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// The mean of the squared differences, over all numbers of all samples.
    pub mean_squared_error: f64,
}

impl Quality {
    /// Compares.
    #[must_use]
    pub fn of(given: &[f32], wanted: &[f32]) -> Self {
        let mut sum = Squares::default();
        sum.add(given, wanted);
        sum.quality()
    }

    /// The peak signal-to-noise ratio in decibels, for numbers of which the peak is one: `10 log10(1 / MSE)`.
    #[must_use]
    pub fn psnr(self) -> f64 {
        10.0 * (1.0 / self.mean_squared_error).log10()
    }
}

/// A sum of squared differences that grows.
#[derive(Clone, Copy, Debug, Default)]
struct Squares {
    sum: f64,
    count: usize,
}

impl Squares {
    fn add(&mut self, given: &[f32], wanted: &[f32]) {
        for (a, b) in given.iter().zip(wanted) {
            self.sum += (f64::from(*a) - f64::from(*b)).powi(2);
        }
        self.count += wanted.len();
    }

    fn quality(self) -> Quality {
        Quality {
            mean_squared_error: self.sum / self.count.max(1) as f64,
        }
    }
}

/// What an evaluation finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Samples.
    pub samples: usize,
    /// Of the noisy inputs, where there is noise.
    pub noisy: Option<Quality>,
    /// Of the network's answers.
    pub answers: Quality,
    /// Of the answers to the samples of each label, where there are labels.
    pub labels: Vec<(u8, Quality)>,
}

/// Samples that are read, corrupted and answered at once.
const BLOCK: usize = 16 * INFERENCE_BATCH;

/// Lets a model reconstruct samples, or denoise what noise made of them. Only some of them are in memory at a time.
///
/// # Errors
/// As [`model::run`] and [`Samples::read`].
pub fn evaluate(
    executor: &impl Executor,
    model: &Model<'_>,
    samples: &Samples,
    noise: Option<(&Noise, u64)>,
) -> Result<Evaluation> {
    let len = samples.sample_len();
    let (mut of_noisy, mut of_answers) = (Squares::default(), Squares::default());
    let mut of_labels = BTreeMap::<u8, Squares>::new();
    samples.for_each_block(BLOCK, |first, clean| {
        let noisy = noise
            .map(|(noise, seed)| corrupt_block(executor, noise, seed, first, len, clean))
            .transpose()?;
        let inputs = noisy.as_deref().unwrap_or(clean);
        let answers = model::run(executor, model, Part::Reconstruct, inputs)?;
        if noisy.is_some() {
            of_noisy.add(inputs, clean);
        }
        of_answers.add(&answers, clean);
        let labels = samples.labels().map_or(&[][..], |labels| &labels[first..]);
        let pairs = answers.chunks_exact(len).zip(clean.chunks_exact(len));
        for (label, (answer, clean)) in labels.iter().zip(pairs) {
            of_labels.entry(*label).or_default().add(answer, clean);
        }
        Ok(())
    })?;
    Ok(Evaluation {
        samples: samples.len(),
        noisy: noise.map(|_| of_noisy.quality()),
        answers: of_answers.quality(),
        labels: of_labels
            .into_iter()
            .map(|(label, squares)| (label, squares.quality()))
            .collect(),
    })
}

/// What noise makes of samples: the same as in a training run's validation with this seed.
///
/// # Errors
/// [`Error::Memory`]; as [`Samples::read`].
pub fn corrupt(
    executor: &impl Executor,
    noise: &Noise,
    seed: u64,
    samples: &Samples,
) -> Result<Vec<f32>> {
    corrupt_block(
        executor,
        noise,
        seed,
        0,
        samples.sample_len(),
        &samples.to_vec()?,
    )
}

/// What noise makes of the samples `clean` of `len` numbers, the first of which has the index `first`.
fn corrupt_block(
    executor: &impl Executor,
    noise: &Noise,
    seed: u64,
    first: usize,
    len: usize,
    clean: &[f32],
) -> Result<Vec<f32>> {
    let mut noisy = zeros("noisy samples", clean.len())?;
    let indices: Vec<u32> = (first..first + clean.len() / len)
        .map(|index| index as u32)
        .collect();
    executor.execute(Corrupt {
        noise,
        seed,
        epoch: VALIDATION_EPOCH,
        indices: &indices,
        len,
        clean,
        noisy: &mut noisy,
    });
    Ok(noisy)
}

/// Holds a device's answer to sample `picture` against the desktop's, bit for bit.
///
/// # Errors
/// [`Error::Different`] with the first output that differs; [`Error::Data`] where there are more or fewer.
pub fn same_bits(picture: usize, desktop: &[f32], device: &[f32]) -> Result<()> {
    if desktop.len() != device.len() {
        return Err(Error::Data {
            place: format!("picture {picture}"),
            expected: format!("{} outputs as on the desktop", desktop.len()),
            given: format!("the device answered {}", device.len()),
        });
    }
    let differs = |(desktop, device): (&f32, &f32)| desktop.to_bits() != device.to_bits();
    match desktop.iter().zip(device).position(differs) {
        None => Ok(()),
        Some(output) => Err(Error::Different {
            picture,
            output,
            desktop: desktop[output],
            device: device[output],
        }),
    }
}
