//! How a stage does on samples that it does not learn from, and whether it still does anything at all.

use narrows_core::inference::{self, Inference};
use narrows_core::kernels::Executor;
use narrows_core::loss::Evaluate;

use super::feed::{Batch, Feed, Set};
use super::{INFERENCE_BATCH, VALIDATION_EPOCH, zeros};
use crate::confusion::Confusion;
use crate::error::{Error, Result};
use crate::recipe::{Plan, Stage};

/// What samples say of a stage.
pub(super) struct Judgement {
    pub(super) loss: f64,
    pub(super) confusion: Option<Confusion>,
}

/// What a stage gives as good as the same for every sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constant {
    /// Its output, where the targets differ.
    Output,
    /// Its code, where the inputs differ.
    Code,
}

/// Samples that a stage is judged by. Noise corrupts them in the same way every time.
pub(super) struct Judge<'a> {
    stage: &'a Stage<'a>,
    feed: Feed<'a>,
    members: &'a [u32],
    outputs: Vec<f32>,
    workspace: Vec<f32>,
    losses: Vec<f32>,
}

/// Samples that collapse is looked for in.
const PROBE: usize = INFERENCE_BATCH;

/// Of the targets' variance: what varies less is constant. A network that only knows the mean yet varies by more.
const STILL: f64 = 1e-6;

impl<'a> Judge<'a> {
    pub(super) fn new(plan: &'a Plan<'_>, stage: &'a Stage<'a>, set: Set<'a>) -> Result<Self> {
        let network = stage.network();
        let batch = set.members.len().min(INFERENCE_BATCH);
        let layers = 0..network.layers().len();
        Ok(Self {
            stage,
            feed: Feed::new(plan, stage, set, batch)?,
            members: set.members,
            outputs: zeros("validation", batch * network.output().len())?,
            workspace: zeros(
                "validation",
                inference::workspace_len(network, layers, batch),
            )?,
            losses: zeros("validation", batch)?,
        })
    }

    /// The mean loss, and what is taken for what; `model` are the whole network's parameters, `own` the stage's.
    pub(super) fn judge(
        &mut self,
        executor: &impl Executor,
        model: &[f32],
        own: &[f32],
    ) -> Result<Judgement> {
        let (stage, network) = (self.stage, self.stage.network());
        let (options, outputs) = (stage.options(), network.output().len());
        let mut confusion = stage.has_labels().then(|| Confusion::new(outputs));
        let mut sum = 0.0;
        for indices in self.members.chunks(INFERENCE_BATCH) {
            let labels = self.feed.labels(indices);
            let Batch { input, target } =
                self.feed
                    .batch(executor, model, VALIDATION_EPOCH, indices)?;
            let output = &mut self.outputs[..indices.len() * outputs];
            let losses = &mut self.losses[..indices.len()];
            Inference {
                executor,
                network,
                parameters: own,
                math: options.math,
            }
            .run(
                0..network.layers().len(),
                input,
                output,
                &mut self.workspace,
            )
            .map_err(Error::core("validation"))?;
            executor.execute(Evaluate {
                loss: options.loss,
                with_slope: false,
                output,
                target,
                gradient: &mut [],
                losses: &mut *losses,
                outputs,
            });
            sum += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
            if let Some(confusion) = &mut confusion {
                let rows = output.chunks_exact(outputs);
                labels
                    .iter()
                    .zip(rows)
                    .for_each(|(label, row)| confusion.add(*label, row));
            }
        }
        Ok(Judgement {
            loss: sum / self.members.len().max(1) as f64,
            confusion,
        })
    }

    /// Whether the stage gives the same for some different samples.
    pub(super) fn constant(
        &mut self,
        executor: &impl Executor,
        model: &[f32],
        own: &[f32],
    ) -> Result<Option<Constant>> {
        let (network, math) = (self.stage.network(), self.stage.options().math);
        let count = self.members.len().min(PROBE);
        let spread = (0..count).map(|index| self.members[index * self.members.len() / count]);
        let indices: Vec<u32> = spread.collect();
        let Batch { input, target } =
            self.feed
                .batch(executor, model, VALIDATION_EPOCH, &indices)?;
        let mut varies = |last: usize, of: f64| -> Result<bool> {
            let layers = 0..last + 1;
            let len = network.shape_before(last + 1).len();
            let mut output = zeros("validation", indices.len() * len)?;
            Inference {
                executor,
                network,
                parameters: own,
                math,
            }
            .run(layers, input, &mut output, &mut self.workspace)
            .map_err(Error::core("validation"))?;
            Ok(variance(&output, len) > STILL * of)
        };
        // A code may have any scale: it is constant where nothing is left of the inputs' variance.
        if variance(input, network.input().len()) > 0.0 && !varies(network.code(), 0.0)? {
            return Ok(Some(Constant::Code));
        }
        let of = variance(target, network.output().len());
        let still = of > 0.0 && !varies(network.layers().len() - 1, of)?;
        Ok(still.then_some(Constant::Output))
    }
}

/// The variance over samples, summed over elements.
fn variance(values: &[f32], len: usize) -> f64 {
    let samples = (values.len() / len.max(1)).max(1) as f64;
    let element = |element: usize| {
        let of = values
            .iter()
            .skip(element)
            .step_by(len)
            .map(|value| f64::from(*value));
        let mean = of.clone().sum::<f64>() / samples;
        of.map(|value| (value - mean) * (value - mean)).sum::<f64>() / samples
    };
    (0..len).map(element).sum()
}
