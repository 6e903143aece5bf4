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
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use crate::workplace::{TINY, Workplace, ramp, reals, refused};

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

    /// A file system of a few pages, taken away when the test is over.
    struct Disk(PathBuf);

    impl Disk {
        /// None where the system does not let us; `/dev/full` above has then to do.
        fn mount(path: &Path, pages: usize) -> Option<Self> {
            fs::create_dir(path).unwrap();
            let size = format!("size={}", pages * 4096);
            let mut mount = Command::new("mount");
            mount
                .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
                .arg(path)
                .stderr(Stdio::null());
            mount
                .status()
                .is_ok_and(|status| status.success())
                .then(|| Self(path.into()))
        }

        fn fill(&self) {
            let cause = fs::write(self.0.join("filler"), vec![0; 1 << 20]).unwrap_err();
            assert_eq!(cause.kind(), std::io::ErrorKind::StorageFull);
        }
    }

    impl Drop for Disk {
        fn drop(&mut self) {
            let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
            assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
        }
    }

    #[test]
    fn a_full_disk_is_an_error_and_keeps_what_was_there() {
        let place = Workplace::new();
        place.write("tiny.toml", TINY);
        place.write("samples.npy", reals(&[10, 6], &ramp(60)));
        let Some(disk) = Disk::mount(&place.path("disk"), 8) else {
            assert!(
                Path::new("/dev/full").exists(),
                "neither a file system can be mounted nor is /dev/full there"
            );
            return;
        };
        let train = [
            "train",
            "tiny.toml",
            "--data",
            "samples.npy",
            "--out",
            "disk",
        ];
        place.succeed(&train);
        place.succeed(&[
            "run",
            "disk/tiny.narrows",
            "samples.npy",
            "disk/answers.npy",
        ]);
        disk.fill();
        place.refuse(&train, &["disk/tiny.checkpoint: cannot write", FULL]);
        let run = [
            "run",
            "disk/tiny.narrows",
            "samples.npy",
            "disk/answers.npy",
        ];
        place.refuse(&run, &["disk/answers.npy: cannot write", FULL]);
        place.refuse(
            &[&run[..3], &["disk/new.npy"]].concat(),
            &["disk/new.npy: cannot write", FULL],
        );
    }
}
