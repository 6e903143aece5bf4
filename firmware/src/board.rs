//! What the application needs of a board.

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::OutputPin;
use embedded_io::{Read, Write};
use narrows_core::kernels::Machine;

/// A board: a processor and what is soldered to it, ready to be used.
pub trait Board {
    /// The serial port to the host. Its `read` waits for a byte; only a port that can end gives 0 bytes.
    type Serial: Read + Write;
    /// A light that is on, high, while the device computes.
    type Light: OutputPin;
    /// Waits.
    type Delay: DelayNs;
    /// What the processor brings besides the four operations.
    type Machine: Machine;

    /// The board's name.
    const NAME: &'static str;
    /// How fast [`Board::ticks`] counts.
    const TICKS_PER_SECOND: u32;

    /// The port.
    fn serial(&mut self) -> &mut Self::Serial;

    /// The light.
    fn light(&mut self) -> &mut Self::Light;

    /// The delay.
    fn delay(&mut self) -> &mut Self::Delay;

    /// A clock that counts up all the time, and begins anew behind `u32::MAX`.
    fn ticks(&self) -> u32;
}
