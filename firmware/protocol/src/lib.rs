//! What a Narrows device and its host say to each other over a serial line.
//!
//! The host asks, the device answers; one [`message`] each way at a time. A message is a [`Header`](message::Header)
//! and a [`Request`](message::Request) or an [`Answer`](message::Answer), encoded by postcard one after the other.
//! A [`frame`] is a message and its CRC-32 in the COBS encoding, which has no zeros, and a zero that ends it. Whoever
//! receives begins anew after every zero, so that neither noise nor a frame that was cut can last longer than the
//! frame that it damages.
//!
//! A request that got no answer is sent again, as the same bytes. A device that has answered it already says the same
//! again and does nothing twice.
//!
//! No allocation, no panic: whatever comes over the line is a message or an error.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
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

pub mod frame;
pub mod message;
mod schema;

pub use schema::SCHEMA;
