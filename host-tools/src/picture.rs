//! Pictures of samples in rows, with a name before each row, as a PNG.

use std::io::Cursor;
use std::path::Path;

use embedded_graphics::mono_font::{MonoTextStyle, ascii::FONT_9X18};
use embedded_graphics::pixelcolor::{Gray8, GrayColor};
use embedded_graphics::prelude::{DrawTarget, Drawable, OriginDimensions, Pixel, Point, Size};
use embedded_graphics::text::{Baseline, Text};
use image::{GrayImage, ImageFormat, Luma};

use crate::error::{Error, Result};
use crate::files;

/// Pixels of the file for a pixel of a sample, along each side.
const ZOOM: u32 = 3;
/// Pixels between samples.
const GAP: u32 = 6;
/// Pixels around everything.
const MARGIN: u32 = 16;
/// What is behind the samples.
const PAPER: u8 = 255;

/// A row of samples.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Stands at its left.
    pub name: &'a str,
    /// Samples of `height * width` numbers from 0, black, to 1, white.
    pub samples: &'a [f32],
}

/// Writes a PNG, whole or not at all.
///
/// # Errors
/// [`Error::File`].
pub fn write(path: &Path, [height, width]: [u32; 2], rows: &[Row<'_>]) -> Result<()> {
    let image = draw([height, width], rows);
    let mut png = Cursor::new(Vec::new());
    let written = image.write_to(&mut png, ImageFormat::Png);
    written.map_err(|cause| Error::file(path, "encode")(std::io::Error::other(cause)))?;
    files::write_whole(path, png.get_ref())
}

fn draw([height, width]: [u32; 2], rows: &[Row<'_>]) -> GrayImage {
    let font = &FONT_9X18;
    let letters = rows
        .iter()
        .map(|row| row.name.len() as u32)
        .max()
        .unwrap_or(0);
    let pixels = (height * width).max(1) as usize;
    let columns = rows
        .iter()
        .map(|row| row.samples.len() / pixels)
        .max()
        .unwrap_or(0) as u32;
    let names = letters * font.character_size.width + 2 * GAP;
    let size = [
        columns * (width * ZOOM + GAP) + names,
        rows.len() as u32 * (height * ZOOM + GAP),
    ];
    let [across, down] = size.map(|side| 2 * MARGIN + side.saturating_sub(GAP));
    let mut canvas = Canvas(GrayImage::from_pixel(across, down, Luma([PAPER])));
    for (index, row) in (0..).zip(rows) {
        let top = MARGIN + index * (height * ZOOM + GAP);
        let middle = Point::new(MARGIN as i32, (top + height * ZOOM / 2) as i32);
        let style = MonoTextStyle::new(font, Gray8::BLACK);
        let Ok(_) =
            Text::with_baseline(row.name, middle, style, Baseline::Middle).draw(&mut canvas);
        for (column, sample) in (0..).zip(row.samples.chunks_exact(pixels)) {
            let left = MARGIN + names + column * (width * ZOOM + GAP);
            for (place, value) in (0..).zip(sample) {
                let shade = (value.clamp(0.0, 1.0) * 255.0).round() as u8;
                let (x, y) = (left + place % width * ZOOM, top + place / width * ZOOM);
                for pixel in 0..ZOOM * ZOOM {
                    canvas
                        .0
                        .put_pixel(x + pixel % ZOOM, y + pixel / ZOOM, Luma([shade]));
                }
            }
        }
    }
    canvas.0
}

/// An image that text can be drawn on.
struct Canvas(GrayImage);

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.0.width(), self.0.height())
    }
}

impl DrawTarget for Canvas {
    type Color = Gray8;
    type Error = std::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Gray8>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Self::Error> {
        for Pixel(point, color) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(point.x), u32::try_from(point.y)) else {
                continue;
            };
            if let Some(pixel) = self.0.get_pixel_mut_checked(x, y) {
                *pixel = Luma([color.luma()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_stands_in_its_row_and_column() {
        let (black, white) = ([0.0; 4], [2.0; 4]);
        let first = [black, white].concat();
        let rows = [
            Row {
                name: "a",
                samples: &first,
            },
            Row {
                name: "longer",
                samples: &white,
            },
        ];
        let image = draw([2, 2], &rows);
        let names = 6 * 9 + 2 * GAP;
        assert_eq!(
            (image.width(), image.height()),
            (2 * MARGIN + names + 2 * 6 + GAP, 2 * MARGIN + 2 * 6 + GAP)
        );
        let shade = |x, y| image.get_pixel(MARGIN + names + x, MARGIN + y).0;
        assert_eq!(
            [
                shade(0, 0),
                shade(5, 5),
                shade(12, 0),
                shade(17, 5),
                shade(0, 12)
            ],
            [[0], [0], [255], [255], [255]]
        );
        let ink = |rows: std::ops::Range<u32>| {
            rows.flat_map(|y| (0..names).map(move |x| (x, y)))
                .filter(|&(x, y)| image.get_pixel(x, y).0 != [PAPER])
                .count()
        };
        assert!(ink(0..image.height()) > 50, "the names are drawn");
    }
}
