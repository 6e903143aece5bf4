//! Weights that go out to NumPy and come in from there.

use narrows::model::Blob;
use narrows::recipe::Recipe;
use narrows::train::{self, Checkpoint};
use narrows::weights::{self, Weights};
use narrows::{data, processor::Desktop};

use crate::workplace::{TINY, Workplace, npy, npz, ramp, reals, refused};

const EXPORT: [&str; 3] = ["export", "out/tiny.narrows", "weights.npz"];

/// A convolution of one channel to two, a view in between, and a dense layer.
const CONVOLUTIONAL: &str = r#"
name = "tiny"

[network]
input = [4, 5, 1]
layers = [
  { type = "conv2d", filters = 2, kernel_size = [3, 2], padding = "same", activation = "relu" },
  { type = "max_pooling2d" },
  { type = "flatten" },
  { type = "dense", units = 20, activation = "sigmoid" },
]

[training]
batch_size = 4
epochs = 3
"#;

/// Reads a file of the network of `recipe`.
fn load(place: &Workplace, recipe: &str) -> narrows::error::Result<Weights> {
    let recipe = Recipe::parse(recipe, "tiny.toml").unwrap();
    let plan = recipe.plan().unwrap();
    weights::load(&place.path("weights.npz"), plan.network())
}

/// The arrays of tiny's four kinds, whose numbers tell where they belong.
fn arrays() -> Vec<(String, Vec<u8>)> {
    let array = |name: &str, shape: &[usize], first: usize| {
        let count: usize = shape.iter().product();
        let numbers: Vec<f32> = (first..first + count).map(|number| number as f32).collect();
        (format!("{name}.npy"), reals(shape, &numbers))
    };
    vec![
        array("1.bias", &[6], 39),
        array("0.weight", &[6, 3], 0),
        array("0.bias", &[3], 18),
        array("1.weight", &[3, 6], 21),
    ]
}

fn write(place: &Workplace, arrays: &[(String, Vec<u8>)]) {
    let arrays: Vec<(&str, &[u8])> = arrays
        .iter()
        .map(|(name, bytes)| (&name[..], &bytes[..]))
        .collect();
    place.write("weights.npz", npz(&arrays));
}

/// Holds what is said of `arrays` against the facts that it must have.
fn refuse(arrays: &[(String, Vec<u8>)], facts: &[&str]) {
    let place = Workplace::new();
    write(&place, arrays);
    let problem = load(&place, TINY)
        .expect_err("a file that is refused")
        .to_string();
    for fact in [&["weights.npz", "expected"], facts].concat() {
        assert!(problem.contains(fact), "expected {fact:?} in {problem:?}");
    }
    assert!(!problem.contains('\n') && problem.len() < 400, "{problem}");
}

#[test]
fn arrays_are_where_the_layers_are_in_whatever_order_they_come() {
    let place = Workplace::new();
    write(&place, &arrays());
    let loaded = load(&place, TINY).unwrap();
    let all: Vec<f32> = (0..45).map(|number| number as f32).collect();
    assert_eq!(
        loaded,
        Weights {
            parameters: all,
            moments: None
        }
    );
}

#[test]
fn what_was_exported_is_read_to_the_same_bits() {
    for recipe in [TINY, CONVOLUTIONAL] {
        let place = Workplace::new();
        place.write("tiny.toml", recipe);
        place.write(
            "samples.npy",
            if recipe == TINY {
                reals(&[10, 6], &ramp(60))
            } else {
                reals(&[10, 4, 5, 1], &ramp(200))
            },
        );
        place.succeed(&[
            "train",
            "tiny.toml",
            "--data",
            "samples.npy",
            "--out",
            "out",
        ]);
        let blob = Blob::read(&place.path("out/tiny.narrows")).unwrap();
        let checkpoint = Checkpoint::read(&place.path("out/tiny.checkpoint")).unwrap();

        let said = place.succeed(&EXPORT);
        let parameters = blob.model().unwrap().parameters;
        assert_eq!(
            said,
            format!("weights.npz: 4 arrays, {} parameters\n", parameters.len())
        );
        let loaded = load(&place, recipe).unwrap();
        assert_eq!(loaded.parameters, parameters);
        assert_eq!(loaded.moments, None);

        let said = place.succeed(&[&EXPORT[..], &["--moments", "--json"]].concat());
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            (&said["arrays"], &said["moments"]),
            (&15.into(), &true.into())
        );
        let loaded = load(&place, recipe).unwrap();
        assert_eq!(loaded.parameters, parameters);
        let moments = loaded.moments.unwrap();
        assert_eq!(moments.state, checkpoint.state);
        assert_eq!((moments.steps, moments.powers), (9, checkpoint.powers));
    }
}

#[test]
fn the_file_has_the_bytes_that_numpy_itself_writes() {
    let place = Workplace::new();
    place.write("tiny.toml", CONVOLUTIONAL);
    place.write("samples.npy", reals(&[10, 4, 5, 1], &ramp(200)));
    place.succeed(&[
        "train",
        "tiny.toml",
        "--data",
        "samples.npy",
        "--out",
        "out",
    ]);
    place.succeed(&[&EXPORT[..], &["--moments"]].concat());
    let file = place.read("weights.npz");
    // The headers as numpy 2 writes them, spaces up to 128 bytes and a line's end.
    for (name, header) in [
        (
            "0.weight",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, 1, 2), }",
        ),
        (
            "0.bias",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
        ),
        (
            "3.weight",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (8, 20), }",
        ),
        (
            "3.bias.v",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (20,), }",
        ),
        (
            "steps",
            "{'descr': '<i8', 'fortran_order': False, 'shape': (), }",
        ),
        (
            "beta_1_power",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (), }",
        ),
    ] {
        let name = format!("{name}.npy");
        let array = [
            name.as_bytes(),
            b"\x93NUMPY\x01\x00\x76\x00",
            format!("{header:<117}\n").as_bytes(),
        ]
        .concat();
        assert!(
            file.windows(array.len()).any(|window| window == array),
            "{name}"
        );
    }
}

#[test]
fn numbers_of_64_bits_are_rounded() {
    let place = Workplace::new();
    let mut arrays = arrays();
    let third: Vec<u8> = [1.0f64 / 3.0, -0.0, 1e-300]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    arrays[2].1 = npy("'<f8'", false, "(3,)", &third);
    write(&place, &arrays);
    let bits: Vec<u32> = load(&place, TINY).unwrap().parameters[18..21]
        .iter()
        .map(|number| number.to_bits())
        .collect();
    assert_eq!(bits, [1.0f32 / 3.0, -0.0, 0.0].map(f32::to_bits));
}

#[test]
fn an_array_that_is_missing_or_too_many_or_of_another_shape_or_type_is_named() {
    let with = |index: usize, name: &str, bytes: Vec<u8>| {
        let mut arrays = arrays();
        if index < 4 {
            arrays[index] = (format!("{name}.npy"), bytes);
        } else {
            arrays.push((format!("{name}.npy"), bytes));
        }
        arrays
    };
    let weight = "array 0.weight: expected ";
    refuse(
        &with(1, "dense/kernel", reals(&[6, 3], &[0.0; 18])),
        &[weight, "[6, 3]", "has 4 arrays and not this one"],
    );
    refuse(
        &with(4, "2.weight", reals(&[6, 3], &[0.0; 18])),
        &["array 2.weight: ", "layers 0, 1", "this came too"],
    );
    refuse(
        &with(4, "0.weight.m", reals(&[6, 3], &[0.0; 18])),
        &["array 0.weight.m: ", "with steps", "this came too"],
    );
    refuse(
        &with(1, "0.weight", reals(&[3, 6], &[0.0; 18])),
        &[weight, "the shape [6, 3]", "[3, 6] came: transpose it"],
    );
    refuse(
        &with(1, "0.weight", reals(&[18], &[0.0; 18])),
        &[weight, "the shape [6, 3]", "[18] came"],
    );
    refuse(
        &with(1, "0.weight", reals(&[6, 1 << 40], &[])),
        &[weight, "the shape [6, 3]", "[6, 1099511627776] came"],
    );
    refuse(
        &with(1, "0.weight", reals(&[6, 3], &[0.0; 17])),
        &[weight, "18 numbers for its shape [6, 3]", "17 came"],
    );
    refuse(
        &with(1, "0.weight", reals(&[6, 3], &[0.0; 19])),
        &[weight, "18 numbers for its shape [6, 3]", "more came"],
    );
    refuse(
        &with(1, "0.weight", npy("'<f4'", true, "(6, 3)", &[0; 72])),
        &[weight, "C order", "ascontiguousarray"],
    );
    for (descr, given) in [
        ("<f2", "numbers <f2 came"),
        ("<c8", "numbers <c8 came"),
        ("|O", "numbers |O came"),
        ("<i4", "numbers of the type I32 came"),
        ("|u1", "numbers of the type U8 came"),
        ("|b1", "numbers of the type Bool came"),
    ] {
        let bytes = npy(&format!("'{descr}'"), false, "(6, 3)", &[0; 144]);
        refuse(
            &with(1, "0.weight", bytes),
            &[weight, "real numbers of 32 or 64 bits", given],
        );
    }
    for (number, said) in [(f32::NAN, "NaN came"), (f32::INFINITY, "inf came")] {
        let mut numbers = [0.5; 18];
        numbers[7] = number;
        refuse(
            &with(1, "0.weight", reals(&[6, 3], &numbers)),
            &["array 0.weight, element [2, 1]: ", "finite", said],
        );
    }
    let large = npy(
        "'<f8'",
        false,
        "(3,)",
        &[1e300f64; 3].map(f64::to_le_bytes).concat(),
    );
    refuse(
        &with(2, "0.bias", large),
        &[
            "array 0.bias, element [0]: ",
            "finite number of 32 bits",
            "inf came",
        ],
    );
    let mut other = arrays();
    other.push(("notes.txt".into(), b"by hand".to_vec()));
    refuse(&other, &["a zip of arrays", "\"notes.txt\" is in it"]);
}

#[test]
fn moments_that_are_not_whole_are_refused() {
    let count = |steps: i64| npy("'<i8'", false, "()", &steps.to_le_bytes());
    let power = |power: f64| npy("'<f8'", false, "()", &power.to_le_bytes());
    let whole = || {
        let mut all = arrays();
        for kind in ["m", "v"] {
            all.extend(
                arrays()
                    .into_iter()
                    .map(|(name, bytes)| (name.replace(".npy", &format!(".{kind}.npy")), bytes)),
            );
        }
        all.extend(
            [
                ("steps", count(7)),
                ("beta_1_power", power(0.5)),
                ("beta_2_power", power(0.9)),
            ]
            .map(|(name, bytes)| (format!("{name}.npy"), bytes)),
        );
        all
    };
    let place = Workplace::new();
    write(&place, &whole());
    let moments = load(&place, TINY).unwrap().moments.unwrap();
    assert_eq!(
        (moments.state.len(), moments.steps, moments.powers),
        (90, 7, [0.5, 0.9])
    );

    // Without those of the first layer, which is frozen then.
    let trained: Vec<_> = whole()
        .into_iter()
        .filter(|(name, _)| !(name.starts_with("0.") && name.matches('.').count() == 3))
        .collect();
    write(&place, &trained);
    let moments = load(&place, TINY).unwrap().moments.unwrap();
    let second: Vec<f32> = (21..45).map(|number| number as f32).collect();
    assert_eq!(moments.state, [&second[..], &second].concat());

    let without = |name: &str| {
        whole()
            .into_iter()
            .filter(|(other, _)| *other != format!("{name}.npy"))
            .collect::<Vec<_>>()
    };
    let with =
        |name: &str, bytes: Vec<u8>| [without(name), vec![(format!("{name}.npy"), bytes)]].concat();
    for name in [
        "0.weight.m",
        "0.bias.m",
        "1.weight.m",
        "0.weight.v",
        "1.bias.v",
        "beta_1_power",
        "beta_2_power",
    ] {
        refuse(&without(name), &[name]);
    }
    refuse(
        &without("steps"),
        &[
            ".m: expected only",
            "with steps their moments",
            "this came too",
        ],
    );
    refuse(
        &with("steps", count(-1)),
        &["array steps: expected a number of steps", "-1 came"],
    );
    refuse(
        &with("steps", power(1.0)),
        &[
            "array steps: expected an integer of 64 bits",
            "the type F64 came",
        ],
    );
    refuse(
        &with("beta_1_power", power(1.5)),
        &["array beta_1_power: ", "from 0 to 1", "1.5 came"],
    );
    refuse(
        &with("beta_2_power", power(f64::NAN)),
        &["array beta_2_power: ", "from 0 to 1", "NaN came"],
    );
}

#[test]
fn a_file_cut_or_changed_anywhere_gives_its_weights_or_an_error() {
    let place = Workplace::trained();
    place.succeed(&[&EXPORT[..], &["--moments"]].concat());
    let (file, whole) = (place.read("weights.npz"), load(&place, TINY).unwrap());
    for at in (0..file.len()).step_by(7) {
        place.write("weights.npz", &file[..at]);
        load(&place, TINY).expect_err("a file that is cut");
        let mut bytes = file.clone();
        bytes[at] ^= 1 << (at % 8);
        place.write("weights.npz", bytes);
        if let Ok(loaded) = load(&place, TINY) {
            assert_eq!(loaded, whole, "byte {at}");
        }
    }
    place.write("weights.npz", TINY);
    let problem = load(&place, TINY).unwrap_err().to_string();
    assert!(
        problem.contains("expected a whole .npz, a zip of arrays, but"),
        "{problem}"
    );
}

#[test]
fn a_checkpoint_that_is_not_the_models_is_refused() {
    let place = Workplace::trained();
    let moments = [&EXPORT[..], &["--moments"]].concat();
    place.succeed(&[
        "train",
        "tiny.toml",
        "--data",
        "samples.npy",
        "--seed",
        "9",
        "--out",
        "other",
    ]);
    std::fs::copy(place.path("out/tiny.checkpoint"), place.path("kept")).unwrap();
    let file = "out/tiny.checkpoint: ";
    std::fs::copy(
        place.path("other/tiny.checkpoint"),
        place.path("out/tiny.checkpoint"),
    )
    .unwrap();
    place.refuse(
        &moments,
        &[file, "the model \"tiny\" was made from", "other parameters"],
    );
    let whole = place.read("kept");
    place.write("out/tiny.checkpoint", &whole[..whole.len() - 1]);
    place.refuse(&moments, &[file, "expected the checksum"]);
    std::fs::remove_file(place.path("out/tiny.checkpoint")).unwrap();
    place.refuse(&moments, &[file, "cannot read", "No such file"]);
    place.refuse(
        &["export", "nowhere.narrows", "weights.npz"],
        &["nowhere.narrows: cannot read"],
    );
    place.refuse(&["export", "tiny.toml", "weights.npz"], &["tiny.toml: "]);
    place.refuse(
        &["export", "out/tiny.narrows", "nowhere/weights.npz"],
        &["nowhere/weights.npz: cannot write"],
    );

    place.write(
        "tiny.toml",
        TINY.replace("epochs", "optimizer = \"sgd\"\nepochs"),
    );
    place.succeed(&[
        "train",
        "tiny.toml",
        "--data",
        "samples.npy",
        "--out",
        "out",
    ]);
    place.refuse(&moments, &[file, "keeps moments", "sgd without momentum"]);
    #[cfg(target_os = "linux")]
    refused(
        &place
            .command(&["export", "out/tiny.narrows", "/dev/full"])
            .output()
            .unwrap(),
        &["/dev/full: cannot write"],
    );
}

/// Three epochs and then, from what was exported of them, three more: what six epochs give. The samples' order is the
/// same in all epochs, so that nothing but the weights and the moments tells one epoch from another.
#[test]
fn a_run_from_exported_weights_and_moments_goes_on_to_the_same_bits() {
    for optimizer in ["\"adam\"", "{ type = \"sgd\", momentum = 0.9 }"] {
        let place = Workplace::trained();
        let text = TINY.replace(
            "epochs = 3",
            &format!("shuffle = false\noptimizer = {optimizer}\nepochs = 3"),
        );
        place.write("tiny.toml", &text);
        let train = ["train", "tiny.toml", "--data", "samples.npy", "--out"];
        place.succeed(&[&train[..], &["out"]].concat());
        place.succeed(&[&train[..], &["whole", "--epochs", "6"]].concat());
        place.succeed(&[&EXPORT[..], &["--moments"]].concat());

        let recipe = Recipe::parse(&text, "tiny.toml").unwrap();
        let plan = recipe.plan().unwrap();
        let raw = data::load(&place.path("samples.npy"), &data::Reading::of_plan(&plan)).unwrap();
        let data = raw.training_data(&plan, "samples.npy").unwrap();
        let weights = load(&place, &text).unwrap();
        assert!(weights.moments.is_some());
        let from = Checkpoint::start(&plan, &data, weights).unwrap();
        let outcome =
            train::run(&Desktop::new(1).unwrap(), &plan, &data, Some(from), &mut ()).unwrap();
        let blob = Blob::read(&place.path("whole/tiny.narrows")).unwrap();
        assert_eq!(
            outcome.parameters,
            blob.model().unwrap().parameters,
            "{optimizer}"
        );
    }
}
