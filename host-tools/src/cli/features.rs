//! `narrows features`.

use std::path::PathBuf;

use narrows::analysis::features;
use narrows::analysis::table::{Format, Table};
use narrows::error::Result;
use narrows::model::Blob;
use narrows_core::shape::Shape;
use serde_json::json;

/// Write what a layer gives for each sample, as features for other programs
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows features vanilla.narrows fashion-mnist codes.npy
  narrows features convolutional.narrows pictures.npz features.csv --layer conv2d_4")]
pub(super) struct Arguments {
    /// A blob
    model: PathBuf,
    /// A folder with MNIST's IDX files, or a file: .npy, .npz or IDX
    data: PathBuf,
    /// Where the features are written
    #[arg(value_name = "OUT.npy|OUT.csv")]
    output: PathBuf,
    /// Whose output (see `narrows inspect`) [default: the code]
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Take the training samples, where there are training and test samples
    #[arg(long)]
    train: bool,
    #[command(flatten)]
    reading: super::DataArguments,
    #[command(flatten)]
    threads: super::Threads,
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        Format::of(&self.output)?;
        let blob = Blob::read(&self.model)?;
        let model = blob.model()?;
        let layer = match &self.layer {
            Some(name) => features::layer(&model, name)?,
            None => model.network.code(),
        };
        let name = model.network.layers()[layer].name;
        let shape = model.network.shape_before(layer + 1);
        let (train, test) = self.reading.samples(&self.data, &model)?;
        let samples = train.filter(|_| self.train).unwrap_or(test);

        let values = features::of(&self.threads.executor()?, &model, layer, &samples.to_vec()?)?;
        let axes = match shape {
            Shape::Flat { length } => vec![length as usize],
            Shape::Picture {
                height,
                width,
                channels,
            } => [height, width, channels]
                .map(|extent| extent as usize)
                .to_vec(),
        };
        let labels = samples.labels();
        Table {
            name,
            axes: &axes,
            values: &values,
            labels,
        }
        .write(&self.output)?;
        super::print(if json {
            json!({ "samples": samples.len(), "layer": name, "shape": axes, "output": self.output })
                .to_string()
        } else {
            format!(
                "{}: {} samples, layer \"{name}\", {shape}",
                self.output.display(),
                samples.len()
            )
        })
    }
}
