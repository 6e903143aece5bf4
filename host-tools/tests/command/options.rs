//! The command line itself.

use crate::workplace::Workplace;

#[test]
fn numbers_that_must_be_at_least_one_are() {
    let place = Workplace::trained();
    let train = [
        "train",
        "tiny.toml",
        "--data",
        "samples.npy",
        "--out",
        "out",
    ];
    for (option, value) in [
        ("--threads", "0"),
        ("--threads", "100000"),
        ("--threads", "two"),
        ("--batch", "0"),
        ("--batch", "-4"),
        ("--epochs", "0"),
        ("--epochs", "4294967296"),
        ("--seed", "-1"),
    ] {
        let option = format!("{option}={value}");
        let facts = [option.split_once('=').unwrap().0, value];
        place.refuse(&[&train[..], &[&option]].concat(), &facts);
    }
    place.refuse(
        &[
            "run",
            "out/tiny.narrows",
            "samples.npy",
            "answers.npy",
            "--threads=0",
        ],
        &["--threads", "'0'"],
    );
    place.refuse(
        &["eval", "out/tiny.narrows", "samples.npy", "--step=0"],
        &["--step", "'0'", "from 1"],
    );
}

#[test]
fn a_command_line_that_is_not_understood_is_refused_in_one_line() {
    let place = Workplace::new();
    place.refuse(&["trian"], &["'trian'", "'train'"]);
    place.refuse(&["train"], &["PRESET|RECIPE.toml"]);
    place.refuse(
        &["train", "vanilla", "--epoch", "3"],
        &["'--epoch'", "'--epochs'"],
    );
    place.refuse(&["run", "model.narrows"], &["IN.npy", "OUT.npy"]);
}

#[test]
fn every_subcommand_has_help_with_an_example() {
    let place = Workplace::new();
    let help = place.succeed(&["--help"]);
    for name in [
        "train", "eval", "run", "encode", "decode", "denoise", "inspect", "preset", "demo", "bench",
    ] {
        assert!(help.contains(&format!("\n  {name} ")), "{name} is listed");
        let help = place.succeed(&[name, "--help"]);
        let (_, examples) = help
            .split_once("Example")
            .unwrap_or_else(|| panic!("{name}: no example"));
        assert!(
            examples.contains(&format!("  narrows {name} ")) || name == "preset",
            "{name}: {examples}"
        );
        assert!(help.contains("--json"), "{name}");
    }
    let nothing = place.command(&[]).output().unwrap();
    assert_eq!(nothing.status.code(), Some(2));
    assert!(
        String::from_utf8(nothing.stderr)
            .unwrap()
            .contains("Usage: narrows")
    );
}

#[test]
fn a_demonstration_without_a_firmware_is_refused_before_anything_is_trained() {
    let place = Workplace::new();
    place.refuse(&["demo"], &["--firmware <ELF>"]);
    let demo = ["demo", "--out", "out", "--firmware", "firmware.elf"];
    place.refuse(&demo, &["firmware.elf: cannot read", "No such file"]);
    place.write("firmware.elf", "This is not a firmware.\n".repeat(20));
    place.refuse(
        &demo,
        &[
            "firmware.elf: expected the ELF file of a 32-bit firmware",
            "but",
        ],
    );
}

#[test]
fn completions_are_printed_for_the_shells_that_are_known() {
    let place = Workplace::new();
    let script = place.succeed(&["completions", "bash"]);
    assert!(script.starts_with("_narrows() {"), "{script}");
    let line: serde_json::Value =
        serde_json::from_str(&place.succeed(&["completions", "bash", "--json"])).unwrap();
    assert_eq!(line["shell"], "bash");
    assert_eq!(
        line["script"].as_str().unwrap().trim_end(),
        script.trim_end()
    );
    place.refuse(
        &["completions", "tcsh"],
        &["'tcsh'", "bash", "elvish", "fish", "powershell", "zsh"],
    );
    place.refuse(&["completions"], &["<SHELL>"]);
}
