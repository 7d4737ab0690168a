//! Training on a device, as the emulation of one does it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A folder with a text in it.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        fs::write(desk.0.path().join("text.txt"), "to be or not to be; ".repeat(400)).unwrap();
        desk
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pactum"));
        command.args(arguments.split(' ')).arg("--quiet").current_dir(self.0.path());
        command
    }

    fn start(&self, arguments: &str) -> Running {
        Running::start(&mut self.command(arguments))
    }

    /// Runs a command in it, and returns what it printed.
    fn run(&self, arguments: &str, code: i32) -> String {
        let output = self.command(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments}\n{said}");
        said
    }

    fn json(&self, file: &str) -> Value {
        serde_json::from_slice(&fs::read(self.0.path().join(file)).unwrap()).unwrap()
    }

    fn losses(&self, dir: &str) -> Vec<f64> {
        let report = self.json(&format!("{dir}/train.json"));
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

/// How many payloads of a node were accepted.
fn accepted(report: &Value, name: &str) -> usize {
    let node = report["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap();
    let submissions = report["submissions"].as_array().unwrap().iter();
    submissions.filter(|one| one["uid"] == node["uid"] && one["status"] == "accepted").count()
}

#[test]
fn a_network_agrees_wherever_its_miners_train() {
    let desk = Desk::new();
    // Who cheats trains on the processor: payloads of both kinds stand in one manifest.
    let net = "localnet --preset micro --data text.txt --miners 1 --validators 1 --cheaters lazy --dir net";
    let net = format!("{net} --report net.json");
    let run = |more: &str| {
        desk.run(&format!("{net} {more}"), 0);
        let report = desk.json("net.json");
        assert_eq!((&report["agreed"], &report["done"]), (&Value::from(true), &Value::from(true)), "{report:#}");
        report
    };
    let first = run("--windows 3 --device emulation");
    assert_eq!((&first["settings"]["device"], &first["settings"]["precision"]), (&"emulation".into(), &"bf16".into()));
    let by_device = ["miner-1", "cheat-lazy", "validator-1"].map(|name| {
        let folder = desk.0.path().join("net/nodes").join(name);
        assert!(folder.exists());
        folder.join("emulation").exists()
    });
    assert_eq!(by_device, [true, false, false]);
    for name in ["miner-1", "cheat-lazy"] {
        assert!(accepted(&first, name) > 0, "{name}: {first:#}");
    }
    // The processor goes on with what the device kept, and a device with that.
    let second = run("--windows 4");
    assert_eq!(second["settings"]["device"], "cpu");
    let third = run("--windows 6 --device emulation --precision f32");
    assert!(accepted(&third, "miner-1") > accepted(&second, "miner-1"), "{third:#}");
    a_validator_judges_there(&desk, third["heldout_loss"][5].as_f64().unwrap());
}

/// Goes on with the network by hand: the loss that the processor measured last is measured again, and a payload is judged.
fn a_validator_judges_there(desk: &Desk, heldout: f64) {
    let mut chain = desk.start("chain --dir net/chain --listen 127.0.0.1:0 --child");
    let url = chain.next();
    let node = format!("--data net/data --threads 1 --events --child --chain {url}");
    let _miner = desk.start(&format!("miner --dir net/nodes/miner-1 {node}"));
    let refused = desk.run("validator --device emulation --precision bf16", 2);
    assert!(refused.contains("a validator judges in f32"), "{refused}");
    let mut validator = desk.start(&format!("validator --dir net/nodes/validator-1 --device emulation {node}"));
    let told = |event: &Value| event["phase"].as_str().is_some_and(|phase| phase.contains("attention by own kernels"));
    validator.event(told);
    let recovered = validator.event(|event| event["outcome"] == "recovered");
    let again = recovered["heldout_loss"].as_f64().unwrap();
    assert!((again - heldout).abs() < 1e-4, "{again} {heldout}");
    let scores = |event: &Value| -> Vec<f64> {
        event["submissions"].as_array().into_iter().flatten().filter_map(|one| one["loss_score"].as_f64()).collect()
    };
    let window = validator.event(|event| !scores(event).is_empty());
    assert!(scores(&window).iter().all(|score| *score > 0.0), "{window}");
}

/// A command that goes on until its standard input ends, with this.
struct Running {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    fn next(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn event(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = serde_json::from_str(&self.next()).unwrap();
            if wanted(&event) {
                return event;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

/// In a terminal Ctrl-C reaches every process of the command.
#[cfg(unix)]
#[test]
fn whoever_is_interrupted_on_a_device_ends_in_order() {
    use std::os::unix::process::CommandExt;
    let desk = Desk::new();
    let mut command = desk.command(&format!("{TRAIN} --windows 1000 --dir run --device emulation"));
    let mut process = Running::start(command.process_group(0));
    let first = process.next();
    assert!(first.contains("held-out loss"), "{first}");
    let group = format!("-{}", process.process.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    while process.lines.next().is_some() {}
    assert_eq!(process.process.wait().unwrap().code(), Some(0));
    desk.run(&format!("{TRAIN} --windows 1 --dir run"), 0);
}
