//! How good a model is: the error of what it gives back, before and after.

use narrows_core::blob::Model;
use narrows_core::kernels::Executor;
use narrows_core::noise::Noise;

use crate::data::Samples;
use crate::error::{Error, Result};
use crate::model::{self, Part};
use crate::train::{Corrupt, VALIDATION_EPOCH, zeros};

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
        let squares = given
            .iter()
            .zip(wanted)
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
        Self {
            mean_squared_error: squares.sum::<f64>() / wanted.len().max(1) as f64,
        }
    }

    /// The peak signal-to-noise ratio in decibels, for numbers of which the peak is one: `10 log10(1 / MSE)`.
    #[must_use]
    pub fn psnr(self) -> f64 {
        10.0 * (1.0 / self.mean_squared_error).log10()
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

/// Lets a model reconstruct samples, or denoise what noise made of them.
///
/// # Errors
/// As [`model::run`].
pub fn evaluate(
    executor: &impl Executor,
    model: &Model<'_>,
    samples: &Samples,
    noise: Option<(&Noise, u64)>,
) -> Result<Evaluation> {
    let noisy = noise
        .map(|(noise, seed)| corrupt(executor, noise, seed, samples))
        .transpose()?;
    let answers = model::run(
        executor,
        model,
        Part::Reconstruct,
        noisy.as_deref().unwrap_or(samples.values()),
    )?;
    let mut labels = Vec::new();
    if let Some(given) = samples.labels() {
        let mut known = given.to_vec();
        known.sort_unstable();
        known.dedup();
        let len = samples.sample_len();
        for label in known {
            let of_label = |values: &[f32]| -> Vec<f32> {
                let with_label = values
                    .chunks(len)
                    .zip(given)
                    .filter(|(_, given)| **given == label);
                with_label
                    .flat_map(|(sample, _)| sample.iter().copied())
                    .collect()
            };
            labels.push((
                label,
                Quality::of(&of_label(&answers), &of_label(samples.values())),
            ));
        }
    }
    Ok(Evaluation {
        samples: samples.len(),
        noisy: noisy.map(|noisy| Quality::of(&noisy, samples.values())),
        answers: Quality::of(&answers, samples.values()),
        labels,
    })
}

/// What noise makes of samples: the same as in a training run's validation with this seed.
///
/// # Errors
/// [`Error::Memory`].
pub fn corrupt(
    executor: &impl Executor,
    noise: &Noise,
    seed: u64,
    samples: &Samples,
) -> Result<Vec<f32>> {
    let mut noisy = zeros("noisy samples", samples.values().len())?;
    let indices: Vec<u32> = (0..samples.len() as u32).collect();
    let (len, clean) = (samples.sample_len(), samples.values());
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
