//! What a training run shows: a bar on a terminal, a line for each epoch, and JSON for programs.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use narrows::confusion::Confusion;
use narrows::error::{Error, Result};
use narrows::recipe::Plan;
use narrows::train::{Checkpoint, Epoch, Progress, StageEnd, Warning, Watcher};
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

/// Whether Ctrl-C was pressed.
pub(super) fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Where there is no bar, a line is printed at least this often.
const QUIET: Duration = Duration::from_secs(10);

/// The bar's figures change no more often: they are to be read.
const GLANCE: Duration = Duration::from_millis(200);

/// An epoch that takes longer is not lost whole when the power fails.
const BETWEEN_CHECKPOINTS: Duration = Duration::from_secs(60);

/// Shows a run, and keeps its checkpoints.
///
/// On a terminal a bar of two lines stays below the lines of the epochs; elsewhere an epoch that takes long has lines in
/// between. Programs get an object for each epoch, and for whatever ends a stage or is strange.
pub(super) struct Console {
    bar: ProgressBar,
    stages: Vec<Stage>,
    samples: usize,
    json: bool,
    checkpoint: Option<PathBuf>,
    /// When the last one was kept, or the run began.
    kept: Instant,
    /// When the first step was done, and how many samples were behind then: more than a batch in a run that goes on.
    begun: Option<(Instant, u64)>,
    /// When the last line was printed.
    printed: Instant,
    /// When the bar's message was made.
    shown: Instant,
    /// The last epoch and its figures.
    last: Option<String>,
}

struct Stage {
    name: String,
    epochs: u32,
    /// Samples that the stages before train.
    before: u64,
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
        let (mut stages, mut total) = (Vec::new(), 0u64);
        for stage in plan.stages() {
            let (name, training) = (stage.name().into(), stage.training());
            let (epochs, before) = (training.epochs, total);
            stages.push(Stage {
                name,
                epochs,
                before,
            });
            let most = training
                .steps
                .map(|steps| steps.saturating_mul(training.batch_size as u64));
            let all = u64::from(epochs).saturating_mul(samples as u64);
            total = total.saturating_add(all.min(most.unwrap_or(u64::MAX)));
        }
        let rate = |state: &ProgressState, to: &mut dyn Write| {
            let _ = write!(to, "{:.0}", state.per_sec());
        };
        let style = ProgressStyle::with_template(
            "{wide_msg}\n{wide_bar:.cyan/dim} {percent}%, {rate} samples/s, {eta} left",
        );
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), target);
        bar.set_style(style.with_key("rate", rate));
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self {
            bar,
            stages,
            samples,
            json,
            checkpoint,
            kept: Instant::now(),
            begun: None,
            printed: Instant::now(),
            shown: Instant::now(),
            last: None,
        }
    }

    /// Prints a line above the bar.
    fn print(&mut self, line: &str) -> Result<()> {
        self.printed = Instant::now();
        self.bar.suspend(|| super::print(line))
    }

    /// How an epoch is called: with its stage, where there are several.
    fn name(&self, stage: usize, epoch: u32) -> String {
        let Stage { name, epochs, .. } = &self.stages[stage];
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
    fn step(&mut self, progress: Progress) {
        let Progress {
            stage,
            epoch,
            samples,
            loss,
        } = progress;
        let epochs = u64::from(epoch - 1);
        let behind = self.stages[stage].before + epochs * self.samples as u64 + samples as u64;
        self.bar.set_position(behind);
        let (begun, first) = *self.begun.get_or_insert_with(|| {
            // What an earlier run has done says nothing of this one's pace.
            self.bar.reset_eta();
            (Instant::now(), behind)
        });
        if !self.bar.is_hidden() && self.shown.elapsed() >= GLANCE {
            self.shown = Instant::now();
            let last = self.last.iter().map(|last| format!("; {last}"));
            let name = self.name(stage, epoch);
            let message = format!("{name}: loss {loss:.6}{}", last.collect::<String>());
            self.bar.set_message(message);
        }
        if self.bar.is_hidden() && !self.json && self.printed.elapsed() >= QUIET {
            let total = self.bar.length().unwrap_or(behind);
            let pace = pace(
                begun.elapsed(),
                behind - first,
                total.saturating_sub(behind),
            );
            let line = format!(
                "{}: {samples} of {} samples, loss {loss:.6}{pace}",
                self.name(stage, epoch),
                self.samples
            );
            // If nothing can be printed, the epoch's own line is the error.
            let _ = self.print(&line);
        }
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
                "stage": self.stages[stage].name, "epoch": number, "loss": loss, "penalty": penalty,
                "validation": validation, "accuracy": accuracy, "samples_per_second": samples_per_second,
                "learning_rate": learning_rate,
            }));
        }
        let mut figures = format!("loss {loss:.6}");
        if penalty != 0.0 {
            figures += &format!(" + {penalty:.6} = {:.6}", loss + penalty);
        }
        if let Some(validation) = validation {
            figures += &format!(", validation {validation:.6}");
        }
        if let Some(accuracy) = accuracy {
            figures += &format!(", accuracy {:.2} %", 100.0 * accuracy);
        }
        let name = self.name(stage, number);
        self.last = Some(format!("epoch {number}: {figures}"));
        self.print(&format!(
            "{name}: {figures}, {samples_per_second:.0} samples/s"
        ))
    }

    fn stage_end(&mut self, end: &StageEnd) -> Result<()> {
        let name = self.stages[end.stage].name.clone();
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
        self.print(&lines.join("\n"))
    }

    fn warn(&mut self, warning: &Warning) -> Result<()> {
        if self.json {
            return super::print(json!({ "warning": warning.to_string() }));
        }
        self.print(&format!("warning: {warning}"))
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.kept = Instant::now();
        self.checkpoint
            .as_ref()
            .map_or(Ok(()), |path| checkpoint.save(path))
    }

    fn wants_checkpoint(&self) -> bool {
        self.checkpoint.is_some() && self.kept.elapsed() >= BETWEEN_CHECKPOINTS
    }

    fn stop(&self) -> bool {
        stopped()
    }
}

/// How fast a run is that did `done` samples in a time, and when it will have done those that are `left`.
fn pace(spent: Duration, done: u64, left: u64) -> String {
    if done == 0 || spent.is_zero() {
        return String::new();
    }
    let rate = done as f64 / spent.as_secs_f64();
    // More than any time that can be told is nothing that can be told.
    let left = Duration::try_from_secs_f64(left as f64 / rate);
    let left = left.map(|left| format!(", {:#} left", HumanDuration(left)));
    format!(", {rate:.0} samples/s{}", left.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_samples_that_were_done() {
        let told = |seconds, done, left| pace(Duration::from_secs(seconds), done, left);
        assert_eq!(told(10, 25_000, 75_000), ", 2500 samples/s, 30s left");
        assert_eq!(told(10, 25_000, 0), ", 2500 samples/s, 0s left");
        assert_eq!(told(100, 50, 100_000), ", 0 samples/s, 2d left");
        for nothing in [told(0, 5, 5), told(5, 0, 5)] {
            assert_eq!(nothing, "");
        }
    }
}
