//! Single commands, as a user gives them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use serde_json::{Value, json};

/// A folder with a text in it.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.write("some.txt", "some text that is long enough to be cut. ".repeat(200));
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// A command in this folder, so that its arguments can be relative.
    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pactum"));
        command.args(arguments.split(' ')).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn does(&self, arguments: &str) {
        self.check(arguments, 0, "");
    }

    fn check(&self, arguments: &str, code: i32, says: &str) {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }
}

/// A chain that runs, and the pipe by which it ends with this test.
struct Chain {
    process: Child,
    url: String,
    leash: Option<ChildStdin>,
}

impl Chain {
    fn start(desk: &Desk, arguments: &str) -> Self {
        let mut command = desk.command(arguments);
        command.args(["--child", "--listen", "127.0.0.1:0"]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let leash = process.stdin.take();
        Self { process, url: url.trim().to_owned(), leash }
    }

    fn close(mut self) {
        drop(self.leash.take());
        assert!(self.process.wait().unwrap().success());
    }
}

#[test]
fn bad_input_gets_one_sentence_and_its_exit_code() {
    let desk = Desk::new();
    desk.write("empty.txt", "");
    desk.write("miner.toml", "thread = 3\n");
    desk.check("localnet --data nowhere --dir a", 1, "nowhere");
    desk.check("localnet --data empty.txt --dir b", 1, "empty");
    desk.check("localnet --data some.txt --preset huge --dir c", 1, "choose one of");
    desk.check("localnet --data some.txt --preset 1b --miners 64 --dir c", 1, " of memory and ");
    desk.check("localnet --data some.txt --report no/such/folder.json", 1, "cannot write the report no/such");
    desk.check("localnet --windows none", 2, "invalid value");
    desk.check("train --data some.txt --report no/such/folder.json", 1, "cannot write the report no/such");
    desk.check("train --data some.txt --preset micro --precision bf16", 2, "the processor trains in f32");
    desk.check("localnet --data some.txt --precision bf16 --dir c", 2, "the processor trains in f32");
    for role in ["miner", "validator"] {
        desk.check(&format!("{role} --precision bf16"), 2, "the processor trains in f32");
    }
    if cfg!(not(feature = "cuda")) {
        for command in ["localnet --data some.txt --dir c", "miner", "validator"] {
            desk.check(&format!("{command} --device cuda"), 2, "this program was built for the processor alone");
        }
        desk.check("train --data some.txt --device cuda", 2, "this program was built for the processor alone");
        desk.check("model plan mini --device cuda", 2, "cargo build --release -p pactum --features cuda");
    }
    desk.check("miner --config miner.toml", 1, "thread");
    desk.check("chain --dir d", 2, "--data");
    desk.check("wallet show --file nobody.json", 1, "nobody.json");
    desk.check("data show nothing", 1, "nothing");
    desk.check("data prepare --out e nowhere", 1, "nowhere: No such file or directory (os error 2); name an existing");
    desk.check("simulate nonsense", 2, "lists them");
    desk.check("nonsense", 2, "unrecognized subcommand");
}

#[test]
fn text_beyond_the_bound_is_not_left_out_silently() {
    let desk = Desk::new();
    let said = |arguments: &str| String::from_utf8(desk.run(arguments).stdout).unwrap();
    assert!(said("data prepare --out a --bytes-max 5000 some.txt").contains("only the first 5000 bytes"));
    assert!(!said("data prepare --out a some.txt").contains("only the first"));
}

#[test]
fn a_chain_is_not_started_with_other_settings_than_its_own() {
    let desk = Desk::new();
    desk.does("data prepare --out data some.txt");
    let start = |arguments: &str| Chain::start(&desk, arguments).close();
    start("chain --dir ch --data data --preset micro");
    start("chain --dir ch --data data --preset micro");
    start("chain --dir ch");
    desk.check("chain --dir ch --data data --preset tiny --listen 127.0.0.1:0", 1, "other rules");
    desk.check("chain --dir ch --data nowhere --preset micro", 1, "nowhere");
    desk.check("chain --dir ch --preset nonsense", 1, "choose one of");
    desk.check("chain --dir ch --preset micro", 2, "--data");

    desk.write("words.json", tokenizer(300).to_string());
    desk.does("data prepare --out words --tokenizer words.json some.txt");
    desk.check("chain --dir new --data words --preset micro", 1, "larger model.vocab");
    assert!(!desk.path("new").exists());
}

/// A tokenizer of whole words, most of which no text has.
fn tokenizer(words: usize) -> Value {
    let known = ["some", "text", "that", "is", "long", "enough", "to", "be", "cut", "."];
    let all = known.iter().map(ToString::to_string).chain((known.len()..words - 2).map(|n| format!("word-{n}")));
    let all = ["<unk>", "<|endoftext|>"].map(str::to_owned).into_iter().chain(all);
    let vocab: serde_json::Map<String, Value> = all.enumerate().map(|(id, word)| (word, json!(id))).collect();
    let special = |id: usize, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [special(0, "<unk>"), special(1, "<|endoftext|>")],
        "pre_tokenizer": {"type": "Whitespace"}, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
    })
}

#[test]
fn a_port_in_use_ends_a_chain_and_a_node_with_one_sentence() {
    let desk = Desk::new();
    desk.does("data prepare --out data some.txt");
    let chain = Chain::start(&desk, "chain --dir ch --data data --preset micro");
    let taken = chain.url.trim_start_matches("ws://");
    desk.check(&format!("chain --dir other --data data --preset micro --listen {taken}"), 1, "is in use");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let node = format!("--chain {} --data data --listen {}", chain.url, socket.local_addr().unwrap());
    for role in ["miner", "validator"] {
        desk.check(&format!("{role} --dir {role} {node}"), 1, "in use (os error 98); choose another");
    }
    chain.close();
}

#[test]
fn training_alone_goes_on_and_measures_again_what_was_lost() {
    let desk = Desk::new();
    let train = "train --preset micro --data some.txt --dir alone --report report.json";
    let windows = |expected: &[u64]| {
        let points = desk.json("report.json")["points"].as_array().unwrap().clone();
        assert_eq!(points.iter().map(|point| point["window"].as_u64().unwrap()).collect::<Vec<_>>(), expected);
        points
    };
    desk.does(&format!("{train} --windows 2"));
    fs::copy(desk.path("alone/state.snapshot"), desk.path("older")).unwrap();
    desk.does(&format!("{train} --windows 4"));
    let before = windows(&[0, 1, 2, 3]);
    // Killed between the report and the state.
    fs::copy(desk.path("older"), desk.path("alone/state.snapshot")).unwrap();
    desk.does(&format!("{train} --windows 4"));
    assert_eq!(windows(&[0, 1, 2, 3]), before);
    fs::remove_file(desk.path("alone/state.snapshot")).unwrap();
    desk.does(&format!("{train} --windows 1"));
    assert_eq!(windows(&[0]), before[..1]);

    // A full disk is found out at the end only, and what was trained stays.
    if cfg!(target_os = "linux") {
        let full = "train --preset micro --data some.txt --dir alone --windows 2 --report /dev/full";
        desk.check(full, 1, "cannot write the report /dev/full: No space left");
        desk.does(&format!("{train} --windows 2"));
        assert_eq!(windows(&[0, 1]), before[..2]);
    }

    desk.write("other.txt", "quite another text, also long enough. ".repeat(200));
    desk.check("train --preset micro --data other.txt --dir alone", 1, "other options");
    desk.check(&format!("{train} --batch 3"), 1, "other options");
    desk.write("alone/state.snapshot", "");
    desk.check(train, 1, "cannot go on from alone");
    desk.write("alone/train.json", "{\"points\": [");
    desk.check(train, 1, "train.json is damaged or of another version; choose another --dir");
}

/// A training that is killed, and what the same command makes of it.
struct Killed {
    desk: Desk,
    /// Tokens of a window.
    window: u64,
    /// Options besides.
    options: &'static str,
}

impl Killed {
    const TRAIN: &str = "train --preset micro --data some.txt --threads 1 --windows 12 --dir";

    /// Trains to the end for once.
    fn new() -> Self {
        let desk = Desk::new();
        let said = String::from_utf8(desk.run(&format!("{} whole", Self::TRAIN)).stdout).unwrap();
        Self { window: tokens(&said).unwrap(), desk, options: "" }
    }

    /// Kills the training in `dir` once it has told of so many windows, and returns what it told later.
    fn kill(&self, dir: &str, told: usize) -> Vec<String> {
        let mut command = self.desk.command(&format!("{} {dir}{}", Self::TRAIN, self.options));
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert_eq!(lines.by_ref().take(told).filter(Result::is_ok).count(), told);
        process.kill().unwrap();
        process.wait().unwrap();
        lines.map_while(Result::ok).collect()
    }

    /// Goes on to the end, which must be that of a training that was not killed; returns the window at which it went on.
    fn go_on(&self, dir: &str) -> u64 {
        let said = String::from_utf8(self.desk.run(&format!("{} {dir}{}", Self::TRAIN, self.options)).stdout).unwrap();
        let read = |dir: &str| fs::read(self.desk.path(dir).join("state.snapshot")).unwrap();
        assert!(read(dir) == read("whole"), "{dir}");
        let points = |dir: &str| self.desk.json(&format!("{dir}/train.json"))["points"].clone();
        assert_eq!(points(dir), points("whole"));
        said.lines().find_map(tokens).map_or(12, |tokens| tokens / self.window - 1)
    }
}

/// The number with which a line begins, if it does.
fn tokens(line: &str) -> Option<u64> {
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_training_that_is_killed_loses_one_window_at_most() {
    let mut killed = Killed::new();
    for (number, (options, told)) in
        [("", 1), ("", 2), ("", 3), (" --offload", 1), (" --offload", 3)].iter().enumerate()
    {
        killed.options = options;
        let (dir, told) = (format!("killed-{number}"), *told);
        killed.kill(&dir, told);
        let at = killed.go_on(&dir);
        assert!(at + 1 >= told as u64, "told of {told} windows, went on at window {at}");
    }
    killed.options = "";
    // A pipe that nobody reads: the state of the third window is being written for ever, and the fourth is not told of.
    killed.desk.does("train --preset micro --data some.txt --threads 1 --windows 2 --dir slow");
    let pipe = killed.desk.path("slow/state.draft");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(killed.kill("slow", 1), Vec::<String>::new());
    fs::remove_file(pipe).unwrap();
    assert_eq!(killed.go_on("slow"), 2);

    fs::create_dir(killed.desk.path("slow/state.draft")).unwrap();
    killed.desk.check(
        &format!("{} slow --windows 13", Killed::TRAIN.replace("--windows 12 ", "")),
        1,
        "cannot write slow",
    );
}

#[test]
fn a_folder_of_ones_own_is_new_each_time() {
    let desk = Desk::new();
    fs::create_dir(desk.path("tmp")).unwrap();
    let folders = || fs::read_dir(desk.path("tmp")).unwrap().count();
    let run = |arguments: &str| desk.command(arguments).env("TMPDIR", desk.path("tmp")).output().unwrap();
    assert!(run("train --preset micro --data some.txt --windows 1").status.success());
    assert!(run("train --preset micro --data some.txt --windows 1").status.success());
    assert_eq!(folders(), 2);
    assert!(!run("localnet --data nowhere").status.success());
    assert_eq!(folders(), 2, "nothing was kept of a network that never was");
}
