//! `narrows sweep`.

use std::path::PathBuf;
use std::process::ExitCode;

use narrows::analysis::sweep::{Change, Point, Sweep, knee};
use narrows::error::Result;
use narrows::recipe::Recipe;
use narrows::{data, files};
use serde_json::json;

use super::progress::{stop_on_ctrl_c, stopped};

/// Train variants of a recipe side by side, and show error and cost by the size of the code
///
/// Each variant is trained with one thread. Its model and its figures are kept in the folder of --out as soon as it is
/// finished, and survive whatever ends the sweep then; --resume takes them as they are.
///
/// The knee is the code size from which on a larger code hardly helps: the point of the curve that is farthest below the
/// straight line from its first point to its last, over the logarithm of the code size.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows sweep vanilla --code 8,16,32,64,128
  narrows sweep vanilla --code 16,64 --layers 1,2,3 --units 128 --data fashion-mnist --epochs 5 --out sweep
  narrows sweep convolutional --code 2,4,8 --out sweep --resume")]
pub(super) struct Arguments {
    /// A preset (see `narrows preset`) or a file with a recipe
    #[arg(value_name = "PRESET|RECIPE.toml")]
    recipe: String,
    /// Units of the code layer, or its filters where it is a convolution or a pooling after one [default: the recipe's]
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', value_parser = super::at_least_one::<u32>)]
    code: Vec<u32>,
    /// Layers from the input to the code, that of the code among them; as many lead back [default: the recipe's]
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', value_parser = super::at_least_one::<usize>)]
    layers: Vec<usize>,
    /// Units of each layer before the code and after it [default: in equal ratios from the input to the code]
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', value_parser = super::at_least_one::<u32>)]
    units: Vec<u32>,
    /// A folder with MNIST's four IDX files, or a file: .npy, .npz or IDX [default: what comes with the program]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Times that each sample is seen
    #[arg(long, value_name = "N", value_parser = super::at_least_one::<u32>)]
    epochs: Option<u32>,
    /// Behind every random draw
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Variants that are trained at a time [default: as many as the machine has threads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Where models and figures are kept
    #[arg(long, value_name = "DIR", default_value = "sweep")]
    out: PathBuf,
    /// Take what an earlier sweep finished in the folder of --out
    #[arg(long)]
    resume: bool,
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<ExitCode> {
        let mut recipe = super::recipe(&self.recipe)?;
        for training in recipe.trainings_mut() {
            training.epochs = self.epochs.unwrap_or(training.epochs);
        }
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        let changes = Change::combinations(&self.code, &self.layers, &self.units);
        let variants: Vec<(Change, Recipe)> = changes
            .into_iter()
            .map(|change| Ok((change, change.apply(&recipe)?)))
            .collect::<Result<_>>()?;
        let plan = recipe.plan()?;
        let (raw, place) = data::load_for(&plan, self.data.as_deref())?;
        let data = raw.training_data(&plan, &place)?;
        files::make_folder(&self.out)?;

        stop_on_ctrl_c()?;
        let threads = super::Threads { threads: self.jobs };
        let sweep = Sweep {
            variants: &variants,
            data: &data,
            folder: &self.out,
            jobs: threads.count(),
            resume: self.resume,
            stop: &stopped,
        };
        let mut done = 0;
        let points = sweep.run(|point, old| {
            done += 1;
            if json {
                return super::print(as_json(point));
            }
            let how = if old { "was there" } else { "trained" };
            super::print(format!("{done}/{} {how}: {}", variants.len(), point.name))
        })?;
        if points.len() < variants.len() {
            super::print(if json {
                json!({ "stopped": true, "finished": points.len(), "of": variants.len() })
                    .to_string()
            } else {
                format!(
                    "stopped with {} of {} finished; --resume goes on from {}",
                    points.len(),
                    variants.len(),
                    self.out.display()
                )
            })?;
            return Ok(ExitCode::from(130));
        }

        // A curve for each network around the code.
        let mut curves: Vec<Vec<&Point>> = Vec::new();
        for point in &points {
            let around = |point: &Point| (point.change.layers, point.change.units);
            match curves
                .iter_mut()
                .find(|curve| around(curve[0]) == around(point))
            {
                Some(curve) => curve.push(point),
                None => curves.push(vec![point]),
            }
        }
        if !json {
            super::print("")?;
            super::print(format!(
                "{:<32} {:>6} {:>10} {:>10} {:>11} {:>9} {:>13}",
                "variant",
                "code",
                "training",
                "unseen",
                "flash bytes",
                "RAM bytes",
                "instructions*"
            ))?;
        }
        for mut curve in curves {
            curve.sort_by_key(|point| point.code_len);
            let values: Vec<(usize, f64)> = curve
                .iter()
                .map(|point| (point.code_len, point.error()))
                .collect();
            let knee = knee(&values);
            if json {
                let names: Vec<&str> = curve.iter().map(|point| &*point.name).collect();
                super::print(json!({
                    "curve": names, "code": values.iter().map(|value| value.0).collect::<Vec<_>>(),
                    "error": values.iter().map(|value| value.1).collect::<Vec<_>>(),
                    "knee": knee.map(|index| &*curve[index].name),
                }))?;
                continue;
            }
            for (index, point) in curve.iter().enumerate() {
                let unseen = point
                    .unseen_error
                    .map_or("-".into(), |error| format!("{error:.6}"));
                super::print(format!(
                    "{:<32} {:>6} {:>10.6} {unseen:>10} {:>11} {:>9} {:>13}{}",
                    point.name,
                    point.code_len,
                    point.train_error,
                    point.cost.flash_bytes,
                    point.cost.ram_bytes,
                    point.cost.instructions_estimate,
                    if knee == Some(index) {
                        "  <- the knee"
                    } else {
                        ""
                    },
                ))?;
            }
        }
        if !json {
            super::print("")?;
            super::print(
                "* for one sample on a Cortex-M4F in f32: an estimate, 3.56 for each multiply-accumulate, as was \
                 counted for dense layers",
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn as_json(point: &Point) -> serde_json::Value {
    let cost = point.cost;
    json!({
        "variant": point.name, "code_setting": point.change.code, "layers": point.change.layers,
        "units": point.change.units, "code": point.code_len, "train_mse": point.train_error,
        "test_mse": point.unseen_error, "parameters": cost.parameters, "flash_bytes": cost.flash_bytes,
        "ram_bytes": cost.ram_bytes, "multiply_accumulates": cost.multiply_accumulates,
        "instructions_estimate": cost.instructions_estimate,
    })
}
