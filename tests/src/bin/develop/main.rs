//! The program behind `cargo demo`, `cargo verify` and `cargo firmware`.
//!
//! Each command first has [`setup`] complete the machine, with what [`packages`] knows of its package manager, and gets a
//! [`toolchain`] that compiles for the devices. [`firmware`] builds the image of a board with it; [`verify`] holds the
//! repository to its promises, step by step.

mod firmware;
mod packages;
mod process;
mod setup;
mod toolchain;
mod verify;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use firmware::{BOARDS, Board, Logs};
use setup::Needs;

const USAGE: &str = "\
cargo demo [--yes] [ARGUMENTS]           trains, flashes an emulated Cortex-M4F, compares; ARGUMENTS go to `narrows demo`,
                                         which writes into target/demo of the repository unless they have --out
cargo verify [--yes]                     formatting, lints, documentation, firmware, all tests, packaging
cargo firmware [--yes] [--board BOARD] [--logs]
                                         builds the firmware of one board and prints the path of its ELF file

  --yes            installs what is missing without asking
  --board BOARD    mps2-an386 (the default) or nrf52840-dk
  --logs           with logs by defmt

NARROWS_TOOLCHAIN=debian compiles for the devices with Debian's rustc instead of rustup's, NARROWS_TOOLCHAIN=rustup never does.
";

fn main() -> ExitCode {
    match command(env::args().skip(1).collect()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command(mut arguments: Vec<String>) -> Result<ExitCode> {
    if arguments.is_empty() {
        bail!("expected a command: demo, verify or firmware");
    }
    let name = arguments.remove(0);
    let yes = take(&mut arguments, "--yes");
    let help = arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h");
    match name.as_str() {
        "demo" if help => {
            print!("{USAGE}");
            demo(None, &arguments)
        }
        "-h" | "--help" => help_only(),
        "demo" | "verify" | "firmware" if help => help_only(),
        "demo" => {
            let toolchain = setup::complete(&Needs::DEMO, yes)?;
            let elf = firmware::build(&toolchain, &BOARDS[0], Logs::Off)?;
            demo(Some(&elf), &arguments)
        }
        "verify" => {
            refuse(&arguments)?;
            verify::all(&setup::complete(&Needs::VERIFY, yes)?)?;
            Ok(ExitCode::SUCCESS)
        }
        "firmware" => {
            let board = Board::from_arguments(&mut arguments)?;
            let logs = if take(&mut arguments, "--logs") {
                Logs::On
            } else {
                Logs::Off
            };
            refuse(&arguments)?;
            let toolchain = setup::complete(&Needs::FIRMWARE, yes)?;
            println!("{}", firmware::build(&toolchain, board, logs)?.display());
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("expected demo, verify or firmware, not {other:?}"),
    }
}

fn help_only() -> Result<ExitCode> {
    print!("{USAGE}");
    Ok(ExitCode::SUCCESS)
}

/// Runs `narrows demo` where the user stands, so that relative paths among `arguments` are theirs; its status becomes ours.
fn demo(firmware: Option<&Path>, arguments: &[String]) -> Result<ExitCode> {
    let mut cargo = process::cargo();
    cargo
        .args(["run", "--release", "--manifest-path"])
        .arg(root().join("Cargo.toml"));
    cargo.args(["-p", "narrows", "--", "demo"]);
    if let Some(elf) = firmware {
        cargo.arg("--firmware").arg(elf);
        let out = |argument: &String| argument == "--out" || argument.starts_with("--out=");
        if !arguments.iter().any(out) {
            // Not into the user's folder, least of all into the repository.
            cargo.arg("--out").arg(root().join("target/demo"));
        }
    }
    let status = cargo
        .args(arguments)
        .status()
        .context("cannot start cargo")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Removes `flag` from the arguments; whether it was there.
fn take(arguments: &mut Vec<String>, flag: &str) -> bool {
    let before = arguments.len();
    arguments.retain(|argument| argument != flag);
    arguments.len() < before
}

fn refuse(arguments: &[String]) -> Result<()> {
    match arguments.first() {
        Some(argument) => bail!("unexpected argument {argument:?}; --help lists what there is"),
        None => Ok(()),
    }
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Cargo's target folder, whatever the user's settings put it: this program lies in target/release.
fn target_folder() -> Result<PathBuf> {
    let program = env::current_exe().context("cannot find where this program lies")?;
    let folder = program.ancestors().nth(2);
    Ok(folder
        .context("this program does not lie in a target folder")?
        .to_path_buf())
}
