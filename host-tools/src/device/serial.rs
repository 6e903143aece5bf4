//! A board on a serial port.

use std::time::Duration;

use serialport::SerialPort;

use super::{Device, Error, Patience, Result};

/// The speed of the boards' serial ports, in bits a second.
pub const BAUD: u32 = 115_200;

/// How long a read waits: the moment in which a device's silence is not yet noticed.
const MOMENT: Duration = Duration::from_millis(20);

/// Opens a serial port, such as `/dev/ttyACM0` or `COM3`, and greets the device there.
///
/// # Errors
/// When there is no such port, no answer comes, or the firmware is of another release.
pub fn open(port: &str, baud: u32) -> Result<Device<Box<dyn SerialPort>>> {
    let line = serialport::new(port, baud)
        .timeout(MOMENT)
        .open()
        .map_err(|source| {
            let ports = serialport::available_ports().unwrap_or_default();
            let names: Vec<_> = ports.into_iter().map(|port| port.port_name).collect();
            let known = if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            };
            Error::Port {
                port: port.to_owned(),
                source,
                known,
            }
        })?;
    Device::open(line, port, Patience::default())
}
