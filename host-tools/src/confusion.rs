//! What a classifier takes for what.

use narrows_core::blob::Model;
use narrows_core::kernels::Executor;
use serde::{Deserialize, Serialize};

use crate::data::Samples;
use crate::error::{Error, Result};
use crate::model::{self, Part};
use crate::train::INFERENCE_BATCH;

/// How many samples of each label were given each answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confusion {
    /// `[label][answer]`.
    counts: Vec<Vec<u64>>,
}

impl Confusion {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self {
            counts: vec![vec![0; classes]; classes],
        }
    }

    /// What a model takes labelled samples for.
    ///
    /// # Errors
    /// [`Error::Data`] where a sample has no label, or one that the model has no output for; as [`model::run`].
    pub fn of(executor: &impl Executor, model: &Model<'_>, samples: &Samples) -> Result<Self> {
        let classes = model.network.output().len();
        let problem = |given: String| Error::Data {
            place: "test data".into(),
            expected: format!("labels from 0 to {}, which the model answers", classes - 1),
            given,
        };
        let labels = samples
            .labels()
            .ok_or_else(|| problem("none came".into()))?;
        if let Some(at) = labels
            .iter()
            .position(|label| usize::from(*label) >= classes)
        {
            return Err(problem(format!("sample {at} has {}", labels[at])));
        }
        let mut confusion = Self::new(classes);
        samples.for_each_block(INFERENCE_BATCH, |first, inputs| {
            let answers = model::run(executor, model, Part::Reconstruct, inputs)?;
            for (label, answer) in labels[first..].iter().zip(answers.chunks_exact(classes)) {
                confusion.add(*label, answer);
            }
            Ok(())
        })?;
        Ok(confusion)
    }

    /// Takes one answer: the largest of the network's outputs, the first of equal ones.
    pub fn add(&mut self, label: u8, outputs: &[f32]) {
        let mut answer = 0;
        for (index, output) in outputs.iter().enumerate() {
            if *output > outputs[answer] {
                answer = index;
            }
        }
        self.counts[usize::from(label)][answer] += 1;
    }

    /// How many samples of each label, in a row, were given each answer.
    #[must_use]
    pub fn counts(&self) -> &[Vec<u64>] {
        &self.counts
    }

    /// The share of samples whose answer is their label; 0 where there are none.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let all: u64 = self.counts.iter().flatten().sum();
        let right: u64 = self
            .counts
            .iter()
            .enumerate()
            .map(|(label, row)| row[label])
            .sum();
        right as f64 / all.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_outputs_is_the_answer_and_the_diagonal_is_right() {
        let mut confusion = Confusion::new(3);
        assert_eq!(confusion.accuracy(), 0.0);
        confusion.add(0, &[0.4, 0.4, 0.2]);
        confusion.add(1, &[0.4, 0.4, 0.2]);
        confusion.add(2, &[0.1, 0.2, 0.7]);
        confusion.add(2, &[0.1, 0.8, 0.1]);
        assert_eq!(confusion.counts(), [[1, 0, 0], [1, 0, 0], [0, 1, 1]]);
        assert_eq!(confusion.accuracy(), 0.5);
    }
}
