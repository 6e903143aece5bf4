//! Arm's MPS2 board with the Cortex-M4F image AN386, which QEMU emulates.
//!
//! With logs (`cargo firmware --logs`) the image writes them by semihosting. That opens the computer's files to an image, so
//! the emulator of `narrows` leaves it off, and such an image stops there at its first line. By hand:
//!
//! ```text
//! qemu-system-arm -machine mps2-an386 -display none -monitor none -serial pty -kernel ELF \
//!     -semihosting-config enable=on,target=native > logs
//! ```
//!
//! The first line of `logs` names the terminal that is the board's serial port; `defmt-print -e ELF < logs` reads the rest.
//!
//! Registers are those of the Cortex-M System Design Kit (Arm DDI 0479) at the addresses of Application Note 386.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "registers of the board")]

use core::convert::Infallible;

use cortex_m::asm::wfi;
use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use embedded_hal::delay::DelayNs;
use embedded_hal::digital::{self, OutputPin};
use embedded_io::{Read, Write};
use narrows_firmware::application::serve;
use narrows_firmware::board::Board;
use narrows_firmware::fpu::Fpu;
use static_cell::ConstStaticCell;

#[cfg(feature = "defmt")]
use defmt_semihosting as _;

/// What the other statics leave of the RAM beside the stack.
static MEMORY: ConstStaticCell<[u8; 4072 * 1024]> = ConstStaticCell::new([0; 4072 * 1024]);

#[cortex_m_rt::entry]
fn main() -> ! {
    // Interrupts only end the processor's sleep, and are never taken.
    cortex_m::interrupt::disable();
    let mut board = Mps2 {
        uart: Uart::new(),
        light: Light,
        clock: Clock::new(),
    };
    if let Some(memory) = MEMORY.try_take() {
        // A serial port that ends, or memory too small for one frame: not on this board.
        let _ = serve(&mut board, memory);
    }
    loop {
        wfi();
    }
}

struct Mps2 {
    uart: Uart,
    light: Light,
    clock: Clock,
}

impl Board for Mps2 {
    type Serial = Uart;
    type Light = Light;
    type Delay = Clock;
    type Machine = Fpu;

    const NAME: &'static str = "mps2-an386";
    const TICKS_PER_SECOND: u32 = Clock::HERTZ;

    fn serial(&mut self) -> &mut Uart {
        &mut self.uart
    }

    fn light(&mut self) -> &mut Light {
        &mut self.light
    }

    fn delay(&mut self) -> &mut Clock {
        &mut self.clock
    }

    fn ticks(&self) -> u32 {
        self.clock.ticks()
    }
}

/// A register of the board, by its address.
struct Register(usize);

impl Register {
    fn read(&self) -> u32 {
        // SAFETY: All registers are those below. They are there from reset on, are four bytes at a multiple of four, and no
        // access to them touches memory.
        unsafe { (self.0 as *const u32).read_volatile() }
    }

    fn write(&self, value: u32) {
        // SAFETY: As for `read`.
        unsafe { (self.0 as *mut u32).write_volatile(value) }
    }
}

/// UART0, the serial port of the board.
struct Uart;

impl Uart {
    const DATA: Register = Register(0x4000_4000);
    const STATE: Register = Register(0x4000_4004);
    const CONTROL: Register = Register(0x4000_4008);
    const INTERRUPT_CLEAR: Register = Register(0x4000_400C);
    const BAUD_DIVISOR: Register = Register(0x4000_4010);

    const STATE_SEND_FULL: u32 = 1 << 0;
    const STATE_RECEIVE_FULL: u32 = 1 << 1;
    const CONTROL_SEND: u32 = 1 << 0;
    const CONTROL_RECEIVE: u32 = 1 << 1;
    const CONTROL_RECEIVE_INTERRUPT: u32 = 1 << 3;
    const INTERRUPT_RECEIVE: u32 = 1 << 1;

    const BAUD: u32 = 115_200;

    fn new() -> Self {
        Self::BAUD_DIVISOR.write(Clock::HERTZ / Self::BAUD);
        Self::CONTROL
            .write(Self::CONTROL_SEND | Self::CONTROL_RECEIVE | Self::CONTROL_RECEIVE_INTERRUPT);
        // What may have come before means nothing.
        Self::DATA.read();
        // SAFETY: No handler runs, for interrupts are disabled.
        unsafe { NVIC::unmask(ReceiveInterrupt) };
        Self
    }
}

/// UART0's interrupt for a byte that has come.
#[derive(Clone, Copy)]
struct ReceiveInterrupt;

// SAFETY: UART0 receives by interrupt 0 (Application Note 386, table of interrupts).
unsafe impl InterruptNumber for ReceiveInterrupt {
    fn number(self) -> u16 {
        0
    }
}

impl embedded_io::ErrorType for Uart {
    /// A byte that comes before the last one was read is lost: then the frame's checksum is wrong.
    type Error = Infallible;
}

impl Read for Uart {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let Some(place) = buffer.first_mut() else {
            return Ok(0);
        };
        while Self::STATE.read() & Self::STATE_RECEIVE_FULL == 0 {
            wfi();
        }
        Self::INTERRUPT_CLEAR.write(Self::INTERRUPT_RECEIVE);
        NVIC::unpend(ReceiveInterrupt);
        // Reading makes room for the next byte, and with it comes the next interrupt.
        *place = Self::DATA.read() as u8;
        Ok(1)
    }
}

impl Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        for byte in bytes {
            while Self::STATE.read() & Self::STATE_SEND_FULL != 0 {}
            Self::DATA.write((*byte).into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        while Self::STATE.read() & Self::STATE_SEND_FULL != 0 {}
        Ok(())
    }
}

/// The first light-emitting diode of the FPGA's input and output.
struct Light;

impl Light {
    const LEDS: Register = Register(0x4002_8000);
}

impl digital::ErrorType for Light {
    type Error = Infallible;
}

impl OutputPin for Light {
    fn set_low(&mut self) -> Result<(), Infallible> {
        Self::LEDS.write(0);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        Self::LEDS.write(1);
        Ok(())
    }
}

/// TIMER0, which counts down over all 32 bits: SysTick has only 24, and would have to be watched.
struct Clock;

impl Clock {
    const CONTROL: Register = Register(0x4000_0000);
    const VALUE: Register = Register(0x4000_0004);
    const RELOAD: Register = Register(0x4000_0008);

    const HERTZ: u32 = 25_000_000;
    const NANOSECONDS: u32 = 1_000_000_000 / Self::HERTZ;

    fn new() -> Self {
        Self::RELOAD.write(u32::MAX);
        Self::VALUE.write(u32::MAX);
        Self::CONTROL.write(1);
        Self
    }

    fn ticks(&self) -> u32 {
        !Self::VALUE.read()
    }
}

impl DelayNs for Clock {
    fn delay_ns(&mut self, ns: u32) {
        let (start, ticks) = (self.ticks(), ns / Self::NANOSECONDS);
        while self.ticks().wrapping_sub(start) <= ticks {}
    }
}
