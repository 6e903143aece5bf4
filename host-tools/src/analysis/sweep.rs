//! Many variants of a recipe side by side: how the error depends on the size of the code and of the network, and what each
//! size costs on a device.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use narrows_core::network::Network;
use narrows_core::shape::Shape;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::score::{mean, of_samples};
use crate::data::{Data, Samples};
use crate::error::{Error, Result};
use crate::files;
use crate::footprint::{INSTRUCTIONS_PER_MULTIPLY_ACCUMULATE, inference_bytes};
use crate::model::Blob;
use crate::processor::Desktop;
use crate::recipe::{LayerRecipe, Recipe};
use crate::train::{self, Watcher};

/// How a recipe is changed. What is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The units of the code's layer, or its filters.
    pub code: Option<u32>,
    /// Layers from the input to the code, the code's own among them; as many lead back. For dense networks.
    pub layers: Option<usize>,
    /// Units of each layer before the code, and of those that mirror them. For dense networks.
    pub units: Option<u32>,
}

impl Change {
    /// Every combination; an empty list leaves its setting as it is. A network whose code is its first layer has no other
    /// layers, so that there `units` would make no difference: such a combination comes once.
    #[must_use]
    pub fn combinations(codes: &[u32], layers: &[usize], units: &[u32]) -> Vec<Self> {
        fn settings<T: Copy>(list: &[T]) -> Vec<Option<T>> {
            if list.is_empty() {
                vec![None]
            } else {
                list.iter().copied().map(Some).collect()
            }
        }
        let mut found: Vec<Self> = Vec::new();
        for layers in settings(layers) {
            for units in settings(units) {
                for code in settings(codes) {
                    let units = units.filter(|_| layers != Some(1));
                    let change = Self {
                        code,
                        layers,
                        units,
                    };
                    if !found.contains(&change) {
                        found.push(change);
                    }
                }
            }
        }
        found
    }

    /// The recipe with this change. Its name says what was changed.
    ///
    /// The code is made as wide as asked by its own layer's units or filters, or, where that layer has none, by those of
    /// the last layer before it that has. Layers are the network's own where their number stays, else copies of the first
    /// layer before the code, or, where there is none, dense with relu. Where `layers` comes without `units`, widths go down in
    /// equal ratios from the input to the code.
    ///
    /// # Errors
    /// [`Error::Plan`] where the change makes no sense for this network, or where the changed recipe does not hold together.
    pub fn apply(&self, recipe: &Recipe) -> Result<Recipe> {
        let mut changed = recipe.clone();
        changed.name_layers();
        let refuse = |problem: String| Error::Plan {
            recipe: recipe.name.clone(),
            problem,
        };
        let (code, input) = {
            let plan = recipe.plan()?;
            let (network, output) = (plan.network(), plan.network().output());
            if output.len() != network.input().len() {
                let expected = format!(
                    "expected a network that gives back its input {}",
                    network.input()
                );
                return Err(refuse(format!("{expected}, but an output {output} came")));
            }
            (network.code(), network.input())
        };
        changed.network.code = Some(changed.network.layers[code].name().to_owned());
        if let Some(size) = self.code {
            let layers = &mut changed.network.layers[..=code];
            let set = layers.iter_mut().rev().any(|layer| set_width(layer, size));
            if !set {
                let expected = "code: expected a dense layer or a convolution up to the code";
                return Err(refuse(format!("{expected}, but none came")));
            }
            changed.name += &format!("-code{size}");
        }
        if self.layers.is_some() || self.units.is_some() {
            self.mirror(&mut changed, code, input).map_err(refuse)?;
        }
        changed.plan()?;
        Ok(changed)
    }

    /// Replaces the layers on both sides of the code.
    fn mirror(&self, recipe: &mut Recipe, code: usize, input: Shape) -> Result<(), String> {
        let layers = &mut recipe.network.layers;
        let other = layers
            .iter()
            .find(|layer| !matches!(layer, LayerRecipe::Dense { .. }));
        if let Some(other) = other {
            return Err(format!(
                "layers, units: expected a network of dense layers alone, but layer \"{}\" is {}",
                other.name(),
                other.kind().name()
            ));
        }
        if code + 1 == layers.len() {
            return Err(
                "layers, units: expected a layer behind the code, but it is the last".into(),
            );
        }
        let depth = self.layers.unwrap_or(code + 1);
        if depth == 1 && self.units.is_some() {
            let expected = "units: expected layers before the code, as with --layers 2";
            return Err(format!("{expected}, but the code is the first"));
        }
        let template = match code {
            0 => relu()?,
            _ => layers[0].clone(),
        };
        let (bottleneck, output) = (layers[code].clone(), layers[layers.len() - 1].clone());
        let narrow = match bottleneck {
            LayerRecipe::Dense { units, .. } => f64::from(units),
            _ => 1.0,
        };
        let hidden = |place: usize, side: &str| {
            let ratio = place as f64 / depth as f64;
            let between = (input.len() as f64).powf(1.0 - ratio) * narrow.powf(ratio);
            let mut layer = template.clone();
            set_width(&mut layer, self.units.unwrap_or(between.round() as u32));
            set_name(&mut layer, format!("{side}_{place}"));
            layer
        };
        let encoder = (1..depth).map(|place| hidden(place, "encoder"));
        let decoder = (1..depth).rev().map(|place| hidden(place, "decoder"));
        let middle = std::iter::once(bottleneck);
        *layers = encoder
            .chain(middle)
            .chain(decoder)
            .chain([output])
            .collect();
        if let Some(layers) = self.layers {
            recipe.name += &format!("-layers{layers}");
        }
        if let Some(units) = self.units {
            recipe.name += &format!("-units{units}");
        }
        Ok(())
    }
}

/// A dense layer with relu, and otherwise as a recipe without a word more has it.
fn relu() -> Result<LayerRecipe, String> {
    let layer = json!({ "dense": { "units": 1, "activation": "relu" } });
    serde_json::from_value(layer).map_err(|problem| problem.to_string())
}

fn set_width(layer: &mut LayerRecipe, width: u32) -> bool {
    match layer {
        LayerRecipe::Dense { units, .. } => *units = width,
        LayerRecipe::Conv2d { filters, .. } => *filters = width,
        _ => return false,
    }
    true
}

fn set_name(layer: &mut LayerRecipe, to: String) {
    if let LayerRecipe::Dense { name, .. } = layer {
        *name = to;
    }
}

/// What a variant achieved, and what it costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The variant's name, and that of its files.
    pub name: String,
    /// What was changed.
    pub change: Change,
    /// Numbers of a code.
    pub code_len: usize,
    /// Mean squared error of the training data.
    pub train_error: f64,
    /// Mean squared error of data that were not trained on, where there are some.
    pub unseen_error: Option<f64>,
    /// What follows about a device.
    pub cost: Cost,
    /// CRC-32 of the recipe's settings and of the training data, by which a later run knows the point as its own.
    digests: [u32; 2],
}

impl Point {
    /// The error that a sweep is about: of unseen data, or else of the training data.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.unseen_error.unwrap_or(self.train_error)
    }

    /// The point of an earlier run, where it and its model are in the folder, whole, and came of the same recipe and data.
    fn load(folder: &Path, name: &str, digests: [u32; 2]) -> Option<Self> {
        let point: Self =
            serde_json::from_slice(&files::read(&point_path(folder, name)).ok()?).ok()?;
        let blob = Blob::read(&model_path(folder, name)).ok()?;
        let provenance = blob.model().ok()?.header.provenance;
        let of_model = [provenance.recipe_digest, provenance.data_digest];
        (point.digests == digests && of_model == digests && point.name == name).then_some(point)
    }
}

/// What inference costs on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Numbers that are learnt.
    pub parameters: usize,
    /// Bytes of the blob.
    pub flash_bytes: usize,
    /// Bytes of input, output, and workspace.
    pub ram_bytes: usize,
    /// Of one sample.
    pub multiply_accumulates: u64,
    /// An estimate for one sample on a Cortex-M4F: [`INSTRUCTIONS_PER_MULTIPLY_ACCUMULATE`] for each.
    pub instructions_estimate: u64,
}

impl Cost {
    /// Of a network whose blob has `blob_bytes` bytes.
    #[must_use]
    pub fn of(network: &Network<'_>, blob_bytes: usize) -> Self {
        let multiply_accumulates = network.multiply_accumulates();
        let instructions = multiply_accumulates as f64 * INSTRUCTIONS_PER_MULTIPLY_ACCUMULATE;
        Self {
            parameters: network.parameter_len(),
            flash_bytes: blob_bytes,
            ram_bytes: inference_bytes(network),
            multiply_accumulates,
            instructions_estimate: instructions.round() as u64,
        }
    }
}

/// The file of a point's model.
#[must_use]
pub fn model_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.narrows"))
}

/// The file of a point's figures. It is written after the model, so where it is, the point is finished.
#[must_use]
pub fn point_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.point.json"))
}

/// A sweep that is about to run.
pub struct Sweep<'a> {
    /// The variants: [`Change::apply`] of each.
    pub variants: &'a [(Change, Recipe)],
    /// What all are trained on.
    pub data: &'a Data,
    /// Where models and figures are kept.
    pub folder: &'a Path,
    /// How many are trained at a time, each with one thread.
    pub jobs: usize,
    /// Whether points that an earlier run finished are taken as they are.
    pub resume: bool,
    /// Asked before each step; what is finished stays.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

struct Stop<'a>(&'a (dyn Fn() -> bool + Sync));

impl Watcher for Stop<'_> {
    fn stop(&self) -> bool {
        (self.0)()
    }
}

impl Sweep<'_> {
    /// Trains the variants and calls `finished` with each point when it is done, one at a time, and whether it was there
    /// before. Returns the points in the variants' order; where the sweep was stopped, not all of them.
    ///
    /// # Errors
    /// The first that a training run has, or `finished`; the others end at their next step.
    pub fn run(
        &self,
        finished: impl FnMut(&Point, bool) -> Result<()> + Send,
    ) -> Result<Vec<Point>> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let points = Mutex::new((vec![None; self.variants.len()], finished));
        let stop = || (self.stop)() || failed.load(Ordering::Relaxed);
        let work = || -> Result<()> {
            let executor = Desktop::new(1)?;
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(variant) = self.variants.get(index).filter(|_| !stop()) else {
                    return Ok(());
                };
                let Some((point, old)) = self.point(&executor, variant, &stop)? else {
                    return Ok(());
                };
                // A thread that panicked leaves what was finished before.
                let mut guard = points.lock().unwrap_or_else(PoisonError::into_inner);
                let (points, finished) = &mut *guard;
                finished(&point, old)?;
                points[index] = Some(point);
            }
        };
        let guarded = || {
            let result = work();
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            result
        };
        let jobs = self.jobs.clamp(1, self.variants.len().max(1));
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(guarded)).collect();
            let joined = workers.into_iter().map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            joined.collect()
        });
        results.into_iter().collect::<Result<()>>()?;
        let (points, _) = points.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(points.into_iter().flatten().collect())
    }

    fn point(
        &self,
        executor: &Desktop,
        (change, recipe): &(Change, Recipe),
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<(Point, bool)>> {
        let plan = recipe.plan()?;
        let digests = [recipe.digest(), self.data.train.digest()?];
        if self.resume
            && let Some(point) = Point::load(self.folder, &recipe.name, digests)
        {
            return Ok(Some((point, true)));
        }
        let outcome = train::run(executor, &plan, self.data, None, &mut Stop(stop))?;
        if outcome.stopped {
            return Ok(None);
        }
        let path = model_path(self.folder, &recipe.name);
        let blob = Blob::export(executor, &plan, &outcome.parameters, digests[1], &path)?;
        let model = blob.model()?;
        let error =
            |samples: &Samples| of_samples(executor, &model, samples).map(|scores| mean(&scores));
        let unseen = self.data.validation.as_ref();
        let point = Point {
            name: recipe.name.clone(),
            change: *change,
            code_len: model.network.code_shape().len(),
            train_error: error(&self.data.train)?,
            unseen_error: unseen.map(error).transpose()?,
            cost: Cost::of(&model.network, blob.bytes().len()),
            digests,
        };
        blob.save()?;
        let text = serde_json::to_vec_pretty(&point).map_err(|cause| {
            let path = point_path(self.folder, &recipe.name);
            Error::file(&path, "encode")(std::io::Error::other(cause))
        })?;
        files::write_whole(&point_path(self.folder, &recipe.name), &text)?;
        Ok(Some((point, false)))
    }
}

/// The index of a curve's knee: the point from which on a larger code hardly helps.
///
/// `curve` has code sizes and errors, in ascending order of the sizes. Both axes are scaled to run from 0 to 1, the sizes
/// by their logarithm; the knee is the point farthest below the straight line from the first point to the last (Satopää,
/// Albrecht, Irwin and Raghavan, "Finding a kneedle in a haystack", 2011). There is none where no point lies below it: a curve
/// of fewer than three points, or one that does not bend.
#[must_use]
pub fn knee(curve: &[(usize, f64)]) -> Option<usize> {
    let (first, last) = (curve.first()?, curve.last()?);
    let across = |size: usize| (size.max(1) as f64).log2();
    let (width, height) = (across(last.0) - across(first.0), first.1 - last.1);
    if width <= 0.0 || height <= 0.0 {
        return None;
    }
    // The line falls from (0, 1) to (1, 0), so the distance below it grows with 1 - x - y.
    let below = |(size, error): &(usize, f64)| {
        let (x, y) = (
            (across(*size) - across(first.0)) / width,
            (error - last.1) / height,
        );
        1.0 - x - y
    };
    let distances = curve.iter().map(below).enumerate();
    let farthest = distances.max_by(|a, b| a.1.total_cmp(&b.1))?;
    (farthest.1 > 1e-9).then_some(farthest.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Preset;

    fn preset(name: &str) -> Recipe {
        Preset::find(name).unwrap().recipe().unwrap()
    }

    fn widths(recipe: &Recipe) -> Vec<usize> {
        let plan = recipe.plan().unwrap();
        plan.network()
            .steps()
            .map(|step| step.output.len())
            .collect()
    }

    fn changed(
        name: &str,
        code: Option<u32>,
        layers: Option<usize>,
        units: Option<u32>,
    ) -> Result<Recipe> {
        Change {
            code,
            layers,
            units,
        }
        .apply(&preset(name))
    }

    #[test]
    fn a_dense_network_is_mirrored_around_its_code() {
        let found = changed("vanilla", Some(16), None, None).unwrap();
        assert_eq!(widths(&found), [16, 784]);
        assert_eq!(found.name, "vanilla-code16");
        let found = changed("vanilla", Some(49), Some(2), None).unwrap();
        assert_eq!(widths(&found), [196, 49, 196, 784], "in equal ratios");
        let found = changed("vanilla", None, Some(3), Some(100)).unwrap();
        assert_eq!(widths(&found), [100, 100, 64, 100, 100, 784]);
        assert_eq!(found.name, "vanilla-layers3-units100");
        let plan = found.plan().unwrap();
        assert_eq!(plan.network().code(), 2);
        assert_eq!(plan.network().layers()[2].name, "code");
        assert_eq!(plan.network().layers()[4].name, "decoder_1");
        // And back to where it came from.
        let back = Change {
            layers: Some(1),
            ..Change::default()
        }
        .apply(&found)
        .unwrap();
        assert_eq!(widths(&back), [64, 784]);
    }

    #[test]
    fn a_convolutional_code_is_changed_by_the_filters_that_feed_it() {
        let found = changed("convolutional", Some(2), None, None).unwrap();
        let plan = found.plan().unwrap();
        assert_eq!(plan.network().code_shape(), Shape::picture(4, 4, 2));
        assert_eq!(plan.network().output().len(), 784);
    }

    #[test]
    fn a_change_that_makes_no_sense_is_refused() {
        let refused = |found: Result<Recipe>| found.unwrap_err().to_string();
        let found = refused(changed("convolutional", None, Some(2), None));
        assert!(
            found.contains("dense layers alone") && found.contains("conv2d"),
            "{found}"
        );
        let found = refused(changed("vanilla", None, None, Some(100)));
        assert!(found.contains("--layers 2"), "{found}");
        let found = refused(changed("vanilla", None, Some(20), None));
        assert!(found.contains("32"), "{found}");
    }

    #[test]
    fn combinations_that_make_no_difference_come_once() {
        let found = Change::combinations(&[8, 16], &[1, 2], &[64, 128]);
        assert_eq!(found.len(), 2 + 4);
        assert_eq!(Change::combinations(&[], &[], &[]), [Change::default()]);
        assert_eq!(Change::combinations(&[8, 8], &[], &[]).len(), 1);
    }

    #[test]
    fn the_knee_is_where_the_curve_bends() {
        let curve = [(8, 10.0), (16, 5.0), (32, 2.0), (64, 1.5), (128, 1.0)];
        assert_eq!(knee(&curve), Some(2));
        assert_eq!(
            knee(&[(8, 3.0), (16, 2.0), (32, 1.0)]),
            None,
            "a straight line"
        );
        assert_eq!(
            knee(&[(8, 3.0), (16, 2.9), (32, 1.0)]),
            None,
            "it bends upwards"
        );
        assert_eq!(knee(&[(8, 1.0), (16, 2.0), (32, 3.0)]), None, "it rises");
        assert_eq!(knee(&curve[..2]), None);
        assert_eq!(knee(&[]), None);
    }
}
