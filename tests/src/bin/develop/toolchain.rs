//! The compiler for the devices: the active toolchain with rustup's targets, or Debian's rustc with a sysroot of our own.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{process, target_folder};

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO_CLIPPY: &str = "/usr/bin/cargo-clippy";

/// The crates of a sysroot for programs without std.
const LIBRARIES: [&str; 3] = ["core", "alloc", "compiler_builtins"];

/// A toolchain that compiles for the devices.
#[derive(Debug)]
pub(crate) enum DeviceToolchain {
    /// The active one: its sysroot has the devices' targets.
    Active,
    /// Debian's rustc, for the devices only: the host's programs keep the active toolchain.
    Debian(Debian),
}

impl DeviceToolchain {
    /// Where cargo builds for the devices. It is not the host's folder: the two may have different compilers and sysroots.
    pub(crate) fn build_folder() -> Result<PathBuf> {
        Ok(target_folder()?.join("device"))
    }

    /// `cargo build` for a target, with the profile of the images.
    pub(crate) fn build(&self, target: &str) -> Result<Command> {
        let mut cargo = process::cargo();
        cargo.arg("build");
        self.prepare(cargo, target)
    }

    /// `cargo clippy` for a target. It has the images' profile as well, so that both share what runs on the host.
    pub(crate) fn clippy(&self, target: &str) -> Result<Command> {
        let mut cargo = match self {
            Self::Active => process::cargo(),
            Self::Debian(_) => Command::new(DEBIAN_CARGO_CLIPPY),
        };
        cargo.arg("clippy");
        self.prepare(cargo, target)
    }

    fn prepare(&self, mut cargo: Command, target: &str) -> Result<Command> {
        cargo.args(["--profile", "firmware", "--target", target]);
        cargo.arg("--target-dir").arg(Self::build_folder()?);
        // Flags in the environment are the host's, and would replace the target's.
        cargo
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        if let Self::Debian(debian) = self {
            cargo.env("RUSTC", DEBIAN_RUSTC);
            let sysroot = format!("--sysroot={}", debian.sysroot.display());
            cargo
                .arg("--config")
                .arg(format!("target.{target:?}.rustflags = [{sysroot:?}]"));
            cargo
                .arg("--config")
                .arg(format!("target.{target:?}.linker = {:?}", debian.linker));
        }
        Ok(cargo)
    }
}

/// Debian's rustc with its own sysroot under the target folder, and a linker.
#[derive(Debug)]
pub(crate) struct Debian {
    sysroot: PathBuf,
    linker: PathBuf,
}

impl Debian {
    /// The sysroot that belongs to the installed version of Debian's rustc.
    ///
    /// # Errors
    /// When Debian's rustc or a linker is not installed.
    pub(crate) fn open() -> Result<Self> {
        let release = Compiler::of(DEBIAN_RUSTC)?.release;
        let sysroot = target_folder()?.join("device-toolchain").join(release);
        let linker = linker().context("no lld is installed")?;
        Ok(Self { sysroot, linker })
    }

    /// Whether the libraries for all `targets` are there.
    pub(crate) fn has(&self, targets: &[&str]) -> bool {
        targets
            .iter()
            .all(|target| is_complete(&libraries_of(&self.sysroot, target)))
    }

    /// Builds the core library for those of `targets` that do not have it yet, from the compiler's own sources.
    ///
    /// A library appears in the sysroot whole or not at all, whenever this is killed.
    ///
    /// # Errors
    /// When it does not build, or files cannot be written.
    pub(crate) fn complete(&self, targets: &[&str]) -> Result<()> {
        fs::create_dir_all(&self.sysroot)
            .with_context(|| format!("cannot create {}", self.sysroot.display()))?;
        let lock = File::create(self.sysroot.join("lock"))?;
        lock.lock()
            .context("cannot lock the device toolchain's folder")?;
        for target in targets {
            if self.has(&[target]) {
                continue;
            }
            eprintln!(
                "Building the core library for {target} in {} (half a minute)",
                self.sysroot.display()
            );
            self.build_libraries(target)
                .with_context(|| format!("cannot build the core library for {target}"))?;
        }
        Ok(())
    }

    fn build_libraries(&self, target: &str) -> Result<()> {
        let workshop = self.sysroot.join("build");
        remove(&workshop)?;
        fs::create_dir_all(&workshop)?;
        fs::write(workshop.join("empty.rs"), "#![no_std]\n")?;
        fs::write(
            workshop.join("Cargo.toml"),
            "[package]\nname = \"empty\"\nedition = \"2024\"\n[lib]\npath = \"empty.rs\"\n[workspace]\n",
        )?;
        process::run(
            process::cargo()
                .current_dir(&workshop)
                .args([
                    "build",
                    "--release",
                    "--target",
                    target,
                    "--target-dir",
                    "target",
                ])
                .args([
                    "-Z",
                    "build-std=core,alloc,compiler_builtins",
                    "-Z",
                    "build-std-features=compiler-builtins-mem",
                ])
                .env("RUSTC", DEBIAN_RUSTC)
                // The library's sources need it, as they do in the compiler's own build. The project's do not.
                .env("RUSTC_BOOTSTRAP", "1")
                // The images are optimized as a whole, core included.
                .env("RUSTFLAGS", "-Cembed-bitcode=yes")
                .env_remove("CARGO_ENCODED_RUSTFLAGS")
                .stdout(std::io::stderr()),
        )?;

        let finished = workshop.join("lib");
        fs::create_dir(&finished)?;
        let built = workshop.join("target").join(target).join("release/deps");
        for library in LIBRARIES {
            for file in files_of(&built, library) {
                fs::copy(built.join(&file), finished.join(&file))?;
            }
        }
        if !is_complete(&finished) {
            bail!(
                "expected one library of each of {} in {}",
                LIBRARIES.join(", "),
                built.display()
            );
        }
        let place = libraries_of(&self.sysroot, target);
        remove(&place)?;
        fs::create_dir_all(place.parent().context("a sysroot has folders")?)?;
        fs::rename(&finished, &place)?;
        remove(&workshop)
    }
}

/// A linker for the devices, which Debian's rustc does not bring: the active toolchain's, or the system's.
pub(crate) fn linker() -> Option<PathBuf> {
    let of_the_toolchain = Compiler::active().ok().map(|rustc| {
        let tools = rustc
            .sysroot
            .join("lib/rustlib")
            .join(rustc.host)
            .join("bin");
        tools.join("rust-lld")
    });
    of_the_toolchain
        .filter(|path| path.is_file())
        .or_else(|| process::find("lld"))
}

/// What a rustc says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// Such as 1.95.0.
    pub(crate) release: String,
    host: String,
    sysroot: PathBuf,
}

impl Compiler {
    /// The one that cargo uses for the host.
    ///
    /// # Errors
    /// When it cannot run.
    pub(crate) fn active() -> Result<Self> {
        Self::of(env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc")))
    }

    fn of(program: impl Into<OsString>) -> Result<Self> {
        let program = program.into();
        let version = process::output(Command::new(&program).arg("-vV"))?;
        let sysroot = process::output(Command::new(&program).args(["--print", "sysroot"]))?;
        Self::parse(&version, &sysroot).with_context(|| {
            format!(
                "{} -vV: expected lines with release and host, not {version:?}",
                program.display()
            )
        })
    }

    fn parse(version: &str, sysroot: &str) -> Option<Self> {
        let field = |key| {
            version
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .map(String::from)
        };
        Some(Self {
            release: field("release: ")?,
            host: field("host: ")?,
            sysroot: sysroot.trim_end().into(),
        })
    }

    /// Whether it can compile for all `targets`.
    pub(crate) fn has(&self, targets: &[&str]) -> bool {
        targets
            .iter()
            .all(|target| is_complete(&libraries_of(&self.sysroot, target)))
    }

    /// Whether it is a release of `minor`, such as 1.95.
    pub(crate) fn is_of(&self, minor: &str) -> bool {
        is_release_of(&self.release, minor)
    }
}

/// Whether `release`, such as 1.95.0, is one of the version `minor`, such as 1.95.
pub(crate) fn is_release_of(release: &str, minor: &str) -> bool {
    release
        .strip_prefix(minor)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
}

fn libraries_of(sysroot: &Path, target: &str) -> PathBuf {
    sysroot.join("lib/rustlib").join(target).join("lib")
}

/// Whether a folder has exactly one file of each library: two would be ambiguous for rustc.
fn is_complete(folder: &Path) -> bool {
    LIBRARIES
        .iter()
        .all(|library| files_of(folder, library).len() == 1)
}

/// The names of a library's files in a folder; a folder that cannot be read has none.
fn files_of(folder: &Path, library: &str) -> Vec<String> {
    let start = format!("lib{library}-");
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with(&start) && name.ends_with(".rlib"))
        .collect()
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysroot_is_complete_with_exactly_one_file_of_each_library() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str| fs::write(folder.path().join(name), "").unwrap();
        for name in [
            "libcore-1.rlib",
            "liballoc-2.rlib",
            "libcore-1.rmeta",
            "libcompiler_builtins-3.rmeta",
        ] {
            put(name);
            assert!(!is_complete(folder.path()), "after {name}");
        }
        put("libcompiler_builtins-3.rlib");
        assert!(is_complete(folder.path()));
        put("libcore-4.rlib");
        assert!(!is_complete(folder.path()), "two of core");
        assert!(!is_complete(&folder.path().join("missing")));
    }

    #[test]
    fn a_compilers_answer_is_read_and_an_answer_of_another_form_is_not() {
        let version = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\n";
        let expected = Compiler {
            release: "1.96.0".into(),
            host: "x86_64-unknown-linux-gnu".into(),
            sysroot: "/usr".into(),
        };
        assert_eq!(Compiler::parse(version, "/usr\n"), Some(expected));
        assert_eq!(Compiler::parse("rustc 1.96.0\n", "/usr\n"), None);
    }

    #[test]
    fn a_release_belongs_to_its_minor_version_only() {
        for release in [
            "1.95",
            "1.95.0",
            "1.95.1-nightly",
            "1.95-x86_64-unknown-linux-gnu",
        ] {
            assert!(is_release_of(release, "1.95"), "{release}");
        }
        for release in ["1.96.0", "1.9", "1.950.0", "1.9.5"] {
            assert!(!is_release_of(release, "1.95"), "{release}");
        }
    }
}
