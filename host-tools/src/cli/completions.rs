//! `narrows completions`.

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;
use narrows::error::Result;
use serde_json::json;

/// Print a script that completes the command's options in a shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows completions bash > ~/.local/share/bash-completion/completions/narrows
  narrows completions zsh > ~/.zfunc/_narrows
  narrows completions fish > ~/.config/fish/completions/narrows.fish")]
pub(super) struct Arguments {
    /// Whose
    shell: Shell,
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let script = script(self.shell);
        super::print(if json {
            let shell = self.shell.to_possible_value();
            json!({ "shell": shell.map(|shell| shell.get_name().to_owned()), "script": script })
                .to_string()
        } else {
            script.trim_end().to_owned()
        })
    }
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(
        shell,
        &mut super::Command::command(),
        "narrows",
        &mut script,
    );
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_every_subcommand_and_its_long_options() {
        let mut command = super::super::Command::command();
        command.build();
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for subcommand in command.get_subcommands() {
                let name = subcommand.get_name();
                assert!(script.contains(name), "{shell} completes {name}");
                for option in subcommand.get_arguments().filter_map(clap::Arg::get_long) {
                    // fish names an option without its dashes.
                    let known = [format!("--{option}"), format!("-l {option}")];
                    assert!(
                        known.iter().any(|option| script.contains(option)),
                        "{shell}: {name} --{option}"
                    );
                }
            }
        }
    }
}
