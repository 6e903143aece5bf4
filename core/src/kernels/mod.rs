//! The arithmetic: pure functions on slices, a file for each kind of layer, forward and backward side by side.
//!
//! Every kernel is a [`Task`]: it works on a batch of samples, its outputs fall into units that know nothing of
//! one another, and an [`Executor`] decides how wide the vectors are and which thread computes which units. None
//! of that moves a bit, for the order of operations within one output element is fixed:
//!
//! | value | starts at +0.0 and adds its products in ascending order of |
//! | --- | --- |
//! | dense, forward | input |
//! | convolution, forward | ky, kx, channel in |
//! | dense, input gradient | output |
//! | convolution, input gradient | output row, output column, channel out |
//! | weight and bias gradients | sample, output row, output column |
//! | pooling and upsampling gradients | output row, output column, then ky, kx |
//!
//! Multiply and add are rounded separately. The bias is added after the sum, then comes the activation. [`naive`]
//! says the same in plain loops, and every kernel equals it to the bit.
//!
//! Taps on the padding are left out. In the specification they add the product of zero and a finite number, ±0.0,
//! to a sum that started at +0.0; such a sum is never -0.0 (in round-to-nearest, only adding two -0.0 gives -0.0),
//! so adding ±0.0 changes no bit of it.

pub mod activation;
pub mod conv;
pub mod dense;
pub mod naive;
pub mod pool;
pub mod upsample;

use core::ops::Range;

/// What a processor brings besides the four operations.
pub trait Machine {
    /// The square root, rounded correctly (IEEE 754), by an instruction where there is one.
    fn sqrt(x: f32) -> f32;
}

/// The machine of which nothing is known: everything in portable code.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Machine for Portable {
    #[inline(always)]
    fn sqrt(x: f32) -> f32 {
        crate::math::sqrt(x)
    }
}

/// The most lanes that a [`Vector`] may have.
pub const MOST_LANES: usize = 16;

/// A few neighbouring numbers, on which one instruction works at a time where the processor has such instructions.
///
/// Every lane is rounded as if it stood alone; multiply and add are two operations.
pub trait Vector: Copy + Send {
    /// How many numbers.
    const LANES: usize;

    /// The same number in every lane.
    fn splat(x: f32) -> Self;

    /// The first numbers of `from`; `None` where it has too few.
    fn load(from: &[f32]) -> Option<Self>;

    /// Writes to the first places of `to`; nothing where it has too few.
    fn store(self, to: &mut [f32]);

    /// The sums, lane by lane.
    fn plus(self, other: Self) -> Self;

    /// The products, lane by lane.
    fn times(self, other: Self) -> Self;

    /// Lane by lane, `other` where it is larger, this one where not.
    fn largest(self, other: Self) -> Self;

    /// Whether no lane is an infinity or a NaN.
    fn is_finite(self) -> bool;

    /// Lane by lane: the lane of `values` where this one and `other` are equal, `otherwise` where not.
    fn where_equal(self, other: Self, values: Self, otherwise: Self) -> Self;
}

/// A vector whose lanes an instruction moves.
pub trait Interleave: Vector {
    /// The lanes of the two by turns, this one's first: the first half of them, and the second.
    fn interleave(self, other: Self) -> (Self, Self);
}

impl<const N: usize> Vector for [f32; N] {
    const LANES: usize = N;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        [x; N]
    }

    #[inline(always)]
    fn load(from: &[f32]) -> Option<Self> {
        from.first_chunk().copied()
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        if let Some(to) = to.first_chunk_mut() {
            *to = self;
        }
    }

    #[inline(always)]
    fn plus(mut self, other: Self) -> Self {
        self.iter_mut().zip(other).for_each(|(x, y)| *x += y);
        self
    }

    #[inline(always)]
    fn times(mut self, other: Self) -> Self {
        self.iter_mut().zip(other).for_each(|(x, y)| *x *= y);
        self
    }

    #[inline(always)]
    fn largest(mut self, other: Self) -> Self {
        let lanes = self.iter_mut().zip(other);
        lanes.for_each(|(x, y)| *x = if y > *x { y } else { *x });
        self
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        activation::all_finite(&self)
    }

    #[inline(always)]
    fn where_equal(self, other: Self, values: Self, mut otherwise: Self) -> Self {
        let lanes = otherwise.iter_mut().zip(values);
        for ((otherwise, value), (x, y)) in lanes.zip(self.into_iter().zip(other)) {
            *otherwise = if x == y { value } else { *otherwise };
        }
        otherwise
    }
}

impl<const N: usize> Interleave for [f32; N] {
    #[inline(always)]
    fn interleave(self, other: Self) -> (Self, Self) {
        let lane = |at: usize| {
            let from = if at & 1 == 0 { &self } else { &other };
            from.get(at >> 1).copied().unwrap_or(0.0)
        };
        (
            core::array::from_fn(lane),
            core::array::from_fn(|at| lane(at.wrapping_add(N))),
        )
    }
}

/// Two vectors side by side: more sums for each number that is loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair<A, B>(A, B);

impl<A: Vector, B: Vector> Vector for Pair<A, B> {
    const LANES: usize = A::LANES.wrapping_add(B::LANES);

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self(A::splat(x), B::splat(x))
    }

    #[inline(always)]
    fn load(from: &[f32]) -> Option<Self> {
        let (first, second) = from.get(..Self::LANES)?.split_at_checked(A::LANES)?;
        Some(Self(A::load(first)?, B::load(second)?))
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        let halves = to.get_mut(..Self::LANES);
        if let Some((first, second)) = halves.and_then(|to| to.split_at_mut_checked(A::LANES)) {
            self.0.store(first);
            self.1.store(second);
        }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(self.0.plus(other.0), self.1.plus(other.1))
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        Self(self.0.times(other.0), self.1.times(other.1))
    }

    #[inline(always)]
    fn largest(self, other: Self) -> Self {
        Self(self.0.largest(other.0), self.1.largest(other.1))
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        self.0.is_finite() & self.1.is_finite()
    }

    #[inline(always)]
    fn where_equal(self, other: Self, values: Self, otherwise: Self) -> Self {
        Self(
            self.0.where_equal(other.0, values.0, otherwise.0),
            self.1.where_equal(other.1, values.1, otherwise.1),
        )
    }
}

/// The vectors that a processor has.
pub trait Vectors {
    /// The widest.
    type Wide: Interleave;
    /// Eight numbers, for the right edges of matrices.
    type Eight: Interleave;
    /// Four numbers.
    type Four: Interleave;
}

impl Vectors for Portable {
    type Wide = [f32; 8];
    type Eight = [f32; 8];
    type Four = [f32; 4];
}

/// A piece of arithmetic whose outputs can be computed apart from one another.
pub trait Task: Sized + Send {
    /// How many independent units of output there are.
    fn units(&self) -> usize;

    /// About how many elementary operations the whole task takes: whether it is worth a second thread.
    fn operations(&self) -> usize;

    /// Two tasks: the first `units` units, and the others.
    fn split(self, units: usize) -> (Self, Self);

    /// Computes all units, with tiles of up to `ROWS` vectors of sums kept in registers.
    ///
    /// Implementations are `#[inline(always)]`, so that they are compiled with the processor features of the caller.
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self);
}

/// Who computes tasks: one core with portable code, or a desktop's threads with wide vectors.
pub trait Executor: Sync {
    /// Computes the whole task before it returns.
    fn execute<T: Task>(&self, task: T);

    /// Does two things that know nothing of one another, of about `operations` elementary operations together, before it
    /// returns: one after the other where there is one core.
    #[inline]
    fn join(&self, operations: usize, first: impl FnOnce() + Send, second: impl FnOnce() + Send) {
        let _ = operations;
        first();
        second();
    }
}

/// Computes everything on the calling core, in portable code with tiles that suit 32 floating-point registers.
#[derive(Clone, Copy, Debug)]
pub struct Sequential<M = Portable>(core::marker::PhantomData<fn() -> M>);

impl<M> Sequential<M> {
    /// The executor.
    #[must_use]
    pub const fn new() -> Self {
        Self(core::marker::PhantomData)
    }
}

impl<M> Default for Sequential<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Machine> Executor for Sequential<M> {
    #[inline]
    fn execute<T: Task>(&self, task: T) {
        task.run::<M, Portable, 1>();
    }
}

/// A matrix of sums that is computed tile by tile.
pub(crate) trait Tiled {
    /// Whether a sum may be computed twice, with the same result: then the last rows are a tile that begins further up.
    const AGAIN: bool;

    /// Computes the sums of rows `row..row + R` and columns `column..column + V::LANES`.
    fn tile<V: Vector, const R: usize>(&mut self, row: usize, column: usize);
}

/// Covers `rows` x `columns` with tiles: `ROWS` of the widest vectors where they fit, narrower ones at the right edge. In
/// single columns a tile has `TAIL` rows.
#[inline(always)]
pub(crate) fn tiles<V: Vectors, const ROWS: usize, const TAIL: usize>(
    rows: usize,
    columns: usize,
    matrix: &mut impl Tiled,
) {
    tiles_from::<V, ROWS, TAIL>(rows, 0, columns, matrix);
}

/// As [`tiles`], but for the columns from `column` on.
#[inline(always)]
pub(crate) fn tiles_from<V: Vectors, const ROWS: usize, const TAIL: usize>(
    rows: usize,
    mut column: usize,
    columns: usize,
    matrix: &mut impl Tiled,
) {
    column = bands::<V::Wide, ROWS, _>(rows, column, columns, matrix);
    if V::Wide::LANES > 8 {
        column = bands::<V::Eight, ROWS, _>(rows, column, columns, matrix);
    }
    if V::Wide::LANES > 4 {
        column = bands::<V::Four, ROWS, _>(rows, column, columns, matrix);
    }
    bands::<[f32; 1], TAIL, _>(rows, column, columns, matrix);
}

/// Covers as many columns from `column` on as tiles of the vector `V` can; the first column that is left.
#[inline(always)]
pub(crate) fn bands<V: Vector, const R: usize, T: Tiled>(
    rows: usize,
    mut column: usize,
    columns: usize,
    matrix: &mut T,
) -> usize {
    while columns.wrapping_sub(column) >= V::LANES {
        let mut row: usize = 0;
        while rows.wrapping_sub(row) >= R {
            matrix.tile::<V, R>(row, column);
            row = row.wrapping_add(R);
        }
        // One row at a time is slow. On a device tiles have but one, where sums are vectors.
        while R > 3 && V::LANES > 1 && row < rows && rows >= 3 {
            let left = rows.wrapping_sub(row);
            if left < 3 && !T::AGAIN {
                break;
            }
            matrix.tile::<V, 3>(row.min(rows.wrapping_sub(3)), column);
            row = row.wrapping_add(3).min(rows);
        }
        while row < rows {
            matrix.tile::<V, 1>(row, column);
            row = row.wrapping_add(1);
        }
        column = column.wrapping_add(V::LANES);
    }
    column
}

/// The transposed of a square of `N` vectors of `N` lanes: interleaving the first half of the rows with the second is a
/// perfect shuffle of all elements, and as many of them as there are bits in a row's number swap rows and columns.
#[inline(always)]
pub(crate) fn transposed<V: Interleave, const N: usize>(mut rows: [V; N]) -> [V; N] {
    let mut stage = N;
    while stage > 1 {
        let mut next = rows;
        let (first, second) = rows.split_at_checked(N >> 1).unwrap_or((&[], &[]));
        let pairs = first.iter().zip(second);
        for (to, (first, second)) in next.chunks_exact_mut(2).zip(pairs) {
            if let [low, high] = to {
                (*low, *high) = first.interleave(*second);
            }
        }
        rows = next;
        stage >>= 1;
    }
    rows
}

/// `to[column * to_stride + row] = from[row * from_stride + column]` for a matrix of `rows` x `columns`.
#[inline(always)]
pub(crate) fn transpose<V: Vectors, const ROWS: usize>(
    from: &[f32],
    from_stride: usize,
    rows: usize,
    columns: usize,
    to: &mut [f32],
    to_stride: usize,
) {
    let mut copy = Copied {
        from,
        from_stride,
        to,
        to_stride,
    };
    let mut row: usize = 0;
    if ROWS > 1 {
        row = squares::<V::Wide>(&mut copy, row, rows, columns);
        if V::Wide::LANES > 8 {
            row = squares::<V::Eight>(&mut copy, row, rows, columns);
        }
        if V::Wide::LANES > 4 {
            row = squares::<V::Four>(&mut copy, row, rows, columns);
        }
    }
    copy.singly(row..rows, 0..columns);
}

/// Transposes the rows from `row` on by squares of the vector, where there are enough rows for one; the last squares begin
/// further up and write some numbers again. The first row that is left.
#[inline(always)]
fn squares<V: Interleave>(
    copy: &mut Copied<'_>,
    mut row: usize,
    rows: usize,
    columns: usize,
) -> usize {
    while row < rows && rows >= V::LANES && columns >= V::LANES {
        let top = row.min(rows.wrapping_sub(V::LANES));
        let mut column: usize = 0;
        while column < columns {
            let left = column.min(columns.wrapping_sub(V::LANES));
            match V::LANES {
                16 => copy.square::<V, 16>(top, left),
                8 => copy.square::<V, 8>(top, left),
                4 => copy.square::<V, 4>(top, left),
                _ => copy.singly(top..top.wrapping_add(V::LANES), left..columns),
            }
            column = column.wrapping_add(V::LANES);
        }
        row = row.wrapping_add(V::LANES).min(rows);
    }
    row
}

/// A matrix and what becomes its transposed.
struct Copied<'a> {
    from: &'a [f32],
    from_stride: usize,
    to: &'a mut [f32],
    to_stride: usize,
}

impl Copied<'_> {
    #[inline(always)]
    fn square<V: Interleave, const N: usize>(&mut self, row: usize, column: usize) {
        let place = |r: usize| row.wrapping_add(r).wrapping_mul(self.from_stride);
        let square: [V; N] = core::array::from_fn(|r| {
            load(self.from, place(r).wrapping_add(column)).unwrap_or(V::splat(0.0))
        });
        for (c, vector) in transposed(square).into_iter().enumerate() {
            let at = column.wrapping_add(c).wrapping_mul(self.to_stride);
            store(vector, self.to, at.wrapping_add(row));
        }
    }

    #[inline(always)]
    fn singly(&mut self, rows: Range<usize>, columns: Range<usize>) {
        for row in rows {
            let from = row.wrapping_mul(self.from_stride);
            let from = from.wrapping_add(columns.start);
            let from = self.from.get(from..).unwrap_or(&[]);
            let to = columns.start.wrapping_mul(self.to_stride);
            let to = self.to.get_mut(to..).unwrap_or(&mut []);
            let to = to.chunks_mut(self.to_stride.max(1)).take(columns.len());
            for (to, from) in to.zip(from) {
                if let Some(to) = to.get_mut(row) {
                    *to = *from;
                }
            }
        }
    }
}

/// `R` runs of `length` numbers, the first at `at`, each next one `step` further on.
#[inline(always)]
pub(crate) fn runs<const R: usize>(
    from: &[f32],
    at: usize,
    step: usize,
    length: usize,
) -> [&[f32]; R] {
    core::array::from_fn(|r| {
        from.get(at.wrapping_add(r.wrapping_mul(step))..)
            .and_then(|rest| rest.get(..length))
            .unwrap_or(&[])
    })
}

/// `sums[r][w] += rows[r][k] * columns[k][column + w]` for each k in ascending order; `columns` has rows of `stride`.
#[inline(always)]
pub(crate) fn add_products<V: Vector, const R: usize>(
    sums: &mut [V; R],
    rows: [&[f32]; R],
    columns: &[f32],
    stride: usize,
    column: usize,
) {
    let length = rows.first().map_or(0, |row| row.len());
    let mut cut: [&[f32]; R] = [&[]; R];
    for (cut, row) in cut.iter_mut().zip(rows) {
        // From here on the compiler knows that all rows have `length` elements, and leaves the checks below out.
        let Some(row) = row.get(..length) else { return };
        *cut = row;
    }
    for (right, k) in columns.chunks_exact(stride.max(1)).zip(0..length) {
        let Some(right) = load::<V>(right, column) else {
            return;
        };
        add_outer(
            sums,
            cut.map(|row| row.get(k).copied().unwrap_or(0.0)),
            right,
        );
    }
}

/// `sums[r][w] += left[r] * right[w]`.
#[inline(always)]
pub(crate) fn add_outer<V: Vector, const R: usize>(sums: &mut [V; R], left: [f32; R], right: V) {
    for (sum, left) in sums.iter_mut().zip(left) {
        *sum = sum.plus(V::splat(left).times(right));
    }
}

/// The vector at `at`.
#[inline(always)]
pub(crate) fn load<V: Vector>(slice: &[f32], at: usize) -> Option<V> {
    V::load(slice.get(at..)?)
}

/// Writes a vector to `at`.
#[inline(always)]
pub(crate) fn store<V: Vector>(vector: V, slice: &mut [f32], at: usize) {
    if let Some(to) = slice.get_mut(at..) {
        vector.store(to);
    }
}

/// Writes the vectors of a tile transposed: lane w of `sums[r]` to `to[w * stride + r]`.
#[inline(always)]
pub(crate) fn store_transposed<V: Vector, const R: usize>(
    sums: [V; R],
    to: &mut [f32],
    stride: usize,
) {
    let mut lanes = [[0.0f32; MOST_LANES]; R];
    for (lanes, sum) in lanes.iter_mut().zip(sums) {
        sum.store(lanes);
    }
    for (w, to) in to
        .chunks_mut(stride.max(1))
        .take(V::LANES.min(MOST_LANES))
        .enumerate()
    {
        for (to, lanes) in to.iter_mut().zip(&lanes) {
            *to = lanes.get(w).copied().unwrap_or(0.0);
        }
    }
}

/// Sample `index` of a batch whose samples have `length` elements; empty where there is none.
#[inline(always)]
pub(crate) fn sample(batch: &[f32], index: usize, length: usize) -> &[f32] {
    batch
        .get(index.wrapping_mul(length)..)
        .and_then(|rest| rest.get(..length))
        .unwrap_or(&[])
}

/// Splits two halves off a mutable slice without a panic: a point behind the end leaves the second half empty.
#[inline(always)]
pub(crate) fn split_mut(slice: &mut [f32], at: usize) -> (&mut [f32], &mut [f32]) {
    let at = at.min(slice.len());
    slice.split_at_mut_checked(at).unwrap_or((&mut [], &mut []))
}

/// As [`split_mut`], for a shared slice.
#[inline(always)]
pub(crate) fn split(slice: &[f32], at: usize) -> (&[f32], &[f32]) {
    slice
        .split_at_checked(at.min(slice.len()))
        .unwrap_or((&[], &[]))
}

/// Where the gradient of a weight goes.
///
/// Accumulated gradients continue the sum that is in memory, over as many calls as the batch needs; a fused update
/// starts each sum at +0.0, and hands it to the optimizer as soon as it is whole.
pub trait GradientSink: Send + Sized {
    /// The sums so far of the gradients from `at` on.
    fn load<V: Vector>(&self, at: usize) -> V;

    /// Takes the new sums of the gradients from `at` on.
    fn store<M: Machine, V: Vector>(&mut self, at: usize, sums: V);

    /// Two sinks: of the first `at` gradients, and of the others.
    fn split(self, at: usize) -> (Self, Self);
}

/// Gradients accumulated in memory.
#[derive(Debug)]
pub struct Accumulate<'a>(pub &'a mut [f32]);

impl GradientSink for Accumulate<'_> {
    #[inline(always)]
    fn load<V: Vector>(&self, at: usize) -> V {
        load(self.0, at).unwrap_or(V::splat(0.0))
    }

    #[inline(always)]
    fn store<M: Machine, V: Vector>(&mut self, at: usize, sums: V) {
        store(sums, self.0, at);
    }

    fn split(self, at: usize) -> (Self, Self) {
        let (first, second) = split_mut(self.0, at);
        (Self(first), Self(second))
    }
}

/// The bias gradients: column sums of the output gradient, over samples, rows and columns in ascending order.
#[derive(Debug)]
pub struct BiasGradient<'a, S> {
    /// The output's gradient: rows of `outputs` elements.
    pub gradient: &'a [f32],
    /// Number of biases.
    pub outputs: usize,
    /// Takes the sums.
    pub sink: S,
}

impl<S: GradientSink> Task for BiasGradient<'_, S> {
    fn units(&self) -> usize {
        1
    }

    fn operations(&self) -> usize {
        self.gradient.len()
    }

    fn split(self, _units: usize) -> (Self, Self) {
        let (sink, none) = self.sink.split(self.outputs);
        (
            Self { sink, ..self },
            Self {
                gradient: &[],
                outputs: 0,
                sink: none,
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(mut self) {
        struct Columns<'t, 'a, S, M>(&'t mut BiasGradient<'a, S>, core::marker::PhantomData<M>);
        impl<S: GradientSink, M: Machine> Tiled for Columns<'_, '_, S, M> {
            const AGAIN: bool = false;

            #[inline(always)]
            fn tile<V: Vector, const R: usize>(&mut self, _row: usize, column: usize) {
                let mut sums: V = self.0.sink.load(column);
                for row in self.0.gradient.chunks_exact(self.0.outputs.max(1)) {
                    let Some(row) = load(row, column) else { return };
                    sums = sums.plus(row);
                }
                self.0.sink.store::<M, V>(column, sums);
            }
        }
        let columns = self.outputs;
        tiles::<V, 1, 1>(
            1,
            columns,
            &mut Columns::<S, M>(&mut self, core::marker::PhantomData),
        );
    }
}

/// `columns[element][sample]` of `rows[sample][element]`: lets gradients vectorize across samples.
#[derive(Debug)]
pub struct Transpose<'a> {
    /// `[sample][element]`.
    pub rows: &'a [f32],
    /// `[element][sample]`.
    pub columns: &'a mut [f32],
    /// Number of elements of a sample.
    pub elements: usize,
    /// Number of samples.
    pub samples: usize,
    /// The first element that this task writes.
    pub first: usize,
}

impl Task for Transpose<'_> {
    fn units(&self) -> usize {
        self.columns.len().checked_div(self.samples).unwrap_or(0)
    }

    fn operations(&self) -> usize {
        self.columns.len()
    }

    fn split(self, units: usize) -> (Self, Self) {
        let (first, second) = split_mut(self.columns, units.wrapping_mul(self.samples));
        let at = self.first.wrapping_add(units);
        (
            Self {
                columns: first,
                ..self
            },
            Self {
                rows: self.rows,
                columns: second,
                first: at,
                ..self
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        let units = self.units();
        transpose::<V, ROWS>(
            self.rows.get(self.first..).unwrap_or(&[]),
            self.elements,
            self.samples,
            units,
            self.columns,
            self.samples,
        );
    }
}
