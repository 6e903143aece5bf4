//! What a training run shows: a bar on a terminal, a line for each epoch, and JSON for programs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use narrows::error::{Error, Result};
use narrows::train::{Checkpoint, Epoch, Watcher};
use serde_json::json;

/// Set by Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// Lets the first Ctrl-C end the run at the next batch, and the second the program.
pub(super) fn stop_on_ctrl_c() -> Result<()> {
    let handler = || {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(handler).map_err(|cause| Error::Interrupt {
        problem: cause.to_string(),
    })
}

/// Shows a run, and keeps its checkpoints.
pub(super) struct Console {
    bar: ProgressBar,
    epochs: u32,
    samples: usize,
    json: bool,
    checkpoint: Option<PathBuf>,
}

impl Console {
    /// For a run of `epochs` epochs of `samples` samples, whose checkpoint is kept in a file if there is one.
    pub(super) fn new(
        epochs: u32,
        samples: usize,
        json: bool,
        checkpoint: Option<PathBuf>,
    ) -> Self {
        // Nothing is drawn where stderr is not a terminal.
        let target = if json {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(10)
        };
        let style = ProgressStyle::with_template(
            "{msg} {wide_bar:.cyan/dim} {pos}/{len} samples, {per_sec}, {eta} left",
        );
        let bar = ProgressBar::with_draw_target(Some(samples as u64 * u64::from(epochs)), target);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self {
            bar,
            epochs,
            samples,
            json,
            checkpoint,
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watcher for Console {
    fn step(&mut self, epoch: u32, samples: usize) {
        if self.bar.position() == 0 {
            self.bar
                .set_message(format!("epoch {epoch}/{}", self.epochs));
        }
        self.bar
            .set_position(u64::from(epoch - 1) * self.samples as u64 + samples as u64);
    }

    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        let Epoch {
            number,
            loss,
            validation,
            samples_per_second,
        } = *epoch;
        if self.json {
            super::print(
                json!({ "epoch": number, "loss": loss, "validation": validation, "samples_per_second": samples_per_second }),
            )?;
        } else {
            let validation =
                validation.map_or_else(String::new, |loss| format!(", validation {loss:.6}"));
            let line = format!(
                "epoch {number}/{}: loss {loss:.6}{validation}, {samples_per_second:.0} samples/s",
                self.epochs
            );
            self.bar.suspend(|| super::print(&line))?;
            self.bar.set_message(format!(
                "epoch {}/{}",
                (number + 1).min(self.epochs),
                self.epochs
            ));
        }
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.checkpoint
            .as_ref()
            .map_or(Ok(()), |path| checkpoint.save(path))
    }

    fn stop(&self) -> bool {
        STOP.load(Ordering::Relaxed)
    }
}
