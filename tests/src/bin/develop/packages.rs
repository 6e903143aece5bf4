//! The system's package managers: what each calls a package, and the command that installs it.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// Something that comes from the system's packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Package {
    /// `qemu-system-arm`.
    Qemu,
    /// Debian's rustc, kept up to date for its browsers.
    DebianRustc,
    /// The sources of the libraries of [`Package::DebianRustc`].
    DebianRustSource,
    /// The clippy of [`Package::DebianRustc`].
    DebianClippy,
    /// LLVM's linker.
    Lld,
    /// Chromium without a window.
    Browser,
}

impl Package {
    /// Its name for that package manager; none where only Debian has it.
    pub(crate) fn name(self, manager: Manager) -> Option<&'static str> {
        Some(match (self, manager) {
            (Self::Qemu, Manager::Apt | Manager::Dnf | Manager::Pacman) => "qemu-system-arm",
            (Self::Qemu, Manager::Brew) => "qemu",
            (Self::Qemu, Manager::Winget) => "SoftwareFreedomConservancy.QEMU",
            (Self::DebianRustc, Manager::Apt) => "rustc-web",
            (Self::DebianRustSource, Manager::Apt) => "rust-web-src",
            (Self::DebianClippy, Manager::Apt) => "rust-web-clippy",
            (Self::Lld, Manager::Apt) => "lld",
            (Self::Browser, Manager::Apt) => "chromium-headless-shell",
            _ => return None,
        })
    }

    /// What it is for, in a few words.
    pub(crate) fn purpose(self) -> &'static str {
        match self {
            Self::Qemu => "emulates the Cortex-M4F board",
            Self::DebianRustc => "compiles for the devices",
            Self::DebianRustSource => "the sources of the devices' core library",
            Self::DebianClippy => "checks the firmware's code",
            Self::Lld => "links the firmware",
            Self::Browser => "draws the reports for their test",
        }
    }
}

/// A package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    /// Debian, Ubuntu and relatives; the one that this program uses itself.
    Apt,
    /// Fedora.
    Dnf,
    /// Arch.
    Pacman,
    /// macOS.
    Brew,
    /// Windows.
    Winget,
}

impl Manager {
    /// The one of this system.
    pub(crate) fn of_this_system() -> Option<Self> {
        Self::first_of(|program| process::find(program).is_some())
    }

    fn first_of(exists: impl Fn(&str) -> bool) -> Option<Self> {
        [Self::Apt, Self::Dnf, Self::Pacman, Self::Brew, Self::Winget]
            .into_iter()
            .find(|manager| exists(manager.program()))
    }

    fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Dnf => "dnf",
            Self::Pacman => "pacman",
            Self::Brew => "brew",
            Self::Winget => "winget",
        }
    }

    /// The command that installs `packages`; none where this manager lacks one of them.
    pub(crate) fn install(self, packages: &[Package]) -> Option<Vec<&'static str>> {
        let mut command = vec![self.program()];
        command.extend::<&[_]>(match self {
            Self::Apt => &["install", "--yes", "--no-install-recommends"],
            Self::Dnf | Self::Brew => &["install"],
            Self::Pacman => &["-S", "--needed"],
            Self::Winget => &["install", "--exact", "--id"],
        });
        for package in packages {
            command.push(package.name(self)?);
        }
        if matches!(self, Self::Dnf | Self::Pacman) {
            command.insert(0, "sudo");
        }
        Some(command)
    }
}

/// Those of `packages` that dpkg does not have installed.
pub(crate) fn missing_from_dpkg(packages: &[Package]) -> Vec<Package> {
    // Its status says only whether it knows every name: what it prints is the answer.
    let list = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(packages.iter().filter_map(|p| p.name(Manager::Apt)))
        .output()
        .map_or_else(
            |_| String::new(),
            |o| String::from_utf8_lossy(&o.stdout).into(),
        );
    not_installed(packages, &list)
}

fn not_installed(packages: &[Package], list: &str) -> Vec<Package> {
    let installed = |package: &Package| {
        let line = package
            .name(Manager::Apt)
            .map(|name| format!("{name} installed"));
        list.lines().any(|l| Some(l) == line.as_deref())
    };
    packages.iter().copied().filter(|p| !installed(p)).collect()
}

/// The commands that install `packages` with apt-get, each ready to run.
///
/// # Errors
/// Where neither root's rights nor sudo are at hand, with the command for an administrator.
pub(crate) fn apt_commands(packages: &[Package]) -> Result<[Vec<&'static str>; 2]> {
    let is_root = process::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    let install = Manager::Apt.install(packages).unwrap_or_default();
    if !is_root && process::find("sudo").is_none() {
        bail!(
            "neither root nor sudo: have an administrator run `{}`, then run again",
            install.join(" ")
        );
    }
    Ok(
        [vec!["apt-get", "update", "-q"], install].map(|mut command| {
            if !is_root {
                command.insert(0, "sudo");
            }
            command
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Manager; 5] = [
        Manager::Apt,
        Manager::Dnf,
        Manager::Pacman,
        Manager::Brew,
        Manager::Winget,
    ];

    #[test]
    fn every_package_manager_has_one_command_for_qemu() {
        let commands = ALL.map(|manager| manager.install(&[Package::Qemu]).unwrap().join(" "));
        assert_eq!(
            commands,
            [
                "apt-get install --yes --no-install-recommends qemu-system-arm",
                "sudo dnf install qemu-system-arm",
                "sudo pacman -S --needed qemu-system-arm",
                "brew install qemu",
                "winget install --exact --id SoftwareFreedomConservancy.QEMU",
            ]
        );
    }

    #[test]
    fn only_apt_has_the_packages_of_debian() {
        for package in [
            Package::DebianRustc,
            Package::DebianRustSource,
            Package::DebianClippy,
        ] {
            for manager in ALL {
                assert_eq!(
                    manager.install(&[Package::Qemu, package]).is_some(),
                    manager == Manager::Apt
                );
            }
        }
    }

    #[test]
    fn apt_comes_first_where_several_managers_are_installed() {
        assert_eq!(
            Manager::first_of(|p| ["brew", "apt-get"].contains(&p)),
            Some(Manager::Apt)
        );
        assert_eq!(Manager::first_of(|p| p == "pacman"), Some(Manager::Pacman));
        assert_eq!(Manager::first_of(|_| false), None);
    }

    #[test]
    fn a_package_is_installed_only_when_dpkg_says_so_of_its_whole_name() {
        let packages = [Package::DebianRustc, Package::Lld, Package::Qemu];
        let list = "rustc-web installed\nlld-14 installed\nqemu-system-arm config-files\n";
        assert_eq!(
            not_installed(&packages, list),
            [Package::Lld, Package::Qemu]
        );
        assert_eq!(not_installed(&packages, ""), packages);
    }
}
