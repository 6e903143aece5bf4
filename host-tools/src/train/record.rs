//! What is told of a run: its recipe, its data, and the figures of every epoch, as JSON in NAME.run.json.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Checkpoint, Constant, Epoch, StageEnd};
use crate::confusion::Confusion;
use crate::error::{Error, Result};
use crate::files;
use crate::recipe::{Plan, Recipe};

/// The form that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// A run, as far as it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// 1.
    pub format: u32,
    /// What was trained, and how.
    pub recipe: Recipe,
    /// The file or folder of the data, or `bundled data`.
    pub data: String,
    /// CRC-32 of the training samples; 0 before the first checkpoint, because it takes a pass over all of them.
    pub data_digest: u32,
    /// CRC-32 of the recipe's settings.
    pub recipe_digest: u32,
    /// Threads that computed.
    pub threads: usize,
    /// What they computed with.
    pub processor: String,
    /// The stages that have begun.
    pub stages: Vec<StageRecord>,
    /// What was strange.
    pub warnings: Vec<Warning>,
}

/// A stage of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Its name.
    pub name: String,
    /// The first and the last of the layers that learn.
    pub layers: [usize; 2],
    /// What each epoch was like.
    pub epochs: Vec<Epoch>,
    /// How it ended, where it has.
    pub ended: Option<Ended>,
    /// The epoch whose parameters are the result, where it was chosen.
    pub best: Option<u32>,
    /// What the validation samples were taken for at the end.
    pub confusion: Option<Confusion>,
}

/// How a stage ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All its epochs or steps are done.
    Finished,
    /// The validation loss no longer fell.
    EarlyStopping,
}

/// Something that a user should know before the run is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The stage's name.
    pub stage: String,
    /// The epoch, from 1.
    pub epoch: u32,
    /// The step of the stage, from 1.
    pub step: u64,
    /// What has become the same for every sample.
    pub constant: Constant,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.constant {
            Constant::Output => "output",
            Constant::Code => "code",
        };
        write!(
            f,
            "{}, epoch {}, step {}: the {what} has become the same for every sample; try another seed or a lower learning_rate",
            self.stage, self.epoch, self.step
        )
    }
}

impl Record {
    /// A run that has not begun.
    #[must_use]
    pub fn new(plan: &Plan<'_>, data: String, threads: usize, processor: String) -> Self {
        let recipe = plan.recipe();
        Self {
            format: FORMAT,
            recipe: recipe.clone(),
            data,
            data_digest: 0,
            recipe_digest: recipe.digest(),
            threads,
            processor,
            stages: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Takes an epoch. One that was seen before is replaced, with all that came after it.
    pub fn epoch(&mut self, plan: &Plan<'_>, epoch: &Epoch) {
        let stage = self.stage(plan, epoch.stage);
        stage.epochs.truncate(epoch.number as usize - 1);
        stage.epochs.push(*epoch);
    }

    /// Takes the end of a stage.
    pub fn stage_end(&mut self, plan: &Plan<'_>, end: &StageEnd) {
        let stage = self.stage(plan, end.stage);
        (stage.ended, stage.best) = (Some(end.ended), end.best);
        stage.confusion.clone_from(&end.confusion);
    }

    /// Goes on with what the file says of the epochs before a checkpoint, where it is of the same recipe and data. A
    /// record is not what makes a run go on: one that cannot be read is begun anew.
    pub fn resume(&mut self, plan: &Plan<'_>, path: &Path, from: &Checkpoint) {
        if let Ok(before) = Self::load(path) {
            (self.stages, self.warnings) = (before.stages, before.warnings);
        }
        let stage = self.stage(plan, from.at.stage);
        stage.epochs.truncate(from.at.epoch as usize);
        (stage.ended, stage.best, stage.confusion) = (None, None, None);
        // A run that was killed between the two has one epoch more in its checkpoint.
        if let Some(last) = from.last
            && stage.epochs.len() + 1 == last.number as usize
        {
            stage.epochs.push(last);
        }
    }

    fn stage(&mut self, plan: &Plan<'_>, index: usize) -> &mut StageRecord {
        let new = plan.stages().iter().take(index + 1).skip(self.stages.len());
        self.stages.extend(new.map(|stage| StageRecord {
            name: stage.name().into(),
            layers: [stage.layers().start, stage.layers().end - 1],
            epochs: Vec::new(),
            ended: None,
            best: None,
            confusion: None,
        }));
        self.stages.truncate(index + 1);
        &mut self.stages[index]
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|cause| Error::file(path, "write")(cause.into()))?;
        files::write_whole(path, &text)
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Unusable`] where it is not the record of a run.
    pub fn load(path: &Path) -> Result<Self> {
        let unusable = |problem: String| Error::Unusable {
            path: path.into(),
            problem,
        };
        let record: Self = serde_json::from_slice(&files::read(path)?)
            .map_err(|problem| unusable(format!("expected the record of a run: {problem}")))?;
        if record.format == FORMAT {
            Ok(record)
        } else {
            let given = record.format;
            Err(unusable(format!(
                "expected a record of form {FORMAT}, but {given} came"
            )))
        }
    }
}
