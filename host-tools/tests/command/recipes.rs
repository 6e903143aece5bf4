//! Recipes that do not hold together.

use crate::workplace::{TINY, Workplace, ramp, reals};

/// Trains with the tiny recipe after replacing one piece of it by another; it must be refused with these facts.
fn refuse(pieces: &[(&str, &str, &[&str])]) {
    let place = Workplace::new();
    place.write("samples.npy", reals(&[10, 6], &ramp(60)));
    for (from, to, facts) in pieces {
        let text = TINY.replacen(from, to, 1);
        assert_ne!(text, TINY, "{from:?} is in the recipe");
        let line = 1 + TINY[..TINY.find(from).unwrap()].matches('\n').count();
        place.write("bad.toml", &text);
        let at = format!("bad.toml:{line}: ");
        let facts = [&[&*at], *facts].concat();
        place.refuse(
            &["train", "bad.toml", "--data", "samples.npy", "--out", "out"],
            &facts,
        );
    }
}

#[test]
fn a_name_that_is_unknown_is_refused_with_the_one_that_was_meant() {
    refuse(&[
        (
            "epochs",
            "epoch",
            &[
                "training: unknown key \"epoch\"",
                "did you mean \"epochs\"?",
            ],
        ),
        (
            "[training]",
            "[train]",
            &["unknown key \"train\"", "did you mean \"training\"?"],
        ),
        (
            "units",
            "unit",
            &[
                "network.layers[0]",
                "unknown key \"unit\"",
                "did you mean \"units\"?",
            ],
        ),
        (
            "\"dense\"",
            "\"dens\"",
            &[
                "network.layers[0]",
                "unknown name \"dens\"",
                "did you mean \"dense\"?",
            ],
        ),
        (
            "\"dense\"",
            "\"lstm\"",
            &[
                "network.layers[0]",
                "unknown name \"lstm\"",
                "expected one of",
                "\"conv2d\"",
            ],
        ),
        (
            "\"relu\"",
            "\"relo\"",
            &["network.layers[0].activation", "did you mean \"relu\"?"],
        ),
        (
            "batch_size = 4",
            "loss = \"msa\"",
            &["training.loss", "did you mean \"mse\"?"],
        ),
        (
            "batch_size = 4",
            "optimizer = \"adan\"",
            &["training.optimizer", "did you mean \"adam\"?"],
        ),
        (
            "batch_size = 4",
            "optimizer = { type = \"sgd\", momentun = 0.9 }",
            &[
                "training.optimizer",
                "unknown key \"momentun\"",
                "did you mean \"momentum\"?",
            ],
        ),
    ]);
    let place = Workplace::new();
    place.refuse(
        &["train", "vanila"],
        &[
            "unknown preset \"vanila\"",
            "did you mean \"vanilla\"?",
            "\"denoising\"",
        ],
    );
    place.refuse(
        &["preset", "convolution"],
        &[
            "unknown preset \"convolution\"",
            "did you mean \"convolutional\"?",
        ],
    );
    place.refuse(
        &["train", "gone.toml"],
        &["gone.toml: cannot read", "No such file"],
    );
}

#[test]
fn a_code_that_is_no_layer_is_refused_with_the_layer_that_was_meant() {
    let place = Workplace::new();
    place.write(
        "bad.toml",
        TINY.replace("code = \"code\"", "code = \"cod\""),
    );
    place.refuse(
        &["train", "bad.toml"],
        &[
            "bad.toml:",
            "network.code",
            "unknown layer \"cod\"",
            "did you mean \"code\"?",
        ],
    );
}

#[test]
fn shapes_that_do_not_fit_are_refused_with_the_layer_and_both_shapes() {
    let output = "{ type = \"dense\", units = 6, activation = \"sigmoid\", name = \"output\" }";
    let layer = |text: &str| text.to_owned();
    let conv = layer("{ type = \"conv2d\", filters = 2, kernel_size = 3, name = \"output\" }");
    let reshape = layer("{ type = \"reshape\", target_shape = [2, 2, 1], name = \"output\" }");
    let units = output.replace('6', "5");
    refuse(&[
        (
            output,
            &units,
            &[
                "layer 1 \"output\" (dense)",
                "expected an output [6]",
                "[5] came",
            ],
        ),
        (output, &conv, &["layer 1 \"output\" (conv2d)", "[3]"]),
        (
            output,
            &reshape,
            &["layer 1 \"output\" (reshape)", "[3]", "[2, 2, 1]"],
        ),
        (
            "units = 3",
            "units = 0",
            &["layer 0 \"code\" (dense)", "units", "at least 1", "0 came"],
        ),
        (
            "units = 3",
            "units = 4000000000",
            &["layer 0 \"code\" (dense)", "at most", "elements"],
        ),
        (
            "units = 3",
            "units = 5000000000",
            &["network.layers[0].units", "expected", "5000000000"],
        ),
        (
            "units = 3",
            "units = -1",
            &["network.layers[0].units", "expected", "-1"],
        ),
        (
            "units = 3",
            "units = \"3\"",
            &["network.layers[0].units", "expected", "\"3\""],
        ),
        (
            "units = 3, ",
            "",
            &["network.layers[0]", "expected a key \"units\""],
        ),
        (
            "input = [6]",
            "input = [6, 1]",
            &[
                "network.input",
                "[height, width, channels]",
                "2 numbers came",
            ],
        ),
    ]);
    let place = Workplace::new();
    let picture = |layers: &str| {
        format!("name = \"picture\"\n[network]\ninput = [4, 4, 1]\nlayers = [\n{layers}]\n")
    };
    let dense = "{ type = \"dense\", units = 16, name = \"wide\" },\n";
    place.write("bad.toml", picture(dense));
    place.refuse(
        &["train", "bad.toml"],
        &[
            "bad.toml:5: layer 0 \"wide\" (dense)",
            "[4, 4, 1]",
            "flatten",
        ],
    );
    place.write(
        "bad.toml",
        picture("{ type = \"max_pooling2d\", pool_size = 5 },\n"),
    );
    place.refuse(
        &["train", "bad.toml"],
        &["bad.toml:5: layer 0", "max_pooling2d", "[4, 4, 1]", "5"],
    );
    place.write("bad.toml", picture("{ type = \"max_pooling2d\" },\n"));
    place.refuse(
        &["train", "bad.toml"],
        &[
            "bad.toml:5: layer 0",
            "expected an output [4, 4, 1]",
            "[2, 2, 1] came",
        ],
    );
    place.write("bad.toml", picture(""));
    place.refuse(
        &["train", "bad.toml"],
        &["bad.toml:", "layers: expected 1 to", "0 came"],
    );
}

#[test]
fn settings_out_of_their_range_are_refused() {
    let settings = [
        ("batch_size = 4", "batch_size = 0", "batch"),
        ("epochs = 3", "epochs = 0", "training.epochs"),
        ("epochs = 3", "epochs = 1.5", "training.epochs"),
        (
            "epochs = 3",
            "noise = { type = \"masking\", fraction = 2.0 }",
            "fraction",
        ),
        (
            "epochs = 3",
            "noise = { type = \"gaussian\", stddev = -1.0 }",
            "stddev",
        ),
        (
            "epochs = 3",
            "noise = { type = \"gaussian\", stddev = 0.1, clip = [1.0, 0.0] }",
            "clip",
        ),
        (
            "epochs = 3",
            "optimizer = { type = \"adam\", learning_rate = nan }",
            "learning_rate",
        ),
        (
            "epochs = 3",
            "optimizer = { type = \"adam\", learning_rate = -0.1 }",
            "learning_rate",
        ),
        (
            "epochs = 3",
            "optimizer = { type = \"adam\", beta_1 = 1.0 }",
            "beta_1",
        ),
        (
            "epochs = 3",
            "[data]\nvalidation_split = 1.0",
            "validation_split",
        ),
        ("epochs = 3", "[data]\nscale = inf", "scale"),
        ("epochs = 3", "[data]\nstep = 0", "step"),
        ("\"tiny\"", "\"../tiny\"", "name"),
        ("\"tiny\"", "tiny", ""),
        ("name = \"tiny\"", "", "name"),
    ];
    let place = Workplace::new();
    for (from, to, key) in settings {
        place.write("bad.toml", TINY.replacen(from, to, 1));
        place.refuse(&["train", "bad.toml"], &["bad.toml:", key]);
    }
    place.write("bad.toml", b"name = \"tiny\"\n# \xff\n");
    place.refuse(&["train", "bad.toml"], &["bad.toml:2: expected UTF-8"]);
    place.write("bad.toml", "");
    place.refuse(&["train", "bad.toml"], &["bad.toml:1: expected a key"]);
}

#[test]
fn a_recipe_without_a_code_takes_the_layer_in_the_middle() {
    let place = Workplace::new();
    place.write("samples.npy", reals(&[10, 6], &ramp(60)));
    let dense = |units: u32| format!("{{ type = \"dense\", units = {units} }},\n");
    // Where two are in the middle, the narrower, and of two as narrow the first.
    let cases: [(&[u32], usize); 6] = [
        (&[5, 3, 2, 2, 3, 6], 2),
        (&[5, 2, 3, 2, 6], 1),
        (&[9, 6], 0),
        (&[6, 8, 7, 6], 1),
        (&[8, 7, 6], 1),
        (&[6], 0),
    ];
    for (units, code) in cases {
        let layers: String = units.iter().map(|units| dense(*units)).collect();
        place.write(
            "plain.toml",
            format!("name = \"plain\"\n[network]\ninput = [6]\nlayers = [\n{layers}]\n"),
        );
        place.succeed(&[
            "train",
            "plain.toml",
            "--data",
            "samples.npy",
            "--epochs",
            "1",
        ]);
        let found = place.succeed(&["inspect", "plain.narrows", "--json"]);
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found["code"], code, "{units:?}");
    }
}
