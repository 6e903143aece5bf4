//! Principal component analysis: the best linear code of its size, which an autoencoder is held against.
//!
//! The components are the eigenvectors of the covariance with the largest eigenvalues (Pearson, 1901; Hotelling, 1933).
//! Where there are fewer samples than numbers in one, they come from the smaller matrix of the samples' products (Turk and
//! Pentland, 1991), which has the same eigenvalues. All is computed in f64 on one thread, so that a machine gives the same
//! figures every time; unlike core's, their last digits may differ between machines.

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use crate::error::{Error, Result};

/// Samples that are in memory as f64 at once.
const BLOCK: usize = 512;

/// The rows of the largest matrix that is decomposed. The time grows with the third power: this many take some seconds.
const LARGEST: usize = 2048;

/// A variance below this share of the largest, or of the largest mean's square, is rounding: its direction means nothing.
/// Numbers of 32 bits that differ at all are far above the second.
const NOTHING: [f64; 2] = [1e-12, 1e-24];

/// The mean of samples, and the directions in which they vary most.
#[derive(Clone, Debug)]
pub struct Pca {
    mean: DVector<f64>,
    /// A column for each component, of length one and at right angles to the others.
    components: DMatrix<f64>,
    variances: Vec<f64>,
    total_variance: f64,
}

impl Pca {
    /// Finds the first `components` principal components of `samples`, which has one sample of `sample_len` numbers after
    /// another. There are fewer where the samples do not vary in so many directions: one sample has none.
    ///
    /// Where samples are longer than 2,048 numbers and more than 2,048, so many of them, evenly spread, stand for all.
    ///
    /// # Errors
    /// [`Error::Data`] where there are no whole samples, or where a number is so large that variances are not finite.
    pub fn fit(samples: &[f32], sample_len: usize, components: usize) -> Result<Self> {
        let refuse = |expected: String, given: String| Error::Data {
            place: "principal components".into(),
            expected,
            given,
        };
        if samples.is_empty() || sample_len == 0 || !samples.len().is_multiple_of(sample_len) {
            let given = format!("{} numbers came", samples.len());
            return Err(refuse(format!("samples of {sample_len} numbers"), given));
        }
        let all = samples.len() / sample_len;
        let step = if sample_len > LARGEST {
            all.div_ceil(LARGEST)
        } else {
            1
        };
        let chosen: Vec<&[f32]> = samples.chunks_exact(sample_len).step_by(step).collect();
        let mut mean = DVector::<f64>::zeros(sample_len);
        for sample in &chosen {
            for (sum, value) in mean.iter_mut().zip(*sample) {
                *sum += f64::from(*value);
            }
        }
        mean /= chosen.len() as f64;

        let few = (chosen.len() < sample_len).then(|| centred(&chosen, &mean));
        let covariance = match &few {
            Some(centred) => centred.tr_mul(centred),
            None => {
                let mut products = DMatrix::zeros(sample_len, sample_len);
                for block in chosen.chunks(BLOCK) {
                    let centred = centred(block, &mean);
                    products.gemm(1.0, &centred, &centred.transpose(), 1.0);
                }
                products
            }
        } / chosen.len() as f64;
        let total_variance = covariance.trace();
        // The iteration takes two or three rounds for each eigenvalue; it does not end for numbers that are not finite.
        let rounds = 100 * covariance.nrows();
        let eigen = total_variance
            .is_finite()
            .then(|| SymmetricEigen::try_new(covariance, f64::EPSILON, rounds));
        let eigen = eigen.flatten().ok_or_else(|| {
            let expected = "samples whose variance is finite".to_owned();
            refuse(expected, format!("a variance of {total_variance} came"))
        })?;

        let values = &eigen.eigenvalues;
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
        let largest = order.first().map_or(0.0, |first| values[*first]);
        let least = (largest * NOTHING[0]).max(mean.amax().powi(2) * NOTHING[1]);
        order.retain(|index| values[*index] > least);
        order.truncate(components);
        let mut columns = eigen.eigenvectors.select_columns(&order);
        if let Some(centred) = &few {
            columns = centred * columns;
        }
        for mut column in columns.column_iter_mut() {
            // An eigenvector has no sign of its own: its largest element is made positive.
            let length = column.norm().copysign(column[column.icamax()]);
            column /= length;
        }
        Ok(Self {
            mean,
            components: columns,
            variances: order.iter().map(|index| values[*index]).collect(),
            total_variance,
        })
    }

    /// How many components there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.variances.len()
    }

    /// Whether there are none: the samples are all alike, or none were asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.variances.is_empty()
    }

    /// The mean sample.
    #[must_use]
    pub fn mean(&self) -> Vec<f32> {
        self.mean.iter().map(|value| *value as f32).collect()
    }

    /// Component `index`: as many numbers as a sample has, their squares' sum being one, the largest of them positive.
    #[must_use]
    pub fn component(&self, index: usize) -> Option<Vec<f32>> {
        let column = (index < self.len()).then(|| self.components.column(index));
        column.map(|column| column.iter().map(|value| *value as f32).collect())
    }

    /// The variance of the fitted samples along each component, the largest first. They are population variances: the sum
    /// of squares is divided by the number of samples.
    #[must_use]
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// The share of all variance that each component explains, from 0 to 1.
    #[must_use]
    pub fn explained(&self) -> Vec<f64> {
        let share = |variance: &f64| variance / self.total_variance;
        self.variances.iter().map(share).collect()
    }

    /// The coordinates of samples along the components: `[sample][component]`. What is left of `samples` behind the last
    /// whole one is not looked at, here and in what follows.
    #[must_use]
    pub fn project(&self, samples: &[f32]) -> Vec<f32> {
        let mut coordinates = Vec::with_capacity(samples.len() / self.mean.len() * self.len());
        self.each_block(samples, |_, projected| {
            coordinates.extend(projected.iter().map(|value| *value as f32));
        });
        coordinates
    }

    /// What the first `components` components, or all if there are fewer, make of samples: `[sample][element]`.
    #[must_use]
    pub fn reconstruct(&self, samples: &[f32], components: usize) -> Vec<f32> {
        let kept = components.min(self.len());
        let mut given = Vec::with_capacity(samples.len());
        self.each_block(samples, |_, projected| {
            let mut block = self.components.columns(0, kept) * projected.rows(0, kept);
            for mut sample in block.column_iter_mut() {
                sample += &self.mean;
            }
            given.extend(block.iter().map(|value| *value as f32));
        });
        given
    }

    /// The mean squared error of each sample when the first `components` components, or all if there are fewer, give it
    /// back. With none it is the error of the mean sample.
    #[must_use]
    pub fn errors(&self, samples: &[f32], components: usize) -> Vec<f64> {
        let kept = components.min(self.len());
        let mut errors = Vec::with_capacity(samples.len() / self.mean.len());
        self.each_block(samples, |centred, projected| {
            // Pythagoras: the components are at right angles to each other and to what is left.
            let pairs = centred.column_iter().zip(projected.column_iter());
            errors.extend(pairs.map(|(sample, coordinates)| {
                let left = sample.norm_squared() - coordinates.rows(0, kept).norm_squared();
                left.max(0.0) / self.mean.len() as f64
            }));
        });
        errors
    }

    /// The mean of [`Pca::errors`] over all samples; 0 where there are none.
    #[must_use]
    pub fn mean_squared_error(&self, samples: &[f32], components: usize) -> f64 {
        let errors = self.errors(samples, components);
        errors.iter().sum::<f64>() / errors.len().max(1) as f64
    }

    /// Calls `work` with blocks of samples, centred, and their coordinates; a column for each sample.
    fn each_block(&self, samples: &[f32], mut work: impl FnMut(&DMatrix<f64>, &DMatrix<f64>)) {
        let samples: Vec<&[f32]> = samples.chunks_exact(self.mean.len()).collect();
        for block in samples.chunks(BLOCK) {
            let centred = centred(block, &self.mean);
            let projected = self.components.tr_mul(&centred);
            work(&centred, &projected);
        }
    }
}

/// Samples without their mean, a column for each.
fn centred(samples: &[&[f32]], mean: &DVector<f64>) -> DMatrix<f64> {
    DMatrix::from_fn(mean.len(), samples.len(), |element, sample| {
        f64::from(samples[sample][element]) - mean[element]
    })
}

#[cfg(test)]
mod tests {
    use narrows_core::random::{Purpose, Random};

    use super::*;

    fn near(found: f64, expected: f64, tolerance: f64) {
        assert!(
            (found - expected).abs() <= tolerance,
            "{found} is not {expected}"
        );
    }

    /// Samples on a plane: variance 9 along (3, 4)/5, variance 1 along (-4, 3)/5, and a third number that never changes.
    fn plane() -> Vec<f32> {
        let (long, short) = ([0.6, 0.8], [-0.8, 0.6]);
        let corners = [(3.0, 1.0), (3.0, -1.0), (-3.0, 1.0), (-3.0, -1.0)];
        let sample = |(a, b): (f32, f32)| {
            let at = |axis: usize| 10.0 + a * long[axis] + b * short[axis];
            [at(0), at(1), 7.0]
        };
        corners.into_iter().flat_map(sample).collect()
    }

    #[test]
    fn known_components_variances_and_errors_are_found() {
        let samples = plane();
        let pca = Pca::fit(&samples, 3, 8).unwrap();
        assert_eq!(pca.len(), 2, "the third number never changes");
        near(pca.variances()[0], 9.0, 1e-5);
        near(pca.variances()[1], 1.0, 1e-5);
        near(pca.explained()[0], 0.9, 1e-6);
        let first = pca.component(0).unwrap();
        for (found, expected) in first.iter().zip([0.6, 0.8, 0.0]) {
            near(f64::from(*found), expected, 1e-6);
        }
        assert_eq!(pca.component(2), None);
        assert_eq!(pca.mean(), [10.0, 10.0, 7.0]);
        near(pca.mean_squared_error(&samples, 0), 10.0 / 3.0, 1e-5);
        near(pca.mean_squared_error(&samples, 1), 1.0 / 3.0, 1e-5);
        near(pca.mean_squared_error(&samples, 2), 0.0, 1e-9);
        near(f64::from(pca.project(&samples)[0]), 3.0, 1e-5);
        for (given, wanted) in pca.reconstruct(&samples, 9).iter().zip(&samples) {
            near(f64::from(*given), f64::from(*wanted), 1e-5);
        }
    }

    /// With fewer samples than numbers the other matrix is decomposed; the answers are the same.
    #[test]
    fn few_samples_and_many_give_the_same_components() {
        let mut few = vec![0.0; 20 * 30];
        Random::new(3, Purpose::Noise).fill_gaussian(0, 0, &mut few, f32::sqrt);
        let many = few.repeat(2);
        let (few, many) = (
            Pca::fit(&few, 30, 7).unwrap(),
            Pca::fit(&many, 30, 7).unwrap(),
        );
        for index in 0..7 {
            near(few.variances()[index], many.variances()[index], 1e-9);
            let (a, b) = (
                few.component(index).unwrap(),
                many.component(index).unwrap(),
            );
            for (a, b) in a.iter().zip(b) {
                near(f64::from(*a), f64::from(b), 1e-6);
            }
        }
        assert!(few.variances().is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn what_does_not_vary_has_no_components_and_no_samples_are_refused() {
        for (value, count) in [(0.5, 2), (0.1, 1), (0.1, 7), (1e30, 7), (0.0, 9)] {
            let samples = vec![value; 3 * count];
            let pca = Pca::fit(&samples, 3, 2).unwrap();
            assert!(pca.is_empty());
            assert_eq!(pca.mean(), [value; 3]);
            let other = [value, value, 1.5 * value];
            let error = f64::from(other[2] - value).powi(2) / 3.0;
            near(pca.mean_squared_error(&other, 2), error, 1e-9 * error);
            assert!(pca.project(&samples).is_empty());
        }
        for (samples, len) in [(&[][..], 3), (&[1.0][..], 0), (&[1.0, 2.0][..], 3)] {
            let refused = Pca::fit(samples, len, 1).unwrap_err().to_string();
            assert!(refused.contains("expected samples of"), "{refused}");
        }
    }

    #[test]
    fn the_largest_numbers_are_refused_or_answered_and_never_hang() {
        let samples = [
            f32::MAX,
            f32::MIN,
            f32::MIN_POSITIVE,
            0.0,
            f32::MIN,
            f32::MAX,
        ];
        let pca = Pca::fit(&samples, 2, 2).unwrap();
        assert!(pca.variances().iter().all(|variance| variance.is_finite()));
    }
}
