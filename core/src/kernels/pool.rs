//! Max-pooling.

use super::{Machine, Task, Vectors, load, sample, split, split_mut};
use crate::shape::Window;

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
        let inputs = input.chunks_exact(window.input_len().max(1));
        for (input, output) in inputs.zip(output.chunks_exact_mut(window.output_len().max(1))) {
            let channels = window.channels_in;
            for (place, output) in output.chunks_exact_mut(channels.max(1)).enumerate() {
                let mut taps = Taps::new(&window, place);
                let Some(first) = taps.next() else { continue };
                for (best, &value) in output.iter_mut().zip(sample(input, first, channels)) {
                    *best = value;
                }
                for tap in taps {
                    for (best, &value) in output.iter_mut().zip(sample(input, tap, channels)) {
                        *best = if value > *best { value } else { *best };
                    }
                }
            }
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
                window: self.window,
            },
            Self {
                input: input_rest,
                output: output_rest,
                gradient: gradient_rest,
                input_gradient: rest,
                window: self.window,
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
        } = self;
        let (input_len, output_len) = (window.input_len().max(1), window.output_len().max(1));
        let inputs = input
            .chunks_exact(input_len)
            .zip(input_gradient.chunks_exact_mut(input_len));
        let outputs = output
            .chunks_exact(output_len)
            .zip(gradient.chunks_exact(output_len));
        for ((input, input_gradient), (output, gradient)) in inputs.zip(outputs) {
            input_gradient.fill(0.0);
            for place in 0..window.y.output.wrapping_mul(window.x.output) {
                let channels = window.channels_in;
                tiles_of_channels::<8>(channels, |channel, wide| {
                    let at = place.wrapping_mul(channels).wrapping_add(channel);
                    let go = if wide { winner::<8> } else { winner::<1> };
                    go(
                        input,
                        input_gradient,
                        output,
                        gradient,
                        at,
                        channel,
                        Taps::new(&window, place),
                        channels,
                    );
                });
            }
        }
    }
}

/// Calls `work(channel, true)` for each whole group of `LANES` channels, `work(channel, false)` for the rest.
#[inline(always)]
fn tiles_of_channels<const LANES: usize>(channels: usize, mut work: impl FnMut(usize, bool)) {
    let mut channel: usize = 0;
    while channels.wrapping_sub(channel) >= LANES {
        work(channel, true);
        channel = channel.wrapping_add(LANES);
    }
    while channel < channels {
        work(channel, false);
        channel = channel.wrapping_add(1);
    }
}

/// Adds the gradient of `W` neighbouring channels of one output place to the first tap that equals the largest value.
#[inline(always)]
#[allow(
    clippy::too_many_arguments,
    reason = "one place of a loop nest, taken out to be compiled for two widths"
)]
fn winner<const W: usize>(
    input: &[f32],
    input_gradient: &mut [f32],
    output: &[f32],
    gradient: &[f32],
    at: usize,
    channel: usize,
    taps: Taps,
    channels: usize,
) {
    let Some((best, mut rest)) = load::<[f32; W]>(output, at).zip(load::<[f32; W]>(gradient, at))
    else {
        return;
    };
    for tap in taps {
        let at = tap.wrapping_mul(channels).wrapping_add(channel);
        let to = input_gradient
            .get_mut(at..)
            .and_then(|to| to.first_chunk_mut::<W>());
        let Some((values, to)) = load::<[f32; W]>(input, at).zip(to) else {
            return;
        };
        for (((to, rest), value), best) in to.iter_mut().zip(&mut rest).zip(values).zip(best) {
            // Adding +0.0 where another tap won changes no bit: the sum started at +0.0 and is never -0.0.
            let won = value == best;
            *to += if won { *rest } else { 0.0 };
            *rest = if won { 0.0 } else { *rest };
        }
    }
}

/// The input places (`y * width + x`) under the window at one output place, in the order (ky, kx).
#[derive(Clone)]
struct Taps {
    place: usize,
    left: usize,
    row: usize,
    rows: usize,
    columns: usize,
    width: usize,
}

impl Taps {
    #[inline(always)]
    fn new(window: &Window, place: usize) -> Self {
        let oy = place.checked_div(window.x.output).unwrap_or(0);
        let ox = place.wrapping_sub(oy.wrapping_mul(window.x.output));
        let ((taps_y, iy), (taps_x, ix)) = (window.y.taps(oy), window.x.taps(ox));
        let place = iy.wrapping_mul(window.x.input).wrapping_add(ix);
        let (rows, columns) = (taps_y.len(), taps_x.len());
        Self {
            place,
            left: columns,
            row: place,
            rows,
            columns,
            width: window.x.input,
        }
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
            (self.place, self.left) = (self.row, self.columns);
        }
        let place = self.place;
        self.place = place.wrapping_add(1);
        self.left = self.left.wrapping_sub(1);
        Some(place)
    }
}
