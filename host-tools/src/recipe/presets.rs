//! The recipes that come with the library.

use super::{Recipe, unknown};
use crate::error::{Error, Result};

/// A built-in recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// The recipe, ready to be saved and changed.
    pub text: &'static str,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self {
            name: "vanilla",
            text: include_str!("presets/vanilla.toml"),
        },
        Self {
            name: "multilayer",
            text: include_str!("presets/multilayer.toml"),
        },
        Self {
            name: "convolutional",
            text: include_str!("presets/convolutional.toml"),
        },
        Self {
            name: "sparse",
            text: include_str!("presets/sparse.toml"),
        },
        Self {
            name: "sparse-kl",
            text: include_str!("presets/sparse-kl.toml"),
        },
        Self {
            name: "denoising",
            text: include_str!("presets/denoising.toml"),
        },
        Self {
            name: "denoising-convolutional",
            text: include_str!("presets/denoising-convolutional.toml"),
        },
        Self {
            name: "stacked",
            text: include_str!("presets/stacked.toml"),
        },
        Self {
            name: "anomaly",
            text: include_str!("presets/anomaly.toml"),
        },
        Self {
            name: "ecg",
            text: include_str!("presets/ecg.toml"),
        },
        Self {
            name: "ecg-anomaly",
            text: include_str!("presets/ecg-anomaly.toml"),
        },
    ];

    /// The preset with this name.
    ///
    /// # Errors
    /// [`Error::Unknown`], with the name that was perhaps meant.
    pub fn find(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|preset| preset.name == name);
        found.ok_or_else(|| {
            Error::Unknown(unknown(
                "preset",
                name,
                &Self::ALL.map(|preset| preset.name),
            ))
        })
    }

    /// The recipe.
    ///
    /// # Errors
    /// None: a test reads every preset.
    pub fn recipe(self) -> Result<Recipe> {
        Recipe::parse(self.text, &format!("preset {}", self.name))
    }
}
