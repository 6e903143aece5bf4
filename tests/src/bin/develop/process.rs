//! Starting other programs.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The cargo that started this program.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// The program of that name on the search path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let file = format!("{program}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(&file))
        .find(|path| path.is_file())
}

/// A browser that runs without a window.
pub(crate) fn find_browser() -> Option<PathBuf> {
    let names = [
        "chromium-headless-shell",
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ];
    names.into_iter().find_map(find)
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot start or fails, with its command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", line(command));
    }
    Ok(())
}

/// Runs a program to its end and returns what it printed on stdout.
///
/// # Errors
/// When it cannot start or fails, with its command line and its last word on stderr.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", line(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim_end().lines().last().unwrap_or_default();
        bail!("{} failed ({}): {last}", line(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How the command begins, as one would type it: of the program only its name.
fn line(command: &Command) -> String {
    const SHOWN: usize = 5;
    let program = PathBuf::from(command.get_program());
    let mut line = program
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args().take(SHOWN) {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    if command.get_args().len() > SHOWN {
        line.push_str(" ...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_what_it_said_last() {
        let error = output(cargo().args(["no-such-command", "at-all"])).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("cargo no-such-command at-all failed ("),
            "{said}"
        );
    }

    #[test]
    fn a_program_that_does_not_exist_is_not_found_and_named_when_started() {
        assert_eq!(find("no-such-program-anywhere"), None);
        let error = run(&mut Command::new("no-such-program-anywhere")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start no-such-program-anywhere");
    }

    #[test]
    fn a_long_command_is_named_by_its_beginning() {
        let mut command = Command::new("/usr/bin/program");
        command.args(["a", "b", "c", "d", "e"]);
        assert_eq!(line(&command), "program a b c d e");
        command.arg("f");
        assert_eq!(line(&command), "program a b c d e ...");
    }
}
