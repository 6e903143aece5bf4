//! `narrows preset`.

use narrows::error::Result;
use narrows::recipe::Preset;
use serde_json::json;

/// List the built-in recipes, or print one to be saved and changed
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  narrows preset
  narrows preset convolutional > mine.toml")]
pub(super) struct Arguments {
    /// The one to print
    name: Option<String>,
}

impl Arguments {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let presets = match &self.name {
            Some(name) => vec![Preset::find(name)?],
            None => Preset::ALL.to_vec(),
        };
        for preset in presets {
            super::print(if json {
                json!({ "name": preset.name, "recipe": preset.text }).to_string()
            } else if self.name.is_some() {
                preset.text.trim_end().to_owned()
            } else {
                let summary = preset.text.lines().next().unwrap_or_default();
                format!("{:<14} {}", preset.name, summary.trim_start_matches("# "))
            })?;
        }
        Ok(())
    }
}
