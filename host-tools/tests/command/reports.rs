//! What the command tells.

use narrows_core::noise::{Noise, NoiseKind};
use serde_json::Value;

use crate::workplace::{Workplace, idx, npz, ramp, read_reals, reals};

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("{line}: {cause}")))
        .collect()
}

fn near(found: &Value, expected: f64) {
    let found = found
        .as_f64()
        .unwrap_or_else(|| panic!("a number, not {found}"));
    assert!(
        (found - expected).abs() <= 1e-9 * expected.abs(),
        "{found} is not {expected}"
    );
}

/// Of numbers, as the definition has it.
fn mean_squared_error(given: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(given.len(), wanted.len());
    let mut sum = 0.0;
    for index in 0..given.len() {
        let difference = f64::from(given[index]) - f64::from(wanted[index]);
        sum += difference * difference;
    }
    sum / given.len() as f64
}

#[test]
fn training_tells_every_epoch() {
    let place = Workplace::trained();
    let samples = reals(&[10, 6], &ramp(60));
    place.write(
        "both.npz",
        npz(&[("x_train.npy", &samples), ("x_test.npy", &samples)]),
    );
    let train = ["train", "tiny.toml", "--out", "both", "--data"];
    let told = lines(&place.succeed(&[&train[..], &["both.npz", "--json"]].concat()));
    assert_eq!(told.len(), 4);
    for (epoch, line) in (1..).zip(&told[..3]) {
        assert_eq!(line["epoch"], epoch);
        assert!(
            line["loss"].as_f64().unwrap() > 0.0
                && line["samples_per_second"].as_f64().unwrap() > 0.0
        );
    }
    assert_eq!(told[3]["model"], "both/tiny.narrows");
    assert_eq!(told[3]["bytes"], place.read("both/tiny.narrows").len());
    assert_eq!(told[3]["parameters"], 6 * 3 + 3 + 3 * 6 + 6);
    // The validation loss is that of the model as it is after the epoch. Losses are f32.
    place.succeed(&["run", "both/tiny.narrows", "samples.npy", "answers.npy"]);
    let expected = mean_squared_error(&read_reals(&place.read("answers.npy")).1, &ramp(60));
    let found = told[2]["validation"].as_f64().unwrap();
    assert!(
        (found - expected).abs() < 1e-6 * expected,
        "{found} is not {expected}"
    );

    let told = place.succeed(&[&train[..], &["samples.npy"]].concat());
    assert_eq!(
        told.lines()
            .filter(|line| line.starts_with("epoch "))
            .count(),
        3,
        "{told}"
    );
    let without = lines(&place.succeed(&[&train[..], &["samples.npy", "--json"]].concat()));
    assert!(
        without[0]["validation"].is_null(),
        "there is nothing to validate on"
    );
}

#[test]
fn evaluation_gives_the_figures_of_their_definitions() {
    let place = Workplace::trained();
    place.succeed(&["run", "out/tiny.narrows", "samples.npy", "answers.npy"]);
    let (clean, answers) = (ramp(60), read_reals(&place.read("answers.npy")).1);
    let found = &lines(&place.succeed(&["eval", "out/tiny.narrows", "samples.npy", "--json"]))[0];
    let expected = mean_squared_error(&answers, &clean);
    assert_eq!(found["samples"], 10);
    near(&found["answers"]["mse"], expected);
    near(&found["answers"]["psnr"], -10.0 * expected.log10());
    assert!(found["noisy"].is_null());
    assert_eq!(found["labels"], Value::Array(Vec::new()));
    let told = place.succeed(&["eval", "out/tiny.narrows", "samples.npy"]);
    assert!(told.contains(&format!("error {expected:.6}")), "{told}");

    // With labels, and with the noise of a recipe.
    std::fs::create_dir(place.path("folder")).unwrap();
    let labels = [3, 1, 3, 3, 1, 1, 3, 1, 3, 3];
    let bytes: Vec<u8> = (0..60).map(|index| index * 4).collect();
    place.write("folder/t10k-images-idx3-ubyte", idx(&[10, 6], &bytes));
    place.write("folder/t10k-labels-idx1-ubyte", idx(&[10], &labels));
    place.write(
        "noisy.toml",
        crate::workplace::TINY.replace(
            "epochs = 3",
            "noise = { type = \"gaussian\", stddev = 0.2, clip = [0.0, 1.0] }",
        ),
    );
    let clean: Vec<f32> = bytes
        .iter()
        .map(|byte| f32::from(*byte) * (1.0 / 255.0))
        .collect();
    let mut noisy = vec![0.0; 60];
    let noise = Noise::new(NoiseKind::Gaussian { stddev: 0.2 }, Some([0.0, 1.0]), false).unwrap();
    for (index, (clean, noisy)) in (0..).zip(clean.chunks(6).zip(noisy.chunks_mut(6))) {
        noise.apply(0, u32::MAX, index, clean, noisy, f32::sqrt);
    }
    place.write("noisy.npy", reals(&[10, 6], &noisy));
    place.succeed(&["denoise", "out/tiny.narrows", "noisy.npy", "answers.npy"]);
    let answers = read_reals(&place.read("answers.npy")).1;
    let found = &lines(&place.succeed(&[
        "eval",
        "out/tiny.narrows",
        "folder",
        "--noise",
        "noisy.toml",
        "--json",
    ]))[0];
    near(&found["noisy"]["mse"], mean_squared_error(&noisy, &clean));
    near(
        &found["answers"]["mse"],
        mean_squared_error(&answers, &clean),
    );
    for (place, label) in [1u8, 3].into_iter().enumerate() {
        let pick = |values: &[f32]| -> Vec<f32> {
            let chosen = (0..10).filter(|sample| labels[*sample] == label);
            chosen
                .flat_map(|sample| values[6 * sample..6 * sample + 6].to_vec())
                .collect()
        };
        assert_eq!(found["labels"][place]["label"], label);
        near(
            &found["labels"][place]["mse"],
            mean_squared_error(&pick(&answers), &pick(&clean)),
        );
    }
}

#[test]
fn a_recording_is_cut_into_windows() {
    let place = Workplace::trained();
    place.write("recording.npy", reals(&[20], &ramp(20)));
    let samples = |options: &[&str]| {
        let told = place.succeed(
            &[
                &["eval", "out/tiny.narrows", "recording.npy", "--json"][..],
                options,
            ]
            .concat(),
        );
        lines(&told)[0]["samples"].clone()
    };
    assert_eq!(samples(&[]), 3);
    assert_eq!(samples(&["--step", "1"]), 15);
    assert_eq!(samples(&["--step", "100"]), 1);
}

#[test]
fn inspection_shows_shapes_parameters_memory_and_flash() {
    let place = Workplace::new();
    let pictures: Vec<u8> = ramp(784)
        .iter()
        .map(|shade| (shade * 255.0) as u8)
        .collect();
    place.write("pictures.idx", idx(&[1, 28, 28], &pictures));
    place.succeed(&[
        "train",
        "convolutional",
        "--data",
        "pictures.idx",
        "--epochs",
        "1",
    ]);
    let told = place.succeed(&["inspect", "convolutional.narrows"]);
    let found = &lines(&place.succeed(&["inspect", "convolutional.narrows", "--json"]))[0];
    // Channels, taps and filters of the seven convolutions, by hand.
    let parameters = [(1, 16), (16, 8), (8, 8), (8, 8), (8, 8), (8, 16), (16, 1)]
        .map(|(from, to)| from * 9 * to + to);
    let expected: usize = parameters.iter().sum();
    assert_eq!(found["parameters"], expected);
    let layers = found["layers"].as_array().unwrap();
    let outputs: Vec<&str> = layers
        .iter()
        .map(|layer| layer["output"].as_str().unwrap())
        .collect();
    let sides = [28, 14, 14, 7, 7, 4, 4, 8, 8, 16, 14, 28, 28];
    let channels = [16, 16, 8, 8, 8, 8, 8, 8, 8, 8, 16, 16, 1];
    let shapes: Vec<String> = sides
        .iter()
        .zip(channels)
        .map(|(side, channels)| format!("[{side}, {side}, {channels}]"))
        .collect();
    assert_eq!(outputs, shapes);
    assert_eq!(found["code"], 5);
    assert_eq!(layers[5]["name"], "code");
    let of_layers: u64 = layers
        .iter()
        .map(|layer| layer["parameters"].as_u64().unwrap())
        .sum();
    assert_eq!(of_layers, expected as u64);
    let bytes = place.read("convolutional.narrows").len();
    assert_eq!(found["bytes"], bytes);
    // At least what goes in and out, and what a device holds for Adam; never more than a caller would believe.
    let inference = found["inference_bytes"].as_u64().unwrap();
    assert!((4 * 2 * 784..100_000).contains(&inference), "{inference}");
    let [training, fused] =
        ["training_bytes", "fused_training_bytes"].map(|key| found[key].as_u64().unwrap());
    assert!(
        fused >= 8 * expected as u64 && fused < training,
        "{fused} {training}"
    );
    let all = 4 * expected as u64;
    for fact in [
        format!("{expected} ({bytes} bytes in flash"),
        format!("RAM, inference    {inference} bytes"),
        format!(
            "RAM, training     {} bytes with Adam, {} fused",
            training + all,
            fused + all
        ),
        "[4, 4, 8]".into(),
        "<- the code".into(),
    ] {
        assert!(told.contains(&fact), "expected {fact:?} in {told}");
    }
}

/// The recipe stands in the documentation of the data.
#[test]
fn the_bundled_electrocardiogram_is_learned_with_the_recipe_beside_it() {
    let place = Workplace::new();
    let (_, text) = include_str!("../../data/ecg/README.md")
        .split_once("```toml\n")
        .unwrap();
    place.write("heart.toml", text.split_once("```").unwrap().0);
    let one = ["train", "heart.toml", "--epochs", "1", "--json"];
    let told = lines(&place.succeed(&one));
    let first = told[0]["validation"].as_f64().unwrap();
    assert_eq!(told.last().unwrap()["model"], "./heart.narrows");
    // Without learning it would be the variance of the last tenth: 0.18 square millivolts.
    assert!(first < 0.1, "{first}");
    let inspected = &lines(&place.succeed(&["inspect", "heart.narrows", "--json"]))[0];
    assert_eq!(inspected["input"], "[1, 256, 1]");
    assert_eq!(inspected["offset"], 1024.0);
}

#[test]
fn presets_and_answers_are_told_as_json_too() {
    let place = Workplace::trained();
    let presets = lines(&place.succeed(&["preset", "--json"]));
    assert_eq!(presets.len(), 11);
    assert_eq!(presets[0]["recipe"], place.succeed(&["preset", "vanilla"]));
    let told = &lines(&place.succeed(&[
        "encode",
        "out/tiny.narrows",
        "samples.npy",
        "codes.npy",
        "--json",
    ]))[0];
    assert_eq!(told["samples"], 10);
    assert_eq!(told["shape"], serde_json::json!([10, 3]));
    assert_eq!(told["output"], "codes.npy");
}
