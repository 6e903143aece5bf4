//! `narrows neighbours`.

use std::path::PathBuf;

use narrows::analysis::features;
use narrows::error::{Error, Result};
use narrows::model::Blob;
use narrows::picture::{self, Row};
use narrows_core::shape::Shape;
use serde_json::json;

/// Find the samples that are most like a sample, by their codes
///
/// The distance is Euclidean, between the outputs of a layer.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows neighbours vanilla.narrows fashion-mnist --sample 17
  narrows neighbours vanilla.narrows fashion-mnist --sample 17 --count 8 --picture alike.png")]
pub(super) struct Arguments {
    /// A blob
    model: PathBuf,
    /// A folder with MNIST's IDX files, of which the test pictures are taken, or a file: .npy, .npz or IDX
    data: PathBuf,
    /// The index of the sample, from 0
    #[arg(long, value_name = "INDEX")]
    sample: usize,
    /// How many neighbours
    #[arg(long, value_name = "K", default_value = "10", value_parser = super::at_least_one::<usize>)]
    count: usize,
    /// By the output of which layer (see `narrows inspect`) [default: the code]
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Write a picture of the sample and its neighbours
    #[arg(long, value_name = "FILE.png")]
    picture: Option<PathBuf>,
    #[command(flatten)]
    reading: super::DataArguments,
    #[command(flatten)]
    threads: super::Threads,
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let blob = Blob::read(&self.model)?;
        let model = blob.model()?;
        let layer = match &self.layer {
            Some(name) => features::layer(&model, name)?,
            None => model.network.code(),
        };
        let name = model.network.layers()[layer].name;
        let sides = self
            .picture
            .as_ref()
            .map(|_| sides(model.network.input()))
            .transpose()?;
        let place = self.data.display().to_string();
        let (_, samples) = self.reading.samples(&self.data, &model)?;
        if self.sample >= samples.len() {
            return Err(Error::Data {
                place,
                expected: format!("a sample from 0 to {}", samples.len() - 1),
                given: format!("{} came", self.sample),
            });
        }

        let values = samples.to_vec()?;
        let found = features::of(&self.threads.executor()?, &model, layer, &values)?;
        let len = model.network.shape_before(layer + 1).len();
        let found = features::nearest(&found, len, self.sample, self.count);
        if let (Some(path), Some(sides)) = (&self.picture, sides) {
            let sample =
                |index: usize| &values[index * samples.sample_len()..][..samples.sample_len()];
            let neighbours: Vec<f32> = found
                .iter()
                .flat_map(|neighbour| sample(neighbour.sample))
                .copied()
                .collect();
            let rows = [
                Row {
                    name: "sample",
                    samples: sample(self.sample),
                },
                Row {
                    name: "neighbours",
                    samples: &neighbours,
                },
            ];
            picture::write(path, sides, &rows)?;
        }

        let label = |index: usize| samples.labels().map(|labels| labels[index]);
        if json {
            let neighbours: Vec<_> = found
                .iter()
                .map(|neighbour| {
                    json!({
                        "sample": neighbour.sample, "distance": neighbour.distance,
                        "label": label(neighbour.sample),
                    })
                })
                .collect();
            return super::print(json!({
                "sample": self.sample, "label": label(self.sample), "layer": name, "neighbours": neighbours,
                "picture": self.picture,
            }));
        }
        let label =
            |index| label(index).map_or_else(String::new, |label| format!(", label {label}"));
        super::print(format!(
            "sample {}{}: its neighbours by layer \"{name}\"",
            self.sample,
            label(self.sample)
        ))?;
        for neighbour in &found {
            super::print(format!(
                "distance {:>10.5}: sample {}{}",
                neighbour.distance,
                neighbour.sample,
                label(neighbour.sample)
            ))?;
        }
        Ok(())
    }
}

/// Height and width of the pictures that samples are; flat ones are taken to be square.
fn sides(shape: Shape) -> Result<[u32; 2]> {
    let square = |length: u32| Some(length.isqrt()).filter(|side| side * side == length);
    let sides = match shape {
        Shape::Picture {
            height,
            width,
            channels: 1,
        } => Some([height, width]),
        Shape::Flat { length } => square(length).map(|side| [side; 2]),
        Shape::Picture { .. } => None,
    };
    sides.ok_or_else(|| Error::Data {
        place: "--picture".into(),
        expected: "a model of pictures with one channel".into(),
        given: format!("one of {shape} came"),
    })
}
