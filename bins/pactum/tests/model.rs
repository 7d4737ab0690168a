//! A model's life on the command line: planned, trained, used, and refused where it is damaged.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a call left: exit code, standard output, standard error.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn pactum(arguments: &[&str]) -> Said {
    let program = Command::new(env!("CARGO_BIN_EXE_pactum")).args(arguments).arg("--quiet").output().unwrap();
    let Output { status, stdout, stderr } = program;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: status.code(), out: text(&stdout), err: text(&stderr) }
}

fn good(arguments: &[&str]) -> String {
    let Said { code, out, err } = pactum(arguments);
    assert_eq!(code, Some(0), "{arguments:?}\n{out}\n{err}");
    out
}

fn refused(arguments: &[&str], code: i32, says: &str) -> Said {
    let said = pactum(arguments);
    assert_eq!(said.code, Some(code), "{arguments:?}\n{}\n{}", said.out, said.err);
    assert!(said.err.contains(says), "{arguments:?}: {} lacks {says}", said.err);
    said
}

/// A small model, trained on a text that repeats itself.
struct Trained {
    folder: tempfile::TempDir,
}

impl Trained {
    fn new(windows: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("text.txt"), "to be or not to be; ".repeat(400)).unwrap();
        let trained = Self { folder };
        let [text, dir, out] = ["text.txt", "run", "model"].map(|name| trained.path(name));
        good(&[
            "train",
            "--preset",
            "micro",
            "--threads",
            "1",
            "--windows",
            windows,
            "--schedule",
            "wsd",
            "--data",
            &text,
            "--dir",
            &dir,
            "--out",
            &out,
        ]);
        trained
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("model").join(name)
    }
}

#[test]
fn presets_are_shown() {
    let list = good(&["model", "show"]);
    for name in ["tiny", "mini", "150m", "1b", "8b", "70b"] {
        assert!(list.lines().any(|line| line.starts_with(name)), "{list}");
    }
    let mini = good(&["model", "show", "mini"]);
    for line in [
        "blocks            6 of width 256, feed-forward 768",
        "parameters            6.82 M   (2.10 M in embedding and head)",
        "rows at once                1          4         16         64",
    ] {
        assert!(mini.contains(line), "{mini} lacks {line}");
    }
    refused(&["model", "show", "huge"], 2, "\"huge\" is neither a folder nor a preset; the presets are tiny, mini");
}

#[test]
fn plans_say_what_fits() {
    let plan = good(&["model", "plan", "mini", "--batch", "4", "--memory", "16GB"]);
    assert!(plan.contains("memory of a training step, 4 rows of 256 tokens, f32:"), "{plan}");
    assert!(plan.contains("memory to fit into    16.0 GB"), "{plan}");
    assert_eq!(plan.matches("  fits").count(), 8, "{plan}");
    assert!(plan.contains("largest batch in one pass: ") && !plan.contains("none"), "{plan}");

    let short = good(&["model", "plan", "mini", "--sequence", "64", "--memory", "200MB"]);
    assert!(short.contains("1 rows of 64 tokens"), "{short}");

    let large = refused(&["model", "plan", "70b", "--memory", "16GB"], 1, "nothing fits: choose a smaller model");
    assert_eq!(large.out.matches("does not fit").count(), 8, "{}", large.out);
    assert!(large.out.contains("largest batch in one pass: none"), "{}", large.out);
    refused(&["model", "plan", "mini", "--memory", "much"], 2, "is no amount of memory: write 512MB or 16GB");
}

#[test]
fn a_training_that_does_not_fit_is_refused_with_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("run");
    let arguments = ["train", "--preset", "tiny", "--memory", "10MB", "--dir", &dir.to_string_lossy()];
    let said = refused(&arguments, 1, "this training needs ");
    assert!(said.err.contains("10.0 MB are left"), "{}", said.err);
    // What the refusal asks for is what the table says of training with and without moments in memory.
    let offloading = refused(&[&arguments[..], &["--offload"]].concat(), 1, "this training needs ");
    for (said, row) in [(&said, "  together, training alone"), (&offloading, "  training alone with --offload")] {
        let needed = said.err.lines().find_map(|line| line.strip_prefix(row)).unwrap().trim();
        assert!(said.err.contains(&format!("this training needs {needed}")), "{}", said.err);
    }
    assert!(!dir.exists(), "nothing was begun");
}

#[test]
fn what_was_trained_can_be_used() {
    let trained = Trained::new("30");
    let model = trained.path("model");
    let shown = good(&["model", "show", &model]);
    assert!(shown.contains("blocks            2 of width 32, feed-forward 64"), "{shown}");

    let generate =
        |more: &[&str]| good(&[&["generate", "--model", &model, "--threads", "1", "to be or"], more].concat());
    let greedy = generate(&["--temperature", "0", "--tokens", "12"]);
    assert_eq!(greedy, "to be or not to be; \n", "it learned the text");
    assert_eq!(generate(&["--temperature", "0", "--tokens", "12", "--continuation"]), " not to be; \n");
    let wild = ["--temperature", "3", "--tokens", "60"];
    let drawn = |seed: &str, top_p: &str| generate(&[&wild[..], &["--seed", seed, "--top-p", top_p]].concat());
    assert_eq!(drawn("1", "1"), drawn("1", "1"));
    assert_ne!(drawn("1", "1"), drawn("2", "1"));
    assert_eq!(drawn("1", "0.00001"), drawn("2", "0.00001"), "the likeliest token alone is left");

    let measured = good(&["perplexity", "--model", &model, "--threads", "1", &trained.path("text.txt")]);
    let number = |title: &str| -> f64 {
        let line = measured.lines().find(|line| line.starts_with(title)).unwrap();
        line[title.len()..].split_whitespace().next().unwrap().parse().unwrap()
    };
    assert_eq!(number("text"), 8000.0);
    assert!(number("loss") < 0.5, "{measured}");
    assert!((number("perplexity").ln() - number("loss")).abs() < 1e-3, "{measured}");
    assert!((number("bits per byte") - number("loss") / 2_f64.ln()).abs() < 1e-3, "{measured}");
}

#[test]
fn offloading_changes_no_byte_of_what_is_kept() {
    let trained = Trained::new("1");
    let text = trained.path("text.txt");
    for (dir, more) in [("kept", &[][..]), ("offloaded", &["--offload"])] {
        let dir = trained.path(dir);
        let arguments = ["train", "--preset", "micro", "--windows", "3", "--data", &text, "--dir", &dir];
        good(&[&arguments, more].concat());
    }
    let state = |dir: &str| fs::read(Path::new(&trained.path(dir)).join("state.snapshot")).unwrap();
    assert!(state("kept") == state("offloaded"));
    assert!(!Path::new(&trained.path("offloaded")).join("scratch").exists());
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let trained = Trained::new("1");
    let model = trained.path("model");
    let empty = trained.path("empty");
    fs::write(&empty, "").unwrap();
    let binary = trained.path("binary");
    fs::write(&binary, [0xff, 0xfe, 0]).unwrap();
    for (arguments, says) in [
        (vec!["generate", "--top-p", "0"], "top-p is 0: it must be above 0 and at most 1"),
        (vec!["generate", "--temperature=-1"], "temperature is -1: it must be 0 or a positive number"),
        (vec!["perplexity", "/no/such/file"], "cannot read /no/such/file"),
        (vec!["perplexity", &empty], "is empty: choose a file with text"),
        (vec!["perplexity", &binary], "is not text: choose a file in UTF-8"),
    ] {
        refused(&[&arguments[..], &["--model", &model]].concat(), 1, says);
    }
    refused(&["generate", "--model", "/no/such/folder"], 1, "cannot read /no/such/folder/config.json");
}

const WORDS: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":400,
    "content":"<|endoftext|>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
    "normalizer":null,"pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":null,
    "model":{"type":"WordLevel","vocab":{"[UNK]":0,"to":1,"be":400},"unk_token":"[UNK]"}}"#;

#[test]
fn damaged_folders_are_refused_by_name() {
    let check = |damage: &dyn Fn(&Trained), says: &str| {
        let trained = Trained::new("1");
        damage(&trained);
        refused(&["generate", "--model", &trained.path("model"), "to"], 1, says);
    };
    let replace = |path: &Path, from: &str, to: &str| {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
    };
    check(&|t| fs::remove_file(t.file("model.safetensors")).unwrap(), "cannot read ");
    let cut = |t: &Trained| {
        let path = t.file("model.safetensors");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
    };
    check(&cut, "model.safetensors is not usable: tensor ");
    check(&|t| replace(&t.file("config.json"), "\"llama\"", "\"gpt2\""), "model_type is gpt2: only llama is supported");
    let fewer = |t: &Trained| replace(&t.file("config.json"), "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    check(&fewer, "has a tensor model.layers.1.");
    let wider = |t: &Trained| replace(&t.file("config.json"), "\"vocab_size\": 256", "\"vocab_size\": 300");
    check(&wider, "has shape [256, 32] but the configuration says [300, 32]");
    check(
        &|t| fs::write(t.file("tokenizer.json"), WORDS).unwrap(),
        "but the model's vocab_size is 256: it belongs to another model",
    );
    check(&|t| fs::write(t.file("tokenizer.json"), "{}").unwrap(), "tokenizer.json is not a tokenizer.json file");
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let trained = Trained::new("1");
    let again = |says: &str| {
        let [text, dir] = ["text.txt", "run"].map(|name| trained.path(name));
        let arguments = ["train", "--preset", "micro", "--windows", "2", "--data", &text, "--dir", &dir];
        refused(&arguments, 1, says);
    };
    let path = trained.folder.path().join("run/state.snapshot");
    let mut bytes = fs::read(&path).unwrap();
    bytes[5000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    again("the snapshot is corrupt: restore an older one");
    fs::write(&path, &bytes[..4000]).unwrap();
    again("the snapshot is corrupt: restore an older one");
    fs::write(&path, "PACT").unwrap();
    again("cannot go on from ");
}
