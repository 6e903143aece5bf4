//! Initial weights, as Keras's `VarianceScaling` draws them. Biases start at zero.
//!
//! Every weight is a function of the seed, the layer and the weight's index ([`crate::random`]).

use crate::math;
use crate::random::{Purpose, Random};

/// How the initial weights of a layer are distributed, by the number of inputs that a unit sees (`fan_in`) and the number
/// of units that see an input (`fan_out`): for a convolution, channels times the area of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initializer {
    /// Uniform between ±sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010).
    GlorotUniform,
    /// Truncated normal of variance 2 / (fan_in + fan_out).
    GlorotNormal,
    /// Uniform between ±sqrt(6 / fan_in) (He, Zhang, Ren and Sun, 2015).
    HeUniform,
    /// Truncated normal of variance 2 / fan_in.
    HeNormal,
}

/// The standard deviation of the normal distribution truncated at ±2, which a truncated draw is divided by.
const TRUNCATED_STDDEV: f64 = 0.879_625_661_034_239_8;

/// Each attempt leaves a twenty-second of the weights; after the last, none of 10^15.
const ATTEMPTS: u32 = 12;

impl Initializer {
    /// Fills `weights`, those of one layer in their order, element 0 first.
    ///
    /// With the draws of [`Purpose::Initialize`] for the layer as sample:
    /// - uniform: (2u - 1) limit, with u of epoch 0;
    /// - normal: g stddev / 0.8796, with the first g of epochs 0, 1, 2 and so on to 11 that is within ±2 (0 if none is).
    ///
    /// The limit and the quotient are computed in `f64` and rounded once. As in Keras, a fan (or the mean of the two) of
    /// less than 1 counts as 1.
    pub fn fill(self, seed: u64, layer: u32, fan_in: usize, fan_out: usize, weights: &mut [f32]) {
        let (fan_in, fan_out) = (fan_in as f64, fan_out as f64);
        let (scale, fan) = match self {
            Self::GlorotUniform | Self::GlorotNormal => (1.0, 0.5 * (fan_in + fan_out)),
            Self::HeUniform | Self::HeNormal => (2.0, fan_in),
        };
        let variance = scale / if fan < 1.0 { 1.0 } else { fan };
        let random = Random::new(seed, Purpose::Initialize);
        match self {
            Self::GlorotUniform | Self::HeUniform => {
                let limit = math::sqrt_f64(3.0 * variance) as f32;
                random.fill_uniform(0, layer, weights);
                for weight in weights {
                    *weight = (2.0 * *weight - 1.0) * limit;
                }
            }
            Self::GlorotNormal | Self::HeNormal => {
                let stddev = (math::sqrt_f64(variance) / TRUNCATED_STDDEV) as f32;
                let within = |normal: &f32| normal.abs() <= 2.0;
                random.fill_gaussian(0, layer, weights, math::sqrt);
                for (element, weight) in (0_u32..).zip(weights) {
                    let first = Some(*weight).filter(within);
                    let again = || {
                        (1..ATTEMPTS)
                            .map(|attempt| random.gaussian(attempt, layer, element))
                            .find(within)
                    };
                    *weight = first.or_else(again).unwrap_or(0.0) * stddev;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::Initializer;

    const FANS: [usize; 2] = [784, 64];

    fn weights(initializer: Initializer, seed: u64, layer: u32) -> Vec<f32> {
        let mut weights = vec![f32::NAN; 50_176];
        initializer.fill(seed, layer, FANS[0], FANS[1], &mut weights);
        weights
    }

    /// Each distribution's bound (truncation or limit), variance, and fourth moment in squares of its variance.
    #[test]
    fn every_initializer_has_its_bounds_mean_and_variance() {
        let [fan_in, fan_out] = FANS.map(|fan| fan as f64);
        // At ±2 standard deviations, with φ(2) = 0.053991, Z = 0.954500: variance 1 - 4 φ(2) / Z = 0.773741, and
        // fourth moment 3 variance - 16 φ(2) / Z = 1.416194.
        let truncated = 1.416_194 / (0.773_741 * 0.773_741);
        let bound_of_normal = |variance: f64| 2.0 * variance.sqrt() / 0.773_741_f64.sqrt();
        let bound_of_uniform = |variance: f64| (3.0 * variance).sqrt();
        let (glorot, he) = (2.0 / (fan_in + fan_out), 2.0 / fan_in);
        for (initializer, variance, bound, kurtosis) in [
            (
                Initializer::GlorotUniform,
                glorot,
                bound_of_uniform(glorot),
                1.8,
            ),
            (
                Initializer::GlorotNormal,
                glorot,
                bound_of_normal(glorot),
                truncated,
            ),
            (Initializer::HeUniform, he, bound_of_uniform(he), 1.8),
            (Initializer::HeNormal, he, bound_of_normal(he), truncated),
        ] {
            let weights = weights(initializer, 3, 1);
            let count = weights.len() as f64;
            let moment = |power| {
                weights
                    .iter()
                    .map(|&w| f64::from(w).powi(power))
                    .sum::<f64>()
                    / count
            };
            let largest = weights
                .iter()
                .map(|w| f64::from(w.abs()))
                .fold(0.0, f64::max);
            assert!(
                largest <= bound * 1.000_001 && largest > bound * 0.999,
                "{initializer:?}: {largest} of {bound}"
            );
            let error = 5.0 * (variance / count).sqrt();
            assert!(
                moment(1).abs() < error,
                "{initializer:?}: mean {}",
                moment(1)
            );
            let error = 5.0 * variance * ((kurtosis - 1.0) / count).sqrt();
            assert!(
                (moment(2) - variance).abs() < error,
                "{initializer:?}: variance {}, not {variance}",
                moment(2)
            );
        }
    }

    #[test]
    fn a_weight_depends_on_seed_layer_and_index_and_not_on_how_many_there_are() {
        let base = weights(Initializer::HeNormal, 3, 1);
        assert_ne!(base, weights(Initializer::HeNormal, 4, 1));
        assert_ne!(base, weights(Initializer::HeNormal, 3, 2));
        let mut fewer = vec![0.0; 1001];
        Initializer::HeNormal.fill(3, 1, FANS[0], FANS[1], &mut fewer);
        assert_eq!(fewer, base[..1001]);
    }

    #[test]
    fn fans_of_zero_give_finite_weights() {
        for initializer in [Initializer::GlorotUniform, Initializer::HeNormal] {
            let mut weights = [f32::NAN; 10];
            initializer.fill(0, 0, 0, 0, &mut weights);
            assert!(weights.iter().all(|w| w.is_finite()));
        }
    }
}
