//! A Cortex-M application that runs and trains an autoencoder, and takes a new one over a serial line.
//!
//! 1. A [`board`] lends the application its serial port, a light, a clock, and its memory. Each board is a thin file in
//!    `src/bin`, with its memory map in `build.rs`.
//! 2. The link takes requests off the serial port and sends answers, as `narrows-protocol` says.
//! 3. The [`application`] does what is asked: takes a blob into memory, runs it, trains it.
//!
//! Everything but the boards' files builds and is tested on any machine. No heap, and no panic: an image does not link if
//! there is one (see `panic.rs`).
#![cfg_attr(not(test), no_std)]
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test that meets what it does not expect must fail"
    )
)]

#[cfg(target_endian = "big")]
compile_error!("numbers go over the line as they lie in memory, little-endian");

pub mod application;
pub mod board;
#[cfg(target_abi = "eabihf")]
pub mod fpu;
mod link;
mod log;
#[cfg(target_os = "none")]
mod panic;
