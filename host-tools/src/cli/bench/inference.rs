//! `narrows bench inference`: pictures a second that are encoded and reconstructed, one by one and in batches.

use std::path::Path;

use narrows::data::numpy;
use narrows::error::{Error, Result};
use narrows::recipe::Preset;
use serde_json::json;

use super::sides::{Peers, Side, Work, take_turns};
use super::{Machine, Measured, Subjects};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    subjects: Subjects,
    #[command(flatten)]
    peers: Peers,
}

/// Pictures that go through a network in a turn.
const PICTURES: usize = 10_000;

/// Among them each side's best is looked for.
const BATCHES: [usize; 6] = [1, 8, 32, 128, 512, 2_000];

/// What is said of each side whatever its speed.
const WORKS: [&str; 2] = ["encode", "reconstruct"];

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let folder = tempfile::tempdir().map_err(|source| Error::File {
            path: std::env::temp_dir(),
            action: "write to it",
            source,
        })?;
        let file = folder.path().join("pictures.npy");
        self.write_data(&file)?;
        let (machine, threads) = (Machine::this(), self.subjects.threads.count());
        if !json {
            super::super::print(format!(
                "{PICTURES} pictures, pictures a second; {machine}, {threads} thread(s), medians of {} turns",
                self.subjects.rounds
            ))?;
        }
        for preset in self.subjects.presets()? {
            for work in WORKS {
                self.measure(preset, work, &file, &machine, json)?;
            }
        }
        Ok(())
    }

    fn measure(
        &self,
        preset: Preset,
        work: &str,
        file: &Path,
        machine: &Machine,
        json: bool,
    ) -> Result<()> {
        let threads = self.subjects.threads.count();
        let mut sides = self.peers.start(&Work {
            name: work,
            network: preset.name,
            batch: 32,
            threads,
            data: file,
        })?;
        let print = |side: &Side, batch: usize, own: &Measured, ours: f64, best: bool| {
            let (median, network) = (own.median(), preset.name);
            if json {
                return super::super::print(json!({
                    "network": network, "work": work, "batch": batch, "best": best, "threads": threads,
                    "side": side.name, "version": side.version, "samples_per_second": median,
                    "lowest": own.lowest(), "highest": own.highest(), "narrows_ratio": ours / median,
                    "processor": machine.processor, "vectors": machine.vectors.to_string(),
                }));
            }
            let ratio = match side.name {
                "narrows" => String::new(),
                _ => format!("narrows: {:.2} x this", ours / median),
            };
            super::super::print(format!(
                "{network:<14} {work:<11} {} {batch:>4}  {:<8} {:<12} {median:>9.0} ({:.0} to {:.0})  {ratio}",
                if best { "best batch" } else { "     batch" },
                side.name,
                side.version,
                own.lowest(),
                own.highest(),
            ))
        };
        let mut all = Vec::new();
        for batch in BATCHES {
            let rates = take_turns(&mut sides, self.subjects.rounds, PICTURES / batch, batch)?;
            let ours = rates[0].median();
            for (side, own) in sides.iter().zip(&rates) {
                print(side, batch, own, ours, false)?;
            }
            all.push((batch, rates));
        }
        let mut ours = f64::NAN;
        for (index, side) in sides.iter().enumerate() {
            let of_side = all.iter().map(|(batch, rates)| (*batch, &rates[index]));
            let best = of_side.max_by(|(_, a), (_, b)| a.median().total_cmp(&b.median()));
            if let Some((batch, own)) = best {
                if index == 0 {
                    ours = own.median();
                }
                print(side, batch, own, ours, true)?;
            }
        }
        Ok(())
    }

    /// Writes the test pictures, again and again until there are enough.
    fn write_data(&self, file: &Path) -> Result<()> {
        let (raw, place) = self.subjects.load()?;
        let recipe = Preset::find("vanilla")?.recipe()?;
        let plan = recipe.plan()?;
        let (network, preprocessing) = (plan.network(), plan.preprocessing());
        let test = raw.test_data(network, preprocessing, &place)?;
        let len = test.sample_len();
        let pictures: Vec<f32> = test
            .to_vec()?
            .into_iter()
            .cycle()
            .take(PICTURES * len)
            .collect();
        numpy::write(file, &[PICTURES as u64, len as u64], &pictures)
    }
}
