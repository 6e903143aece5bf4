//! Max-pooling.

use core::ops::Range;

use super::{Machine, Task, Tiled, Vector, Vectors, load, split, split_mut, store, tiles};
use crate::shape::{Axis, Window};

/// `output[s][oy][ox][c]` is the largest input of the window; of equal ones the first in (ky, kx). Padding never wins.
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[sample][y][x][channel]`.
    pub input: &'a [f32],
    /// `[sample][y][x][channel]`.
    pub output: &'a mut [f32],
    /// The geometry.
    pub window: Window,
}

impl Task for Forward<'_> {
    fn units(&self) -> usize {
        self.output
            .len()
            .checked_div(self.window.output_len())
            .unwrap_or(0)
    }

    fn operations(&self) -> usize {
        self.input.len()
    }

    fn split(self, units: usize) -> (Self, Self) {
        let (input, input_rest) = split(self.input, units.wrapping_mul(self.window.input_len()));
        let (output, output_rest) =
            split_mut(self.output, units.wrapping_mul(self.window.output_len()));
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
        let channels = window.channels_in;
        let inputs = input.chunks_exact(window.input_len().max(1));
        for (input, output) in inputs.zip(output.chunks_exact_mut(window.output_len().max(1))) {
            let rows = output.chunks_exact_mut(window.x.output.wrapping_mul(channels).max(1));
            for (oy, row) in rows.enumerate() {
                let mut taps = RowTaps::new(&window, oy);
                for (ox, output) in row.chunks_exact_mut(channels.max(1)).enumerate() {
                    let taps = taps.at(ox);
                    let mut largest = Largest {
                        input,
                        output,
                        taps,
                    };
                    tiles::<V, 1, 1>(1, channels, &mut largest);
                }
            }
        }
    }
}

/// The largest inputs of the window at one place.
struct Largest<'a> {
    input: &'a [f32],
    output: &'a mut [f32],
    taps: Taps,
}

impl Tiled for Largest<'_> {
    const AGAIN: bool = true;

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, _row: usize, channel: usize) {
        let numbers = |tap: usize| load::<V>(self.input, tap.wrapping_add(channel));
        let best = match self.taps.two_by_two() {
            Some(taps) if V::LANES > 1 => match taps.map(numbers) {
                [Some(a), Some(b), Some(c), Some(d)] => Some(a.largest(b).largest(c).largest(d)),
                _ => None,
            },
            _ => self.taps.clone().filter_map(numbers).reduce(V::largest),
        };
        if let Some(best) = best {
            store(best, self.output, channel);
        }
    }
}

/// Adds each output's gradient to the input that won its window.
#[derive(Debug)]
pub struct InputGradient<'a> {
    /// The layer's input: `[sample][y][x][channel]`.
    pub input: &'a [f32],
    /// The layer's output.
    pub output: &'a [f32],
    /// The output's gradient.
    pub gradient: &'a [f32],
    /// `[sample][y][x][channel]`, overwritten.
    pub input_gradient: &'a mut [f32],
    /// The geometry.
    pub window: Window,
    /// Whether the input is what relu gave, and its slope is to be taken too.
    pub relu: bool,
}

impl Task for InputGradient<'_> {
    fn units(&self) -> usize {
        self.input_gradient
            .len()
            .checked_div(self.window.input_len())
            .unwrap_or(0)
    }

    fn operations(&self) -> usize {
        self.input.len()
    }

    fn split(self, units: usize) -> (Self, Self) {
        let (at_input, at_output) = (
            units.wrapping_mul(self.window.input_len()),
            units.wrapping_mul(self.window.output_len()),
        );
        let (input, input_rest) = split(self.input, at_input);
        let (output, output_rest) = split(self.output, at_output);
        let (gradient, gradient_rest) = split(self.gradient, at_output);
        let (input_gradient, rest) = split_mut(self.input_gradient, at_input);
        (
            Self {
                input,
                output,
                gradient,
                input_gradient,
                ..self
            },
            Self {
                input: input_rest,
                output: output_rest,
                gradient: gradient_rest,
                input_gradient: rest,
                ..self
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        let Self {
            input,
            output,
            gradient,
            input_gradient,
            window,
            relu,
        } = self;
        let (input_len, output_len) = (window.input_len().max(1), window.output_len().max(1));
        let inputs = input
            .chunks_exact(input_len)
            .zip(input_gradient.chunks_exact_mut(input_len));
        let outputs = output
            .chunks_exact(output_len)
            .zip(gradient.chunks_exact(output_len));
        let channels = window.channels_in;
        // Where each input lies in one window, nothing is added to what another one gave.
        let disjoint = is_tiled(&window.y) && is_tiled(&window.x);
        for ((input, input_gradient), (output, gradient)) in inputs.zip(outputs) {
            if !disjoint {
                input_gradient.fill(0.0);
            }
            let places = output
                .chunks_exact(channels.max(1))
                .zip(gradient.chunks_exact(channels.max(1)));
            let (mut oy, mut ox) = (0, 0);
            let mut taps = RowTaps::new(&window, oy);
            for (output, gradient) in places {
                let mut winner = Winner {
                    input,
                    input_gradient: &mut *input_gradient,
                    output,
                    gradient,
                    taps: taps.at(ox),
                    disjoint,
                    relu,
                };
                tiles::<V, 1, 1>(1, channels, &mut winner);
                ox = ox.wrapping_add(1);
                if ox == window.x.output {
                    (oy, ox) = (oy.wrapping_add(1), 0);
                    taps = RowTaps::new(&window, oy);
                }
            }
        }
    }
}

/// Whether each place of the input lies in exactly one window.
fn is_tiled(axis: &Axis) -> bool {
    let covered = axis.output.saturating_mul(axis.stride);
    axis.size == axis.stride && axis.before == 0 && covered >= axis.input
}

/// Hands the gradient of one output place to the first tap that equals the largest value.
struct Winner<'a> {
    input: &'a [f32],
    input_gradient: &'a mut [f32],
    output: &'a [f32],
    gradient: &'a [f32],
    taps: Taps,
    /// Whether no other window has any of these inputs.
    disjoint: bool,
    relu: bool,
}

impl Winner<'_> {
    #[inline(always)]
    fn among<V: Vector>(&mut self, channel: usize, taps: impl Iterator<Item = usize>) {
        let zero = V::splat(0.0);
        let number = |from| load::<V>(from, channel);
        let Some((best, mut rest)) = number(self.output).zip(number(self.gradient)) else {
            return;
        };
        if self.relu {
            rest = best.where_equal(zero, zero, rest);
        }
        for tap in taps {
            let at = tap.wrapping_add(channel);
            let Some(values) = load::<V>(self.input, at) else {
                return;
            };
            let mut gained = values.where_equal(best, rest, zero);
            rest = values.where_equal(best, zero, rest);
            if !self.disjoint {
                // Adding +0.0 where another tap won changes no bit: the sum started at +0.0 and is never -0.0.
                let before = load(self.input_gradient, at).unwrap_or(zero);
                gained = before.plus(gained);
            }
            store(gained, self.input_gradient, at);
        }
    }
}

impl Tiled for Winner<'_> {
    const AGAIN: bool = false;

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, _row: usize, channel: usize) {
        match self.taps.two_by_two() {
            Some(taps) if V::LANES > 1 => self.among::<V>(channel, taps.into_iter()),
            _ => self.among::<V>(channel, self.taps.clone()),
        }
    }
}

/// Where the numbers of the input places under the window at one output place begin, in the order (ky, kx).
#[derive(Clone, Default)]
struct Taps {
    at: usize,
    left: usize,
    row: usize,
    rows: usize,
    columns: usize,
    /// Numbers of an input row.
    width: usize,
    channels: usize,
}

/// The taps at the places of an output row, one place after the other.
struct RowTaps<'a> {
    window: &'a Window,
    rows: (Range<usize>, usize),
    /// The places that take the same taps.
    interior: Range<usize>,
    last: Taps,
}

impl<'a> RowTaps<'a> {
    #[inline(always)]
    fn new(window: &'a Window, oy: usize) -> Self {
        Self {
            window,
            rows: window.y.taps(oy),
            interior: window.x.interior(),
            last: Taps::default(),
        }
    }

    #[inline(always)]
    fn at(&mut self, ox: usize) -> Taps {
        if ox > self.interior.start && ox < self.interior.end {
            let step = self.window.x.stride.wrapping_mul(self.window.channels_in);
            self.last.at = self.last.at.wrapping_add(step);
            self.last.row = self.last.at;
        } else {
            self.last = Taps::new(self.window, &self.rows, ox);
        }
        self.last.clone()
    }
}

impl Taps {
    /// `row_taps` are the window's at the place's row.
    #[inline(always)]
    fn new(window: &Window, row_taps: &(Range<usize>, usize), ox: usize) -> Self {
        let ((taps_y, iy), (taps_x, ix)) = (row_taps, window.x.taps(ox));
        let channels = window.channels_in;
        let width = window.x.input.wrapping_mul(channels);
        let at = iy
            .wrapping_mul(width)
            .wrapping_add(ix.wrapping_mul(channels));
        Self {
            at,
            left: taps_x.len(),
            row: at,
            rows: taps_y.len(),
            columns: taps_x.len(),
            width,
            channels,
        }
    }

    /// The taps of the commonest window, which a loop over them need not count.
    #[inline(always)]
    fn two_by_two(&self) -> Option<[usize; 4]> {
        let below = self.at.wrapping_add(self.width);
        ((self.rows, self.columns) == (2, 2)).then_some([
            self.at,
            self.at.wrapping_add(self.channels),
            below,
            below.wrapping_add(self.channels),
        ])
    }
}

impl Iterator for Taps {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.left == 0 {
            self.rows = self.rows.checked_sub(1)?;
            if self.rows == 0 {
                return None;
            }
            self.row = self.row.wrapping_add(self.width);
            (self.at, self.left) = (self.row, self.columns);
        }
        let at = self.at;
        self.at = at.wrapping_add(self.channels);
        self.left = self.left.wrapping_sub(1);
        Some(at)
    }
}
