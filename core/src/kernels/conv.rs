//! Two-dimensional convolutions.

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

use super::activation::is_finite;
use super::{
    GradientSink, MOST_LANES, Machine, Pair, Task, Tiled, Vector, Vectors, add_outer, add_products,
    bands, load, runs, sample, split, split_mut, store, tiles, tiles_from, transpose,
};
use crate::shape::{Axis, Window};

/// `output[s][oy][ox][f] = (Σ_ky Σ_kx Σ_c input[s][iy][ix][c] · weights[ky][kx][c][f]) + bias[f]`, or relu of that,
/// with `iy = oy · stride + ky - padding` and `ix` likewise.
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[sample][y][x][channel in]`.
    pub input: &'a [f32],
    /// `[ky][kx][channel in][filter]`.
    pub weights: &'a [f32],
    /// `[filter]`.
    pub bias: &'a [f32],
    /// `[sample][y][x][filter]`.
    pub output: &'a mut [f32],
    /// The geometry.
    pub window: Window,
    /// Whether relu is applied to the sums with their biases.
    pub relu: bool,
    /// Set where such a sum is an infinity or a NaN; never cleared.
    pub not_finite: &'a AtomicBool,
}

impl Task for Forward<'_> {
    fn units(&self) -> usize {
        self.output
            .len()
            .checked_div(self.window.output_len())
            .unwrap_or(0)
    }

    fn operations(&self) -> usize {
        self.output
            .len()
            .saturating_mul(self.weights.len())
            .checked_div(self.window.channels_out)
            .unwrap_or(0)
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
    fn run<M: Machine, V: Vectors, const ROWS: usize>(mut self) {
        let window = self.window;
        if ROWS > 1 && window.channels_out == 1 && self.scan::<V, ROWS>() {
            return;
        }
        let end = End {
            bias: self.bias,
            relu: self.relu,
            not_finite: self.not_finite,
        };
        if ROWS > 1 {
            let mut slide = Slide {
                window,
                from: self.input,
                weights: self.weights,
                columns: window.channels_out,
                to: &mut *self.output,
                column: 0,
                end: Some(end),
            };
            if slide.run::<V>() {
                return;
            }
        }
        let inputs = self.input.chunks_exact(window.input_len().max(1));
        let outputs = self.output.chunks_exact_mut(window.output_len().max(1));
        for (input, output) in inputs.zip(outputs) {
            let mut place = Place {
                input,
                output: &mut [],
                weights: self.weights,
                window,
                end,
                y: 0,
                x: 0,
            };
            for output in output.chunks_exact_mut(window.channels_out.max(1)) {
                place.output = output;
                tiles::<V, 1, 1>(1, window.channels_out, &mut place);
                place.x = place.x.wrapping_add(1);
                if place.x == window.x.output {
                    (place.y, place.x) = (place.y.wrapping_add(1), 0);
                }
            }
        }
    }
}

/// What becomes of whole sums.
#[derive(Clone, Copy)]
struct End<'a> {
    /// Of each column.
    bias: &'a [f32],
    relu: bool,
    not_finite: &'a AtomicBool,
}

impl End<'_> {
    /// Ends the sums of the columns from `column` on.
    #[inline(always)]
    fn of<V: Vector, const R: usize>(&self, sums: &mut [V; R], column: usize) {
        let Some(bias) = load::<V>(self.bias, column) else {
            return;
        };
        let mut finite = true;
        for sum in sums {
            *sum = sum.plus(bias);
            finite &= sum.is_finite();
            if self.relu {
                *sum = V::splat(0.0).largest(*sum);
            }
        }
        if !finite {
            self.not_finite.store(true, Ordering::Relaxed);
        }
    }
}

/// A place's sums, without the taps on the padding: columns are filters.
struct Place<'a> {
    /// The sample.
    input: &'a [f32],
    /// The place.
    output: &'a mut [f32],
    weights: &'a [f32],
    window: Window,
    end: End<'a>,
    y: usize,
    x: usize,
}

impl Tiled for Place<'_> {
    const AGAIN: bool = true;

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, _row: usize, column: usize) {
        let window = &self.window;
        let (channels, filters) = (window.channels_in, window.channels_out);
        let ((taps_y, first_y), (taps_x, first_x)) = (window.y.taps(self.y), window.x.taps(self.x));
        // Neighbouring taps of a kernel's row lie side by side, in the input and in the weights.
        let run = taps_x.len().wrapping_mul(channels);
        let mut sums = [V::splat(0.0)];
        for (step, ky) in taps_y.enumerate() {
            let at = first_y
                .wrapping_add(step)
                .wrapping_mul(window.x.input)
                .wrapping_add(first_x)
                .wrapping_mul(channels);
            let tap = ky
                .wrapping_mul(window.x.size)
                .wrapping_add(taps_x.start)
                .wrapping_mul(channels);
            let weights = self.weights.get(tap.wrapping_mul(filters)..);
            let weights = weights.unwrap_or(&[]);
            add_products(
                &mut sums,
                runs(self.input, at, 0, run),
                weights,
                filters,
                column,
            );
        }
        self.end.of(&mut sums, column);
        let [sum] = sums;
        store(sum, self.output, column);
    }
}

/// A convolution of pictures that are copied into working memory with their padding, so that all windows lie on numbers,
/// whose products with the padding move no sum.
struct Slide<'a> {
    window: Window,
    /// `[sample][y][x][channel in]`.
    from: &'a [f32],
    /// `[ky][kx][channel in][column]`.
    weights: &'a [f32],
    columns: usize,
    /// `[sample][y][x][channel out]`.
    to: &'a mut [f32],
    /// The channel of `to` that is the first column's.
    column: usize,
    /// Where the sums are not yet all.
    end: Option<End<'a>>,
}

impl Slide<'_> {
    /// Whether the working memory was enough.
    #[inline(always)]
    fn run<V: Vectors>(&mut self) -> bool {
        let Window {
            y, x, channels_in, ..
        } = self.window;
        // Places of a row, and rows, at a time: all of them, where there is room.
        let line = SCRATCH
            .checked_div(y.size.saturating_mul(channels_in))
            .and_then(|room| room.checked_sub(x.size))
            .and_then(|room| room.checked_div(x.stride));
        let places = line.map_or(0, |line| line.wrapping_add(1)).min(x.output);
        let Some(more) = places.checked_sub(1) else {
            return false;
        };
        let line = more
            .wrapping_mul(x.stride)
            .wrapping_add(x.size)
            .wrapping_mul(channels_in)
            .max(1);
        let more = SCRATCH
            .checked_div(line)
            .unwrap_or(0)
            .wrapping_sub(y.size)
            .checked_div(y.stride)
            .unwrap_or(0);
        let rows = more.wrapping_add(1).min(y.output).max(1);
        let mut scratch = Scratch([0.0; SCRATCH]);
        let padded = &mut scratch.0;
        let lens = (
            self.window.input_len().max(1),
            self.window.output_len().max(1),
        );
        let samples = self.from.chunks_exact(lens.0);
        for (from, to) in samples.zip(self.to.chunks_exact_mut(lens.1)) {
            for top in (0..y.output).step_by(rows) {
                let rows = rows.min(y.output.wrapping_sub(top));
                for left in (0..x.output).step_by(places) {
                    let count = places.min(x.output.wrapping_sub(left));
                    let under = rows.wrapping_sub(1).wrapping_mul(y.stride);
                    let lines = under.wrapping_add(y.size);
                    let needed = split_mut(padded, lines.wrapping_mul(line)).0;
                    pad(&self.window, from, (top, left), needed, line);
                    for row in 0..rows {
                        let at = row.wrapping_mul(y.stride).wrapping_mul(line);
                        let place = top.wrapping_add(row).wrapping_mul(x.output);
                        let place = place.wrapping_add(left);
                        let channels = self.window.channels_out;
                        let to = to.get_mut(place.wrapping_mul(channels)..);
                        let neighbours = Neighbours {
                            window: &self.window,
                            from: needed.get(at..).unwrap_or(&[]),
                            line,
                            weights: self.weights,
                            columns: self.columns,
                            to: to.unwrap_or(&mut []),
                            column: self.column,
                            end: self.end,
                        };
                        neighbours.run::<V>(count);
                    }
                }
            }
        }
        true
    }
}

/// Copies what the windows from the place `first` (row, column) on see, zeros where that is padding, into lines of `line`
/// numbers.
#[inline(always)]
fn pad(window: &Window, from: &[f32], first: (usize, usize), to: &mut [f32], line: usize) {
    let Window {
        y, x, channels_in, ..
    } = *window;
    let start = first.1.wrapping_mul(x.stride);
    let zeros = x.before.saturating_sub(start).wrapping_mul(channels_in);
    let skipped = start.saturating_sub(x.before).wrapping_mul(channels_in);
    let row_len = x.input.wrapping_mul(channels_in);
    let top = first.0.wrapping_mul(y.stride);
    for (index, to) in to.chunks_exact_mut(line).enumerate() {
        let iy = top.wrapping_add(index).checked_sub(y.before);
        let row = iy.map_or(&[][..], |iy| sample(from, iy, row_len));
        let row = row.get(skipped..).unwrap_or(&[]);
        let (before, rest) = split_mut(to, zeros);
        let (copied, after) = split_mut(rest, row.len());
        before.fill(0.0);
        copied
            .iter_mut()
            .zip(row)
            .for_each(|(to, from)| *to = *from);
        after.fill(0.0);
    }
}

/// Neighbouring places of an output row: rows are places.
struct Neighbours<'a> {
    window: &'a Window,
    /// From the first place's window on, in lines of `line`.
    from: &'a [f32],
    line: usize,
    weights: &'a [f32],
    columns: usize,
    /// From the first place on.
    to: &'a mut [f32],
    column: usize,
    end: Option<End<'a>>,
}

impl Neighbours<'_> {
    /// `count` places, in tiles of equal height: as many places as keep the adders busy, where with more the compiler
    /// runs out of registers for where their numbers lie.
    #[inline(always)]
    fn run<V: Vectors>(mut self, count: usize) {
        let columns = self.columns;
        match count.div_ceil(count.div_ceil(7).max(1)) {
            7 => tiles::<V, 7, 7>(count, columns, &mut self),
            5 | 6 if count > 5 => tiles::<V, 6, 6>(count, columns, &mut self),
            4 | 5 => tiles::<V, 4, 4>(count, columns, &mut self),
            _ => tiles::<V, 1, 1>(count, columns, &mut self),
        }
    }
}

impl Tiled for Neighbours<'_> {
    const AGAIN: bool = true;

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, column: usize) {
        let Window {
            y, x, channels_in, ..
        } = *self.window;
        let step = x.stride.wrapping_mul(channels_in);
        let run = x.size.wrapping_mul(channels_in);
        let mut sums = [V::splat(0.0); R];
        let weights = self
            .weights
            .chunks_exact(run.wrapping_mul(self.columns).max(1));
        for (ky, weights) in weights.take(y.size).enumerate() {
            let at = row
                .wrapping_mul(step)
                .wrapping_add(ky.wrapping_mul(self.line));
            add_run(
                &mut sums,
                self.from,
                at,
                step,
                run,
                weights,
                self.columns,
                column,
            );
        }
        if let Some(end) = self.end {
            end.of(&mut sums, column);
        }
        for (r, sum) in sums.into_iter().enumerate() {
            let place = row.wrapping_add(r).wrapping_mul(self.window.channels_out);
            let at = place.wrapping_add(self.column).wrapping_add(column);
            store(sum, self.to, at);
        }
    }
}

/// `sums[r][w] += from[at + r * step + k] * columns[k][column + w]` for each k below `length` in ascending order; `columns`
/// has rows of `stride`.
#[inline(always)]
#[allow(
    clippy::too_many_arguments,
    reason = "two matrices in their slices, in the innermost loop"
)]
fn add_run<V: Vector, const R: usize>(
    sums: &mut [V; R],
    from: &[f32],
    at: usize,
    step: usize,
    length: usize,
    columns: &[f32],
    stride: usize,
    column: usize,
) {
    // The commonest kernel on one channel: neighbouring places share most of the numbers.
    const SHORT: usize = 3;
    if R == 1 || length != SHORT || step != 1 {
        return add_products(sums, runs(from, at, step, length), columns, stride, column);
    }
    let width = R.wrapping_add(SHORT).wrapping_sub(1);
    let numbers = from.get(at..).and_then(|from| from.get(..width));
    let columns: [Option<V>; SHORT] =
        core::array::from_fn(|k| load(columns, k.wrapping_mul(stride).wrapping_add(column)));
    let (Some(numbers), [Some(first), Some(second), Some(third)]) = (numbers, columns) else {
        return;
    };
    for (sum, numbers) in sums.iter_mut().zip(numbers.windows(SHORT)) {
        if let [x, y, z] = numbers {
            let one = sum.plus(V::splat(*x).times(first));
            let two = one.plus(V::splat(*y).times(second));
            *sum = two.plus(V::splat(*z).times(third));
        }
    }
}

/// Numbers of working memory that a kernel may take from a desktop's stack.
const SCRATCH: usize = 8192;

/// Working memory in whole lines of the cache: a vector that lies across two of them takes twice as long to load.
#[repr(align(64))]
struct Scratch<const N: usize>([f32; N]);

/// A multiple of the most lanes that two vectors have.
#[inline(always)]
fn padded(places: usize) -> usize {
    places.next_multiple_of(MOST_LANES.wrapping_mul(2))
}

impl Forward<'_> {
    /// Convolution with one filter: lanes are neighbouring places of a row. The input is gone through row by row, channel
    /// by channel, and each row adds its products to the sums of all output rows whose windows it lies in. Whether the working
    /// memory was enough.
    #[inline(always)]
    fn scan<V: Vectors, const ROWS: usize>(&mut self) -> bool {
        let window = self.window;
        let width = padded(window.x.output);
        let plane = width
            .wrapping_add(window.x.size)
            .next_multiple_of(MOST_LANES);
        let planes = plane.saturating_mul(window.channels_in);
        // Output rows at a time.
        let rows = SCRATCH
            .checked_sub(planes)
            .and_then(|room| room.checked_div(width))
            .unwrap_or(0);
        if window.x.stride != 1 || rows == 0 {
            return false;
        }
        let mut scratch = Scratch([0.0; SCRATCH]);
        let (planes, sums) = split_mut(&mut scratch.0, planes);
        let row_len = window.x.input.wrapping_mul(window.channels_in).max(1);
        let inputs = self.input.chunks_exact(window.input_len().max(1));
        let outputs = self.output.chunks_exact_mut(window.output_len().max(1));
        let bias = self.bias.first().copied().unwrap_or(0.0);
        let mut finite = true;
        let block_len = rows.saturating_mul(window.x.output).max(1);
        for (input, output) in inputs.zip(outputs) {
            for (block, output) in output.chunks_mut(block_len).enumerate() {
                sums.fill(0.0);
                let first = block.wrapping_mul(rows);
                let end = first.wrapping_add(rows).min(window.y.output);
                let under = window.y.reach(first..end);
                let inputs = input.chunks_exact(row_len).enumerate();
                for (iy, row) in inputs.skip(under.start).take(under.len()) {
                    // What is not written stays zero: the padding. Its products are ±0.0, which moves no sum.
                    transpose::<V, ROWS>(
                        row,
                        window.channels_in,
                        window.x.input.min(plane.wrapping_sub(window.x.before)),
                        window.channels_in,
                        planes.get_mut(window.x.before..).unwrap_or(&mut []),
                        plane,
                    );
                    let (outputs, first_tap) = window.y.windows(iy);
                    let start = outputs.start.max(first);
                    let skipped = start.wrapping_sub(outputs.start);
                    let mut row = ScannedRow {
                        window,
                        planes: &*planes,
                        plane,
                        weights: self.weights,
                        sums: sums
                            .get_mut(start.wrapping_sub(first).wrapping_mul(width)..)
                            .unwrap_or(&mut []),
                        width,
                        first_tap: first_tap.wrapping_sub(skipped.wrapping_mul(window.y.stride)),
                    };
                    let count = outputs.end.min(end).saturating_sub(start);
                    bands::<Pair<V::Wide, V::Wide>, 3, _>(count, 0, width, &mut row);
                }
                let rows = output.chunks_exact_mut(window.x.output.max(1));
                for (output, sums) in rows.zip(sums.chunks_exact(width)) {
                    for (output, sum) in output.iter_mut().zip(sums) {
                        let sum = sum + bias;
                        finite &= is_finite(sum);
                        *output = if self.relu && sum <= 0.0 { 0.0 } else { sum };
                    }
                }
            }
        }
        if !finite {
            self.not_finite.store(true, Ordering::Relaxed);
        }
        true
    }
}

/// What one row of the input adds to the sums: rows are output rows, columns are output places of a row.
struct ScannedRow<'a> {
    window: Window,
    /// `[channel][place]` of the input's row, with padding on both sides.
    planes: &'a [f32],
    plane: usize,
    weights: &'a [f32],
    /// `[output row][output place]`.
    sums: &'a mut [f32],
    width: usize,
    /// The tap of the first output row that lies on the input's row.
    first_tap: usize,
}

impl Tiled for ScannedRow<'_> {
    const AGAIN: bool = false;

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, column: usize) {
        let (size, channels) = (self.window.x.size, self.window.channels_in);
        let place = |r: usize| {
            row.wrapping_add(r)
                .wrapping_mul(self.width)
                .wrapping_add(column)
        };
        let run = size.wrapping_mul(channels);
        let weights: [&[f32]; R] = core::array::from_fn(|r| {
            let later = row.wrapping_add(r).wrapping_mul(self.window.y.stride);
            sample(self.weights, self.first_tap.wrapping_sub(later), run)
        });
        let mut sums: [V; R] =
            core::array::from_fn(|r| load(self.sums, place(r)).unwrap_or(V::splat(0.0)));
        for kx in 0..size {
            let at = column.wrapping_add(kx);
            let weights = weights.map(|weights| sample(weights, kx, channels));
            add_products(&mut sums, weights, self.planes, self.plane, at);
        }
        for (r, sum) in sums.into_iter().enumerate() {
            store(sum, self.sums, place(r));
        }
    }
}

/// `input_gradient[s][iy][ix][c] = Σ_oy Σ_ox Σ_f gradient[s][oy][ox][f] · weights[ky][kx][c][f]` over the windows that
/// cover the place.
#[derive(Debug)]
pub struct InputGradient<'a> {
    /// The output's gradient: `[sample][y][x][filter]`.
    pub gradient: &'a [f32],
    /// `[ky][kx][channel in][filter]`.
    pub weights: &'a [f32],
    /// `[sample][y][x][channel in]`.
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
        let per_place = self
            .weights
            .len()
            .checked_div(self.window.channels_in)
            .unwrap_or(0);
        self.input_gradient.len().saturating_mul(per_place)
    }

    fn split(self, units: usize) -> (Self, Self) {
        let (gradient, gradient_rest) =
            split(self.gradient, units.wrapping_mul(self.window.output_len()));
        let (input_gradient, rest) = split_mut(
            self.input_gradient,
            units.wrapping_mul(self.window.input_len()),
        );
        (
            Self {
                gradient,
                input_gradient,
                ..self
            },
            Self {
                gradient: gradient_rest,
                input_gradient: rest,
                ..self
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(mut self) {
        let window = self.window;
        if ROWS > 1 && (self.spread::<V, ROWS>() || self.turn::<V>()) {
            return;
        }
        let inputs = self
            .input_gradient
            .chunks_exact_mut(window.input_len().max(1));
        let gradients = self.gradient.chunks_exact(window.output_len().max(1));
        for (input_gradient, gradient) in inputs.zip(gradients) {
            let places = input_gradient.chunks_exact_mut(window.channels_in.max(1));
            let mut place = InputPlace {
                gradient,
                weights: self.weights,
                input_gradient: &mut [],
                window,
                y: 0,
                x: 0,
            };
            for input_gradient in places {
                place.input_gradient = input_gradient;
                bands::<[f32; 1], 8, _>(window.channels_in, 0, 1, &mut place);
                place.x = place.x.wrapping_add(1);
                if place.x == window.x.input {
                    (place.y, place.x) = (place.y.wrapping_add(1), 0);
                }
            }
        }
    }
}

impl InputGradient<'_> {
    /// Each number of the output's gradient that is not zero is multiplied by its filter's kernel, which lies over neighbouring
    /// numbers of the input. Whether it pays, and the working memory was enough.
    #[inline(always)]
    fn spread<V: Vectors, const ROWS: usize>(&mut self) -> bool {
        let window = self.window;
        let Window { y, x, .. } = window;
        let (channels, filters) = (window.channels_in, window.channels_out);
        let run = x.size.wrapping_mul(channels);
        let kernel = y.size.wrapping_mul(run);
        let seen = |axis: Axis| {
            let last = axis.output.wrapping_sub(1).wrapping_mul(axis.stride);
            last.wrapping_add(axis.size)
        };
        let (lines, line) = (seen(y), seen(x).saturating_mul(channels));
        if lines.saturating_mul(line) > SCRATCH
            || self.weights.len() > SCRATCH
            || filters > LISTED
            || !self.is_spread_cheaper(kernel)
        {
            return false;
        }
        let mut turned = Scratch([0.0; SCRATCH]);
        transpose::<V, ROWS>(
            self.weights,
            filters,
            kernel,
            filters,
            &mut turned.0,
            kernel,
        );
        let mut sums = Scratch([0.0; SCRATCH]);
        let sums = split_mut(&mut sums.0, lines.wrapping_mul(line)).0;
        let mut listed = [(0, 0); LISTED];
        let gradients = self.gradient.chunks_exact(window.output_len().max(1));
        let input_len = window.input_len().max(1);
        for (gradient, to) in gradients.zip(self.input_gradient.chunks_exact_mut(input_len)) {
            sums.fill(0.0);
            let rows = gradient.chunks_exact(x.output.wrapping_mul(filters).max(1));
            for (oy, row) in rows.enumerate() {
                let mut at = oy.wrapping_mul(y.stride).wrapping_mul(line);
                for place in row.chunks_exact(filters.max(1)) {
                    let length = list(place.iter(), 0, kernel, &mut listed, 0);
                    let listed = listed.get(..length).unwrap_or(&[]);
                    if !listed.is_empty() {
                        Spread {
                            from: &turned.0,
                            line: run,
                            listed,
                            sums: sums.get_mut(at..).unwrap_or(&mut []),
                            pitch: line,
                        }
                        .run::<V>(y.size, run);
                    }
                    at = at.wrapping_add(x.stride.wrapping_mul(channels));
                }
            }
            // What lay on the padding is left out; what no window saw is zero.
            let row_len = x.input.wrapping_mul(channels).max(1);
            for (iy, to) in to.chunks_exact_mut(row_len).enumerate() {
                let row = sample(sums, iy.wrapping_add(y.before), line);
                let row = row.get(x.before.wrapping_mul(channels)..).unwrap_or(&[]);
                let (copied, rest) = split_mut(to, row.len());
                copied
                    .iter_mut()
                    .zip(row)
                    .for_each(|(to, from)| *to = *from);
                rest.fill(0.0);
            }
        }
        true
    }

    /// Compares the vectors that have to be multiplied and added, and what each place costs besides, as measured.
    #[inline(always)]
    fn is_spread_cheaper(&self, kernel: usize) -> bool {
        let Window {
            channels_in: channels,
            channels_out: filters,
            ..
        } = self.window;
        // Without: about twelve products at a time.
        let products = self.input_gradient.len().saturating_mul(kernel);
        let products = products.saturating_mul(filters).checked_div(channels);
        let otherwise = products.and_then(|all| all.checked_div(12)).unwrap_or(0);
        let vectors = kernel.div_ceil(MOST_LANES);
        let place = vectors.saturating_mul(3).saturating_add(20);
        let places = self.gradient.len().checked_div(filters).unwrap_or(0);
        let left = otherwise.saturating_sub(places.saturating_mul(place));
        let most = left.checked_div(vectors).unwrap_or(0);
        most >= self.gradient.len() || most >= count_nonzero(self.gradient)
    }

    /// With stride 1, a convolution of the output's gradient with the kernel turned by half a circle: where places of the output
    /// go up, taps go down. With another stride, sums of samples at a time. Whether the working memory was enough.
    #[inline(always)]
    fn turn<V: Vectors>(&mut self) -> bool {
        let window = self.window;
        let (channels, filters) = (window.channels_in, window.channels_out);
        let taps = window.y.size.wrapping_mul(window.x.size);
        let mut scratch = Scratch([0.0; SCRATCH.wrapping_mul(2)]);
        let turned = &mut scratch.0;
        // Channels at a time.
        let most = turned.len().checked_div(taps.saturating_mul(filters));
        let most = most.unwrap_or(0).min(channels);
        let most = if most < channels {
            most.wrapping_sub(most % MOST_LANES)
        } else {
            most
        };
        if most == 0 {
            return false;
        }
        let mirrored = |axis: Axis| Axis {
            input: axis.output,
            output: axis.input,
            before: axis.size.wrapping_sub(1).wrapping_sub(axis.before),
            ..axis
        };
        let mut column: usize = 0;
        while column < channels {
            let columns = most.min(channels.wrapping_sub(column));
            let tap_len = channels.wrapping_mul(filters).max(1);
            let each = turned.chunks_exact_mut(columns.wrapping_mul(filters).max(1));
            for (turned, weights) in each.zip(self.weights.chunks_exact(tap_len).rev()) {
                let weights = weights.chunks_exact(filters.max(1)).skip(column);
                for (lane, weights) in weights.take(columns).enumerate() {
                    for (turned, weight) in turned.chunks_exact_mut(columns).zip(weights) {
                        if let Some(turned) = turned.get_mut(lane) {
                            *turned = *weight;
                        }
                    }
                }
            }
            if (window.y.stride, window.x.stride) == (1, 1) {
                let mut slide = Slide {
                    window: Window {
                        y: mirrored(window.y),
                        x: mirrored(window.x),
                        channels_in: filters,
                        channels_out: channels,
                    },
                    from: self.gradient,
                    weights: &*turned,
                    columns,
                    to: &mut *self.input_gradient,
                    column,
                    end: None,
                };
                if !slide.run::<V>() {
                    return false;
                }
            } else {
                let samples = self.units();
                let mut sums = StridedSums {
                    gradient: self.gradient,
                    turned: &*turned,
                    columns,
                    input_gradient: &mut *self.input_gradient,
                    window,
                    column,
                    y: 0,
                    x: 0,
                };
                for y in 0..window.y.input {
                    for x in 0..window.x.input {
                        (sums.y, sums.x) = (y, x);
                        tiles::<V, 4, 4>(samples, columns, &mut sums);
                    }
                }
            }
            column = column.wrapping_add(columns);
        }
        true
    }
}

/// The sums of one place of the input: rows are samples, columns are channels.
struct StridedSums<'a> {
    gradient: &'a [f32],
    /// `[ky, the last first][kx, the last first][filter][column]`.
    turned: &'a [f32],
    columns: usize,
    input_gradient: &'a mut [f32],
    window: Window,
    /// The first column's channel.
    column: usize,
    y: usize,
    x: usize,
}

impl Tiled for StridedSums<'_> {
    const AGAIN: bool = true;

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, column: usize) {
        let window = &self.window;
        let filters = window.channels_out;
        let ((windows_y, first_ky), (windows_x, first_kx)) =
            (window.y.windows(self.y), window.x.windows(self.x));
        let last = |size: usize, tap: usize| size.wrapping_sub(1).wrapping_sub(tap);
        let (first_ky, first_kx) = (last(window.y.size, first_ky), last(window.x.size, first_kx));
        let from = row.wrapping_mul(window.output_len());
        let mut sums = [V::splat(0.0); R];
        for (step_y, oy) in windows_y.enumerate() {
            let ky = first_ky.wrapping_add(step_y.wrapping_mul(window.y.stride));
            for (step_x, ox) in windows_x.clone().enumerate() {
                let kx = first_kx.wrapping_add(step_x.wrapping_mul(window.x.stride));
                let tap = ky.wrapping_mul(window.x.size).wrapping_add(kx);
                let turned = tap.wrapping_mul(filters).wrapping_mul(self.columns);
                let turned = self.turned.get(turned..).unwrap_or(&[]);
                let place = oy.wrapping_mul(window.x.output).wrapping_add(ox);
                let at = from.wrapping_add(place.wrapping_mul(filters));
                let gradients = runs(self.gradient, at, window.output_len(), filters);
                add_products(&mut sums, gradients, turned, self.columns, column);
            }
        }
        let place = self.y.wrapping_mul(window.x.input).wrapping_add(self.x);
        let place = place.wrapping_mul(window.channels_in);
        for (r, sum) in sums.into_iter().enumerate() {
            let at = row.wrapping_add(r).wrapping_mul(window.input_len());
            let at = at.wrapping_add(place).wrapping_add(self.column);
            store(sum, self.input_gradient, at.wrapping_add(column));
        }
    }
}

/// One sample's sums at one place of the input: rows are channels.
struct InputPlace<'a> {
    gradient: &'a [f32],
    weights: &'a [f32],
    input_gradient: &'a mut [f32],
    window: Window,
    y: usize,
    x: usize,
}

impl Tiled for InputPlace<'_> {
    const AGAIN: bool = true;

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, _column: usize) {
        let window = &self.window;
        let ((windows_y, first_ky), (windows_x, first_kx)) =
            (window.y.windows(self.y), window.x.windows(self.x));
        let (channels, filters) = (window.channels_in, window.channels_out);
        let mut sums = [V::splat(0.0); R];
        for (step_y, oy) in windows_y.enumerate() {
            let ky = first_ky.wrapping_sub(step_y.wrapping_mul(window.y.stride));
            for (step_x, ox) in windows_x.clone().enumerate() {
                let kx = first_kx.wrapping_sub(step_x.wrapping_mul(window.x.stride));
                let tap = ky
                    .wrapping_mul(window.x.size)
                    .wrapping_add(kx)
                    .wrapping_mul(channels);
                let weights = core::array::from_fn(|r| {
                    sample(self.weights, tap.wrapping_add(row).wrapping_add(r), filters)
                });
                let place = oy.wrapping_mul(window.x.output).wrapping_add(ox);
                let gradient = sample(self.gradient, place, filters);
                add_products(&mut sums, weights, gradient, 1, 0);
            }
        }
        for (to, sum) in self.input_gradient.iter_mut().skip(row).zip(sums) {
            let mut lane = [0.0];
            sum.store(&mut lane);
            let [sum] = lane;
            *to = sum;
        }
    }
}

/// `weight_gradient[ky][kx][c][f] += Σ_s Σ_oy Σ_ox input[s][iy][ix][c] · gradient[s][oy][ox][f]`.
#[derive(Debug)]
pub struct WeightGradient<'a, S> {
    /// `[sample][y][x][channel in]`.
    pub input: &'a [f32],
    /// The output's gradient: `[sample][y][x][filter]`.
    pub gradient: &'a [f32],
    /// Takes `[ky][kx][channel in][filter]`, of the taps (ky, kx) from `first` on.
    pub sink: S,
    /// The geometry.
    pub window: Window,
    /// The first tap whose weights this task computes.
    pub first: usize,
    /// How many taps' weights this task computes.
    pub count: usize,
}

impl<S: GradientSink> Task for WeightGradient<'_, S> {
    fn units(&self) -> usize {
        self.count
    }

    fn operations(&self) -> usize {
        self.gradient
            .len()
            .saturating_mul(self.window.channels_in)
            .saturating_mul(self.count)
    }

    fn split(self, units: usize) -> (Self, Self) {
        let tap = self
            .window
            .channels_in
            .wrapping_mul(self.window.channels_out);
        let (sink, rest) = self.sink.split(units.wrapping_mul(tap));
        (
            Self {
                sink,
                count: units,
                ..self
            },
            Self {
                sink: rest,
                first: self.first.wrapping_add(units),
                count: self.count.wrapping_sub(units),
                ..self
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(mut self) {
        if ROWS > 1 && self.spread::<M, V, ROWS>() {
            return;
        }
        let window = self.window;
        let (channels, filters) = (window.channels_in, window.channels_out);
        let (input_len, output_len) = (window.input_len().max(1), window.output_len().max(1));
        let (inputs, gradients) = (
            self.input.chunks_exact(input_len),
            self.gradient.chunks_exact(output_len),
        );
        let by_channel = filters == 1;
        let runs = Runs {
            first: self.first,
            count: self.count,
            row: window.x.size,
            long: ROWS > 1 && !by_channel,
        };
        let mut taps = WeightRun {
            input: &[],
            gradient: &[],
            sink: self.sink,
            window,
            by_channel,
            ky: 0,
            kx: 0,
            at: 0,
            machine: core::marker::PhantomData::<M>,
        };
        // Sample by sample, so that its numbers stay in the nearest cache while all taps use them.
        for (input, gradient) in inputs.zip(gradients) {
            (taps.input, taps.gradient) = (input, gradient);
            taps.at = 0;
            for run in runs.clone() {
                (taps.ky, taps.kx) = (run.ky, run.kx);
                let rows = run.size.wrapping_mul(channels);
                if by_channel {
                    // The weights of a tap's channels lie side by side: vectors of them are wider.
                    tiles::<V, 1, 1>(1, rows, &mut taps);
                } else {
                    tiles::<V, ROWS, 8>(rows, filters, &mut taps);
                }
                taps.at = taps.at.wrapping_add(rows.wrapping_mul(filters));
            }
        }
    }
}

impl<S: GradientSink> WeightGradient<'_, S> {
    /// Lanes are the numbers of the input under a row of the kernel, and each number of the gradient that is not zero is
    /// spread over them: what pays with one filter, and behind poolings and relus, whose gradients are mostly zeros. A
    /// product with zero is ±0.0, and moves no sum. Whether it pays, and the working memory was enough.
    #[inline(always)]
    fn spread<M: Machine, V: Vectors, const ROWS: usize>(&mut self) -> bool {
        let window = self.window;
        let (channels, filters) = (window.channels_in, window.channels_out);
        // A row of a sample with the padding, as far as windows reach.
        let reach = window
            .x
            .output
            .wrapping_sub(1)
            .wrapping_mul(window.x.stride);
        let row_len = reach
            .wrapping_add(window.x.size)
            .saturating_mul(channels)
            .max(1);
        let runs = Runs {
            first: self.first,
            count: self.count,
            row: window.x.size,
            long: true,
        };
        // Sums in whole vectors: those behind a run's end are of no use.
        let run = window.x.size.wrapping_mul(channels);
        let pitch = run.next_multiple_of(if run > 8 { MOST_LANES } else { 8 });
        let sums_len = runs.clone().count().saturating_mul(pitch);
        // Output rows at a time.
        let rows = SCRATCH
            .wrapping_sub(MOST_LANES)
            .checked_div(row_len)
            .and_then(|rows| rows.checked_sub(window.y.size))
            .and_then(|more| more.checked_div(window.y.stride))
            .map_or(0, |more| more.wrapping_add(1))
            .min(LISTED.checked_div(window.x.output).unwrap_or(0));
        if rows == 0 || sums_len.saturating_mul(filters) > SPREAD_SUMS || !self.is_spread_cheaper()
        {
            return false;
        }
        let mut padded = Scratch([0.0; SCRATCH]);
        let padded = &mut padded.0;
        let mut sums = Scratch([0.0; SPREAD_SUMS]);
        let sums = split_mut(&mut sums.0, sums_len.wrapping_mul(filters)).0;
        let mut listed = [(0, 0); LISTED];
        let mut at: usize = 0;
        for (row, run) in runs.clone().enumerate() {
            for number in 0..run.size.wrapping_mul(channels) {
                let place = row.wrapping_mul(pitch).wrapping_add(number);
                for sum in sums.iter_mut().skip(place).step_by(sums_len.max(1)) {
                    [*sum] = self.sink.load(at);
                    at = at.wrapping_add(1);
                }
            }
        }
        let inputs = self.input.chunks_exact(window.input_len().max(1));
        let gradients = self.gradient.chunks_exact(window.output_len().max(1));
        let block = window.x.output.wrapping_mul(filters).wrapping_mul(rows);
        for (input, gradient) in inputs.zip(gradients) {
            for (block, gradient) in gradient.chunks(block.max(1)).enumerate() {
                let top = block.wrapping_mul(rows);
                let more = rows.min(window.y.output.wrapping_sub(top)).wrapping_sub(1);
                let lines = more
                    .wrapping_mul(window.y.stride)
                    .wrapping_add(window.y.size);
                let lines = split_mut(padded, lines.wrapping_mul(row_len)).0;
                pad(&window, input, (top, 0), lines, row_len);
                for (filter, sums) in sums.chunks_exact_mut(sums_len.max(1)).enumerate() {
                    let mut length = 0;
                    let rows = gradient.chunks_exact(window.x.output.wrapping_mul(filters).max(1));
                    for (oy, row) in rows.enumerate() {
                        let at = oy.wrapping_mul(window.y.stride).wrapping_mul(row_len);
                        let of_filter = row.iter().skip(filter).step_by(filters.max(1));
                        let step = window.x.stride.wrapping_mul(channels);
                        length = list(of_filter, at, step, &mut listed, length);
                    }
                    let listed = listed.get(..length).unwrap_or(&[]);
                    let (mut runs, mut at) = (runs.clone().peekable(), 0);
                    while let Some(run) = runs.next() {
                        let (length, mut count) = (run.size.wrapping_mul(channels), 1usize);
                        // Whole rows of the kernel are taken together.
                        while run.size == window.x.size
                            && runs.next_if(|next| next.size == run.size).is_some()
                        {
                            count = count.wrapping_add(1);
                        }
                        let tap = run
                            .ky
                            .wrapping_mul(row_len)
                            .wrapping_add(run.kx.wrapping_mul(channels));
                        // What is behind a run's end is of no use.
                        let columns =
                            length.next_multiple_of(if length > 8 { MOST_LANES } else { 8 });
                        Spread {
                            from: padded.get(tap..).unwrap_or(&[]),
                            line: row_len,
                            listed,
                            sums: sums.get_mut(at..).unwrap_or(&mut []),
                            pitch,
                        }
                        .run::<V>(count, columns);
                        at = at.wrapping_add(pitch.wrapping_mul(count));
                    }
                }
            }
        }
        let mut at: usize = 0;
        for (row, run) in runs.enumerate() {
            let sums = sums.get(row.wrapping_mul(pitch)..).unwrap_or(&[]);
            let numbers = run.size.wrapping_mul(channels);
            // With one filter the weights lie as the sums do.
            let (lines, count, step) = if filters == 1 {
                (1, numbers, 1)
            } else {
                (numbers, filters, sums_len)
            };
            for line in 0..lines {
                let sums = sums.get(line..).unwrap_or(&[]);
                let mut done: usize = 0;
                let sum = |index: usize| {
                    let sum = sums.get(index.wrapping_mul(step));
                    sum.copied().unwrap_or(0.0)
                };
                while count.wrapping_sub(done) >= 8 {
                    let eight: [f32; 8] = core::array::from_fn(|lane| sum(done.wrapping_add(lane)));
                    self.sink.store::<M, [f32; 8]>(at.wrapping_add(done), eight);
                    done = done.wrapping_add(8);
                }
                for index in done..count {
                    let to = at.wrapping_add(index);
                    self.sink.store::<M, [f32; 1]>(to, [sum(index)]);
                }
                at = at.wrapping_add(count);
            }
        }
        true
    }

    /// Compares the vectors of eight that have to be multiplied and added for a row of the kernel with those where filters
    /// are lanes. Here each takes a quarter longer, and a list of what is not zero has to be made.
    #[inline(always)]
    fn is_spread_cheaper(&self) -> bool {
        let window = &self.window;
        let (all, filters) = (self.gradient.len(), window.channels_out.max(1));
        let run = window.x.size.wrapping_mul(window.channels_in);
        let by_filters = all
            .checked_div(filters)
            .unwrap_or(0)
            .saturating_mul(run)
            .saturating_mul(filters.div_ceil(8));
        // Making the list takes as long as six vectors for each number, measured; a row of the kernel's share of that.
        let list = all
            .saturating_mul(6)
            .checked_div(window.y.size)
            .unwrap_or(0);
        let each = run.div_ceil(8).saturating_mul(5) >> 2;
        let most = by_filters
            .saturating_sub(list)
            .checked_div(each)
            .unwrap_or(0);
        most >= all || most >= count_nonzero(self.gradient)
    }
}

/// Sums of weights that are kept while gradients are spread.
const SPREAD_SUMS: usize = 4096;

/// Places of an output that are listed at a time.
const LISTED: usize = 1024;

/// Appends those of `numbers` that are not zero to the first `length` of `listed`, with places from `at` on in steps of
/// `step`: how many there are then.
#[inline(always)]
fn list<'n>(
    numbers: impl Iterator<Item = &'n f32>,
    mut at: usize,
    step: usize,
    listed: &mut [(u32, u32)],
    mut length: usize,
) -> usize {
    for number in numbers {
        let bits = number.to_bits();
        if let Some(entry) = listed.get_mut(length) {
            *entry = (at as u32, bits);
        }
        // Without a branch that nobody could predict; the sign is left out.
        length = length.wrapping_add(usize::from(bits << 1 != 0));
        at = at.wrapping_add(step);
    }
    length
}

/// How many numbers are not zero.
#[inline(always)]
fn count_nonzero(numbers: &[f32]) -> usize {
    numbers
        .iter()
        .map(|number| u32::from(*number != 0.0))
        .sum::<u32>() as usize
}

/// A kernel's sums, to each of which the products of listed numbers are added: rows are rows of the kernel, columns are the
/// numbers under them.
struct Spread<'a> {
    /// Lines of `line` numbers.
    from: &'a [f32],
    line: usize,
    /// Where in `from` the numbers begin by which a number is multiplied, and that number's bits.
    listed: &'a [(u32, u32)],
    /// In lines of `pitch`.
    sums: &'a mut [f32],
    pitch: usize,
}

impl Spread<'_> {
    /// As many vectors at a time as keep the adders busy.
    #[inline(always)]
    fn run<V: Vectors>(mut self, rows: usize, columns: usize) {
        let column =
            bands::<Pair<Pair<V::Wide, V::Wide>, V::Wide>, 3, _>(rows, 0, columns, &mut self);
        let column = bands::<Pair<V::Wide, V::Wide>, 3, _>(rows, column, columns, &mut self);
        tiles_from::<V, 3, 1>(rows, column, columns, &mut self);
    }
}

impl Tiled for Spread<'_> {
    const AGAIN: bool = false;

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, column: usize) {
        let place = |r: usize| {
            row.wrapping_add(r)
                .wrapping_mul(self.pitch)
                .wrapping_add(column)
        };
        let at = row.wrapping_mul(self.line).wrapping_add(column);
        let last = at.wrapping_add(R.wrapping_sub(1).wrapping_mul(self.line));
        let length = self.from.len().saturating_sub(last);
        let mut rows: [&[f32]; R] = runs(self.from, at, self.line, length);
        for row in &mut rows {
            // From here on the compiler knows that all rows are equally long, and checks once.
            let Some(cut) = row.get(..length) else { return };
            *row = cut;
        }
        let mut sums: [V; R] =
            core::array::from_fn(|r| load(self.sums, place(r)).unwrap_or(V::splat(0.0)));
        for &(at, bits) in self.listed {
            let gradient = V::splat(f32::from_bits(bits));
            for (sum, row) in sums.iter_mut().zip(rows) {
                let Some(numbers) = load::<V>(row, at as usize) else {
                    return;
                };
                *sum = sum.plus(gradient.times(numbers));
            }
        }
        for (r, sum) in sums.into_iter().enumerate() {
            store(sum, self.sums, place(r));
        }
    }
}

/// Neighbouring taps (ky, kx) to (ky, kx + size - 1).
#[derive(Clone, Copy)]
struct Run {
    ky: usize,
    kx: usize,
    size: usize,
}

/// The taps from `first` on as runs, each within a row of the kernel.
#[derive(Clone)]
struct Runs {
    first: usize,
    count: usize,
    /// Taps of a row.
    row: usize,
    /// Whether a run may be longer than one tap.
    long: bool,
}

impl Iterator for Runs {
    type Item = Run;

    #[inline(always)]
    fn next(&mut self) -> Option<Run> {
        if self.count == 0 {
            return None;
        }
        let ky = self.first.checked_div(self.row).unwrap_or(0);
        let kx = self.first.wrapping_sub(ky.wrapping_mul(self.row));
        let left = self.row.wrapping_sub(kx);
        let size = if self.long { left.min(self.count) } else { 1 };
        self.first = self.first.wrapping_add(size);
        self.count = self.count.wrapping_sub(size);
        Some(Run { ky, kx, size })
    }
}

/// The weights of a run of taps, for one sample: rows are the taps' input channels, which lie side by side in the input
/// and in the weights; columns are filters. With one filter (`by_channel`) a run is one tap, and columns are its channels;
/// the factors of each product change places, which moves no bit.
struct WeightRun<'a, S, M> {
    input: &'a [f32],
    gradient: &'a [f32],
    sink: S,
    window: Window,
    by_channel: bool,
    ky: usize,
    kx: usize,
    /// Where the run's weights begin.
    at: usize,
    machine: core::marker::PhantomData<M>,
}

impl<S: GradientSink, M: Machine> Tiled for WeightRun<'_, S, M> {
    const AGAIN: bool = false;

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, column: usize) {
        let window = &self.window;
        let (channels, filters) = (window.channels_in, window.channels_out);
        let place = |r: usize| {
            self.at
                .wrapping_add(row.wrapping_add(r).wrapping_mul(filters))
                .wrapping_add(column)
        };
        // The numbers under a row of the kernel that this tile takes, and the taps that they belong to.
        let row = if self.by_channel { column } else { row };
        let first = self.kx.wrapping_mul(channels).wrapping_add(row);
        let tap = |at: usize| at.checked_div(channels).unwrap_or(0);
        let (low, high) = if self.by_channel {
            (self.kx, self.kx)
        } else {
            (tap(first), tap(first.wrapping_add(R.wrapping_sub(1))))
        };
        let (places_y, first_y) = window.y.places(self.ky);
        let ((low, _), (high, _)) = (window.x.places(low), window.x.places(high));
        // The places at which one of these taps lies on the input, and those at which all do.
        let some = high.start.min(low.start)..low.end.max(high.end);
        let start = low.start.clamp(some.start, some.end);
        let all = start..high.end.clamp(start, some.end);
        let step = window.x.stride.wrapping_mul(channels);
        let padding = window.x.before.wrapping_mul(channels);
        let mut sums: [V; R] = core::array::from_fn(|r| self.sink.load(place(r)));
        for (index, oy) in places_y.enumerate() {
            let iy = first_y.wrapping_add(index.wrapping_mul(window.y.stride));
            let input = sample(self.input, iy, window.x.input.wrapping_mul(channels));
            let gradient = sample(self.gradient, oy, window.x.output.wrapping_mul(filters));
            let places = Places {
                input,
                gradient,
                filters,
                column,
                step,
                from: first.wrapping_sub(padding),
            };
            if self.by_channel {
                places.by_channel(&mut sums, some.clone());
                continue;
            }
            places.edge(&mut sums, some.start..all.start);
            places.interior(&mut sums, all.clone());
            places.edge(&mut sums, all.end..some.end);
        }
        for (r, sum) in sums.into_iter().enumerate() {
            self.sink.store::<M, V>(place(r), sum);
        }
    }
}

/// The places of an output row, whose products are added to the sums of some weights.
struct Places<'a> {
    /// The input's row under a row of the kernel.
    input: &'a [f32],
    /// The gradient's row.
    gradient: &'a [f32],
    filters: usize,
    /// The first filter.
    column: usize,
    /// From one place to the next in the input.
    step: usize,
    /// Where the first number for place 0 lies in the input; before its start, on the padding, numbers wrap around.
    from: usize,
}

impl<'a> Places<'a> {
    /// For each of `places`: where the input's numbers begin, and the gradient.
    #[inline(always)]
    fn pairs(&self, places: Range<usize>) -> impl Iterator<Item = (usize, &'a [f32])> + use<'a> {
        let (step, from) = (self.step, self.from);
        let gradients = self.gradient.get(places.start.wrapping_mul(self.filters)..);
        let gradients = gradients.unwrap_or(&[]).chunks_exact(self.filters.max(1));
        places
            .zip(gradients)
            .map(move |(ox, gradient)| (ox.wrapping_mul(step).wrapping_add(from), gradient))
    }

    /// All numbers lie on the input.
    #[inline(always)]
    fn interior<V: Vector, const R: usize>(&self, sums: &mut [V; R], places: Range<usize>) {
        let at = places.start.wrapping_mul(self.step).wrapping_add(self.from);
        let mut input = self.input.get(at..).unwrap_or(&[]);
        let gradients = self.gradient.get(places.start.wrapping_mul(self.filters)..);
        let gradients = gradients.unwrap_or(&[]).chunks_exact(self.filters.max(1));
        for gradient in gradients.take(places.len()) {
            let Some((left, right)) = input.first_chunk::<R>().zip(load(gradient, self.column))
            else {
                return;
            };
            add_outer(sums, *left, right);
            input = input.get(self.step..).unwrap_or(&[]);
        }
    }

    /// Numbers on the padding count as zero: ±0.0 more in the sum, which moves no bit.
    #[inline(always)]
    fn edge<V: Vector, const R: usize>(&self, sums: &mut [V; R], places: Range<usize>) {
        for (at, gradient) in self.pairs(places) {
            let number = |r| self.input.get(at.wrapping_add(r)).copied().unwrap_or(0.0);
            let Some(right) = load(gradient, self.column) else {
                return;
            };
            add_outer(sums, core::array::from_fn(number), right);
        }
    }

    /// With one filter, whose gradient is the factor of a vector of channels.
    #[inline(always)]
    fn by_channel<V: Vector, const R: usize>(&self, sums: &mut [V; R], places: Range<usize>) {
        for (at, gradient) in self.pairs(places) {
            let Some((left, right)) = gradient.first_chunk::<R>().zip(load(self.input, at)) else {
                return;
            };
            add_outer(sums, *left, right);
        }
    }
}
