//! Runs that are stopped and go on: to the same bits as one that was never stopped.

use std::process::{Command, Stdio};

use narrows::data::{self, Data, Reading};
use narrows::recipe::Recipe;
use narrows::train::Checkpoint;

use crate::workplace::{TINY, Workplace, ramp, reals};

/// Epochs of a few hundred steps, some milliseconds at least, with noise and an order of their own.
const LONG: &str = r#"
name = "long"
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
epochs = 3
noise = { type = "gaussian", stddev = 0.1 }
"#;

/// The checkpoint in a folder, read by the library, which refuses one that is not whole.
fn checkpoint(place: &Workplace, path: &str) -> Checkpoint {
    let text = String::from_utf8(place.read("long.toml")).unwrap();
    let recipe = Recipe::parse(&text, "long.toml").unwrap();
    let plan = recipe.plan().unwrap();
    let raw = data::load(&place.path("samples.npy"), &Reading::of_plan(&plan)).unwrap();
    let data: Data = raw.training_data(&plan, "samples.npy").unwrap();
    Checkpoint::load(&place.path(path), &plan, &data).unwrap()
}

#[cfg(unix)]
#[test]
fn ctrl_c_in_the_midst_of_an_epoch_and_resume_give_the_bits_of_an_uninterrupted_run() {
    use std::io::{BufRead, BufReader};

    let place = Workplace::new();
    place.write("long.toml", LONG);
    place.write("samples.npy", reals(&[3000, 128], &ramp(3000 * 128)));
    let train = |out| {
        [
            "train",
            "long.toml",
            "--data",
            "samples.npy",
            "--json",
            "--out",
            out,
        ]
    };
    let whole = place.succeed(&train("whole"));

    // On a machine that is busy the signal may come to the end of an epoch, or too late: then once more.
    let first = (0..5).find_map(|attempt| {
        if attempt > 0 {
            std::fs::remove_dir_all(place.path("stopped")).unwrap();
        }
        let mut child = place
            .command(&train("stopped"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let mut kill = Command::new("sh");
        kill.args(["-c", "kill -INT $0", &child.id().to_string()]);
        assert!(kill.status().unwrap().success());
        let last = lines.last().unwrap().unwrap();
        let status = child.wait().unwrap();
        if status.success() {
            return None;
        }
        assert_eq!(status.code(), Some(130));
        let last: serde_json::Value = serde_json::from_str(&last).unwrap();
        assert_eq!(last["stopped"], true);
        let model = place.path("stopped/long.narrows");
        assert!(
            !model.exists(),
            "a model that is not trained is not written"
        );
        let at = checkpoint(&place, "stopped/long.checkpoint").at;
        (at.epoch == 1 && at.sample > 0).then_some(first)
    });
    let first = first.expect("a run was stopped in the midst of its second epoch");

    let rest = place.succeed(&[&train("stopped")[..], &["--resume"]].concat());
    assert!(place.read("whole/long.narrows") == place.read("stopped/long.narrows"));
    assert!(place.read("whole/long.checkpoint") == place.read("stopped/long.checkpoint"));
    // The losses, too, are those of a run that was never stopped; the last line names the model's path.
    let losses = |lines: String| -> Vec<(String, String)> {
        let lines = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let epochs = lines.filter(|line| line["epoch"].is_u64());
        epochs
            .map(|line| (line["loss"].to_string(), line["validation"].to_string()))
            .collect()
    };
    assert_eq!(losses(whole), losses(format!("{first}\n{rest}")));
}

#[test]
fn more_epochs_than_at_first_give_the_bits_of_a_run_that_had_them_from_the_start() {
    let place = Workplace::trained();
    let train = [
        "train",
        "tiny.toml",
        "--data",
        "samples.npy",
        "--epochs",
        "7",
        "--out",
    ];
    place.succeed(&[&train[..], &["out", "--resume"]].concat());
    place.succeed(&[&train[..], &["whole"]].concat());
    assert!(place.read("whole/tiny.narrows") == place.read("out/tiny.narrows"));
}

#[test]
fn a_checkpoint_that_is_damaged_or_of_another_run_is_refused() {
    let place = Workplace::trained();
    let resume = [
        "train",
        "tiny.toml",
        "--data",
        "samples.npy",
        "--out",
        "out",
        "--resume",
    ];
    let file = "out/tiny.checkpoint: ";
    place.succeed(&resume);
    let with =
        |more: &[&'static str], facts: &[&str]| place.refuse(&[&resume[..], more].concat(), facts);
    with(
        &["--seed", "1"],
        &[
            file,
            "of the recipe \"tiny\" with these settings",
            "another",
        ],
    );
    with(
        &["--batch", "3"],
        &[
            file,
            "of the recipe \"tiny\" with these settings",
            "another",
        ],
    );
    with(&["--epochs", "2"], &[file, "within 2 epochs", "but 3"]);
    place.write("other.npy", reals(&[10, 6], &[0.5; 60]));
    let other = [
        "train",
        "tiny.toml",
        "--data",
        "other.npy",
        "--out",
        "out",
        "--resume",
    ];
    place.refuse(&other, &[file, "the data that it was trained on", "others"]);
    let new = [
        "train",
        "tiny.toml",
        "--data",
        "samples.npy",
        "--out",
        "new",
        "--resume",
    ];
    place.refuse(&new, &["new/tiny.checkpoint: cannot read"]);

    let whole = place.read("out/tiny.checkpoint");
    for length in [0, 3, 4, 9, 13, 30, whole.len() - 1] {
        place.write("out/tiny.checkpoint", &whole[..length]);
        place.refuse(&resume, &[file, "expected", "but"]);
    }
    for byte in (0..whole.len()).step_by(9) {
        let mut bytes = whole.clone();
        bytes[byte] ^= 1 << (byte % 8);
        place.write("out/tiny.checkpoint", bytes);
        place.refuse(&resume, &[file, "expected", "but"]);
    }
    place.write("out/tiny.checkpoint", TINY);
    place.refuse(&resume, &[file, "NARC", "but"]);
}
