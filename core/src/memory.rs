//! Lent memory: bytes become numbers, and one slice becomes many.

use crate::error::Error;

/// Takes the numbers of a buffer of bytes, of which exactly the first `4 * elements` are used.
///
/// # Errors
/// [`Error::BufferTooSmall`] with one byte fewer, [`Error::Misaligned`] where the buffer does not start at a
/// multiple of four.
pub fn f32_mut<'a>(
    what: &'static str,
    bytes: &'a mut [u8],
    elements: usize,
) -> Result<&'a mut [f32], Error> {
    let (needed, given) = (bytes_of(elements), bytes.len());
    let bytes = bytes.get_mut(..needed).ok_or(Error::BufferTooSmall {
        what,
        needed,
        given,
    })?;
    bytemuck::try_cast_slice_mut(bytes).map_err(|_| Error::Misaligned {
        what,
        alignment: align_of::<f32>(),
    })
}

/// Bytes of `elements` numbers.
#[must_use]
pub const fn bytes_of(elements: usize) -> usize {
    elements.saturating_mul(size_of::<f32>())
}

/// Takes exactly the first `elements` of a lent buffer.
pub(crate) fn exactly<'a>(
    what: &'static str,
    buffer: &'a mut [f32],
    elements: usize,
) -> Result<&'a mut [f32], Error> {
    let given = bytes_of(buffer.len());
    buffer.get_mut(..elements).ok_or(Error::BufferTooSmall {
        what,
        needed: bytes_of(elements),
        given,
    })
}
