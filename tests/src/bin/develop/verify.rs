//! `cargo verify`: everything that the repository promises about itself, in the order in which it fails fastest.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::firmware::{self, BOARDS, Logs};
use crate::process;
use crate::toolchain::{Compiler, DeviceToolchain, is_release_of};
use crate::{root, target_folder};

/// The tests that need the firmware and QEMU are left out of a plain `cargo test`.
const DEVICE_TESTS: &str = "--features=narrows-tests/device";

/// The tests that have a step of their own, as not every machine has a browser.
const IN_A_BROWSER: &str = "in_a_browser";

/// Core as it is for whoever takes no features.
const CORE_ALONE: [&str; 3] = ["-p", "narrows-core", "--no-default-features"];

/// Runs all steps.
///
/// # Errors
/// At the first step that fails, with its name.
pub(crate) fn all(toolchain: &DeviceToolchain) -> Result<()> {
    let start = Instant::now();
    step("formatting", || {
        process::run(cargo("fmt").args(["--all", "--check"]))
    })?;
    step("lints of the host's code", || {
        process::run(cargo("clippy").args([
            "--workspace",
            "--all-targets",
            DEVICE_TESTS,
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    // In the workspace, core has all its features: another member asks for them.
    step("lints of core without features", || {
        process::run(cargo("clippy").args(CORE_ALONE).args([
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    for board in &BOARDS {
        for (logs, with) in [(Logs::Off, ""), (Logs::On, " with logs")] {
            let name = format!("lints of the firmware for {}{with}", board.name);
            step(&name, || firmware::lint(toolchain, board, logs))?;
        }
    }
    step("documentation", || {
        process::run(
            cargo("doc")
                .args(["--workspace", "--no-deps"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    })?;
    let mut images = Vec::new();
    for board in &BOARDS {
        images.push(step(&format!("firmware for {}", board.name), || {
            firmware::build(toolchain, board, Logs::Off)
        })?);
    }
    step("tests on the host and in QEMU", || {
        process::run(
            cargo("test")
                .args(["--workspace", DEVICE_TESTS, "--", "--skip", IN_A_BROWSER])
                .env("NARROWS_FIRMWARE", &images[0]),
        )
    })?;
    step("reports in a browser", reports)?;
    step("tests of core without features", || {
        process::run(cargo("test").args(CORE_ALONE))
    })?;
    step("package of narrows-core", package)?;
    step(
        concat!("host's code with Rust ", env!("CARGO_PKG_RUST_VERSION")),
        build_with_declared_version,
    )?;
    eprintln!(
        "verify: everything holds, {:.0} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Runs one step between a line with its name and a line with its time.
fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("verify: {name}");
    let start = Instant::now();
    let result = work().with_context(|| name.to_owned())?;
    eprintln!("verify: {name}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(result)
}

fn cargo(subcommand: &str) -> Command {
    let mut cargo = process::cargo();
    cargo.current_dir(root()).arg(subcommand);
    cargo
}

/// The reports' test, which a plain `cargo test` leaves out, and says so, where there is no browser.
fn reports() -> Result<()> {
    let browser = process::find_browser()
        .context("chromium is missing: install it or Google Chrome, then run again")?;
    process::run(
        cargo("test")
            .args(["-p", "narrows", "--test", "command", IN_A_BROWSER])
            .env("NARROWS_BROWSER", browser),
    )
}

/// Packages narrows-core and builds the package by itself.
fn package() -> Result<()> {
    // A developer's tree has changes that are not committed yet; the clone that CI packages has none.
    let mut cargo = cargo("package")
        .args(["-p", "narrows-core", "--allow-dirty"])
        .env("CARGO_TERM_COLOR", "never")
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let mut refusal = None;
    for line in BufReader::new(cargo.stderr.take().context("cargo has no stderr")?).lines() {
        let line = line?;
        eprintln!("{line}");
        if is_refused(&line) {
            refusal.get_or_insert(line);
        }
    }
    let status = cargo.wait()?;
    if !status.success() {
        bail!("cargo package failed ({status})");
    }
    if let Some(line) = refusal {
        bail!("crates.io refuses the package: {line}");
    }
    Ok(())
}

/// Whether a warning of cargo's lists something that crates.io requires: cargo lists what is merely wished for with it.
fn is_refused(line: &str) -> bool {
    line.strip_prefix("warning: manifest has no ")
        .is_some_and(|list| list.contains("description") || list.contains("license"))
}

fn build_with_declared_version() -> Result<()> {
    let declared = env!("CARGO_PKG_RUST_VERSION");
    if Compiler::active()?.is_of(declared) {
        return process::run(cargo("check").arg("--workspace"));
    }
    if process::find("rustup").is_none() {
        bail!("Rust {declared} is missing, and rustup, which would install it");
    }
    let toolchain = match declared_toolchain(declared)? {
        Some(installed) => installed,
        None => {
            process::run(Command::new("rustup").args([
                "toolchain",
                "install",
                declared,
                "--profile",
                "minimal",
            ]))
            .with_context(|| format!("Rust {declared} is missing"))?;
            declared.to_owned()
        }
    };
    process::run(
        Command::new("rustup")
            .current_dir(root())
            .args([
                "run",
                &toolchain,
                "cargo",
                "check",
                "--workspace",
                "--target-dir",
            ])
            .arg(target_folder()?.join("declared-version"))
            .env_remove("RUSTC")
            .env_remove("CARGO"),
    )
}

fn declared_toolchain(declared: &str) -> Result<Option<String>> {
    let list = process::output(Command::new("rustup").args(["toolchain", "list"]))?;
    Ok(toolchain_of(&list, declared))
}

/// The first toolchain in rustup's list that is a release of `minor`.
fn toolchain_of(list: &str, minor: &str) -> Option<String> {
    let names = list
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names
        .map(String::from)
        .find(|name| is_release_of(name, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_toolchain_of_the_declared_version_is_found_by_its_full_name() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\n1.9.0-x86_64-unknown-linux-gnu\n1.95.0-x86_64-unknown-linux-gnu\n";
        assert_eq!(
            toolchain_of(list, "1.95").as_deref(),
            Some("1.95.0-x86_64-unknown-linux-gnu")
        );
        assert_eq!(toolchain_of(list, "1.96"), None);
        assert_eq!(toolchain_of("no installed toolchains\n", "1.95"), None);
    }

    #[test]
    fn a_manifest_without_what_crates_io_requires_is_refused() {
        for list in [
            "description, license or license-file, documentation, homepage or repository",
            "description",
            "license or license-file",
        ] {
            assert!(
                is_refused(&format!("warning: manifest has no {list}")),
                "{list}"
            );
        }
        assert!(!is_refused(
            "warning: manifest has no documentation, homepage or repository"
        ));
        assert!(!is_refused("   Packaged 6 files, license included"));
    }
}
