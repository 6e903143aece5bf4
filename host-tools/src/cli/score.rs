//! `narrows score`.

use std::path::PathBuf;

use narrows::analysis;
use narrows::analysis::roc::Roc;
use narrows::analysis::score::{Rule, is_odd, mean, odd, of_samples};
use narrows::analysis::table::{Format, Table};
use narrows::error::Result;
use narrows::model::Blob;
use serde_json::json;

/// Score samples by the error of their reconstruction, and say which are odd
///
/// The score of a sample is the mean squared error of what the model makes of it; from the threshold on it counts as odd.
///
/// A threshold is chosen by normal samples. With --normal they are those with that label, else all. They are taken from the
/// training data where DATA has training and test data, of which the test data are scored; else they are among the scored
/// ones.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows score anomaly.narrows fashion-mnist --normal 1
  narrows score anomaly.narrows fashion-mnist --normal 1 --threshold sigma:3 --save
  narrows score heart.narrows recording.npy --step 90 --out scores.csv")]
pub(super) struct Arguments {
    /// A blob
    model: PathBuf,
    /// A folder with MNIST's IDX files, of which the test pictures are scored, or a file: .npy, .npz or IDX
    data: PathBuf,
    /// The label of normal samples, or several; with labels of other kinds beside them, it is said how well scores tell
    /// them apart
    #[arg(long, value_name = "LABEL", value_delimiter = ',')]
    normal: Vec<u8>,
    /// How the threshold is chosen: quantile:Q, mean and K standard deviations as sigma:K, or the score itself [default:
    /// the model's own, else quantile:0.99]
    #[arg(long, value_name = "RULE")]
    threshold: Option<Rule>,
    /// Keep the threshold in the model's file
    #[arg(long)]
    save: bool,
    /// Write the scores to a file: .npy or .csv
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    reading: super::DataArguments,
    #[command(flatten)]
    threads: super::Threads,
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        self.out.as_deref().map(Format::of).transpose()?;
        let blob = Blob::read(&self.model)?;
        let model = blob.model()?;
        let place = self.data.display().to_string();
        let (train, samples) = self.reading.samples(&self.data, &model)?;
        let labels = samples.labels();
        let choose = |labels| match &*self.normal {
            [] => Ok(None),
            normal => odd(labels, normal, &place).map(Some),
        };
        let is_odd_class = choose(labels)?;
        let train_odd = match &train {
            Some(train) => choose(train.labels())?,
            None => None,
        };

        let executor = self.threads.executor()?;
        let scores = of_samples(&executor, &model, &samples)?;
        let normal = |scores: &[f64], odd: &Option<Vec<bool>>| -> Vec<f64> {
            let odd = |index: usize| odd.as_ref().is_some_and(|odd| odd[index]);
            let normal = scores.iter().enumerate().filter(|(index, _)| !odd(*index));
            normal.map(|(_, score)| *score).collect()
        };
        let (rule, threshold, chosen_by) = match (self.threshold, model.header.threshold) {
            (None, Some(kept)) => ("the model's own".to_owned(), kept, 0),
            (rule, _) => {
                let rule = rule.unwrap_or(Rule::Quantile(0.99));
                let by = match (rule, &train) {
                    (Rule::Value(_), _) => Vec::new(),
                    (_, Some(train)) => normal(&of_samples(&executor, &model, train)?, &train_odd),
                    (_, None) => normal(&scores, &is_odd_class),
                };
                (rule.to_string(), rule.threshold(&by)?, by.len())
            }
        };
        let roc = is_odd_class
            .as_deref()
            .and_then(|odd| Roc::of(&scores, odd));

        if let Some(path) = &self.out {
            let values: Vec<f32> = scores.iter().map(|score| *score as f32).collect();
            let (name, axes) = ("score", &[][..]);
            let table = Table {
                name,
                axes,
                values: &values,
                labels,
            };
            table.write(path)?;
        }
        if self.save {
            blob.with_threshold(Some(threshold))?.save()?;
        }

        let over = |scores: &[f64]| {
            scores
                .iter()
                .filter(|score| is_odd(**score, threshold))
                .count()
        };
        let mut known = labels.unwrap_or(&[]).to_vec();
        known.sort_unstable();
        known.dedup();
        let of_label = |label: u8| -> Vec<f64> {
            let pairs = scores.iter().zip(labels.unwrap_or(&[]));
            pairs
                .filter(|(_, other)| **other == label)
                .map(|(score, _)| *score)
                .collect()
        };
        if json {
            let classes = known.iter().map(|label| {
                let scores = of_label(*label);
                json!({
                    "label": label, "normal": self.normal.contains(label), "samples": scores.len(),
                    "mean": mean(&scores), "odd": over(&scores),
                })
            });
            let curve = roc.as_ref().map(|roc| {
                let point = |point: analysis::roc::Point| {
                    json!([point.false_positive_rate, point.true_positive_rate])
                };
                roc.corners().into_iter().map(point).collect::<Vec<_>>()
            });
            return super::print(json!({
                "samples": scores.len(), "mean": mean(&scores), "threshold": threshold, "rule": rule,
                "normal_samples": chosen_by, "odd": over(&scores), "auc": roc.as_ref().map(|roc| roc.auc),
                "roc": curve, "labels": classes.collect::<Vec<_>>(), "saved": self.save, "output": self.out,
            }));
        }
        super::print(format!(
            "{} samples, mean score {:.6}",
            scores.len(),
            mean(&scores)
        ))?;
        let by = match (chosen_by, &train) {
            (0, _) => String::new(),
            (count, Some(_)) => format!(" of {count} normal training samples"),
            (count, None) => format!(" of {count} normal samples"),
        };
        super::print(format!("threshold {threshold:.6} ({rule}{by})"))?;
        super::print(format!(
            "{} samples are odd: {:.2} %",
            over(&scores),
            share(over(&scores), scores.len())
        ))?;
        for label in known {
            let scores = of_label(label);
            let kind = match &*self.normal {
                [] => "",
                normal if normal.contains(&label) => ", normal",
                _ => ", odd",
            };
            super::print(format!(
                "label {label:<4} {:>6} samples, mean score {:.6}, {:>6.2} % over the threshold{kind}",
                scores.len(),
                mean(&scores),
                share(over(&scores), scores.len()),
            ))?;
        }
        match (&roc, &*self.normal) {
            (Some(roc), _) => super::print(format!("AUC {:.5}", roc.auc))?,
            (None, []) => {}
            (None, _) => super::print("no AUC: every sample is a normal one")?,
        }
        if self.save {
            super::print(format!("{}: keeps the threshold", self.model.display()))?;
        }
        Ok(())
    }
}

fn share(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}
