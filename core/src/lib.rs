//! Autoencoders on fixed buffers: inference and training, the same bits on a desktop and on a Cortex-M.
//!
//! No allocation, no `unsafe`, and no panic but in [`kernels::naive`], which only tests call. The caller lends every buffer;
//! how large it must be is a function of the network.
//! This page walks through the rooms in the order in which data meets them; a room uses only those before it.
//!
//! 1. A sample has a [`shape`]. One-dimensional signals are pictures of height one.
//! 2. A [`layer`] is a kind with settings; it says what it makes of a shape, and how many parameters it has.
//! 3. [`math`] has the few functions that IEEE 754 does not define to the bit; [`random`] the counter-based generator
//!    behind every draw; [`noise`] and [`initializer`] are what is drawn.
//! 4. [`kernels`] are the arithmetic on slices, a file for each kind of layer; the order of every sum is written there.
//! 5. A [`network`] is a checked list of layers with the code marked in it. [`memory`] turns lent bytes into numbers.
//! 6. [`inference`] runs it: encode, decode, reconstruct, or the features of any layer.
//! 7. [`loss`], [`penalty`], [`optimizer`] and [`training`] make it learn, a batch at a time or a sample at a time, to the same bits.
//! 8. A [`blob`] is a trained network as bytes, checked once and used where it lies.
//!
//! Whatever is wrong is an [`error::Error`] with the facts in it.
#![no_std]
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

#[cfg(all(target_arch = "x86", not(target_feature = "sse2")))]
compile_error!(
    "without SSE2 the processor keeps intermediate results in more than single precision: the bits would differ"
);
#[cfg(target_endian = "big")]
compile_error!("parameters are used as they lie in a blob, little-endian");

#[cfg(test)]
extern crate std;

pub mod blob;
pub mod error;
pub mod inference;
pub mod initializer;
pub mod kernels;
pub mod layer;
pub mod loss;
pub mod math;
pub mod memory;
pub mod network;
pub mod noise;
pub mod optimizer;
pub mod penalty;
pub mod random;
pub mod shape;
pub mod training;
