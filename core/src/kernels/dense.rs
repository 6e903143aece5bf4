//! Dense layers.

use super::{
    GradientSink, Machine, Pair, Task, Tiled, Vector, Vectors, add_outer, add_products, bands,
    load, sample, split, split_mut, store, store_transposed, tiles, tiles_from,
};

/// `output[s][o] = (Σ_i input[s][i] · weights[i][o]) + bias[o]`.
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[sample][input]`.
    pub input: &'a [f32],
    /// `[input][output]`.
    pub weights: &'a [f32],
    /// `[output]`.
    pub bias: &'a [f32],
    /// `[sample][output]`.
    pub output: &'a mut [f32],
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
}

impl Task for Forward<'_> {
    fn units(&self) -> usize {
        self.output.len().checked_div(self.outputs).unwrap_or(0)
    }

    fn operations(&self) -> usize {
        self.output.len().saturating_mul(self.inputs)
    }

    fn split(self, units: usize) -> (Self, Self) {
        let (input, input_rest) = split(self.input, units.wrapping_mul(self.inputs));
        let (output, output_rest) = split_mut(self.output, units.wrapping_mul(self.outputs));
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
        let (samples, outputs) = (self.units(), self.outputs);
        let mut column = 0;
        if ROWS > 1 && samples < 3 {
            // Too few sums for the adders if they are not of many outputs; and the weights are read in their order.
            column = bands::<Four<V::Wide>, 1, _>(samples, column, outputs, &mut self);
        }
        tiles_from::<V, ROWS, ROWS>(samples, column, outputs, &mut self);
    }
}

type Four<V> = Pair<Pair<V, V>, Pair<V, V>>;

impl Tiled for Forward<'_> {
    const AGAIN: bool = true;

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, column: usize) {
        let mut sums = [V::splat(0.0); R];
        let rows = core::array::from_fn(|r| sample(self.input, row.wrapping_add(r), self.inputs));
        add_products(&mut sums, rows, self.weights, self.outputs, column);
        let Some(bias) = load::<V>(self.bias, column) else {
            return;
        };
        for (r, sum) in sums.into_iter().enumerate() {
            let at = row
                .wrapping_add(r)
                .wrapping_mul(self.outputs)
                .wrapping_add(column);
            store(sum.plus(bias), self.output, at);
        }
    }
}

/// `input_gradient[s][i] = Σ_o gradient[s][o] · weights[i][o]`.
#[derive(Debug)]
pub struct InputGradient<'a> {
    /// The output's gradient, transposed: `[output][sample]`.
    pub gradient: &'a [f32],
    /// `[input][output]`.
    pub weights: &'a [f32],
    /// `[sample][input]`, of the samples from `first` on.
    pub input_gradient: &'a mut [f32],
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Number of samples in `gradient`.
    pub samples: usize,
    /// The first sample that this task computes.
    pub first: usize,
}

impl Task for InputGradient<'_> {
    fn units(&self) -> usize {
        self.input_gradient
            .len()
            .checked_div(self.inputs)
            .unwrap_or(0)
    }

    fn operations(&self) -> usize {
        self.input_gradient.len().saturating_mul(self.outputs)
    }

    fn split(self, units: usize) -> (Self, Self) {
        let (input_gradient, rest) =
            split_mut(self.input_gradient, units.wrapping_mul(self.inputs));
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
    fn run<M: Machine, V: Vectors, const ROWS: usize>(mut self) {
        tiles::<V, ROWS, 8>(self.inputs, self.units(), &mut self);
    }
}

impl Tiled for InputGradient<'_> {
    const AGAIN: bool = true;

    /// Rows are inputs, columns are samples.
    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, column: usize) {
        let mut sums = [V::splat(0.0); R];
        let rows =
            core::array::from_fn(|r| sample(self.weights, row.wrapping_add(r), self.outputs));
        add_products(
            &mut sums,
            rows,
            self.gradient,
            self.samples,
            self.first.wrapping_add(column),
        );
        let at = column.wrapping_mul(self.inputs).wrapping_add(row);
        if let Some(to) = self.input_gradient.get_mut(at..) {
            store_transposed(sums, to, self.inputs);
        }
    }
}

/// `weight_gradient[i][o] += Σ_s input[s][i] · gradient[s][o]`.
#[derive(Debug)]
pub struct WeightGradient<'a, S> {
    /// `[sample][input]`.
    pub input: &'a [f32],
    /// The output's gradient: `[sample][output]`.
    pub gradient: &'a [f32],
    /// Takes `[input][output]`, of the inputs from `first` on.
    pub sink: S,
    /// Number of inputs of a sample.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// The first input whose weights this task computes.
    pub first: usize,
    /// How many inputs' weights this task computes.
    pub count: usize,
}

impl<S: GradientSink> Task for WeightGradient<'_, S> {
    fn units(&self) -> usize {
        self.count
    }

    fn operations(&self) -> usize {
        self.gradient.len().saturating_mul(self.count)
    }

    fn split(self, units: usize) -> (Self, Self) {
        let (sink, rest) = self.sink.split(units.wrapping_mul(self.outputs));
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
        let (rows, columns) = (self.count, self.outputs);
        tiles::<V, ROWS, ROWS>(
            rows,
            columns,
            &mut WeightTiles::<S, M>(self, core::marker::PhantomData),
        );
    }
}

struct WeightTiles<'a, S, M>(WeightGradient<'a, S>, core::marker::PhantomData<M>);

impl<S: GradientSink, M: Machine> Tiled for WeightTiles<'_, S, M> {
    const AGAIN: bool = false;

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, column: usize) {
        let task = &mut self.0;
        let place = |r: usize| {
            row.wrapping_add(r)
                .wrapping_mul(task.outputs)
                .wrapping_add(column)
        };
        let mut sums: [V; R] = core::array::from_fn(|r| task.sink.load(place(r)));
        let inputs = task.input.chunks_exact(task.inputs.max(1));
        for (input, gradient) in inputs.zip(task.gradient.chunks_exact(task.outputs.max(1))) {
            let left = input
                .get(task.first.wrapping_add(row)..)
                .and_then(|input| input.first_chunk::<R>());
            let Some((left, right)) = left.zip(load(gradient, column)) else {
                return;
            };
            add_outer(&mut sums, *left, right);
        }
        for (r, sum) in sums.into_iter().enumerate() {
            task.sink.store::<M, V>(place(r), sum);
        }
    }
}
