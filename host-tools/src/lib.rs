//! Trains autoencoders on the desktop, exports them for Cortex-M, and holds the device's answers to the same bits.
//!
//! The arithmetic is [`narrows_core`]'s; here are files, threads, clocks and wires. This page walks through the rooms in
//! the order in which data meets them; a room uses only those before it.
//!
//! 1. Whatever is wrong is an [`error::Error`], one line with the facts in it. [`files`] are written whole or not at all.
//! 2. A [`recipe`] says what is trained, on what, and how. Read once, it is a [`recipe::Plan`] that holds together.
//! 3. [`data`] become arrays, checked for counts and finite numbers, and then the samples that the plan's network takes.
//! 4. A [`processor::Desktop`] computes core's kernels with wide vectors and several threads.
//! 5. [`train`] runs epochs, keeps checkpoints, and goes on from them to the same bits.
//! 6. What is left is exported as a blob; [`model`] reads it back and runs it, and [`evaluate`] says how good it is.
//!    [`weights`] go out to NumPy and come in from there.
//! 7. [`analysis`] says what it has learnt, and holds it against what is simpler; a [`report`] shows it on one page.
//! 8. A [`device`], on a serial line or emulated, takes the blob and answers; its answers have the desktop's bits. The
//!    [`footprint`] is what its firmware takes, and a [`picture`] shows what went in and what came out.
//!
//! ```
//! use narrows::{data, model, processor::Desktop, recipe::Preset, train};
//! # fn main() -> narrows::error::Result<()> {
//! let mut recipe = Preset::find("vanilla")?.recipe()?;
//! recipe.training.epochs = 1;
//! let plan = recipe.plan()?;
//! let mut raw = data::bundled::load(recipe.data.bundled)?;
//! raw.train = raw.test.take(); // 500 pictures are enough here
//! raw.train_labels = None;
//! let data = raw.training_data(&plan, "bundled")?;
//!
//! let executor = Desktop::new(1)?;
//! let outcome = train::run(&executor, &plan, &data, None, &mut ())?;
//! assert!(outcome.epochs[0].loss < 0.2);
//!
//! let blob = model::Blob::export(&executor, &plan, &outcome.parameters, data.train.digest()?, "vanilla.narrows".as_ref())?;
//! let codes = model::run(&executor, &blob.model()?, model::Part::Encode, &data.train.to_vec()?)?;
//! assert_eq!(codes.len(), 500 * 64);
//! # Ok(())
//! # }
//! ```

mod aligned;
pub mod analysis;
pub mod confusion;
pub mod data;
pub mod device;
pub mod error;
pub mod evaluate;
pub mod files;
pub mod footprint;
pub mod model;
pub mod picture;
pub mod processor;
pub mod recipe;
pub mod report;
pub mod train;
pub mod weights;
