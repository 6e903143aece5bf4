//! The command `narrows`: it parses, calls the library, and prints.

mod cli;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let command = match cli::Command::try_parse() {
        Ok(command) => command,
        Err(problem) if problem.use_stderr() => return cli::refuse(&problem),
        Err(help) => help.exit(),
    };
    match command.run() {
        Ok(status) => status,
        Err(error) => {
            // A message from elsewhere may have lines; an error is one. If no one can be told, the status still tells.
            let line = error.to_string().replace('\n', " ");
            let _ = writeln!(std::io::stderr(), "error: {line}");
            ExitCode::FAILURE
        }
    }
}
