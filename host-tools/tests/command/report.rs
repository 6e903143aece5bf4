//! `narrows report` and `narrows compare`: what is on the page, and that a browser draws it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use narrows::model::Blob;
use narrows::processor::Desktop;
use narrows::recipe::Recipe;
use serde_json::{Value, json};

use crate::workplace::{TINY, Workplace, idx, ramp, reals};

/// Pictures of 4 x 4, noise, and a first layer of convolutions.
const PICTURES: &str = r#"
name = "pictures"
seed = 3

[network]
input = [4, 4, 1]
code = "code"
layers = [
  { type = "conv2d", filters = 3, kernel_size = 3, padding = "same", activation = "relu", name = "conv" },
  { type = "flatten", name = "flat" },
  { type = "dense", units = 4, activation = "sigmoid", name = "code" },
  { type = "dense", units = 16, activation = "sigmoid", name = "output" },
  { type = "reshape", target_shape = [4, 4, 1], name = "picture" },
]

[training]
batch_size = 8
epochs = 2
noise = { type = "gaussian", stddev = 0.1 }
"#;

/// The same, as a record has it.
fn pictures_recipe() -> Value {
    json!({
        "name": "pictures", "seed": 3,
        "network": { "input": [4, 4, 1], "code": "code", "layers": [
            { "conv2d": { "name": "conv", "filters": 3, "kernel_size": [3, 3], "padding": "same", "activation": "relu" } },
            { "flatten": { "name": "flat" } },
            { "dense": { "name": "code", "units": 4, "activation": "sigmoid" } },
            { "dense": { "name": "output", "units": 16, "activation": "sigmoid" } },
            { "reshape": { "name": "picture", "target_shape": [4, 4, 1] } },
        ] },
        "training": { "batch_size": 8, "epochs": 2, "noise": { "gaussian": { "stddev": 0.1 } } },
    })
}

fn tiny_recipe() -> Value {
    json!({
        "name": "tiny",
        "network": { "input": [6], "code": "code", "layers": [
            { "dense": { "name": "code", "units": 3, "activation": "relu" } },
            { "dense": { "name": "output", "units": 6, "activation": "sigmoid" } },
        ] },
        "training": { "batch_size": 4, "epochs": 3 },
    })
}

/// Writes the record of the model `folder/name.narrows`, and returns it.
fn record(place: &Workplace, folder: &str, recipe: Value, data: &str) -> Value {
    let name = recipe["name"].as_str().unwrap().to_owned();
    let inspected = place.succeed(&["inspect", &format!("{folder}/{name}.narrows"), "--json"]);
    let model: Value = serde_json::from_str(&inspected).unwrap();
    let epoch = |stage: u32, number: u32, loss: f64| {
        json!({
            "stage": stage, "number": number, "loss": loss, "penalty": 0.01, "validation": loss * 1.1, "accuracy": 0.5,
            "samples_per_second": 1000.0, "seconds": 0.5, "learning_rate": 0.001 / f64::from(number),
        })
    };
    let record = json!({
        "format": 1, "recipe": recipe, "data": data, "data_digest": model["data_digest"],
        "recipe_digest": model["recipe_digest"], "threads": 1, "processor": "a processor",
        "stages": [
            { "name": "first", "layers": [0, 0], "epochs": [epoch(0, 1, 0.5), epoch(0, 2, 0.25)], "ended": null },
            { "name": "sec<ond", "layers": [0, 1], "epochs": [epoch(1, 1, 0.2), epoch(1, 2, 0.3)], "ended": "early_stopping",
              "best": 1, "confusion": [[3, 1], [0, 4]] },
        ],
        "warnings": [{ "stage": "sec<ond", "epoch": 1, "step": 7, "constant": "code" }],
    });
    place.write(&format!("{folder}/{name}.run.json"), record.to_string());
    record
}

/// Two runs: signals of six numbers in `out`, and labelled pictures in `pictures`.
fn runs() -> Workplace {
    let place = Workplace::trained();
    record(&place, "out", tiny_recipe(), "samples.npy");
    let bytes: Vec<u8> = ramp(24 * 16)
        .iter()
        .map(|value| (value * 255.0) as u8)
        .collect();
    fs::create_dir(place.path("data")).unwrap();
    for part in ["train", "t10k"] {
        place.write(
            &format!("data/{part}-images-idx3-ubyte"),
            idx(&[24, 4, 4], &bytes),
        );
        let labels: Vec<u8> = (0..24).map(|index| index % 3).collect();
        place.write(
            &format!("data/{part}-labels-idx1-ubyte"),
            idx(&[24], &labels),
        );
    }
    place.write("pictures.toml", PICTURES);
    place.succeed(&[
        "train",
        "pictures.toml",
        "--data",
        "data",
        "--out",
        "pictures",
    ]);
    record(&place, "pictures", pictures_recipe(), "data");
    place
}

fn text(place: &Workplace, file: &str) -> String {
    String::from_utf8(place.read(file)).unwrap()
}

#[test]
fn a_report_has_everything_in_one_file_that_loads_nothing() {
    let place = runs();
    let told: Value = serde_json::from_str(&place.succeed(&["report", "out", "--json"])).unwrap();
    let page = text(&place, "out/tiny.html");
    assert_eq!(told["report"], "out/tiny.html");
    assert_eq!(told["bytes"], page.len());
    place.succeed(&[
        "report",
        "pictures/pictures.narrows",
        "-o",
        "report.html",
        "--normal",
        "0,2",
    ]);
    let pictures = text(&place, "report.html");
    for page in [&page, &pictures] {
        for loads in [
            "http",
            "src=\"/",
            "@import",
            "<link rel=\"stylesheet",
            "url(\"",
            "url(h",
        ] {
            assert!(!page.contains(loads), "the page has {loads:?}");
        }
    }
    let record: Value = serde_json::from_slice(&place.read("pictures/pictures.run.json")).unwrap();
    let digest = |key: &str| format!("{:08x}", record[key].as_u64().unwrap());
    for wanted in [
        &digest("data_digest"),
        &digest("recipe_digest"),
        "sec&lt;ond, epoch 1, step 7: the code has become the same for every sample",
        "Loss, first",
        "training with penalties",
        "Accuracy, sec&lt;ond",
        "Training stopped early",
        "AUC ",
        "Confusion matrix, sec&lt;ond: 88\u{a0}% right",
        "noisy",
        "denoised",
        "Kernels of layer \u{201c}conv\u{201d}",
        "Error by label",
        "gaussian: fixed false, stddev 0.1</dd>",
    ] {
        assert!(pictures.contains(wanted), "expected {wanted:?} on the page");
    }
    // What inspect says of the model is what the report says.
    let inspected: Value =
        serde_json::from_str(&place.succeed(&["inspect", "out/tiny.narrows", "--json"])).unwrap();
    for key in ["bytes", "inference_bytes"] {
        assert!(
            page.contains(&format!(": {} bytes", inspected[key])),
            "{key}"
        );
    }
}

#[test]
fn a_report_shows_the_errors_that_eval_finds() {
    let place = runs();
    place.succeed(&["report", "out"]);
    let found: Value = serde_json::from_str(&place.succeed(&[
        "eval",
        "out/tiny.narrows",
        "samples.npy",
        "--json",
    ]))
    .unwrap();
    let psnr = found["answers"]["psnr"].as_f64().unwrap();
    assert!(
        text(&place, "out/tiny.html").contains(&format!("<dd>{psnr:.2}<small> dB")),
        "{psnr}"
    );
}

#[test]
fn a_collapse_is_said_on_top_and_marked_in_the_code() {
    let place = Workplace::new();
    place.write("samples.npy", reals(&[10, 6], &ramp(60)));
    fs::create_dir(place.path("out")).unwrap();
    let recipe = Recipe::parse(TINY, "tiny.toml").unwrap();
    let plan = recipe.plan().unwrap();
    let nothing = vec![0.0; plan.network().parameter_len()];
    let path = place.path("out/tiny.narrows");
    let executor = Desktop::new(1).unwrap();
    Blob::export(&executor, &plan, &nothing, 0, &path)
        .unwrap()
        .save()
        .unwrap();
    record(&place, "out", tiny_recipe(), "samples.npy");
    place.succeed(&["report", "out"]);
    let page = text(&place, "out/tiny.html");
    for wanted in [
        "Collapsed.",
        "The code is the same for every sample",
        "Every sample gets the same answer",
        "Another seed, or a lower learning rate",
        "Marked: 3 dead ones",
    ] {
        assert!(page.contains(wanted), "expected {wanted:?} on the page");
    }
    assert_eq!(page.matches("class=\"cross\"").count(), 3);
    let trained = runs();
    trained.succeed(&["report", "out"]);
    assert!(!text(&trained, "out/tiny.html").contains("Collapsed."));
}

#[test]
fn runs_that_are_none_are_refused() {
    let place = runs();
    fs::create_dir(place.path("empty")).unwrap();
    place.refuse(
        &["report", "empty"],
        &["empty", "exactly one file NAME.run.json", "none came"],
    );
    place.refuse(
        &["report", "samples.npy"],
        &["samples.npy", "NAME.run.json"],
    );
    place.refuse(
        &["report", "out", "--data", "data"],
        &["samples of [6]", "[4, 4]"],
    );
    place.refuse(
        &["report", "out", "--normal", "1"],
        &["samples.npy", "labels"],
    );
    place.refuse(
        &["report", "pictures", "--normal", "0,1,2"],
        &["0 of 24 samples"],
    );
    let mut other = record(&place, "out", tiny_recipe(), "samples.npy");
    other["recipe_digest"] = json!(1);
    place.write("out/tiny.run.json", other.to_string());
    place.refuse(
        &["report", "out"],
        &["out/tiny.narrows", "recipe is 00000001"],
    );
    other["format"] = json!(2);
    place.write("out/tiny.run.json", other.to_string());
    place.refuse(
        &["report", "out"],
        &[
            "out/tiny.run.json",
            "expected a record of form 1, but 2 came",
        ],
    );
    place.write("out/tiny.run.json", "{}");
    place.refuse(&["report", "out"], &["out/tiny.run.json", "missing field"]);
    place.write("out/other.run.json", "{}");
    place.refuse(&["report", "out"], &["out", "2 came"]);
}

#[test]
fn runs_are_compared_on_the_same_samples() {
    let place = runs();
    place.succeed(&[
        "train",
        "tiny.toml",
        "--data",
        "samples.npy",
        "--out",
        "again",
        "--seed",
        "7",
    ]);
    let mut recipe = tiny_recipe();
    recipe["seed"] = json!(7);
    record(&place, "again", recipe, "elsewhere.npy");
    place.succeed(&["compare", "out", "again"]);
    let page = text(&place, "compare.html");
    for wanted in [
        "2 runs side by side",
        "tiny (seed 0)",
        "tiny (seed 7)",
        "has the least error",
        "Validation loss",
    ] {
        assert!(page.contains(wanted), "expected {wanted:?} on the page");
    }
    place.refuse(&["compare", "out", "pictures"], &["samples of [4, 4, 1]"]);
    place.write("others.npy", reals(&[10, 6], &[0.5; 60]));
    place.succeed(&[
        "compare",
        "out",
        "again",
        "--data",
        "others.npy",
        "-o",
        "other.html",
    ]);
}

/// Writes into the page what a browser makes of it.
const FINDINGS: &str = include_str!("report.js");

#[test]
fn in_a_browser_every_chart_is_drawn_in_both_sizes() {
    let Some(browser) = browser() else {
        let line = "\nNOT RUN: in_a_browser_every_chart_is_drawn_in_both_sizes needs chromium, chromium-headless-shell or google-chrome on the PATH\n";
        // Past the test harness, which keeps the output of tests that pass to itself.
        let _ = std::io::stderr().write_all(line.as_bytes());
        return;
    };
    let place = runs();
    place.succeed(&["report", "out", "-o", "signals.html"]);
    place.succeed(&["report", "pictures", "-o", "pictures.html", "--normal", "0"]);
    place.succeed(&["compare", "out", "out", "-o", "compare.html"]);
    for (file, charts) in [
        ("signals.html", 15),
        ("pictures.html", 9),
        ("compare.html", 8),
    ] {
        let page = text(&place, file);
        let (before, after) = page.split_once("<body>").unwrap();
        let (body, end) = after.rsplit_once("</body>").unwrap();
        // Errors are caught from the first script on, findings made after the last.
        let watch = "<script>window.problems=[];addEventListener('error',e=>problems.push(e.message));console.error=console.warn=(...a)=>problems.push(a.join(' '))</script>";
        place.write(
            file,
            format!("{before}<body>{watch}{body}<script>{FINDINGS}</script></body>{end}"),
        );
        for (width, height) in [(390, 844), (1280, 900)] {
            for dark in [false, true] {
                let found = look(&browser, &place.path(file), width, height, dark);
                let what = format!("{file}, {width} x {height}, dark {dark}: {found}");
                assert_eq!(found["problems"], json!([]), "{what}");
                assert_eq!(found["width"], width, "{what}");
                assert!(
                    found["page"].as_u64().unwrap() <= width,
                    "the page is wider than the window: {what}"
                );
                assert_eq!(found["outside"], json!([]), "{what}");
                assert_eq!(found["undrawn"], json!([]), "{what}");
                assert_eq!(found["unsaid"], json!([]), "{what}");
                assert!(found["charts"].as_u64().unwrap() >= charts, "{what}");
                assert_eq!(found["dark"], dark, "{what}");
                assert_eq!(found["probe"], file != "compare.html", "{what}");
            }
        }
    }
}

/// The browser to look with: `NARROWS_BROWSER`, or the first on the search path.
fn browser() -> Option<PathBuf> {
    if let Some(browser) = std::env::var_os("NARROWS_BROWSER") {
        return Some(browser.into());
    }
    let paths = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    [
        "chromium-headless-shell",
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ]
    .iter()
    .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
    .find(|path| path.is_file())
}

fn look(browser: &Path, page: &Path, width: u64, height: u64, dark: bool) -> Value {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        // A container's root has no sandbox to go into; the page is the test's own.
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--dump-dom",
            "--force-device-scale-factor=1",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={width},{height}"))
        .arg(format!(
            "--blink-settings=preferredColorScheme={}",
            u8::from(!dark)
        ))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap_or_else(|cause| panic!("{}: {cause}", browser.display()));
    let document = String::from_utf8_lossy(&output.stdout);
    let found = document
        .rsplit_once("<pre id=\"findings\">")
        .and_then(|(_, rest)| rest.split_once("</pre>"))
        .unwrap_or_else(|| panic!("no findings: {}", String::from_utf8_lossy(&output.stderr)));
    let found = found
        .0
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    serde_json::from_str(&found).unwrap_or_else(|cause| panic!("{cause}: {found}"))
}
