//! Random numbers without a state: each is a function of what it is for.
//!
//! The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011):
//! ten rounds of multiplications turn a counter of four words and a key of two into four random words. The key is the
//! seed, low word first; the counter is
//!
//! | word | meaning |
//! | --- | --- |
//! | 0 | block: the number of the element, divided by 4 |
//! | 1 | sample: the number of the sample, the layer, or 0 |
//! | 2 | epoch, or another count of repetitions |
//! | 3 | the [`Purpose`] |
//!
//! Element 4b + i is drawn from word i of block b; a pair of normal numbers needs two words, so elements 0 and 1 share
//! words 0 and 1, and 2 and 3 the others. So threads, batches and their order, or going on from a checkpoint, change
//! no draw.

use crate::math;

/// What a number is drawn for. Draws for different purposes have nothing in common. The numbers never change: they are
/// part of what makes a run repeatable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Initial weights; the counter's sample is the layer.
    Initialize = 1,
    /// The order of samples in an epoch.
    Shuffle = 2,
    /// What corrupts a denoiser's inputs.
    Noise = 3,
    /// Which samples are kept for validation.
    Split = 4,
    /// A model's golden sample.
    Golden = 5,
}

/// The random numbers of one seed for one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random {
    key: [u32; 2],
    purpose: u32,
}

impl Random {
    /// The numbers that `seed` gives for `purpose`.
    #[must_use]
    pub const fn new(seed: u64, purpose: Purpose) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            purpose: purpose as u32,
        }
    }

    /// The four words of a block.
    #[inline(always)]
    #[must_use]
    pub fn block(self, epoch: u32, sample: u32, block: u32) -> [u32; 4] {
        philox([block, sample, epoch, self.purpose], self.key)
    }

    /// The word of an element: 32 random bits.
    #[inline(always)]
    #[must_use]
    pub fn word(self, epoch: u32, sample: u32, element: u32) -> u32 {
        pick(self.block(epoch, sample, element / 4), element)
    }

    /// A number from 0 up to but not including 1: the upper 24 bits of the element's word, as a fraction.
    #[inline(always)]
    #[must_use]
    pub fn uniform(self, epoch: u32, sample: u32, element: u32) -> f32 {
        pick(
            Uniform.draw(self.block(epoch, sample, element / 4)),
            element,
        )
    }

    /// A number of the normal distribution with mean 0 and standard deviation 1; see [`fill_gaussian`] for the formula.
    ///
    /// [`fill_gaussian`]: Self::fill_gaussian
    #[inline(always)]
    #[must_use]
    pub fn gaussian(self, epoch: u32, sample: u32, element: u32) -> f32 {
        pick(
            Gaussian(math::sqrt).draw(self.block(epoch, sample, element / 4)),
            element,
        )
    }

    /// Fills `out` with [`uniform`](Self::uniform) of elements 0, 1, 2 and so on.
    #[inline(always)]
    pub fn fill_uniform(self, epoch: u32, sample: u32, out: &mut [f32]) {
        self.fill(epoch, sample, out, Uniform);
    }

    /// Fills `out` with [`gaussian`](Self::gaussian) of elements 0, 1, 2 and so on.
    ///
    /// Two words a and b give two normal numbers (Box and Muller, 1958): with u = (upper 24 bits of a + 1) / 2^24,
    /// t = upper 24 bits of b / 2^24 and radius = sqrt(-2 ln u), they are radius cos(2 pi t) and radius sin(2 pi t),
    /// by this crate's [`math`]. The largest radius is 5.77.
    ///
    /// `sqrt` is any correctly rounded square root, such as [`math::sqrt`] or the machine's.
    #[inline(always)]
    pub fn fill_gaussian(
        self,
        epoch: u32,
        sample: u32,
        out: &mut [f32],
        sqrt: impl Fn(f32) -> f32 + Copy,
    ) {
        self.fill(epoch, sample, out, Gaussian(sqrt));
    }

    /// One block after another, each independent of the others and without branches: a loop that compilers vectorize.
    #[inline(always)]
    fn fill(self, epoch: u32, sample: u32, out: &mut [f32], distribution: impl Distribution) {
        let (fours, rest) = out.as_chunks_mut::<4>();
        let mut block = 0_u32;
        for four in fours {
            *four = distribution.draw(self.block(epoch, sample, block));
            block = block.wrapping_add(1);
        }
        if !rest.is_empty() {
            let four = distribution.draw(self.block(epoch, sample, block));
            rest.iter_mut().zip(four).for_each(|(to, from)| *to = from);
        }
    }

    /// Puts `indices` into a random order, the same for the same epoch.
    ///
    /// Fisher and Yates's exchanges, as Durstenfeld: for i from the last down to 1, element i changes places with
    /// element j = floor(word(epoch, 0, i) (i + 1) / 2^32). Of n places none is more likely than another by more than
    /// n / 2^32 of its probability.
    pub fn shuffle(self, epoch: u32, indices: &mut [u32]) {
        let mut open = indices;
        // What is left of the slice ends in element i; its index fits into 32 bits as far as anyone's memory goes.
        while let Some((last, before)) = open.split_last_mut() {
            let i = before.len() as u32;
            let j = below(self.word(epoch, 0, i), i.wrapping_add(1));
            if let Some(other) = before.get_mut(j as usize) {
                core::mem::swap(last, other);
            }
            open = before;
        }
    }
}

/// A whole number from 0 up to but not including `bound`, from a random word (Lemire, 2019, without the rejection).
#[inline]
fn below(word: u32, bound: u32) -> u32 {
    (u64::from(word).wrapping_mul(u64::from(bound)) >> 32) as u32
}

/// The number of `four` that belongs to the element.
#[inline(always)]
fn pick<T>([a, b, c, d]: [T; 4], element: u32) -> T {
    match element % 4 {
        0 => a,
        1 => b,
        2 => c,
        _ => d,
    }
}

/// What the words of a block become. A trait instead of a closure, because only a named function can be
/// `#[inline(always)]`, and a call that is left in the loop keeps it from being vectorized.
trait Distribution: Copy {
    fn draw(self, words: [u32; 4]) -> [f32; 4];
}

#[derive(Clone, Copy)]
struct Uniform;

impl Distribution for Uniform {
    #[inline(always)]
    fn draw(self, [a, b, c, d]: [u32; 4]) -> [f32; 4] {
        [
            fraction(upper(a)),
            fraction(upper(b)),
            fraction(upper(c)),
            fraction(upper(d)),
        ]
    }
}

/// With the square root to use.
#[derive(Clone, Copy)]
struct Gaussian<S>(S);

impl<S: Fn(f32) -> f32 + Copy> Distribution for Gaussian<S> {
    #[inline(always)]
    fn draw(self, [a, b, c, d]: [u32; 4]) -> [f32; 4] {
        let ([first, second], [third, fourth]) = (self.pair(a, b), self.pair(c, d));
        [first, second, third, fourth]
    }
}

impl<S: Fn(f32) -> f32 + Copy> Gaussian<S> {
    #[inline(always)]
    fn pair(self, a: u32, b: u32) -> [f32; 2] {
        let Self(sqrt) = self;
        let radius = sqrt(-2.0 * math::ln_of_normal(fraction(upper(a).wrapping_add(1)), 0));
        let turn = fraction(upper(b));
        [
            radius * math::cos_turns(turn),
            radius * math::sin_turns(turn),
        ]
    }
}

/// The upper 24 bits, which `f32` holds exactly; signed, because that conversion is one instruction everywhere.
#[inline(always)]
fn upper(word: u32) -> i32 {
    (word >> 8) as i32
}

/// `upper` / 2^24.
#[inline(always)]
fn fraction(upper: i32) -> f32 {
    upper as f32 * (1.0 / 16_777_216.0)
}

/// Philox4x32 with ten rounds.
#[inline(always)]
fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let left = u64::from(c0).wrapping_mul(0xD251_1F53);
        let right = u64::from(c2).wrapping_mul(0xCD9E_8D57);
        (c0, c1) = ((right >> 32) as u32 ^ c1 ^ k0, right as u32);
        (c2, c3) = ((left >> 32) as u32 ^ c3 ^ k1, left as u32);
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [c0, c1, c2, c3]
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::{Purpose, Random, philox};

    /// The known answers that the authors of the generator publish with Random123 (`kat_vectors`).
    #[test]
    fn the_generator_gives_the_published_answers() {
        let ones = u32::MAX;
        #[rustfmt::skip]
        let known = [
            ([0; 4], [0; 2], [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]),
            ([ones; 4], [ones; 2], [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]),
            ([0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344], [0xA409_3822, 0x299F_31D0],
             [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1]),
        ];
        for (counter, key, answer) in known {
            assert_eq!(philox(counter, key), answer);
        }
    }

    proptest! {
        #[test]
        fn a_filled_slice_equals_single_draws(seed: u64, epoch: u32, sample: u32, len in 0_usize..200) {
            let random = Random::new(seed, Purpose::Noise);
            let (mut uniform, mut gaussian) = (vec![0.0; len], vec![0.0; len]);
            random.fill_uniform(epoch, sample, &mut uniform);
            random.fill_gaussian(epoch, sample, &mut gaussian, f32::sqrt);
            for element in 0..len {
                let place = element as u32;
                prop_assert_eq!(uniform[element].to_bits(), random.uniform(epoch, sample, place).to_bits());
                prop_assert_eq!(gaussian[element].to_bits(), random.gaussian(epoch, sample, place).to_bits());
            }
        }

        #[test]
        fn a_shuffle_loses_nothing_and_can_be_repeated(seed: u64, epoch: u32, len in 0_u32..500) {
            let mut indices: Vec<u32> = (0..len).collect();
            Random::new(seed, Purpose::Shuffle).shuffle(epoch, &mut indices);
            let mut again: Vec<u32> = (0..len).collect();
            Random::new(seed, Purpose::Shuffle).shuffle(epoch, &mut again);
            prop_assert_eq!(&again, &indices);
            indices.sort_unstable();
            prop_assert!(indices.into_iter().eq(0..len));
        }
    }

    #[test]
    fn seed_purpose_epoch_sample_and_element_each_make_another_number() {
        let base = Random::new(1, Purpose::Noise);
        let draws = [
            base.word(2, 3, 4),
            Random::new(1 << 32, Purpose::Noise).word(2, 3, 4),
            Random::new(1, Purpose::Split).word(2, 3, 4),
            base.word(5, 3, 4),
            base.word(2, 5, 4),
            base.word(2, 3, 5),
            base.word(2, 3, 8),
        ];
        for (i, a) in draws.iter().enumerate() {
            assert!(draws[..i].iter().all(|b| a != b), "{draws:x?}");
        }
    }

    #[test]
    fn a_place_of_a_shuffled_slice_takes_every_number_equally_often() {
        const LEN: usize = 8;
        let mut counts = [[0_u32; LEN]; LEN];
        for epoch in 0..8_000 {
            let mut indices: [u32; LEN] = core::array::from_fn(|i| i as u32);
            Random::new(7, Purpose::Shuffle).shuffle(epoch, &mut indices);
            for (place, index) in indices.into_iter().enumerate() {
                counts[place][index as usize] += 1;
            }
        }
        // 1000 expected, with a standard deviation of 30.
        assert!(
            counts
                .as_flattened()
                .iter()
                .all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
    }

    /// The moments of a million numbers, each within five standard errors.
    #[test]
    fn uniform_and_gaussian_have_the_moments_of_their_distributions() {
        const LEN: usize = 1_000_000;
        let mut numbers = vec![0.0; LEN];
        let moment = |numbers: &[f32], power: i32| {
            numbers
                .iter()
                .map(|&x| f64::from(x).powi(power))
                .sum::<f64>()
                / LEN as f64
        };
        let close = |got: f64, expected: f64, variance: f64| {
            assert!(
                (got - expected).abs() < 5.0 * (variance / LEN as f64).sqrt(),
                "{got}, not {expected}"
            );
        };
        Random::new(0, Purpose::Noise).fill_uniform(0, 0, &mut numbers);
        assert!(numbers.iter().all(|x| (0.0..1.0).contains(x)));
        close(moment(&numbers, 1), 0.5, 1.0 / 12.0);
        close(moment(&numbers, 2), 1.0 / 3.0, 4.0 / 45.0);

        Random::new(0, Purpose::Noise).fill_gaussian(0, 0, &mut numbers, f32::sqrt);
        assert!(numbers.iter().all(|x| x.abs() < 5.78));
        // The variance of the nth power is the mean of the 2nth less the square of the nth's mean.
        close(moment(&numbers, 1), 0.0, 1.0);
        close(moment(&numbers, 2), 1.0, 2.0);
        close(moment(&numbers, 3), 0.0, 15.0);
        close(moment(&numbers, 4), 3.0, 96.0);
        let neighbours = numbers
            .windows(2)
            .map(|pair| f64::from(pair[0] * pair[1]))
            .sum::<f64>()
            / LEN as f64;
        close(neighbours, 0.0, 1.0);
    }
}
