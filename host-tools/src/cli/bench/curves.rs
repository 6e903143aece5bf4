//! `narrows bench training --curves`: where training stops to scale, and why.
//!
//! Every point has the share of the machine's multiplications and additions that the network's matrix products take up. What
//! is missing is the time of the rest: per step the optimizer, whatever the batch's size; per task waking threads.

use narrows::data::Data;
use narrows::error::{Error, Result};
use narrows::processor::Desktop;
use narrows::recipe::{LayerRecipe, Preset, Recipe};
use narrows_core::network::Network;
use serde_json::json;

use super::worker::rate;
use super::{Machine, Measured, Subjects, peak};

/// What lies on the horizontal axis of the curves over sizes.
const SIZES: [usize; 7] = [8, 16, 32, 64, 128, 256, 512];

/// The batch of the curves that are not over batches.
const BATCH: usize = 128;

/// Measures and prints all curves of the subjects.
pub(super) fn run(subjects: &Subjects, json: bool) -> Result<()> {
    let (machine, most) = (Machine::this(), subjects.threads.count());
    if !json {
        super::super::print(format!(
            "training, samples a second; {machine}, medians of {} turns",
            subjects.rounds
        ))?;
    }
    for preset in subjects.presets()? {
        let (recipe, (raw, place)) = (preset.recipe()?, subjects.load()?);
        let mut data = raw.training_data(&recipe.plan()?, &place)?;
        data.validation = None;
        let curves = Curves {
            preset,
            data,
            rounds: subjects.rounds,
            machine: &machine,
            json,
        };
        let points = SIZES.map(|batch| Point {
            x: batch,
            recipe: recipe.clone(),
            batch,
            threads: most,
        });
        let seconds = curves.measure("batch", &points)?;
        let points = SIZES.iter().filter_map(|units| {
            Some(Point {
                x: *units,
                recipe: with_code(&recipe, *units as u32)?,
                batch: BATCH,
                threads: most,
            })
        });
        curves.measure("code", &points.collect::<Vec<_>>())?;
        let points = (1..=most).map(|threads| Point {
            x: threads,
            recipe: recipe.clone(),
            batch: BATCH,
            threads,
        });
        curves.measure("threads", &points.collect::<Vec<_>>())?;
        if let (false, [few, .., many]) = (json, &seconds[..]) {
            // Two batches, two unknowns: what a step costs by itself, and what each of its samples adds.
            let (small, large) = (SIZES[0] as f64, SIZES[SIZES.len() - 1] as f64);
            let sample = (many - few) / (large - small);
            super::super::print(format!(
                "{:<14} a step takes {:.0} us whatever its batch, and {:.2} us more for each sample",
                preset.name,
                (few - small * sample) * 1e6,
                sample * 1e6
            ))?;
        }
    }
    Ok(())
}

/// The recipe with another code; `None` where the code is not of a dense layer.
fn with_code(recipe: &Recipe, size: u32) -> Option<Recipe> {
    let mut recipe = recipe.clone();
    let code = recipe.network.code.as_deref();
    let mut layers = recipe.network.layers.iter_mut();
    match layers.find(|layer| Some(layer.name()) == code)? {
        LayerRecipe::Dense { units, .. } => *units = size,
        _ => return None,
    }
    Some(recipe)
}

struct Point {
    x: usize,
    recipe: Recipe,
    batch: usize,
    threads: usize,
}

struct Curves<'a> {
    preset: Preset,
    data: Data,
    rounds: u32,
    machine: &'a Machine,
    json: bool,
}

impl Curves<'_> {
    /// Measures the points in turns, and prints them. The seconds of each one's step.
    fn measure(&self, curve: &str, points: &[Point]) -> Result<Vec<f64>> {
        let mut ready = Vec::new();
        for point in points {
            let executor = Desktop::new(point.threads)?;
            // A turn takes about a quarter of a second.
            let quick = rate(&executor, &point.recipe, &self.data, 4, point.batch)?;
            let steps = (quick * 0.25 / point.batch as f64).ceil() as usize;
            ready.push((executor, steps.max(1)));
        }
        let mut rates: Vec<_> = points
            .iter()
            .map(|_| (Measured::default(), Measured::default()))
            .collect();
        for _ in 0..self.rounds {
            for ((point, (executor, steps)), (rates, peaks)) in
                points.iter().zip(&ready).zip(&mut rates)
            {
                rates.add(rate(
                    executor,
                    &point.recipe,
                    &self.data,
                    *steps,
                    point.batch,
                )?);
                peaks.add(peak::rate(executor, point.threads));
            }
        }
        let mut seconds = Vec::new();
        for (point, (rates, peaks)) in points.iter().zip(&rates) {
            self.print(curve, point, rates.median(), peaks.median())?;
            // The last batch of an epoch may be smaller, and no batch is larger than there are samples.
            seconds.push(point.batch.min(self.data.train.len()) as f64 / rates.median());
        }
        Ok(seconds)
    }

    fn print(&self, curve: &str, point: &Point, rate: f64, peak: f64) -> Result<()> {
        let plan = point.recipe.plan()?;
        let share = rate * multiply_adds(plan.network())? as f64 / peak;
        let network = self.preset.name;
        if self.json {
            return super::super::print(json!({
                "curve": curve, "network": network, "x": point.x, "samples_per_second": rate,
                "batch": point.batch, "threads": point.threads, "step_seconds": point.batch as f64 / rate,
                "share_of_peak": share, "processor": self.machine.processor,
                "vectors": self.machine.vectors.to_string(),
            }));
        }
        super::super::print(format!(
            "{network:<14} {curve:<8}{:>4}  {rate:>9.0}  batch {:>3}, {} thread(s), {:>3.0} % of the peak",
            point.x,
            point.batch,
            point.threads,
            100.0 * share
        ))
    }
}

/// Multiply-adds of a training step's matrix products for each sample: forward, for the weights' gradients, and for the
/// inputs' gradients of all layers but the first that computes.
fn multiply_adds(network: &Network<'_>) -> Result<u64> {
    let mut each = network
        .steps()
        .map(|step| step.work.multiply_accumulates())
        .filter(|work| *work > 0);
    let first = each.next().ok_or_else(|| {
        Error::Unknown("expected a network with parameters, but none has any".into())
    })?;
    Ok(2 * first + 3 * each.sum::<u64>())
}
