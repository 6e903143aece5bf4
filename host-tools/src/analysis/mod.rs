//! What a trained network has learnt, and what it is good for.
//!
//! 1. [`samples`] are the two sets that a model is judged by. A [`table`] is how figures of samples are kept in files.
//! 2. [`pca`] is the linear code of the same size, which a network is held against.
//! 3. [`features`] are the outputs of any layer, and the neighbours of a sample among them.
//! 4. [`score`] is how badly a model gives back each sample, with a threshold; [`roc`] says how well scores separate.
//! 5. [`diagnose`] says whether a network has learnt or copies.
//! 6. [`sweep`] trains many variants of a recipe, and finds the code size from which on more hardly helps.

pub mod diagnose;
pub mod features;
pub mod pca;
pub mod roc;
pub mod score;
pub mod sweep;
pub mod table;

use narrows_core::blob::Preprocessing;
use narrows_core::network::Network;

use crate::data::{Raw, Samples};
use crate::error::Result;

/// The samples that a model was perhaps trained on, where data have training and test samples, and those that it is judged
/// by: the test samples, or all there are.
///
/// # Errors
/// As [`Raw::test_data`].
pub fn samples(
    mut raw: Raw,
    network: &Network<'_>,
    preprocessing: Preprocessing,
    place: &str,
) -> Result<(Option<Samples>, Samples)> {
    let prepare = |raw: Raw| raw.test_data(network, preprocessing, place);
    let train = raw.test.is_some().then(|| raw.train.take()).flatten();
    let train = train.map(|train| Raw {
        train: Some(train),
        train_labels: raw.train_labels.take(),
        ..Raw::default()
    });
    Ok((train.map(prepare).transpose()?, prepare(raw)?))
}
