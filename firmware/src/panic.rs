//! No panic: where the compiler cannot prove that none is reachable, a release image does not link.
//!
//! Images for the workshop, with logs or without optimization, stop instead: defmt's loggers can panic themselves.
#![allow(
    unsafe_code,
    reason = "the declaration of a symbol that does not exist"
)]

use core::panic::PanicInfo;

#[cfg(not(any(debug_assertions, feature = "defmt")))]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        safe fn a_panic_is_reachable() -> !;
    }
    a_panic_is_reachable()
}

#[cfg(any(debug_assertions, feature = "defmt"))]
#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    #[cfg(feature = "defmt")]
    defmt::error!("{}", defmt::Display2Format(_info));
    loop {}
}
