//! The boards and their images.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::toolchain::DeviceToolchain;
use crate::{process, root};

/// A board: a binary of narrows-firmware and the feature that it requires, of one name.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
}

/// All boards. The first is the one that QEMU emulates.
pub(crate) const BOARDS: [Board; 2] = [
    Board {
        name: "mps2-an386",
        target: "thumbv7em-none-eabihf",
    },
    Board {
        name: "nrf52840-dk",
        target: "thumbv7em-none-eabihf",
    },
];

/// The targets of all boards, each once.
pub(crate) fn targets() -> Vec<&'static str> {
    let mut targets: Vec<_> = BOARDS.iter().map(|board| board.target).collect();
    targets.sort_unstable();
    targets.dedup();
    targets
}

/// What an image is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logs {
    /// As it is flashed: no logs, and no panic can be reached.
    Off,
    /// Logs by defmt.
    On,
}

impl Board {
    /// Takes `--board NAME` out of the arguments; without it, the emulated board.
    ///
    /// # Errors
    /// When the name is missing or no board's.
    pub(crate) fn from_arguments(arguments: &mut Vec<String>) -> Result<&'static Self> {
        let Some(place) = arguments.iter().position(|argument| argument == "--board") else {
            return Ok(&BOARDS[0]);
        };
        let names = BOARDS.map(|board| board.name).join(", ");
        let Some(name) = arguments.get(place + 1).cloned() else {
            bail!("--board: expected one of {names}");
        };
        arguments.drain(place..=place + 1);
        let board = BOARDS.iter().find(|board| board.name == name);
        board.with_context(|| format!("--board: expected one of {names}, not {name:?}"))
    }
}

/// Builds a board's image with the profile of those that are flashed, and returns the path of its ELF file.
///
/// # Errors
/// When it does not build.
pub(crate) fn build(toolchain: &DeviceToolchain, board: &Board, logs: Logs) -> Result<PathBuf> {
    let mut cargo = toolchain.build(board.target)?;
    process::run(select(&mut cargo, board, logs))?;
    let folder = DeviceToolchain::build_folder()?;
    let elf = folder.join(board.target).join("firmware").join(board.name);
    if !elf.is_file() {
        bail!("the firmware was built, but {} is missing", elf.display());
    }
    Ok(elf)
}

/// Has clippy check the firmware's library and a board's binary as they are compiled for it.
///
/// # Errors
/// When there is a warning.
pub(crate) fn lint(toolchain: &DeviceToolchain, board: &Board, logs: Logs) -> Result<()> {
    let mut cargo = toolchain.clippy(board.target)?;
    process::run(select(&mut cargo, board, logs).args(["--lib", "--", "-D", "warnings"]))
}

fn select<'a>(cargo: &'a mut Command, board: &Board, logs: Logs) -> &'a mut Command {
    cargo.current_dir(root());
    cargo.args([
        "-p",
        "narrows-firmware",
        "--bin",
        board.name,
        "--features",
        board.name,
    ]);
    if logs == Logs::On {
        cargo.args(["--features", "defmt"]);
    }
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> (Result<&'static Board>, Vec<String>) {
        let mut arguments = line.split_whitespace().map(String::from).collect();
        (Board::from_arguments(&mut arguments), arguments)
    }

    #[test]
    fn a_board_is_chosen_by_name_and_is_the_emulated_one_by_default() {
        let (board, rest) = parse("--board nrf52840-dk --other");
        assert_eq!(
            (board.unwrap().name, rest),
            ("nrf52840-dk", vec!["--other".to_owned()])
        );
        assert_eq!(parse("").0.unwrap().name, "mps2-an386");
    }

    #[test]
    fn an_unknown_or_missing_board_is_an_error_that_lists_the_boards() {
        for line in ["--board", "--board arduino"] {
            let error = parse(line).0.unwrap_err().to_string();
            assert!(
                error.contains("expected one of mps2-an386, nrf52840-dk"),
                "{error}"
            );
        }
    }
}
