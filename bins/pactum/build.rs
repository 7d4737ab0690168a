//! Notes the commit that the program is built from, so that a report can name it.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=../../.git/HEAD");
    println!("cargo:rerun-if-changed=../../.git/logs/HEAD");
    let head = Command::new("git").args(["rev-parse", "HEAD"]).output();
    if let Ok(head) = head
        && head.status.success()
    {
        println!("cargo:rustc-env=PACTUM_COMMIT={}", String::from_utf8_lossy(&head.stdout).trim());
    }
}
