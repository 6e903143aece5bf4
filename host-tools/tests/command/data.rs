//! Data that are not what they say, or not what the network takes.

use crate::workplace::{TINY, Workplace, gzip, idx, npy, npz, ramp, reals, refused};

/// Trains on each file, which must be refused with these facts and its name.
fn refuse_all(files: &[(&str, Vec<u8>, &[&str])]) {
    let place = Workplace::trained();
    for (name, bytes, facts) in files {
        place.write(name, bytes);
        let facts = [&[*name, "expected ", "but "], *facts].concat();
        place.refuse(
            &["train", "tiny.toml", "--data", name, "--out", "out"],
            &facts,
        );
        place.refuse(
            &["train", "tiny.toml", "--data", name, "--out", "new"],
            &facts,
        );
    }
}

#[test]
fn idx_that_lies_about_counts_or_is_cut_is_refused() {
    let data = [7; 18];
    let whole = idx(&[3, 6], &data);
    let packed = gzip(&whole);
    let mut damaged = packed.clone();
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    refuse_all(&[
        (
            "more.idx",
            idx(&[4, 6], &data),
            &["24 numbers for its shape [4, 6]", "18 came"],
        ),
        (
            "fewer.idx",
            idx(&[2, 6], &data),
            &["12 numbers for its shape [2, 6]", "more came"],
        ),
        (
            "huge.idx",
            idx(&[1 << 30, 6], &data),
            &["6442450944 numbers", "18 came"],
        ),
        (
            "uncountable.idx",
            idx(&[u32::MAX; 5], &data),
            &["extents whose product can be counted", "4294967295"],
        ),
        (
            "none.idx",
            idx(&[0, 6], &[]),
            &["at least one sample", "none came"],
        ),
        (
            "axes.idx",
            vec![0, 0, 8, 0],
            &["at least one axis", "0 came"],
        ),
        (
            "kind.idx",
            vec![0, 0, 0x0a, 1, 0, 0, 0, 6, 0, 0, 0, 0],
            &["kind 08", "kind 0a came"],
        ),
        (
            "empty.idx",
            Vec::new(),
            &["a whole file", "it ends too early"],
        ),
        (
            "header.idx",
            whole[..9].to_vec(),
            &["a whole file", "it ends too early"],
        ),
        (
            "cut.idx",
            whole[..29].to_vec(),
            &["18 numbers for its shape [3, 6]", "17 came"],
        ),
        (
            "cut.idx.gz",
            packed[..packed.len() - 1].to_vec(),
            &["a whole file", "it ends too early"],
        ),
        (
            "half.idx.gz",
            packed[..packed.len() / 2].to_vec(),
            &["a whole file"],
        ),
        (
            "start.idx.gz",
            packed[..3].to_vec(),
            &["a whole file", "it ends too early"],
        ),
        ("damaged.idx.gz", damaged, &["a whole file"]),
        (
            "inside.idx.gz",
            gzip(&whole[..20]),
            &["18 numbers", "8 came"],
        ),
        (
            "shape.idx",
            idx(&[3, 2, 2], &data[..12]),
            &["samples of [6]", "samples of [2, 2] came"],
        ),
        ("text.idx", b"five, six\n".to_vec(), &["IDX", "begins with"]),
    ]);
}

#[test]
fn a_folder_whose_labels_are_not_one_for_each_sample_is_refused() {
    let place = Workplace::trained();
    std::fs::create_dir(place.path("folder")).unwrap();
    let arguments = ["train", "tiny.toml", "--data", "folder", "--out", "out"];
    place.refuse(
        &arguments,
        &["folder", "train-images-idx3-ubyte", "neither is there"],
    );
    place.write("folder/train-images-idx3-ubyte", idx(&[3, 6], &[7; 18]));
    place.write(
        "folder/train-labels-idx1-ubyte.gz",
        gzip(&idx(&[2], &[7; 2])),
    );
    place.refuse(
        &arguments,
        &[
            "train-labels-idx1-ubyte.gz",
            "an integer for each of 3 samples",
            "[2] came",
        ],
    );
    place.write(
        "folder/train-labels-idx1-ubyte.gz",
        gzip(&idx(&[3], &[7; 3])),
    );
    place.succeed(&arguments);
    place.refuse(
        &["train", "tiny.toml", "--data", "nowhere"],
        &["nowhere: cannot read", "No such file"],
    );
}

#[test]
fn numpy_arrays_that_are_cut_or_of_a_wrong_type_or_shape_are_refused() {
    let whole = reals(&[10, 6], &ramp(60));
    let structured = "[('a', '<f4'), ('b', '<f4')]";
    let long = format!("({}", "1,".repeat(6000));
    // 54 bytes that a reader of Python's whole grammar may not come back from.
    let deep = [&b"\x93NUMPY\x01\x00\x2c\x00"[..], &[b'('; 44]].concat();
    refuse_all(&[
        ("4.npy", whole[..4].to_vec(), &[]),
        ("8.npy", whole[..8].to_vec(), &["it ends too early"]),
        ("50.npy", whole[..50].to_vec(), &["it ends too early"]),
        (
            "cut.npy",
            whole[..whole.len() - 1].to_vec(),
            &["it ends too early"],
        ),
        (
            "half.npy",
            whole[..whole.len() / 2].to_vec(),
            &["60 numbers for its shape [10, 6]", "it ends too early"],
        ),
        (
            "longer.npy",
            [&whole[..], &[0]].concat(),
            &["60 numbers for its shape [10, 6]", "more came"],
        ),
        (
            "complex.npy",
            npy("'<c8'", false, "(10, 6)", &[0; 480]),
            &["integers or real numbers", "<c8"],
        ),
        (
            "string.npy",
            npy("'|S4'", false, "(10, 6)", &[0; 240]),
            &["integers or real numbers", "S4"],
        ),
        (
            "object.npy",
            npy("'|O'", false, "(10, 6)", &[0; 480]),
            &["integers or real numbers"],
        ),
        (
            "fields.npy",
            npy(structured, false, "(10, 6)", &[0; 480]),
            &["integers or real numbers"],
        ),
        (
            "order.npy",
            npy("'<f4'", true, "(10, 6)", &[0; 240]),
            &["C order", "numpy.ascontiguousarray"],
        ),
        (
            "huge.npy",
            npy("'<f4'", false, "(4611686018427387904, 6)", &[0; 240]),
            &["can be counted"],
        ),
        (
            "long.npy",
            npy("'<f4'", false, &long, &[]),
            &["a whole array", "its header has", "more than 10000"],
        ),
        (
            "nested.npy",
            npy("'<f4'", false, &"(".repeat(9000), &[]),
            &["a whole array", "it lacks an extent at byte"],
        ),
        (
            "deep.npy",
            deep,
            &["a whole array", "it lacks '{' at byte 0"],
        ),
        (
            "key.npy",
            npy("'<f4', 'order': 'C'", false, "(10, 6)", &[0; 240]),
            &["'descr', 'fortran_order' or 'shape'"],
        ),
        (
            "shape.npy",
            reals(&[10, 7], &ramp(70)),
            &["samples of [6]", "samples of [7] came"],
        ),
        (
            "short.npy",
            reals(&[5], &ramp(5)),
            &["a recording of at least 6 numbers", "5 came"],
        ),
        (
            "none.npy",
            reals(&[0, 6], &[]),
            &["at least one sample", "none came"],
        ),
    ]);
}

#[test]
fn zips_that_are_cut_damaged_or_without_samples_are_refused() {
    let array = reals(&[10, 6], &ramp(60));
    let whole = npz(&[("x_train.npy", &array)]);
    let mut damaged = whole.clone();
    // A zip's header has 30 bytes and the name; the last byte of the array is a number's exponent.
    damaged[30 + "x_train.npy".len() + array.len() - 1] ^= 1;
    let two = npz(&[("a.npy", &array), ("b.npy", &array)]);
    let mut odd = ramp(60);
    odd[13] = f32::NAN;
    let odd = npz(&[("x_train.npy", &reals(&[10, 6], &odd))]);
    refuse_all(&[
        (
            "cut.npz",
            whole[..whole.len() - 1].to_vec(),
            &["a whole zip of arrays"],
        ),
        (
            "half.npz",
            whole[..whole.len() / 2].to_vec(),
            &["a whole zip of arrays"],
        ),
        ("damaged.npz", damaged, &["array x_train", "hecksum"]),
        ("two.npz", two, &["x_train or x_test", "a.npy"]),
        (
            "text.npz",
            npz(&[("notes.txt", b"hello")]),
            &["x_train or x_test", "notes.txt"],
        ),
        (
            "test.npz",
            npz(&[("x_test.npy", &array)]),
            &["data to train on", "only test data came"],
        ),
        (
            "odd.npz",
            odd,
            &[
                "array x_train, element [2, 1]",
                "a finite number",
                "NaN came",
            ],
        ),
    ]);
}

#[test]
fn numbers_that_are_not_finite_or_that_the_network_cannot_give_back_are_refused_by_their_place() {
    let with = |place: usize, number: f32| {
        let mut numbers = ramp(60);
        numbers[place] = number;
        reals(&[10, 6], &numbers)
    };
    let mut wide: Vec<u8> = ramp(60)
        .iter()
        .flat_map(|number| f64::from(*number).to_le_bytes())
        .collect();
    wide[8..16].copy_from_slice(&1e39f64.to_le_bytes());
    let counts: Vec<u8> = (0..60i16)
        .flat_map(|count| (200 * count).to_le_bytes())
        .collect();
    refuse_all(&[
        (
            "nan.npy",
            with(7, f32::NAN),
            &["element [1, 1]", "a finite number", "NaN came"],
        ),
        (
            "infinity.npy",
            with(59, f32::NEG_INFINITY),
            &["element [9, 5]", "a finite number", "-inf came"],
        ),
        (
            "wide.npy",
            npy("'<f8'", false, "(10, 6)", &wide),
            &["element [0, 1]", "32 bits", "inf came"],
        ),
        (
            "above.npy",
            with(6, 1.5),
            &["element [1, 0]", "from 0 to 1", "1.5 came"],
        ),
        (
            "below.npy",
            with(0, -0.25),
            &["element [0, 0]", "from 0 to 1", "-0.25 came"],
        ),
        (
            "counts.npy",
            npy("'<i2'", false, "(10, 6)", &counts),
            &["element [0, 2]", "from 0 to 1", "as (count - 0)"],
        ),
    ]);
    let place = Workplace::trained();
    place.write("nan.npy", with(7, f32::NAN));
    let facts = ["nan.npy, element [1, 1]", "a finite number", "NaN came"];
    place.refuse(&["eval", "out/tiny.narrows", "nan.npy"], &facts);
    place.refuse(
        &["run", "out/tiny.narrows", "nan.npy", "answers.npy"],
        &facts,
    );
}

#[test]
fn every_type_of_number_is_read_as_what_it_is() {
    let place = Workplace::trained();
    // What every type can hold; floating-point data are taken as they are, integers are prepared.
    let counts: Vec<u8> = (0..60).map(|index| index % 2).collect();
    let prepared: Vec<f32> = counts
        .iter()
        .map(|count| f32::from(*count) * (1.0 / 255.0))
        .collect();
    let plain: Vec<f32> = counts.iter().map(|count| f32::from(*count)).collect();
    let answers = |name: &str, bytes: Vec<u8>| {
        place.write(name, bytes);
        place.succeed(&["run", "out/tiny.narrows", name, "answers.npy"]);
        place.read("answers.npy")
    };
    let expected = answers("prepared.npy", reals(&[10, 6], &prepared));
    let of_floats = answers("plain.npy", reals(&[10, 6], &plain));
    assert_ne!(expected, of_floats);
    assert_eq!(answers("bytes.idx", idx(&[10, 6], &counts)), expected);
    assert_eq!(
        answers("bytes.idx.gz", gzip(&idx(&[10, 6], &counts))),
        expected
    );
    for descr in [
        "|u1", "|i1", "|b1", "<u2", ">u2", "<i2", "<u4", ">i4", "<u8", "<i8", "<f8", ">f4",
    ] {
        let width: usize = descr[2..].parse().unwrap();
        let data: Vec<u8> = counts
            .iter()
            .flat_map(|count| {
                let mut bytes = match descr.as_bytes()[1..] {
                    [b'f', b'8'] => f64::from(*count).to_le_bytes().to_vec(),
                    [b'f', _] => f32::from(*count).to_le_bytes().to_vec(),
                    _ => u64::from(*count).to_le_bytes()[..width].to_vec(),
                };
                if descr.starts_with('>') {
                    bytes.reverse();
                }
                bytes
            })
            .collect();
        let found = answers(
            "typed.npy",
            npy(&format!("'{descr}'"), false, "(10, 6)", &data),
        );
        let expected = if descr.contains('f') {
            &of_floats
        } else {
            &expected
        };
        assert!(found == *expected, "{descr}");
    }
}

/// The address space is limited, so that taking what a header promises would fail, and not with one line.
#[cfg(target_os = "linux")]
#[test]
fn lying_sizes_take_no_memory() {
    let place = Workplace::new();
    place.write("tiny.toml", TINY);
    let mut header = b"\x93NUMPY\x02\x00".to_vec();
    header.extend(u32::MAX.to_le_bytes());
    header.extend([b' '; 100]);
    for (name, bytes) in [
        ("huge.idx", idx(&[1 << 30, 6], &[7; 18])),
        ("huge.idx.gz", gzip(&idx(&[1 << 30, 6], &[7; 18]))),
        ("huge.npy", npy("'<f4'", false, "(1073741824, 6)", &[0; 24])),
        ("header.npy", header),
    ] {
        place.write(name, bytes);
        let script = r#"ulimit -v 400000 && exec "$0" train tiny.toml --data "$1""#;
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", script, env!("CARGO_BIN_EXE_narrows"), name])
            .current_dir(place.path(""));
        refused(&command.output().unwrap(), &[name, "expected ", "but "]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn threads_that_the_system_does_not_give_are_an_error() {
    let place = Workplace::trained();
    // Each thread asks for some megabytes of the address space.
    let script = r#"ulimit -v 400000 && exec "$0" run out/tiny.narrows samples.npy answers.npy --threads 1024"#;
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_narrows")])
        .current_dir(place.path(""));
    refused(&command.output().unwrap(), &["expected 1024 threads, but "]);
}

/// The most memory that the command has at a time, in bytes, and what it prints. The system counts it and keeps the
/// greatest; it is asked until the command ends.
#[cfg(target_os = "linux")]
fn peak_memory(place: &Workplace, arguments: &[&str]) -> (u64, String) {
    let mut command = place.command(arguments);
    command.stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(1024 * kilobytes.unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    (peak, String::from_utf8(output.stdout).unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_is_larger_than_the_memory_is_trained_on_and_evaluated() {
    const SAMPLES: u64 = 200_000;
    const LIMIT: u64 = 24 << 20;
    let place = Workplace::new();
    place.write(
        "wide.toml",
        TINY.replace("units = 3", "units = 1")
            .replace("6", "784")
            .replace("epochs = 3", "epochs = 1")
            .replace("batch_size = 4", "batch_size = 100"),
    );
    let start = npy("'|u1'", false, &format!("({SAMPLES}, 784)"), &[]);
    let idx_start = idx(&[SAMPLES as u32, 784], &[]);
    for (name, start) in [("large.npy", start), ("large.idx", idx_start)] {
        place.write(name, &start);
        // What is never written takes no place on the disk, and is read as zeros.
        let file = std::fs::File::options().write(true).open(place.path(name));
        let len = start.len() as u64 + SAMPLES * 784;
        file.unwrap().set_len(len).unwrap();
        let train = ["train", "wide.toml", "--data", name, "--threads", "1"];
        let (peak, _) = peak_memory(&place, &train);
        assert!(0 < peak && peak < LIMIT, "{peak} bytes to train on {name}");
        let eval = ["eval", "tiny.narrows", name, "--threads", "1", "--json"];
        let (peak, found) = peak_memory(&place, &eval);
        assert!(0 < peak && peak < LIMIT, "{peak} bytes to evaluate {name}");
        assert!(found.contains("\"samples\":200000"), "{found}");
    }
}

#[test]
fn the_same_numbers_have_the_same_digest_and_give_the_same_model_whatever_their_file() {
    let place = Workplace::new();
    place.write("tiny.toml", TINY);
    let bytes: Vec<u8> = (0..600u32)
        .map(|index| (index * 7919 % 251) as u8)
        .collect();
    let wide: Vec<u8> = bytes.iter().flat_map(|byte| [0, *byte]).collect();
    let prepared: Vec<f32> = bytes
        .iter()
        .map(|byte| (f32::from(*byte) - 0.0) * (1.0 / 255.0))
        .collect();
    let files = [
        ("bytes.idx", idx(&[100, 6], &bytes)),
        ("bytes.idx.gz", gzip(&idx(&[100, 6], &bytes))),
        ("bytes.npy", npy("'|u1'", false, "(100, 6)", &bytes)),
        ("wide.npy", npy("'>i2'", false, "(100, 6)", &wide)),
        ("reals.npy", reals(&[100, 6], &prepared)),
        (
            "bytes.npz",
            npz(&[("x_train.npy", &npy("'|u1'", false, "(100, 6)", &bytes))]),
        ),
    ];
    let models = files.map(|(name, bytes)| {
        place.write(name, bytes);
        place.succeed(&["train", "tiny.toml", "--data", name]);
        place.read("tiny.narrows")
    });
    for model in &models {
        assert!(*model == models[0]);
    }
    let digest = crc32fast::hash(bytemuck::cast_slice(&prepared));
    let told = place.succeed(&["inspect", "tiny.narrows", "--json"]);
    assert!(
        told.contains(&format!("\"data_digest\":{digest}")),
        "{told}"
    );
}
