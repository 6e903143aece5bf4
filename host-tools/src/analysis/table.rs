//! Numbers of samples in a file: `.npy`, or `.csv` with a line of names.

use std::fmt::Write;
use std::path::Path;

use crate::data::numpy;
use crate::error::{Error, Result};
use crate::files;

/// A kind of file that a table is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// NumPy's, of 32-bit real numbers: the values alone.
    Npy,
    /// Comma-separated values, with the sample's index and its label.
    Csv,
}

impl Format {
    /// What a file's name asks for.
    ///
    /// # Errors
    /// [`Error::Data`] where it ends otherwise.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Ok(Self::Npy),
            Some("csv") => Ok(Self::Csv),
            other => Err(Error::Data {
                place: path.display().to_string(),
                expected: "a name that ends in .npy or .csv".into(),
                given: match other {
                    Some(extension) => format!(".{extension} came"),
                    None => "one without came".into(),
                },
            }),
        }
    }
}

/// Values of samples.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// What the values are called.
    pub name: &'a str,
    /// The axes of one sample's values; none for a single number.
    pub axes: &'a [usize],
    /// `[sample][value]`.
    pub values: &'a [f32],
    /// The samples' labels.
    pub labels: Option<&'a [u8]>,
}

impl Table<'_> {
    /// Writes the table, whole or not at all, in the format that the file's name asks for. A single number's column in a
    /// `.csv` is called `name`, the others `name_0`, `name_1` and so on; before them are `sample` and, where there are
    /// labels, `label`.
    ///
    /// # Errors
    /// As [`Format::of`]; [`Error::File`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let columns: usize = self.axes.iter().product();
        match Format::of(path)? {
            Format::Npy => {
                let samples = self.values.len().checked_div(columns).unwrap_or(0);
                let shape: Vec<u64> = std::iter::once(samples)
                    .chain(self.axes.iter().copied())
                    .map(|extent| extent as u64)
                    .collect();
                numpy::write(path, &shape, self.values)
            }
            Format::Csv => files::write_whole(path, self.csv(columns).as_bytes()),
        }
    }

    fn csv(&self, columns: usize) -> String {
        let mut text = String::from("sample");
        if self.labels.is_some() {
            text.push_str(",label");
        }
        for column in 0..columns {
            let name = match self.axes {
                [] => self.name.to_owned(),
                _ => format!("{}_{column}", self.name),
            };
            // RFC 4180: a name with a comma, a quote or a line's end stands in quotes, and quotes are doubled.
            let name = if name.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", name.replace('"', "\"\""))
            } else {
                name
            };
            let _ = write!(text, ",{name}");
        }
        text.push('\n');
        for (sample, values) in self.values.chunks(columns.max(1)).enumerate() {
            let _ = write!(text, "{sample}");
            if let Some(labels) = self.labels {
                let _ = write!(text, ",{}", labels[sample]);
            }
            for value in values {
                let _ = write!(text, ",{value}");
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_comma_separated_values_has_names_that_can_be_read_back() {
        let table = Table {
            name: "a \"code\", small",
            axes: &[2],
            values: &[0.5, 1e-9, -0.0, f32::MAX],
            labels: Some(&[7, 1]),
        };
        assert_eq!(
            table.csv(2),
            "sample,label,\"a \"\"code\"\", small_0\",\"a \"\"code\"\", small_1\"\n\
             0,7,0.5,0.000000001\n1,1,-0,340282350000000000000000000000000000000\n"
        );
        let single = Table {
            name: "score",
            axes: &[],
            values: &[0.25],
            labels: None,
        };
        assert_eq!(single.csv(1), "sample,score\n0,0.25\n");
    }
}
