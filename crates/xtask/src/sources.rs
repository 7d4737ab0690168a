//! The size and the names of files, and what the top level holds.

use std::collections::BTreeSet;

use crate::tree::Tree;

/// The longest file, in lines.
const LINES_MAX: usize = 500;
/// The longest file name, in letters and without its ending.
const NAME_MAX: usize = 12;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 12] =
    ["util", "utils", "common", "helper", "helpers", "type", "types", "manager", "misc", "mod", "shared", "tools"];
/// What a source file must not hold: work left undone, tests switched off, empty prefixes.
const EMPTY_WORDS: [&str; 4] = ["TO-DO", "FIX-ME", "#[ig-nore", "fn ge-t_"];
/// What reaches for the world.
const REACH: [&str; 8] =
    ["std::env", "std::fs", "std::process", "Instant", "SystemTime", "thread::sleep", "stdin()", "tracing::"];
/// What may stand at the top level beside files whose name begins with a dot.
const TOP: [&str; 9] =
    ["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "crates", "bins", "benches", "examples", "docs"];

/// What may stand there too: the folder that cargo-fuzz makes.
const ALLOWED: [&str; 1] = ["fuzz"];

/// Every file that is too long, is named badly or holds a word that stands for nothing.
pub fn check_sources(tree: &Tree) -> Vec<String> {
    let words = EMPTY_WORDS.map(|word| word.replace('-', ""));
    let mut breaches = Vec::new();
    for (path, text) in tree.texts() {
        let lines = text.lines().count();
        if lines > LINES_MAX && is_written(path) {
            breaches.push(format!("{path} has {lines} lines, {LINES_MAX} at most"));
        }
        if let Some(stem) = path.strip_suffix(".rs") {
            // A fuzz target's name is also what it is called by, with no folder around it.
            let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
            breaches.extend(bad_name(path, name).filter(|_| !folder.ends_with("fuzz_targets")));
            let found = words.iter().filter(|word| text.contains(word.as_str()));
            breaches.extend(found.map(|word| format!("{path} holds {word}")));
        }
    }
    breaches
}

/// Every place below the `pure` folders, tests aside, that reaches for the world by itself: its files, clock, settings,
/// processes, threads' sleep or log.
pub fn check_reach(tree: &Tree, pure: &[&str]) -> Vec<String> {
    let mut breaches = Vec::new();
    for folder in pure {
        let sources = format!("{folder}/src/");
        let ours = tree.texts().filter(|(path, _)| path.starts_with(&sources) && !path.ends_with("/tests.rs"));
        for (path, text) in ours {
            let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
            let found = REACH.iter().filter(|word| code.contains(**word));
            breaches.extend(found.map(|word| format!("{path} is pure and holds {word}")));
        }
    }
    breaches
}

/// Everything at the top level that has no place there, and every part of it that is missing.
pub fn check_root(tree: &Tree) -> Vec<String> {
    let found: BTreeSet<_> = tree.paths().filter_map(|path| path.split('/').next()).collect();
    let strange = found.iter().filter(|name| !(name.starts_with('.') || TOP.contains(name) || ALLOWED.contains(name)));
    let mut breaches: Vec<_> = strange.map(|name| format!("{name} has no place at the top level")).collect();
    breaches.extend(TOP.iter().filter(|name| !found.contains(**name)).map(|name| format!("{name} is missing")));
    breaches
}

/// Whether people write this file, rather than a program.
fn is_written(path: &str) -> bool {
    let written = [".rs", ".md", ".sh", ".toml"].iter().any(|ending| path.ends_with(ending));
    written || path.starts_with(".ci/")
}

fn bad_name(path: &str, name: &str) -> Option<String> {
    let plain = name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    if EMPTY_NAMES.contains(&name) {
        Some(format!("{path} has a name that says nothing"))
    } else if name.len() > NAME_MAX || !plain {
        Some(format!("{path}: a name is one noun of {NAME_MAX} small letters at most"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, expected: &[&str]) {
        assert_eq!(check_sources(&Tree::of([(path, text)])), expected);
    }

    #[test]
    fn a_file_of_five_hundred_lines_is_the_longest() {
        check("a.rs", &"//\n".repeat(500), &[]);
        check("a.rs", &"//\n".repeat(501), &["a.rs has 501 lines, 500 at most"]);
        check(".ci/run", &"#\n".repeat(501), &[".ci/run has 501 lines, 500 at most"]);
        check("Cargo.lock", &"#\n".repeat(501), &[]);
    }

    #[test]
    fn a_name_is_one_short_noun() {
        check("crates/a/src/eligibility.rs", "", &[]);
        check("a/abcdefghijkl.rs", "", &[]);
        check("fuzz/fuzz_targets/payload_decode.rs", "", &[]);
        let long = "a/abcdefghijklm.rs: a name is one noun of 12 small letters at most";
        check("a/abcdefghijklm.rs", "", &[long]);
        check("a/Big.rs", "", &["a/Big.rs: a name is one noun of 12 small letters at most"]);
        check("a/mod.rs", "", &["a/mod.rs has a name that says nothing"]);
        check("a/util.rs", "", &["a/util.rs has a name that says nothing"]);
    }

    #[test]
    fn a_word_that_stands_for_nothing_is_found() {
        check("a.rs", concat!("// TO", "DO later"), &[concat!("a.rs holds TO", "DO")]);
        check("a.rs", concat!("#[ig", "nore]"), &[concat!("a.rs holds #[ig", "nore")]);
        check("a.rs", concat!("pub fn ge", "t_x()"), &[concat!("a.rs holds fn ge", "t_")]);
    }

    #[test]
    fn what_reaches_for_the_world_is_found_outside_of_tests() {
        let tree = |text| Tree::of([("crates/a/src/b.rs", text), ("crates/b/src/b.rs", "std::fs")]);
        let found = |text| check_reach(&tree(text), &["crates/a"]);
        assert_eq!(found("std::env::var(name)"), ["crates/a/src/b.rs is pure and holds std::env"]);
        assert_eq!(found("fn f() {}\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"), Vec::<String>::new());
        let tests = Tree::of([("crates/a/src/b/tests.rs", "std::fs"), ("crates/a/tests/c.rs", "std::fs")]);
        assert_eq!(check_reach(&tests, &["crates/a"]), Vec::<String>::new());
    }

    #[test]
    fn the_top_level_holds_what_it_must_and_nothing_else() {
        let good =
            ["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "crates/a", "bins/a", "benches/a", "examples/a"];
        let mut paths = Vec::from(good);
        paths.extend(["docs/a", ".gitignore", ".ci/run"]);
        let tree = |paths: &[&'static str]| Tree::of(paths.iter().map(|path| (*path, "")));
        assert_eq!(check_root(&tree(&paths)), Vec::<String>::new());
        paths.extend(["scripts/a.sh", "notes.md"]);
        let expected = ["notes.md has no place at the top level", "scripts has no place at the top level"];
        assert_eq!(check_root(&tree(&paths)), expected);
        assert_eq!(check_root(&tree(&paths[1..11])), ["Cargo.toml is missing"]);
    }
}
