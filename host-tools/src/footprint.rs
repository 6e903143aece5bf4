//! What a firmware's image takes of a device, by its ELF file, and what a network takes.

use std::path::Path;

use narrows_core::inference;
use narrows_core::memory::bytes_of;
use narrows_core::network::Network;
use object::Endianness;
use object::elf::{PF_W, PT_LOAD};
use object::read::elf::{ElfFile32, ProgramHeader};

use crate::error::{Error, Result};
use crate::files;

/// Instructions that a Cortex-M4F executes for a multiply-accumulate of a dense f32 layer, everything around it included:
/// 357,200 for the 100,352 of 784-64-784, counted by QEMU. Of other layers it makes an estimate.
pub const INSTRUCTIONS_PER_MULTIPLY_ACCUMULATE: f64 = 3.56;

/// Bytes of RAM that one sample of inference takes: input, output, and workspace.
#[must_use]
pub fn inference_bytes(network: &Network<'_>) -> usize {
    let workspace = inference::workspace_len(network, 0..network.layers().len(), 1);
    bytes_of(network.input().len() + network.output().len() + workspace)
}

/// Bytes that an image takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Code, constants, and the initial values of variables.
    pub flash: u64,
    /// Variables, the memory lent to models among them; without the stack.
    pub ram: u64,
}

impl Footprint {
    /// Reads the ELF file of a 32-bit firmware.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Unusable`] where it is not one.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = files::read(path)?;
        let unusable = |problem: &str| Error::Unusable {
            path: path.to_path_buf(),
            problem: format!("expected the ELF file of a 32-bit firmware, but {problem}"),
        };
        let file = ElfFile32::<Endianness>::parse(&bytes[..])
            .map_err(|cause| unusable(&cause.to_string()))?;
        let endian = file.endian();
        let loaded = file
            .elf_program_headers()
            .iter()
            .filter(|header| header.p_type(endian) == PT_LOAD);
        let (mut flash, mut ram) = (0, 0);
        for header in loaded {
            flash += u64::from(header.p_filesz(endian));
            if header.p_flags(endian).contains(PF_W) {
                ram += u64::from(header.p_memsz(endian));
            }
        }
        if flash == 0 {
            return Err(unusable("it has nothing to load"));
        }
        Ok(Self { flash, ram })
    }
}
