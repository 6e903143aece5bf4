//! Checkpoints: all that a run needs to go on to the same bits.
//!
//! # Format, version 1
//!
//! `NARC`, the version (u16), the header's length (u32), the header in postcard's encoding; the parameters of the network, of
//! the stage's decoder, the optimizer's state, and the best epoch's parameters (f32); and a CRC-32 of all bytes before it; little-endian.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Epoch;
use crate::data::Data;
use crate::error::{Error, Result};
use crate::files;
use crate::recipe::{Plan, Recipe, Stage};
use crate::weights::Weights;

const MAGIC: &[u8; 4] = b"NARC";
const VERSION: u16 = 1;

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The index of the stage.
    pub stage: usize,
    /// Epochs of the stage that are over.
    pub epoch: u32,
    /// Samples of the current epoch that are behind.
    pub sample: usize,
    /// The sum of their losses.
    pub loss: f64,
    /// The sum of what was paid beside them.
    pub penalty: f64,
}

/// The best epoch of a stage so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// Its number, from 1.
    pub epoch: u32,
    /// Its loss, of the validation samples where there are any.
    pub loss: f64,
    /// The stage's parameters, its decoder's behind them.
    pub parameters: Vec<f32>,
}

/// A run at the end of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Digest of the recipe without its number of epochs, which may change.
    pub recipe_digest: u32,
    /// Digest of the training samples.
    pub data_digest: u32,
    /// How far it is.
    pub at: Position,
    /// Steps done.
    pub steps: u64,
    /// The optimizer's powers.
    pub powers: [f64; 2],
    /// The network's parameters.
    pub parameters: Vec<f32>,
    /// Those of the stage's decoder.
    pub decoder: Vec<f32>,
    /// The optimizer's moments.
    pub state: Vec<f32>,
    /// The best epoch, where the recipe wants it kept.
    pub best: Option<Best>,
    /// The figures of the last finished epoch of the stage, without the times that it took.
    pub last: Option<Epoch>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    recipe_digest: u32,
    data_digest: u32,
    at: Position,
    steps: u64,
    powers: [f64; 2],
    parameters: usize,
    decoder: usize,
    state: usize,
    best: Option<(u32, f64, usize)>,
    last: Option<Epoch>,
}

impl Checkpoint {
    /// The start of a run from given weights instead of drawn ones, and with their moments where there are some.
    ///
    /// # Errors
    /// [`Error::Core`] where they are not the network's.
    pub fn start(plan: &Plan<'_>, data: &Data, weights: Weights) -> Result<Self> {
        let Weights {
            parameters,
            moments,
        } = weights;
        plan.network()
            .check_parameters(&parameters)
            .map_err(Error::core("weights to start from"))?;
        let decoder = plan.stages().first().map(Stage::initial_decoder);
        let (state, steps, powers) = match moments {
            None => (Vec::new(), 0, [1.0; 2]),
            Some(moments) => (moments.state, moments.steps, moments.powers),
        };
        Ok(Self {
            recipe_digest: digest(plan.recipe()),
            data_digest: data.digest()?,
            at: Position::default(),
            steps,
            powers,
            parameters,
            decoder: decoder.unwrap_or_default(),
            state,
            best: None,
            last: None,
        })
    }

    /// Writes the checkpoint, whole or not at all.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let header = Header {
            recipe_digest: self.recipe_digest,
            data_digest: self.data_digest,
            at: self.at,
            steps: self.steps,
            powers: self.powers,
            parameters: self.parameters.len(),
            decoder: self.decoder.len(),
            state: self.state.len(),
            best: self
                .best
                .as_ref()
                .map(|best| (best.epoch, best.loss, best.parameters.len())),
            last: self.last,
        };
        let best = self.best.iter().flat_map(|best| &best.parameters);
        let numbers = self.parameters.iter().chain(&self.decoder);
        let numbers = numbers.chain(&self.state).chain(best);
        let header = postcard::to_stdvec(&header)
            .map_err(|cause| Error::file(path, "encode")(std::io::Error::other(cause)))?;
        let mut bytes = Vec::new();
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((header.len() as u32).to_le_bytes());
        bytes.extend(header);
        bytes.extend(numbers.flat_map(|value| value.to_le_bytes()));
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        files::write_whole(path, &bytes)
    }

    /// Reads a checkpoint of any run.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Unusable`] where it is damaged.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&files::read(path)?).map_err(|problem| Error::Unusable {
            path: path.to_path_buf(),
            problem: format!("checkpoint: {problem}"),
        })
    }

    /// Reads a checkpoint and checks that it is one of this recipe's on these data.
    ///
    /// # Errors
    /// As [`Checkpoint::read`]; [`Error::Unusable`] where it belongs to another run.
    pub fn load(path: &Path, plan: &Plan<'_>, data: &Data) -> Result<Self> {
        let checkpoint = Self::read(path)?;
        let unusable = |problem: String| Error::Unusable {
            path: path.to_path_buf(),
            problem,
        };
        if checkpoint.recipe_digest != digest(plan.recipe()) {
            return Err(unusable(format!(
                "expected a checkpoint of the recipe \"{}\" with these settings, but it is of another ({:08x}, not {:08x})",
                plan.recipe().name,
                checkpoint.recipe_digest,
                digest(plan.recipe())
            )));
        }
        let given = data.digest()?;
        if checkpoint.data_digest != given {
            let expected = checkpoint.data_digest;
            return Err(unusable(format!(
                "expected the data that it was trained on ({expected:08x}), but others ({given:08x}) came"
            )));
        }
        let at = checkpoint.at;
        let epochs = plan
            .stages()
            .get(at.stage)
            .map(|stage| stage.training().epochs);
        let Some(epochs) = epochs else {
            return Err(unusable(format!(
                "expected a run within {} stages, but {} are behind it",
                plan.stages().len(),
                at.stage
            )));
        };
        if at.epoch > epochs || (at.epoch == epochs && at.sample > 0) {
            let behind = at.epoch;
            return Err(unusable(format!(
                "expected a run that is within {epochs} epochs, but {behind} and {} samples are behind it",
                at.sample
            )));
        }
        if at.sample > data.train.len() {
            return Err(unusable(
                "expected a place within the epoch, but a later one came".into(),
            ));
        }
        Ok(checkpoint)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let magic = bytes
            .first_chunk::<4>()
            .ok_or("expected at least 14 bytes, but fewer came")?;
        if magic != MAGIC {
            return Err(format!(
                "expected it to begin with \"NARC\", but the bytes {magic:02x?} came"
            ));
        }
        let (content, checksum) = bytes
            .split_last_chunk::<4>()
            .ok_or("expected at least 14 bytes, but fewer came")?;
        let (expected, found) = (u32::from_le_bytes(*checksum), crc32fast::hash(content));
        if expected != found {
            return Err(format!(
                "expected the checksum {expected:08x}, but the bytes give {found:08x}: they are damaged or cut"
            ));
        }
        let damaged = "expected a header of version 1, but the bytes do not decode as one";
        let (version, rest) = content[MAGIC.len()..]
            .split_first_chunk::<2>()
            .ok_or(damaged)?;
        let version = u16::from_le_bytes(*version);
        if version != VERSION {
            return Err(format!("expected version {VERSION}, but {version} came"));
        }
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(damaged)?;
        let (header, numbers) = rest
            .split_at_checked(u32::from_le_bytes(*length) as usize)
            .ok_or(damaged)?;
        let header: Header = postcard::from_bytes(header).map_err(|_| damaged)?;
        let best = header.best.map_or(0, |(_, _, parameters)| parameters);
        let counts = [header.parameters, header.decoder, header.state, best];
        let count = counts
            .iter()
            .try_fold(0usize, |sum, count| sum.checked_add(*count));
        let count = count.ok_or(damaged)?;
        if count.checked_mul(4) != Some(numbers.len()) {
            return Err(format!(
                "expected {count} numbers, but {} bytes came",
                numbers.len()
            ));
        }
        let mut numbers = numbers
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        Ok(Self {
            recipe_digest: header.recipe_digest,
            data_digest: header.data_digest,
            at: header.at,
            steps: header.steps,
            powers: header.powers,
            parameters: numbers.by_ref().take(header.parameters).collect(),
            decoder: numbers.by_ref().take(header.decoder).collect(),
            state: numbers.by_ref().take(header.state).collect(),
            best: header.best.map(|(epoch, loss, _)| Best {
                epoch,
                loss,
                parameters: numbers.collect(),
            }),
            last: header.last,
        })
    }
}

/// A recipe's digest without what may change when a run goes on.
pub(super) fn digest(recipe: &Recipe) -> u32 {
    let mut recipe = recipe.clone();
    (recipe.training.epochs, recipe.training.steps) = (0, None);
    recipe.digest()
}
