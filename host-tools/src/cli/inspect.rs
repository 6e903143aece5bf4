//! `narrows inspect`.

use std::path::PathBuf;

use narrows::error::Result;
use narrows::footprint::inference_bytes;
use narrows::model::Blob;
use narrows::processor::Desktop;
use narrows_core::blob::Rule;
use narrows_core::memory::bytes_of;
use narrows_core::network::Network;
use narrows_core::training::{self, Mode, Options};
use narrows_core::{loss::Loss, math::Math, optimizer::Optimizer};
use serde_json::json;

/// Say what is in a blob, and how much memory it takes on a device
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  narrows inspect vanilla.narrows")]
pub(super) struct Arguments {
    /// A blob
    model: PathBuf,
}

/// Bytes that training with Adam needs beside the parameters.
fn training_bytes(network: &Network<'_>, mode: Mode, math: Math) -> Option<usize> {
    let (loss, optimizer) = (Loss::MeanSquaredError, Optimizer::adam());
    training::memory_len(
        network,
        &Options {
            loss,
            optimizer,
            mode,
            first_trainable: 0,
            penalties: &[],
            math,
        },
    )
    .ok()
    .map(bytes_of)
}

/// The keys are those of a recipe's section `[data]`.
fn rule(rule: Rule) -> serde_json::Value {
    match rule {
        Rule::None => json!(null),
        Rule::Window { step, sample_rate } => json!({ "step": step, "sample_rate": sample_rate }),
        Rule::Resize {
            height,
            width,
            filter,
        } => json!({ "resize": [height, width], "filter": filter }),
    }
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let blob = Blob::read(&self.model)?;
        let model = blob.model()?;
        let (header, network) = (&model.header, &model.network);
        blob.self_test(&Desktop::new(1)?, &model)?;
        let accumulate = training_bytes(network, Mode::Accumulate { batch: 1 }, header.math);
        let fused = training_bytes(network, Mode::Fused, header.math);
        let provenance = header.provenance;
        if json {
            let layers: Vec<_> = network
                .steps()
                .map(|step| {
                    json!({
                        "name": step.layer.name, "type": step.layer.kind.name(), "output": step.output.to_string(),
                        "parameters": step.parameters.len(), "multiply_accumulates": step.work.multiply_accumulates(),
                    })
                })
                .collect();
            return super::print(json!({
                    "name": header.name, "input": network.input().to_string(), "layers": layers, "code": network.code(),
                    "offset": header.preprocessing.offset, "scale": header.preprocessing.scale,
                    "rule": rule(header.preprocessing.rule),
                    "math": format!("{:?}", header.math).to_lowercase(), "seed": provenance.seed,
                    "data_digest": provenance.data_digest, "recipe_digest": provenance.recipe_digest,
                    "golden_digest": header.golden.digest, "parameters": network.parameter_len(),
                    "multiply_accumulates": network.multiply_accumulates(), "bytes": blob.bytes().len(),
                    "inference_bytes": inference_bytes(network), "training_bytes": accumulate, "fused_training_bytes": fused,
            }));
        }
        super::print(format!(
            "{}: model \"{}\", the self-test gives its bits",
            self.model.display(),
            header.name
        ))?;
        super::print("")?;
        super::print(format!(
            "{:>3}  {:<16} {:<14} {:<14} {:>10} {:>12}",
            "", "layer", "type", "output", "parameters", "mult.-adds"
        ))?;
        super::print(format!(
            "{:>3}  {:<16} {:<14} {:<14}",
            "",
            "",
            "input",
            network.input().to_string()
        ))?;
        for step in network.steps() {
            let mark = if step.index == network.code() {
                "  <- the code"
            } else {
                ""
            };
            super::print(format!(
                "{:>3}  {:<16} {:<14} {:<14} {:>10} {:>12}{mark}",
                step.index,
                step.layer.name,
                step.layer.kind.name(),
                step.output.to_string(),
                step.parameters.len(),
                step.work.multiply_accumulates(),
            ))?;
        }
        super::print("")?;
        super::print(format!(
            "parameters        {} ({} bytes in flash with the blob's header)",
            network.parameter_len(),
            blob.bytes().len()
        ))?;
        super::print(format!(
            "RAM, inference    {} bytes, input and output among them",
            inference_bytes(network)
        ))?;
        if let (Some(accumulate), Some(fused)) = (accumulate, fused) {
            let parameters = bytes_of(network.parameter_len());
            super::print(format!(
                "RAM, training     {} bytes with Adam, {} fused",
                accumulate + parameters,
                fused + parameters
            ))?;
        }
        super::print(format!(
            "integers become   (x - {}) * {}",
            header.preprocessing.offset, header.preprocessing.scale
        ))?;
        match header.preprocessing.rule {
            Rule::None => {}
            Rule::Window { step, sample_rate } => {
                let step = step.map_or("one after the other".into(), |step| {
                    format!("one every {step} frames")
                });
                let rate = sample_rate.map_or(String::new(), |rate| format!(", {rate} a second"));
                super::print(format!("recordings become windows, {step}{rate}"))?;
            }
            Rule::Resize {
                height,
                width,
                filter,
            } => super::print(format!(
                "pictures become   {height} x {width} pixels, {}",
                json!(filter).as_str().unwrap_or_default()
            ))?,
        }
        super::print(format!(
            "math              {}",
            format!("{:?}", header.math).to_lowercase()
        ))?;
        super::print(format!(
            "made from         seed {}, data {:08x}, recipe {:08x}",
            provenance.seed, provenance.data_digest, provenance.recipe_digest
        ))?;
        Ok(())
    }
}
