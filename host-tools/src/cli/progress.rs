//! What a training run shows: a bar on a terminal, a line for each epoch, and JSON for programs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use narrows::confusion::Confusion;
use narrows::error::{Error, Result};
use narrows::recipe::Plan;
use narrows::train::{Checkpoint, Epoch, StageEnd, Warning, Watcher};
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
    stages: Vec<(String, u32)>,
    samples: usize,
    json: bool,
    checkpoint: Option<PathBuf>,
}

impl Console {
    /// For a run of a plan's epochs of `samples` samples, whose checkpoint is kept in a file if there is one.
    pub(super) fn new(
        plan: &Plan<'_>,
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
        let stages = plan.stages().iter();
        let stages: Vec<(String, u32)> = stages
            .map(|stage| (stage.name().into(), stage.training().epochs))
            .collect();
        let epochs: u64 = stages.iter().map(|(_, epochs)| u64::from(*epochs)).sum();
        let bar = ProgressBar::with_draw_target(Some(samples as u64 * epochs), target);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self {
            bar,
            stages,
            samples,
            json,
            checkpoint,
        }
    }

    /// How an epoch is called: with its stage, where there are several.
    fn name(&self, stage: usize, epoch: u32) -> String {
        let (name, epochs) = &self.stages[stage];
        let epoch = format!("epoch {epoch}/{epochs}");
        if self.stages.len() == 1 {
            epoch
        } else {
            format!("{name}, {epoch}")
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watcher for Console {
    fn step(&mut self, stage: usize, epoch: u32, samples: usize) {
        if self.bar.position() == 0 || samples <= 1 {
            self.bar.set_message(self.name(stage, epoch));
        }
        let before = self.stages[..stage].iter();
        let before: u64 = before.map(|(_, epochs)| u64::from(*epochs)).sum();
        let epochs = before + u64::from(epoch - 1);
        self.bar
            .set_position(epochs * self.samples as u64 + samples as u64);
    }

    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        let Epoch {
            stage,
            number,
            loss,
            penalty,
            validation,
            accuracy,
            samples_per_second,
            learning_rate,
            ..
        } = *epoch;
        if self.json {
            return super::print(json!({
                "stage": self.stages[stage].0, "epoch": number, "loss": loss, "penalty": penalty,
                "validation": validation, "accuracy": accuracy, "samples_per_second": samples_per_second,
                "learning_rate": learning_rate,
            }));
        }
        let mut line = format!("{}: loss {loss:.6}", self.name(stage, number));
        if penalty != 0.0 {
            line += &format!(" + {penalty:.6} = {:.6}", loss + penalty);
        }
        if let Some(validation) = validation {
            line += &format!(", validation {validation:.6}");
        }
        if let Some(accuracy) = accuracy {
            line += &format!(", accuracy {:.2} %", 100.0 * accuracy);
        }
        line += &format!(", {samples_per_second:.0} samples/s");
        self.bar.suspend(|| super::print(&line))?;
        let epochs = self.stages[stage].1;
        self.bar
            .set_message(self.name(stage, (number + 1).min(epochs)));
        Ok(())
    }

    fn stage_end(&mut self, end: &StageEnd) -> Result<()> {
        let name = &self.stages[end.stage].0;
        let accuracy = end.confusion.as_ref().map(Confusion::accuracy);
        if self.stages.len() == 1 && end.best.is_none() && end.confusion.is_none() {
            return Ok(());
        }
        if self.json {
            return super::print(json!({
                "stage": name, "ended": end.ended, "best": end.best, "accuracy": accuracy, "confusion": end.confusion,
            }));
        }
        let mut lines = Vec::new();
        if let Some(best) = end.best {
            lines.push(format!(
                "{name}: the parameters are those of epoch {best}, the best"
            ));
        }
        if let Some(confusion) = &end.confusion {
            lines.push(format!(
                "{name}: accuracy {:.2} %; rows are labels, columns answers",
                100.0 * confusion.accuracy()
            ));
            lines.extend(super::matrix(confusion));
        }
        if lines.is_empty() {
            return Ok(());
        }
        self.bar.suspend(|| super::print(lines.join("\n")))
    }

    fn warn(&mut self, warning: &Warning) -> Result<()> {
        if self.json {
            return super::print(json!({ "warning": warning.to_string() }));
        }
        self.bar
            .suspend(|| super::print(format!("warning: {warning}")))
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
