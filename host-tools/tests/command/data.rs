//! Data that are not what they say, or not what the network takes.

use narrows::data::{self, Reading};
use narrows::recipe::Recipe;

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

/// A PNG of a few bytes that says that it has 16,000 x 16,000 pixels in colour.
fn huge_picture() -> Vec<u8> {
    let mut bytes = picture(PNG, [2, 3], &[7; 18]);
    // After the signature: the length and the name of the first chunk, width and height, five bytes, the checksum.
    bytes[16..24].copy_from_slice(&[0, 0, 0x3e, 0x80, 0, 0, 0x3e, 0x80]);
    let checksum = crc32fast::hash(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The address space is limited, so that taking what a header promises would fail, and not with one line.
#[cfg(target_os = "linux")]
#[test]
fn lying_sizes_take_no_memory() {
    let place = Workplace::new();
    place.write("tiny.toml", TINY);
    std::fs::create_dir(place.path("pictures")).unwrap();
    let mut header = b"\x93NUMPY\x02\x00".to_vec();
    header.extend(u32::MAX.to_le_bytes());
    header.extend([b' '; 100]);
    for (name, bytes) in [
        ("huge.idx", idx(&[1 << 30, 6], &[7; 18])),
        ("huge.idx.gz", gzip(&idx(&[1 << 30, 6], &[7; 18]))),
        ("huge.npy", npy("'<f4'", false, "(1073741824, 6)", &[0; 24])),
        ("header.npy", header),
        ("huge.wav", {
            let mut bytes = wav(1, 1, 360, 16, &[7; 18]);
            bytes[40..44].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff]);
            bytes
        }),
        ("pictures/huge.png", huge_picture()),
    ] {
        place.write(name, bytes);
        let script = r#"ulimit -v 400000 && exec "$0" train tiny.toml --data "$1""#;
        let mut command = std::process::Command::new("sh");
        command
            .args([
                "-c",
                script,
                env!("CARGO_BIN_EXE_narrows"),
                name.trim_end_matches("/huge.png"),
            ])
            .current_dir(place.path(""));
        refused(&command.output().unwrap(), &[name, "expected ", "but "]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn threads_that_the_system_does_not_give_are_an_error() {
    let place = Workplace::trained();
    // Each thread asks for a large part of the address space, so that what is left when one is refused is enough for
    // those that are just starting: the standard library aborts when they get no signal stack.
    let script = r#"ulimit -v 400000 && RUST_MIN_STACK=100000000 MALLOC_ARENA_MAX=1 exec "$0" run out/tiny.narrows samples.npy answers.npy --threads 1024"#;
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
    const SAMPLES: u64 = 350_000;
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
    }
    let train = [
        "train",
        "wide.toml",
        "--data",
        "large.npy",
        "--threads",
        "1",
    ];
    let (peak, _) = peak_memory(&place, &train);
    assert!(0 < peak && peak < LIMIT, "{peak} bytes to train");
    let eval = [
        "eval",
        "tiny.narrows",
        "large.idx",
        "--threads",
        "1",
        "--json",
    ];
    let (peak, found) = peak_memory(&place, &eval);
    assert!(0 < peak && peak < LIMIT, "{peak} bytes to evaluate");
    assert!(found.contains("\"samples\":350000"), "{found}");
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

/// A WAV, `format` 1 for integers and 3 for real numbers.
fn wav(format: u16, channels: u16, sample_rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
    let frame = channels * bits.div_ceil(8);
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0");
    for half in [format, channels] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(sample_rate.to_le_bytes());
    bytes.extend((sample_rate * u32::from(frame)).to_le_bytes());
    for half in [frame, bits] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(b"data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

/// Counts of 16 bits that `offset = -16384, scale = 1/32768` takes to the range from 0 to below 1.
fn counts(count: usize) -> Vec<i16> {
    let wave = |index: usize| (index * 7919 % 32749) as i16 - 16384;
    (0..count).map(wave).collect()
}

const OF_16_BITS: &str = "offset = -16384.0\nscale = 0.000030517578125\n";

fn with_data(keys: &str) -> String {
    format!("{TINY}\n[data]\n{keys}")
}

#[test]
fn a_recording_gives_the_same_model_whatever_its_file_and_is_cut_as_the_blob_says() {
    let place = Workplace::new();
    let counts = counts(600);
    let bytes: Vec<u8> = counts.iter().flat_map(|x| x.to_le_bytes()).collect();
    place.write("mono.wav", wav(1, 1, 360, 16, &bytes));
    place.write("mono.npy", npy("'<i2'", false, "(600,)", &bytes));
    place.write("stereo.wav", wav(1, 2, 360, 16, &bytes));
    place.write("stereo.npy", npy("'<i2'", false, "(100, 6)", &bytes));
    let reals: Vec<f32> = counts
        .iter()
        .map(|x| (f32::from(*x) + 16384.0) / 32768.0)
        .collect();
    let data: Vec<u8> = reals.iter().flat_map(|x| x.to_le_bytes()).collect();
    place.write("real.wav", wav(3, 1, 360, 32, &data));
    let wide: Vec<u8> = bytes.chunks(2).flat_map(|x| [0, x[0], x[1]]).collect();
    place.write("wide.wav", wav(1, 1, 360, 24, &wide));
    let csv = |columns: usize, header: &str| {
        let row = |row: &[f32]| row.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
        let rows: Vec<String> = reals.chunks(columns).map(row).collect();
        format!("{header}\n{}\n", rows.join("\r\n"))
    };
    place.write("mono.csv", csv(1, "voltage"));
    place.write("stereo.csv", csv(2, "left,right"));
    place.write("rows.csv", csv(6, "0,1,2,3,4,5"));
    let model = |recipe: &str, data: &str| {
        place.write("tiny.toml", recipe);
        place.succeed(&["train", "tiny.toml", "--data", data]);
        place.read("tiny.narrows")
    };
    let recipe = with_data(&format!("{OF_16_BITS}step = 2\n"));
    let expected = model(&recipe, "mono.npy");
    for same in ["mono.wav", "real.wav", "mono.csv"] {
        assert!(model(&recipe, same) == expected, "{same}");
    }
    // What the blob says of windows holds without a recipe; and an option may say another thing.
    let samples = |arguments: &[&str]| {
        let told = place.succeed(&[&["eval", "tiny.narrows", "--json"], arguments].concat());
        let found: serde_json::Value = serde_json::from_str(&told).unwrap();
        found["samples"].as_u64().unwrap()
    };
    assert_eq!(samples(&["mono.wav"]), 298);
    assert_eq!(samples(&["mono.wav", "--step", "6"]), 100);
    // A window has three frames of two channels.
    assert_eq!(samples(&["stereo.wav"]), 149);
    assert_eq!(samples(&["stereo.csv", "--step", "3"]), 100);
    assert_eq!(samples(&["rows.csv"]), 100);
    let told = place.succeed(&["inspect", "tiny.narrows"]);
    assert!(
        told.contains("recordings become windows, one every 2 frames"),
        "{told}"
    );
    let told = place.succeed(&["inspect", "tiny.narrows", "--json"]);
    assert!(
        told.contains(r#""rule":{"sample_rate":null,"step":2}"#),
        "{told}"
    );

    let recipe = with_data(OF_16_BITS);
    let expected = model(&recipe, "stereo.npy");
    for same in ["stereo.wav", "stereo.csv", "rows.csv"] {
        assert!(model(&recipe, same) == expected, "{same}");
    }
    // Numbers of 24 bits are 256 times those of 16.
    let recipe = with_data("offset = -4194304.0\nscale = 0.00000011920928955078125\n");
    place.write("tiny.toml", &recipe);
    place.succeed(&["train", "tiny.toml", "--data", "wide.wav"]);
    let told = place.succeed(&["inspect", "tiny.narrows", "--json"]);
    let digest = crc32fast::hash(&data);
    assert!(
        told.contains(&format!("\"data_digest\":{digest}")),
        "{told}"
    );
}

#[test]
fn a_recording_of_several_channels_fits_an_input_with_as_many() {
    let place = Workplace::new();
    let bytes: Vec<u8> = counts(24).iter().flat_map(|x| x.to_le_bytes()).collect();
    place.write(
        "tiny.toml",
        with_data(OF_16_BITS)
            .replace("input = [6]", "input = [1, 3, 2]")
            .replace("layers = [", "layers = [\n  { type = \"flatten\" },"),
    );
    place.write("stereo.wav", wav(1, 2, 360, 16, &bytes));
    place.write("mono.wav", wav(1, 1, 360, 16, &bytes));
    place.succeed(&["train", "tiny.toml", "--data", "stereo.wav"]);
    let told = place.succeed(&["eval", "tiny.narrows", "stereo.wav", "--json"]);
    assert!(told.contains("\"samples\":4"), "{told}");
    place.refuse(
        &["eval", "tiny.narrows", "mono.wav"],
        &["mono.wav", "channels for windows of", "1 came"],
    );
}

#[test]
fn recordings_that_are_cut_of_a_wrong_kind_or_rate_are_refused() {
    let bytes: Vec<u8> = counts(60).iter().flat_map(|x| x.to_le_bytes()).collect();
    let whole = wav(1, 1, 360, 16, &bytes);
    let mut odd = [0.5f32; 12];
    odd[7] = f32::NAN;
    let odd: Vec<u8> = odd.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut huge = whole.clone();
    huge[40..44].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff]);
    refuse_all(&[
        (
            "cut.wav",
            whole[..whole.len() - 1].to_vec(),
            &["a recording of 60 numbers", "59 came"],
        ),
        ("header.wav", whole[..30].to_vec(), &["a whole recording"]),
        ("twelve.wav", whole[..12].to_vec(), &["a whole recording"]),
        (
            "huge.wav",
            huge,
            &["a recording of 2147483647 numbers", "60 came"],
        ),
        (
            "empty.wav",
            wav(1, 1, 360, 16, &[]),
            &["at least 6 numbers", "0 came"],
        ),
        (
            "short.wav",
            wav(1, 1, 360, 16, &bytes[..10]),
            &["at least 6 numbers", "5 came"],
        ),
        (
            "adpcm.wav",
            wav(2, 1, 360, 16, &bytes),
            &["a whole recording"],
        ),
        (
            "double.wav",
            wav(3, 1, 360, 64, &bytes),
            &["bits per sample is not 32"],
        ),
        (
            "five.wav",
            wav(1, 5, 360, 16, &bytes),
            &["channels for windows of [6]", "5 came"],
        ),
        (
            "none.wav",
            wav(1, 0, 360, 16, &bytes),
            &["a whole recording"],
        ),
        (
            "odd.wav",
            wav(3, 1, 360, 32, &odd),
            &["element [7]", "a finite number", "NaN came"],
        ),
        (
            "loud.wav",
            whole.clone(),
            &["from 0 to 1", "as (count - 0)"],
        ),
    ]);
    let place = Workplace::new();
    place.write(
        "tiny.toml",
        with_data(&format!("{OF_16_BITS}sample_rate = 250\n")),
    );
    place.write("slow.wav", wav(1, 1, 250, 16, &bytes));
    place.write("fast.wav", whole);
    place.succeed(&["train", "tiny.toml", "--data", "slow.wav"]);
    let facts = ["fast.wav", "250 frames a second", "360 came"];
    place.refuse(&["train", "tiny.toml", "--data", "fast.wav"], &facts);
    place.refuse(&["eval", "tiny.narrows", "fast.wav"], &facts);
}

#[test]
fn tables_that_lack_cells_columns_or_numbers_are_refused_by_line_and_column() {
    let table = |text: &str| text.as_bytes().to_vec();
    let row = "0.5,0.5,0.5,0.5,0.5,0.5\n";
    let header = "a,b,c,d,e,f\n";
    refuse_all(&[
        (
            "empty.csv",
            table(""),
            &["line 1", "a header", "the file is empty"],
        ),
        (
            "header.csv",
            table(header),
            &["at least one sample", "none came"],
        ),
        (
            "numbers.csv",
            table(&row.repeat(3)),
            &["line 1", "a header that names the columns", "numbers came"],
        ),
        (
            "short.csv",
            table(&format!("{header}{row}0.5,0.5\n")),
            &["line 3", "6 cells", "2 came"],
        ),
        (
            "long.csv",
            table(&format!("{header}{row}0.5,{row}")),
            &["line 3", "6 cells", "7 came"],
        ),
        (
            "text.csv",
            table(&format!("{header}{row}0.5,0.5,none,0.5,0.5,0.5\n")),
            &["line 3, column \"c\"", "a finite number", "\"none\" came"],
        ),
        (
            "gap.csv",
            table(&format!("{header}{row}0.5,,0.5,0.5,0.5,0.5\n")),
            &["line 3, column \"b\"", "\"\" came"],
        ),
        (
            "nan.csv",
            table(&format!("{header}nan,0.5,0.5,0.5,0.5,0.5\n")),
            &["line 2, column \"a\"", "\"nan\" came"],
        ),
        (
            "above.csv",
            table(&format!("{header}{row}0.5,0.5,0.5,0.5,0.5,7\n")),
            &["element [1, 5]", "from 0 to 1", "7 came"],
        ),
        (
            "bytes.csv",
            [header.as_bytes(), b"0,0,\xff,0,0,0\n"].concat(),
            &["line 2", "UTF-8"],
        ),
        (
            "four.csv",
            table("a,b,c,d\n0.5,0.5,0.5,0.5\n"),
            &["channels for windows of [6]", "4 came"],
        ),
        (
            "few.csv",
            table("a\n0.5\n0.5\n"),
            &["a recording of at least 6", "2 came"],
        ),
    ]);
    let place = Workplace::trained();
    place.write(
        "labelled.csv",
        format!(
            "a,b,c,d,e,f,kind\n{}",
            "0,0.5,0.5,0.5,0.5,1,x\n1,0,0,0,0,0,y\n".repeat(3)
        ),
    );
    let eval = ["eval", "out/tiny.narrows", "labelled.csv", "--json"];
    let with = |more: &[&'static str]| [&eval[..], more].concat();
    let told = place.succeed(&with(&["--label", "kind"]));
    assert!(
        told.contains("\"label\":0") && told.contains("\"label\":1"),
        "{told}"
    );
    let told = place.succeed(&with(&["--columns", "f,e,d,c,b,a"]));
    assert!(told.contains("\"labels\":[]"), "{told}");
    place.refuse(&with(&[]), &["column \"kind\"", "\"x\" came"]);
    place.refuse(
        &with(&["--columns", "a,b,kind"]),
        &["column \"kind\"", "\"x\" came"],
    );
    place.refuse(
        &with(&["--label", "Kind"]),
        &["a column \"Kind\"", "\"kind\" came"],
    );
    place.refuse(
        &with(&["--label", "kind", "--columns", "a,b,c"]),
        &["6 columns beside the labels", "3 came"],
    );
}

/// A picture of the size `[height, width]` whose pixels are as many numbers as `bytes` gives.
fn picture(format: image::ImageFormat, [height, width]: [u32; 2], bytes: &[u8]) -> Vec<u8> {
    let color = match bytes.len() / (height * width) as usize {
        1 => image::ExtendedColorType::L8,
        3 => image::ExtendedColorType::Rgb8,
        _ => image::ExtendedColorType::Rgba8,
    };
    let mut file = std::io::Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut file, bytes, width, height, color, format).unwrap();
    file.into_inner()
}

const PNG: image::ImageFormat = image::ImageFormat::Png;

#[test]
fn folders_of_pictures_are_samples_with_the_classes_as_labels() {
    let place = Workplace::new();
    place.write("tiny.toml", TINY);
    let bytes: Vec<u8> = (0..72).map(|index| index * 3).collect();
    place.write("samples.idx", idx(&[12, 6], &bytes));
    for (index, bytes) in bytes.chunks(6).enumerate() {
        let class = ["bag", "coat", "shoe"][index / 4];
        std::fs::create_dir_all(place.path(&format!("pictures/{class}"))).unwrap();
        place.write(
            &format!("pictures/{class}/{index:02}.PNG"),
            picture(PNG, [2, 3], bytes),
        );
    }
    place.write("pictures/.hidden", b"passed over");
    place.write("pictures/bag/notes.txt", b"passed over");
    let model = |data: &str| {
        place.succeed(&["train", "tiny.toml", "--data", data]);
        place.read("tiny.narrows")
    };
    assert!(model("samples.idx") == model("pictures"));
    let told = place.succeed(&["eval", "tiny.narrows", "pictures", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&told).unwrap();
    let labels = found["labels"].as_array().unwrap();
    let labels: Vec<_> = labels.iter().map(|label| &label["label"]).collect();
    assert_eq!(labels, [0, 1, 2]);
}

#[test]
fn pictures_are_resized_as_the_blob_says() {
    let place = Workplace::new();
    // Of each two by two pixels that are alike, a filter that covers them gives one.
    let row = [10u8, 10, 200, 200, 90, 90];
    let rows = [row, row, row.map(|x| 250 - x), row.map(|x| 250 - x)].concat();
    std::fs::create_dir(place.path("large")).unwrap();
    std::fs::create_dir(place.path("small")).unwrap();
    place.write("large/a.png", picture(PNG, [4, 6], &rows));
    place.write(
        "small/a.png",
        picture(PNG, [2, 3], &[10, 200, 90, 240, 50, 160]),
    );
    let same_answers = || {
        for name in ["large", "small"] {
            place.succeed(&["run", "tiny.narrows", name, &format!("{name}.npy")]);
        }
        assert!(place.read("large.npy") == place.read("small.npy"));
    };
    place.write(
        "tiny.toml",
        with_data("resize = [2, 3]\nfilter = \"nearest\"\n"),
    );
    place.succeed(&["train", "tiny.toml", "--data", "large"]);
    same_answers();
    let told = place.succeed(&["inspect", "tiny.narrows"]);
    assert!(
        told.contains("pictures become   2 x 3 pixels, nearest"),
        "{told}"
    );
    let told = place.succeed(&["inspect", "tiny.narrows", "--json"]);
    assert!(
        told.contains(r#""rule":{"filter":"nearest","resize":[2,3]}"#),
        "{told}"
    );
    // A network that takes pictures has a size to which they are resized.
    let flat = TINY.replace("input = [6]", "input = [2, 3, 1]");
    place.write(
        "tiny.toml",
        flat.replace("layers = [", "layers = [\n  { type = \"flatten\" },"),
    );
    place.succeed(&["train", "tiny.toml", "--data", "large"]);
    let told = place.succeed(&["inspect", "tiny.narrows"]);
    assert!(told.contains("2 x 3 pixels, triangle"), "{told}");
    let told = place.succeed(&["eval", "tiny.narrows", "small", "--json"]);
    assert!(told.contains("\"samples\":1"), "{told}");
}

#[test]
fn colour_is_kept_where_the_input_has_three_channels_and_made_grey_where_it_has_one() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("grey")).unwrap();
    std::fs::create_dir(place.path("colour")).unwrap();
    place.write(
        "colour/a.png",
        picture(PNG, [1, 2], &[255, 0, 0, 0, 255, 255]),
    );
    place.write(
        "colour/b.jpeg",
        picture(image::ImageFormat::Jpeg, [1, 2], &[9; 6]),
    );
    place.write("grey/a.png", picture(PNG, [2, 3], &[7; 24]));
    place.write(
        "grey/b.jpg",
        picture(image::ImageFormat::Jpeg, [2, 3], &[7; 6]),
    );
    place.write("tiny.toml", TINY);
    for (name, samples) in [("colour", 2), ("grey", 2)] {
        place.succeed(&["train", "tiny.toml", "--data", name]);
        let told = place.succeed(&["eval", "tiny.narrows", name, "--json"]);
        assert!(told.contains(&format!("\"samples\":{samples}")), "{told}");
    }
}

#[test]
fn folders_without_pictures_and_pictures_that_are_damaged_or_of_another_size_are_refused() {
    let place = Workplace::trained();
    let refuse = |facts: &[&str]| {
        place.refuse(
            &["train", "tiny.toml", "--data", "pictures", "--out", "out"],
            facts,
        );
    };
    let clean = || {
        let _ = std::fs::remove_dir_all(place.path("pictures"));
        std::fs::create_dir_all(place.path("pictures/b")).unwrap();
    };
    let good = picture(PNG, [2, 3], &[7; 6]);
    clean();
    refuse(&["pictures/b", "a class's pictures", "none came"]);
    place.write("pictures/a.png", &good);
    refuse(&["pictures", "one for each class", "both came", "a.png"]);
    std::fs::remove_dir(place.path("pictures/b")).unwrap();
    place.write("pictures/b.png", picture(PNG, [3, 2], &[7; 6]));
    refuse(&[
        "b.png",
        "2 x 3 pixels as the others",
        "resize",
        "3 x 2 came",
    ]);
    place.write("pictures/b.png", picture(PNG, [4, 4], &[7; 16]));
    refuse(&["b.png", "2 x 3 pixels as the others", "4 x 4 came"]);
    place.write("pictures/a.png", picture(PNG, [4, 4], &[7; 16]));
    refuse(&[
        "a.png",
        "a picture of 6 numbers",
        "resize",
        "4 x 4 pixels came",
    ]);
    place.write("pictures/a.png", &good);
    for (bytes, name) in [
        (good.clone(), "png"),
        (picture(image::ImageFormat::Jpeg, [2, 3], &[7; 6]), "jpg"),
    ] {
        let _ = std::fs::remove_file(place.path("pictures/b.png"));
        let name = format!("b.{name}");
        for length in [0, 4, bytes.len() / 4] {
            place.write(&format!("pictures/{name}"), &bytes[..length]);
            refuse(&[&name, "a whole PNG or JPEG"]);
        }
        place.write(&format!("pictures/{name}"), b"GIF89a, which is neither");
        refuse(&[&name, "a whole PNG or JPEG"]);
    }
}

#[test]
fn one_sample_and_samples_that_are_all_alike_are_trained_on() {
    let place = Workplace::new();
    place.write("tiny.toml", TINY);
    place.write("one.npy", reals(&[1, 6], &ramp(6)));
    place.write("alike.npy", reals(&[20, 6], &[0.25; 120]));
    place.write("zeros.idx", idx(&[5, 6], &[0; 30]));
    for name in ["one.npy", "alike.npy", "zeros.idx"] {
        place.succeed(&["train", "tiny.toml", "--data", name]);
        place.succeed(&["eval", "tiny.narrows", name]);
    }
}

#[test]
fn pairs_are_as_many_inputs_as_targets_and_only_targets_must_be_within_range() {
    let recipe = with_data("validation_split = 0.2\n");
    let recipe = Recipe::parse(&recipe, "tiny.toml").unwrap();
    let plan = recipe.plan().unwrap();
    let place = Workplace::new();
    let wide: Vec<f32> = ramp(60).iter().map(|x| 3.0 * x - 1.0).collect();
    place.write("noisy.npy", reals(&[10, 6], &wide));
    place.write("clean.npy", reals(&[10, 6], &ramp(60)));
    place.write("fewer.npy", reals(&[9, 6], &ramp(54)));
    place.write("shape.npy", reals(&[10, 7], &ramp(70)));
    place.write("odd.npy", reals(&[10, 6], &[f32::NAN; 60]));
    let pair = |inputs: &str, targets: &str| {
        let load = |name| data::load(&place.path(name), &Reading::of_plan(&plan)).unwrap();
        load(inputs).training_pairs(load(targets), &plan, [inputs, targets])
    };
    let data = pair("noisy.npy", "clean.npy").unwrap();
    assert_eq!(data.train.to_vec().unwrap(), wide[..48]);
    assert_eq!(data.targets.unwrap().to_vec().unwrap(), ramp(60)[..48]);
    assert_eq!(data.validation.unwrap().to_vec().unwrap(), wide[48..]);
    assert_eq!(
        data.validation_targets.unwrap().to_vec().unwrap(),
        ramp(60)[48..]
    );
    for (inputs, targets, facts) in [
        (
            "noisy.npy",
            "fewer.npy",
            [
                "fewer.npy",
                "a target for each of noisy.npy: 8 samples",
                "8 samples to train on and 1 to",
            ],
        ),
        (
            "noisy.npy",
            "shape.npy",
            ["shape.npy", "samples of [6]", "samples of [7] came"],
        ),
        (
            "clean.npy",
            "noisy.npy",
            ["noisy.npy, element [0, 0]", "from 0 to 1", "-1 came"],
        ),
        (
            "odd.npy",
            "clean.npy",
            ["odd.npy, element [0, 0]", "a finite number", "NaN came"],
        ),
    ] {
        let problem = pair(inputs, targets).unwrap_err().to_string();
        for fact in facts {
            assert!(problem.contains(fact), "expected {fact:?} in {problem:?}");
        }
    }
}
