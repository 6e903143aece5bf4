//! The data that come with the library: enough for a demonstration without a download. Their licences lie beside them in
//! the folder `data`.

use std::io::Cursor;

use super::{Raw, idx, numpy};
use crate::error::Result;
use crate::recipe::Bundled;

/// Reads bundled data.
///
/// # Errors
/// None: a test reads all of them.
pub fn load(bundled: Bundled) -> Result<Raw> {
    match bundled {
        Bundled::FashionMnist => {
            let read = |name: &str, bytes: &[u8]| {
                idx::unpack(bytes, format!("bundled fashion-mnist, {name}")).map(Some)
            };
            Ok(Raw {
                train: read(
                    "train-images",
                    include_bytes!("../../data/fashion-mnist/train-images-idx3-ubyte.gz"),
                )?,
                train_labels: read(
                    "train-labels",
                    include_bytes!("../../data/fashion-mnist/train-labels-idx1-ubyte.gz"),
                )?,
                test: read(
                    "t10k-images",
                    include_bytes!("../../data/fashion-mnist/t10k-images-idx3-ubyte.gz"),
                )?,
                test_labels: read(
                    "t10k-labels",
                    include_bytes!("../../data/fashion-mnist/t10k-labels-idx1-ubyte.gz"),
                )?,
            })
        }
        Bundled::Ecg => numpy::open_npz(
            Cursor::new(include_bytes!("../../data/ecg/ecg-mitbih-208.npz")),
            "bundled ecg",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bundled_data_are_what_their_documentation_says() {
        let pictures = load(Bundled::FashionMnist).unwrap();
        assert_eq!(pictures.train.unwrap().shape, [2000, 28, 28]);
        assert_eq!(pictures.train_labels.unwrap().shape, [2000]);
        assert_eq!(pictures.test.unwrap().shape, [500, 28, 28]);
        assert_eq!(pictures.test_labels.unwrap().shape, [500]);
        let recording = load(Bundled::Ecg).unwrap().train.unwrap();
        assert_eq!(recording.shape, [5 * 60 * 360]);
    }
}
