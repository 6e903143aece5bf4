//! `narrows run`, `encode`, `decode` and `denoise`.

use std::path::PathBuf;

use narrows::data::{self, FINITE, UNTOUCHED, numpy};
use narrows::error::{Error, Result};
use narrows::model::{self, Blob, Part};
use narrows_core::shape::Shape;
use serde_json::json;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A blob
    model: PathBuf,
    /// Samples: .npy, .npz, IDX, WAV, .csv or a folder of PNG and JPEG, prepared as for training
    #[arg(value_name = "IN.npy")]
    input: PathBuf,
    /// Where the answers are written
    #[arg(value_name = "OUT.npy")]
    output: PathBuf,
    #[command(flatten)]
    reading: super::DataArguments,
    #[command(flatten)]
    threads: super::Threads,
}

impl Arguments {
    pub(super) fn run(self, part: Part, json: bool) -> Result<()> {
        let blob = Blob::read(&self.model)?;
        let model = blob.model()?;
        let (network, preprocessing) = (&model.network, self.reading.preprocessing(&model));
        let mut reading = self.reading.reading(&model);
        if part == Part::Decode {
            reading.input = network.code_shape();
        }
        let raw = data::load(&self.input, &reading)?;
        let nothing = || Error::Data {
            place: self.input.display().to_string(),
            expected: "samples".into(),
            given: "none came".into(),
        };
        let array = raw.train.or(raw.test).ok_or_else(nothing)?;
        let samples = match part {
            Part::Decode => array.samples(reading.input, UNTOUCHED, None)?,
            _ => array.samples(reading.input, preprocessing, None)?,
        };
        array.check(FINITE, preprocessing)?;
        if samples.is_empty() {
            return Err(nothing());
        }
        let answers = model::run(&self.threads.executor()?, &model, part, &samples.to_vec()?)?;
        let shape = if part == Part::Encode {
            model.network.code_shape()
        } else {
            model.network.output()
        };
        let axes = match shape {
            Shape::Flat { length } => vec![length],
            Shape::Picture {
                height,
                width,
                channels,
            } => vec![height, width, channels],
        };
        let axes: Vec<u64> = [samples.len() as u64]
            .into_iter()
            .chain(axes.into_iter().map(u64::from))
            .collect();
        numpy::write(&self.output, &axes, &answers)?;
        super::print(if json {
            json!({ "samples": samples.len(), "shape": axes, "output": self.output }).to_string()
        } else {
            format!(
                "{}: {} answers of {shape}",
                self.output.display(),
                samples.len()
            )
        })
    }
}
