//! The desktop's executor: vectors as wide as the processor has, and as many threads as are asked for.
//!
//! Core's kernels are generic and inlined into the functions below, each of which is compiled for other processor
//! features. Multiply and add stay separate, and the order within each sum is the kernel's, so neither the width nor the
//! number of threads moves a bit.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use narrows_core::kernels::{Executor, Machine, Task};

use crate::error::{Error, Result};

/// The vector instructions that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vectors {
    /// What every processor of the architecture has: SSE2 on x86-64, NEON on Arm.
    Portable,
    /// 256 bits.
    Avx2,
    /// 512 bits.
    Avx512,
}

impl Vectors {
    /// The widest that this processor has.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// All that this processor has, from the narrowest to the widest.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut found = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                found.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
            {
                found.push(Self::Avx512);
            }
        }
        found
    }
}

impl fmt::Display for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
        })
    }
}

/// Fewer elementary operations than this are not worth waking a thread for.
const WORTH_A_THREAD: usize = 150_000;

/// Computes tasks on this machine.
#[derive(Debug)]
pub struct Desktop {
    vectors: Vectors,
    pool: Option<rayon::ThreadPool>,
}

impl Desktop {
    /// An executor with `threads` threads (at least one) and the widest vectors.
    ///
    /// # Errors
    /// [`Error::Threads`] where the system does not give so many.
    pub fn new(threads: usize) -> Result<Self> {
        Self::with_vectors(threads, Vectors::detect())
    }

    /// As [`Desktop::new`], with narrower vectors; what the processor does not have is not used.
    ///
    /// # Errors
    /// [`Error::Threads`] where the system does not give so many.
    pub fn with_vectors(threads: usize, vectors: Vectors) -> Result<Self> {
        let vectors = vectors.min(Vectors::detect());
        let builder = || rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = (threads > 1).then(|| builder().build()).transpose();
        let pool = pool.map_err(|cause| Error::Threads {
            asked: threads,
            problem: cause.to_string(),
        })?;
        Ok(Self { vectors, pool })
    }

    /// Does `work` on one of the threads, and keeps the others awake meanwhile: a task within it reaches them in less than
    /// the time that it takes to wake a thread, which is longer than many a task.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let Some(pool) = &self.pool else {
            return work();
        };
        pool.install(|| {
            let _awake = Awake::new();
            work()
        })
    }

    /// The vector instructions in use.
    #[must_use]
    pub fn vectors(&self) -> Vectors {
        self.vectors
    }

    #[allow(unsafe_code, reason = "see the reasons beside the calls")]
    fn run<T: Task>(&self, task: T) {
        match self.vectors {
            Vectors::Portable => task.run::<Hardware, Baseline, 4>(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Vectors::detect` saw that the processor has these features, and `with_vectors` goes no higher.
            Vectors::Avx2 => unsafe { features::avx2(task) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Vectors::Avx512 => unsafe { features::avx512(task) },
            #[cfg(not(target_arch = "x86_64"))]
            Vectors::Avx2 | Vectors::Avx512 => task.run::<Hardware, Baseline, 4>(),
        }
    }

    fn divide<T: Task>(&self, task: T, threads: usize) {
        let units = task.units();
        if threads < 2 || units < 2 {
            return self.run(task);
        }
        // Whole tiles stay together where there are enough of them.
        let half = units / 2;
        let half = if half >= 16 { half / 16 * 16 } else { half };
        let (first, second) = task.split(half);
        let left = threads / 2;
        rayon::join(
            || self.divide(first, left),
            || self.divide(second, threads - left),
        );
    }
}

/// Keeps the other threads of the pool that it is made in from going to sleep.
struct Awake {
    over: Arc<AtomicBool>,
}

impl Awake {
    fn new() -> Self {
        /// Turns without work after which a thread lets others have its core: some tens of microseconds.
        const PATIENCE: u32 = 1000;
        let over = Arc::new(AtomicBool::new(false));
        let (seen, here) = (Arc::clone(&over), rayon::current_thread_index());
        rayon::spawn_broadcast(move |context| {
            let mut idle = 0;
            while Some(context.index()) != here && !seen.load(Ordering::Relaxed) {
                match rayon::yield_now() {
                    Some(rayon::Yield::Executed) => idle = 0,
                    _ if idle < PATIENCE => {
                        idle += 1;
                        std::hint::spin_loop();
                    }
                    _ => std::thread::yield_now(),
                }
            }
        });
        Self { over }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Executor for Desktop {
    fn execute<T: Task>(&self, task: T) {
        match &self.pool {
            Some(pool) if task.operations() >= WORTH_A_THREAD => {
                let threads = pool.current_num_threads();
                pool.install(|| self.divide(task, threads));
            }
            _ => self.run(task),
        }
    }

    fn join(&self, operations: usize, first: impl FnOnce() + Send, second: impl FnOnce() + Send) {
        match &self.pool {
            Some(pool) if operations >= WORTH_A_THREAD => {
                pool.install(|| rayon::join(first, second));
            }
            _ => {
                first();
                second();
            }
        }
    }
}

/// The processor's square root, which is correctly rounded and vectorizes.
struct Hardware;

impl Machine for Hardware {
    #[inline(always)]
    fn sqrt(x: f32) -> f32 {
        x.sqrt()
    }
}

/// What every processor of the architecture has.
#[cfg(target_arch = "x86_64")]
type Baseline = features::Sse2;
#[cfg(not(target_arch = "x86_64"))]
type Baseline = narrows_core::kernels::Portable;

/// The vectors of x86-64 as types, so that what becomes an instruction is not left to the compiler's heuristics: it was
/// seen to vectorize a tile of sums along the wrong axis.
#[cfg(target_arch = "x86_64")]
#[allow(
    unsafe_code,
    reason = "functions for processor features may only be called where the processor has them"
)]
mod features {
    use std::arch::x86_64::{
        __m128, __m256, __m512, _CMP_EQ_OQ, _CMP_UNORD_Q, _mm_add_ps, _mm_and_ps, _mm_andnot_ps,
        _mm_cmpeq_ps, _mm_cmpunord_ps, _mm_loadu_ps, _mm_max_ps, _mm_movemask_ps, _mm_mul_ps,
        _mm_or_ps, _mm_set1_ps, _mm_storeu_ps, _mm_sub_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
        _mm256_add_ps, _mm256_blendv_ps, _mm256_cmp_ps, _mm256_loadu_ps, _mm256_max_ps,
        _mm256_movemask_ps, _mm256_mul_ps, _mm256_permute2f128_ps, _mm256_set1_ps,
        _mm256_storeu_ps, _mm256_sub_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps, _mm512_add_ps,
        _mm512_cmp_ps_mask, _mm512_fpclass_ps_mask, _mm512_loadu_ps, _mm512_mask_blend_ps,
        _mm512_max_ps, _mm512_mul_ps, _mm512_permutex2var_ps, _mm512_set1_ps, _mm512_setr_epi32,
        _mm512_storeu_ps,
    };

    use narrows_core::kernels::{Interleave, Vector, Vectors};

    use super::{Hardware, Task};

    #[inline]
    #[target_feature(enable = "sse2")]
    fn interleave_4(a: __m128, b: __m128) -> (__m128, __m128) {
        (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn interleave_8(a: __m256, b: __m256) -> (__m256, __m256) {
        // Of each half of 128 bits by itself; the halves are brought together after that.
        let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        (
            _mm256_permute2f128_ps::<0x20>(low, high),
            _mm256_permute2f128_ps::<0x31>(low, high),
        )
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn interleave_16(a: __m512, b: __m512) -> (__m512, __m512) {
        // Indices from 16 on mean the second vector.
        let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        (
            _mm512_permutex2var_ps(a, low, b),
            _mm512_permutex2var_ps(a, high, b),
        )
    }

    /// A difference of a number with itself is zero, or a NaN where it is not finite.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn is_finite_4(x: __m128) -> bool {
        let nothing = _mm_sub_ps(x, x);
        _mm_movemask_ps(_mm_cmpunord_ps(nothing, nothing)) == 0
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn is_finite_8(x: __m256) -> bool {
        let nothing = _mm256_sub_ps(x, x);
        _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(nothing, nothing)) == 0
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq")]
    fn is_finite_16(x: __m512) -> bool {
        // Quiet and signalling NaNs and both infinities.
        _mm512_fpclass_ps_mask::<0x99>(x) == 0
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn where_equal_4(a: __m128, b: __m128, values: __m128, otherwise: __m128) -> __m128 {
        let equal = _mm_cmpeq_ps(a, b);
        _mm_or_ps(_mm_and_ps(equal, values), _mm_andnot_ps(equal, otherwise))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn where_equal_8(a: __m256, b: __m256, values: __m256, otherwise: __m256) -> __m256 {
        _mm256_blendv_ps(otherwise, values, _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn where_equal_16(a: __m512, b: __m512, values: __m512, otherwise: __m512) -> __m512 {
        _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b), otherwise, values)
    }

    macro_rules! vector {
        ($name:ident, $register:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident, $add:ident, $multiply:ident, $largest:ident, $is_finite:ident, $where_equal:ident, $interleave:ident) => {
            #[derive(Clone, Copy)]
            pub(super) struct $name($register);

            // SAFETY of the calls below: vectors of this type are made only within `Task::run`, and that is called with them
            // only by the function of this module that has the feature, or, for SSE2, on a processor that always has it.
            // Pointers come from slices of `$lanes` elements, and the instructions ask for no alignment.
            impl Vector for $name {
                const LANES: usize = $lanes;

                #[inline(always)]
                fn splat(x: f32) -> Self {
                    // SAFETY: see above.
                    Self(unsafe { $splat(x) })
                }

                #[inline(always)]
                fn load(from: &[f32]) -> Option<Self> {
                    let from: &[f32; $lanes] = from.first_chunk()?;
                    // SAFETY: see above.
                    Some(Self(unsafe { $load(from.as_ptr()) }))
                }

                #[inline(always)]
                fn store(self, to: &mut [f32]) {
                    if let Some(to) = to.first_chunk_mut::<$lanes>() {
                        // SAFETY: see above.
                        unsafe { $store(to.as_mut_ptr(), self.0) }
                    }
                }

                #[inline(always)]
                fn plus(self, other: Self) -> Self {
                    // SAFETY: see above.
                    Self(unsafe { $add(self.0, other.0) })
                }

                #[inline(always)]
                fn times(self, other: Self) -> Self {
                    // SAFETY: see above.
                    Self(unsafe { $multiply(self.0, other.0) })
                }

                #[inline(always)]
                fn largest(self, other: Self) -> Self {
                    // SAFETY: see above. Of equal numbers, and where one is a NaN, the instruction gives the second.
                    Self(unsafe { $largest(other.0, self.0) })
                }

                #[inline(always)]
                fn is_finite(self) -> bool {
                    // SAFETY: see above.
                    unsafe { $is_finite(self.0) }
                }

                #[inline(always)]
                fn where_equal(self, other: Self, values: Self, otherwise: Self) -> Self {
                    // SAFETY: see above.
                    Self(unsafe { $where_equal(self.0, other.0, values.0, otherwise.0) })
                }
            }

            // SAFETY of the call: as above.
            impl Interleave for $name {
                #[inline(always)]
                fn interleave(self, other: Self) -> (Self, Self) {
                    // SAFETY: see above.
                    let (low, high) = unsafe { $interleave(self.0, other.0) };
                    (Self(low), Self(high))
                }
            }
        };
    }

    vector!(
        X4,
        __m128,
        4,
        _mm_set1_ps,
        _mm_loadu_ps,
        _mm_storeu_ps,
        _mm_add_ps,
        _mm_mul_ps,
        _mm_max_ps,
        is_finite_4,
        where_equal_4,
        interleave_4
    );
    vector!(
        X8,
        __m256,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_mul_ps,
        _mm256_max_ps,
        is_finite_8,
        where_equal_8,
        interleave_8
    );
    vector!(
        X16,
        __m512,
        16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_mul_ps,
        _mm512_max_ps,
        is_finite_16,
        where_equal_16,
        interleave_16
    );

    pub(super) struct Sse2;

    impl Vectors for Sse2 {
        type Wide = X4;
        type Eight = X4;
        type Four = X4;
    }

    struct Avx2;

    impl Vectors for Avx2 {
        type Wide = X8;
        type Eight = X8;
        type Four = X4;
    }

    struct Avx512;

    impl Vectors for Avx512 {
        type Wide = X16;
        type Eight = X8;
        type Four = X4;
    }

    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn avx2<T: Task>(task: T) {
        task.run::<Hardware, Avx2, 8>();
    }

    #[target_feature(enable = "avx512f,avx512vl,avx512dq")]
    pub(super) unsafe fn avx512<T: Task>(task: T) {
        task.run::<Hardware, Avx512, 8>();
    }
}
