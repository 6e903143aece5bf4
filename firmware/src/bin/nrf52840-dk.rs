//! Nordic's nRF52840-DK, a Cortex-M4F at 64 MHz. The serial port is the one of its debugger, 115200 bits a second.
#![no_std]
#![no_main]

use core::convert::Infallible;

use cortex_m::asm::wfi;
use cortex_m::peripheral::DWT;
use embedded_hal::digital::{self, OutputPin};
use embedded_io::{Read, Write};
use narrows_firmware::application::serve;
use narrows_firmware::board::Board;
use narrows_firmware::fpu::Fpu;
use nrf52840_hal::clocks::{Clocks, HFCLK_FREQ};
use nrf52840_hal::gpio::{Level, Output, Pin, PushPull, p0};
use nrf52840_hal::pac::{Peripherals, TIMER0, UARTE0};
use nrf52840_hal::timer::{OneShot, Timer};
use nrf52840_hal::uarte::{self, Baudrate, Parity, Uarte};
use static_cell::ConstStaticCell;

#[cfg(feature = "defmt")]
use defmt_rtt as _;

/// What the other statics leave of the RAM beside the stack.
static MEMORY: ConstStaticCell<[u8; 236 * 1024]> = ConstStaticCell::new([0; 236 * 1024]);

#[cortex_m_rt::entry]
fn main() -> ! {
    if let (Some(core), Some(chip), Some(memory)) = (
        cortex_m::Peripherals::take(),
        Peripherals::take(),
        MEMORY.try_take(),
    ) {
        let mut board = Dk::new(core, chip);
        // A serial port that ends, or memory too small for one frame: not on this board.
        let _ = serve(&mut board, memory);
    }
    loop {
        wfi();
    }
}

struct Dk {
    port: Port,
    light: Light,
    timer: Timer<TIMER0, OneShot>,
}

impl Dk {
    fn new(mut core: cortex_m::Peripherals, chip: Peripherals) -> Self {
        // The crystal, whose frequency a serial port can rely on.
        Clocks::new(chip.CLOCK).enable_ext_hfosc();
        core.DCB.enable_trace();
        core.DWT.enable_cycle_counter();
        let pins = p0::Parts::new(chip.P0);
        let serial_pins = uarte::Pins {
            rxd: pins.p0_08.into_floating_input().degrade(),
            txd: pins.p0_06.into_push_pull_output(Level::High).degrade(),
            // With them nothing is lost while the device computes.
            cts: Some(pins.p0_07.into_floating_input().degrade()),
            rts: Some(pins.p0_05.into_push_pull_output(Level::High).degrade()),
        };
        let uarte = Uarte::new(
            chip.UARTE0,
            serial_pins,
            Parity::EXCLUDED,
            Baudrate::BAUD115200,
        );
        let led = pins.p0_13.into_push_pull_output(Level::High).degrade();
        Self {
            port: Port(uarte),
            light: Light(led),
            timer: Timer::one_shot(chip.TIMER0),
        }
    }
}

impl Board for Dk {
    type Serial = Port;
    type Light = Light;
    type Delay = Timer<TIMER0, OneShot>;
    type Machine = Fpu;

    const NAME: &'static str = "nrf52840-dk";
    const TICKS_PER_SECOND: u32 = HFCLK_FREQ;

    fn serial(&mut self) -> &mut Port {
        &mut self.port
    }

    fn light(&mut self) -> &mut Light {
        &mut self.light
    }

    fn delay(&mut self) -> &mut Self::Delay {
        &mut self.timer
    }

    fn ticks(&self) -> u32 {
        DWT::cycle_count()
    }
}

/// The serial port, one byte at a time in and a whole frame at once out.
struct Port(Uarte<UARTE0>);

impl embedded_io::ErrorType for Port {
    type Error = uarte::Error;
}

impl Read for Port {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, uarte::Error> {
        let Some(place) = buffer.first_mut() else {
            return Ok(0);
        };
        self.0.read(core::slice::from_mut(place))?;
        Ok(1)
    }
}

impl Write for Port {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, uarte::Error> {
        if !bytes.is_empty() {
            self.0.write(bytes)?;
        }
        Ok(bytes.len())
    }

    /// Writing waits until all is sent.
    fn flush(&mut self) -> Result<(), uarte::Error> {
        Ok(())
    }
}

/// The first of the board's lights, which is on when its pin is low.
struct Light(Pin<Output<PushPull>>);

impl digital::ErrorType for Light {
    type Error = Infallible;
}

impl OutputPin for Light {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.set_high()
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.set_low()
    }
}
