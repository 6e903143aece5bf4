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
    pub const ALL: [Self; 3] = [
        Self {
            name: "vanilla",
            text: include_str!("presets/vanilla.toml"),
        },
        Self {
            name: "denoising",
            text: include_str!("presets/denoising.toml"),
        },
        Self {
            name: "convolutional",
            text: include_str!("presets/convolutional.toml"),
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
