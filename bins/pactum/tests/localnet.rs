//! Whole networks of processes, as a user starts them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A network in a folder of its own, with a text that a small model can learn something from.
struct Net {
    folder: tempfile::TempDir,
}

impl Net {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let words = ["the ", "miner ", "trains ", "a ", "model ", "and ", "validators ", "judge ", "it.\n"];
        let text: String = (0..40_000_usize).map(|at| words[at * at % 31 % words.len()]).collect();
        fs::write(folder.path().join("text.txt"), text).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pactum"));
        command.args(["localnet", "--preset", "micro", "--data"]).arg(self.path("text.txt"));
        command.arg("--dir").arg(self.path("net")).arg("--report").arg(self.path("report.json")).args(more);
        command
    }

    fn run(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    /// Runs, and does `mischief` whenever some node tells of a window it ended.
    fn run_with(&self, more: &[&str], mischief: impl Fn(&Path, u64)) -> Output {
        let mut child = self.command(more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut done = Vec::new();
        let mut said = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            // The headline says "window 3 of 8, training".
            let window = line.strip_prefix("window ").and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
            if let Some(window) = window.filter(|window| line.contains("training") && !done.contains(window)) {
                done.push(window);
                mischief(&self.path("net"), window);
            }
            said += &line;
            said.push('\n');
        }
        let mut output = child.wait_with_output().unwrap();
        output.stderr = said.into_bytes();
        output
    }

    /// What a node told of its windows.
    fn windows_of(&self, name: &str) -> Vec<Value> {
        let events = fs::read_to_string(self.path("net/events.ndjson")).unwrap();
        let lines = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let events = lines.filter(|line| line["node"] == name).map(|line| line["event"].clone());
        events.filter(|event| event["event"] == "window").collect()
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("report.json")).unwrap()).unwrap()
    }
}

fn assert_well(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
}

fn kill(net: &Path, name: &str) {
    let pid = fs::read_to_string(net.join("pids").join(name)).unwrap();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
}

/// Every process of the network wrote its id; none of them may be alive.
fn assert_nobody_left(net: &Path) {
    let pids = fs::read_dir(net.join("pids")).unwrap();
    for pid in pids.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()) {
        let alive = Command::new("kill").args(["-0", &pid]).stderr(Stdio::null()).status().unwrap().success();
        assert!(!alive, "process {pid} was left behind");
    }
}

fn digests(report: &Value) -> Vec<&str> {
    report["nodes"].as_array().unwrap().iter().map(|node| node["state_digest"].as_str().unwrap()).collect()
}

fn assert_agreed(report: &Value, nodes: usize) {
    assert_eq!((&report["agreed"], &report["done"]), (&Value::Bool(true), &Value::Bool(true)), "{report:#}");
    let digests = digests(report);
    assert_eq!(digests.len(), nodes);
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[test]
fn strangers_agree_learn_and_go_on_where_they_stopped() {
    let net = Net::new();
    // Variables that are set for a node of one's own mean nothing to a network.
    let mut command = net.command(&["--miners", "2", "--validators", "1", "--windows", "3"]);
    command.env("PACTUM_WALLET", net.path("wallet.json")).env("PACTUM_CONFIG", net.path("nowhere.toml"));
    assert_well(&command.env("PACTUM_ADVERTISE", "192.0.2.1:7").output().unwrap());
    let report = net.report();
    assert_agreed(&report, 3);
    assert_nobody_left(&net.path("net"));
    assert!(!net.path("wallet.json").exists());
    let before = digests(&report)[0].to_owned();

    // The miners go on with moments and error feedback on disk, in a file that has no name once they hold it.
    let scratch = ["miner-1", "miner-2", "validator-1"].map(|name| net.path("net/nodes").join(name).join("scratch"));
    for file in &scratch {
        fs::write(file, "what an earlier start left").unwrap();
    }
    assert_well(&net.run(&["--miners", "2", "--validators", "1", "--windows", "6", "--offload"]));
    assert_eq!(scratch.map(|file| file.exists()), [false, false, true]);
    let report = net.report();
    assert_agreed(&report, 3);
    assert_eq!(report["settings"]["offload"], true);
    assert_ne!(digests(&report)[0], before);
    let losses: Vec<f64> =
        report["heldout_loss"].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()).collect();
    assert_eq!(losses.len(), 6);
    assert!(losses[5] < losses[0], "{losses:?}");
    assert!(report["compression_ratio"].as_f64().unwrap() > 20.0);
    let submissions = report["submissions"].as_array().unwrap();
    assert!(submissions.len() >= 6);
    let offloading = |one: &Value| one["window"].as_u64() >= Some(3) && one["status"] == "accepted";
    assert!(submissions.iter().any(offloading), "{report:#}");
    assert_nobody_left(&net.path("net"));

    // There is nothing left to do, and everything to tell; what a power cut left in the log is passed over.
    let mut log = fs::File::options().append(true).open(net.path("net/events.ndjson")).unwrap();
    log.write_all(b"\xff\xfe{\"node\": \"miner-1\", \"ev").unwrap();
    assert_well(&net.run(&["--miners", "2", "--validators", "1", "--windows", "6", "--offload"]));
    let again = net.report();
    assert_agreed(&again, 3);
    for field in ["heldout_loss", "submissions", "settings"] {
        assert_eq!(again[field], report[field], "{field}");
    }
    assert_eq!(again["emission"].as_object().unwrap().len(), 3, "{again:#}");
}

#[test]
fn whoever_is_killed_comes_back_and_agrees() {
    let net = Net::new();
    let output = net.run_with(&["--miners", "2", "--validators", "3", "--windows", "8"], |net, window| match window {
        2 => kill(net, "miner-1"),
        4 => kill(net, "validator-1"),
        6 => kill(net, "chain"),
        _ => {}
    });
    assert_well(&output);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for name in ["miner-1", "validator-1", "chain"] {
        assert!(said.contains(&format!("{name} ended (signal: 9 (SIGKILL)); starting it again")), "{said}");
    }
    let report = net.report();
    assert_agreed(&report, 5);
    assert_remembers(&net.windows_of("miner-1"));
    assert_nobody_left(&net.path("net"));
}

/// The optimizer's moments and the error feedback of a killed miner are those of the window it stood at.
fn assert_remembers(windows: &[Value]) {
    let at = windows.iter().position(|event| event["outcome"] == "recovered").unwrap();
    let (recovered, last) = (&windows[at], &windows[at - 1]);
    let steps = |event: &Value| event["memory"]["inner_steps"].as_u64().unwrap();
    assert!(recovered["memory"]["feedback_norm"].as_f64().unwrap() > 0.0, "{recovered}");
    let window = |event: &Value| event["window"].as_u64().unwrap();
    if window(recovered) == window(last) {
        assert_eq!(recovered["memory"], last["memory"]);
    } else if window(recovered) + 1 == window(last) {
        // Its last commit was not durable yet: what was prepared before it makes the same again.
        let again = &windows[at + 1];
        assert_eq!((&again["window"], &again["replayed"]), (&last["window"], &Value::from(true)), "{again}");
        assert_eq!((&again["memory"], &again["state"]), (&last["memory"], &last["state"]), "{again}");
    } else {
        // It was killed between a commit and telling of it.
        assert!(steps(recovered) > steps(last), "{last} {recovered}");
    }
    let after = windows.last().unwrap();
    assert!(steps(after) > steps(recovered), "{recovered} {after}");
}

#[test]
fn a_late_miner_joins_from_a_checkpoint_and_contributes() {
    let net = Net::new();
    assert_well(&net.run(&["--miners", "2", "--validators", "1", "--windows", "26", "--late-miner"]));
    let report = net.report();
    assert_agreed(&report, 4);
    let nodes = report["nodes"].as_array().unwrap();
    let late = nodes.iter().find(|node| node["name"] == "miner-late").unwrap();
    // It did not live through the first windows, and did not have to replay them.
    assert!(late["windows_applied"].as_u64().unwrap() < 22, "{late}");
    let windows = net.windows_of("miner-late");
    let joined = windows.iter().find(|event| event["outcome"] == "joined").unwrap();
    let lived = net.windows_of("validator-1").into_iter().find(|event| event["window"] == joined["window"]).unwrap();
    assert_eq!(joined["state"], lived["state"]);
    let first = &windows[windows.iter().position(|event| event == joined).unwrap() + 1];
    assert_eq!(first["window"].as_u64(), joined["window"].as_u64().map(|window| window + 1), "{first}");
    let uid = late["uid"].as_u64().unwrap();
    let accepted = |one: &&Value| one["uid"] == uid && one["status"] == "accepted";
    assert!(report["submissions"].as_array().unwrap().iter().any(|one| accepted(&one)), "{report:#}");

    // Started again, the late miner is one of those that were there before.
    assert_well(&net.run(&["--miners", "2", "--validators", "1", "--windows", "28", "--late-miner"]));
    assert_agreed(&net.report(), 4);
}

#[test]
fn a_miner_that_cannot_start_is_left_out_and_the_report_stands() {
    let net = Net::new();
    fs::create_dir_all(net.path("net/nodes")).unwrap();
    fs::write(net.path("net/nodes/miner-2"), "a file where its folder should be").unwrap();
    let output = net.run(&["--miners", "2", "--validators", "1", "--windows", "6"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("miner-2 did not reach window 6"), "{error}");
    let report = net.report();
    assert_eq!((&report["agreed"], &report["done"]), (&Value::Bool(false), &Value::Bool(false)), "{report:#}");
    assert!(report["heldout_loss"][5].is_number(), "{report:#}");
    assert_nobody_left(&net.path("net"));
}

#[test]
fn a_malformed_payload_costs_its_sender_alone_the_window() {
    let net = Net::new();
    let cheats = ["--miners", "2", "--validators", "1", "--windows", "6", "--cheaters", "malformed"];
    assert_well(&net.run(&cheats));
    let report = net.report();
    assert_agreed(&report, 4);
    let nodes = report["nodes"].as_array().unwrap();
    let cheat = nodes.iter().find(|node| node["cheat"] == "malformed").unwrap()["uid"].as_u64().unwrap();
    let submissions = report["submissions"].as_array().unwrap();
    let (bad, good): (Vec<_>, Vec<_>) = submissions.iter().partition(|one| one["uid"] == cheat);
    assert!(bad.len() >= 3, "{report:#}");
    for one in bad {
        assert_eq!(one["status"], "refused", "{one}");
        let reason = one["reason"].as_str().unwrap();
        assert!(reason.contains("malformed") || reason.contains("too large"), "{one}");
    }
    assert!(good.iter().all(|one| one["status"] == "accepted"), "{report:#}");
}

#[test]
fn a_header_that_does_not_hold_costs_its_sender_alone_the_window() {
    let net = Net::new();
    assert_well(&net.run(&["--miners", "2", "--validators", "1", "--windows", "8", "--cheaters", "forged"]));
    let report = net.report();
    assert_agreed(&report, 4);
    let nodes = report["nodes"].as_array().unwrap();
    let cheat = nodes.iter().find(|node| node["cheat"] == "forged").unwrap()["uid"].as_u64().unwrap();
    let submissions = report["submissions"].as_array().unwrap();
    let (forged, good): (Vec<_>, Vec<_>) = submissions.iter().partition(|one| one["uid"] == cheat);
    assert!(good.iter().all(|one| one["status"] == "accepted"), "{report:#}");
    for why in ["signature is false", "header is of another window", "nobody served the payload"] {
        let told = |one: &&&Value| one["status"] == "refused" && one["reason"].as_str().unwrap().contains(why);
        assert!(forged.iter().any(|one| told(&one)), "{why}: {forged:#?}");
    }
}

/// The weight that each node had when it was last judged, by name; 0 for one that never was.
fn weights(report: &Value) -> Vec<(String, bool, f64)> {
    let nodes = report["nodes"].as_array().unwrap().iter().filter(|node| node["role"] == "miner");
    let last = |uid: &Value| {
        let submissions = report["submissions"].as_array().unwrap();
        let judged = submissions.iter().rev().find(|one| one["uid"] == *uid);
        judged.map_or(0.0, |judged| judged["weight"].as_f64().unwrap())
    };
    nodes.map(|node| (node["name"].as_str().unwrap().to_owned(), node["cheat"].is_null(), last(&node["uid"]))).collect()
}

#[test]
fn whoever_does_no_honest_work_ends_below_a_tenth_of_an_honest_weight() {
    let net = Net::new();
    let cheats = ["--miners", "3", "--validators", "1", "--windows", "16", "--cheaters", "lazy,copy,random,lazy"];
    assert_well(&net.run(&cheats));
    let report = net.report();
    assert_agreed(&report, 7);
    let (honest, cheats): (Vec<_>, Vec<_>) = weights(&report).into_iter().partition(|(_, honest, _)| *honest);
    assert_eq!((honest.len(), cheats.len()), (3, 3), "{honest:?} {cheats:?}");
    let mean = honest.iter().map(|(_, _, weight)| weight).sum::<f64>() / 3.0;
    assert!(cheats.iter().all(|(_, _, weight)| *weight < mean / 10.0), "{honest:?} {cheats:?}");
    assert!(mean > 0.2, "{honest:?} {cheats:?}");
}

#[test]
fn ctrl_c_stops_every_process_and_the_run_can_be_continued() {
    let net = Net::new();
    let arguments = ["--miners", "2", "--validators", "1", "--windows", "500"];
    let mut child = net.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut asked = false;
    for line in lines.map_while(Result::ok) {
        if !asked && line.starts_with("window 3 of") {
            assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
            asked = true;
        }
    }
    assert!(child.wait().unwrap().success());
    assert_nobody_left(&net.path("net"));
    let report = net.report();
    assert_eq!((&report["agreed"], &report["done"]), (&Value::Bool(true), &Value::Bool(false)), "{report:#}");
    let more = ["--miners", "2", "--validators", "1", "--windows", "5"];
    assert_well(&net.run(&more));
    assert_agreed(&net.report(), 3);
}
