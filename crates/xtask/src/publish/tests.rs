use std::collections::BTreeMap;

use super::*;
use crate::graph::Kind;

fn package(name: &str, uses: &[&str]) -> Package {
    let dependency = |name: &&str| Dependency {
        name: name.to_string(),
        kind: Kind::Normal,
        optional: false,
        version: "^1".into(),
        registry: false,
    };
    let fields = ["description", "license", "repository", "readme", "keywords"].map(|field| (field, "text".to_owned()));
    Package {
        name: name.into(),
        publish: true,
        library: true,
        dependencies: uses.iter().map(dependency).collect(),
        fields: BTreeMap::from(fields),
        ..Package::default()
    }
}

fn graph(packages: Vec<Package>) -> Graph {
    let members = packages.into_iter().map(|package| (package.name.clone(), package)).collect();
    Graph { members, ..Graph::default() }
}

fn check(packages: Vec<Package>, expected: &[&str]) {
    assert_eq!(check_publish(&graph(packages)), expected);
}

#[test]
fn each_package_comes_after_all_that_it_uses() {
    let graph = graph(vec![package("a", &["c"]), package("b", &["a", "c"]), package("c", &[])]);
    assert_eq!(publish_order(&graph).unwrap(), ["c", "a", "b"]);
}

#[test]
fn a_circle_is_named() {
    let circle = vec![package("a", &["b"]), package("b", &["a"]), package("c", &[])];
    check(circle, &["these packages wait for each other: a b"]);
}

#[test]
fn every_field_that_a_registry_shows_is_needed() {
    let mut poor = package("a", &[]);
    poor.fields.remove("readme");
    poor.fields.insert("description", "TBD".into());
    check(vec![poor.clone()], &["a needs a description", "a needs a readme"]);
    poor.library = false;
    check(vec![poor.clone()], &["a needs a description"]);
    poor.publish = false;
    check(vec![poor], &[]);
    let mut wordy = package("a", &[]);
    wordy.fields.insert("keywords", "a-keyword-of-many-letters".into());
    check(vec![wordy], &["a may have five keywords of twenty letters at most"]);
}

#[test]
fn what_a_published_package_uses_must_be_had_by_others() {
    let mut secret = package("secret", &[]);
    secret.publish = false;
    check(vec![package("a", &["secret"]), secret], &["a is published and uses secret, which is not"]);
    check(vec![package("a", &["from-git"])], &["a uses from-git from outside the registry"]);
    let mut vague = package("a", &["b"]);
    vague.dependencies[0].version = "*".into();
    check(vec![vague, package("b", &[])], &["a uses b without a version"]);
}

fn check_manifest(text: &str, expected: &[&str]) {
    assert_eq!(check_manifests(&Tree::of([("crates/a/Cargo.toml", text)]), ["crates/a"]), expected);
}

#[test]
fn versions_and_lints_come_from_the_workspace() {
    let good = "[package]\nversion.workspace = true\n[lints]\nworkspace = true\n[dependencies]\nb.workspace = true\n";
    check_manifest(good, &[]);
    check_manifest(
        "[package]\nversion = '1'\n[dev-dependencies]\nb = '1'\nc = { workspace = true, features = [] }\n",
        &[
            "crates/a/Cargo.toml: b needs workspace = true",
            "crates/a/Cargo.toml needs the lints of the workspace",
            "crates/a/Cargo.toml needs the version of the workspace",
        ],
    );
    check_manifest("[", &["crates/a/Cargo.toml is missing or no TOML"]);
}
