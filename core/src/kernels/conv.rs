//! Two-dimensional convolutions.

use core::ops::Range;

use super::{
    GradientSink, MOST_LANES, Machine, Pair, Task, Tiled, Vector, Vectors, add_outer, add_products,
    bands, load, runs, sample, split, split_mut, store, tiles, tiles_from, transpose,
};
use crate::shape::{Axis, Window};

/// `output[s][oy][ox][f] = (Σ_ky Σ_kx Σ_c input[s][iy][ix][c] · weights[ky][kx][c][f]) + bias[f]`
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
        let (samples, window) = (self.units(), self.window);
        if ROWS > 1 && window.channels_out == 1 && self.scan::<V, ROWS>() {
            return;
        }
        let lens = (window.input_len(), window.output_len());
        let steps = (
            window.x.stride.wrapping_mul(window.channels_in),
            window.channels_out,
        );
        let mut sums = ForwardSums {
            task: self,
            group: Group::default(),
            vectors: core::marker::PhantomData::<V>,
        };
        let interior = window.x.interior();
        let places = (window.y.output, window.x.output);
        groups::<ROWS>(samples, places, interior, lens, steps, &mut sums);
    }
}

/// Places whose sums are made alike, so that they can be the rows of tiles: neighbours in a row of a picture whose windows
/// lie wholly on the input, or the same place of several samples.
#[derive(Clone, Copy, Default)]
struct Group {
    /// The first place.
    y: usize,
    x: usize,
    /// How many.
    count: usize,
    /// Where the first one's sample begins in what is read, and how far the next one's numbers are.
    from: usize,
    from_step: usize,
    /// Where the first one's sums are written, and how far the next one's are.
    to: usize,
    to_step: usize,
}

/// The most places of a tile: as many as keep the adders busy; with more, the compiler runs out of registers for where
/// their numbers lie.
const PLACES: usize = 6;

/// Sums that are made for a group of places at a time. Not a closure, which would not be compiled with the processor
/// features of the caller.
trait Grouped {
    fn group<const ROWS: usize>(&mut self, group: Group);
}

/// Hands `work` the groups of places that make up `samples` pictures of `places` rows and columns. `lens` are the elements
/// of a sample in what is read and in what is written, `steps` the elements from one place of a row to the next;
/// `interior` are the places of a row that take the same taps.
#[inline(always)]
fn groups<const ROWS: usize>(
    samples: usize,
    places: (usize, usize),
    interior: Range<usize>,
    lens: (usize, usize),
    steps: (usize, usize),
    work: &mut impl Grouped,
) {
    let (rows, columns) = places;
    let neighbours = ROWS > 1 && interior.len() >= PLACES.min(samples.saturating_mul(2));
    for y in 0..rows {
        let mut x = 0;
        while x < columns {
            let along = neighbours && x == interior.start;
            let (times, count, next) = if along {
                (samples, interior.len(), interior.end)
            } else {
                (1, samples, x.wrapping_add(1))
            };
            let place = y
                .wrapping_mul(columns)
                .wrapping_add(x)
                .wrapping_mul(steps.1);
            let (from_step, to_step) = if along { steps } else { lens };
            for sample in 0..times {
                work.group::<ROWS>(Group {
                    y,
                    x,
                    count,
                    from: sample.wrapping_mul(lens.0),
                    from_step,
                    to: sample.wrapping_mul(lens.1).wrapping_add(place),
                    to_step,
                });
            }
            x = next;
        }
    }
}

/// A group's sums: rows are places, columns are filters.
struct ForwardSums<'a, V> {
    task: Forward<'a>,
    group: Group,
    vectors: core::marker::PhantomData<V>,
}

impl<V: Vectors> Grouped for ForwardSums<'_, V> {
    #[inline(always)]
    fn group<const ROWS: usize>(&mut self, group: Group) {
        self.group = group;
        let filters = self.task.window.channels_out;
        if ROWS > 1 {
            tiles::<V, PLACES, PLACES>(group.count, filters, self);
        } else {
            tiles::<V, 1, 1>(group.count, filters, self);
        }
    }
}

impl<Of> Tiled for ForwardSums<'_, Of> {
    const AGAIN: bool = true;

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, column: usize) {
        let (window, group) = (&self.task.window, &self.group);
        let (channels, filters) = (window.channels_in, window.channels_out);
        let ((taps_y, first_y), (taps_x, first_x)) =
            (window.y.taps(group.y), window.x.taps(group.x));
        // Neighbouring taps of a kernel's row lie side by side, in the input and in the weights.
        let run = taps_x.len().wrapping_mul(channels);
        let from = group.from.wrapping_add(row.wrapping_mul(group.from_step));
        let mut sums = [V::splat(0.0); R];
        for (step, ky) in taps_y.enumerate() {
            let at = first_y
                .wrapping_add(step)
                .wrapping_mul(window.x.input)
                .wrapping_add(first_x)
                .wrapping_mul(channels);
            let at = from.wrapping_add(at);
            let tap = ky
                .wrapping_mul(window.x.size)
                .wrapping_add(taps_x.start)
                .wrapping_mul(channels);
            let weights = self
                .task
                .weights
                .get(tap.wrapping_mul(filters)..)
                .unwrap_or(&[]);
            let (input, step) = (self.task.input, group.from_step);
            add_run(&mut sums, input, at, step, run, weights, filters, column);
        }
        let Some(bias) = load::<V>(self.task.bias, column) else {
            return;
        };
        for (r, sum) in sums.into_iter().enumerate() {
            let at = row
                .wrapping_add(r)
                .wrapping_mul(group.to_step)
                .wrapping_add(group.to)
                .wrapping_add(column);
            store(sum.plus(bias), self.task.output, at);
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
                        *output = sum + bias;
                    }
                }
            }
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
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        let (samples, window) = (self.units(), self.window);
        let taps = window.y.size.wrapping_mul(window.x.size);
        let products = taps.saturating_mul(window.channels_out);
        if ROWS > 1 && products.saturating_mul(V::Wide::LANES) <= SCRATCH.wrapping_mul(2) {
            let mut scratch = Scratch([0.0; SCRATCH.wrapping_mul(2)]);
            let mut channels = InputChannels::<ROWS> {
                task: self,
                samples,
                turned: &mut scratch.0,
            };
            tiles::<V, 1, 1>(1, window.channels_in, &mut channels);
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

/// All sums, for a vector of channels at a time.
struct InputChannels<'a, 's, const ROWS: usize> {
    task: InputGradient<'a>,
    samples: usize,
    /// Room for `[ky][kx, the last first][filter][lane]`.
    turned: &'s mut [f32],
}

impl<const ROWS: usize> Tiled for InputChannels<'_, '_, ROWS> {
    const AGAIN: bool = true;

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, _row: usize, column: usize) {
        let window = self.task.window;
        let (channels, filters) = (window.channels_in, window.channels_out);
        let (size, lanes) = (window.x.size, V::LANES);
        let turned = self
            .turned
            .chunks_exact_mut(filters.wrapping_mul(lanes).max(1));
        for (tap, turned) in turned.enumerate() {
            let ky = tap.checked_div(size).unwrap_or(0);
            // The other way round along the row, for where the place of the output goes up, the tap goes down.
            let kx = size
                .wrapping_sub(1)
                .wrapping_sub(tap.wrapping_sub(ky.wrapping_mul(size)));
            let tap = ky
                .wrapping_mul(size)
                .wrapping_add(kx)
                .wrapping_mul(channels);
            let tap = tap.wrapping_add(column).wrapping_mul(filters);
            let Some(weights) = self.task.weights.get(tap..) else {
                break;
            };
            for (lane, weights) in weights.chunks(filters.max(1)).take(lanes).enumerate() {
                for (turned, weight) in turned.chunks_exact_mut(lanes).zip(weights) {
                    if let Some(turned) = turned.get_mut(lane) {
                        *turned = *weight;
                    }
                }
            }
        }
        let interior = if window.x.stride == 1 {
            let x = window.x;
            let mirrored = Axis {
                input: x.output,
                output: x.input,
                before: x.size.wrapping_sub(1).wrapping_sub(x.before),
                ..x
            };
            mirrored.interior()
        } else {
            0..0
        };
        let mut sums = InputSums {
            gradient: self.task.gradient,
            turned: &*self.turned,
            input_gradient: &mut *self.task.input_gradient,
            window,
            group: Group::default(),
            column,
            vector: core::marker::PhantomData::<V>,
        };
        groups::<ROWS>(
            self.samples,
            (window.y.input, window.x.input),
            interior,
            (window.output_len(), window.input_len()),
            (filters, channels),
            &mut sums,
        );
    }
}

/// A group's sums of a vector of channels: rows are places.
struct InputSums<'a, V> {
    gradient: &'a [f32],
    turned: &'a [f32],
    input_gradient: &'a mut [f32],
    window: Window,
    group: Group,
    /// The first channel.
    column: usize,
    vector: core::marker::PhantomData<V>,
}

impl<V: Vector> Grouped for InputSums<'_, V> {
    #[inline(always)]
    fn group<const ROWS: usize>(&mut self, group: Group) {
        self.group = group;
        bands::<V, PLACES, _>(group.count, 0, V::LANES, self);
    }
}

impl<Of> Tiled for InputSums<'_, Of> {
    const AGAIN: bool = true;

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, _column: usize) {
        let (window, group) = (&self.window, &self.group);
        let filters = window.channels_out;
        let ((windows_y, first_ky), (windows_x, first_kx)) =
            (window.y.windows(group.y), window.x.windows(group.x));
        let from = group.from.wrapping_add(row.wrapping_mul(group.from_step));
        let mut sums = [V::splat(0.0); R];
        for (step_y, oy) in windows_y.enumerate() {
            let ky = first_ky.wrapping_sub(step_y.wrapping_mul(window.y.stride));
            let tap = ky
                .wrapping_add(1)
                .wrapping_mul(window.x.size)
                .wrapping_sub(1)
                .wrapping_sub(first_kx);
            let at = oy
                .wrapping_mul(window.x.output)
                .wrapping_add(windows_x.start)
                .wrapping_mul(filters);
            // Neighbouring taps lie side by side on both sides.
            let (times, count) = if window.x.stride == 1 {
                (1, windows_x.len())
            } else {
                (windows_x.len(), 1)
            };
            for step in 0..times {
                let at = from
                    .wrapping_add(at)
                    .wrapping_add(step.wrapping_mul(filters));
                let length = count.wrapping_mul(filters);
                let tap = tap.wrapping_add(step.wrapping_mul(window.x.stride));
                let turned = self
                    .turned
                    .get(tap.wrapping_mul(filters).wrapping_mul(V::LANES)..)
                    .unwrap_or(&[]);
                let (gradient, step) = (self.gradient, group.from_step);
                add_run(&mut sums, gradient, at, step, length, turned, V::LANES, 0);
            }
        }
        for (r, sum) in sums.into_iter().enumerate() {
            let at = row
                .wrapping_add(r)
                .wrapping_mul(group.to_step)
                .wrapping_add(group.to)
                .wrapping_add(self.column);
            store(sum, self.input_gradient, at);
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
                let first = block.wrapping_mul(rows).wrapping_mul(window.y.stride);
                copy_padded(&window, input, first, padded, row_len);
                for (filter, sums) in sums.chunks_exact_mut(sums_len.max(1)).enumerate() {
                    let listed = list(&window, gradient, filter, row_len, &mut listed);
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
                        Spread {
                            padded: padded.get(tap..).unwrap_or(&[]),
                            row_len,
                            listed,
                            sums: sums.get_mut(at..).unwrap_or(&mut []),
                            pitch,
                        }
                        .run::<V>(count, length);
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
        let is_nonzero = |gradient: &f32| u32::from(*gradient != 0.0);
        most >= all || most >= self.gradient.iter().map(is_nonzero).sum::<u32>() as usize
    }
}

/// Sums of weights that are kept while gradients are spread.
const SPREAD_SUMS: usize = 4096;

/// Places of an output that are listed at a time.
const LISTED: usize = 1024;

/// Copies the rows of a sample from `first` on, as many as there is room for; row 0 is the padding's first. The padding on
/// the left and right is there already.
#[inline(always)]
fn copy_padded(window: &Window, input: &[f32], first: usize, padded: &mut [f32], row_len: usize) {
    let before = window.x.before.wrapping_mul(window.channels_in);
    for (index, padded) in padded.chunks_exact_mut(row_len).enumerate() {
        let iy = first.wrapping_add(index).checked_sub(window.y.before);
        let row = iy.map_or(&[][..], |iy| {
            sample(input, iy, window.x.input.wrapping_mul(window.channels_in))
        });
        if row.is_empty() {
            padded.fill(0.0);
        }
        let padded = padded.get_mut(before..).unwrap_or(&mut []);
        padded
            .iter_mut()
            .zip(row)
            .for_each(|(to, from)| *to = *from);
    }
}

/// The places where the gradient of a filter is not zero: where the window begins in the padded input, and the
/// gradient's bits.
#[inline(always)]
fn list<'l>(
    window: &Window,
    gradient: &[f32],
    filter: usize,
    row_len: usize,
    listed: &'l mut [(u32, u32)],
) -> &'l [(u32, u32)] {
    let filters = window.channels_out.max(1);
    let mut length: usize = 0;
    let rows = gradient.chunks_exact(window.x.output.wrapping_mul(filters).max(1));
    let step = window.x.stride.wrapping_mul(window.channels_in) as u32;
    for (oy, row) in rows.enumerate() {
        let mut at = oy.wrapping_mul(window.y.stride).wrapping_mul(row_len) as u32;
        for gradient in row.iter().skip(filter).step_by(filters) {
            let bits = gradient.to_bits();
            if let Some(entry) = listed.get_mut(length) {
                *entry = (at, bits);
            }
            // Without a branch that nobody could predict; the sign is left out.
            length = length.wrapping_add(usize::from(bits << 1 != 0));
            at = at.wrapping_add(step);
        }
    }
    listed.get(..length).unwrap_or(&[])
}

/// Sums of one filter: rows are rows of the kernel, columns are the numbers under them.
struct Spread<'a> {
    /// From the first tap on.
    padded: &'a [f32],
    row_len: usize,
    listed: &'a [(u32, u32)],
    /// In rows of `pitch`.
    sums: &'a mut [f32],
    pitch: usize,
}

impl Spread<'_> {
    /// For `rows` rows of the kernel, with `run` numbers under each: as many vectors at a time as keep the adders busy.
    #[inline(always)]
    fn run<V: Vectors>(mut self, rows: usize, run: usize) {
        let columns = run.next_multiple_of(if run > 8 { MOST_LANES } else { 8 });
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
        let at = row.wrapping_mul(self.row_len).wrapping_add(column);
        let last = at.wrapping_add(R.wrapping_sub(1).wrapping_mul(self.row_len));
        let length = self.padded.len().saturating_sub(last);
        let mut rows: [&[f32]; R] = runs(self.padded, at, self.row_len, length);
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
