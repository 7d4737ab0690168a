//! Notes the commit that the program is built from, so that a report can name it.

use std::path::Path;
use std::process::Command;

fn main() {
    for watched in [".git/HEAD", ".git/logs/HEAD", ".git/index", "bins", "crates", "Cargo.lock"] {
        println!("cargo:rerun-if-changed=../../{watched}");
    }
    if let Some(commit) = commit() {
        println!("cargo:rustc-env=PACTUM_COMMIT={commit}");
    }
}

/// The commit, with `+changes` if tracked files differ from it; `None` where these sources are in no repository of their
/// own, as in a package that was unpacked somewhere below another project.
fn commit() -> Option<String> {
    let root = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR")?).join("../..").canonicalize().ok()?;
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&root).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let top = Path::new(&git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()?;
    let describe = ["describe", "--always", "--dirty=+changes", "--abbrev=40", "--exclude", "*"];
    (top == root).then(|| git(&describe)).flatten()
}
