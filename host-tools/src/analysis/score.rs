//! How badly a model gives back each sample, and from which score on a sample counts as odd.

use std::fmt;
use std::str::FromStr;

use narrows_core::blob::Model;
use narrows_core::kernels::Executor;

use crate::data::Samples;
use crate::error::{Error, Result};
use crate::evaluate::{Quality, check_reconstructs};
use crate::model::{self, Part};

/// Samples whose answers are in memory at once.
const BLOCK: usize = 1024;

/// The score of each of `samples`, `[sample][element]`: the mean squared error of what the model makes of it.
///
/// # Errors
/// As [`model::run`]; [`Error::Data`] where the model gives back no samples.
pub fn errors(executor: &impl Executor, model: &Model<'_>, samples: &[f32]) -> Result<Vec<f64>> {
    check_reconstructs(model)?;
    let len = model.network.input().len();
    let mut errors = Vec::with_capacity(samples.len() / len);
    for block in samples.chunks(BLOCK * len) {
        let answers = model::run(executor, model, Part::Reconstruct, block)?;
        let pairs = answers.chunks_exact(len).zip(block.chunks_exact(len));
        errors.extend(pairs.map(|(answer, sample)| Quality::of(answer, sample).mean_squared_error));
    }
    Ok(errors)
}

/// The score of each sample, of which only some are in memory at a time.
///
/// # Errors
/// As [`errors`] and [`Samples::read`].
pub fn of_samples(
    executor: &impl Executor,
    model: &Model<'_>,
    samples: &Samples,
) -> Result<Vec<f64>> {
    let mut scores = Vec::with_capacity(samples.len());
    samples.for_each_block(BLOCK, |_, block| {
        scores.extend(errors(executor, model, block)?);
        Ok(())
    })?;
    Ok(scores)
}

/// The mean of scores; 0 where there are none.
#[must_use]
pub fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len().max(1) as f64
}

/// How a threshold is chosen. Its text is `quantile:Q`, `sigma:K` or a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// The score that this share of normal samples, from 0 to 1, does not exceed; between two scores it is interpolated, as
    /// NumPy's `quantile` does (definition 7 of Hyndman and Fan, 1996).
    Quantile(f64),
    /// So many standard deviations, at least 0, above the mean of normal scores.
    Sigma(f64),
    /// This score, at least 0.
    Value(f64),
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| *number >= 0.0);
        let (kind, rest) = text.split_once(':').unwrap_or(("", text));
        let rule = match (kind, number(rest)) {
            ("quantile", Some(share)) if share <= 1.0 => Some(Self::Quantile(share)),
            ("sigma", Some(factor)) if factor.is_finite() => Some(Self::Sigma(factor)),
            ("", Some(score)) if (score as f32).is_finite() => Some(Self::Value(score)),
            _ => None,
        };
        rule.ok_or_else(|| {
            "expected quantile:Q with Q from 0 to 1, sigma:K with K at least 0, or a score of at least 0".into()
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quantile(share) => write!(f, "quantile:{share}"),
            Self::Sigma(factor) => write!(f, "sigma:{factor}"),
            Self::Value(score) => write!(f, "{score}"),
        }
    }
}

impl Rule {
    /// The threshold by the scores of normal samples, as a blob keeps it. A sample counts as odd from it on.
    ///
    /// # Errors
    /// [`Error::Data`] where there are no normal samples to choose by, or where the threshold is too large for 32 bits.
    pub fn threshold(self, normal: &[f64]) -> Result<f32> {
        let refuse = |expected: &str, given: String| Error::Data {
            place: format!("threshold {self}"),
            expected: expected.into(),
            given,
        };
        if normal.is_empty() && !matches!(self, Self::Value(_)) {
            let expected = "normal samples to choose it by";
            return Err(refuse(expected, "none came".into()));
        }
        let threshold = match self {
            Self::Quantile(share) => {
                let mut sorted = normal.to_vec();
                sorted.sort_by(f64::total_cmp);
                let at = share * (sorted.len() - 1) as f64;
                let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
                low + (high - low) * at.fract()
            }
            Self::Sigma(factor) => {
                let mean = mean(normal);
                let squares = normal.iter().map(|score| (score - mean).powi(2));
                mean + factor * (squares.sum::<f64>() / normal.len() as f64).sqrt()
            }
            Self::Value(score) => score,
        };
        let rounded = threshold as f32;
        if rounded.is_finite() {
            Ok(rounded)
        } else {
            let expected = "a finite threshold of 32 bits";
            Err(refuse(expected, format!("{threshold} came")))
        }
    }
}

/// Whether a score counts as odd.
#[must_use]
pub fn is_odd(score: f64, threshold: f32) -> bool {
    score >= f64::from(threshold)
}

/// Which samples have a label that is not among the normal ones.
///
/// # Errors
/// [`Error::Data`] where there are no labels, or where none is a normal one, with those that there are.
pub fn odd(labels: Option<&[u8]>, normal: &[u8], place: &str) -> Result<Vec<bool>> {
    let refuse = |expected: String, given: &str| Error::Data {
        place: place.into(),
        expected,
        given: given.into(),
    };
    let Some(labels) = labels else {
        let expected = "labels, by which normal samples are chosen".into();
        return Err(refuse(expected, "none came"));
    };
    for label in normal {
        if !labels.contains(label) {
            let mut known = labels.to_vec();
            known.sort_unstable();
            known.dedup();
            // A line that can be read.
            let more = if known.len() > 20 { ", ..." } else { "" };
            let names = known.iter().take(20).map(u8::to_string);
            let names = names.collect::<Vec<_>>().join(", ");
            let expected = format!("a label that is there ({names}{more})");
            return Err(refuse(expected, &format!("{label} came")));
        }
    }
    Ok(labels.iter().map(|label| !normal.contains(label)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_those_of_their_definitions() {
        let scores = [4.0, 1.0, 3.0, 2.0];
        let threshold = |text: &str| text.parse::<Rule>().unwrap().threshold(&scores).unwrap();
        assert_eq!(threshold("quantile:0"), 1.0);
        assert_eq!(threshold("quantile:0.5"), 2.5);
        assert_eq!(threshold("quantile:0.9"), 3.7);
        assert_eq!(threshold("quantile:1"), 4.0);
        assert_eq!(threshold("sigma:0"), 2.5);
        assert_eq!(threshold("sigma:2"), 2.5 + 2.0 * 1.25_f32.sqrt());
        assert_eq!(threshold("0.125"), 0.125);
        assert!(is_odd(4.0, 4.0) && !is_odd(3.9, 4.0));
        assert_eq!(Rule::Value(7.0).threshold(&[]).unwrap(), 7.0);
        assert_eq!(Rule::Sigma(3.0).threshold(&[0.5]).unwrap(), 0.5);
        for rule in [Rule::Quantile(0.5), Rule::Sigma(1.0)] {
            let refused = rule.threshold(&[]).unwrap_err().to_string();
            assert!(refused.contains("normal samples"), "{refused}");
        }
        assert!(Rule::Sigma(1e300).threshold(&scores).is_err());
    }

    #[test]
    fn a_rule_that_is_none_is_refused() {
        for text in [
            "",
            "quantile",
            "quantile:",
            "quantile:1.1",
            "quantile:-0.1",
            "quantile:nan",
            "sigma:-1",
            "sigma:inf",
            "-1",
            "nan",
            "inf",
            "1e39",
            "median:0.5",
            "sigma:2:3",
        ] {
            let refused = text.parse::<Rule>().unwrap_err();
            assert!(refused.contains("expected quantile:Q"), "{text}");
        }
        for rule in [Rule::Quantile(0.99), Rule::Sigma(3.0), Rule::Value(0.01)] {
            assert_eq!(rule.to_string().parse(), Ok(rule));
        }
    }

    #[test]
    fn a_class_that_is_absent_is_refused_with_those_that_are_there() {
        let labels = [3, 1, 1, 7];
        assert_eq!(
            odd(Some(&labels), &[1], "here").unwrap(),
            [true, false, false, true]
        );
        assert_eq!(
            odd(Some(&labels), &[1, 7], "here").unwrap(),
            [true, false, false, false]
        );
        let refused = odd(Some(&labels), &[12], "here").unwrap_err().to_string();
        assert_eq!(
            refused,
            "here: expected a label that is there (1, 3, 7), but 12 came"
        );
        let refused = odd(None, &[1], "here").unwrap_err().to_string();
        assert!(refused.contains("expected labels"), "{refused}");
    }
}
