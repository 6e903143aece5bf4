//! Paths that cannot be written, and disks that are full.

use crate::workplace::Workplace;

#[test]
fn a_path_that_cannot_be_written_is_refused_and_leaves_nothing() {
    let place = Workplace::trained();
    place.write("file", "no folder");
    let train = ["train", "tiny.toml", "--data", "samples.npy", "--out"];
    place.refuse(
        &[&train[..], &["file"]].concat(),
        &["file: cannot make the folder"],
    );
    place.refuse(
        &[&train[..], &["file/deeper"]].concat(),
        &["file/deeper: cannot make the folder"],
    );
    let run = ["run", "out/tiny.narrows", "samples.npy"];
    place.refuse(
        &[&run[..], &["nowhere/answers.npy"]].concat(),
        &["nowhere/answers.npy: cannot write"],
    );
    place.refuse(
        &[&run[..], &["out"]].concat(),
        &["out: cannot write", "directory"],
    );
    std::fs::create_dir_all(place.path("taken/tiny.checkpoint")).unwrap();
    place.refuse(
        &[&train[..], &["taken"]].concat(),
        &["taken/tiny.checkpoint: cannot write", "directory"],
    );
}

#[cfg(target_os = "linux")]
mod full {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};

    use crate::workplace::{Workplace, ramp, reals, refused};

    const FULL: &str = "No space left on device";

    #[test]
    fn a_device_that_is_full_is_an_error() {
        let place = Workplace::trained();
        place.refuse(
            &["run", "out/tiny.narrows", "samples.npy", "/dev/full"],
            &["/dev/full: cannot write", FULL],
        );
        fs::create_dir(place.path("full")).unwrap();
        symlink("/dev/full", place.path("full/tiny.checkpoint")).unwrap();
        let train = [
            "train",
            "tiny.toml",
            "--data",
            "samples.npy",
            "--out",
            "full",
        ];
        place.refuse(&train, &["full/tiny.checkpoint: cannot write", FULL]);
        for arguments in [
            &["inspect", "out/tiny.narrows"][..],
            &["preset"],
            &["train", "tiny.toml", "--data", "samples.npy"],
        ] {
            let mut command = place.command(arguments);
            let full = fs::File::create("/dev/full").unwrap();
            refused(
                &command
                    .stdout(full)
                    .stderr(Stdio::piped())
                    .output()
                    .unwrap(),
                &["standard output: cannot write", FULL],
            );
        }
    }

    /// The system writes a first part of the file and refuses the rest, which needs neither a full disk nor privileges.
    #[test]
    fn a_file_that_cannot_be_written_to_its_end_is_an_error_and_keeps_what_was_there() {
        let place = Workplace::trained();
        let run = ["run", "out/tiny.narrows", "samples.npy", "out/answers.npy"];
        place.succeed(&run);
        // Answers of 2,400 bytes, of which two blocks fit.
        place.write("more.npy", reals(&[100, 6], &ramp(600)));
        // Where the signal is not ignored, it kills.
        let script = r#"trap '' XFSZ; ulimit -f "$0"; exec "$@""#;
        let train = |out| ["train", "tiny.toml", "--data", "samples.npy", "--out", out];
        for (blocks, arguments, file) in [
            (1, &train("out")[..], "out/tiny.checkpoint"),
            (1, &train("new"), "new/tiny.checkpoint"),
            (2, &["run", run[1], "more.npy", run[3]], run[3]),
            (2, &["run", run[1], "more.npy", "new.npy"], "new.npy"),
            (0, &run, run[3]),
        ] {
            let before = place.files();
            let mut command = Command::new("sh");
            command
                .args(["-c", script, &blocks.to_string()])
                .arg(env!("CARGO_BIN_EXE_narrows"))
                .args(arguments)
                .current_dir(place.path(""));
            let fact = format!("{file}: cannot write");
            refused(&command.output().unwrap(), &[&fact, "File too large"]);
            // The folder of --out is made before anything is trained.
            let _ = fs::remove_dir(place.path("new"));
            assert!(before == place.files(), "{arguments:?} changed a file");
        }
        place.succeed(&["run", run[1], "more.npy", run[3]]);
        assert!(place.read("out/answers.npy").len() > 2400);
    }
}
