//! What corrupts the inputs of a denoising autoencoder while it is trained.
//!
//! Every draw is a function of the seed, the epoch, the sample's index and the element ([`crate::random`]), so a sample is
//! corrupted in the same way in whatever batch or thread it is met, and on every machine.

use core::fmt;

use crate::random::{Purpose, Random};

/// The kinds of noise. Each element of a sample gets its own draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoiseKind {
    /// Adds a normal number of mean 0.
    Gaussian {
        /// The standard deviation, finite and not negative.
        stddev: f32,
    },
    /// Sets some elements to zero.
    Masking {
        /// The probability of an element, from 0 to 1.
        fraction: f32,
    },
    /// Sets some elements to the lowest value and as many to the highest: the ends of the range that is clipped to, or
    /// 0 and 1.
    SaltAndPepper {
        /// The probability of an element, from 0 to 1, to be set to either.
        fraction: f32,
    },
}

/// What keeps settings from being a [`Noise`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoiseProblem {
    /// The standard deviation is negative or not finite.
    Stddev(
        /// What came.
        f32,
    ),
    /// The fraction is not from 0 to 1.
    Fraction(
        /// What came.
        f32,
    ),
    /// The range to clip to is not two finite numbers, the lower one first.
    Clip(
        /// What came.
        [f32; 2],
    ),
}

impl fmt::Display for NoiseProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stddev(stddev) => write!(
                f,
                "noise: stddev must be finite and at least 0, not {stddev}"
            ),
            Self::Fraction(fraction) => {
                write!(f, "noise: fraction must be from 0 to 1, not {fraction}")
            }
            Self::Clip([low, high]) => {
                write!(
                    f,
                    "noise: clip must be two finite numbers, the lower one first, not [{low}, {high}]"
                )
            }
        }
    }
}

impl core::error::Error for NoiseProblem {}

/// Checked settings of a noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    kind: NoiseKind,
    clip: Option<[f32; 2]>,
    fixed: bool,
}

impl Noise {
    /// A noise of the given kind. What it makes of an element is clipped to the range `clip`, if there is one. A `fixed`
    /// noise corrupts a sample in the same way in every epoch, another anew in each.
    ///
    /// # Errors
    /// The [`NoiseProblem`] of the settings.
    pub fn new(kind: NoiseKind, clip: Option<[f32; 2]>, fixed: bool) -> Result<Self, NoiseProblem> {
        match kind {
            NoiseKind::Gaussian { stddev } if !(stddev.is_finite() && stddev >= 0.0) => {
                return Err(NoiseProblem::Stddev(stddev));
            }
            NoiseKind::Masking { fraction } | NoiseKind::SaltAndPepper { fraction }
                if !(0.0..=1.0).contains(&fraction) =>
            {
                return Err(NoiseProblem::Fraction(fraction));
            }
            _ => {}
        }
        match clip {
            Some([low, high]) if !(low.is_finite() && high.is_finite() && low < high) => {
                Err(NoiseProblem::Clip([low, high]))
            }
            _ => Ok(Self { kind, clip, fixed }),
        }
    }

    /// The kind of noise.
    #[must_use]
    pub const fn kind(&self) -> NoiseKind {
        self.kind
    }

    /// The range that the result is clipped to.
    #[must_use]
    pub const fn clip(&self) -> Option<[f32; 2]> {
        self.clip
    }

    /// Whether a sample is corrupted in the same way in every epoch.
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// Corrupts the sample with the index `sample`: writes to `noisy` what noise makes of `clean`, as far as the shorter
    /// of the two reaches.
    ///
    /// With the draws of [`Purpose::Noise`] for the epoch (0 if fixed), g normal and u uniform, an element x becomes
    /// - gaussian: x + stddev g;
    /// - masking: 0 where u < fraction, else x;
    /// - salt and pepper: the lowest value where u < fraction / 2, else the highest where u < fraction, else x;
    ///
    /// and then `low` if less than that, or `high` if greater than that.
    ///
    /// `sqrt` is any correctly rounded square root, such as [`crate::math::sqrt`] or the machine's.
    #[inline(always)]
    pub fn apply(
        &self,
        seed: u64,
        epoch: u32,
        sample: u32,
        clean: &[f32],
        noisy: &mut [f32],
        sqrt: impl Fn(f32) -> f32 + Copy,
    ) {
        let len = clean.len().min(noisy.len());
        let noisy = noisy.get_mut(..len).unwrap_or_default();
        let random = Random::new(seed, Purpose::Noise);
        let epoch = if self.fixed { 0 } else { epoch };
        let clip = self.clip.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        match self.kind {
            NoiseKind::Gaussian { stddev } => {
                random.fill_gaussian(epoch, sample, noisy, sqrt);
                corrupt(clean, noisy, clip, |x, normal| x + stddev * normal);
            }
            NoiseKind::Masking { fraction } => {
                random.fill_uniform(epoch, sample, noisy);
                corrupt(
                    clean,
                    noisy,
                    clip,
                    |x, uniform| if uniform < fraction { 0.0 } else { x },
                );
            }
            NoiseKind::SaltAndPepper { fraction } => {
                let [pepper, salt] = self.clip.unwrap_or([0.0, 1.0]);
                random.fill_uniform(epoch, sample, noisy);
                corrupt(clean, noisy, clip, |x, uniform| {
                    let speck = if uniform < 0.5 * fraction {
                        pepper
                    } else {
                        salt
                    };
                    if uniform < fraction { speck } else { x }
                });
            }
        }
    }
}

/// Replaces each draw by the clipped `noise(clean element, draw)`.
#[inline(always)]
fn corrupt(
    clean: &[f32],
    draws: &mut [f32],
    [low, high]: [f32; 2],
    noise: impl Fn(f32, f32) -> f32,
) {
    for (&x, draw) in clean.iter().zip(draws) {
        let y = noise(x, *draw);
        let y = if y < low { low } else { y };
        *draw = if y > high { high } else { y };
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::{Noise, NoiseKind, NoiseProblem};
    use crate::random::{Purpose, Random};

    const UNIT: Option<[f32; 2]> = Some([0.0, 1.0]);

    fn noisy(noise: &Noise, epoch: u32, sample: u32, clean: &[f32]) -> Vec<f32> {
        let mut out = vec![f32::NAN; clean.len()];
        noise.apply(42, epoch, sample, clean, &mut out, f32::sqrt);
        out
    }

    #[test]
    fn settings_outside_their_range_are_refused_with_what_came() {
        let gaussian = |stddev| Noise::new(NoiseKind::Gaussian { stddev }, None, false);
        let masking = |fraction| Noise::new(NoiseKind::Masking { fraction }, None, false);
        let salt = |fraction| Noise::new(NoiseKind::SaltAndPepper { fraction }, None, false);
        let clip = |low, high| {
            Noise::new(
                NoiseKind::Gaussian { stddev: 1.0 },
                Some([low, high]),
                false,
            )
        };

        assert_eq!(gaussian(-0.5), Err(NoiseProblem::Stddev(-0.5)));
        assert_eq!(
            gaussian(f32::INFINITY),
            Err(NoiseProblem::Stddev(f32::INFINITY))
        );
        assert!(matches!(gaussian(f32::NAN), Err(NoiseProblem::Stddev(came)) if came.is_nan()));
        assert_eq!(masking(1.5), Err(NoiseProblem::Fraction(1.5)));
        assert!(matches!(masking(f32::NAN), Err(NoiseProblem::Fraction(came)) if came.is_nan()));
        assert_eq!(salt(-0.1), Err(NoiseProblem::Fraction(-0.1)));
        assert_eq!(clip(1.0, 1.0), Err(NoiseProblem::Clip([1.0, 1.0])));
        assert_eq!(
            clip(0.0, f32::INFINITY),
            Err(NoiseProblem::Clip([0.0, f32::INFINITY]))
        );
        assert!(
            gaussian(0.0).is_ok()
                && masking(0.0).is_ok()
                && salt(1.0).is_ok()
                && clip(-1.0, 1.0).is_ok()
        );
        assert_eq!(
            masking(1.5).unwrap_err().to_string(),
            "noise: fraction must be from 0 to 1, not 1.5"
        );
    }

    proptest! {
        #[test]
        fn every_kind_is_what_its_formula_says_of_single_draws(
            clean in prop::collection::vec(-2.0_f32..2.0, 0..70),
            amount in 0.0_f32..1.0,
            which in 0..3,
            clipped: bool,
            fixed: bool,
            epoch: u32,
            sample: u32,
        ) {
            let kind = match which {
                0 => NoiseKind::Gaussian { stddev: amount },
                1 => NoiseKind::Masking { fraction: amount },
                _ => NoiseKind::SaltAndPepper { fraction: amount },
            };
            let clip = clipped.then_some([-0.5, 0.75]);
            let got = noisy(&Noise::new(kind, clip, fixed).unwrap(), epoch, sample, &clean);
            let random = Random::new(42, Purpose::Noise);
            let epoch = if fixed { 0 } else { epoch };
            for (element, (&x, y)) in (0..).zip(clean.iter().zip(got)) {
                let uniform = random.uniform(epoch, sample, element);
                let [low, high] = clip.unwrap_or([0.0, 1.0]);
                let expected = match kind {
                    NoiseKind::Gaussian { .. } => x + amount * random.gaussian(epoch, sample, element),
                    NoiseKind::Masking { .. } => if uniform < amount { 0.0 } else { x },
                    NoiseKind::SaltAndPepper { .. } if uniform < amount / 2.0 => low,
                    NoiseKind::SaltAndPepper { .. } if uniform < amount => high,
                    NoiseKind::SaltAndPepper { .. } => x,
                };
                let expected = if clipped { expected.clamp(low, high) } else { expected };
                prop_assert_eq!(y.to_bits(), expected.to_bits());
            }
        }
    }

    #[test]
    fn a_fixed_noise_repeats_itself_in_each_epoch_and_another_does_not() {
        let clean = [0.5; 20];
        for fixed in [true, false] {
            let noise = Noise::new(NoiseKind::Gaussian { stddev: 0.5 }, None, fixed).unwrap();
            assert_eq!(
                noisy(&noise, 1, 7, &clean) == noisy(&noise, 2, 7, &clean),
                fixed
            );
            assert_ne!(noisy(&noise, 1, 7, &clean), noisy(&noise, 1, 8, &clean));
            assert_eq!(noisy(&noise, 1, 7, &clean), noisy(&noise, 1, 7, &clean));
        }
    }

    #[test]
    fn the_fraction_is_that_of_the_elements() {
        const LEN: usize = 100_000;
        let clean = [0.5; LEN];
        let count = |values: &[f32], what: f32| values.iter().filter(|&&x| x == what).count();
        let masked = noisy(
            &Noise::new(NoiseKind::Masking { fraction: 0.3 }, None, false).unwrap(),
            0,
            0,
            &clean,
        );
        // Five standard deviations of a count are 725 for 0.3, and at most 565 for 0.15.
        assert!(count(&masked, 0.0).abs_diff(30_000) < 725);
        let kind = NoiseKind::SaltAndPepper { fraction: 0.3 };
        let specked = noisy(
            &Noise::new(kind, Some([-1.0, 2.0]), false).unwrap(),
            0,
            0,
            &clean,
        );
        assert!(count(&specked, -1.0).abs_diff(15_000) < 565);
        assert!(count(&specked, 2.0).abs_diff(15_000) < 565);
        for fraction in [0.0, 1.0] {
            let all = noisy(
                &Noise::new(NoiseKind::SaltAndPepper { fraction }, UNIT, false).unwrap(),
                0,
                0,
                &clean,
            );
            assert_eq!(count(&all, 0.5), if fraction == 0.0 { LEN } else { 0 });
        }
    }
}
