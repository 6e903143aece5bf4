//! The sides of a comparison: processes that work when they are told to, so that they can take turns and a machine that
//! slows down halfway misleads nobody, and so that each one's memory is its own. The peers' sides are scripts of the
//! repository, of which `side.py` says how they are driven; narrows' side is this program's hidden `bench worker`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use narrows::error::{Error, Result};
use serde_json::Value;

use super::Measured;

/// Whether peers run beside this program, and how.
#[derive(clap::Args)]
pub(super) struct Peers {
    /// Run PyTorch and JAX beside it: within the repository, with the packages of tests/peers/requirements.txt
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

/// The peers, and where their scripts lie in the repository.
const PEERS: [(&str, &str); 2] = [
    ("pytorch", "tests/peers/side_pytorch.py"),
    ("jax", "tests/peers/side_jax.py"),
];

/// What the sides are to do.
pub(super) struct Work<'a> {
    /// `train`, `encode` or `reconstruct`.
    pub(super) name: &'a str,
    pub(super) network: &'a str,
    pub(super) batch: usize,
    pub(super) threads: usize,
    /// `.npy` of 32-bit real numbers.
    pub(super) data: &'a Path,
}

impl Work<'_> {
    fn tell(&self, command: &mut Command) {
        command.args(["--work", self.name, "--network", self.network]);
        command.args(["--batch", &self.batch.to_string()]);
        command.args(["--threads", &self.threads.to_string()]);
        command.arg("--data").arg(self.data);
    }
}

impl Peers {
    /// Starts all sides, this program's first.
    pub(super) fn start(&self, work: &Work<'_>) -> Result<Vec<Side>> {
        let program = std::env::current_exe().map_err(|source| Error::File {
            path: "narrows".into(),
            action: "find itself",
            source,
        })?;
        let mut ours = Command::new(program);
        work.tell(ours.args(["bench", "worker"]));
        let mut sides = vec![Side::start("narrows", ours)?];
        for (name, script) in PEERS.into_iter().filter(|_| self.peers) {
            let mut peer = Command::new(&self.python);
            work.tell(peer.arg(script));
            sides.push(Side::start(name, peer).map_err(|error| {
                Error::Unknown(format!(
                    "--peers: expected {} to run {script} (see tests/peers/README.md), but {error}",
                    self.python.display()
                ))
            })?);
        }
        Ok(sides)
    }
}

/// A process that works when it is told to.
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) version: String,
    /// From the data in memory to the end of the first training step.
    pub(super) first_batch_seconds: Option<f64>,
    /// The most memory that it has held, where its system tells.
    pub(super) peak_rss_bytes: Option<u64>,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
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
        let mut side = Self {
            name,
            version: String::new(),
            first_batch_seconds: None,
            peak_rss_bytes: None,
            child,
            input,
            output: BufReader::new(output),
        };
        let ready = side.line()?;
        side.version = ready["version"].as_str().unwrap_or("?").to_owned();
        side.first_batch_seconds = ready["first_batch_seconds"].as_f64();
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

    /// Samples a second over `steps` steps of `batch` samples.
    fn turn(&mut self, steps: usize, batch: usize) -> Result<f64> {
        let sent = writeln!(self.input, "go {steps} {batch}").and_then(|()| self.input.flush());
        sent.map_err(|source| Error::File {
            path: self.name.into(),
            action: "tell it to work",
            source,
        })?;
        let line = self.line()?;
        self.peak_rss_bytes = line["peak_rss_bytes"].as_u64();
        let rate = line["samples_per_second"].as_f64();
        rate.filter(|rate| *rate > 0.0).ok_or_else(|| {
            Error::Unknown(format!(
                "{}: expected samples_per_second, but {line} came",
                self.name
            ))
        })
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets the sides take turns. Samples a second of each.
pub(super) fn take_turns(
    sides: &mut [Side],
    rounds: u32,
    steps: usize,
    batch: usize,
) -> Result<Vec<Measured>> {
    let mut rates: Vec<Measured> = sides.iter().map(|_| Measured::default()).collect();
    for side in &mut *sides {
        // Caches, clock speed and threads come to rest, and what is compiled for a batch's size is compiled.
        side.turn(steps / 4 + 1, batch)?;
    }
    for _ in 0..rounds {
        for (side, rates) in sides.iter_mut().zip(&mut rates) {
            rates.add(side.turn(steps, batch)?);
        }
    }
    Ok(rates)
}
