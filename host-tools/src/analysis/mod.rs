//! What a trained network has learnt, and what it is good for.
//!
//! [`pca`] is the linear yardstick of the same code size, and [`roc`] says how well scores separate.

pub mod pca;
pub mod roc;
