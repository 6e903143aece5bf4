//! The subcommands, a file for each.

mod bench;
mod completions;
mod demo;
mod diagnose;
mod eval;
mod export;
mod features;
mod inspect;
mod neighbours;
mod preset;
mod progress;
mod report;
mod run;
mod score;
mod sweep;
mod train;

use std::fmt::Display;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use narrows::analysis;
use narrows::confusion::Confusion;
use narrows::data::{self, Reading, Samples};
use narrows::error::{Error, Result};
use narrows::processor::Desktop;
use narrows::recipe::{Preset, Recipe};
use narrows::{files, model::Part};
use narrows_core::blob::{Model, Preprocessing, Rule};

/// Trains autoencoders, exports them for Cortex-M, and runs them with the bits that the device gives.
#[derive(Parser)]
#[command(name = "narrows", version, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  narrows train vanilla
  narrows eval vanilla.narrows fashion-mnist
  narrows train --help")]
pub(crate) struct Command {
    /// Print JSON, an object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    subcommand: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    Train(train::Arguments),
    Eval(eval::Arguments),
    /// Run a model on samples
    #[command(after_help = "\
Examples:
  narrows run vanilla.narrows pictures.npy answers.npy
  narrows run vanilla.narrows t10k-images-idx3-ubyte.gz answers.npy --threads 1")]
    Run(run::Arguments),
    /// Run a model up to its code
    #[command(after_help = "\
Example:
  narrows encode convolutional.narrows pictures.npy codes.npy")]
    Encode(run::Arguments),
    /// Run a model from its code on
    #[command(after_help = "\
Example, which gives the bits that `narrows run` gives:
  narrows encode vanilla.narrows pictures.npy codes.npy
  narrows decode vanilla.narrows codes.npy answers.npy")]
    Decode(run::Arguments),
    /// Run a denoising model on noisy samples: the same as `run`
    #[command(after_help = "\
Example:
  narrows denoise denoising.narrows noisy.npy clean.npy")]
    Denoise(run::Arguments),
    Score(score::Arguments),
    Features(features::Arguments),
    Neighbours(neighbours::Arguments),
    Diagnose(diagnose::Arguments),
    Sweep(sweep::Arguments),
    Inspect(inspect::Arguments),
    Report(report::Report),
    Compare(report::Compare),
    Preset(preset::Arguments),
    Export(export::Arguments),
    Demo(demo::Arguments),
    #[command(after_help = "\
Example:
  narrows bench training --threads 1")]
    Bench(bench::Arguments),
    Completions(completions::Arguments),
}

impl Command {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let done = |()| ExitCode::SUCCESS;
        match self.subcommand {
            Subcommands::Train(arguments) => arguments.run(self.json),
            Subcommands::Eval(arguments) => arguments.run(self.json).map(done),
            Subcommands::Run(arguments) | Subcommands::Denoise(arguments) => {
                arguments.run(Part::Reconstruct, self.json).map(done)
            }
            Subcommands::Encode(arguments) => arguments.run(Part::Encode, self.json).map(done),
            Subcommands::Decode(arguments) => arguments.run(Part::Decode, self.json).map(done),
            Subcommands::Score(arguments) => arguments.run(self.json).map(done),
            Subcommands::Features(arguments) => arguments.run(self.json).map(done),
            Subcommands::Neighbours(arguments) => arguments.run(self.json).map(done),
            Subcommands::Diagnose(arguments) => arguments.run(self.json).map(done),
            Subcommands::Sweep(arguments) => arguments.run(self.json),
            Subcommands::Inspect(arguments) => arguments.run(self.json).map(done),
            Subcommands::Report(arguments) => arguments.run(self.json).map(done),
            Subcommands::Compare(arguments) => arguments.run(self.json).map(done),
            Subcommands::Preset(arguments) => arguments.run(self.json).map(done),
            Subcommands::Export(arguments) => arguments.run(self.json).map(done),
            Subcommands::Demo(arguments) => arguments.run(self.json),
            Subcommands::Bench(arguments) => arguments.run(self.json).map(done),
            Subcommands::Completions(arguments) => arguments.run(self.json).map(done),
        }
    }
}

/// Prints what is wrong with the command line, as one line.
pub(crate) fn refuse(problem: &clap::Error) -> ExitCode {
    if problem.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        problem.exit();
    }
    let rendered = problem.render().to_string();
    let lines = rendered
        .lines()
        .take_while(|line| !line.starts_with("Usage:"))
        .map(str::trim);
    let lines: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    let _ = writeln!(std::io::stderr(), "{}", lines.join(" "));
    ExitCode::from(2)
}

/// Prints a line. A full disk or a closed pipe is an error like any other, where `println!` would panic.
fn print(line: impl Display) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").map_err(|source| Error::File {
        path: "standard output".into(),
        action: "write",
        source,
    })
}

/// A confusion matrix as lines of text.
fn matrix(confusion: &Confusion) -> Vec<String> {
    let cell = |count: u64| format!("{count:>7}");
    let answers = (0..confusion.counts().len() as u64).map(cell);
    let head = format!("{:>7}{}", "", answers.collect::<String>());
    let rows = confusion.counts().iter().enumerate();
    let rows = rows.map(|(label, row)| {
        let cells: String = row.iter().copied().map(cell).collect();
        format!("{label:>7}{cells}")
    });
    std::iter::once(head).chain(rows).collect()
}

/// The number of threads to compute with.
#[derive(clap::Args)]
struct Threads {
    /// Threads to compute with [default: as many as the machine has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Threads {
    fn count(&self) -> usize {
        let available = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads.map_or_else(available, usize::from)
    }

    fn executor(&self) -> Result<Desktop> {
        Desktop::new(self.count())
    }
}

/// How a model's data are read, where that is not as in its training.
#[derive(clap::Args)]
struct DataArguments {
    /// Cut a recording into windows, one of which begins every N frames [default: as in training]
    #[arg(long, value_name = "N", value_parser = at_least_one::<u32>)]
    step: Option<u32>,
    /// Columns of a CSV that are taken, with commas between them [default: all but the labels]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    columns: Vec<String>,
    /// Column of a CSV that has the labels
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
}

impl DataArguments {
    /// What a model's data go through.
    fn preprocessing(&self, model: &Model<'_>) -> Preprocessing {
        let preprocessing = model.header.preprocessing;
        let sample_rate = match preprocessing.rule {
            Rule::Window { sample_rate, .. } => sample_rate,
            _ => None,
        };
        let step = self.step.map(Some);
        step.map_or(preprocessing, |step| Preprocessing {
            rule: Rule::Window { step, sample_rate },
            ..preprocessing
        })
    }

    /// How a model's data are read.
    fn reading(&self, model: &Model<'_>) -> Reading<'_> {
        Reading {
            rule: self.preprocessing(model).rule,
            columns: &self.columns,
            label: self.label.as_deref(),
            ..Reading::of_model(model)
        }
    }

    /// The samples that a model was perhaps trained on, and those that it is judged by; see [`analysis::samples`].
    fn samples(&self, path: &Path, model: &Model<'_>) -> Result<(Option<Samples>, Samples)> {
        let raw = data::load(path, &self.reading(model))?;
        let place = path.display().to_string();
        analysis::samples(raw, &model.network, self.preprocessing(model), &place)
    }
}

/// Reads a number from 1 to the largest of its type.
fn at_least_one<T: TryFrom<u64>>(text: &str) -> std::result::Result<T, String> {
    let most = u64::MAX >> (64 - 8 * size_of::<T>());
    let number = text.parse().ok().filter(|number| *number > 0);
    number
        .and_then(|number: u64| T::try_from(number).ok())
        .ok_or_else(|| format!("expected a whole number from 1 to {most}"))
}

/// The recipe that a file or a preset's name stands for.
fn recipe(name: &str) -> Result<Recipe> {
    let path = Path::new(name);
    // A preset has neither a folder nor a dot in its name.
    if path.extension().is_none() && path.components().count() == 1 && !path.is_file() {
        return Preset::find(name)?.recipe();
    }
    let bytes = files::read(path)?;
    let text = String::from_utf8(bytes).map_err(|problem| {
        let at = problem.utf8_error().valid_up_to();
        let line = 1 + problem.as_bytes()[..at]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        let problem = "expected UTF-8, but other bytes came".into();
        Error::Recipe {
            file: name.into(),
            line,
            problem,
        }
    })?;
    Recipe::parse(&text, name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::{CommandFactory, Parser};

    /// The whole command lines of a command and of its subcommands, each with what its help says after the options.
    fn collect(command: &clap::Command, line: &str, found: &mut Vec<(String, String)>) {
        let help = command.get_after_help().or(command.get_after_long_help());
        found.push((
            line.into(),
            help.map(ToString::to_string).unwrap_or_default(),
        ));
        for subcommand in command
            .get_subcommands()
            .filter(|command| !command.is_hide_set() && command.get_name() != "help")
        {
            collect(
                subcommand,
                &format!("{line} {}", subcommand.get_name()),
                found,
            );
        }
    }

    #[test]
    fn every_command_and_subcommand_has_help_with_an_example_of_itself() {
        let mut found = Vec::new();
        collect(&super::Command::command(), "narrows", &mut found);
        assert!(found.len() > 10, "{found:?}");
        for (line, help) in found {
            let (_, examples) = help
                .split_once("Example")
                .unwrap_or_else(|| panic!("{line}: no example"));
            let example =
                |text: &str| text == format!("  {line}") || text.starts_with(&format!("  {line} "));
            assert!(examples.lines().any(example), "{line}: {help}");
        }
    }

    #[test]
    fn every_command_line_in_the_documentation_parses() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let pages = std::fs::read_dir(repository.join("docs")).unwrap();
        let pages = pages.map(|page| page.unwrap().path());
        let pages = pages.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
        let mut found = 0;
        for path in pages.chain([repository.join("README.md")]) {
            let page = std::fs::read_to_string(&path).unwrap();
            // Every second part between fences is inside of them.
            let fenced = page.split("```").skip(1).step_by(2);
            for line in fenced.flat_map(str::lines) {
                if !line.starts_with("narrows ") {
                    continue;
                }
                let command = line.split(['>', '#']).next().unwrap_or_default();
                if let Err(problem) = super::Command::try_parse_from(command.split_whitespace()) {
                    panic!("{}: {line}\n{problem}", path.display());
                }
                found += 1;
            }
        }
        assert!(found > 20, "{found} command lines");
    }
}
