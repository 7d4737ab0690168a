//! The house rules, applied to this repository.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use xtask::{Graph, Tree};

/// Libraries that compute and decide, and leave clocks, threads, networks and disks to others.
const PURE: [&str; 5] = ["crates/protocol", "crates/scoring", "crates/compress", "crates/round", "crates/sim"];
/// What a pure library must build without.
const HEAVY: [&str; 8] = ["tokio", "quinn", "rustls", "candle-core", "gemm", "sp-core", "jsonrpsee", "redb"];

/// Asked for at run time: a target folder that checkouts share may hold this test as built for another one.
fn root() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).ancestors().nth(2).unwrap().to_owned()
}

fn graph() -> Graph {
    Graph::load(&root()).unwrap()
}

fn tree() -> Tree {
    Tree::load(&root()).unwrap()
}

fn check(breaches: &[String]) {
    assert!(breaches.is_empty(), "{} breaches of the house rules:\n{}", breaches.len(), breaches.join("\n"));
}

#[test]
fn crates_use_only_what_the_architecture_allows() {
    let tree = tree();
    check(&xtask::check_edges(&graph(), tree.text("docs/architecture.md").unwrap()));
}

#[test]
fn pure_crates_build_without_the_heavy_ones() {
    let graph = graph();
    check(&xtask::check_pure(&graph, &PURE, &HEAVY));
    // The heavy names are real: each is in somebody's tree.
    let names: Vec<_> = graph.members.values().map(|package| package.folder.as_str()).collect();
    for name in HEAVY {
        assert!(
            !xtask::check_pure(&graph, &names, &[name]).is_empty(),
            "nobody is built from {name}: is it spelled right?"
        );
    }
}

#[test]
fn pure_crates_leave_the_world_to_others() {
    check(&xtask::check_reach(&tree(), &PURE));
}

#[test]
fn files_are_short_and_named_well() {
    check(&xtask::check_sources(&tree()));
}

#[test]
fn the_top_level_is_as_it_shall_be() {
    check(&xtask::check_root(&tree()));
}

#[test]
fn every_package_can_be_published_and_shares_the_workspaces_settings() {
    let graph = graph();
    check(&xtask::check_publish(&graph));
    check(&xtask::check_manifests(&tree(), graph.members.values().map(|package| package.folder.as_str())));
    assert_eq!(xtask::publish_order(&graph).unwrap().first(), Some(&"pactum-cli"));
}

#[test]
fn documents_name_what_exists_and_link_to_it() {
    let tree = tree();
    check(&xtask::check_links(&tree));
    check(&xtask::check_mentions(&graph(), &tree));
}

#[test]
fn every_library_shows_itself_in_one_short_example() {
    check(&xtask::check_readmes(&graph(), &tree()));
}

#[test]
fn nothing_points_at_one_persons_machine() {
    check(&xtask::check_hosts(&tree()));
}
