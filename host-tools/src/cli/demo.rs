//! `narrows demo`: from data to a device's answers.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use narrows::device::qemu::{Emulator, INSTRUCTIONS_PER_TICK};
use narrows::error::{Error, Result};
use narrows::evaluate::{Quality, corrupt, same_bits};
use narrows::footprint::Footprint;
use narrows::model::{Blob, Part};
use narrows::picture::{self, Row};
use narrows::recipe::Preset;
use narrows::{data, files, model, train};
use narrows_core::shape::Shape;
use serde_json::json;

use super::progress::{Console, stop_on_ctrl_c};

/// Train a denoiser, put it on an emulated Cortex-M4F, and compare the device's answers with the desktop's
#[derive(clap::Args)]
#[command(after_help = "\
Example; `cargo demo` in the repository builds the firmware, too:
  narrows demo --firmware mps2-an386.elf --out demo")]
pub(super) struct Arguments {
    /// The firmware for the board mps2-an386
    #[arg(long, value_name = "ELF")]
    firmware: PathBuf,
    /// Where the blob and the picture are written
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Times that each picture is seen
    #[arg(long, value_name = "N", default_value = "40", value_parser = super::at_least_one::<u32>)]
    epochs: u32,
    /// Noisy pictures that the device is sent
    #[arg(long, value_name = "N", default_value = "100", value_parser = super::at_least_one::<usize>)]
    pictures: usize,
    #[command(flatten)]
    threads: super::Threads,
}

/// Pictures in a row of the PNG.
const SHOWN: usize = 12;
const SIDES: [u32; 2] = [28, 28];

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<ExitCode> {
        let start = Instant::now();
        let say = |line: String| if json { Ok(()) } else { super::print(line) };
        let footprint = Footprint::read(&self.firmware)?;
        files::make_folder(&self.out)?;
        let mut recipe = Preset::find("denoising")?.recipe()?;
        recipe.training.epochs = self.epochs;
        let plan = recipe.plan()?;
        let mut data =
            data::bundled::load(recipe.data.bundled)?.training_data(&plan, "bundled data")?;

        say(format!(
            "Training \"{}\" on {} pictures",
            recipe.name,
            data.train.len()
        ))?;
        stop_on_ctrl_c()?;
        let executor = self.threads.executor()?;
        let mut console = Console::new(&plan, data.train.len(), json, None);
        let outcome = executor.enter(|| train::run(&executor, &plan, &data, None, &mut console));
        console.finish();
        let outcome = outcome?;
        if outcome.stopped {
            say("stopped".into())?;
            return Ok(ExitCode::from(130));
        }
        let path = self.out.join("denoising.narrows");
        let blob = Blob::export(
            &executor,
            &plan,
            &outcome.parameters,
            data.train.digest()?,
            &path,
        )?;
        blob.save()?;
        let model = blob.model()?;

        // What the device is sent, and what it must answer.
        let mut test = data.validation.take().ok_or_else(|| Error::Data {
            place: "bundled data".into(),
            expected: "test pictures".into(),
            given: "none came".into(),
        })?;
        test.truncate(self.pictures);
        let Some(noise) = plan.noise() else {
            return Err(Error::Plan {
                recipe: recipe.name.clone(),
                problem: "training.noise: expected noise to undo, but none came".into(),
            });
        };
        let noisy = corrupt(&executor, noise, recipe.seed, &test)?;
        let desktop = model::run(&executor, &model, Part::Reconstruct, &noisy)?;

        say(format!(
            "Starting an emulated Cortex-M4F with {}",
            self.firmware.display()
        ))?;
        let mut device = Emulator::start(&self.firmware)?.device()?;
        let info = device.info()?;
        let (board, firmware, memory) = (
            info.board.to_owned(),
            info.firmware.to_owned(),
            u64::from(info.memory),
        );
        say(format!(
            "{board}, firmware {firmware}, {memory} bytes for models"
        ))?;
        let bar = bar(json, "uploading the model", blob.bytes().len());
        device.load_with(blob.bytes(), |bytes| bar.set_position(bytes as u64))?;
        bar.finish_and_clear();
        let info = device.info()?.model;
        let model_ram = info.map_or(0, |info| {
            u64::from(info.blob_bytes) + u64::from(info.inference_bytes)
        });

        let len = test.sample_len();
        let bar = self::bar(json, "comparing pictures", test.len());
        let (mut answers, mut ticks) = (Vec::with_capacity(noisy.len()), 0);
        for (index, (noisy, desktop)) in noisy.chunks(len).zip(desktop.chunks(len)).enumerate() {
            let computed = device.reconstruct(noisy)?;
            same_bits(index, desktop, &computed.values)?;
            answers.extend(computed.values);
            ticks += computed.ticks;
            bar.inc(1);
        }
        bar.finish_and_clear();
        say(format!(
            "All {} outputs of {} pictures equal the desktop's, bit for bit",
            answers.len(),
            test.len()
        ))?;

        let originals = test.to_vec()?;
        let png = self.out.join("denoising.png");
        let shown = SHOWN.min(test.len()) * len;
        debug_assert_eq!(Shape::flat(SIDES[0] * SIDES[1]), model.network.input());
        let row = |name, samples| Row { name, samples };
        let rows = [
            row("original", &originals[..shown]),
            row("noisy", &noisy[..shown]),
            row("denoised by the device", &answers[..shown]),
        ];
        picture::write(&png, SIDES, &rows)?;

        let (before, after) = (
            Quality::of(&noisy, &originals),
            Quality::of(&answers, &originals),
        );
        let instructions = ticks * INSTRUCTIONS_PER_TICK / test.len() as u64;
        let ram = footprint.ram.saturating_sub(memory) + model_ram;
        let seconds = start.elapsed();
        if json {
            super::print(json!({
                "pictures": test.len(), "outputs_equal": answers.len(), "board": board,
                "mse_before": before.mean_squared_error, "psnr_before": before.psnr(),
                "mse_after": after.mean_squared_error, "psnr_after": after.psnr(),
                "parameters": model.network.parameter_len(), "blob_bytes": blob.bytes().len(),
                "flash_bytes": footprint.flash, "ram_bytes": ram, "instructions_per_picture": instructions,
                "seconds": seconds.as_secs_f64(), "model": path, "picture": png,
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        let line = |what: &str, value: String| super::print(format!("  {what:<24} {value}"));
        super::print("")?;
        line(
            "error",
            format!(
                "{:.5} noisy, {:.5} denoised",
                before.mean_squared_error, after.mean_squared_error
            ),
        )?;
        line(
            "PSNR",
            format!(
                "{:.2} dB noisy, {:.2} dB denoised",
                before.psnr(),
                after.psnr()
            ),
        )?;
        line(
            "parameters",
            format!(
                "{} ({} bytes as a blob)",
                model.network.parameter_len(),
                blob.bytes().len()
            ),
        )?;
        line("flash", format!("{} bytes of firmware", footprint.flash))?;
        line(
            "RAM",
            format!(
                "{ram} bytes and the stack: the uploaded blob, input, output, workspace, variables"
            ),
        )?;
        line("instructions, a picture", instructions.to_string())?;
        line(
            "time",
            format!(
                "{} ({:.1} s)",
                HumanDuration(Duration::from_secs(seconds.as_secs())),
                seconds.as_secs_f64()
            ),
        )?;
        super::print("")?;
        super::print(format!("  {}\n  {}", path.display(), png.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn bar(json: bool, what: &'static str, length: usize) -> ProgressBar {
    let target = if json {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr_with_hz(10)
    };
    let style = ProgressStyle::with_template("{msg} {wide_bar:.cyan/dim} {pos}/{len}, {eta} left");
    let bar = ProgressBar::with_draw_target(Some(length as u64), target).with_message(what);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
