//! Models: a blob in a file, and running it on the desktop.

use std::ops::Range;
use std::path::{Path, PathBuf};

use narrows_core::blob::{
    self, BlobProblem, Golden, Header, InputKind, Model, Precision, Provenance,
};
use narrows_core::error::Error as CoreError;
use narrows_core::inference::{self, Inference};
use narrows_core::kernels::Executor;
use narrows_core::math::Math;
pub use narrows_core::network::Part;
use narrows_core::network::{Layers, Network};

use crate::error::{Error, Result};
use crate::files;
use crate::recipe::Plan;
use crate::train::{INFERENCE_BATCH, zeros};

/// The bytes of a blob at an address that its parameters can be used at, and where they come from.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Each has the blob's alignment.
    words: Vec<u128>,
    len: usize,
    path: PathBuf,
}

const _: () = assert!(align_of::<u128>() >= blob::ALIGNMENT);

impl Blob {
    fn zeroed(len: usize, path: &Path) -> Self {
        Self {
            words: vec![0; len.div_ceil(size_of::<u128>())],
            len,
            path: path.to_path_buf(),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }

    /// The blob's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    /// Reads a file, without a check of what is in it: that is [`Blob::model`]'s.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = files::read(path)?;
        let mut blob = Self::zeroed(bytes.len(), path);
        blob.bytes_mut().copy_from_slice(&bytes);
        Ok(blob)
    }

    /// The model, checked: once is enough.
    ///
    /// # Errors
    /// [`Error::Core`] with what is wrong.
    pub fn model(&self) -> Result<Model<'_>> {
        Model::read(self.bytes()).map_err(Error::core(self.path.display().to_string()))
    }

    /// Lets the model answer its golden sample, and compares the digest.
    ///
    /// # Errors
    /// [`BlobProblem::Golden`] where this machine gives other bits.
    pub fn self_test(&self, executor: &impl Executor, model: &Model<'_>) -> Result<()> {
        let place = || self.path.display().to_string();
        let (golden, math) = (model.header.golden, model.header.math);
        let found = golden_digest(
            executor,
            &model.network,
            model.parameters,
            math,
            golden.seed,
        )
        .map_err(|error| match error {
            Error::Core { source, .. } => Error::Core {
                place: place(),
                source,
            },
            other => other,
        })?;
        let expected = golden.digest;
        let problem = BlobProblem::Golden { expected, found };
        if expected == found {
            Ok(())
        } else {
            Err(Error::core(place())(CoreError::Blob(problem)))
        }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self) -> Result<()> {
        files::write_whole(&self.path, self.bytes())
    }

    /// Where it was read, or will be saved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same model, to be saved at the same place, with another threshold in its header; or with none.
    ///
    /// # Errors
    /// As [`Blob::model`]; [`Error::Core`] where the threshold is not finite.
    pub fn with_threshold(&self, threshold: Option<f32>) -> Result<Self> {
        let mut model = self.model()?;
        model.header.threshold = threshold;
        Self::write(&model.header, model.parameters, &self.path)
    }

    fn write(header: &Header<'_>, parameters: &[f32], path: &Path) -> Result<Self> {
        let place = || path.display().to_string();
        let len = blob::len(header, parameters.len()).map_err(Error::core(place()))?;
        let mut blob = Self::zeroed(len, path);
        blob::write(header, parameters, blob.bytes_mut()).map_err(Error::core(place()))?;
        Ok(blob)
    }

    /// Makes a blob of what a training run has left.
    ///
    /// # Errors
    /// [`Error::Core`] where the parameters are not those of the plan's network, or not finite.
    pub fn export(
        executor: &impl Executor,
        plan: &Plan<'_>,
        parameters: &[f32],
        data_digest: u32,
        path: &Path,
    ) -> Result<Self> {
        let (recipe, network) = (plan.recipe(), plan.network());
        let (math, seed) = (plan.math(), recipe.seed);
        let digest = golden_digest(executor, network, parameters, math, seed)?;
        let header = Header {
            name: &recipe.name,
            input: network.input(),
            input_kind: InputKind::F32,
            layers: Layers::from_iter(network.layers().iter().copied()),
            code: network.code() as u32,
            preprocessing: plan.preprocessing(),
            precision: Precision::F32,
            math,
            math_digest: math.digest(),
            rounding: Default::default(),
            threshold: None,
            provenance: Provenance {
                seed,
                data_digest,
                recipe_digest: recipe.digest(),
            },
            golden: Golden { seed, digest },
        };
        Self::write(&header, parameters, path)
    }
}

fn golden_digest(
    executor: &impl Executor,
    network: &Network<'_>,
    parameters: &[f32],
    math: Math,
    seed: u64,
) -> Result<u32> {
    let (mut input, mut output) = (
        zeros("self-test", network.input().len())?,
        zeros("self-test", network.output().len())?,
    );
    let workspace = inference::workspace_len(network, 0..network.layers().len(), 1);
    let mut workspace = zeros("self-test", workspace)?;
    blob::golden_digest(
        &Inference {
            executor,
            network,
            parameters,
            math,
        },
        seed,
        &mut input,
        &mut output,
        &mut workspace,
    )
    .map_err(Error::core("self-test"))
}

/// Runs a part of a model on any number of samples.
///
/// # Errors
/// [`Error::Data`] where the model takes raw counts, which nothing here converts; [`Error::Core`] where `inputs` are no
/// whole samples, or a sum is not finite; [`Error::Memory`].
pub fn run(
    executor: &impl Executor,
    model: &Model<'_>,
    part: Part,
    inputs: &[f32],
) -> Result<Vec<f32>> {
    run_layers(executor, model, model.network.part(part), inputs)
}

/// Runs neighbouring layers of a model on any number of samples: `0..index + 1` gives the features of layer `index`.
///
/// # Errors
/// As [`run`].
pub fn run_layers(
    executor: &impl Executor,
    model: &Model<'_>,
    layers: Range<usize>,
    inputs: &[f32],
) -> Result<Vec<f32>> {
    let place = || format!("model \"{}\"", model.header.name);
    // A code is f32 whatever it was made of.
    if layers.start == 0 && model.header.input_kind != InputKind::F32 {
        return Err(Error::Data {
            place: place(),
            expected: "a model with f32 input".into(),
            given: "raw counts came: this release does not convert them".into(),
        });
    }
    let network = &model.network;
    let input_len = network.shape_before(layers.start).len();
    let output_len = network.shape_before(layers.end).len();
    let mut outputs = zeros(
        "outputs",
        inputs.len().div_ceil(input_len).saturating_mul(output_len),
    )?;
    let batch = INFERENCE_BATCH.min(inputs.len().div_ceil(input_len));
    let mut workspace = zeros(
        "inference",
        inference::workspace_len(network, layers.clone(), batch),
    )?;
    for (input, output) in inputs
        .chunks(batch.max(1) * input_len)
        .zip(outputs.chunks_mut(batch.max(1) * output_len))
    {
        let (math, layers) = (model.header.math, layers.clone());
        Inference {
            executor,
            network,
            parameters: model.parameters,
            math,
        }
        .run(layers, input, output, &mut workspace)
        .map_err(Error::core(place()))?;
    }
    Ok(outputs)
}
