//! `narrows report` and `narrows compare`.

use std::path::{Path, PathBuf};

use narrows::error::Result;
use narrows::report::{self, Figures, Run};
use narrows::{files, processor::Desktop};
use serde_json::json;

/// Write a training run's report: one HTML file that needs nothing else
///
/// It has the loss curves, samples and what the model makes of them, the codes, the first layer's weights, the layers
/// with their costs, and all that it takes to make the model again. It opens on a phone and on a desktop, in the light
/// and in the dark, without a network, and prints.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows report models
  narrows report models/vanilla.run.json -o vanilla.html
  narrows report anomaly.narrows --data fashion-mnist --normal 1")]
pub(super) struct Report {
    /// NAME.run.json, the model NAME.narrows beside it, or a folder with exactly one run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    samples: Samples,
    /// Where the report is written [default: NAME.html beside the run]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    threads: super::Threads,
}

/// Write a report with several training runs side by side
///
/// Their curves lie over each other, their figures stand in one table, and all of them answer to the same samples: the
/// first run's, or those of --data.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows compare vanilla.narrows sparse.narrows
  narrows compare seed-0 seed-1 seed-2 -o seeds.html")]
pub(super) struct Compare {
    /// Two to eight runs: NAME.run.json, the model NAME.narrows beside it, or a folder with exactly one run
    #[arg(value_name = "RUN", num_args = 2..=8, required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    samples: Samples,
    /// Where the report is written
    #[arg(short, long, value_name = "FILE", default_value = "compare.html")]
    output: PathBuf,
    #[command(flatten)]
    threads: super::Threads,
}

/// What a model is looked at with.
#[derive(clap::Args)]
struct Samples {
    /// A folder with MNIST's IDX files, of which the test pictures are taken, or a file: .npy, .npz or IDX [default: what
    /// the run was trained on]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Labels of normal samples, from which the error is to tell all others
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    normal: Vec<u8>,
}

impl Samples {
    fn figures(&self, executor: &Desktop, run: &Run, data: Option<&Path>) -> Result<Figures> {
        executor
            .enter(|| Figures::gather(executor, run, self.data.as_deref().or(data), &self.normal))
    }
}

impl Report {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let run = Run::open(&self.run)?;
        let figures = self
            .samples
            .figures(&self.threads.executor()?, &run, None)?;
        let output = self
            .output
            .unwrap_or_else(|| run.blob.path().with_extension("html"));
        write(&output, &report::page(&figures)?, json)
    }
}

impl Compare {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let executor = self.threads.executor()?;
        let runs = self
            .runs
            .iter()
            .map(|path| Run::open(path))
            .collect::<Result<Vec<_>>>()?;
        let shared = runs.first().and_then(Run::data_path);
        let figures = runs
            .iter()
            .map(|run| self.samples.figures(&executor, run, shared));
        let figures = figures.collect::<Result<Vec<_>>>()?;
        write(&self.output, &report::compare(&figures)?, json)
    }
}

fn write(output: &Path, page: &str, json: bool) -> Result<()> {
    files::write_whole(output, page.as_bytes())?;
    super::print(if json {
        json!({ "report": output, "bytes": page.len() }).to_string()
    } else {
        format!(
            "{}: {} bytes, open it in a browser",
            output.display(),
            page.len()
        )
    })
}
