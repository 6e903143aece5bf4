//! The few functions that the arithmetic needs and IEEE 754 does not define to the bit: exp, ln, tanh, sigmoid,
//! and the sine and cosine of a turn.
//!
//! A platform's library, or another release of a crate, may round them differently, so they are this crate's own:
//! single-precision additions, subtractions, multiplications, divisions and comparisons in the order written, and
//! integer operations on the bits. These are exact or correctly rounded everywhere, so every machine gets the same
//! bits. They have no branches and no calls, so that a loop over a slice becomes vector instructions of whatever width
//! its caller is compiled for.
//!
//! Numbers that are not finite: NaN gives NaN, and the infinities give the limits. Subnormal numbers are taken and
//! given like all others.
//!
//! The errors stated are the worst over all arguments of type `f32`, in units in the last place (ulp) of the exact
//! result, and they are measured, not estimated: the table at the end of the file is tested on a sample of the
//! arguments, and on every one of them when the environment variable `NARROWS_EXHAUSTIVE` is set.
//!
//! Polynomials are minimax, their coefficients optimized as `f32` (Brisebarre and Chevillard, "Efficient polynomial
//! L-infinity approximations", ARITH 18, 2007, as `fpminimax` in Sollya).

/// Whose exp, sigmoid, tanh and softmax a network's forward passes use. Recorded in its blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Math {
    /// This crate's own.
    #[default]
    Exact,
    /// `micromath`'s, coarser, for processors without floating-point hardware; needs the feature `fast-math`.
    Fast,
}

impl Math {
    /// A digest of the answers of what is not this crate's own; 0 for [`Math::Exact`], and in a build without `fast-math`.
    #[must_use]
    pub fn digest(self) -> u32 {
        match self {
            Self::Exact => 0,
            #[cfg(feature = "fast-math")]
            Self::Fast => fast::digest(),
            #[cfg(not(feature = "fast-math"))]
            Self::Fast => 0,
        }
    }

    /// Whether this build has it.
    #[must_use]
    pub const fn is_available(self) -> bool {
        matches!(self, Self::Exact) || cfg!(feature = "fast-math")
    }
}

/// ln 2 in two parts (Cody and Waite, "Software Manual for the Elementary Functions", 1980): the first has nine bits,
/// so that its product with an exponent is exact; the second is the rest, -2.1219444e-4, rounded.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// e to the power of `x`. Worst error 0.90 ulp.
///
/// Above 88.72 it is infinite; below -87.33 it is subnormal, and from -103.98 on zero.
///
/// As Cody and Waite: x = k ln 2 + r with |r| at most ln 2 / 2, a polynomial for e to the power of r, and a scaling by
/// two to the power of k, in two steps so that each factor is a normal number and only the last product rounds.
#[inline(always)]
#[must_use]
pub fn exp(x: f32) -> f32 {
    let x = if x > 89.0 { 89.0 } else { x };
    exp_below_89(x)
}

#[inline(always)]
fn exp_below_89(x: f32) -> f32 {
    let x = if x < -104.0 { -104.0 } else { x };
    let (k, p) = exp_parts(x);
    let half = k >> 1;
    (1.0 + p) * power_of_two(half) * power_of_two(k.wrapping_sub(half))
}

/// `(k, exp(r) - 1)` with x = k ln 2 + r, for |x| up to 104.
#[inline(always)]
fn exp_parts(x: f32) -> (i32, f32) {
    // Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let sum = x * core::f32::consts::LOG2_E + ROUND;
    let k = sum - ROUND;
    let high = x - k * LN_2_HIGH; // exact
    let low = k * LN_2_LOW;
    let r = high - low;
    let lost = (high - r) - low; // what rounding took from r
    let p = 0.499_999_85
        + r * (0.166_665_18 + r * (0.041_670_02 + r * (0.008_368_958 + r * 0.001_373_726)));
    let p = r + (r * r * p + lost);
    (
        (sum.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32),
        p,
    )
}

/// 2 to the power of `k`, for `k` from -126 to 127.
#[inline(always)]
fn power_of_two(k: i32) -> f32 {
    f32::from_bits((k.wrapping_add(127) as u32) << 23)
}

/// The natural logarithm. Worst error 0.90 ulp; -infinity for either zero, NaN for negative numbers.
///
/// x = 2^k (1 + f) with 1 + f between the square roots of 1/2 and 2; then ln(1 + f) = f + (f^3 P(f) - f^2 / 2), and
/// k ln 2 is added in two parts, the smaller terms first, as in Cephes' `logf` (Moshier, "Methods and Programs for
/// Mathematical Functions", 1989).
#[inline(always)]
#[must_use]
pub fn ln(x: f32) -> f32 {
    let bits = x.to_bits() as i32;
    let subnormal = i32::from(bits < f32::MIN_POSITIVE.to_bits() as i32).wrapping_neg(); // all bits or none
    let scale = power_of_two(subnormal & 23);
    let y = ln_of_normal(x * scale, subnormal & -23);
    // Compared as integers: compilers make slow classifications of chained comparisons of one float.
    let edge = if bits > 0 { x } else { f32::NAN };
    let edge = if bits & i32::MAX == 0 {
        f32::NEG_INFINITY
    } else {
        edge
    };
    if bits > 0 && bits < f32::INFINITY.to_bits() as i32 {
        y
    } else {
        edge
    }
}

/// `ln(x * 2^shift)`, for positive, normal, finite `x`.
#[inline(always)]
pub(crate) fn ln_of_normal(x: f32, shift: i32) -> f32 {
    let bits = x.to_bits();
    let k = (bits.wrapping_sub(core::f32::consts::FRAC_1_SQRT_2.to_bits()) as i32) >> 23;
    let f = f32::from_bits(bits.wrapping_sub((k as u32) << 23)) - 1.0;
    let k = k.wrapping_add(shift) as f32;
    let p = 0.116_323_38 + f * (-0.116_625_6 + f * 0.073_413_9);
    let p = 0.200_006_8 + f * (-0.166_691_84 + f * (0.142_513_75 + f * (-0.123_961_62 + f * p)));
    let p = 0.333_333_3 + f * (-0.249_999_8 + f * p);
    let square = f * f;
    let tail = square * f * p - 0.5 * square;
    k * LN_2_HIGH + (f + (k * LN_2_LOW + tail))
}

/// The hyperbolic tangent. Worst error 2 ulp; odd to the bit, and never beyond -1 or 1.
///
/// With e = exp(-2|x|), it is (1 - e) / (1 + e). As in Tang, "Table-driven implementation of the expm1 function",
/// 1992, e is kept as s + s p with a power of two s, so that 1 - e loses nothing near zero.
#[inline(always)]
#[must_use]
pub fn tanh(x: f32) -> f32 {
    let magnitude = x.abs();
    let magnitude = if magnitude > 10.0 { 10.0 } else { magnitude };
    let (k, p) = exp_parts(-2.0 * magnitude);
    let s = power_of_two(k);
    let scaled = s * p;
    (((1.0 - s) - scaled) / ((1.0 + s) + scaled)).copysign(x)
}

/// The logistic function 1 / (1 + exp(-x)). Worst error 2.41 ulp, also where the result is small.
///
/// Computed from exp(-|x|), which cannot overflow.
#[inline(always)]
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    let e = exp_below_89(-x.abs());
    let numerator = if x < 0.0 { e } else { 1.0 };
    numerator / (1.0 + e)
}

/// The cosine of `turn` turns, cos(2 pi turn), for `turn` from 0 to 1. Worst absolute error 2e-7.
#[inline(always)]
#[must_use]
pub fn cos_turns(turn: f32) -> f32 {
    // Symmetric about half a turn, where it is -1: a sine on the way between.
    sin_within_quarter((turn - 0.5).abs() - 0.25)
}

/// The sine of `turn` turns, sin(2 pi turn), for `turn` from 0 to 1. Worst absolute error 2e-7.
#[inline(always)]
#[must_use]
pub fn sin_turns(turn: f32) -> f32 {
    // Odd about half a turn, and each half symmetric about its middle.
    let from_half = 0.5 - turn;
    sin_within_quarter(0.25 - (from_half.abs() - 0.25).abs()).copysign(from_half)
}

/// `sin(2 pi w)` for `w` from -1/4 to 1/4.
#[inline(always)]
fn sin_within_quarter(w: f32) -> f32 {
    let z = w * w;
    w * (core::f32::consts::TAU
        + z * (-41.341_724 + z * (81.605_02 + z * (-76.635_67 + z * 40.148_68))))
}

/// The square root, correctly rounded: an instruction of the machine gives the same bits.
#[inline]
#[must_use]
pub fn sqrt(x: f32) -> f32 {
    libm::sqrtf(x)
}

/// The square root of a constant computed in `f64`, correctly rounded.
#[inline]
#[must_use]
pub fn sqrt_f64(x: f64) -> f64 {
    libm::sqrt(x)
}

/// Fewer instructions and fewer correct digits, for processors without floating-point hardware: the crate micromath
/// (exp), and what follows from it. A recipe chooses them by `math = "fast"`.
///
/// micromath computes with the same portable operations as the rest of this file and has no code for particular
/// platforms, so these bits too are the same everywhere, for one release of it; [`digest`] tells releases apart.
///
/// [`digest`]: fast::digest
#[cfg(feature = "fast-math")]
pub mod fast {
    // Called by its path: as a method, `x.exp()` would mean std's wherever std is linked.
    use micromath::F32Ext;

    /// e to the power of `x`. Worst relative error 0.0024.
    ///
    /// Infinite from 88.7 and zero from -87.3 on, where micromath has no right answers (it has none for NaN, and no
    /// subnormal ones).
    #[must_use]
    pub fn exp(x: f32) -> f32 {
        if x >= 88.7 {
            f32::INFINITY
        } else if x <= -87.3 {
            0.0
        } else if x.is_nan() {
            x
        } else {
            F32Ext::exp(x)
        }
    }

    /// The hyperbolic tangent. Worst absolute error 0.0011; odd to the bit.
    #[must_use]
    pub fn tanh(x: f32) -> f32 {
        let e = exp(-2.0 * x.abs());
        ((1.0 - e) / (1.0 + e)).copysign(x)
    }

    /// The logistic function. Worst relative error 0.0024 down to -87.3, below which it is zero.
    #[must_use]
    pub fn sigmoid(x: f32) -> f32 {
        let e = exp(-x.abs());
        let numerator = if x < 0.0 { e } else { 1.0 };
        numerator / (1.0 + e)
    }

    /// CRC-32 of the answers of [`exp`], [`tanh`] and [`sigmoid`], in turn, as little-endian bytes, at each multiple of
    /// 7/32 from -87.5 to 87.5. Two builds that differ here have different bits; a blob that asks for `fast` records it.
    #[must_use]
    pub fn digest() -> u32 {
        // Without a table: it is rarely computed, and never over much.
        const CRC: crc::Crc<u32, crc::NoTable> =
            crc::Crc::<u32, crc::NoTable>::new(&crc::CRC_32_ISO_HDLC);
        let mut digest = CRC.digest();
        for step in -400_i16..=400 {
            let x = f32::from(step) * (7.0 / 32.0);
            for answer in [exp(x), tanh(x), sigmoid(x)] {
                digest.update(&answer.to_le_bytes());
            }
        }
        digest.finalize()
    }
}

#[cfg(test)]
mod tests {
    use core::f64::consts::TAU;
    use std::thread;

    #[derive(Clone, Copy)]
    enum Measure {
        /// In units of the last place of the exact result.
        Ulp,
        /// As a difference.
        Absolute,
        /// As a part of the exact result.
        #[cfg(feature = "fast-math")]
        Relative,
    }
    use Measure::{Absolute, Ulp};

    struct Case {
        name: &'static str,
        function: fn(f32) -> f32,
        exact: fn(f64) -> f64,
        /// Arguments outside it are not promised anything; NaN always is.
        domain: [f32; 2],
        measure: Measure,
        permitted: f64,
    }

    const EVERYWHERE: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];
    const ONE_TURN: [f32; 2] = [0.0, 1.0];

    fn exact_sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + libm::exp(-x))
    }

    /// The permitted error of every function; each is what all arguments together were seen to need.
    #[rustfmt::skip]
    const CASES: &[Case] = &[
        Case { name: "exp", function: super::exp, exact: libm::exp, domain: EVERYWHERE, measure: Ulp, permitted: 0.90 },
        Case { name: "ln", function: super::ln, exact: libm::log, domain: EVERYWHERE, measure: Ulp, permitted: 0.90 },
        Case { name: "tanh", function: super::tanh, exact: libm::tanh, domain: EVERYWHERE, measure: Ulp, permitted: 2.0 },
        Case { name: "sigmoid", function: super::sigmoid, exact: exact_sigmoid, domain: EVERYWHERE, measure: Ulp, permitted: 2.41 },
        Case { name: "cos_turns", function: super::cos_turns, exact: |t| libm::cos(TAU * t), domain: ONE_TURN, measure: Absolute, permitted: 2e-7 },
        Case { name: "sin_turns", function: super::sin_turns, exact: |t| libm::sin(TAU * t), domain: ONE_TURN, measure: Absolute, permitted: 2e-7 },
        #[cfg(feature = "fast-math")]
        Case { name: "fast::exp", function: super::fast::exp, exact: libm::exp, domain: [-87.299, 88.699], measure: Measure::Relative, permitted: 0.0024 },
        #[cfg(feature = "fast-math")]
        Case { name: "fast::tanh", function: super::fast::tanh, exact: libm::tanh, domain: EVERYWHERE, measure: Absolute, permitted: 0.0011 },
        #[cfg(feature = "fast-math")]
        Case { name: "fast::sigmoid", function: super::fast::sigmoid, exact: exact_sigmoid, domain: [-87.299, f32::INFINITY], measure: Measure::Relative, permitted: 0.0024 },
    ];

    /// The exponent of the last place of an `f32` as large as `value`.
    fn ulp(value: f64) -> f64 {
        let exponent = (((value.to_bits() >> 52) & 0x7FF) as i32 - 1023).max(-126);
        libm::ldexp(1.0, exponent - 23)
    }

    fn error(case: &Case, x: f32) -> f64 {
        let (got, exact) = (f64::from((case.function)(x)), (case.exact)(f64::from(x)));
        if got.is_nan() || exact.is_nan() {
            return if got.is_nan() && exact.is_nan() {
                0.0
            } else {
                f64::INFINITY
            };
        }
        if exact.is_infinite() {
            return if got == exact { 0.0 } else { f64::INFINITY };
        }
        // An overflow counts as the first number that f32 does not have.
        let limit = libm::ldexp(1.0, 128);
        let (got, exact) = (got.clamp(-limit, limit), exact.clamp(-limit, limit));
        let difference = (got - exact).abs();
        match case.measure {
            Ulp => difference / ulp(exact),
            Absolute => difference,
            #[cfg(feature = "fast-math")]
            Measure::Relative => difference / exact.abs(),
        }
    }

    /// The worst error over every `stride`th bit pattern from `first` on, and where it is.
    fn worst(case: &Case, first: u32, stride: usize) -> (f64, f32) {
        let [low, high] = case.domain;
        let in_domain = |x: &f32| x.is_nan() || (low <= *x && *x <= high);
        let arguments = (first..=u32::MAX)
            .step_by(stride)
            .map(f32::from_bits)
            .filter(in_domain);
        arguments
            .map(|x| (error(case, x), x))
            .fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a })
    }

    /// Set `NARROWS_EXHAUSTIVE` to try all 2^32 arguments (minutes, in a release build).
    #[test]
    fn no_error_is_larger_than_the_table_permits() {
        let stride = if std::env::var_os("NARROWS_EXHAUSTIVE").is_some() {
            1
        } else {
            997
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        for case in CASES {
            let (error, x) = thread::scope(|scope| {
                let parts: std::vec::Vec<_> = (0..threads)
                    .map(|part| {
                        scope.spawn(move || worst(case, (part * stride) as u32, threads * stride))
                    })
                    .collect();
                let results = parts.into_iter().map(|part| part.join().unwrap());
                results.fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a })
            });
            std::println!(
                "{}: worst {error:.4e} at {x:e}, permitted {:e}",
                case.name,
                case.permitted
            );
            assert!(
                error <= case.permitted,
                "{} is off by {error:e} at {x:e}",
                case.name
            );
        }
    }

    #[test]
    fn infinities_zeros_and_the_edges_of_the_range_give_the_limits() {
        use super::{exp, ln, sigmoid, tanh};
        let tiny = f32::from_bits(1);
        #[rustfmt::skip]
        let expected = [
            (exp(f32::INFINITY), f32::INFINITY), (exp(f32::NEG_INFINITY), 0.0), (exp(0.0), 1.0), (exp(-0.0), 1.0),
            (exp(f32::MAX), f32::INFINITY), (exp(f32::MIN), 0.0), (exp(88.73), f32::INFINITY), (exp(-103.97), tiny),
            (exp(-104.0), 0.0), (exp(tiny), 1.0),
            (ln(f32::INFINITY), f32::INFINITY), (ln(0.0), f32::NEG_INFINITY), (ln(-0.0), f32::NEG_INFINITY), (ln(1.0), 0.0),
            (ln(tiny), -103.278_93), (ln(f32::MAX), 88.722_84),
            (tanh(f32::INFINITY), 1.0), (tanh(f32::NEG_INFINITY), -1.0), (tanh(0.0), 0.0), (tanh(-0.0), -0.0),
            (tanh(tiny), tiny), (tanh(-tiny), -tiny), (tanh(20.0), 1.0),
            (sigmoid(f32::INFINITY), 1.0), (sigmoid(f32::NEG_INFINITY), 0.0), (sigmoid(0.0), 0.5), (sigmoid(-103.97), tiny),
        ];
        for (place, (got, want)) in expected.into_iter().enumerate() {
            assert_eq!(
                got.to_bits(),
                want.to_bits(),
                "line {place}: {got:e}, not {want:e}"
            );
        }
        for nan in [
            exp(f32::NAN),
            ln(f32::NAN),
            ln(-1.0),
            ln(-tiny),
            ln(f32::NEG_INFINITY),
            tanh(f32::NAN),
            sigmoid(f32::NAN),
        ] {
            assert!(nan.is_nan());
        }
    }

    /// The bits are a promise: whoever moves one changes every trained network.
    #[test]
    fn the_bits_of_today_stay() {
        const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
        let mut digest = CRC.digest();
        for bits in (0..=u32::MAX).step_by(65_537) {
            let x = f32::from_bits(bits);
            let turn = (bits >> 8) as f32 / 16_777_216.0;
            use super::{cos_turns, exp, ln, sigmoid, sin_turns, tanh};
            for answer in [
                exp(x),
                ln(x),
                tanh(x),
                sigmoid(x),
                cos_turns(turn),
                sin_turns(turn),
            ] {
                // Which NaN it is may differ between machines.
                let answer = if answer.is_nan() { f32::NAN } else { answer };
                digest.update(&answer.to_le_bytes());
            }
        }
        assert_eq!(
            digest.finalize(),
            0x9E98_0B17,
            "the bits of a function have moved"
        );
    }

    #[cfg(feature = "fast-math")]
    #[test]
    fn the_fast_functions_keep_their_digest_and_their_limits() {
        use super::fast::{digest, exp, sigmoid, tanh};
        assert_eq!(
            digest(),
            0x320A_80EC,
            "micromath's answers have other bits than before"
        );
        assert_eq!(
            [exp(f32::INFINITY), exp(f32::NEG_INFINITY), exp(0.0)],
            [f32::INFINITY, 0.0, 1.0]
        );
        assert_eq!(
            [tanh(f32::INFINITY), tanh(f32::NEG_INFINITY), tanh(0.0)],
            [1.0, -1.0, 0.0]
        );
        assert_eq!(
            [
                sigmoid(f32::INFINITY),
                sigmoid(f32::NEG_INFINITY),
                sigmoid(0.0)
            ],
            [1.0, 0.0, 0.5]
        );
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
    }
}
