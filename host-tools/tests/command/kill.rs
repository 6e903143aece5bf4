//! Runs that are killed, as by a power cut, at moments that nobody chose.
//!
//! `NARROWS_LONG=1 cargo test -p narrows --test command kill::` kills 200 times instead of 15.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Instant;

use narrows::model::Blob;
use narrows::train::Checkpoint;

use crate::workplace::{Workplace, ramp, reals};

/// Epochs of a few milliseconds, with noise and an order of their own. Much of the time goes into writing checkpoints.
const RECIPE: &str = r#"
name = "short"
seed = 5

[data]
validation_split = 0.1

[network]
input = [128]
layers = [
  { type = "dense", units = 32, activation = "relu" },
  { type = "dense", units = 128, activation = "sigmoid" },
]

[training]
batch_size = 1
epochs = 60
noise = { type = "gaussian", stddev = 0.1 }
"#;

/// Holds every file of a run that was killed against what it must be; whether one was being written.
fn check(place: &Workplace, model: &[u8]) -> bool {
    let mut unfinished = false;
    let files = place
        .files()
        .into_iter()
        .filter(|(path, _)| path.starts_with(place.path("killed")));
    for (path, bytes) in files {
        let Some(bytes) = bytes else { continue };
        match path.extension().and_then(OsStr::to_str) {
            Some("checkpoint") => drop(Checkpoint::read(&path).unwrap()),
            Some("narrows") => {
                Blob::read(&path).unwrap().model().unwrap();
                assert!(bytes == model, "a model with other bits");
            }
            Some("json") => drop(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()),
            _ => {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                assert!(name.starts_with(".narrows-"), "{name}");
                unfinished = true;
            }
        }
    }
    unfinished
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_whole_files_and_goes_on_to_the_same_bits() {
    let kills = if std::env::var_os("NARROWS_LONG").is_some() {
        200
    } else {
        15
    };
    let place = Workplace::new();
    place.write("short.toml", RECIPE);
    place.write("samples.npy", reals(&[40, 128], &ramp(40 * 128)));
    let train = |out| {
        [
            "train",
            "short.toml",
            "--data",
            "samples.npy",
            "--threads",
            "1",
            "--out",
            out,
        ]
    };
    let start = Instant::now();
    place.succeed(&train("whole"));
    let whole = start.elapsed();
    let (model, end) = (
        place.read("whole/short.narrows"),
        place.read("whole/short.checkpoint"),
    );

    let resume = || {
        place
            .path("killed/short.checkpoint")
            .exists()
            .then_some("--resume")
    };
    let (mut finished, mut interrupted, mut unfinished) = (0, 0, 0);
    for kill in 1..=kills {
        let mut command = place.command(&train("killed"));
        let mut child = command
            .args(resume())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Multiples of the golden ratio spread evenly however many there are. Most runs are killed more than once.
        let share = f64::from(kill) * 0.618_033_988_749_895 % 1.0;
        std::thread::sleep(whole.mul_f64(share * 0.6));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(
            status.success() || status.code().is_none(),
            "after kill {kill}: {status}"
        );
        unfinished += u32::from(check(&place, &model));
        interrupted += u32::from(!status.success() && resume().is_some());
        if status.success() {
            finished += 1;
            assert!(
                place.read("killed/short.narrows") == model
                    && place.read("killed/short.checkpoint") == end
            );
            std::fs::remove_dir_all(place.path("killed")).unwrap();
        }
    }
    println!(
        "{kills} kills: {interrupted} within a run, {unfinished} within a file, {finished} runs had ended"
    );
    assert!(
        interrupted > kills / 5,
        "{interrupted} of {kills} runs were killed after their first checkpoint"
    );

    let mut command = place.command(&train("killed"));
    assert!(
        command
            .args(resume())
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    assert!(
        place.read("killed/short.narrows") == model && place.read("killed/short.checkpoint") == end
    );
    let names = |folder: &str| {
        let entries = std::fs::read_dir(place.path(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(
        names("killed"),
        names("whole"),
        "what the killed runs left is taken away"
    );
}
