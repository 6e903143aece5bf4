//! CSV: a header that names the columns, and rows of numbers.
//!
//! Where as many columns are taken as a sample has numbers, a row is a sample, and another column may hold its label. Else
//! the file is a recording: a row is a frame, and a column a channel.

use std::collections::BTreeSet;
use std::io::BufReader;

use ::csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::numbers::{Numbers, Source};
use super::{Array, Kind, Raw, Reading};
use crate::error::{Error, Result};

/// Names of columns that a message lists.
const LISTED: usize = 8;

/// Labels are bytes.
const CLASSES: usize = 256;

/// Reads a file.
///
/// # Errors
/// [`Error::Data`] with the line, and the column where one is wrong.
pub(super) fn open(source: &Source, place: &str, reading: &Reading<'_>) -> Result<Raw> {
    let error = |place: String, expected: String, given: String| Error::Data {
        place,
        expected,
        given,
    };
    let broken = |cause: ::csv::Error| broken(place, cause);
    let mut reader = ReaderBuilder::new().from_reader(BufReader::new(source.reader()));
    let header = reader.headers().map_err(broken)?.clone();
    let names: Vec<&str> = header.iter().map(str::trim).collect();
    let number = |cell: &str| cell.parse::<f32>().is_ok();
    let counted = || {
        (0..)
            .zip(&names)
            .all(|(index, name): (usize, _)| **name == index.to_string())
    };
    if names.is_empty() || names.iter().all(|name| number(name)) && !counted() {
        return Err(error(
            format!("{place}, line 1"),
            "a header that names the columns".into(),
            if names.is_empty() {
                "the file is empty".into()
            } else {
                "numbers came".into()
            },
        ));
    }
    let find = |name: &str| {
        names
            .iter()
            .position(|given| *given == name)
            .ok_or_else(|| {
                let listed: Vec<String> = names
                    .iter()
                    .take(LISTED)
                    .map(|name| format!("{name:?}"))
                    .collect();
                let more = if names.len() > LISTED { ", .." } else { "" };
                error(
                    format!("{place}, line 1"),
                    format!("a column {name:?}"),
                    format!("{}{more} came", listed.join(", ")),
                )
            })
    };
    let label = reading.label.map(find).transpose()?;
    let columns: Vec<usize> = if reading.columns.is_empty() {
        (0..names.len())
            .filter(|column| Some(*column) != label)
            .collect()
    } else {
        let columns = reading.columns.iter().map(|name| find(name));
        columns.collect::<Result<_>>()?
    };
    let rows_are_samples = columns.len() == reading.input.len();
    if label.is_some() && !rows_are_samples {
        return Err(error(
            place.into(),
            format!(
                "{} columns beside the labels, a row for each sample",
                reading.input.len()
            ),
            format!("{} came", columns.len()),
        ));
    }
    let (mut numbers, mut labels, mut rows) = (Vec::<u8>::new(), Vec::new(), 0);
    let mut row = StringRecord::new();
    while reader.read_record(&mut row).map_err(broken)? {
        let line = row.position().map_or(0, ::csv::Position::line);
        for column in &columns {
            let cell = row.get(*column).unwrap_or_default().trim();
            let value = cell.parse::<f32>().ok().filter(|value| value.is_finite());
            let value = value.ok_or_else(|| {
                let shown: String = cell.chars().take(40).collect();
                error(
                    format!("{place}, line {line}, column {:?}", names[*column]),
                    "a finite number of 32 bits".into(),
                    format!("{shown:?} came"),
                )
            })?;
            numbers.extend(value.to_le_bytes());
        }
        if let Some(label) = label {
            labels.push(row.get(label).unwrap_or_default().trim().to_owned());
        }
        rows += 1;
    }
    let numbers = Numbers::new(Source::Memory(numbers.into()), 0, Kind::F32, false);
    let array = if rows_are_samples {
        Array {
            place: place.into(),
            shape: vec![rows, columns.len()],
            numbers,
            recording: false,
        }
    } else {
        Array::recording(place.into(), columns.len(), numbers)
    };
    let labels = label.map(|label| {
        let place = format!("{place}, column {:?}", names[label]);
        Ok::<_, Error>(Array {
            shape: vec![rows],
            numbers: Numbers::bytes(classes(&labels, &place)?),
            place,
            recording: false,
        })
    });
    Ok(Raw {
        train: Some(array),
        train_labels: labels.transpose()?,
        ..Raw::default()
    })
}

/// Integers from 0 to 255 as they are; other names by their place among all in the file, sorted.
fn classes(labels: &[String], place: &str) -> Result<Vec<u8>> {
    let bytes: Result<Vec<u8>, _> = labels.iter().map(|label| label.parse()).collect();
    if let Ok(bytes) = bytes {
        return Ok(bytes);
    }
    let names: BTreeSet<&String> = labels.iter().collect();
    if names.len() > CLASSES {
        return Err(Error::Data {
            place: place.into(),
            expected: format!("at most {CLASSES} classes"),
            given: format!("{} came", names.len()),
        });
    }
    let names: Vec<&String> = names.into_iter().collect();
    let class = |label| names.binary_search(&label).unwrap_or(0) as u8;
    Ok(labels.iter().map(class).collect())
}

fn broken(place: &str, cause: ::csv::Error) -> Error {
    let line = cause.position().map_or(1, ::csv::Position::line);
    let (expected, given) = match cause.kind() {
        ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => (format!("{expected_len} cells"), format!("{len} came")),
        ErrorKind::Utf8 { err, .. } => ("text in UTF-8".into(), err.to_string()),
        ErrorKind::Io(cause) => ("text that can be read".into(), cause.to_string()),
        _ => ("rows of cells".into(), cause.to_string().replace('\n', " ")),
    };
    Error::Data {
        place: format!("{place}, line {line}"),
        expected,
        given,
    }
}

#[cfg(test)]
mod tests {
    use narrows_core::blob::Rule;
    use narrows_core::shape::Shape;
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], length: u32, label: Option<&str>) -> Result<Raw> {
        let reading = Reading {
            input: Shape::flat(length),
            rule: Rule::None,
            columns: &[],
            label,
        };
        open(&Source::Memory(bytes.to_vec().into()), "test", &reading)
    }

    #[test]
    fn names_of_classes_are_sorted_and_integers_are_kept() {
        let labels = |cells: [&str; 4]| classes(&cells.map(String::from), "test").unwrap();
        assert_eq!(labels(["shoe", "bag", "shoe", "7"]), [2, 1, 2, 0]);
        assert_eq!(labels(["9", "0", "255", "9"]), [9, 0, 255, 9]);
        assert_eq!(labels(["9", "0", "256", "9"]), [2, 0, 1, 2]);
        let many: Vec<String> = (0..257).map(|class| format!("class {class}")).collect();
        let problem = classes(&many, "test").unwrap_err().to_string();
        assert!(
            problem.contains("at most 256 classes, but 257"),
            "{problem}"
        );
    }

    proptest! {
        #[test]
        fn any_text_gives_rows_or_an_error_of_one_line(
            text in "(a,b,c\n)?([a0-9.,;\"\n\r -]|nan|inf|1e9){0,60}",
            length in 1u32..4,
            label in prop::option::of(Just("b")),
        ) {
            match read(text.as_bytes(), length, label) {
                Ok(raw) => {
                    let array = raw.train.unwrap();
                    prop_assert_eq!(array.shape.iter().product::<usize>(), array.numbers.len());
                    prop_assert!(array.numbers.len() <= text.len());
                }
                Err(problem) => prop_assert_eq!(problem.to_string().lines().count(), 1),
            }
        }

        #[test]
        fn a_file_cut_anywhere_has_fewer_rows_or_is_refused(cut in 0usize..40) {
            let whole = b"a,b,kind\n1,2,x\n3,4,y\n5,6,x\n";
            let cut = cut.min(whole.len());
            if let Ok(raw) = read(&whole[..cut], 2, Some("kind")) {
                prop_assert!(raw.train.unwrap().shape[0] <= 3);
            }
        }
    }
}
