//! Upsampling by whole factors, nearest neighbour.

use super::{Machine, Task, Vector, Vectors, load, split, split_mut, store};
use crate::shape::Window;

/// `output[s][y][x][c] = input[s][y / rows][x / columns][c]`.
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[sample][y][x][channel]`.
    pub input: &'a [f32],
    /// `[sample][y · rows][x · columns][channel]`.
    pub output: &'a mut [f32],
    /// The geometry: the pooling that would undo it, from `output` to `input`.
    pub window: Window,
}

impl Task for Forward<'_> {
    fn units(&self) -> usize {
        self.output
            .len()
            .checked_div(self.window.input_len())
            .unwrap_or(0)
    }

    fn operations(&self) -> usize {
        self.output.len()
    }

    fn split(self, units: usize) -> (Self, Self) {
        let (input, input_rest) = split(self.input, units.wrapping_mul(self.window.output_len()));
        let (output, output_rest) =
            split_mut(self.output, units.wrapping_mul(self.window.input_len()));
        (
            Self {
                input,
                output,
                ..self
            },
            Self {
                input: input_rest,
                output: output_rest,
                ..self
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        let Self {
            input,
            output,
            window,
        } = self;
        let channels = window.channels_in.max(1);
        let large_row = window.x.input.wrapping_mul(channels).max(1);
        let small_rows = input.chunks_exact(window.x.output.wrapping_mul(channels).max(1));
        for (small, block) in
            small_rows.zip(output.chunks_exact_mut(large_row.wrapping_mul(window.y.size).max(1)))
        {
            for large in block.chunks_exact_mut(large_row) {
                let places = large.chunks_exact_mut(window.x.size.wrapping_mul(channels).max(1));
                for (value, places) in small.chunks_exact(channels).zip(places) {
                    for place in places.chunks_exact_mut(channels) {
                        copy::<ROWS>(value, place);
                    }
                }
            }
        }
    }
}

/// Copies the channels of a place, in the widest groups that there are enough of.
#[inline(always)]
fn copy<const ROWS: usize>(mut from: &[f32], mut to: &mut [f32]) {
    while ROWS > 1
        && let Some((first, rest)) = from.split_first_chunk::<8>()
        && let Some((first_to, rest_to)) = core::mem::take(&mut to).split_first_chunk_mut::<8>()
    {
        *first_to = *first;
        (from, to) = (rest, rest_to);
    }
    for (to, &value) in to.iter_mut().zip(from) {
        *to = value;
    }
}

/// `input_gradient[s][y][x][c]` is the sum of the gradients of its copies, row by row, column by column.
#[derive(Debug)]
pub struct InputGradient<'a> {
    /// The output's gradient.
    pub gradient: &'a [f32],
    /// `[sample][y][x][channel]`, overwritten.
    pub input_gradient: &'a mut [f32],
    /// The geometry: the pooling that would undo it, from output to input.
    pub window: Window,
}

impl Task for InputGradient<'_> {
    fn units(&self) -> usize {
        self.input_gradient
            .len()
            .checked_div(self.window.output_len())
            .unwrap_or(0)
    }

    fn operations(&self) -> usize {
        self.gradient.len()
    }

    fn split(self, units: usize) -> (Self, Self) {
        let (gradient, gradient_rest) =
            split(self.gradient, units.wrapping_mul(self.window.input_len()));
        let (input_gradient, rest) = split_mut(
            self.input_gradient,
            units.wrapping_mul(self.window.output_len()),
        );
        (
            Self {
                gradient,
                input_gradient,
                window: self.window,
            },
            Self {
                gradient: gradient_rest,
                input_gradient: rest,
                window: self.window,
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        let Self {
            gradient,
            input_gradient,
            window,
        } = self;
        let channels = window.channels_in.max(1);
        let large_row = window.x.input.wrapping_mul(channels).max(1);
        let small_rows =
            input_gradient.chunks_exact_mut(window.x.output.wrapping_mul(channels).max(1));
        for (small, block) in
            small_rows.zip(gradient.chunks_exact(large_row.wrapping_mul(window.y.size).max(1)))
        {
            for (x, sums) in small.chunks_exact_mut(channels).enumerate() {
                let first = x.wrapping_mul(window.x.size).wrapping_mul(channels);
                let mut channel: usize = 0;
                let copies = Copies {
                    block,
                    large_row,
                    first,
                    size: window.x.size,
                    channels,
                };
                while ROWS > 1 && channels.wrapping_sub(channel) >= 8 {
                    copies.sum::<8>(channel, sums);
                    channel = channel.wrapping_add(8);
                }
                while channel < channels {
                    copies.sum::<1>(channel, sums);
                    channel = channel.wrapping_add(1);
                }
            }
        }
    }
}

/// The gradients of the copies of one place.
struct Copies<'a> {
    /// The rows that they lie in.
    block: &'a [f32],
    large_row: usize,
    /// Where the first one begins in its row.
    first: usize,
    /// Copies in a row.
    size: usize,
    channels: usize,
}

impl Copies<'_> {
    /// The sums of `W` neighbouring channels.
    #[inline(always)]
    fn sum<const W: usize>(&self, channel: usize, to: &mut [f32]) {
        let mut sums = [0.0f32; W];
        for large in self.block.chunks_exact(self.large_row) {
            let mut at = self.first.wrapping_add(channel);
            for _ in 0..self.size {
                let Some(values) = load::<[f32; W]>(large, at) else {
                    return;
                };
                sums = sums.plus(values);
                at = at.wrapping_add(self.channels);
            }
        }
        store(sums, to, channel);
    }
}
