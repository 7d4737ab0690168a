//! Training on a device, as the emulation of one does it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use std::fs;
use std::process::Command;

use serde_json::Value;

/// A folder with a text in it.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        fs::write(desk.0.path().join("text.txt"), "to be or not to be; ".repeat(400)).unwrap();
        desk
    }

    /// Runs a command in it, and returns what it printed.
    fn run(&self, arguments: &str, code: i32) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pactum"));
        let output = command.args(arguments.split(' ')).arg("--quiet").current_dir(self.0.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments}\n{said}");
        said
    }

    fn losses(&self, dir: &str) -> Vec<f64> {
        let report: Value =
            serde_json::from_slice(&fs::read(self.0.path().join(dir).join("train.json")).unwrap()).unwrap();
        report["points"].as_array().unwrap().iter().map(|point| point["heldout_loss"].as_f64().unwrap()).collect()
    }

    fn state(&self, dir: &str) -> Vec<u8> {
        fs::read(self.0.path().join(dir).join("state.snapshot")).unwrap()
    }
}

const TRAIN: &str = "train --preset micro --data text.txt --threads 1 --heldout 2";

#[test]
fn a_device_trains_as_the_processor_does_and_goes_on_with_the_same_bits() {
    let desk = Desk::new();
    desk.run(&format!("{TRAIN} --windows 2 --dir here"), 0);
    let there = format!("{TRAIN} --device emulation --precision f32");
    desk.run(&format!("{there} --windows 1 --dir parts"), 0);
    desk.run(&format!("{there} --windows 2 --dir parts"), 0);
    desk.run(&format!("{there} --windows 2 --dir whole"), 0);
    assert!(desk.state("parts") == desk.state("whole"));
    for (here, there) in desk.losses("here").iter().zip(desk.losses("whole")) {
        assert!((here - there).abs() < 1e-3 * here, "{here} {there}");
    }
    // What a device began, the processor ends, and the other way round.
    desk.run(&format!("{TRAIN} --windows 3 --dir whole"), 0);
    desk.run(&format!("{TRAIN} --windows 3 --dir here --device emulation"), 0);
    let [first, second] = ["whole", "here"].map(|dir| desk.losses(dir)[2]);
    assert!((first - second).abs() < 2e-2 * first, "{first} {second}");
}

#[test]
fn the_memory_of_a_device_is_planned() {
    let desk = Desk::new();
    let table = desk.run("model plan 1b --batch 8 --device cuda", 0);
    assert!(table.contains("memory of a device that trains 8 sequences"), "{table}");
    let table = desk.run("model plan mini --batch 4 --device cuda --memory 80GB", 0);
    assert_eq!(table.matches("  fits; at most ").count(), 4, "{table}");
    let table = desk.run("model plan 8b --device cuda --memory 16GB", 1);
    assert_eq!(table.matches("  does not fit; at most none").count(), 4, "{table}");
    assert!(table.contains("nothing fits: choose a smaller model"), "{table}");
}
