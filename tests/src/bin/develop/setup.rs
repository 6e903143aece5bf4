//! Completing the machine: finds what a command needs and does not have, says so, asks, installs.

use std::env;
use std::io::{self, BufRead, IsTerminal, Write};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::firmware;
use crate::packages::{self, Manager, Package};
use crate::process;
use crate::toolchain::{self, Compiler, Debian, DeviceToolchain};

/// What a command needs beside a compiler for the devices.
#[derive(Debug)]
pub(crate) struct Needs {
    emulator: bool,
    lints: bool,
    browser: bool,
}

impl Needs {
    pub(crate) const FIRMWARE: Self = Self {
        emulator: false,
        lints: false,
        browser: false,
    };
    pub(crate) const DEMO: Self = Self {
        emulator: true,
        ..Self::FIRMWARE
    };
    pub(crate) const VERIFY: Self = Self {
        emulator: true,
        lints: true,
        browser: true,
    };
}

/// Where the compiler for the devices comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The active toolchain, with targets by rustup.
    Active,
    /// Debian's packages.
    Debian,
}

impl Source {
    /// What `NARROWS_TOOLCHAIN` asks for.
    fn asked(value: &str) -> Result<Option<Self>> {
        match value {
            "" => Ok(None),
            "rustup" => Ok(Some(Self::Active)),
            "debian" => Ok(Some(Self::Debian)),
            other => bail!("NARROWS_TOOLCHAIN: expected rustup or debian, not {other:?}"),
        }
    }

    /// What needs the least to be done, when nothing is asked for.
    fn choose(active_has_targets: bool, debian_is_complete: bool, rustup: bool) -> Self {
        if active_has_targets || (rustup && !debian_is_complete) {
            Self::Active
        } else {
            Self::Debian
        }
    }
}

/// Completes the machine and returns the compiler for the devices. Where nothing is missing, it changes nothing.
///
/// `yes` is the answer to the question that is asked on a terminal before anything is installed.
///
/// # Errors
/// When something is missing that cannot be installed from here, with the command that does; and when the answer is no.
pub(crate) fn complete(needs: &Needs, yes: bool) -> Result<DeviceToolchain> {
    let targets = firmware::targets();
    let active = Compiler::active()?.has(&targets);
    let asked = Source::asked(&env::var("NARROWS_TOOLCHAIN").unwrap_or_default())?;
    let source = asked.unwrap_or_else(|| {
        let debian = || Debian::open().is_ok_and(|debian| debian.has(&targets));
        Source::choose(
            active,
            !active && debian(),
            process::find("rustup").is_some(),
        )
    });

    let missing = Missing::find(needs, source, active);
    if let Err(error) = missing.install(yes) {
        let rustup_failed = error.downcast_ref::<TargetsUnavailable>().is_some();
        if !rustup_failed || asked.is_some() || Manager::of_this_system() != Some(Manager::Apt) {
            return Err(error);
        }
        eprintln!("{error}: Debian's packages take their place");
        Missing::find(needs, Source::Debian, active).install(yes)?;
        return debian(&targets);
    }
    match source {
        Source::Active => Ok(DeviceToolchain::Active),
        Source::Debian => debian(&targets),
    }
}

fn debian(targets: &[&str]) -> Result<DeviceToolchain> {
    let debian = Debian::open()?;
    if !debian.has(targets) {
        debian.complete(targets)?;
    }
    Ok(DeviceToolchain::Debian(debian))
}

/// What is missing, by the program that installs it.
#[derive(Debug, Default)]
struct Missing {
    packages: Vec<Package>,
    components: Vec<&'static str>,
    targets: Vec<&'static str>,
}

/// rustup could not install the devices' targets.
#[derive(Debug)]
struct TargetsUnavailable;

impl std::fmt::Display for TargetsUnavailable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("rustup cannot install the devices' targets")
    }
}

impl std::error::Error for TargetsUnavailable {}

impl Missing {
    fn find(needs: &Needs, source: Source, active_has_targets: bool) -> Self {
        let mut missing = Self::default();
        if needs.emulator && process::find("qemu-system-arm").is_none() {
            missing.packages.push(Package::Qemu);
        }
        // Only Debian has one that installs in seconds; elsewhere a browser is there, or the step says how to get one.
        let installs_browsers = Manager::of_this_system() == Some(Manager::Apt);
        if needs.browser && installs_browsers && process::find_browser().is_none() {
            missing.packages.push(Package::Browser);
        }
        if needs.lints {
            for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
                if process::output(process::cargo().args([subcommand, "--version"])).is_err() {
                    missing.components.push(component);
                }
            }
        }
        match source {
            Source::Active if active_has_targets => {}
            Source::Active => missing.targets = firmware::targets(),
            Source::Debian => {
                let mut packages = vec![Package::DebianRustc, Package::DebianRustSource];
                if needs.lints {
                    packages.push(Package::DebianClippy);
                }
                missing
                    .packages
                    .extend(packages::missing_from_dpkg(&packages));
                if toolchain::linker().is_none() {
                    missing.packages.push(Package::Lld);
                }
            }
        }
        missing
    }

    fn install(&self, yes: bool) -> Result<()> {
        let system = self.system_commands()?;
        let rustup = self.rustup_commands(process::find("rustup").is_some())?;
        if system.is_empty() && rustup.is_empty() {
            return Ok(());
        }
        eprintln!("Missing on this machine:");
        for package in &self.packages {
            let name = package.name(Manager::Apt).unwrap_or_default();
            eprintln!("  {name}: {}", package.purpose());
        }
        for component in &self.components {
            eprintln!("  {component}: checks the code");
        }
        for target in &self.targets {
            eprintln!("  {target}: the devices' core library");
        }
        eprintln!("To be run now:");
        for command in system.iter().chain(&rustup) {
            eprintln!("  {}", command.join(" "));
        }
        if !yes && !confirmed()? {
            bail!("nothing was installed");
        }
        for command in &system {
            let result = process::run(&mut to_run(command));
            // Lists that could not be refreshed may still do; where they do not, the installation says so.
            if !command.contains(&"update") {
                result?;
            }
        }
        for command in &rustup {
            let result = process::run(&mut to_run(command));
            if command.contains(&"target") {
                result.map_err(|_| TargetsUnavailable)?;
            } else {
                result?;
            }
        }
        Ok(())
    }

    fn system_commands(&self) -> Result<Vec<Vec<&'static str>>> {
        if self.packages.is_empty() {
            return Ok(Vec::new());
        }
        match Manager::of_this_system() {
            Some(Manager::Apt) => Ok(packages::apt_commands(&self.packages)?.into()),
            Some(other) => match other.install(&self.packages) {
                Some(command) => bail!(
                    "qemu-system-arm is missing: run `{}`, then run again",
                    command.join(" ")
                ),
                None => bail!(
                    "Debian's rustc is for systems with apt-get: install rustup (https://rustup.rs), then run again"
                ),
            },
            None if self.packages == [Package::Qemu] => {
                bail!("qemu-system-arm is missing: install QEMU, then run again")
            }
            None => bail!(
                "no way to compile for the devices: install rustup (https://rustup.rs), then run again"
            ),
        }
    }

    fn rustup_commands(&self, has_rustup: bool) -> Result<Vec<Vec<&'static str>>> {
        let mut commands = Vec::new();
        for (kind, names) in [("component", &self.components), ("target", &self.targets)] {
            if !names.is_empty() {
                commands.push([&["rustup", kind, "add"], names.as_slice()].concat());
            }
        }
        if !commands.is_empty() && !has_rustup {
            let names = [self.components.as_slice(), &self.targets]
                .concat()
                .join(", ");
            bail!(
                "missing in the Rust toolchain: {names}; install them, or rustup (https://rustup.rs), then run again"
            );
        }
        Ok(commands)
    }
}

fn to_run(line: &[&str]) -> Command {
    let mut command = Command::new(line.first().copied().unwrap_or_default());
    command.args(line.iter().skip(1)).stdout(io::stderr());
    if line.contains(&"apt-get") {
        command.env("DEBIAN_FRONTEND", "noninteractive");
    }
    command
}

/// Asks on a terminal; without one, goes on.
fn confirmed() -> Result<bool> {
    let (stdin, mut stderr) = (io::stdin(), io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return Ok(true);
    }
    write!(stderr, "Go on? [Y/n] ")?;
    let mut answer = String::new();
    let read = stdin
        .lock()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(read > 0 && is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "" | "y" | "yes"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toolchain_asked_for_is_rustup_debian_or_nothing() {
        assert_eq!(Source::asked("").unwrap(), None);
        assert_eq!(Source::asked("rustup").unwrap(), Some(Source::Active));
        assert_eq!(Source::asked("debian").unwrap(), Some(Source::Debian));
        let error = Source::asked("Debian").unwrap_err();
        assert_eq!(
            error.to_string(),
            "NARROWS_TOOLCHAIN: expected rustup or debian, not \"Debian\""
        );
    }

    #[test]
    fn the_source_that_is_already_complete_is_chosen_then_rustup_then_debian() {
        assert_eq!(Source::choose(true, true, false), Source::Active);
        assert_eq!(Source::choose(false, true, true), Source::Debian);
        assert_eq!(Source::choose(false, false, true), Source::Active);
        assert_eq!(Source::choose(false, false, false), Source::Debian);
    }

    #[test]
    fn rustup_gets_one_command_for_components_and_one_for_targets() {
        let missing = Missing {
            components: vec!["rustfmt", "clippy"],
            targets: vec!["t"],
            ..Missing::default()
        };
        let commands = missing.rustup_commands(true).unwrap();
        assert_eq!(
            commands,
            [
                vec!["rustup", "component", "add", "rustfmt", "clippy"],
                vec!["rustup", "target", "add", "t"]
            ]
        );
        assert!(Missing::default().rustup_commands(true).unwrap().is_empty());
    }

    #[test]
    fn without_rustup_the_missing_parts_of_the_toolchain_are_an_error_that_names_them() {
        let missing = Missing {
            components: vec!["rustfmt"],
            targets: vec!["t"],
            ..Missing::default()
        };
        let error = missing.rustup_commands(false).unwrap_err().to_string();
        assert!(
            error.starts_with("missing in the Rust toolchain: rustfmt, t;"),
            "{error}"
        );
        assert!(
            Missing::default()
                .rustup_commands(false)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn only_yes_and_return_mean_yes() {
        for answer in ["\n", "y\n", "YES\n"] {
            assert!(is_yes(answer), "{answer:?}");
        }
        for answer in ["n\n", "no\n", "what?\n"] {
            assert!(!is_yes(answer), "{answer:?}");
        }
    }
}
