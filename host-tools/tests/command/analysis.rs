//! What the commands say about a model: scores, features, neighbours, diagnoses and sweeps.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::workplace::{Workplace, idx, ramp, read_reals, reals, refused};

fn lines(text: &str) -> Vec<Value> {
    let line = |line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("{line}: {cause}"));
    text.lines().map(line).collect()
}

fn number(found: &Value) -> f64 {
    found
        .as_f64()
        .unwrap_or_else(|| panic!("a number, not {found}"))
}

fn near(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= 1e-6 * expected.abs(),
        "{found} is not {expected}"
    );
}

/// With `out/tiny.narrows`, and a folder `labelled` with ten training and eight test samples of the labels 1, 3 and 4.
fn workplace() -> Workplace {
    let place = Workplace::trained();
    std::fs::create_dir(place.path("labelled")).unwrap();
    let bytes = |count: usize| -> Vec<u8> {
        let shades = ramp(count).into_iter().map(|shade| (shade * 255.0) as u8);
        shades.rev().collect()
    };
    place.write(
        "labelled/train-images-idx3-ubyte",
        idx(&[10, 2, 3], &bytes(60)),
    );
    place.write(
        "labelled/train-labels-idx1-ubyte",
        idx(&[10], &[1, 3, 1, 3, 1, 1, 1, 3, 4, 1]),
    );
    place.write(
        "labelled/t10k-images-idx3-ubyte",
        idx(&[8, 2, 3], &bytes(48)),
    );
    place.write(
        "labelled/t10k-labels-idx1-ubyte",
        idx(&[8], &[3, 1, 1, 3, 4, 1, 3, 1]),
    );
    place
}

const TEST_LABELS: [u8; 8] = [3, 1, 1, 3, 4, 1, 3, 1];

/// The mean squared error of each sample, as the definition has it.
fn scores_by_hand(place: &Workplace, samples: &str, model: &str) -> Vec<f64> {
    place.succeed(&["features", model, samples, "inputs.npy", "--layer", "code"]);
    place.succeed(&[
        "features",
        model,
        samples,
        "answers.npy",
        "--layer",
        "output",
    ]);
    let answers = read_reals(&place.read("answers.npy")).1;
    let inputs = ramp(60);
    let squares = answers
        .iter()
        .zip(&inputs)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    let squares: Vec<f64> = squares.collect();
    squares
        .chunks(6)
        .map(|sample| sample.iter().sum::<f64>() / 6.0)
        .collect()
}

#[test]
fn scores_are_the_errors_of_samples_and_the_threshold_is_kept() {
    let place = workplace();
    let expected = scores_by_hand(&place, "samples.npy", "out/tiny.narrows");
    let score = ["score", "out/tiny.narrows", "samples.npy"];
    place.succeed(&[&score[..], &["--out", "scores.npy"]].concat());
    let (shape, found) = read_reals(&place.read("scores.npy"));
    assert_eq!(shape, "10");
    for (found, expected) in found.iter().zip(&expected) {
        near(f64::from(*found), *expected);
    }
    place.succeed(&[&score[..], &["--out", "scores.csv"]].concat());
    let csv = String::from_utf8(place.read("scores.csv")).unwrap();
    assert_eq!(csv.lines().next(), Some("sample,score"));
    assert_eq!(csv.lines().nth(3), Some(&*format!("2,{}", found[2])));

    let before = place.read("out/tiny.narrows");
    let told =
        &lines(&place.succeed(&[&score[..], &["--threshold", "quantile:0.5", "--json"]].concat()))
            [0];
    let mut sorted = expected.clone();
    sorted.sort_by(f64::total_cmp);
    near(number(&told["threshold"]), (sorted[4] + sorted[5]) / 2.0);
    assert_eq!((&told["samples"], &told["odd"]), (&10.into(), &5.into()));
    assert!(told["auc"].is_null());
    assert!(
        before == place.read("out/tiny.narrows"),
        "nothing was to be saved"
    );

    place.succeed(&[&score[..], &["--threshold", "sigma:1", "--save"]].concat());
    let (mean, deviation) = {
        let mean = expected.iter().sum::<f64>() / 10.0;
        let squares: f64 = expected.iter().map(|score| (score - mean).powi(2)).sum();
        (mean, (squares / 10.0).sqrt())
    };
    let told = &lines(&place.succeed(&[&score[..], &["--json"]].concat()))[0];
    near(number(&told["threshold"]), mean + deviation);
    assert_eq!(told["rule"], "the model's own");
    // The same parameters under another header; `inspect` lets the model answer its golden sample.
    place.succeed(&["inspect", "out/tiny.narrows"]);
    let after = place.read("out/tiny.narrows");
    let parameters = 4 * (6 * 3 + 3 + 3 * 6 + 6) + 4;
    assert_eq!(
        before[before.len() - parameters..before.len() - 4],
        after[after.len() - parameters..after.len() - 4]
    );
    assert_ne!(before, after);
}

#[test]
fn a_normal_class_gives_a_threshold_of_training_data_and_an_area_under_the_curve() {
    let place = workplace();
    let score = ["score", "out/tiny.narrows", "labelled", "--normal", "1"];
    place.succeed(&[&score[..], &["--out", "scores.npy"]].concat());
    let scores = read_reals(&place.read("scores.npy")).1;
    let of_kind = |normal: bool| {
        let pairs = scores.iter().zip(TEST_LABELS);
        pairs
            .filter(move |(_, label)| (*label == 1) == normal)
            .map(|(score, _)| *score)
    };
    let pairs =
        of_kind(false).flat_map(|odd| of_kind(true).map(move |normal| f64::from(odd > normal)));
    let expected = pairs.sum::<f64>() / 16.0;
    let told = &lines(&place.succeed(&[&score[..], &["--json"]].concat()))[0];
    near(number(&told["auc"]), expected);
    assert_eq!(told["normal_samples"], 6, "of the training data");
    assert_eq!(told["roc"][0], serde_json::json!([0.0, 0.0]));
    assert_eq!(
        told["roc"].as_array().unwrap().last(),
        Some(&serde_json::json!([1.0, 1.0]))
    );
    let labels = told["labels"].as_array().unwrap();
    assert_eq!(labels.len(), 3);
    assert_eq!(
        (&labels[1]["label"], &labels[1]["samples"]),
        (&3.into(), &3.into())
    );
    let text = place.succeed(&score);
    for fact in [
        "quantile:0.99 of 6 normal training samples",
        "AUC 0.",
        "label 4",
    ] {
        assert!(text.contains(fact), "{text}");
    }
    let all = place.succeed(&["score", "out/tiny.narrows", "labelled", "--normal", "1,3,4"]);
    assert!(
        all.contains("no AUC: every sample is a normal one"),
        "{all}"
    );
}

#[test]
fn features_are_those_of_the_layer_with_its_name() {
    let place = workplace();
    let features = ["features", "out/tiny.narrows", "samples.npy"];
    place.succeed(&["encode", "out/tiny.narrows", "samples.npy", "codes.npy"]);
    let told = place.succeed(&[&features[..], &["found.npy"]].concat());
    assert!(told.contains("10 samples, layer \"code\", [3]"), "{told}");
    assert!(
        place.read("codes.npy") == place.read("found.npy"),
        "to the bit"
    );
    place.succeed(&[
        "features",
        "out/tiny.narrows",
        "labelled",
        "found.csv",
        "--layer",
        "code",
    ]);
    let csv = String::from_utf8(place.read("found.csv")).unwrap();
    assert_eq!(
        csv.lines().next(),
        Some("sample,label,code_0,code_1,code_2")
    );
    assert!(csv.lines().nth(5).unwrap().starts_with("4,4,"), "{csv}");
    assert_eq!(csv.lines().count(), 9);
    place.succeed(&[
        "features",
        "out/tiny.narrows",
        "labelled",
        "train.csv",
        "--train",
    ]);
    let csv = String::from_utf8(place.read("train.csv")).unwrap();
    assert_eq!(csv.lines().count(), 11);

    place.refuse(
        &[&features[..], &["other.npy", "--layer", "cod"]].concat(),
        &["\"cod\"", "\"code\"", "output"],
    );
    place.refuse(
        &[&features[..], &["features.txt"]].concat(),
        &["features.txt: expected a name that ends in .npy or .csv, but .txt came"],
    );
}

#[test]
fn neighbours_are_the_nearest_by_code() {
    let place = workplace();
    place.succeed(&["encode", "out/tiny.narrows", "samples.npy", "codes.npy"]);
    let codes = read_reals(&place.read("codes.npy")).1;
    let code = |sample: usize| &codes[3 * sample..3 * sample + 3];
    let distance = |sample: usize| {
        let pairs = code(4).iter().zip(code(sample));
        pairs
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    let mut order: Vec<usize> = (0..10).filter(|sample| *sample != 4).collect();
    order.sort_by(|a, b| distance(*a).total_cmp(&distance(*b)));
    let find = [
        "neighbours",
        "out/tiny.narrows",
        "samples.npy",
        "--sample",
        "4",
    ];
    let told = &lines(&place.succeed(&[&find[..], &["--count", "3", "--json"]].concat()))[0];
    let found = told["neighbours"].as_array().unwrap();
    assert_eq!(found.len(), 3);
    for (found, expected) in found.iter().zip(order) {
        assert_eq!(found["sample"], expected);
        near(number(&found["distance"]), distance(expected));
    }
    let labelled = [
        "neighbours",
        "out/tiny.narrows",
        "labelled",
        "--sample",
        "4",
    ];
    let told = place.succeed(&labelled);
    assert!(
        told.starts_with("sample 4, label 4: its neighbours by layer \"code\"\n"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 8);
    place.refuse(
        &[
            "neighbours",
            "out/tiny.narrows",
            "labelled",
            "--sample",
            "8",
        ],
        &["labelled: expected a sample from 0 to 7, but 8 came"],
    );
    place.refuse(
        &[&find[..], &["--picture", "alike.png"]].concat(),
        &["--picture: expected a model of pictures with one channel, but one of [6] came"],
    );

    let square = crate::workplace::TINY
        .replace("[6]", "[4]")
        .replace("units = 6", "units = 4");
    place.write("square.toml", square.replace("\"tiny\"", "\"square\""));
    place.write("square.npy", reals(&[7, 4], &ramp(28)));
    place.succeed(&["train", "square.toml", "--data", "square.npy"]);
    let picture = ["--sample", "0", "--picture", "alike.png"];
    place.succeed(
        &[
            &["neighbours", "square.narrows", "square.npy"][..],
            &picture,
        ]
        .concat(),
    );
    assert!(place.read("alike.png").starts_with(b"\x89PNG"));
}

#[test]
fn a_diagnosis_has_a_verdict_and_the_numbers_it_rests_on() {
    let place = workplace();
    let expected = scores_by_hand(&place, "samples.npy", "out/tiny.narrows");
    let diagnose = ["diagnose", "out/tiny.narrows", "--data"];
    let told = &lines(&place.succeed(&[&diagnose[..], &["samples.npy", "--json"]].concat()))[0];
    near(
        number(&told["train"]["mse"]),
        expected.iter().sum::<f64>() / 10.0,
    );
    assert!(told["unseen"].is_null());
    assert_eq!((&told["code"], &told["input"]), (&3.into(), &6.into()));
    assert_eq!(told["undercomplete"], true);
    assert_eq!(told["trained_on_these_data"], true);
    let text = place.succeed(&[&diagnose[..], &["labelled"]].concat());
    for fact in [
        "unseen data",
        "white noise",
        "shuffled pixels",
        "PCA",
        "It was not trained on exactly the data of labelled",
    ] {
        assert!(text.contains(fact), "{text}");
    }
    place.write("one.npy", reals(&[1, 6], &ramp(6)));
    place.write("same.npy", reals(&[9, 6], &[0.3; 54]));
    for (file, count) in [("one.npy", 1), ("same.npy", 9)] {
        let fact =
            format!("expected training samples that differ, but {count} that are all alike came");
        place.refuse(&[&diagnose[..], &[file]].concat(), &[&fact]);
    }
    place.refuse(
        &diagnose[..2],
        &["expected samples of [6]", "[28, 28] came"],
    );
}

#[test]
fn bad_data_are_refused_by_every_analysis() {
    let place = workplace();
    place.write("empty.npy", "");
    place.write("none.npy", reals(&[0, 6], &[]));
    let commands: [&[&str]; 4] = [
        &["score", "out/tiny.narrows", "DATA"],
        &["features", "out/tiny.narrows", "DATA", "found.npy"],
        &["neighbours", "out/tiny.narrows", "DATA", "--sample", "0"],
        &["diagnose", "out/tiny.narrows", "--data", "DATA"],
    ];
    let with = |command: &[&'static str], data: &'static str| -> Vec<&'static str> {
        let replace = |word: &&'static str| if *word == "DATA" { data } else { *word };
        command.iter().map(replace).collect()
    };
    for command in commands {
        place.refuse(&with(command, "empty.npy"), &["empty.npy: expected"]);
        place.refuse(
            &with(command, "none.npy"),
            &["none.npy: expected samples", "none came"],
        );
        place.refuse(&with(command, "gone.npy"), &["gone.npy: cannot read"]);
    }
    place.refuse(
        &["score", "out/tiny.narrows", "labelled", "--normal", "12"],
        &["labelled: expected a label that is there (1, 3, 4), but 12 came"],
    );
    place.refuse(
        &["score", "out/tiny.narrows", "samples.npy", "--normal", "1"],
        &["samples.npy: expected labels", "none came"],
    );
    place.refuse(
        &[
            "score",
            "out/tiny.narrows",
            "samples.npy",
            "--threshold",
            "median",
        ],
        &["--threshold", "quantile:Q", "sigma:K"],
    );
    place.write("labelled/t10k-labels-idx1-ubyte", idx(&[7], &[1; 7]));
    for command in commands {
        place.refuse(
            &with(command, "labelled"),
            &["t10k-labels", "8 samples", "[7] came"],
        );
    }
}

const SWEEP: [&str; 9] = [
    "sweep",
    "tiny.toml",
    "--code",
    "1,2,5",
    "--data",
    "samples.npy",
    "--out",
    "swept",
    "--json",
];

#[test]
fn a_sweep_shows_error_and_cost_by_code_size_and_marks_the_knee() {
    let place = workplace();
    let told = lines(&place.succeed(&SWEEP));
    assert_eq!(told.len(), 4);
    for code in [1, 2, 5] {
        let name = format!("tiny-code{code}");
        let found = told.iter().find(|line| line["variant"] == *name).unwrap();
        assert_eq!(found["code"], code);
        let model = format!("swept/{name}.narrows");
        let inspected = &lines(&place.succeed(&["inspect", &model, "--json"]))[0];
        for (key, other) in [
            ("flash_bytes", "bytes"),
            ("ram_bytes", "inference_bytes"),
            ("parameters", "parameters"),
            ("multiply_accumulates", "multiply_accumulates"),
        ] {
            assert_eq!(found[key], inspected[other], "{key}");
        }
        let instructions = 3.56 * number(&found["multiply_accumulates"]);
        assert_eq!(
            number(&found["instructions_estimate"]),
            instructions.round()
        );
        let scored = &lines(&place.succeed(&["score", &model, "samples.npy", "--json"]))[0];
        near(number(&found["train_mse"]), number(&scored["mean"]));
    }
    assert_eq!(told[3]["code"], serde_json::json!([1, 2, 5]));
    let text = place.succeed(
        &[
            &SWEEP[..8],
            &["--layers", "1,2", "--units", "4", "--jobs", "1"],
        ]
        .concat(),
    );
    assert!(
        text.contains("tiny-code5-layers2-units4") && text.contains("instructions*"),
        "{text}"
    );
    assert!(
        !place
            .path("swept/tiny-code5-layers1-units4.narrows")
            .exists()
    );
    // The number of jobs changes no bit.
    let before = place.read("swept/tiny-code2.narrows");
    place.succeed(&[&SWEEP[..], &["--jobs", "1"]].concat());
    assert!(before == place.read("swept/tiny-code2.narrows"));
}

#[test]
fn finished_points_are_taken_as_they_are_and_others_trained_anew() {
    let place = workplace();
    let first = lines(&place.succeed(&SWEEP));
    let resume = [&SWEEP[..8], &["--resume"]].concat();
    let count = |text: &str, what: &str| text.lines().filter(|line| line.contains(what)).count();
    let files = place.files();
    let told = place.succeed(&resume);
    assert_eq!(
        (count(&told, "was there: "), count(&told, "trained: ")),
        (3, 0),
        "{told}"
    );
    assert!(files == place.files());
    let again = lines(&place.succeed(&[&resume[..], &["--json"]].concat()));
    let last = |lines: &[Value]| lines.last().unwrap().clone();
    assert_eq!(last(&first), last(&again));

    // A model that is damaged, figures that are cut off, and other settings.
    place.write("swept/tiny-code1.narrows", "no model");
    let point = place.read("swept/tiny-code2.point.json");
    place.write("swept/tiny-code2.point.json", &point[..point.len() / 2]);
    let told = place.succeed(&resume);
    assert_eq!(
        (count(&told, "was there: "), count(&told, "trained: ")),
        (1, 2),
        "{told}"
    );
    assert!(files == place.files(), "they are as they were");
    for options in [["--epochs", "2"], ["--seed", "9"]] {
        let told = place.succeed(&[&resume[..], &options].concat());
        assert_eq!(count(&told, "trained: "), 3, "{told}");
    }
}

/// Waits until a process handles SIGINT itself; it trains soon after.
fn wait_until_it_listens(id: &str) {
    let start = Instant::now();
    let handles = || {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        caught.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & 2 != 0)
    };
    while !handles() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "it does not listen"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(50));
}

#[test]
fn what_a_killed_sweep_finished_survives() {
    let place = workplace();
    // The second point would take for ever.
    let slow = crate::workplace::TINY.replace("epochs = 3", "epochs = 40000000");
    place.write("slow.toml", slow.replace("\"tiny\"", "\"slow\""));
    let sweep = [
        "sweep",
        "tiny.toml",
        "--code",
        "1",
        "--data",
        "samples.npy",
        "--out",
        "swept",
    ];
    place.succeed(&sweep);
    let slow = [
        "sweep",
        "slow.toml",
        "--code",
        "1,2",
        "--data",
        "samples.npy",
        "--out",
        "swept",
        "--jobs",
        "2",
    ];
    for signal in ["KILL", "INT"] {
        let before = place.files();
        let mut command = place.command(&slow);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let id = child.id().to_string();
        wait_until_it_listens(&id);
        assert!(
            // The shell's own: a bare system has no program for it.
            std::process::Command::new("sh")
                .args(["-c", &format!("kill -s {signal} {id}")])
                .status()
                .unwrap()
                .success()
        );
        let start = Instant::now();
        let output = child.wait_with_output().unwrap();
        assert!(start.elapsed() < Duration::from_secs(20));
        assert!(before == place.files(), "nothing half-written");
        if signal == "INT" {
            assert_eq!(output.status.code(), Some(130));
            let told = String::from_utf8(output.stdout).unwrap();
            assert!(
                told.contains("stopped with 0 of 2 finished; --resume"),
                "{told}"
            );
        }
    }
    let told = place.succeed(&[&sweep[..3], &["1,2"], &sweep[4..], &["--resume"]].concat());
    assert!(
        told.contains("was there: tiny-code1") && told.contains("trained: tiny-code2"),
        "{told}"
    );
}

#[test]
fn a_sweep_that_makes_no_sense_is_refused_before_anything_is_trained() {
    let place = Workplace::new();
    place.refuse(
        &["sweep", "convolutional", "--layers", "2"],
        &[
            "\"convolutional\"",
            "expected a network of dense layers alone",
            "conv2d",
        ],
    );
    place.refuse(
        &["sweep", "vanilla", "--units", "10"],
        &["units: expected layers before the code", "--layers 2"],
    );
    place.refuse(
        &["sweep", "vanilla", "--code", "8,0"],
        &["--code", "'0'", "from 1"],
    );
    place.refuse(&["sweep", "vanilla", "--code", "8,x"], &["--code", "'x'"]);
    place.refuse(
        &["sweep", "vanilla", "--code", "8", "--jobs", "0"],
        &["--jobs", "'0'"],
    );
    place.refuse(&["sweep", "vanila", "--code", "8"], &["vanila", "vanilla"]);
    let output = place
        .command(&["sweep", "vanilla", "--code", "4000000000"])
        .output()
        .unwrap();
    refused(&output, &["layer 0"]);
}

#[test]
fn every_analysis_has_help_with_an_example() {
    let place = Workplace::new();
    for name in ["score", "features", "neighbours", "diagnose", "sweep"] {
        let help = place.succeed(&[name, "--help"]);
        let (_, examples) = help.split_once("Example").unwrap();
        assert!(
            examples.contains(&format!("  narrows {name} ")),
            "{examples}"
        );
        assert!(help.contains("--json"), "{name}");
    }
}
