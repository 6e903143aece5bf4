//! What a recipe can ask of a training beside epochs: penalties, labels, stages, schedules, an end of its own; and what
//! happens when it goes astray.

use serde_json::Value;

use crate::workplace::{Workplace, idx, ramp, reals};

/// Pictures of 4 x 4 with one bright column, the label.
fn columns(place: &Workplace, samples: usize) {
    let labels: Vec<u8> = (0..samples).map(|sample| (sample * 7 % 4) as u8).collect();
    let pixel = |sample: usize, at: usize| {
        let bright = at % 4 == usize::from(labels[sample]);
        let dirt = (sample * 31 + at * 17) % 40;
        dirt as u8 + if bright { 200 } else { 0 }
    };
    let pixels: Vec<u8> = (0..samples)
        .flat_map(|sample| (0..16).map(move |at| (sample, at)))
        .map(|(sample, at)| pixel(sample, at))
        .collect();
    std::fs::create_dir_all(place.path("columns")).unwrap();
    for set in ["train", "t10k"] {
        place.write(
            &format!("columns/{set}-images-idx3-ubyte"),
            idx(&[samples as u32, 4, 4], &pixels),
        );
        place.write(
            &format!("columns/{set}-labels-idx1-ubyte"),
            idx(&[samples as u32], &labels),
        );
    }
}

const STACKED: &str = r#"
name = "small"
seed = 3

[network]
input = [16]
layers = [
  { type = "dense", units = 8, activation = "relu", name = "one" },
  { type = "dense", units = 6, activation = "relu", name = "two" },
  { type = "dense", units = 4, activation = "softmax", name = "classes" },
]

[[stages]]
name = "first"
layers = ["one"]
decoder = [{ type = "dense", units = 16, activation = "sigmoid" }]
training = { epochs = 4, batch_size = 8, noise = { type = "masking", fraction = 0.1 } }

[[stages]]
name = "second"
layers = ["two"]
decoder = [{ type = "dense", units = 8 }]
training = { epochs = 4, batch_size = 8 }

[[stages]]
name = "softmax"
layers = ["classes"]
training = { target = "labels", loss = "categorical_crossentropy", epochs = 4, batch_size = 8 }

[[stages]]
name = "fine"
layers = ["one", "classes"]
training = { target = "labels", loss = "categorical_crossentropy", epochs = 12, batch_size = 8, optimizer = { type = "adam", learning_rate = 0.01 } }
"#;

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn stages_train_layer_by_layer_and_then_learn_labels_to_the_same_bits_with_any_threads() {
    let place = Workplace::new();
    columns(&place, 200);
    place.write("small.toml", STACKED);
    let train = [
        "train",
        "small.toml",
        "--data",
        "columns",
        "--json",
        "--out",
    ];
    let told = lines(&place.succeed(&[&train[..], &["one", "--threads", "1"]].concat()));
    place.succeed(&[&train[..], &["two", "--threads", "2"]].concat());
    assert!(place.read("one/small.narrows") == place.read("two/small.narrows"));
    let ends: Vec<&Value> = told
        .iter()
        .filter(|line| line["ended"].is_string())
        .collect();
    let names: Vec<&str> = ends
        .iter()
        .map(|end| end["stage"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["first", "second", "softmax", "fine"]);
    assert!(ends[0]["accuracy"].is_null());
    let [before, after] = [2, 3].map(|stage| ends[stage]["accuracy"].as_f64().unwrap());
    assert!(
        after > 0.9 && after >= before,
        "accuracy {before}, then {after}"
    );
    // The model answers as its training said, by label.
    let found = &lines(&place.succeed(&["eval", "one/small.narrows", "columns", "--json"]))[0];
    assert_eq!(found["accuracy"], after);
    assert_eq!(found["confusion"], ends[3]["confusion"]);
    let rows = found["confusion"].as_array().unwrap();
    let row = |row: &Value| {
        row.as_array()
            .unwrap()
            .iter()
            .map(|count| count.as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(rows.iter().map(row).collect::<Vec<_>>(), [50; 4]);
    // The record has every epoch of every stage.
    let record: Value = serde_json::from_slice(&place.read("one/small.run.json")).unwrap();
    let epochs = |stage: &Value| stage["epochs"].as_array().unwrap().len();
    let stages = record["stages"].as_array().unwrap();
    assert_eq!(stages.iter().map(epochs).collect::<Vec<_>>(), [4, 4, 4, 12]);
    assert_eq!(record["data_digest"], {
        let inspected = &lines(&place.succeed(&["inspect", "one/small.narrows", "--json"]))[0];
        inspected["data_digest"].clone()
    });
}

#[test]
fn a_run_goes_on_within_any_stage_to_the_same_bits() {
    let place = Workplace::new();
    columns(&place, 40);
    place.write("small.toml", STACKED);
    let train = ["train", "small.toml", "--data", "columns", "--out"];
    place.succeed(&[&train[..], &["whole"]].concat());
    let mut stopped = 0;
    for milliseconds in [4, 8, 12, 16, 24] {
        let mut child = place
            .command(&[&train[..], &["cut"]].concat())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        if place.path("cut/small.checkpoint").exists() {
            stopped += 1;
            place.succeed(&[&train[..], &["cut", "--resume"]].concat());
            assert!(place.read("whole/small.narrows") == place.read("cut/small.narrows"));
            let record: [Value; 2] = ["whole", "cut"].map(|out| {
                serde_json::from_slice(&place.read(&format!("{out}/small.run.json"))).unwrap()
            });
            let losses = |record: &Value| -> Vec<String> {
                let stages = record["stages"].as_array().unwrap().iter();
                stages
                    .flat_map(|stage| stage["epochs"].as_array().unwrap())
                    .map(|epoch| epoch["loss"].to_string())
                    .collect()
            };
            assert_eq!(losses(&record[1]), losses(&record[0]));
            std::fs::remove_dir_all(place.path("cut")).unwrap();
        }
    }
    // On a very slow machine nothing is written so early: then a whole run is what goes on.
    if stopped == 0 {
        place.succeed(&[&train[..], &["whole", "--resume"]].concat());
    }
}

fn plain(layers: &str, training: &str) -> String {
    format!(
        "name = \"plain\"\n[network]\ninput = [6]\nlayers = [\n{layers}\n]\n[training]\nbatch_size = 4\n{training}\n"
    )
}

const CODE: &str = r#"{ type = "dense", units = 3, activation = "sigmoid", name = "code", kernel_l1 = 0.001, kernel_l2 = 0.002, activity_l1 = 0.01, sparsity = { target = 0.1, weight = 0.5 } },
  { type = "dense", units = 6, activation = "sigmoid", kernel_l2 = 0.01 },"#;

#[test]
fn the_loss_is_told_with_and_without_penalties() {
    let place = Workplace::new();
    place.write("samples.npy", reals(&[12, 6], &ramp(72)));
    let train = ["train", "plain.toml", "--data", "samples.npy"];
    place.write("plain.toml", plain(CODE, "epochs = 2"));
    let told = lines(&place.succeed(&[&train[..], &["--json"]].concat()));
    assert!(told[0]["penalty"].as_f64().unwrap() > 0.1);
    let text = place.succeed(&train);
    let first = text.lines().next().unwrap();
    let [loss, penalty] = ["loss", "penalty"].map(|key| told[0][key].as_f64().unwrap());
    let sum = format!("loss {loss:.6} + {penalty:.6} = {:.6}", loss + penalty);
    assert!(first.contains(&sum), "{first}");
}

#[test]
fn what_a_penalty_a_stage_or_a_schedule_cannot_be_is_refused_with_its_place() {
    let place = Workplace::new();
    let dense = |keys: &str| format!("{{ type = \"dense\", units = 6, {keys} }},");
    let refused: [(String, &str, &str); 9] = [
        (
            dense("kernel_l1 = -0.5"),
            "",
            "kernel_l1: expected a finite number from 0 on, but -0.5 came",
        ),
        (
            dense("sparsity = { target = 0.1 }"),
            "",
            "bad.toml:5: layer 0 \"dense_0\" (dense): sparsity needs the activation \"sigmoid\"",
        ),
        (
            dense("activation = \"sigmoid\", sparsity = { target = 2.0 }"),
            "",
            "sparsity.target: expected a number above 0 and below 1, but 2 came",
        ),
        (
            dense("activty_l1 = 0.5"),
            "",
            "did you mean \"activity_l1\"?",
        ),
        (
            dense(""),
            "schedule = { type = \"step\", epochs = 0, factor = 0.5 }",
            "schedule.epochs: expected at least 1",
        ),
        (
            dense(""),
            "schedule = { type = \"step\", epochs = 1, factor = 1.5 }",
            "schedule.factor: expected a number above 0",
        ),
        (
            dense(""),
            "schedule = { type = \"cosine\", to = 1.0 }",
            "schedule.to: expected a number from 0 to the learning rate 0.001",
        ),
        (
            dense(""),
            "early_stopping = { patience = 0 }",
            "patience: expected at least 1 epoch",
        ),
        (
            dense(""),
            "steps = 0",
            "training.steps: expected at least 1",
        ),
    ];
    for (layers, training, fact) in refused {
        place.write("bad.toml", plain(&layers, training));
        place.refuse(&["train", "bad.toml"], &["bad.toml:", fact]);
    }
    let stages = [
        (
            STACKED.replace("[\"two\"]", "[\"too\"]"),
            "stages[1] \"second\": layers: unknown layer \"too\": did you mean \"two\"?",
        ),
        (
            STACKED.replace("units = 8 }]", "units = 9 }]"),
            "stages[1] \"second\": layer 1 \"dense_0\" (dense): expected an output [8]",
        ),
        (
            STACKED.replace("[\"one\", \"classes\"]", "[\"classes\", \"one\"]"),
            "expected the first layer before the last",
        ),
        (
            STACKED.replace("layers = [\"one\"]", "layers = []"),
            "expected the names of the first and the last layer, but 0 came",
        ),
        (
            format!("{STACKED}[training]\nepochs = 2\n"),
            "expected either this section or [[stages]], but both came",
        ),
        (
            STACKED[..STACKED.find("[[stages]]\nname = \"second\"").unwrap()].into(),
            "expected every layer in one of them, but \"two\" is in none",
        ),
        (
            STACKED.replace("target = \"labels\", ", ""),
            "expected an output [6]",
        ),
    ];
    for (text, fact) in stages {
        place.write("bad.toml", text);
        place.refuse(&["train", "bad.toml"], &["bad.toml:", fact]);
    }
}

#[test]
fn labels_that_are_not_there_or_too_large_and_absent_classes_are_refused() {
    let place = Workplace::new();
    place.write("small.toml", STACKED);
    place.write("samples.npy", reals(&[12, 16], &ramp(192)));
    place.refuse(
        &["train", "small.toml", "--data", "samples.npy"],
        &["training data: expected labels from 0 to 3, which the stage \"softmax\" learns, but none came"],
    );
    columns(&place, 12);
    place.write(
        "small.toml",
        STACKED.replace(
            "units = 4, activation = \"softmax\"",
            "units = 3, activation = \"softmax\"",
        ),
    );
    place.refuse(
        &["train", "small.toml", "--data", "columns"],
        &["expected labels from 0 to 2", "sample 1 has 3"],
    );
    let one = |classes: &str| {
        format!(
            "name = \"one\"\n[data]\nclasses = {classes}\n[network]\ninput = [16]\nlayers = [{{ type = \"dense\", units = 16 }}]\n"
        )
    };
    place.write("one.toml", one("[2, 9]"));
    place.refuse(
        &["train", "one.toml", "--data", "columns"],
        &["samples with the label 9", "the labels [0, 1, 2, 3] came"],
    );
    place.refuse(
        &["train", "one.toml", "--data", "samples.npy"],
        &["expected labels, of which data.classes takes [2, 9]"],
    );
    place.write("one.toml", one("[]"));
    place.refuse(
        &["train", "one.toml", "--data", "columns"],
        &["data.classes: expected at least one label"],
    );
}

#[test]
fn only_the_classes_of_a_recipe_are_learnt() {
    let place = Workplace::new();
    columns(&place, 60);
    let recipe = |seed: u32| {
        format!(
            "name = \"one\"\nseed = {seed}\n[data]\nclasses = [2]\n[network]\ninput = [16]\nlayers = [{{ type = \"dense\", units = 3, activation = \"relu\" }}, {{ type = \"dense\", units = 16, activation = \"sigmoid\" }}]\n[training]\nepochs = 60\nbatch_size = 4\noptimizer = {{ type = \"adam\", learning_rate = 0.02 }}\n"
        )
    };
    place.write("one.toml", recipe(1));
    place.succeed(&["train", "one.toml", "--data", "columns"]);
    let found = &lines(&place.succeed(&["eval", "one.narrows", "columns", "--json"]))[0];
    let errors: Vec<f64> = found["labels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|label| label["mse"].as_f64().unwrap())
        .collect();
    assert!(
        errors[2] < 0.01
            && errors
                .iter()
                .enumerate()
                .all(|(label, error)| label == 2 || *error > 0.1),
        "{errors:?}"
    );
}

#[test]
fn a_run_that_no_longer_gets_better_ends_with_its_best_epoch() {
    let place = Workplace::new();
    place.write("samples.npy", reals(&[12, 6], &ramp(72)));
    let layers = r#"{ type = "dense", units = 6 },"#;
    // A rate at which the loss soon jumps about.
    let training = "epochs = 500\noptimizer = { type = \"adam\", learning_rate = 0.3 }\nearly_stopping = { patience = 3, min_delta = 0.0 }";
    place.write(
        "plain.toml",
        plain(layers, training).replace("[network]", "[data]\nvalidation_split = 0.25\n[network]"),
    );
    let told = lines(&place.succeed(&["train", "plain.toml", "--data", "samples.npy", "--json"]));
    let epochs: Vec<f64> = told
        .iter()
        .filter_map(|line| line["validation"].as_f64())
        .collect();
    let end = told.iter().find(|line| line["ended"].is_string()).unwrap();
    assert_eq!(end["ended"], "early_stopping");
    let best = end["best"].as_u64().unwrap() as usize;
    assert_eq!(epochs.len(), best + 3);
    assert!(epochs.iter().all(|loss| *loss >= epochs[best - 1]));
    // The model is that of the best epoch: the one of a run that ends there.
    let kept = place.read("plain.narrows");
    place.succeed(&[
        "train",
        "plain.toml",
        "--data",
        "samples.npy",
        "--epochs",
        &best.to_string(),
        "--out",
        "best",
    ]);
    let parameters = |bytes: &[u8]| bytes[bytes.len() - 4 - 42 * 4..bytes.len() - 4].to_vec();
    assert!(parameters(&kept) == parameters(&place.read("best/plain.narrows")));
}

#[test]
fn a_schedule_lowers_the_rate_and_steps_end_a_run() {
    let place = Workplace::new();
    place.write("samples.npy", reals(&[12, 6], &ramp(72)));
    let layers = r#"{ type = "dense", units = 6 },"#;
    let rates = |training: &str| -> Vec<f64> {
        place.write("plain.toml", plain(layers, training));
        let told =
            lines(&place.succeed(&["train", "plain.toml", "--data", "samples.npy", "--json"]));
        told.iter()
            .filter_map(|line| line["learning_rate"].as_f64())
            .collect()
    };
    let step = rates(
        "epochs = 5\noptimizer = { type = \"sgd\", learning_rate = 0.5 }\nschedule = { type = \"step\", epochs = 2, factor = 0.5 }",
    );
    assert_eq!(step, [0.5, 0.5, 0.25, 0.25, 0.125]);
    let cosine = rates(
        "epochs = 4\noptimizer = { type = \"sgd\", learning_rate = 0.5 }\nschedule = { type = \"cosine\", to = 0.1 }",
    );
    let expected = [
        0.5,
        0.3 + 0.2 * 0.5f64.sqrt(),
        0.3,
        0.3 - 0.2 * 0.5f64.sqrt(),
    ];
    assert!(
        cosine
            .iter()
            .zip(expected)
            .all(|(rate, expected)| (rate - expected).abs() < 1e-6),
        "{cosine:?}"
    );
    // Three batches an epoch: four steps end within the second.
    assert_eq!(rates("epochs = 9\nsteps = 4").len(), 2);
    place.succeed(&[
        "train",
        "plain.toml",
        "--data",
        "samples.npy",
        "--out",
        "four",
    ]);
    place.succeed(&[
        "train",
        "plain.toml",
        "--data",
        "samples.npy",
        "--steps",
        "2",
        "--out",
        "two",
    ]);
    place.succeed(&[
        "train",
        "plain.toml",
        "--data",
        "samples.npy",
        "--steps",
        "4",
        "--out",
        "two",
        "--resume",
    ]);
    assert!(place.read("four/plain.narrows") == place.read("two/plain.narrows"));
}

#[test]
fn a_run_that_goes_astray_says_in_which_layer_and_offers_a_rate() {
    let place = Workplace::new();
    place.write("samples.npy", reals(&[12, 6], &ramp(72)));
    let layers = r#"{ type = "dense", units = 6, name = "first" }, { type = "dense", units = 6, name = "second" },"#;
    place.write(
        "plain.toml",
        plain(
            layers,
            "epochs = 400\noptimizer = { type = \"sgd\", learning_rate = 40.0 }",
        ),
    );
    let output = place
        .command(&["train", "plain.toml", "--data", "samples.npy"])
        .output()
        .unwrap();
    crate::workplace::refused(
        &output,
        &[
            "training, epoch ",
            "step ",
            "in layer \"",
            "try learning_rate = 4",
        ],
    );
    assert!(!place.path("plain.narrows").exists());
}

#[test]
fn a_code_or_an_output_that_has_become_constant_is_noticed_in_the_first_epoch() {
    let place = Workplace::new();
    place.write("samples.npy", reals(&[40, 6], &ramp(240)));
    let layers = r#"{ type = "dense", units = 3, activation = "relu", name = "code" }, { type = "dense", units = 6, activation = "sigmoid" },"#;
    // One step of this rate drives every sigmoid to an end, for good.
    let training = "epochs = 2\noptimizer = { type = \"sgd\", learning_rate = 100000.0 }";
    place.write("plain.toml", plain(layers, training));
    let told = lines(&place.succeed(&["train", "plain.toml", "--data", "samples.npy", "--json"]));
    let warning = told
        .iter()
        .find_map(|line| line["warning"].as_str())
        .expect("a warning");
    assert!(
        warning.contains("epoch 1") && warning.contains("another seed or a lower learning_rate"),
        "{warning}"
    );
    let record: Value = serde_json::from_slice(&place.read("plain.run.json")).unwrap();
    assert_eq!(record["warnings"][0]["constant"], "output");
    // A healthy run is not warned.
    place.write("plain.toml", plain(layers, "epochs = 2"));
    assert!(
        !place
            .succeed(&["train", "plain.toml", "--data", "samples.npy"])
            .contains("warning")
    );
}

#[test]
fn a_run_can_start_with_weights_from_elsewhere() {
    let place = Workplace::new();
    place.write("samples.npy", reals(&[12, 6], &ramp(72)));
    place.write(
        "plain.toml",
        plain(r#"{ type = "dense", units = 6 },"#, "epochs = 1"),
    );
    let train = ["train", "plain.toml", "--data", "samples.npy", "--out"];
    place.succeed(&[&train[..], &["one"]].concat());
    place.succeed(&["export", "one/plain.narrows", "weights.npz"]);
    place.succeed(
        &[
            &train[..],
            &[
                "other",
                "--seed",
                "9",
                "--from",
                "weights.npz",
                "--steps",
                "1",
            ],
        ]
        .concat(),
    );
    let parameters = |path: &str| {
        let bytes = place.read(path);
        bytes[bytes.len() - 4 - 42 * 4..bytes.len() - 4].to_vec()
    };
    // One step away from where it began, and not from where seed 9 would.
    let values = |path: &str| -> Vec<f32> {
        parameters(path)
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect()
    };
    let (from, to) = (values("one/plain.narrows"), values("other/plain.narrows"));
    assert!(
        from != to
            && from
                .iter()
                .zip(&to)
                .all(|(from, to)| (from - to).abs() < 0.0011),
        "Adam's step is at most its rate"
    );
    place.refuse(
        &[&train[..], &["one", "--from", "weights.npz", "--resume"]].concat(),
        &["--resume"],
    );
}

#[test]
fn pairs_teach_what_to_make_of_each_sample() {
    let place = Workplace::new();
    let inputs = ramp(72);
    let targets: Vec<f32> = inputs.iter().map(|x| 0.75 - 0.5 * x).collect();
    place.write("given.npy", reals(&[12, 6], &inputs));
    place.write("wanted.npy", reals(&[12, 6], &targets));
    let training = "epochs = 600\noptimizer = { type = \"adam\", learning_rate = 0.02 }";
    place.write(
        "plain.toml",
        plain(r#"{ type = "dense", units = 6 },"#, training),
    );
    let train = ["train", "plain.toml", "--data", "given.npy", "--target"];
    place.succeed(&[&train[..], &["wanted.npy"]].concat());
    place.succeed(&["run", "plain.narrows", "given.npy", "answers.npy"]);
    let answers = crate::workplace::read_reals(&place.read("answers.npy")).1;
    let worst = answers
        .iter()
        .zip(&targets)
        .map(|(a, t)| (a - t).abs())
        .fold(0.0, f32::max);
    assert!(worst < 0.02, "{worst}");
    // The pairs are what the checkpoint is of: not the inputs alone.
    place.refuse(
        &["train", "plain.toml", "--data", "given.npy", "--resume"],
        &["expected the data that it was trained on"],
    );
    place.write("fewer.npy", reals(&[11, 6], &targets[..66]));
    place.refuse(
        &[&train[..], &["fewer.npy"]].concat(),
        &[
            "fewer.npy: expected a target for each of given.npy: 12 samples",
            "11 samples",
        ],
    );
    place.refuse(
        &["train", "plain.toml", "--target", "wanted.npy"],
        &["--data"],
    );
}
