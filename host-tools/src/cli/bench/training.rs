//! `narrows bench training`: samples a second, the time to the first batch, and memory, beside the peers'.

use std::path::Path;

use narrows::data::numpy;
use narrows::error::{Error, Result};
use narrows::recipe::Preset;
use serde_json::json;

use super::curves;
use super::sides::{Peers, Side, Work, take_turns};
use super::{Machine, Measured, Subjects};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    subjects: Subjects,
    #[command(flatten)]
    peers: Peers,
    /// Measure this program alone against the batch's size, the code's size, and the number of threads
    #[arg(long, conflicts_with = "peers")]
    curves: bool,
}

const BATCHES: [usize; 2] = [32, 128];

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        if self.curves {
            return curves::run(&self.subjects, json);
        }
        // All sides read the same numbers from the same file.
        let folder = tempfile::tempdir().map_err(|source| Error::File {
            path: std::env::temp_dir(),
            action: "write to it",
            source,
        })?;
        let file = folder.path().join("train.npy");
        let data_bytes = self.write_data(&file)?;
        let (machine, threads) = (Machine::this(), self.subjects.threads.count());
        if !json {
            super::super::print(format!(
                "training, samples a second; {machine}, {threads} thread(s), medians of {} turns\n\
                 first: from the data in memory to the end of the first step; memory: the most beyond the data",
                self.subjects.rounds
            ))?;
        }
        for preset in self.subjects.presets()? {
            for batch in BATCHES {
                let mut sides = self.peers.start(&Work {
                    name: "train",
                    network: preset.name,
                    batch,
                    threads,
                    data: &file,
                })?;
                let steps = (samples_a_turn(preset) / batch).max(1);
                let rates = take_turns(&mut sides, self.subjects.rounds, steps, batch)?;
                let row = Row {
                    preset,
                    batch,
                    threads,
                    data_bytes,
                    machine: &machine,
                };
                for (side, own) in sides.iter().zip(&rates) {
                    row.print(side, own, &rates, json)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the training samples; how many bytes they have.
    fn write_data(&self, file: &Path) -> Result<u64> {
        let (raw, place) = self.subjects.load()?;
        let recipe = Preset::find("vanilla")?.recipe()?;
        let train = raw.training_data(&recipe.plan()?, &place)?.train;
        let shape = [train.len() as u64, train.sample_len() as u64];
        numpy::write(file, &shape, &train.to_vec()?)?;
        Ok(shape[0] * shape[1] * size_of::<f32>() as u64)
    }
}

/// Samples that a side trains in one turn: about a second of the slower ones.
fn samples_a_turn(preset: Preset) -> usize {
    if preset.name.contains("convolutional") {
        6_400
    } else {
        64_000
    }
}

struct Row<'a> {
    preset: Preset,
    batch: usize,
    threads: usize,
    data_bytes: u64,
    machine: &'a Machine,
}

impl Row<'_> {
    /// Prints what a side reached, `own`, beside what all of them did, narrows first.
    fn print(&self, side: &Side, own: &Measured, all: &[Measured], json: bool) -> Result<()> {
        let (ours, median) = (all[0].median(), own.median());
        // Of all peers the best.
        let best = all[1..].iter().map(Measured::median).reduce(f64::max);
        // Where the data do not lie in memory as a whole, all that does is counted.
        let beyond = side
            .peak_rss_bytes
            .map(|peak| peak.checked_sub(self.data_bytes).unwrap_or(peak));
        let network = self.preset.name;
        if json {
            return super::super::print(json!({
                "network": network, "batch": self.batch, "threads": self.threads, "side": side.name,
                "version": side.version, "samples_per_second": median,
                "lowest": own.lowest(), "highest": own.highest(),
                "narrows_ratio": ours / median, "narrows_ratio_to_best_peer": best.map(|best| ours / best),
                "first_batch_seconds": side.first_batch_seconds, "peak_rss_bytes": side.peak_rss_bytes,
                "data_bytes": self.data_bytes, "bytes_beyond_data": beyond,
                "processor": self.machine.processor, "vectors": self.machine.vectors.to_string(),
            }));
        }
        let ratio = match (side.name, best) {
            ("narrows", None) => String::new(),
            ("narrows", Some(best)) => format!("{:.2} x the better peer", ours / best),
            _ => format!("narrows: {:.2} x this", ours / median),
        };
        let first = side
            .first_batch_seconds
            .map_or("?".into(), |seconds| format!("{:.0} ms", seconds * 1e3));
        let beyond = beyond.map_or("?".into(), |bytes| format!("{} MiB", bytes >> 20));
        super::super::print(format!(
            "{network:<14} batch {:>3}  {:<8} {:<12} {median:>9.0} ({:.0} to {:.0})  {ratio:<24} first {first}, memory {beyond}",
            self.batch,
            side.name,
            side.version,
            own.lowest(),
            own.highest(),
        ))
    }
}
