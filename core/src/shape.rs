//! Shapes of tensors, and what a window (a kernel or a pool) does to them.

use serde::{Deserialize, Serialize};

/// The most elements that one tensor, or the parameters of a network, may have (2^28: 1 GiB of f32).
///
/// With this limit the size of one tensor, in bytes, fits the 32-bit `usize` of a Cortex-M. The size of a buffer for several of
/// them that does not fit is the largest `usize`, and no lent buffer is that large.
pub const MAX_ELEMENTS: usize = 1 << 28;

/// The shape of one sample on its way through a network.
///
/// A one-dimensional signal with channels is a picture of height one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// A vector without places; what a dense layer takes and gives.
    Flat {
        /// Number of elements.
        length: u32,
    },
    /// A grid of places with channels, stored channels-last: `[y][x][channel]`.
    Picture {
        /// Number of rows; 1 for a one-dimensional signal.
        height: u32,
        /// Number of columns.
        width: u32,
        /// Number of values at each place.
        channels: u32,
    },
}

impl Shape {
    /// A flat shape.
    #[must_use]
    pub const fn flat(length: u32) -> Self {
        Self::Flat { length }
    }

    /// A picture's shape.
    #[must_use]
    pub const fn picture(height: u32, width: u32, channels: u32) -> Self {
        Self::Picture {
            height,
            width,
            channels,
        }
    }

    /// The number of elements, or `None` where it is zero or more than [`MAX_ELEMENTS`].
    #[must_use]
    pub fn checked_len(self) -> Option<usize> {
        let length = match self {
            Self::Flat { length } => u64::from(length),
            Self::Picture {
                height,
                width,
                channels,
            } => u64::from(height)
                .checked_mul(u64::from(width))?
                .checked_mul(u64::from(channels))?,
        };
        let length = usize::try_from(length).ok()?;
        (1..=MAX_ELEMENTS).contains(&length).then_some(length)
    }

    /// The number of elements. Shapes inside a checked [`Network`](crate::network::Network) are
    /// within the limits; of any other, one without an answer counts as 0.
    #[must_use]
    pub fn len(self) -> usize {
        self.checked_len().unwrap_or(0)
    }

    /// Whether the shape has no elements (or too many to count).
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl core::fmt::Display for Shape {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Flat { length } => write!(f, "[{length}]"),
            Self::Picture {
                height,
                width,
                channels,
            } => write!(f, "[{height}, {width}, {channels}]"),
        }
    }
}

/// What happens at the edges of a picture, in the sense of Keras and TensorFlow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Padding {
    /// Windows lie wholly inside: `floor((input - size) / stride) + 1` places.
    Valid,
    /// `ceil(input / stride)` places; what is missing is added half before and half after, the odd one after.
    Same,
}

/// One axis of a window that slides over an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Places of the input.
    pub input: usize,
    /// Places of the output.
    pub output: usize,
    /// Extent of the window.
    pub size: usize,
    /// Step from one place of the window to the next.
    pub stride: usize,
    /// Padded places before the input's first.
    pub before: usize,
}

impl Axis {
    /// The axis for an input of `input` places, or `None` where no window fits.
    #[must_use]
    pub fn new(input: u32, size: u32, stride: u32, padding: Padding) -> Option<Self> {
        if input == 0 || size == 0 || stride == 0 {
            return None;
        }
        let (output, before) = match padding {
            Padding::Valid => (
                input
                    .checked_sub(size)?
                    .checked_div(stride)?
                    .checked_add(1)?,
                0,
            ),
            Padding::Same => {
                let output = input.div_ceil(stride);
                let covered = u64::from(output.checked_sub(1)?)
                    .checked_mul(u64::from(stride))?
                    .checked_add(u64::from(size))?;
                let missing = covered.saturating_sub(u64::from(input));
                (output, u32::try_from(missing >> 1).ok()?)
            }
        };
        Some(Self {
            input: input as usize,
            output: output as usize,
            size: size as usize,
            stride: stride as usize,
            before: before as usize,
        })
    }

    /// The taps of the window at output place `place` that lie on the input, as a half-open range,
    /// and the input place under the first of them.
    #[inline(always)]
    #[must_use]
    pub fn taps(&self, place: usize) -> (core::ops::Range<usize>, usize) {
        let start = place.wrapping_mul(self.stride);
        let first = self.before.saturating_sub(start);
        let end = self.input.wrapping_add(self.before).saturating_sub(start);
        let end = if end < self.size { end } else { self.size };
        (
            first..end,
            start.wrapping_add(first).wrapping_sub(self.before),
        )
    }

    /// The output places whose windows lie wholly on the input, as a half-open range.
    #[inline(always)]
    #[must_use]
    pub fn interior(&self) -> core::ops::Range<usize> {
        let stride = self.stride.max(1);
        let first = self.before.div_ceil(stride);
        let room = self.input.wrapping_add(self.before);
        let last = room
            .checked_sub(self.size)
            .and_then(|last| last.checked_div(stride));
        let end = last.map_or(0, |last| last.wrapping_add(1));
        first..end.min(self.output).max(first)
    }

    /// The input places that lie under windows of the output places `places`, as a half-open range.
    #[inline(always)]
    #[must_use]
    pub fn reach(&self, places: core::ops::Range<usize>) -> core::ops::Range<usize> {
        let first = places.start.wrapping_mul(self.stride);
        let last = places.end.saturating_sub(1).wrapping_mul(self.stride);
        let end = last.wrapping_add(self.size).saturating_sub(self.before);
        let start = first.saturating_sub(self.before);
        start..end.min(self.input).max(start)
    }

    /// The output places whose window covers the input place `place`, in ascending order, as a half-open
    /// range, and the tap of the first of them that lies on it (each next one's tap is `stride` lower).
    #[inline(always)]
    #[must_use]
    pub fn windows(&self, place: usize) -> (core::ops::Range<usize>, usize) {
        let padded = place.wrapping_add(self.before);
        // The first window whose last tap reaches `padded`: ceil((padded + 1 - size) / stride).
        let first = padded
            .wrapping_add(1)
            .saturating_sub(self.size)
            .div_ceil(self.stride.max(1));
        let last = padded.checked_div(self.stride).unwrap_or(0);
        let end = last.wrapping_add(1).min(self.output);
        (
            first..end,
            padded.wrapping_sub(first.wrapping_mul(self.stride)),
        )
    }

    /// The output places at which the tap `tap` lies on the input, in ascending order, as a half-open range,
    /// and the input place under it at the first of them.
    #[inline(always)]
    #[must_use]
    pub fn places(&self, tap: usize) -> (core::ops::Range<usize>, usize) {
        let stride = self.stride.max(1);
        let first = self.before.saturating_sub(tap).div_ceil(stride);
        let end = self
            .input
            .wrapping_add(self.before)
            .saturating_sub(tap)
            .div_ceil(stride)
            .min(self.output);
        let start = first
            .wrapping_mul(stride)
            .wrapping_add(tap)
            .wrapping_sub(self.before);
        (first..end.max(first), start)
    }
}

/// A window over a picture, with the numbers of channels on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The vertical axis.
    pub y: Axis,
    /// The horizontal axis.
    pub x: Axis,
    /// Channels of the input.
    pub channels_in: usize,
    /// Channels of the output.
    pub channels_out: usize,
}

impl Window {
    /// Elements of one sample of the input.
    #[inline(always)]
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.y
            .input
            .wrapping_mul(self.x.input)
            .wrapping_mul(self.channels_in)
    }

    /// Elements of one sample of the output.
    #[inline(always)]
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.y
            .output
            .wrapping_mul(self.x.output)
            .wrapping_mul(self.channels_out)
    }

    /// Elements of the kernel: `[ky][kx][channel in][channel out]`.
    #[inline(always)]
    #[must_use]
    pub fn kernel_len(&self) -> usize {
        self.y
            .size
            .wrapping_mul(self.x.size)
            .wrapping_mul(self.channels_in)
            .wrapping_mul(self.channels_out)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn same_padding_rounds_up_and_puts_the_odd_place_after() {
        let axis = Axis::new(7, 2, 2, Padding::Same).unwrap();
        assert_eq!((axis.output, axis.before), (4, 0));
        assert_eq!(axis.taps(3), (0..1, 6));
        let axis = Axis::new(28, 3, 1, Padding::Same).unwrap();
        assert_eq!((axis.output, axis.before), (28, 1));
        assert_eq!(axis.taps(0), (1..3, 0));
        assert_eq!(axis.taps(27), (0..2, 26));
    }

    #[test]
    fn taps_and_windows_tell_the_same_pairs_in_ascending_order() {
        for input in 1..14u32 {
            for size in 1..6 {
                for stride in 1..6 {
                    for padding in [Padding::Same, Padding::Valid] {
                        let Some(axis) = Axis::new(input, size, stride, padding) else {
                            assert!(padding == Padding::Valid && size > input);
                            continue;
                        };
                        let mut pairs = Vec::new();
                        for place in 0..axis.output {
                            let (taps, first) = axis.taps(place);
                            for (step, tap) in taps.enumerate() {
                                pairs.push((first + step, place, tap));
                            }
                        }
                        pairs.sort_unstable();
                        let mut windows = Vec::new();
                        for place in 0..axis.input {
                            let (range, first) = axis.windows(place);
                            for (step, window) in range.enumerate() {
                                windows.push((place, window, first - step * axis.stride));
                            }
                        }
                        assert_eq!(pairs, windows, "{axis:?}");
                        let mut places = Vec::new();
                        for tap in 0..axis.size {
                            let (range, first) = axis.places(tap);
                            for (step, place) in range.enumerate() {
                                places.push((first + step * axis.stride, place, tap));
                            }
                        }
                        places.sort_unstable();
                        assert_eq!(pairs, places, "{axis:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn lengths_that_overflow_are_refused() {
        assert_eq!(Shape::picture(u32::MAX, u32::MAX, 3).checked_len(), None);
        assert_eq!(Shape::flat(0).checked_len(), None);
        assert_eq!(Shape::picture(28, 28, 1).checked_len(), Some(784));
        assert!(Axis::new(u32::MAX, u32::MAX, u32::MAX, Padding::Same).is_some());
    }
}
