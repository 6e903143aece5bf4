//! `narrows bench`: what the project says of its own speed, measured again.
//!
//! Every side of a comparison is a process of its own that trains when it is told to, so that the sides can take turns and
//! a machine that slows down halfway misleads nobody, and so that each one's memory is its own. PyTorch's side is a script
//! of the repository; narrows' side is this program.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use narrows::data::{self, Reading, bundled};
use narrows::error::{Error, Result};
use narrows::processor::Vectors;
use narrows::recipe::Preset;
use narrows::{data::numpy, train};
use serde_json::{Value, json};

/// Measure speed
#[derive(clap::Args)]
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
  narrows bench training --threads 1 --data fashion-mnist --peers --json")]
    Training(Training),
    /// One side of the training benchmark: trains for N steps for each line \"go N\"
    #[command(hide = true)]
    Worker(Worker),
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        match self.subject {
            Subject::Training(training) => training.run(json),
            Subject::Worker(worker) => worker.run(),
        }
    }
}

#[derive(clap::Args)]
struct Training {
    #[command(flatten)]
    threads: super::Threads,
    /// A folder with MNIST's four IDX files, or a file: .npy, .npz or IDX [default: what comes with the program]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Turns that each side takes
    #[arg(long, value_name = "N", default_value = "7", value_parser = super::at_least_one::<u32>)]
    rounds: u32,
    /// Run PyTorch beside it: within the repository, with the packages of tests/peers/requirements.txt
    #[arg(long)]
    peers: bool,
    /// The Python that has the packages
    #[arg(
        long,
        value_name = "PROGRAM",
        default_value = "target/peers/bin/python"
    )]
    python: PathBuf,
}

/// What is measured: a preset, and batches of it.
const SUBJECTS: [(&str, [usize; 2]); 2] = [("vanilla", [32, 128]), ("convolutional", [32, 128])];

/// Where the peers' scripts lie in the repository.
const PYTORCH: &str = "tests/peers/train_pytorch.py";

/// Samples that a side trains in one turn: about a second of the slower ones.
fn samples_a_turn(preset: &str) -> usize {
    if preset == "vanilla" { 64_000 } else { 6_400 }
}

impl Training {
    fn run(self, json: bool) -> Result<()> {
        // Both sides read the same numbers from the same file.
        let folder = tempfile::tempdir().map_err(|source| Error::File {
            path: std::env::temp_dir(),
            action: "write to it",
            source,
        })?;
        let file = folder.path().join("train.npy");
        self.write_data(&file)?;
        let threads = self.threads.count();
        if !json {
            super::print(format!(
                "training, samples a second; {}, {}, {threads} thread(s), medians of {} turns",
                processor(),
                Vectors::detect(),
                self.rounds
            ))?;
        }
        for (preset, batches) in SUBJECTS {
            for batch in batches {
                self.measure(preset, batch, threads, &file, json)?;
            }
        }
        Ok(())
    }

    fn write_data(&self, file: &Path) -> Result<()> {
        let recipe = Preset::find("vanilla")?.recipe()?;
        let plan = recipe.plan()?;
        let (raw, place) = match &self.data {
            Some(path) => (
                data::load(path, &Reading::of_plan(&plan))?,
                path.display().to_string(),
            ),
            None => (bundled::load(recipe.data.bundled)?, "bundled data".into()),
        };
        let train = raw.training_data(&plan, &place)?.train;
        let shape = [train.len() as u64, train.sample_len() as u64];
        numpy::write(file, &shape, &train.to_vec()?)
    }

    fn measure(
        &self,
        preset: &str,
        batch: usize,
        threads: usize,
        file: &Path,
        json: bool,
    ) -> Result<()> {
        let arguments = |command: &mut Command| {
            command.arg("--network").arg(preset).arg("--data").arg(file);
            command.args([
                "--batch",
                &batch.to_string(),
                "--threads",
                &threads.to_string(),
            ]);
        };
        let program = std::env::current_exe().map_err(|source| Error::File {
            path: "narrows".into(),
            action: "find itself",
            source,
        })?;
        let mut ours = Command::new(program);
        arguments(ours.args(["bench", "worker"]));
        let mut sides = vec![Side::start("narrows", ours)?];
        if self.peers {
            let mut pytorch = Command::new(&self.python);
            arguments(pytorch.arg(PYTORCH));
            sides.push(Side::start("pytorch", pytorch).map_err(|error| {
                Error::Unknown(format!(
                    "--peers: expected {} to run {PYTORCH} with PyTorch (see tests/peers/README.md), but {error}",
                    self.python.display()
                ))
            })?);
        }
        let steps = (samples_a_turn(preset) / batch).max(1);
        for side in &mut sides {
            // Caches, clock speed and threads come to rest.
            side.turn(steps / 4 + 1)?;
        }
        for _ in 0..self.rounds {
            for side in &mut sides {
                let turn = side.turn(steps)?;
                side.rates.push(turn.rate);
                side.peak = turn.peak;
            }
        }
        let ours = sides[0].median();
        for side in &mut sides {
            let (median, ratio) = (side.median(), ours / side.median());
            if json {
                super::print(json!({
                    "network": preset, "batch": batch, "threads": threads, "side": side.name,
                    "version": side.version, "samples_per_second": median,
                    "lowest": side.rates[0], "highest": side.rates[side.rates.len() - 1],
                    "narrows_ratio": ratio, "peak_rss_bytes": side.peak,
                    "processor": processor(), "vectors": Vectors::detect().to_string(),
                }))?;
            } else {
                let peak = side
                    .peak
                    .map_or("?".into(), |bytes| (bytes >> 20).to_string());
                super::print(format!(
                    "{preset:<14} batch {batch:>3}  {:<8} {:<12} {median:>9.0} ({:.0} to {:.0})   narrows is {ratio:.2} times as quick   {peak} MiB at most",
                    side.name,
                    side.version,
                    side.rates[0],
                    side.rates[side.rates.len() - 1],
                ))?;
            }
        }
        Ok(())
    }
}

/// A process that trains when it is told to.
struct Side {
    name: &'static str,
    version: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    rates: Vec<f64>,
    peak: Option<u64>,
}

struct Turn {
    rate: f64,
    peak: Option<u64>,
}

impl Side {
    fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|source| Error::File {
            path: command.get_program().into(),
            action: "start",
            source,
        })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Unknown(format!(
                "{name}: the system gives it no pipes"
            )));
        };
        let output = BufReader::new(output);
        let (rates, peak) = (Vec::new(), None);
        let mut side = Self {
            name,
            version: String::new(),
            child,
            input,
            output,
            rates,
            peak,
        };
        let ready = side.line()?;
        side.version = ready["version"].as_str().unwrap_or("?").to_owned();
        Ok(side)
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        let value = read.ok().and_then(|_| serde_json::from_str(&line).ok());
        value.ok_or_else(|| {
            Error::Unknown(format!(
                "{}: expected a line of JSON, but {line:?} came",
                self.name
            ))
        })
    }

    fn turn(&mut self, steps: usize) -> Result<Turn> {
        let sent = writeln!(self.input, "go {steps}").and_then(|()| self.input.flush());
        sent.map_err(|source| Error::File {
            path: self.name.into(),
            action: "ask it to train",
            source,
        })?;
        let line = self.line()?;
        let rate = line["samples_per_second"]
            .as_f64()
            .filter(|rate| *rate > 0.0);
        let rate = rate.ok_or_else(|| {
            Error::Unknown(format!(
                "{}: expected samples_per_second, but {line} came",
                self.name
            ))
        })?;
        Ok(Turn {
            rate,
            peak: line["peak_rss_bytes"].as_u64(),
        })
    }

    /// Sorts the rates, too.
    fn median(&mut self) -> f64 {
        self.rates.sort_by(f64::total_cmp);
        self.rates[self.rates.len() / 2]
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor's name, where the system tells.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    name.and_then(|name| name.split(':').nth(1)).map_or_else(
        || std::env::consts::ARCH.into(),
        |name| name.trim().to_owned(),
    )
}

/// The most memory that this process has held, where the system tells.
fn peak_rss_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[derive(clap::Args)]
struct Worker {
    #[arg(long)]
    network: String,
    #[arg(long)]
    batch: usize,
    #[command(flatten)]
    threads: super::Threads,
    #[arg(long)]
    data: PathBuf,
}

impl Worker {
    fn run(self) -> Result<()> {
        let mut recipe = Preset::find(&self.network)?.recipe()?;
        recipe.training.batch_size = self.batch;
        recipe.training.epochs = u32::MAX;
        let plan = recipe.plan()?;
        let place = self.data.display().to_string();
        let mut data =
            data::load(&self.data, &Reading::of_plan(&plan))?.training_data(&plan, &place)?;
        data.validation = None;
        let executor = self.threads.executor()?;
        super::print(json!({ "ready": true, "version": env!("CARGO_PKG_VERSION") }))?;
        for line in std::io::stdin().lines() {
            let line = line.unwrap_or_default();
            let steps = line
                .strip_prefix("go ")
                .and_then(|steps| steps.parse().ok());
            let Some(steps) = steps.filter(|steps: &usize| *steps > 0) else {
                return Err(Error::Unknown(format!(
                    "standard input: expected \"go STEPS\", but {line:?} came"
                )));
            };
            let mut stopwatch = Stopwatch {
                left: steps,
                start: Cell::new(None),
                seconds: 0.0,
                samples: 0,
                at: (0, 0),
            };
            executor.enter(|| train::run(&executor, &plan, &data, None, &mut stopwatch))?;
            let rate = stopwatch.samples as f64 / stopwatch.seconds;
            super::print(
                json!({ "samples_per_second": rate, "peak_rss_bytes": peak_rss_bytes() }),
            )?;
        }
        Ok(())
    }
}

/// Stops a run after some steps, takes their time, and counts their samples: an epoch may end with a smaller batch.
struct Stopwatch {
    left: usize,
    /// Before the first step.
    start: Cell<Option<Instant>>,
    seconds: f64,
    samples: usize,
    /// The epoch, and how many of its samples are behind.
    at: (u32, usize),
}

impl train::Watcher for Stopwatch {
    fn step(&mut self, _: usize, epoch: u32, samples: usize) {
        let before = if self.at.0 == epoch { self.at.1 } else { 0 };
        self.samples += samples - before;
        self.at = (epoch, samples);
        self.left -= 1;
        if self.left == 0
            && let Some(start) = self.start.get()
        {
            self.seconds = start.elapsed().as_secs_f64();
        }
    }

    fn stop(&self) -> bool {
        if self.start.get().is_none() {
            self.start.set(Some(Instant::now()));
        }
        self.left == 0
    }
}
