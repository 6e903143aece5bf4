//! The floating-point unit of a Cortex-M4F, M7, M33 or M55, where it does more than the compiler asks of it.
#![allow(unsafe_code, reason = "one instruction of the floating-point unit")]

use core::arch::asm;

use narrows_core::kernels::Machine;

/// A processor with a single-precision floating-point unit.
#[derive(Clone, Copy, Debug)]
pub struct Fpu;

impl Machine for Fpu {
    #[inline(always)]
    fn sqrt(x: f32) -> f32 {
        let mut bits = x.to_bits();
        // SAFETY: The target has these instructions. They change the two registers that are named, and nothing else.
        unsafe {
            // By way of s0, because stable Rust takes no operands in floating-point registers on this target.
            asm!(
                "vmov s0, {0}",
                "vsqrt.f32 s0, s0",
                "vmov {0}, s0",
                inout(reg) bits,
                out("s0") _,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        f32::from_bits(bits)
    }
}
