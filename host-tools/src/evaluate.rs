//! How good a model is: the error of what it gives back, before and after.

use std::collections::BTreeMap;

use narrows_core::blob::Model;
use narrows_core::kernels::Executor;
use narrows_core::noise::{Noise, NoiseKind};

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

/// How much of a signal's noise a model takes away, as ratios in decibels: `10 log10(signal power / noise power)`. The signal
/// power is the variance of all numbers of all samples, the noise power the mean square of the differences from them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignalToNoise {
    /// The ratio that was asked for.
    pub wanted: f64,
    /// Of the noisy inputs: near the one asked for, as the noise is a random draw.
    pub noisy: f64,
    /// Of the network's answers, from which whatever is not the clean sample counts as noise.
    pub denoised: f64,
}

/// Adds white gaussian noise to samples for each of the ratios `wanted`, in decibels, and lets a model denoise them. The
/// noise of one ratio is that of another times a factor, and as in a training run's validation with this seed.
///
/// # Errors
/// [`Error::Data`] where the samples are all the same number or a ratio asks for a noise that is no positive number of 32
/// bits, or where the model gives back no samples; as [`evaluate`].
pub fn signal_to_noise(
    executor: &impl Executor,
    model: &Model<'_>,
    samples: &Samples,
    wanted: &[f64],
    seed: u64,
) -> Result<Vec<SignalToNoise>> {
    check_reconstructs(model)?;
    let numbers = (samples.len() * samples.sample_len()) as f64;
    let mut sum = 0.0;
    samples.for_each_block(BLOCK, |_, block| {
        sum += block.iter().copied().map(f64::from).sum::<f64>();
        Ok(())
    })?;
    let (mean, mut squares) = (sum / numbers, 0.0);
    samples.for_each_block(BLOCK, |_, block| {
        let differences = block.iter().map(|x| (f64::from(*x) - mean).powi(2));
        squares += differences.sum::<f64>();
        Ok(())
    })?;
    let power = squares / numbers;
    let ratio = |quality: Quality| 10.0 * (power / quality.mean_squared_error).log10();
    let measure = |wanted: &f64| {
        let stddev = (power / 10.0_f64.powf(wanted / 10.0)).sqrt() as f32;
        let noise = Noise::new(NoiseKind::Gaussian { stddev }, None, false).ok();
        let noise = noise.filter(|_| stddev.is_normal());
        let noise = noise.ok_or_else(|| Error::Data {
            place: format!("signal-to-noise ratio of {wanted} dB"),
            expected: "noise of a standard deviation that 32 bits can hold".into(),
            given: format!("samples with a variance of {power:e} need {stddev:e}"),
        })?;
        let found = evaluate(executor, model, samples, Some((&noise, seed)))?;
        Ok(SignalToNoise {
            wanted: *wanted,
            noisy: found.noisy.map_or(f64::INFINITY, ratio),
            denoised: ratio(found.answers),
        })
    };
    wanted.iter().map(measure).collect()
}

/// Checks that a model gives back as many numbers as it is given.
pub(crate) fn check_reconstructs(model: &Model<'_>) -> Result<()> {
    let [input, output] = [model.network.input().len(), model.network.output().len()];
    if input == output {
        return Ok(());
    }
    Err(Error::Data {
        place: format!("model \"{}\"", model.header.name),
        expected: format!("a reconstruction of {input} numbers, as the input has"),
        given: format!("{output} came"),
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
