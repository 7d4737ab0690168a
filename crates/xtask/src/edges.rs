//! Who may use whom: the table in `docs/architecture.md`.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{Graph, Kind, Package};

/// What a row of the table allows a folder to use, by the names of folders below `crates`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    Anything,
    Only { always: BTreeSet<String>, in_tests: BTreeSet<String> },
}

/// Every dependency between packages of the workspace that the table does not allow, tests' dependencies included.
///
/// The table is the one whose rows start with a folder in backticks; its second column holds the names in backticks, or
/// the word `anything`; names after `tests:` are for tests alone. A package may also use what those use. A folder without
/// a row and a row without a folder are breaches too.
pub fn check_edges(graph: &Graph, architecture: &str) -> Vec<String> {
    let table = rows(architecture);
    let mut breaches = Vec::new();
    for package in graph.members.values() {
        match table.get(&package.folder) {
            None => breaches.push(format!("{} has no row in the table of docs/architecture.md", package.folder)),
            Some(Allowed::Anything) => {}
            Some(Allowed::Only { always, in_tests }) => {
                let tests = closure(always.union(in_tests), &table);
                breaches.extend(unlawful(package, graph, &closure(always, &table), &tests));
            }
        }
    }
    let folders: BTreeSet<_> = graph.members.values().map(|package| package.folder.as_str()).collect();
    let absent = table.keys().filter(|folder| !folders.contains(folder.as_str()));
    breaches.extend(absent.map(|folder| format!("{folder} has a row in docs/architecture.md and is no package")));
    breaches
}

/// Every package among `forbidden` that one of the workspace's `pure` folders is built from, with the way to it.
pub fn check_pure(graph: &Graph, pure: &[&str], forbidden: &[&str]) -> Vec<String> {
    let packages = graph.members.values().filter(|package| pure.contains(&package.folder.as_str()));
    packages.flat_map(|package| impure(package, graph, forbidden)).collect()
}

fn unlawful(package: &Package, graph: &Graph, always: &BTreeSet<String>, tests: &BTreeSet<String>) -> Vec<String> {
    let mut breaches = Vec::new();
    for dependency in package.dependencies.iter().filter(|dependency| dependency.name != package.name) {
        let Some(sibling) = graph.members.get(&dependency.name) else { continue };
        let allowed = if dependency.kind == Kind::Dev { tests } else { always };
        if !allowed.contains(sibling.folder.strip_prefix("crates/").unwrap_or(&sibling.folder)) {
            breaches.push(format!("{} must not use {}", package.folder, sibling.folder));
        }
    }
    breaches
}

/// The names and all that their rows allow, and so on.
fn closure<'a>(names: impl IntoIterator<Item = &'a String>, table: &BTreeMap<String, Allowed>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut open: Vec<_> = names.into_iter().cloned().collect();
    while let Some(name) = open.pop() {
        if let Some(Allowed::Only { always, .. }) = table.get(&format!("crates/{name}")) {
            open.extend(always.difference(&all).cloned());
        }
        all.insert(name);
    }
    all
}

/// The table's rows by folder.
fn rows(text: &str) -> BTreeMap<String, Allowed> {
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.trim_matches('|').split('|');
        let (folders, uses) = (cells.next().unwrap_or(""), cells.next().unwrap_or(""));
        let allowed = match uses.trim() {
            "anything" => Allowed::Anything,
            _ => {
                let (always, in_tests) = uses.split_once("tests:").unwrap_or((uses, ""));
                Allowed::Only { always: names(always), in_tests: names(in_tests) }
            }
        };
        let folders = quoted(folders).filter(|name| name.contains('/') || matches!(*name, "benches" | "examples"));
        rows.extend(folders.map(|folder| (folder.to_owned(), allowed.clone())));
    }
    rows
}

fn names(text: &str) -> BTreeSet<String> {
    quoted(text).map(str::to_owned).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Walks from a package to each forbidden one. Optional dependencies of the package itself do not count: whoever turns
/// them on asks for them.
fn impure(package: &Package, graph: &Graph, forbidden: &[&str]) -> Vec<String> {
    let optional: BTreeSet<_> = package.dependencies.iter().filter(|d| d.optional).map(|d| d.name.as_str()).collect();
    let mut way: BTreeMap<&str, String> = BTreeMap::from([(package.name.as_str(), package.name.clone())]);
    let mut open = vec![package.name.as_str()];
    while let Some(name) = open.pop() {
        let next = graph.built_from.get(name).into_iter().flatten();
        for found in next.filter(|found| name != package.name || !optional.contains(found.as_str())) {
            if !way.contains_key(found.as_str()) {
                way.insert(found, format!("{} > {found}", way[name]));
                open.push(found);
            }
        }
    }
    let met = forbidden.iter().filter_map(|name| way.get(name));
    met.map(|way| format!("{} must be built without it: {way}", package.folder)).collect()
}

#[cfg(test)]
mod tests;
