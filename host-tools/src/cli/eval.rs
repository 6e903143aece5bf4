//! `narrows eval`.

use std::path::PathBuf;

use narrows::confusion::Confusion;
use narrows::error::{Error, Result};
use narrows::evaluate::{Quality, SignalToNoise, evaluate, signal_to_noise};
use narrows::model::Blob;
use narrows::recipe::{Plan, Recipe};
use serde_json::json;

/// Say how well a model gives back samples, or how often it gives their labels
///
/// With --snr, it is given noisy samples: white gaussian noise is added for one signal-to-noise ratio after the other, in
/// decibels: 10 log10(signal power / noise power), the signal power being the variance of all numbers of all samples. Said
/// are the ratio of the noisy samples and that of the answers, from which whatever is not the clean sample counts as noise.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows eval vanilla.narrows fashion-mnist
  narrows eval denoising.narrows pictures.npy --noise denoising
  narrows eval heart.narrows recording.npy --step 90 --json
  narrows eval ecg.narrows host-tools/data/ecg/ecg-mitbih-208.npz --snr 0,6,12 --last 0.2")]
pub(super) struct Arguments {
    /// A blob
    model: PathBuf,
    /// A folder with MNIST's IDX files, of which the test pictures are taken, or with PNG and JPEG, or a file: .npy, .npz,
    /// IDX, WAV or .csv
    data: PathBuf,
    /// Corrupt the samples first, as the training with this preset or recipe does
    #[arg(long, value_name = "PRESET|RECIPE.toml")]
    noise: Option<String>,
    /// Add white gaussian noise for these signal-to-noise ratios in decibels, and say what the model makes of it
    #[arg(long, value_name = "DB", value_delimiter = ',', value_parser = decibels, allow_negative_numbers = true)]
    #[arg(conflicts_with = "noise")]
    snr: Vec<f64>,
    /// Take this last part of the samples: what data.validation_split kept from the training [default: all]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    last: Option<f64>,
    #[command(flatten)]
    reading: super::DataArguments,
    #[command(flatten)]
    threads: super::Threads,
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let blob = Blob::read(&self.model)?;
        let model = blob.model()?;
        let recipe = self.noise.as_deref().map(super::recipe).transpose()?;
        let plan = recipe.as_ref().map(Recipe::plan).transpose()?;
        let noise = match &plan {
            None => None,
            Some(plan) => Some((
                plan.noise().ok_or_else(|| without_noise(plan))?,
                plan.recipe().seed,
            )),
        };
        let (_, mut samples) = self.reading.samples(&self.data, &model)?;
        if let Some(share) = self.last {
            let all = samples.len();
            samples = samples.split_last(share);
            if samples.is_empty() {
                return Err(Error::Data {
                    place: self.data.display().to_string(),
                    expected: format!("samples of which the last {share} is at least one"),
                    given: format!("{all} came"),
                });
            }
        }
        if !self.snr.is_empty() {
            let executor = self.threads.executor()?;
            let found = signal_to_noise(&executor, &model, &samples, &self.snr, 0)?;
            return tell_ratios(samples.len(), &found, json);
        }
        if model.network.output().len() != model.network.input().len() {
            let confusion = Confusion::of(&self.threads.executor()?, &model, &samples)?;
            return super::print(if json {
                json!({ "samples": samples.len(), "accuracy": confusion.accuracy(), "confusion": confusion })
                    .to_string()
            } else {
                let head = format!(
                    "{} samples\naccuracy {:.2} %; rows are labels, columns answers",
                    samples.len(),
                    100.0 * confusion.accuracy()
                );
                [vec![head], super::matrix(&confusion)].concat().join("\n")
            });
        }
        let found = evaluate(&self.threads.executor()?, &model, &samples, noise)?;
        if json {
            let quality = |quality: Quality| json!({ "mse": quality.mean_squared_error, "psnr": quality.psnr() });
            let label = |(label, found): &(u8, Quality)| json!({ "label": label, "mse": found.mean_squared_error });
            return super::print(json!({
                "samples": found.samples,
                "noisy": found.noisy.map(quality),
                "answers": quality(found.answers),
                "labels": found.labels.iter().map(label).collect::<Vec<_>>(),
            }));
        }
        let line = |what: &str, quality: Quality| {
            super::print(format!(
                "{what:<10} error {:.6}   PSNR {:.2} dB",
                quality.mean_squared_error,
                quality.psnr()
            ))
        };
        super::print(format!("{} samples", found.samples))?;
        if let Some(noisy) = found.noisy {
            line("noisy", noisy)?;
        }
        line("answers", found.answers)?;
        for (label, quality) in found.labels {
            line(&format!("label {label}"), quality)?;
        }
        Ok(())
    }
}

fn tell_ratios(samples: usize, found: &[SignalToNoise], json: bool) -> Result<()> {
    if !json {
        super::print(format!("{samples} samples"))?;
    }
    for ratio in found {
        let SignalToNoise {
            wanted,
            noisy,
            denoised,
        } = ratio;
        super::print(if json {
            json!({ "samples": samples, "snr": wanted, "snr_noisy": noisy, "snr_denoised": denoised })
                .to_string()
        } else {
            format!(
                "noise at {wanted} dB   noisy {noisy:.2} dB   denoised {denoised:.2} dB   gain {:+.2} dB",
                denoised - noisy
            )
        })?;
    }
    Ok(())
}

/// Reads a ratio in decibels.
fn decibels(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "expected a number of decibels".into())
}

/// Reads a part of a whole.
fn share(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok();
    number
        .filter(|share| *share > 0.0 && *share <= 1.0)
        .ok_or_else(|| "expected a number above 0 and at most 1".into())
}

fn without_noise(plan: &Plan<'_>) -> Error {
    Error::Plan {
        recipe: plan.recipe().name.clone(),
        problem: "training.noise: expected the noise of --noise, but none came".into(),
    }
}
