//! `narrows export`.

use std::path::PathBuf;

use narrows::error::Result;
use narrows::model::Blob;
use narrows::weights::{self, Moments};
use serde_json::json;

/// Write a model's weights for NumPy
///
/// The arrays are 0.weight, 0.bias, ... by the layer's index, in Keras's layouts: dense weights [input][output],
/// convolutions [ky][kx][channel in][channel out]. `narrows train --from` reads them back.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows export vanilla.narrows weights.npz
  narrows export vanilla.narrows weights.npz --moments
  python3 -c \"import numpy; print(numpy.load('weights.npz')['0.weight'].shape)\"")]
pub(super) struct Arguments {
    /// A blob
    model: PathBuf,
    /// Where the arrays are written
    #[arg(value_name = "WEIGHTS.npz")]
    output: PathBuf,
    /// Also write where the optimizer is (0.weight.m, 0.weight.v, ..., steps), from NAME.checkpoint beside the model
    #[arg(long)]
    moments: bool,
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let blob = Blob::read(&self.model)?;
        let model = blob.model()?;
        let checkpoint = self.model.with_extension("checkpoint");
        let moments = if self.moments {
            Some(Moments::read(&checkpoint, &model)?)
        } else {
            None
        };
        let (network, parameters) = (&model.network, model.parameters);
        let arrays = weights::save(&self.output, network, parameters, moments.as_ref())?;
        super::print(if json {
            json!({ "output": self.output, "arrays": arrays, "parameters": parameters.len(), "moments": self.moments })
                .to_string()
        } else {
            let parameters = parameters.len();
            format!(
                "{}: {arrays} arrays, {parameters} parameters",
                self.output.display()
            )
        })
    }
}
