//! Two-dimensional convolutions.

use super::{
    GradientSink, Machine, Task, Tiled, Vector, Vectors, add_outer, add_products, load, sample,
    split, split_mut, store, store_transposed, tiles,
};
use crate::shape::Window;

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
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        let (samples, window) = (self.units(), self.window);
        let mut place = ForwardPlace {
            task: self,
            y: 0,
            x: 0,
        };
        for y in 0..window.y.output {
            for x in 0..window.x.output {
                (place.y, place.x) = (y, x);
                tiles::<V, ROWS, ROWS>(samples, window.channels_out, &mut place);
            }
        }
    }
}

/// All samples' sums at one place of the output: rows are samples, columns are filters.
struct ForwardPlace<'a> {
    task: Forward<'a>,
    y: usize,
    x: usize,
}

impl Tiled for ForwardPlace<'_> {
    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, column: usize) {
        let window = &self.task.window;
        let (rows, filters) = (
            window.x.input.wrapping_mul(window.channels_in),
            window.channels_out,
        );
        let ((taps_y, first_y), (taps_x, first_x)) = (window.y.taps(self.y), window.x.taps(self.x));
        // Neighbouring taps of a kernel's row lie side by side, in the input and in the weights.
        let run = taps_x.len().wrapping_mul(window.channels_in);
        let mut sums = [V::splat(0.0); R];
        for (step, ky) in taps_y.enumerate() {
            let at = first_y
                .wrapping_add(step)
                .wrapping_mul(rows)
                .wrapping_add(first_x.wrapping_mul(window.channels_in));
            let inputs = core::array::from_fn(|r| {
                let at = row
                    .wrapping_add(r)
                    .wrapping_mul(window.input_len())
                    .wrapping_add(at);
                self.task
                    .input
                    .get(at..)
                    .and_then(|rest| rest.get(..run))
                    .unwrap_or(&[])
            });
            let tap = ky
                .wrapping_mul(window.x.size)
                .wrapping_add(taps_x.start)
                .wrapping_mul(window.channels_in);
            let weights = self
                .task
                .weights
                .get(tap.wrapping_mul(filters)..)
                .unwrap_or(&[]);
            add_products(&mut sums, inputs, weights, filters, column);
        }
        let Some(bias) = load::<V>(self.task.bias, column) else {
            return;
        };
        let place = self
            .y
            .wrapping_mul(window.x.output)
            .wrapping_add(self.x)
            .wrapping_mul(filters)
            .wrapping_add(column);
        for (r, sum) in sums.into_iter().enumerate() {
            let at = row
                .wrapping_add(r)
                .wrapping_mul(window.output_len())
                .wrapping_add(place);
            store(sum.plus(bias), self.task.output, at);
        }
    }
}

/// `input_gradient[s][iy][ix][c] = Σ_oy Σ_ox Σ_f gradient[s][oy][ox][f] · weights[ky][kx][c][f]` over the windows that
/// cover the place.
#[derive(Debug)]
pub struct InputGradient<'a> {
    /// The output's gradient, transposed: `[y][x][filter][sample]`.
    pub gradient: &'a [f32],
    /// `[ky][kx][channel in][filter]`.
    pub weights: &'a [f32],
    /// `[sample][y][x][channel in]`, of the samples from `first` on.
    pub input_gradient: &'a mut [f32],
    /// The geometry.
    pub window: Window,
    /// Number of samples in `gradient`.
    pub samples: usize,
    /// The first sample that this task computes.
    pub first: usize,
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
        let (input_gradient, rest) = split_mut(
            self.input_gradient,
            units.wrapping_mul(self.window.input_len()),
        );
        let first = self.first.wrapping_add(units);
        (
            Self {
                input_gradient,
                ..self
            },
            Self {
                input_gradient: rest,
                first,
                ..self
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        let (samples, window) = (self.units(), self.window);
        let mut place = InputPlace {
            task: self,
            y: 0,
            x: 0,
        };
        for y in 0..window.y.input {
            for x in 0..window.x.input {
                (place.y, place.x) = (y, x);
                tiles::<V, ROWS, 8>(window.channels_in, samples, &mut place);
            }
        }
    }
}

/// All samples' sums at one place of the input: rows are channels, columns are samples.
struct InputPlace<'a> {
    task: InputGradient<'a>,
    y: usize,
    x: usize,
}

impl Tiled for InputPlace<'_> {
    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, column: usize) {
        let (window, samples) = (&self.task.window, self.task.samples);
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
                    sample(
                        self.task.weights,
                        tap.wrapping_add(row).wrapping_add(r),
                        filters,
                    )
                });
                let place = oy.wrapping_mul(window.x.output).wrapping_add(ox);
                let gradient = self
                    .task
                    .gradient
                    .get(place.wrapping_mul(filters).wrapping_mul(samples)..)
                    .unwrap_or(&[]);
                add_products(
                    &mut sums,
                    weights,
                    gradient,
                    samples,
                    self.task.first.wrapping_add(column),
                );
            }
        }
        let place = self
            .y
            .wrapping_mul(window.x.input)
            .wrapping_add(self.x)
            .wrapping_mul(channels)
            .wrapping_add(row);
        let at = column.wrapping_mul(window.input_len()).wrapping_add(place);
        if let Some(to) = self.task.input_gradient.get_mut(at..) {
            store_transposed(sums, to, window.input_len());
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
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        let window = self.window;
        let (input_len, output_len) = (window.input_len().max(1), window.output_len().max(1));
        let (inputs, gradients) = (
            self.input.chunks_exact(input_len),
            self.gradient.chunks_exact(output_len),
        );
        let taps = self.first..self.first.wrapping_add(self.count);
        let mut tap = WeightTap {
            input: &[],
            gradient: &[],
            sink: self.sink,
            window,
            // With one filter, the weights of a tap's channels lie side by side: vectors of them are wider.
            by_channel: window.channels_out == 1,
            ky: 0,
            kx: 0,
            at: 0,
            machine: core::marker::PhantomData::<M>,
        };
        // Sample by sample, so that its numbers stay in the nearest cache while all taps use them.
        for (input, gradient) in inputs.zip(gradients) {
            (tap.input, tap.gradient) = (input, gradient);
            for (index, place) in taps.clone().enumerate() {
                tap.ky = place.checked_div(window.x.size).unwrap_or(0);
                tap.kx = place.wrapping_sub(tap.ky.wrapping_mul(window.x.size));
                tap.at = index
                    .wrapping_mul(window.channels_in)
                    .wrapping_mul(window.channels_out);
                if tap.by_channel {
                    tiles::<V, 1, 1>(1, window.channels_in, &mut tap);
                } else {
                    tiles::<V, ROWS, 8>(window.channels_in, window.channels_out, &mut tap);
                }
            }
        }
    }
}

/// The weights of one tap (ky, kx), for one sample: rows are input channels, columns are filters. With one filter
/// (`by_channel`) columns are channels; the factors of each product change places, which moves no bit.
struct WeightTap<'a, S, M> {
    input: &'a [f32],
    gradient: &'a [f32],
    sink: S,
    window: Window,
    by_channel: bool,
    ky: usize,
    kx: usize,
    at: usize,
    machine: core::marker::PhantomData<M>,
}

impl<S: GradientSink, M: Machine> Tiled for WeightTap<'_, S, M> {
    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, column: usize) {
        let window = &self.window;
        let (channels, filters) = (window.channels_in, window.channels_out);
        let ((places_y, first_y), (places_x, first_x)) =
            (window.y.places(self.ky), window.x.places(self.kx));
        let place = |r: usize| {
            self.at
                .wrapping_add(row.wrapping_add(r).wrapping_mul(filters))
                .wrapping_add(column)
        };
        let mut sums: [V; R] = core::array::from_fn(|r| self.sink.load(place(r)));
        for (step, oy) in places_y.enumerate() {
            let iy = first_y.wrapping_add(step.wrapping_mul(window.y.stride));
            let input = sample(self.input, iy, window.x.input.wrapping_mul(channels));
            let input = input.get(first_x.wrapping_mul(channels)..).unwrap_or(&[]);
            let gradient = sample(self.gradient, oy, window.x.output.wrapping_mul(filters));
            let gradient = gradient
                .get(places_x.start.wrapping_mul(filters)..)
                .unwrap_or(&[]);
            let inputs = input.chunks(window.x.stride.saturating_mul(channels).max(1));
            let gradients = gradient.chunks_exact(filters.max(1)).take(places_x.len());
            for (input, gradient) in inputs.zip(gradients) {
                let (left, right) = if self.by_channel {
                    (gradient, input)
                } else {
                    (input, gradient)
                };
                let left = left.get(row..).and_then(|left| left.first_chunk::<R>());
                let Some((left, right)) = left.zip(load(right, column)) else {
                    return;
                };
                add_outer(&mut sums, *left, right);
            }
        }
        for (r, sum) in sums.into_iter().enumerate() {
            self.sink.store::<M, V>(place(r), sum);
        }
    }
}
