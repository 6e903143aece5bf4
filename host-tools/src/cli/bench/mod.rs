//! `narrows bench`: what the project says of its own speed and of its networks' quality, measured again.

mod curves;
mod inference;
mod peak;
mod quality;
mod sides;
mod training;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};

use narrows::data::{self, Raw};
use narrows::error::Result;
use narrows::processor::Vectors;
use narrows::recipe::Preset;

/// Measure speed and quality
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows bench training --threads 1
  narrows bench quality --data fashion-mnist
  narrows bench inference --help")]
pub(super) struct Arguments {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(clap::Subcommand)]
enum Subject {
    /// Training samples a second, in medians over turns
    #[command(after_help = "\
Examples:
  narrows bench training --threads 1
  narrows bench training --threads 1 --data fashion-mnist --peers --json
  narrows bench training --curves --networks vanilla")]
    Training(training::Arguments),
    /// Pictures a second that are encoded and reconstructed, in medians over turns
    #[command(after_help = "\
Examples:
  narrows bench inference --threads 1
  narrows bench inference --networks vanilla,convolutional --peers --json")]
    Inference(inference::Arguments),
    /// The share of this machine's multiplications and additions that matrix products reach
    #[command(after_help = "\
Examples:
  narrows bench peak --threads 1
  narrows bench peak --json")]
    Peak(peak::Arguments),
    /// The figures of every system, in medians over seeds, beside what they should be at least
    #[command(after_help = "\
Examples:
  narrows bench quality --data fashion-mnist
  narrows bench quality --data fashion-mnist --systems vanilla,denoising --seeds 0 --json")]
    Quality(quality::Arguments),
    /// This program's side of a comparison: works for each line \"go STEPS BATCH\"
    #[command(hide = true)]
    Worker(worker::Arguments),
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        match self.subject {
            Subject::Training(training) => training.run(json),
            Subject::Inference(inference) => inference.run(json),
            Subject::Peak(peak) => peak.run(json),
            Subject::Quality(quality) => quality.run(json),
            Subject::Worker(worker) => worker.run(),
        }
    }
}

/// What every measurement of speed is told.
#[derive(clap::Args)]
struct Subjects {
    #[command(flatten)]
    threads: super::Threads,
    /// The presets to measure
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "vanilla,multilayer,convolutional"
    )]
    networks: Vec<String>,
    /// A folder with MNIST's four IDX files, or a file: .npy, .npz or IDX [default: what comes with the program]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Turns that are taken
    #[arg(long, value_name = "N", default_value = "7", value_parser = super::at_least_one::<u32>)]
    rounds: u32,
}

impl Subjects {
    fn presets(&self) -> Result<Vec<Preset>> {
        let find = |name: &String| Preset::find(name);
        self.networks.iter().map(find).collect()
    }

    /// The data, and where they come from.
    fn load(&self) -> Result<(Raw, String)> {
        load(self.data.as_deref())
    }
}

/// Pictures of clothes, and where they come from: those of a path, or the bundled ones.
fn load(path: Option<&Path>) -> Result<(Raw, String)> {
    let recipe = Preset::find("vanilla")?.recipe()?;
    data::load_for(&recipe.plan()?, path)
}

/// Measurements of one thing.
#[derive(Default)]
struct Measured(Vec<f64>);

impl Measured {
    fn add(&mut self, value: f64) {
        let at = self
            .0
            .partition_point(|other| other.total_cmp(&value).is_le());
        self.0.insert(at, value);
    }

    fn lowest(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// Of an even number of them the mean of the two in the middle.
    fn median(&self) -> f64 {
        let half = self.0.len() / 2;
        match (
            half.checked_sub(1).map(|below| self.0[below]),
            self.0.get(half),
        ) {
            (Some(below), Some(above)) if self.0.len().is_multiple_of(2) => (below + above) / 2.0,
            (_, Some(middle)) => *middle,
            _ => f64::NAN,
        }
    }

    fn highest(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }
}

/// The machine, for every table: its processor's name, where the system tells it, and the vectors in use.
struct Machine {
    processor: String,
    vectors: Vectors,
}

impl Machine {
    fn this() -> Self {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = text
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let name = name.and_then(|name| name.split(':').nth(1));
        Self {
            processor: name.map_or(std::env::consts::ARCH, str::trim).to_owned(),
            vectors: Vectors::detect(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.processor, self.vectors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_the_mean_of_the_two_in_the_middle() {
        let mut measured = Measured::default();
        assert!(measured.median().is_nan());
        for (value, median) in [(3.0, 3.0), (1.0, 2.0), (2.0, 2.0), (10.0, 2.5)] {
            measured.add(value);
            assert_eq!(measured.median(), median);
        }
        assert_eq!((measured.lowest(), measured.highest()), (1.0, 10.0));
    }
}
