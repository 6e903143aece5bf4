//! An emulated Cortex-M4F with the firmware: QEMU's machine mps2-an386.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Device, Error, Patience, Result};

/// Executed instructions for a tick of the emulated clock: an instruction takes a nanosecond, a tick 40.
pub const INSTRUCTIONS_PER_TICK: u64 = 40;

const PROGRAM: &str = "qemu-system-arm";
const MACHINE: &str = "mps2-an386";

/// How long the emulator may take to connect its serial port.
const START: Duration = Duration::from_secs(20);

/// How long a read waits, and how often a start is looked after.
const MOMENT: Duration = Duration::from_millis(10);

/// How long a write waits: the device takes what it is sent while it waits for it.
const WRITE: Duration = Duration::from_secs(2);

/// A running emulator, and the line to its serial port. It ends when this is dropped.
#[derive(Debug)]
pub struct Emulator {
    process: Process,
    line: TcpStream,
}

impl Emulator {
    /// Starts the firmware in an ELF file.
    ///
    /// # Errors
    /// When QEMU is not installed, or does not take the file.
    pub fn start(elf: &Path) -> Result<Self> {
        // The emulator connects to us, so that no one can take the port in between.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let mut command = Command::new(PROGRAM);
        command.args(["-machine", MACHINE, "-display", "none", "-monitor", "none"]);
        command.arg("-kernel").arg(elf);
        // One instruction, one nanosecond.
        command.args(["-icount", "shift=0"]);
        // A multiplexed port has a buffer, which makes it three times as quick. It also has an escape character, which is
        // put where no byte can be.
        command.arg("-chardev").arg(format!(
            "socket,id=serial,host=127.0.0.1,port={port},nodelay=on,mux=on"
        ));
        command.args(["-serial", "chardev:serial", "-echr", "256"]);
        let mut process = Process::start(command)?;
        let line = process.connects_to(&listener)?;
        let prepare = || {
            line.set_nonblocking(false)?;
            line.set_nodelay(true)?;
            line.set_read_timeout(Some(MOMENT))?;
            line.set_write_timeout(Some(WRITE))
        };
        prepare().map_err(failed)?;
        Ok(Self { process, line })
    }

    /// Greets the device in the emulator, which then ends with it.
    ///
    /// # Errors
    /// When the firmware does not answer.
    pub fn device(self) -> Result<Device<Self>> {
        Device::open(self, format!("emulated {MACHINE}"), Patience::default())
    }

    /// The reason of an error on the line is what became of the emulator, if it has ended.
    fn why(&mut self, error: io::Error) -> io::Error {
        self.process.end().map_or(error, io::Error::other)
    }
}

impl Read for Emulator {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.line.read(buffer) {
            Ok(0) => Err(self.why(io::ErrorKind::UnexpectedEof.into())),
            result => result.map_err(|error| self.why(error)),
        }
    }
}

impl Write for Emulator {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.write(bytes).map_err(|error| self.why(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.line.flush()
    }
}

/// The emulator's process, which does not outlive this.
#[derive(Debug)]
struct Process {
    child: Child,
    errors: File,
}

impl Process {
    fn start(mut command: Command) -> Result<Self> {
        let errors = tempfile::tempfile().map_err(failed)?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors.try_clone().map_err(failed)?);
        match command.spawn() {
            Ok(child) => Ok(Self { child, errors }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(failed("it is not installed; `cargo demo` installs it"))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Waits until the emulator has connected.
    fn connects_to(&mut self, listener: &TcpListener) -> Result<TcpStream> {
        listener.set_nonblocking(true).map_err(failed)?;
        let start = Instant::now();
        loop {
            match listener.accept() {
                Ok((line, _)) => return Ok(line),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Err(failed(error));
                }
                Err(_) => {}
            }
            if let Some(end) = self.end() {
                return Err(failed(end));
            }
            if start.elapsed() > START {
                return Err(failed(format!(
                    "its serial port was not connected in {} s",
                    START.as_secs()
                )));
            }
            thread::sleep(MOMENT);
        }
    }

    /// How the process ended, and the last of what it said; nothing while it runs.
    fn end(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let mut said = String::new();
        // What cannot be read is left out.
        let _ = self
            .errors
            .rewind()
            .and_then(|()| self.errors.read_to_string(&mut said));
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        Some(format!(
            "it ended ({status}): {}",
            last.unwrap_or("it said nothing")
        ))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn failed(problem: impl std::fmt::Display) -> Error {
    Error::Emulator {
        program: PROGRAM,
        problem: problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_that_is_not_installed_is_an_error_that_says_what_installs_it() {
        let error = Process::start(Command::new("no-such-emulator"))
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with(
                "qemu-system-arm: cannot emulate a device: it is not installed; `cargo demo` installs it"
            ),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn an_emulator_that_ends_at_once_is_an_error_with_what_it_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first >&2; echo qemu: no such file >&2; exit 3"]);
        let mut process = Process::start(command).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let error = process.connects_to(&listener).unwrap_err().to_string();
        assert!(
            error.ends_with("it ended (exit status: 3): qemu: no such file"),
            "{error}"
        );
    }
}
