//! Writes the memory map of the board that the image is for, and has the linker use it.

use std::path::PathBuf;
use std::{env, fs};

/// A board's memory: start and length of the flash and of the RAM.
struct Map {
    board: &'static str,
    flash: (u32, u32),
    ram: (u32, u32),
}

const KIB: u32 = 1024;

const MAPS: [Map; 2] = [
    Map {
        board: "mps2-an386",
        flash: (0, 4096 * KIB),
        ram: (0x2000_0000, 4096 * KIB),
    },
    Map {
        board: "nrf52840-dk",
        flash: (0, 1024 * KIB),
        ram: (0x2000_0000, 256 * KIB),
    },
];

/// The stack of every board. Its use does not depend on the network; 12 KiB were measured, while loading and training.
const STACK: u32 = 16 * KIB;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let feature = |map: &&Map| {
        env::var_os(format!(
            "CARGO_FEATURE_{}",
            map.board.to_uppercase().replace('-', "_")
        ))
        .is_some()
    };
    let map = match MAPS.iter().filter(feature).collect::<Vec<_>>()[..] {
        [] => return,
        [map] => map,
        [..] => panic!("expected the feature of one board: an image has one memory map"),
    };

    let ((flash, flash_len), (ram, ram_len)) = (map.flash, map.ram);
    let (data, data_len) = (ram + STACK, ram_len - STACK);
    // The stack lies below everything else and grows out of the RAM: when it overflows, the processor stops, and no data
    // is overwritten.
    let memory = format!(
        "MEMORY {{
  FLASH : ORIGIN = {flash:#x}, LENGTH = {flash_len:#x}
  STACK : ORIGIN = {ram:#x}, LENGTH = {STACK:#x}
  RAM : ORIGIN = {data:#x}, LENGTH = {data_len:#x}
}}
_stack_start = ORIGIN(RAM);
_stack_end = ORIGIN(STACK);
"
    );
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(folder.join("memory.x"), memory)
        .expect("the folder for build results can be written to");
    println!("cargo::rustc-link-search={}", folder.display());
    println!("cargo::rustc-link-arg-bins=--nmagic");
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    if env::var_os("CARGO_FEATURE_DEFMT").is_some() {
        println!("cargo::rustc-link-arg-bins=-Tdefmt.x");
    }
}
