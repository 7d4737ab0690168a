//! Addresses that mean something to everybody, and paths that mean something on one machine only.

use crate::tree::Tree;

/// The public places that files may point to; a name allows what ends with it too.
const HOSTS: [&str; 18] = [
    "apache.org",
    "arxiv.org",
    "crates.io",
    "doc.rust-lang.org",
    "docs.rs",
    "example.com",
    "example.org",
    "github.com",
    "huggingface.co",
    "ietf.org",
    "localhost",
    "openreview.net",
    "rfc-editor.org",
    "rkyv.org",
    "rust-lang.github.io",
    "rustup.rs",
    "w3.org",
    "wikipedia.org",
];
/// Beginnings of paths that exist on one person's machine.
const HOMES: [&str; 6] = ["/home", "/root", "/Users", "/work", "/farm", "/mnt"];

/// Every address of a host that is not public knowledge, every path of one machine, and every package that the lock file
/// takes from elsewhere than the public registry.
pub fn check_hosts(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for (path, text) in tree.texts() {
        for (number, line) in (1..).zip(text.lines()) {
            let found = strange_host(line).or_else(|| machine_path(line)).or_else(|| strange_source(path, line));
            breaches.extend(found.map(|found| format!("{path}:{number} names {found}")));
        }
    }
    breaches
}

fn strange_host(line: &str) -> Option<&str> {
    let rests = line.match_indices("://").map(|(start, mark)| &line[start + mark.len()..]);
    let hosts = rests.map(|rest| &rest[..rest.find(|c: char| !is_of_host(c)).unwrap_or(rest.len())]);
    hosts.map(|host| host.trim_end_matches('.')).find(|host| !is_public(host))
}

fn is_of_host(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '.' || letter == '-'
}

/// Whether everybody knows the host, or nobody: names that code fills in are empty here, and a letter stands for any.
fn is_public(host: &str) -> bool {
    let listed =
        HOSTS.iter().any(|known| host.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    host.len() < 2 || listed || matches!(host, "127.0.0.1" | "0.0.0.0")
}

fn machine_path(line: &str) -> Option<&str> {
    let home = |home: &&str| {
        let mut places = line.match_indices(*home);
        places.any(|(start, _)| starts_path(&line[..start]) && line[start + home.len()..].starts_with('/'))
    };
    HOMES.iter().find(|candidate| home(candidate)).copied()
}

/// Whether what stands before a slash lets a path begin there, rather than go on.
fn starts_path(before: &str) -> bool {
    before.chars().next_back().is_none_or(|letter| !(letter.is_alphanumeric() || "./-_}~*>".contains(letter)))
}

fn strange_source<'a>(path: &str, line: &'a str) -> Option<&'a str> {
    let source = line.strip_prefix("source = ").filter(|_| path == "Cargo.lock")?;
    (source != "\"registry+https://github.com/rust-lang/crates.io-index\"").then_some(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, expected: &[&str]) {
        assert_eq!(check_hosts(&Tree::of([(path, text)])), expected);
    }

    #[test]
    fn public_addresses_and_the_machine_itself_are_fine() {
        check(
            "a.md",
            "https://github.com/a https://static.crates.io, ws://127.0.0.1:9944 <https://arxiv.org/abs/1>.",
            &[],
        );
        check("a.rs", "format!(\"ws://{address}\") \"ws://a\"", &[]);
    }

    #[test]
    fn any_other_host_is_named() {
        let text = format!("see\nhttps://docs.rs/a and http{}mirror.local:8080/x", "://");
        check("a.md", &text, &["a.md:2 names mirror.local"]);
        check("a.md", &format!("https{}notgithub.com", "://"), &["a.md:1 names notgithub.com"]);
    }

    #[test]
    fn paths_of_one_machine_are_named() {
        check("a.rs", &format!("open(\"{}/me/data\")", "/home"), &["a.rs:1 names /home"]);
        check("a.rs", &format!("cd {}/tree", "/work"), &["a.rs:1 names /work"]);
        check("a.rs", "src/home/x ../work/x /workspace/x $HOME/work/x ~/home/x", &[]);
    }

    #[test]
    fn the_lock_file_takes_all_from_the_public_registry() {
        check("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\"", &[]);
        let git = "source = \"git+https://github.com/a/b\"";
        check("Cargo.lock", git, &["Cargo.lock:1 names \"git+https://github.com/a/b\""]);
        check("other.lock", git, &[]);
    }
}
