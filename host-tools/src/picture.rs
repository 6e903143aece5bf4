//! Pictures of samples as PNGs: in rows with a name before each row, or as tiles on a sheet without letters.

use std::io::Cursor;
use std::path::Path;

use embedded_graphics::mono_font::{MonoTextStyle, ascii::FONT_9X18};
use embedded_graphics::pixelcolor::{Gray8, GrayColor};
use embedded_graphics::prelude::{DrawTarget, Drawable, OriginDimensions, Pixel, Point, Size};
use embedded_graphics::text::{Baseline, Text};
use image::codecs::png::{CompressionType, FilterType as PngFilter, PngEncoder};
use image::imageops::FilterType;
use image::{DynamicImage, GenericImage, GrayImage, ImageFormat, Luma, RgbImage, Rgba, RgbaImage};

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

/// A sample, or a unit's weights, as a picture on a [`sheet`].
#[derive(Clone, Debug)]
pub struct Tile(DynamicImage);

impl Tile {
    /// A sample of `[height][width][channel]`, whose numbers from `low`, black, to `high`, white, are shown; what is
    /// outside is cut. Three channels are red, green and blue; of any other number the first is shown. Where a side is
    /// longer than `largest` pixels, the picture becomes smaller.
    #[must_use]
    pub fn of(
        values: &[f32],
        [height, width, channels]: [u32; 3],
        [low, high]: [f32; 2],
        largest: u32,
    ) -> Self {
        let value = |x, y, channel| {
            let place = ((y * width + x) * channels + channel) as usize;
            let value = values.get(place).copied().unwrap_or(low);
            ((value - low) / (high - low) * 255.0).round() as u8
        };
        let image = if channels == 3 {
            RgbImage::from_fn(width, height, |x, y| {
                image::Rgb([0, 1, 2].map(|channel| value(x, y, channel)))
            })
            .into()
        } else {
            GrayImage::from_fn(width, height, |x, y| Luma([value(x, y, 0)])).into()
        };
        Self::at_most(image, largest)
    }

    /// Weights of `[height][width]`: blue below zero, orange above, the more opaque the farther from it, up to the
    /// farthest. Zero is transparent, so the picture can stand on paper of any colour.
    #[must_use]
    pub fn signed(weights: &[f32], [height, width]: [u32; 2], largest: u32) -> Self {
        let farthest = weights
            .iter()
            .fold(0.0f32, |farthest, weight| farthest.max(weight.abs()));
        let image = RgbaImage::from_fn(width, height, |x, y| {
            let weight = weights
                .get((y * width + x) as usize)
                .copied()
                .unwrap_or(0.0);
            let [red, green, blue] = if weight < 0.0 { BELOW } else { ABOVE };
            let share = (weight.abs() / farthest.max(f32::MIN_POSITIVE) * 255.0).round();
            Rgba([red, green, blue, share as u8])
        });
        Self::at_most(image.into(), largest)
    }

    fn at_most(image: DynamicImage, largest: u32) -> Self {
        if image.width().max(image.height()) <= largest {
            return Self(image);
        }
        Self(image.resize(largest, largest, FilterType::Triangle))
    }

    /// Its width and height in pixels.
    #[must_use]
    pub fn size(&self) -> [u32; 2] {
        [self.0.width(), self.0.height()]
    }
}

/// Of weights below zero.
const BELOW: [u8; 3] = [0x2b, 0x7b, 0xba];
/// Of weights above zero; those who cannot tell red from green can tell these two.
const ABOVE: [u8; 3] = [0xe6, 0x61, 0x00];

/// Tiles of the same size, row after row of `columns`, with `gap` transparent pixels between them: a PNG's bytes.
///
/// # Errors
/// [`Error::File`] where there is none, they differ in size, or the picture is too large for a PNG.
pub fn sheet(tiles: &[Tile], columns: u32, gap: u32) -> Result<Vec<u8>> {
    let [width, height] = tiles.first().map_or([0, 0], Tile::size);
    let columns = columns.max(1);
    let rows = (tiles.len() as u32).div_ceil(columns);
    let side = |count: u32, length: u32| (count * (length + gap)).saturating_sub(gap);
    let (across, down) = (side(columns, width), side(rows, height));
    let grey = tiles
        .iter()
        .all(|tile| matches!(tile.0, DynamicImage::ImageLuma8(_)));
    let full = gap == 0 && tiles.len() as u32 == columns * rows;
    let mut canvas = match (grey, full) {
        (true, true) => DynamicImage::new_luma8(across, down),
        (true, false) => DynamicImage::new_luma_a8(across, down),
        (false, _) => DynamicImage::new_rgba8(across, down),
    };
    let mut png = Vec::new();
    let encoder =
        PngEncoder::new_with_quality(&mut png, CompressionType::Best, PngFilter::Adaptive);
    (0..)
        .zip(tiles)
        .try_for_each(|(index, tile): (u32, _)| {
            let (x, y) = (index % columns, index / columns);
            canvas.copy_from(&tile.0, x * (width + gap), y * (height + gap))
        })
        .and_then(|()| canvas.write_with_encoder(encoder))
        .map_err(|cause| {
            Error::file(Path::new("picture"), "encode")(std::io::Error::other(cause))
        })?;
    Ok(png)
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

    #[test]
    fn tiles_stand_in_rows_on_a_sheet_with_transparent_gaps() {
        let tile = |shade| Tile::of(&[shade; 4], [2, 2, 1], [-1.0, 1.0], 8);
        let png = sheet(&[tile(-1.0), tile(1.0), tile(0.0)], 2, 1).unwrap();
        let image = image::load_from_memory(&png).unwrap().to_luma_alpha8();
        assert_eq!(image.dimensions(), (5, 5));
        let at = |x, y| image.get_pixel(x, y).0;
        assert_eq!(
            [at(0, 0), at(4, 1), at(1, 4)],
            [[0, 255], [255, 255], [128, 255]]
        );
        assert_eq!([at(2, 0)[1], at(0, 2)[1], at(4, 4)[1]], [0; 3]);
        assert_eq!(
            Tile::of(&[0.0; 512], [16, 32, 1], [0.0, 1.0], 8).size(),
            [8, 4]
        );
        assert!(sheet(&[], 2, 1).is_err(), "a PNG has at least one pixel");
    }

    #[test]
    fn weights_are_orange_above_zero_and_blue_below_and_transparent_at_it() {
        let tile = Tile::signed(&[2.0, -1.0, 0.0, -2.0], [2, 2], 8);
        let image = tile.0.to_rgba8();
        let at = |x, y| image.get_pixel(x, y).0;
        assert_eq!(at(0, 0), [0xe6, 0x61, 0x00, 255]);
        assert_eq!(at(1, 0), [0x2b, 0x7b, 0xba, 128]);
        assert_eq!(at(0, 1)[3], 0);
        assert_eq!(at(1, 1), [0x2b, 0x7b, 0xba, 255]);
    }
}
