//! `narrows bench peak`: how many multiplications and additions, each rounded by itself, this machine can do a second, and
//! what share of them the products of vanilla's matrices reach.

use std::hint::black_box;
use std::time::Instant;

use narrows::error::Result;
use narrows::processor::Desktop;
use narrows_core::kernels::{Accumulate, Executor, Task, Vector, Vectors, dense};
use serde_json::json;

use super::{Machine, Measured};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    threads: super::super::Threads,
    /// Turns that are taken
    #[arg(long, value_name = "N", default_value = "15", value_parser = super::super::at_least_one::<u32>)]
    rounds: u32,
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let (machine, threads) = (Machine::this(), self.threads.count());
        let executor = self.threads.executor()?;
        let mut products = Product::vanilla();
        let mut peak = Measured::default();
        let mut rates: Vec<Measured> = products.iter().map(|_| Measured::default()).collect();
        for round in 0..=self.rounds {
            let turn = rate(&executor, threads);
            let own: Vec<f64> = products
                .iter_mut()
                .map(|product| product.rate(&executor))
                .collect();
            // In the first turn everything comes to rest.
            if round > 0 {
                peak.add(turn);
                rates
                    .iter_mut()
                    .zip(own)
                    .for_each(|(rates, own)| rates.add(own));
            }
        }
        let peak = peak.median();
        if !json {
            super::super::print(format!(
                "thousand million multiply-adds a second, both rounded; {machine}, {threads} thread(s), medians of {} turns\n\
                 {:<42}{:>8.2}",
                self.rounds,
                "registers alone",
                peak / 1e9
            ))?;
        }
        let line = |name: &str, rate: f64| {
            if json {
                return super::super::print(json!({
                    "product": name, "batch": BATCH, "threads": threads, "multiply_adds_per_second": rate,
                    "peak_multiply_adds_per_second": peak, "share_of_peak": rate / peak,
                    "processor": machine.processor, "vectors": machine.vectors.to_string(),
                }));
            }
            super::super::print(format!(
                "{name:<42}{:>8.2}  {:>3.0} % of that",
                rate / 1e9,
                100.0 * rate / peak
            ))
        };
        let (mut work, mut seconds) = (0.0, 0.0);
        for (product, rate) in products.iter().zip(&rates) {
            line(product.name, rate.median())?;
            work += product.multiply_adds as f64;
            seconds += product.multiply_adds as f64 / rate.median();
        }
        line("all products", work / seconds)
    }
}

/// Multiply-adds a second that `threads` threads reach without memory, for about 10 milliseconds.
pub(super) fn rate(executor: &Desktop, threads: usize) -> f64 {
    let mut results = vec![0.0; threads * LANES];
    let repetitions = 2_000_000;
    // Every unit has as many vectors as `Chains`, as wide as the processor has them.
    let mut lanes = vec![0; threads];
    executor.enter(|| {
        let start = Instant::now();
        executor.execute(Chains {
            repetitions,
            results: &mut results,
            lanes: &mut lanes,
        });
        let done: usize = lanes.iter().map(|lanes| lanes * CHAINS * repetitions).sum();
        done as f64 / start.elapsed().as_secs_f64()
    })
}

/// Products, and as many sums, that know nothing of one another: enough that no instruction waits for another's result,
/// and no more than sixteen registers hold, with the two constants.
const CHAINS: usize = 7;

/// Places for a vector's numbers.
const LANES: usize = narrows_core::kernels::MOST_LANES;

/// Multiplications and additions of vectors in registers, as many of the ones as of the others.
struct Chains<'a> {
    repetitions: usize,
    /// For each unit the result, so that the compiler leaves none of it out.
    results: &'a mut [f32],
    /// For each unit how many numbers a vector had.
    lanes: &'a mut [usize],
}

impl Task for Chains<'_> {
    fn units(&self) -> usize {
        self.lanes.len()
    }

    fn operations(&self) -> usize {
        self.units() * self.repetitions * CHAINS
    }

    fn split(self, units: usize) -> (Self, Self) {
        let (results, other_results) = self.results.split_at_mut(units * LANES);
        let (lanes, other_lanes) = self.lanes.split_at_mut(units);
        (
            Self {
                results,
                lanes,
                ..self
            },
            Self {
                results: other_results,
                lanes: other_lanes,
                ..self
            },
        )
    }

    #[inline(always)]
    fn run<M: narrows_core::kernels::Machine, V: Vectors, const ROWS: usize>(self) {
        let units = self.results.chunks_exact_mut(LANES).zip(self.lanes);
        for (result, lanes) in units {
            // A number that the compiler knew to be one it would not multiply by. Nothing grows without end, or vanishes.
            let one = V::Wide::splat(black_box(1.0));
            let (mut products, mut sums) = ([one; CHAINS], [one; CHAINS]);
            for _ in 0..self.repetitions {
                for (product, sum) in products.iter_mut().zip(&mut sums) {
                    *product = product.times(one);
                    *sum = sum.plus(one);
                }
            }
            let chains = products.into_iter().chain(sums);
            chains.reduce(V::Wide::plus).unwrap_or(one).store(result);
            *lanes = V::Wide::LANES;
        }
    }
}

/// Samples of a batch.
const BATCH: usize = 128;

/// A product of matrices of a training step.
struct Product {
    name: &'static str,
    multiply_adds: usize,
    work: Box<dyn FnMut(&Desktop) + Send>,
}

impl Product {
    /// The five products of a step of the network 784 - 64 - 784.
    fn vanilla() -> [Self; 5] {
        let numbers = |len: usize| -> Vec<f32> {
            // Between 0 and 1, and no two neighbours alike.
            (0..len)
                .map(|index| (index * 7919 % 1009) as f32 / 1009.0)
                .collect()
        };
        let product = |name, work| Self {
            name,
            multiply_adds: BATCH * 784 * 64,
            work,
        };
        let forward = |name, inputs: usize, outputs: usize| {
            let (input, weights) = (numbers(BATCH * inputs), numbers(inputs * outputs));
            let (bias, mut output) = (numbers(outputs), numbers(BATCH * outputs));
            let work = Box::new(move |executor: &Desktop| {
                executor.execute(dense::Forward {
                    input: &input,
                    weights: &weights,
                    bias: &bias,
                    output: &mut output,
                    inputs,
                    outputs,
                });
            });
            product(name, work)
        };
        let weight_gradient = |name, inputs: usize, outputs: usize| {
            let (input, gradient) = (numbers(BATCH * inputs), numbers(BATCH * outputs));
            let mut sums = numbers(inputs * outputs);
            let work = Box::new(move |executor: &Desktop| {
                executor.execute(dense::WeightGradient {
                    input: &input,
                    gradient: &gradient,
                    sink: Accumulate(&mut sums),
                    inputs,
                    outputs,
                    first: 0,
                    count: inputs,
                });
            });
            product(name, work)
        };
        let (inputs, outputs) = (64, 784);
        let (gradient, weights) = (numbers(BATCH * outputs), numbers(inputs * outputs));
        let mut input_gradient = numbers(BATCH * inputs);
        let down = Box::new(move |executor: &Desktop| {
            executor.execute(dense::InputGradient {
                gradient: &gradient,
                weights: &weights,
                input_gradient: &mut input_gradient,
                inputs,
                outputs,
                samples: BATCH,
                first: 0,
            });
        });
        [
            forward("code, forward: 128 x 784 x 64", 784, 64),
            forward("output, forward: 128 x 64 x 784", 64, 784),
            product("output, input gradient: 128 x 784 x 64", down),
            weight_gradient("output, weight gradient: 64 x 128 x 784", 64, 784),
            weight_gradient("code, weight gradient: 784 x 128 x 64", 784, 64),
        ]
    }

    /// Multiply-adds a second over some milliseconds.
    fn rate(&mut self, executor: &Desktop) -> f64 {
        const TIMES: usize = 32;
        let work = &mut self.work;
        executor.enter(|| {
            let start = Instant::now();
            (0..TIMES).for_each(|_| work(executor));
            (TIMES * self.multiply_adds) as f64 / start.elapsed().as_secs_f64()
        })
    }
}
