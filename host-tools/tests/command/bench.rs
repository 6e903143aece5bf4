//! `narrows bench`: that what it measures is printed whole, not how much that is.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::workplace::{Workplace, ramp, reals, refused};

/// With `pictures.npy`: as many pictures as asked for, of which no two are alike.
fn with_pictures(count: usize) -> Workplace {
    let place = Workplace::new();
    let pictures = reals(&[count, 784], &ramp(count * 784));
    place.write("pictures.npy", pictures);
    place
}

fn lines(printed: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    printed.lines().map(parse).collect()
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// Equal but for what writing and reading a number in decimal may change.
fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!(
        (found / expected - 1.0).abs() < 1e-12,
        "{found} is not {expected}"
    );
}

/// What a worker answers to `input`.
fn worker(place: &Workplace, work: &str, input: &str) -> std::process::Output {
    let arguments = ["bench", "worker", "--work", work, "--network", "vanilla"];
    let mut command = place.command(&arguments);
    command.args(["--batch", "8", "--threads", "1", "--data", "pictures.npy"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_worker_says_when_its_first_batch_was_done_and_answers_every_line() {
    let place = with_pictures(40);
    for work in ["train", "encode", "reconstruct"] {
        let output = worker(&place, work, "go 9 8\ngo 2 16\n");
        assert!(output.status.success());
        let said = lines(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(said.len(), 3, "{work}");
        let first = said[0]["first_batch_seconds"].as_f64();
        assert_eq!(first.is_some_and(|seconds| seconds > 0.0), work == "train");
        for answer in &said[1..] {
            assert!(
                answer["samples_per_second"].as_f64().unwrap() > 0.0,
                "{work}"
            );
        }
    }
}

#[test]
fn a_worker_refuses_what_it_cannot_do() {
    let place = with_pictures(10);
    for line in ["stop\n", "go 3\n", "go 0 8\n", "go 3 0\n", "go -1 8\n"] {
        let output = worker(&place, "train", line);
        refused(&output, &["go STEPS BATCH", line.trim()]);
    }
    let output = worker(&place, "encode", "go 1 11\n");
    refused(&output, &["at least a batch of 11 samples"]);
}

/// A peer that answers as `side.py` says, and does nothing else.
#[cfg(unix)]
fn imagined_peer(place: &Workplace) -> String {
    use std::os::unix::fs::PermissionsExt;
    let ready = r#"{"version": "9", "first_batch_seconds": 0.5}"#;
    let answer = r#"{"samples_per_second": 1000, "peak_rss_bytes": 99999999}"#;
    let script =
        format!("#!/bin/sh\necho '{ready}'\nwhile read -r line; do echo '{answer}'; done\n");
    place.write("peer", script);
    let path = place.path("peer");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[cfg(unix)]
#[test]
fn sides_take_turns_and_narrows_is_held_against_the_better_of_them() {
    let place = with_pictures(200);
    let peer = imagined_peer(&place);
    let arguments = [
        "bench",
        "training",
        "--networks",
        "vanilla",
        "--rounds",
        "1",
        "--json",
    ];
    let more = [
        "--data",
        "pictures.npy",
        "--threads",
        "1",
        "--peers",
        "--python",
        &peer,
    ];
    let said = lines(&place.succeed(&[&arguments[..], &more].concat()));
    let sides: Vec<_> = said
        .iter()
        .map(|line| {
            (
                line["batch"].as_u64().unwrap(),
                line["side"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [32, 128].map(|batch| [(batch, "narrows"), (batch, "pytorch"), (batch, "jax")]);
    assert_eq!(sides, expected.concat());
    for side in said.chunks(3) {
        let rate = side[0]["samples_per_second"].as_f64().unwrap();
        near(&side[0]["narrows_ratio"], 1.0);
        near(&side[0]["narrows_ratio_to_best_peer"], rate / 1000.0);
        near(&side[1]["narrows_ratio"], rate / 1000.0);
        assert_eq!(side[1]["first_batch_seconds"], 0.5);
        assert_eq!(side[2]["bytes_beyond_data"], 99_999_999 - 200 * 784 * 4);
        assert!(!side[0]["processor"].as_str().unwrap().is_empty());
    }
}

#[test]
fn a_peer_that_cannot_be_started_is_named() {
    let place = with_pictures(200);
    place.refuse(
        &[
            "bench",
            "inference",
            "--networks",
            "vanilla",
            "--data",
            "pictures.npy",
            "--peers",
            "--python",
            "nowhere/python",
        ],
        &[
            "--peers",
            "nowhere/python",
            "side_pytorch.py",
            "tests/peers/README.md",
        ],
    );
}

#[test]
fn the_products_of_vanilla_are_shares_of_what_registers_alone_reach() {
    let place = Workplace::new();
    let said =
        lines(&place.succeed(&["bench", "peak", "--threads", "2", "--rounds", "2", "--json"]));
    assert_eq!(said.len(), 6, "five products, and all of them");
    for line in said {
        let number = |key: &str| line[key].as_f64().unwrap();
        let rate = number("multiply_adds_per_second");
        assert!(rate > 0.0);
        near(
            &line["share_of_peak"],
            rate / number("peak_multiply_adds_per_second"),
        );
    }
}

#[test]
fn curves_have_a_point_for_each_batch_code_and_number_of_threads() {
    let place = with_pictures(600);
    let arguments = [
        "bench",
        "training",
        "--curves",
        "--networks",
        "vanilla",
        "--rounds",
        "1",
    ];
    let more = ["--data", "pictures.npy", "--threads", "2", "--json"];
    let said = lines(&place.succeed(&[&arguments[..], &more].concat()));
    let points = |curve: &str| -> Vec<u64> {
        let of_curve = said.iter().filter(|line| line["curve"] == curve);
        of_curve.map(|line| line["x"].as_u64().unwrap()).collect()
    };
    let sizes = [8, 16, 32, 64, 128, 256, 512];
    assert_eq!(points("batch"), sizes);
    assert_eq!(points("code"), sizes);
    assert_eq!(points("threads"), [1, 2]);
    assert_eq!(said.len(), 16);
    for line in said {
        assert!(line["samples_per_second"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn the_figures_of_a_system_and_a_seed_are_one_object_with_its_keys_alone() {
    let place = with_pictures(64);
    let arguments = [
        "bench",
        "quality",
        "--systems",
        "vanilla,denoising",
        "--seeds",
        "3,5",
    ];
    let said =
        lines(&place.succeed(&[&arguments[..], &["--data", "pictures.npy", "--json"]].concat()));
    let runs: Vec<_> = said
        .iter()
        .map(|line| {
            (
                line["system"].as_str().unwrap(),
                line["seed"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        runs,
        [
            ("vanilla", 3),
            ("vanilla", 5),
            ("denoising", 3),
            ("denoising", 5)
        ]
    );
    let code = ["code_mean", "code_mean_abs", "code_zero_share"];
    for line in &said[..2] {
        let expected = [&["system", "seed", "test_mse"][..], &code].concat();
        assert_eq!(keys(line), BTreeSet::from_iter(expected));
        assert_eq!(
            line["code_mean"], line["code_mean_abs"],
            "a code of relu is never below 0"
        );
    }
    for line in &said[2..] {
        let expected = ["system", "seed", "psnr_noisy", "psnr_denoised"];
        assert_eq!(keys(line), BTreeSet::from(expected));
    }
    assert_ne!(
        said[0]["test_mse"], said[1]["test_mse"],
        "another seed, another network"
    );
}

#[test]
fn figures_stand_beside_bounds_and_principal_components() {
    let place = with_pictures(64);
    let arguments = ["bench", "quality", "--systems", "vanilla", "--seeds", "0"];
    let said = place.succeed(&[&arguments[..], &["--data", "pictures.npy"]].concat());
    let row = said.lines().find(|line| line.contains("test_mse")).unwrap();
    for fact in ["vanilla", "<= 0.00939 !", ".00912 / .00921 / .00922"] {
        assert!(row.contains(fact), "{fact:?} in {row:?}");
    }
    // 64 samples are 63 components and a mean: nothing is left over.
    let beside: Vec<&str> = row.split_whitespace().rev().take(2).collect();
    assert_eq!(beside[1], "0.00000");
    assert!(beside[0].parse::<f64>().unwrap() > 0.05);
}

#[test]
fn what_is_not_known_is_refused_before_anything_is_measured() {
    let place = with_pictures(8);
    place.refuse(
        &["bench", "quality", "--systems", "vanilla,vanila"],
        &["--systems", "multilayer", "\"vanila\""],
    );
    place.refuse(&["bench", "quality", "--seeds", "0,x"], &["--seeds", "'x'"]);
    place.refuse(&["bench", "quality", "--data", "absent"], &["absent"]);
    place.refuse(
        &["bench", "training", "--networks", "vanila"],
        &["\"vanila\"", "\"vanilla\""],
    );
    place.refuse(
        &["bench", "training", "--curves", "--peers"],
        &["--curves", "--peers"],
    );
}

/// Takes a minute, and a Python with the packages of tests/peers/requirements.txt.
#[test]
#[ignore = "needs NARROWS_PEERS, a Python with the peers' packages"]
fn peers_train_the_same_networks() {
    let place = with_pictures(200);
    let python = std::env::var("NARROWS_PEERS").expect("NARROWS_PEERS");
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let data = place.path("pictures.npy").display().to_string();
    let arguments = [
        "bench",
        "training",
        "--rounds",
        "1",
        "--json",
        "--peers",
        "--threads",
        "1",
    ];
    let mut command = place.command(&arguments);
    command
        .args(["--python", &python, "--data", &data])
        .current_dir(repository);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(said.len(), 3 * 2 * 3, "networks, batches, sides");
}
