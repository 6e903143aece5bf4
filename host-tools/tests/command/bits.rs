//! What must not move a bit.

use crate::workplace::{Workplace, idx, ramp, read_reals, reals};

/// Pictures of 28 x 28 bytes.
fn pictures(count: usize) -> Vec<u8> {
    let bytes: Vec<u8> = ramp(count * 784)
        .iter()
        .map(|shade| (shade * 255.0) as u8)
        .collect();
    idx(&[count as u32, 28, 28], &bytes)
}

#[test]
fn threads_move_no_bit() {
    let place = Workplace::new();
    place.write("pictures.idx", pictures(70));
    for preset in ["denoising", "convolutional"] {
        let mut blobs = Vec::new();
        for threads in ["1", "2", "3"] {
            let options = ["--epochs", "1", "--threads", threads, "--out", threads];
            place.succeed(&[&["train", preset, "--data", "pictures.idx"][..], &options].concat());
            blobs.push(place.read(&format!("{threads}/{preset}.narrows")));
        }
        assert!(blobs[0] == blobs[1] && blobs[0] == blobs[2], "{preset}");
    }
}

#[test]
fn a_preset_printed_as_a_recipe_trains_to_the_same_blob() {
    let place = Workplace::new();
    let names = place.succeed(&["preset"]);
    let names: Vec<&str> = names
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let systems = [
        "vanilla",
        "multilayer",
        "convolutional",
        "sparse",
        "sparse-kl",
        "denoising",
        "denoising-convolutional",
        "stacked",
        "anomaly",
        "ecg",
        "ecg-anomaly",
    ];
    assert_eq!(names, systems);
    for preset in names {
        let recipe = format!("{preset}.toml");
        place.write(&recipe, place.succeed(&["preset", preset]));
        for (recipe, out) in [(preset, "preset"), (&recipe, "recipe")] {
            place.succeed(&["train", recipe, "--steps", "3", "--out", out]);
        }
        let [one, other] =
            ["preset", "recipe"].map(|out| place.read(&format!("{out}/{preset}.narrows")));
        assert!(one == other, "{preset}");
    }
}

#[test]
fn the_seed_and_only_the_seed_gives_another_blob() {
    let place = Workplace::trained();
    let blob = place.read("out/tiny.narrows");
    let train = [
        "train",
        "tiny.toml",
        "--data",
        "samples.npy",
        "--out",
        "out",
    ];
    place.succeed(&train);
    assert!(place.read("out/tiny.narrows") == blob);
    place.succeed(&[&train[..], &["--seed", "0"]].concat());
    assert!(place.read("out/tiny.narrows") == blob);
    place.succeed(&[&train[..], &["--seed", "1"]].concat());
    assert!(place.read("out/tiny.narrows") != blob);
}

#[test]
fn decoding_the_code_gives_the_bytes_of_the_whole_network() {
    let place = Workplace::trained();
    place.write(
        "convolutional.toml",
        r#"
name = "convolutional"
[network]
input = [6, 4, 1]
code = "code"
layers = [
  { type = "conv2d", filters = 3, kernel_size = 3, padding = "same", activation = "tanh" },
  { type = "max_pooling2d", padding = "same", name = "code" },
  { type = "up_sampling2d" },
  { type = "conv2d", filters = 1, kernel_size = 3, padding = "same", activation = "sigmoid" },
]
"#,
    );
    place.write("pictures.npy", reals(&[70, 6, 4], &ramp(70 * 24)));
    place.succeed(&[
        "train",
        "convolutional.toml",
        "--data",
        "pictures.npy",
        "--epochs",
        "1",
        "--out",
        "out",
    ]);
    let cases = [
        ("tiny", "samples.npy", "10,3", "10,6"),
        ("convolutional", "pictures.npy", "70,3,2,3", "70,6,4,1"),
    ];
    for (name, samples, code_shape, shape) in cases {
        let model = format!("out/{name}.narrows");
        place.succeed(&["run", &model, samples, "whole.npy"]);
        place.succeed(&["denoise", &model, samples, "denoised.npy", "--threads", "3"]);
        place.succeed(&["encode", &model, samples, "codes.npy"]);
        place.succeed(&["decode", &model, "codes.npy", "parts.npy"]);
        let whole = place.read("whole.npy");
        assert!(
            whole == place.read("parts.npy") && whole == place.read("denoised.npy"),
            "{name}"
        );
        assert_eq!(read_reals(&whole).0, shape, "{name}");
        let (found, codes) = read_reals(&place.read("codes.npy"));
        assert_eq!(found, code_shape, "{name}");
        assert!(codes.iter().any(|number| *number != 0.0), "{name}");
    }
}
