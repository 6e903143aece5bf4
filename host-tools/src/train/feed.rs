//! What a stage is fed: samples in the epoch's order, through the layers that do not learn, and what noise makes of them.

use narrows_core::inference::{self, Inference};
use narrows_core::kernels::{Executor, Machine, Task, Vectors};
use narrows_core::network::Network;
use narrows_core::noise::Noise;

use super::{INFERENCE_BATCH, zeros};
use crate::aligned::Aligned;
use crate::data::{Data, Samples};
use crate::error::{Error, Result};
use crate::recipe::{Plan, Stage};

/// Samples, and what the network is to answer to each where that is not the sample itself or its label.
#[derive(Clone, Copy)]
pub(super) struct Set<'a> {
    pub(super) inputs: &'a Samples,
    pub(super) targets: Option<&'a Samples>,
    /// The indices of the samples that count.
    pub(super) members: &'a [u32],
}

/// The indices of the samples that a recipe trains on, and of those that it validates with.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) train: Vec<u32>,
    pub(super) validation: Vec<u32>,
}

/// The samples of the recipe's classes, and of those the quiet ones.
pub(super) fn members(plan: &Plan<'_>, data: &Data) -> Result<Members> {
    let mut train = of_classes(plan, &data.train, "training")?;
    let validation = data.validation.as_ref();
    let mut judges = match validation {
        None => Vec::new(),
        Some(samples) => of_classes(plan, samples, "validation")?,
    };
    if let Some(share) = plan.recipe().data.quiet {
        let loudness = loudness(&data.train)?;
        let mut sorted: Vec<f64> = train
            .iter()
            .map(|index| loudness[*index as usize])
            .collect();
        sorted.sort_by(f64::total_cmp);
        let count = (share * sorted.len() as f64).floor().max(1.0) as usize;
        // The training samples say what is quiet, wherever it is met.
        let limit = sorted.get(count - 1).copied().unwrap_or(0.0);
        train.retain(|index| loudness[*index as usize] <= limit);
        if let Some(samples) = validation {
            let loudness = self::loudness(samples)?;
            judges.retain(|index| loudness[*index as usize] <= limit);
        }
    }
    Ok(Members {
        train,
        validation: judges,
    })
}

/// The variance of each sample's numbers.
fn loudness(samples: &Samples) -> Result<Vec<f64>> {
    let mut variances = Vec::with_capacity(samples.len());
    let len = samples.sample_len();
    samples.for_each_block(INFERENCE_BATCH, |_, block| {
        variances.extend(block.chunks_exact(len).map(variance));
        Ok(())
    })?;
    Ok(variances)
}

/// The variance of numbers, all of which there are.
fn variance(numbers: &[f32]) -> f64 {
    let count = numbers.len() as f64;
    let mean = numbers.iter().copied().map(f64::from).sum::<f64>() / count;
    let squares = numbers.iter().map(|x| (f64::from(*x) - mean).powi(2));
    squares.sum::<f64>() / count
}

/// The indices of the samples of a recipe's classes, or of all.
fn of_classes(plan: &Plan<'_>, samples: &Samples, which: &str) -> Result<Vec<u32>> {
    let all = 0..samples.len() as u32;
    let Some(classes) = &plan.recipe().data.classes else {
        return Ok(all.collect());
    };
    let problem = |expected: String, given: String| Error::Data {
        place: format!("{which} data"),
        expected,
        given,
    };
    let labels = samples.labels().ok_or_else(|| {
        let expected = format!("labels, of which data.classes takes {classes:?}");
        problem(expected, "none came".into())
    })?;
    if let Some(absent) = classes.iter().find(|class| !labels.contains(class)) {
        let mut present = labels.to_vec();
        present.sort_unstable();
        present.dedup();
        let expected = format!("samples with the label {absent}, which data.classes takes");
        return Err(problem(expected, format!("the labels {present:?} came")));
    }
    Ok(all
        .filter(|index| classes.contains(&labels[*index as usize]))
        .collect())
}

/// Lays out batches.
pub(super) struct Feed<'a> {
    stage: &'a Stage<'a>,
    whole: &'a Network<'a>,
    set: Set<'a>,
    /// What the frozen layers are given.
    raw: Vec<f32>,
    workspace: Vec<f32>,
    /// What comes into the stage, before the noise.
    clean: Aligned,
    noisy: Aligned,
    /// What the stage is to answer, where that is another thing.
    target: Aligned,
}

/// A batch as a stage takes it.
#[derive(Clone, Copy)]
pub(super) struct Batch<'b> {
    pub(super) input: &'b [f32],
    pub(super) target: &'b [f32],
}

impl<'a> Feed<'a> {
    /// For batches of at most `batch` samples of `set`.
    pub(super) fn new(
        plan: &'a Plan<'_>,
        stage: &'a Stage<'a>,
        set: Set<'a>,
        batch: usize,
    ) -> Result<Self> {
        let (whole, network, frozen) = (plan.network(), stage.network(), 0..stage.layers().start);
        let of = |wanted: bool, elements: usize| if wanted { batch * elements } else { 0 };
        let other = stage.has_labels() || set.targets.is_some();
        let input = network.input().len();
        Ok(Self {
            stage,
            whole,
            set,
            raw: zeros("batch", of(!frozen.is_empty(), whole.input().len()))?,
            workspace: zeros("batch", inference::workspace_len(whole, frozen, batch))?,
            clean: Aligned::zeros("batch", of(true, input))?,
            noisy: Aligned::zeros("batch", of(stage.noise().is_some(), input))?,
            target: Aligned::zeros("batch", of(other, network.output().len()))?,
        })
    }

    /// The labels of the samples with these indices; none where the stage learns none.
    pub(super) fn labels(&self, indices: &[u32]) -> Vec<u8> {
        let labels = self.set.inputs.labels().filter(|_| self.stage.has_labels());
        let label = |labels: &[u8]| {
            indices
                .iter()
                .map(|index| labels[*index as usize])
                .collect()
        };
        labels.map_or_else(Vec::new, label)
    }

    /// The samples with these indices, as they are in the epoch `epoch`; `parameters` are the whole network's.
    pub(super) fn batch(
        &mut self,
        executor: &impl Executor,
        parameters: &[f32],
        epoch: u32,
        indices: &[u32],
    ) -> Result<Batch<'_>> {
        let (stage, network) = (self.stage, self.stage.network());
        let (input_len, output_len) = (network.input().len(), network.output().len());
        let frozen = 0..stage.layers().start;
        let labels = self.labels(indices);
        let clean = &mut self.clean[..indices.len() * input_len];
        if frozen.is_empty() {
            read(self.set.inputs, indices, clean)?;
        } else {
            let raw = &mut self.raw[..indices.len() * self.whole.input().len()];
            read(self.set.inputs, indices, raw)?;
            Inference {
                executor,
                network: self.whole,
                parameters,
                math: stage.options().math,
            }
            .run(frozen.clone(), raw, clean, &mut self.workspace)
            .map_err(Error::core("training"))?;
        }
        let clean: &[f32] = clean;
        let target = &mut self.target;
        let target: &[f32] = if stage.has_labels() {
            let target = &mut target[..indices.len() * output_len];
            target.fill(0.0);
            for (row, label) in target.chunks_exact_mut(output_len).zip(labels) {
                row[usize::from(label)] = 1.0;
            }
            target
        } else if let Some(targets) = self.set.targets.filter(|_| frozen.is_empty()) {
            let target = &mut target[..indices.len() * output_len];
            read(targets, indices, target)?;
            target
        } else {
            clean
        };
        let Some(noise) = stage.noise() else {
            return Ok(Batch {
                input: clean,
                target,
            });
        };
        let noisy = &mut self.noisy[..indices.len() * input_len];
        executor.execute(Corrupt {
            noise,
            seed: stage.seed(),
            epoch,
            indices,
            len: input_len,
            clean,
            noisy: &mut *noisy,
        });
        Ok(Batch {
            input: noisy,
            target,
        })
    }
}

/// Copies samples.
fn read(samples: &Samples, indices: &[u32], out: &mut [f32]) -> Result<()> {
    let rows = out.chunks_exact_mut(samples.sample_len());
    for (row, index) in rows.zip(indices) {
        samples.read(*index as usize, row)?;
    }
    Ok(())
}

/// Corrupts a batch of samples.
pub(crate) struct Corrupt<'a> {
    pub(crate) noise: &'a Noise,
    pub(crate) seed: u64,
    pub(crate) epoch: u32,
    /// The samples' indices within their set.
    pub(crate) indices: &'a [u32],
    /// Numbers of a sample.
    pub(crate) len: usize,
    /// `[sample][element]`.
    pub(crate) clean: &'a [f32],
    /// `[sample][element]`.
    pub(crate) noisy: &'a mut [f32],
}

impl Task for Corrupt<'_> {
    fn units(&self) -> usize {
        self.indices.len()
    }

    fn operations(&self) -> usize {
        // A normal number takes a logarithm, a root, and half of a sine and a cosine.
        self.clean.len() * 60
    }

    fn split(self, units: usize) -> (Self, Self) {
        let units = units.min(self.indices.len());
        let (indices, other_indices) = self.indices.split_at(units);
        let (clean, other_clean) = self.clean.split_at(units * self.len);
        let (noisy, other_noisy) = self.noisy.split_at_mut(units * self.len);
        (
            Self {
                indices,
                clean,
                noisy,
                ..self
            },
            Self {
                indices: other_indices,
                clean: other_clean,
                noisy: other_noisy,
                ..self
            },
        )
    }

    #[inline(always)]
    fn run<M: Machine, V: Vectors, const ROWS: usize>(self) {
        let samples = self
            .clean
            .chunks_exact(self.len)
            .zip(self.noisy.chunks_exact_mut(self.len));
        for (index, (clean, noisy)) in self.indices.iter().zip(samples) {
            self.noise
                .apply(self.seed, self.epoch, *index, clean, noisy, M::sqrt);
        }
    }
}
