//! Whether every package can be published, and in which order.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::graph::{Dependency, Graph, Package};
use crate::tree::Tree;

/// Every obstacle to publishing the packages that may be published.
pub fn check_publish(graph: &Graph) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in graph.members.values().filter(|package| package.publish) {
        breaches.extend(poor_fields(package));
        breaches.extend(package.dependencies.iter().filter_map(|dependency| unpublishable(package, dependency, graph)));
    }
    breaches.extend(publish_order(graph).err());
    breaches
}

/// The publishable packages, each after all that it uses, tests' dependencies included.
///
/// # Errors
/// Names the packages that wait for each other.
pub fn publish_order(graph: &Graph) -> Result<Vec<&str>, String> {
    let mut open: Vec<&Package> = graph.members.values().filter(|package| package.publish).collect();
    let mut order = Vec::new();
    while !open.is_empty() {
        let waiting: BTreeSet<&str> = open.iter().map(|package| package.name.as_str()).collect();
        let waits = |package: &&Package| package.dependencies.iter().any(|d| waiting.contains(d.name.as_str()));
        let (later, now): (Vec<_>, Vec<_>) = open.into_iter().partition(waits);
        if now.is_empty() {
            return Err(format!("these packages wait for each other: {}", Vec::from_iter(waiting).join(" ")));
        }
        order.extend(now.iter().map(|package| package.name.as_str()));
        open = later;
    }
    Ok(order)
}

/// Every dependency whose version stands in its own manifest instead of the root's, and every manifest without the lints
/// or the version of the workspace. `packages` are the folders of the members.
pub fn check_manifests<'a>(tree: &Tree, packages: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    packages.into_iter().flat_map(|folder| poor_manifest(tree, &format!("{folder}/Cargo.toml"))).collect()
}

fn poor_fields(package: &Package) -> Vec<String> {
    let required: &[&str] = match package.library {
        true => &["description", "license", "repository", "readme", "keywords"],
        false => &["description", "license", "repository"],
    };
    let field = |name: &str| package.fields.get(name).map(String::as_str).unwrap_or_default();
    let empty = required.iter().filter(|name| matches!(field(name), "" | "TBD"));
    let mut breaches: Vec<_> = empty.map(|name| format!("{} needs a {name}", package.name)).collect();
    let keywords: Vec<_> = field("keywords").split_whitespace().collect();
    // The bounds are the public registry's.
    if keywords.len() > 5 || keywords.iter().any(|keyword| keyword.len() > 20) {
        breaches.push(format!("{} may have five keywords of twenty letters at most", package.name));
    }
    breaches
}

fn unpublishable(package: &Package, dependency: &Dependency, graph: &Graph) -> Option<String> {
    let (name, used) = (&package.name, &dependency.name);
    match graph.members.get(used) {
        Some(sibling) if !sibling.publish => Some(format!("{name} is published and uses {used}, which is not")),
        _ if dependency.version == "*" => Some(format!("{name} uses {used} without a version")),
        None if !dependency.registry => Some(format!("{name} uses {used} from outside the registry")),
        _ => None,
    }
}

fn poor_manifest(tree: &Tree, path: &str) -> Vec<String> {
    let Some(manifest) = tree.text(path).and_then(|text| text.parse::<Table>().ok()) else {
        return vec![format!("{path} is missing or no TOML")];
    };
    let mut breaches = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let dependencies = manifest.get(section).and_then(Value::as_table).into_iter().flatten();
        let own = dependencies.filter(|(_, dependency)| !is_shared(dependency));
        breaches.extend(own.map(|(name, _)| format!("{path}: {name} needs workspace = true")));
    }
    if !manifest.get("lints").is_some_and(is_shared) {
        breaches.push(format!("{path} needs the lints of the workspace"));
    }
    let version = manifest.get("package").and_then(|package| package.get("version"));
    if !version.is_some_and(is_shared) {
        breaches.push(format!("{path} needs the version of the workspace"));
    }
    breaches
}

fn is_shared(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests;
