//! `narrows bench quality`: the figures of every system, beside principal components and the mean picture.
//!
//! A system is a preset and how its figures are measured. What they should be at least, and what PyTorch with Keras's rules
//! was measured to reach, holds for the whole of Fashion-MNIST.

use std::path::PathBuf;

use narrows::analysis::pca::Pca;
use narrows::analysis::roc::Roc;
use narrows::data::{Raw, Samples};
use narrows::error::{Error, Result};
use narrows::evaluate::{Quality, corrupt};
use narrows::model::{self, Blob, Part};
use narrows::processor::Desktop;
use narrows::recipe::{Plan, Preset};
use narrows::train::{self, Outcome};
use serde_json::{Map, json};

use super::{Measured, load};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A folder with MNIST's four IDX files, or a file: .npy, .npz or IDX [default: what comes with the program]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The systems to measure [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    systems: Vec<String>,
    /// Each system is trained with each seed
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        default_value = "0,1,2"
    )]
    seeds: Vec<u64>,
    #[command(flatten)]
    threads: super::super::Threads,
}

/// What makes up a system's figures.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// The error of what it gives back, and its code.
    Reconstruction,
    /// How far noise is undone.
    Denoising,
    /// How often it answers with the label, before its last stage and after.
    Classification,
    /// How well errors tell classes from the one that it was trained on.
    Anomaly,
}

/// A figure, and what stands beside it.
struct Figure {
    /// The key that it has in JSON.
    key: &'static str,
    /// What it should be at least or at most.
    bound: Bound,
    /// What PyTorch with Keras's rules reached: as recorded, the least, the median and the most of three seeds.
    recorded: &'static str,
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

struct System {
    /// The preset's name.
    name: &'static str,
    measure: Measure,
    figures: &'static [Figure],
}

const fn at_most(key: &'static str, bound: f64, recorded: &'static str) -> Figure {
    Figure {
        key,
        bound: Bound::AtMost(bound),
        recorded,
    }
}

const fn at_least(key: &'static str, bound: f64, recorded: &'static str) -> Figure {
    Figure {
        key,
        bound: Bound::AtLeast(bound),
        recorded,
    }
}

const SYSTEMS: &[System] = &[
    System {
        name: "vanilla",
        measure: Measure::Reconstruction,
        figures: &[at_most("test_mse", 0.00939, ".00912 / .00921 / .00922")],
    },
    System {
        name: "multilayer",
        measure: Measure::Reconstruction,
        figures: &[at_most("test_mse", 0.00982, ".00956 / .00963 / .00968")],
    },
    System {
        name: "convolutional",
        measure: Measure::Reconstruction,
        figures: &[at_most("test_mse", 0.01432, ".01391, one seed")],
    },
    System {
        name: "sparse",
        measure: Measure::Reconstruction,
        figures: &[
            at_most("test_mse", 0.0112, ".01071 / .01099 / .01108"),
            at_most("code_mean", 0.43, ".40"),
            at_least("code_zero_share", 0.35, ".37 / .41 / .41"),
        ],
    },
    System {
        name: "sparse-kl",
        measure: Measure::Reconstruction,
        figures: &[
            at_most("test_mse", 0.0171, ".01641 / .01672 / .01682"),
            at_most("code_mean", 0.066, ".061"),
        ],
    },
    System {
        name: "denoising",
        measure: Measure::Denoising,
        figures: &[at_least("psnr_denoised", 17.3, "17.36 / 17.46 / 17.46")],
    },
    System {
        name: "denoising-convolutional",
        measure: Measure::Denoising,
        figures: &[at_least("psnr_denoised", 16.4, "16.6, one seed")],
    },
    System {
        name: "stacked",
        measure: Measure::Classification,
        figures: &[
            at_least("accuracy_before", 0.806, ".809 to .814, six runs"),
            at_least("accuracy_after", 0.869, ".867 to .877, median .874"),
        ],
    },
    System {
        name: "anomaly",
        measure: Measure::Anomaly,
        figures: &[at_least("auc", 0.9885, ".9890 / .9892 / .9895")],
    },
];

/// The label of what is normal in the anomaly system.
const NORMAL: u8 = 1;

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let systems = self.systems()?;
        let (raw, place) = load(self.data.as_deref())?;
        let executor = self.threads.executor()?;
        if !json {
            super::super::print(format!(
                "{place}; medians over seeds {}; bounds and PyTorch's figures, as recorded, are for Fashion-MNIST whole, 5 epochs\n\
                 {:<24}{:<16}{:>9}  {:<20}{:<14}{:<26}{:<12}{}",
                self.seeds
                    .iter()
                    .map(u64::to_string)
                    .collect::<Vec<_>>()
                    .join(", "),
                "system",
                "figure",
                "median",
                "(from to)",
                "should be",
                "PyTorch, recorded",
                "PCA",
                "mean picture"
            ))?;
        }
        // Most systems have the same training data, and one decomposition does for them.
        let mut pca = None;
        for (system, preset) in systems {
            let mut found: Vec<(&str, Measured)> = Vec::new();
            for seed in &self.seeds {
                let own = system.figures(&executor, preset, *seed, raw.clone(), &place)?;
                if json {
                    let mut object = Map::new();
                    object.insert("system".into(), system.name.into());
                    object.insert("seed".into(), (*seed).into());
                    let own = own
                        .into_iter()
                        .map(|(key, value)| (key.into(), json!(value)));
                    object.extend(own);
                    super::super::print(serde_json::Value::Object(object))?;
                    continue;
                }
                for (key, value) in own {
                    match found.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, measured)) => measured.add(value),
                        None => {
                            let mut measured = Measured::default();
                            measured.add(value);
                            found.push((key, measured));
                        }
                    }
                }
            }
            if !json {
                let linear = system.linear(preset, raw.clone(), &place, &mut pca)?;
                system.print(&found, &linear)?;
            }
        }
        Ok(())
    }

    fn systems(&self) -> Result<Vec<(&'static System, Preset)>> {
        let named = |name: &String| {
            let found = SYSTEMS.iter().find(|system| system.name == name);
            found.ok_or_else(|| {
                let known: Vec<&str> = SYSTEMS.iter().map(|system| system.name).collect();
                Error::Unknown(format!(
                    "--systems: expected some of {}, but {name:?} came",
                    known.join(", ")
                ))
            })
        };
        let chosen: Vec<&System> = if self.systems.is_empty() {
            SYSTEMS.iter().collect()
        } else {
            self.systems.iter().map(named).collect::<Result<_>>()?
        };
        let with_preset = |system: &'static System| Ok((system, Preset::find(system.name)?));
        chosen.into_iter().map(with_preset).collect()
    }
}

/// What a system is judged by.
struct Test {
    samples: Samples,
    /// The samples' numbers, and what noise has made of them where there is noise.
    clean: Vec<f32>,
    noisy: Option<Vec<f32>>,
}

impl Test {
    /// `noise` draws with the seed of the plan, as the run's validation does.
    fn new(executor: &Desktop, plan: &Plan<'_>, raw: Raw, place: &str) -> Result<Self> {
        let (network, recipe) = (plan.network(), plan.recipe());
        let samples = raw.test_data(network, plan.preprocessing(), place)?;
        let noisy = plan
            .noise()
            .map(|noise| corrupt(executor, noise, recipe.seed, &samples));
        Ok(Self {
            clean: samples.to_vec()?,
            noisy: noisy.transpose()?,
            samples,
        })
    }

    fn input(&self) -> &[f32] {
        self.noisy.as_deref().unwrap_or(&self.clean)
    }
}

/// Figures with their keys.
type Figures = Vec<(&'static str, f64)>;

impl System {
    /// Trains with a seed; the figures of the network.
    fn figures(
        &self,
        executor: &Desktop,
        preset: Preset,
        seed: u64,
        raw: Raw,
        place: &str,
    ) -> Result<Figures> {
        let mut recipe = preset.recipe()?;
        recipe.seed = seed;
        let plan = recipe.plan()?;
        let data = raw.clone().training_data(&plan, place)?;
        let outcome = executor.enter(|| train::run(executor, &plan, &data, None, &mut ()))?;
        if self.measure == Measure::Classification {
            return accuracies(&plan, &outcome);
        }
        let test = Test::new(executor, &plan, raw, place)?;
        let name = format!("{}.narrows", self.name);
        let blob = Blob::export(executor, &plan, &outcome.parameters, 0, name.as_ref())?;
        let model = blob.model()?;
        let run = |part| model::run(executor, &model, part, test.input());
        let mut figures = self.judge(&test, &run(Part::Reconstruct)?)?;
        if self.measure == Measure::Reconstruction {
            figures.extend(code_figures(&run(Part::Encode)?));
        }
        Ok(figures)
    }

    /// The figures of answers, whoever gave them.
    fn judge(&self, test: &Test, answers: &[f32]) -> Result<Figures> {
        let quality = Quality::of(answers, &test.clean);
        Ok(match self.measure {
            Measure::Reconstruction => vec![("test_mse", quality.mean_squared_error)],
            Measure::Denoising => {
                let noisy = Quality::of(test.input(), &test.clean);
                vec![
                    ("psnr_noisy", noisy.psnr()),
                    ("psnr_denoised", quality.psnr()),
                ]
            }
            Measure::Anomaly => vec![("auc", auc(test, answers)?)],
            // It gives back nothing.
            Measure::Classification => Vec::new(),
        })
    }

    /// The figures of as many principal components as the code has numbers, and of the mean picture. `known` keeps the
    /// components of the whole training data.
    fn linear(
        &self,
        preset: Preset,
        raw: Raw,
        place: &str,
        known: &mut Option<Pca>,
    ) -> Result<[Figures; 2]> {
        if self.measure == Measure::Classification {
            return Ok([const { Vec::new() }; 2]);
        }
        let recipe = preset.recipe()?;
        let plan = recipe.plan()?;
        let network = plan.network();
        let code = network.shape_before(network.code() + 1).len();
        let test = Test::new(&Desktop::new(1)?, &plan, raw.clone(), place)?;
        // An anomaly system is trained on a part of them.
        let mut own = None;
        let slot = if self.measure == Measure::Anomaly {
            &mut own
        } else {
            known
        };
        let pca: &Pca = match slot {
            Some(pca) if pca.len() >= code => pca,
            slot => {
                let train = raw.training_data(&plan, place)?.train;
                slot.insert(Pca::fit(&train.to_vec()?, train.sample_len(), code)?)
            }
        };
        let judged = |components| self.judge(&test, &pca.reconstruct(test.input(), components));
        Ok([judged(code)?, judged(0)?])
    }

    fn print(&self, found: &[(&str, Measured)], [pca, mean]: &[Figures; 2]) -> Result<()> {
        let beside = |figures: &Figures, key: &str| {
            let of_key = figures.iter().find(|(known, _)| *known == key);
            of_key.map_or(String::new(), |(_, value)| figure(*value))
        };
        for (key, measured) in found {
            let median = measured.median();
            let (bound, recorded) = match self.figures.iter().find(|figure| figure.key == *key) {
                None => (String::new(), ""),
                Some(known) => {
                    let (sign, bound, reached) = match known.bound {
                        Bound::AtMost(bound) => ("<=", bound, median <= bound),
                        Bound::AtLeast(bound) => (">=", bound, median >= bound),
                    };
                    let mark = if reached { "" } else { " !" };
                    (format!("{sign} {bound}{mark}"), known.recorded)
                }
            };
            super::super::print(
                format!(
                    "{:<24}{key:<16}{:>9}  {:<20}{bound:<14}{recorded:<26}{:<12}{}",
                    self.name,
                    figure(median),
                    format!(
                        "({} {})",
                        figure(measured.lowest()),
                        figure(measured.highest())
                    ),
                    beside(pca, key),
                    beside(mean, key),
                )
                .trim_end(),
            )?;
        }
        Ok(())
    }
}

/// Five digits of small figures, two places of large ones.
fn figure(value: f64) -> String {
    if value.abs() < 5.0 {
        format!("{value:.5}")
    } else {
        format!("{value:.2}")
    }
}

/// The mean of a code's numbers, of their absolute values, and the share of those that are exactly zero.
fn code_figures(code: &[f32]) -> Figures {
    let count = code.len().max(1) as f64;
    let mean = |of: fn(f32) -> f64| code.iter().map(|value| of(*value)).sum::<f64>() / count;
    vec![
        ("code_mean", mean(f64::from)),
        ("code_mean_abs", mean(|value| f64::from(value.abs()))),
        (
            "code_zero_share",
            mean(|value| f64::from(u8::from(value == 0.0))),
        ),
    ]
}

/// The share of test samples that are given their label, before the last stage and after it.
fn accuracies(plan: &Plan<'_>, outcome: &Outcome) -> Result<Figures> {
    let of_stage = |stage: Option<usize>| {
        let mut epochs = outcome.epochs.iter().rev();
        let last = epochs.find(|epoch| Some(epoch.stage) == stage);
        last.and_then(|epoch| epoch.accuracy)
            .ok_or_else(|| Error::Data {
                place: format!("recipe \"{}\"", plan.recipe().name),
                expected: "two last stages with labels, and labelled test data".into(),
                given: "others came".into(),
            })
    };
    let stages = plan.stages().len();
    Ok(vec![
        ("accuracy_before", of_stage(stages.checked_sub(2))?),
        ("accuracy_after", of_stage(stages.checked_sub(1))?),
    ])
}

/// How well the mean squared errors tell samples with other labels from normal ones.
fn auc(test: &Test, answers: &[f32]) -> Result<f64> {
    let len = test.samples.sample_len();
    let pairs = answers.chunks_exact(len).zip(test.clean.chunks_exact(len));
    let scores: Vec<f64> = pairs
        .map(|(given, wanted)| Quality::of(given, wanted).mean_squared_error)
        .collect();
    let labels = test.samples.labels().unwrap_or_default();
    let odd: Vec<bool> = labels.iter().map(|label| *label != NORMAL).collect();
    let roc = Roc::of(&scores, &odd).ok_or_else(|| Error::Data {
        place: "test data".into(),
        expected: format!("samples with label {NORMAL}, and with others"),
        given: format!(
            "{} labels came, without the one or the others",
            labels.len()
        ),
    })?;
    Ok(roc.auc)
}
