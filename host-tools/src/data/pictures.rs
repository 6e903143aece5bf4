//! A folder of PNG and JPEG files. Folders in it are classes: their places in sorted order are the labels.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageError, ImageReader, Limits};
use narrows_core::blob::{Filter, Rule};
use narrows_core::shape::Shape;

use super::numbers::Numbers;
use super::{Array, Raw, Reading};
use crate::error::{Error, Result};
use crate::files;

/// A picture's extent is at most this, and its pixels take at most [`LARGEST`] bytes.
const LONGEST_SIDE: u32 = 1 << 14;
const LARGEST: u64 = 256 << 20;

/// No file of either kind becomes more bytes than this many times its own: 1,032 in deflate's densest code, and fewer in
/// JPEG's, where a block of 64 pixels takes a bit. The slack is for the decoders' own.
const EXPANSION: u64 = 1100;
const SLACK: u64 = 1 << 20;

/// Labels are bytes.
const CLASSES: usize = 256;

fn error(place: &Path, expected: impl Into<String>, given: impl Into<String>) -> Error {
    Error::Data {
        place: place.display().to_string(),
        expected: expected.into(),
        given: given.into(),
    }
}

/// The folders and the pictures in a folder, sorted by name. Hidden ones, and files of other kinds, are passed over.
fn list(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut folders, mut pictures) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(Error::file(folder, "read"))? {
        let path = entry.map_err(Error::file(folder, "read"))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        if name.starts_with('.') {
            continue;
        } else if path.is_dir() {
            folders.push(path);
        } else if ["png", "jpg", "jpeg"]
            .iter()
            .any(|known| extension == *known)
        {
            pictures.push(path);
        }
    }
    folders.sort();
    pictures.sort();
    Ok((folders, pictures))
}

/// Whether a folder has pictures, or folders that may have.
pub(super) fn are_in(folder: &Path) -> Result<bool> {
    let (folders, pictures) = list(folder)?;
    Ok(!(folders.is_empty() && pictures.is_empty()))
}

/// Reads all pictures, each grey or in colour and of the size that the network takes.
///
/// # Errors
/// [`Error::File`]; [`Error::Data`] where a file is no whole picture, or of another size than the others and nothing says
/// to which they are resized.
pub(super) fn load_folder(folder: &Path, reading: &Reading<'_>) -> Result<Raw> {
    let (classes, pictures) = list(folder)?;
    if let ([class, ..], [picture, ..]) = (&classes[..], &pictures[..]) {
        return Err(error(
            folder,
            "pictures, or folders of pictures, one for each class",
            format!(
                "both came: {:?} and {:?}",
                picture.file_name().unwrap_or_default(),
                class.file_name().unwrap_or_default()
            ),
        ));
    }
    if classes.len() > CLASSES {
        let given = format!("{} came", classes.len());
        return Err(error(folder, format!("at most {CLASSES} classes"), given));
    }
    let mut read = Pictures::new(reading);
    for picture in &pictures {
        read.add(picture)?;
    }
    let mut labels = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        let (_, pictures) = list(class)?;
        if pictures.is_empty() {
            return Err(error(class, "a class's pictures", "none came"));
        }
        for picture in &pictures {
            read.add(picture)?;
            labels.push(label as u8);
        }
    }
    let place = folder.display().to_string();
    let labels = (!classes.is_empty()).then(|| Array {
        place: place.clone(),
        shape: vec![labels.len()],
        numbers: Numbers::bytes(labels),
        recording: false,
    });
    Ok(Raw {
        train: Some(read.array(place)),
        train_labels: labels,
        ..Raw::default()
    })
}

/// The pictures that were read.
struct Pictures {
    input: Shape,
    rule: Rule,
    /// Height, width and channels of all, known after the first.
    axes: Option<[u32; 3]>,
    count: usize,
    bytes: Vec<u8>,
}

impl Pictures {
    fn new(reading: &Reading<'_>) -> Self {
        Self {
            input: reading.input,
            rule: reading.rule,
            axes: None,
            count: 0,
            bytes: Vec::new(),
        }
    }

    /// Height, width and channels that the network takes, of a picture of this size.
    fn axes(&self, path: &Path, picture: &DynamicImage) -> Result<[u32; 3]> {
        let [height, width] = match (self.rule, self.input) {
            (Rule::Resize { height, width, .. }, _) => [height, width],
            (_, Shape::Picture { height, width, .. }) => [height, width],
            (_, Shape::Flat { .. }) => [picture.height(), picture.width()],
        };
        let pixels = height as usize * width as usize;
        let numbers = self.input.len();
        match [1, 3]
            .into_iter()
            .find(|channels| pixels * channels == numbers)
        {
            Some(channels) => Ok([height, width, channels as u32]),
            None => Err(error(
                path,
                format!(
                    "a picture of {numbers} numbers, grey or in colour, or a resize in the recipe's [data]"
                ),
                format!("{height} x {width} pixels came"),
            )),
        }
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let picture = decode(path)?;
        let axes = match self.axes {
            Some(axes) => axes,
            None => self.axes(path, &picture)?,
        };
        self.axes = Some(axes);
        let [height, width, channels] = axes;
        let same = [picture.height(), picture.width()] == [height, width];
        let filter = match self.rule {
            Rule::Resize { filter, .. } => filter,
            _ if same => Filter::Nearest,
            _ => {
                return Err(error(
                    path,
                    format!(
                        "{height} x {width} pixels as the others, or a resize in the recipe's [data]"
                    ),
                    format!("{} x {} came", picture.height(), picture.width()),
                ));
            }
        };
        let filter = match filter {
            Filter::Nearest => FilterType::Nearest,
            Filter::Triangle => FilterType::Triangle,
            Filter::CatmullRom => FilterType::CatmullRom,
        };
        self.count += 1;
        self.bytes.extend(match channels {
            1 if same => picture.into_luma8().into_raw(),
            1 => imageops::resize(&picture.into_luma8(), width, height, filter).into_raw(),
            _ if same => picture.into_rgb8().into_raw(),
            _ => imageops::resize(&picture.into_rgb8(), width, height, filter).into_raw(),
        });
        Ok(())
    }

    fn array(self, place: String) -> Array {
        let axes = self.axes.map_or(vec![self.input.len()], |axes| {
            axes.map(|extent| extent as usize).to_vec()
        });
        Array {
            place,
            shape: [self.count].into_iter().chain(axes).collect(),
            numbers: Numbers::bytes(self.bytes),
            recording: false,
        }
    }
}

/// Decodes a file. What it says of its size takes no more memory than a file of its length can fill.
fn decode(path: &Path) -> Result<DynamicImage> {
    decode_bytes(&files::read(path)?).map_err(|cause| {
        let cause = cause.to_string().replace(['\n', '\r'], " ");
        error(path, "a whole PNG or JPEG", cause)
    })
}

fn decode_bytes(bytes: &[u8]) -> Result<DynamicImage, ImageError> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(LARGEST.min(SLACK + EXPANSION * bytes.len() as u64));
    reader.limits(limits);
    reader.decode()
}

#[cfg(test)]
mod tests {
    use image::ImageFormat;

    use super::*;

    #[test]
    fn a_picture_changed_or_cut_anywhere_gives_a_picture_or_an_error() {
        let pixels: Vec<u8> = (0..12 * 20 * 3).map(|index| (index * 7) as u8).collect();
        let picture = image::RgbImage::from_raw(12, 20, pixels).unwrap();
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let mut whole = Cursor::new(Vec::new());
            picture.write_to(&mut whole, format).unwrap();
            let whole = whole.into_inner();
            assert_eq!(decode_bytes(&whole).unwrap().height(), 20);
            for at in 0..whole.len() {
                let _ = decode_bytes(&whole[..at]);
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << (at % 8);
                let _ = decode_bytes(&bytes);
            }
        }
    }
}
