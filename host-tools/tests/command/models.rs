//! Blobs that are damaged, and models that get other samples than they take.

use narrows::model::Blob;
use narrows_core::blob::{self, InputKind};

use crate::workplace::{Workplace, ramp, reals};

const COMMANDS: [&[&str]; 6] = [
    &["inspect", "bad.narrows"],
    &["eval", "bad.narrows", "samples.npy"],
    &["run", "bad.narrows", "samples.npy", "answers.npy"],
    &["encode", "bad.narrows", "samples.npy", "answers.npy"],
    &["decode", "bad.narrows", "codes.npy", "answers.npy"],
    &["denoise", "bad.narrows", "samples.npy", "answers.npy"],
];

fn workplace() -> (Workplace, Vec<u8>) {
    let place = Workplace::trained();
    place.write("codes.npy", reals(&[10, 3], &ramp(30)));
    let blob = place.read("out/tiny.narrows");
    (place, blob)
}

#[test]
fn a_blob_that_is_cut_or_another_file_is_refused_by_every_command() {
    let (place, blob) = workplace();
    let lengths = [
        0,
        1,
        4,
        15,
        16,
        40,
        blob.len() / 2,
        blob.len() - 4,
        blob.len() - 1,
    ];
    let files = lengths.iter().map(|length| blob[..*length].to_vec());
    let text = std::iter::repeat_n(b"This is not a blob.\n", 20)
        .flatten()
        .copied()
        .collect();
    for (index, bytes) in files.chain([text, [&blob[..], &[0]].concat()]).enumerate() {
        place.write("bad.narrows", bytes);
        for arguments in COMMANDS {
            place.refuse(arguments, &["bad.narrows: ", "expected"]);
            if index % 4 != 0 {
                break;
            }
        }
    }
    for arguments in COMMANDS {
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|argument| {
                if *argument == "bad.narrows" {
                    "gone"
                } else {
                    argument
                }
            })
            .collect();
        place.refuse(&arguments, &["gone: cannot read", "No such file"]);
    }
}

#[test]
fn a_blob_with_one_bit_flipped_is_refused() {
    let (place, blob) = workplace();
    // Core flips every bit; here the command reads what came of it.
    for byte in (0..blob.len()).step_by(5) {
        let mut bytes = blob.clone();
        bytes[byte] ^= 1 << (byte % 8);
        place.write("bad.narrows", bytes);
        place.refuse(COMMANDS[byte % COMMANDS.len()], &["bad.narrows: "]);
    }
}

#[test]
fn samples_of_another_shape_are_refused_with_both_shapes() {
    let (place, blob) = workplace();
    place.write("bad.narrows", blob);
    for arguments in COMMANDS {
        place.succeed(arguments);
    }
    std::fs::remove_file(place.path("answers.npy")).unwrap();
    place.write("samples.npy", reals(&[10, 2, 2], &ramp(40)));
    place.write("codes.npy", reals(&[10, 6], &ramp(60)));
    for arguments in &COMMANDS[1..] {
        let (file, shapes) = if arguments[0] == "decode" {
            ("codes.npy", ["samples of [3]", "samples of [6] came"])
        } else {
            ("samples.npy", ["samples of [6]", "samples of [2, 2] came"])
        };
        place.refuse(arguments, &[&[file][..], &shapes].concat());
    }
    place.write("samples.npy", reals(&[0, 6], &[]));
    for arguments in [COMMANDS[1], COMMANDS[2]] {
        place.refuse(arguments, &["samples.npy: expected samples", "none came"]);
    }
    place.write("samples.npy", reals(&[10, 6], &ramp(60)));
    place.refuse(
        &["eval", "bad.narrows", "samples.npy", "--noise", "vanilla"],
        &["\"vanilla\"", "training.noise: expected", "none came"],
    );
}

#[test]
fn a_model_that_wants_raw_counts_is_not_run_on_real_numbers() {
    let place = Workplace::trained();
    let blob = Blob::read(&place.path("out/tiny.narrows")).unwrap();
    let mut model = blob.model().unwrap();
    model.header.input_kind = InputKind::Raw {
        scale: 0.5,
        zero_point: 7,
    };
    let mut bytes = vec![0; blob::len(&model.header, model.parameters.len()).unwrap()];
    blob::write(&model.header, model.parameters, &mut bytes).unwrap();
    place.write("bad.narrows", bytes);
    place.write("codes.npy", reals(&[10, 3], &ramp(30)));
    for arguments in COMMANDS {
        match arguments[0] {
            // What is in it can be told, and a code is real numbers whatever it was made of.
            "inspect" | "decode" => drop(place.succeed(arguments)),
            _ => place.refuse(
                arguments,
                &["model \"tiny\": expected a model with f32 input, but raw counts came: this release does not convert them"],
            ),
        }
    }
}
