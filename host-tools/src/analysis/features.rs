//! The outputs of any layer as features of samples, and which samples are alike by them.

use narrows_core::blob::Model;
use narrows_core::kernels::Executor;

use crate::error::{Error, Result};
use crate::model;
use crate::recipe::unknown;

/// The index of the layer with a name.
///
/// # Errors
/// [`Error::Unknown`], with the name that was perhaps meant.
pub fn layer(model: &Model<'_>, name: &str) -> Result<usize> {
    model.network.index_of(name).ok_or_else(|| {
        let layers = model.network.layers().iter();
        let names: Vec<&str> = layers.map(|layer| layer.name).collect();
        Error::Unknown(unknown("layer", name, &names))
    })
}

/// What the layer with index `layer` gives: `[sample][element]`, in the layer's own order of elements.
///
/// # Errors
/// As [`model::run`].
pub fn of(
    executor: &impl Executor,
    model: &Model<'_>,
    layer: usize,
    samples: &[f32],
) -> Result<Vec<f32>> {
    model::run_layers(executor, model, 0..layer.saturating_add(1), samples)
}

/// A sample that is near another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Its index.
    pub sample: usize,
    /// The Euclidean distance between the two samples' features.
    pub distance: f64,
}

/// The `count` samples nearest to sample `sample`, itself left out, by `features` of `len` numbers each; the nearest comes
/// first, and of two as near the one that lies first. There are fewer where there are not so many samples.
#[must_use]
pub fn nearest(features: &[f32], len: usize, sample: usize, count: usize) -> Vec<Neighbour> {
    let len = len.max(1);
    let Some(own) = features.chunks_exact(len).nth(sample) else {
        return Vec::new();
    };
    let mut found: Vec<Neighbour> = features
        .chunks_exact(len)
        .enumerate()
        .filter(|(other, _)| *other != sample)
        .map(|(sample, other)| {
            let squares = own
                .iter()
                .zip(other)
                .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
            Neighbour {
                sample,
                distance: squares.sum::<f64>().sqrt(),
            }
        })
        .collect();
    // The sort is stable.
    found.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    found.truncate(count);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_of_two_as_near_the_first() {
        let features = [0.0, 0.0, 3.0, 4.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0];
        let found = |sample, count| -> Vec<(usize, f64)> {
            let found = nearest(&features, 2, sample, count);
            found
                .iter()
                .map(|neighbour| (neighbour.sample, neighbour.distance))
                .collect()
        };
        assert_eq!(found(0, 3), [(4, 0.0), (2, 1.0), (3, 1.0)]);
        assert_eq!(found(0, 99).last(), Some(&(1, 5.0)));
        assert_eq!(found(0, 99).len(), 4);
        assert_eq!(found(5, 3), []);
        assert_eq!(nearest(&[1.0, 2.0], 2, 0, 3), []);
    }
}
