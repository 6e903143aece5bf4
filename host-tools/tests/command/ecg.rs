//! Signals: the electrocardiogram that comes with the library, its noise and its odd beats.

use narrows_core::noise::{Noise, NoiseKind};
use serde_json::Value;

use crate::workplace::{TINY, Workplace, ramp, read_reals, reals};

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/ecg/ecg-mitbih-208.npz");

fn lines(told: &str) -> Vec<Value> {
    let lines = told.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

fn power(numbers: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = numbers.clone().count() as f64;
    numbers.map(|number| number * number).sum::<f64>() / count
}

#[test]
fn the_ecg_preset_raises_the_signal_above_the_noise_on_a_part_that_it_never_saw() {
    let place = Workplace::new();
    place.succeed(&["train", "ecg", "--epochs", "4"]);
    let options = ["--snr", "0,6,12", "--last", "0.2", "--json"];
    let found =
        lines(&place.succeed(&[&["eval", "ecg.narrows", RECORDING], &options[..]].concat()));
    assert_eq!(found.len(), 3);
    for (found, (wanted, gain)) in found.iter().zip([(0.0, 6.0), (6.0, 6.0), (12.0, 3.0)]) {
        assert_eq!(found["samples"], 336);
        assert_eq!(found["snr"], wanted);
        let [noisy, denoised] =
            ["snr_noisy", "snr_denoised"].map(|key| found[key].as_f64().unwrap());
        assert!((noisy - wanted).abs() < 0.1, "{found}");
        assert!(denoised > wanted + gain, "{found}");
    }
}

#[test]
fn signal_to_noise_ratios_are_those_of_their_definition() {
    let place = Workplace::trained();
    let clean = ramp(60);
    let mean = clean.iter().map(|x| f64::from(*x)).sum::<f64>() / 60.0;
    let signal = power(clean.iter().map(|x| f64::from(*x) - mean));
    let eval = ["eval", "out/tiny.narrows", "samples.npy"];
    let found = lines(&place.succeed(&[&eval[..], &["--snr=-3.5,20", "--json"]].concat()));
    for (found, wanted) in found.iter().zip([-3.5, 20.0]) {
        let stddev = (signal / 10.0_f64.powf(wanted / 10.0)).sqrt() as f32;
        let noise = Noise::new(NoiseKind::Gaussian { stddev }, None, false).unwrap();
        let mut noisy = vec![0.0; 60];
        for (index, (clean, noisy)) in (0..).zip(clean.chunks(6).zip(noisy.chunks_mut(6))) {
            noise.apply(0, u32::MAX, index, clean, noisy, f32::sqrt);
        }
        place.write("noisy.npy", reals(&[10, 6], &noisy));
        place.succeed(&["denoise", "out/tiny.narrows", "noisy.npy", "answers.npy"]);
        let answers = read_reals(&place.read("answers.npy")).1;
        let ratio = |given: &[f32]| {
            let pairs = given.iter().zip(&clean);
            10.0 * (signal / power(pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)))).log10()
        };
        assert_eq!(found["snr"], wanted);
        for (key, expected) in [
            ("snr_noisy", ratio(&noisy)),
            ("snr_denoised", ratio(&answers)),
        ] {
            let found = found[key].as_f64().unwrap();
            assert!(
                (found - expected).abs() < 1e-9,
                "{key}: {found}, not {expected}"
            );
        }
    }
    assert_eq!(found.len(), 2);
    let told = place.succeed(&[&eval[..], &["--snr", "20", "--last", "0.35"]].concat());
    assert!(told.starts_with("3 samples\nnoise at 20 dB"), "{told}");
}

#[test]
fn ratios_that_cannot_be_are_refused() {
    let place = Workplace::trained();
    place.write("flat.npy", reals(&[10, 6], &[0.5; 60]));
    let eval = |data, options: &[&'static str]| {
        [&["eval", "out/tiny.narrows", data][..], options].concat()
    };
    let cases = [
        (
            eval("samples.npy", &["--snr", "6,loud"]),
            vec!["--snr", "'loud'", "decibels"],
        ),
        (
            eval("samples.npy", &["--snr", "inf"]),
            vec!["--snr", "'inf'"],
        ),
        (
            eval("samples.npy", &["--snr", "6", "--noise", "denoising"]),
            vec!["--snr", "--noise"],
        ),
        (
            eval("samples.npy", &["--snr=-9000"]),
            vec!["ratio of -9000 dB", "32 bits"],
        ),
        (
            eval("flat.npy", &["--snr", "6"]),
            vec!["ratio of 6 dB", "variance of 0"],
        ),
        (
            eval("samples.npy", &["--last", "1.5"]),
            vec!["--last", "'1.5'", "at most 1"],
        ),
        (
            eval("samples.npy", &["--last", "0.01"]),
            vec!["samples.npy", "0.01", "10 came"],
        ),
    ];
    for (arguments, facts) in cases {
        place.refuse(&arguments, &facts);
    }
    place.write(
        "classifier.toml",
        TINY.replace(
            "units = 6, activation = \"sigmoid\"",
            "units = 2, activation = \"softmax\"",
        )
        .replace(
            "[training]",
            "[training]\nloss = \"categorical_crossentropy\"\ntarget = \"labels\"",
        )
        .replace("\"tiny\"", "\"classifier\""),
    );
    let rows: String = (0..10)
        .map(|row| format!("0,0,0,1,1,0.{row},{}\n", row % 2))
        .collect();
    place.write("rows.csv", format!("a,b,c,d,e,f,kind\n{rows}"));
    let recipe = String::from_utf8(place.read("classifier.toml")).unwrap();
    place.write(
        "classifier.toml",
        recipe.replace("[network]", "[data]\nlabel = \"kind\"\n[network]"),
    );
    place.succeed(&["train", "classifier.toml", "--data", "rows.csv"]);
    place.refuse(
        &["eval", "classifier.narrows", "samples.npy", "--snr", "6"],
        &["model \"classifier\"", "6 numbers", "2 came"],
    );
}

#[test]
fn quiet_samples_alone_are_trained_on() {
    let place = Workplace::new();
    // The louder, the higher the index; the last two validate, one of them as quiet as half of the others.
    let loudness = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.05, 0.9];
    let samples: Vec<f32> = loudness
        .iter()
        .flat_map(|loud| [0.0, *loud, 0.0, *loud, 0.0, *loud])
        .collect();
    place.write("all.npy", reals(&[10, 6], &samples));
    let quiet = [&samples[..24], &samples[48..54]].concat();
    place.write("quiet.npy", reals(&[5, 6], &quiet));
    let recipe = |data: &str| TINY.replace("[network]", &format!("[data]\n{data}\n[network]"));
    place.write("all.toml", recipe("quiet = 0.5\nvalidation_split = 0.2"));
    place.write("quiet.toml", recipe("validation_split = 0.2"));
    let figures = |name: &str| -> Vec<[Value; 2]> {
        let (recipe, data) = (format!("{name}.toml"), format!("{name}.npy"));
        let told = lines(&place.succeed(&["train", &recipe, "--data", &data, "--json"]));
        let epochs = told.iter().filter(|line| line["epoch"].is_number());
        epochs
            .map(|line| ["loss", "validation"].map(|key| line[key].clone()))
            .collect()
    };
    let [all, quiet] = ["all", "quiet"].map(figures);
    assert_eq!(quiet.len(), 3);
    assert_eq!(all.len(), 3);
    for (one, other) in all.iter().flatten().zip(quiet.iter().flatten()) {
        assert_eq!(one, other);
        assert!(one.is_number());
    }
    for wrong in ["0.0", "-0.1", "1.5", "nan"] {
        place.write("all.toml", recipe(&format!("quiet = {wrong}")));
        let facts = ["all.toml", "data.quiet", "above 0 and at most 1"];
        place.refuse(&["train", "all.toml", "--data", "all.npy"], &facts);
    }
}

#[test]
fn wide_beats_are_odd_to_a_model_of_the_quieter_parts() {
    let place = Workplace::new();
    place.succeed(&["train", "ecg-anomaly"]);
    place.succeed(&[
        "score",
        "ecg-anomaly.narrows",
        RECORDING,
        "--out",
        "scores.npy",
    ]);
    let scores = read_reals(&place.read("scores.npy")).1;
    assert_eq!(scores.len(), 1684);
    // Windows that begin at these seconds hold, as one can see, a narrow normal beat or two, or a wide ventricular one.
    let mean = |seconds: &[f32]| {
        let score = |second: &f32| scores[(second * 360.0 / 64.0).round() as usize];
        seconds.iter().map(score).sum::<f32>() / seconds.len() as f32
    };
    let normal = mean(&[26.2, 180.5, 183.0, 206.0]);
    let wide = mean(&[177.8, 204.0, 229.5, 253.0, 257.0, 276.7]);
    assert!(wide > 4.0 * normal, "{wide} and {normal}");
}
