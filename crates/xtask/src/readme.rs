//! The first thing that a user of a library reads.

use crate::graph::Graph;
use crate::tree::Tree;

/// The longest first example, in lines.
const EXAMPLE_MAX: usize = 20;

/// Every library whose README has no first example, one too long, one that needs a sibling, or one that no test compiles.
pub fn check_readmes(graph: &Graph, tree: &Tree) -> Vec<String> {
    let libraries = graph.members.values().filter(|package| package.publish && package.library);
    let siblings: Vec<_> =
        graph.members.values().filter(|package| package.library).map(|package| &package.name).collect();
    let mut breaches = Vec::new();
    for package in libraries {
        let path = format!("{}/README.md", package.folder);
        let others = siblings.iter().filter(|name| **name != &package.name).map(|name| name.replace('-', "_"));
        breaches.extend(poor_readme(&path, tree.text(&path), &Vec::from_iter(others)));
        let source = format!("{}/src/lib.rs", package.folder);
        if !tree.text(&source).is_some_and(|text| text.contains("include_str!(\"../README.md\")")) {
            breaches.push(format!("{source} does not include README.md, so that no test compiles its example"));
        }
    }
    breaches
}

fn poor_readme(path: &str, text: Option<&str>, siblings: &[String]) -> Option<String> {
    let Some(text) = text else { return Some(format!("{path} is missing")) };
    let Some(example) = first_example(text) else {
        return Some(format!("{path} has no rust example that a test runs"));
    };
    let lines = example.lines().count();
    if lines >= EXAMPLE_MAX {
        return Some(format!("{path}: the first example has {lines} lines, fewer than {EXAMPLE_MAX} are allowed"));
    }
    let sibling = siblings.iter().find(|name| names(example, name))?;
    Some(format!("{path}: the first example needs {sibling}"))
}

/// The text of the first block of Rust, if a test compiles it.
fn first_example(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("\n```rust")?;
    let (attributes, rest) = rest.split_once('\n')?;
    let tested = !["ignore", "text", "compile_fail"].iter().any(|attribute| attributes.contains(attribute));
    tested.then_some(rest.split("\n```").next().unwrap_or(rest))
}

/// Whether the example names this crate, and not one whose name merely begins like it.
fn names(example: &str, name: &str) -> bool {
    example.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Package;

    fn check(readme: &str, expected: &[&str]) {
        let package = |name: &str| Package {
            name: name.into(),
            folder: format!("crates/{name}"),
            publish: name == "one",
            library: true,
            ..Package::default()
        };
        let members = ["one", "a-two"].map(|name| (name.to_owned(), package(name)));
        let graph = Graph { members: members.into(), ..Graph::default() };
        let lib = "#![doc = include_str!(\"../README.md\")]";
        let tree = Tree::of([("crates/one/README.md", readme), ("crates/one/src/lib.rs", lib)]);
        assert_eq!(check_readmes(&graph, &tree), expected);
    }

    #[test]
    fn a_short_example_that_needs_no_sibling_is_fine() {
        check("# one\n\n```rust\nuse one::a_twofold;\n```\nThen a_two.\n", &[]);
    }

    #[test]
    fn a_readme_without_a_tested_example_is_a_breach() {
        check("# one\n", &["crates/one/README.md has no rust example that a test runs"]);
        check("# one\n```rust,ignore\n1\n```\n", &["crates/one/README.md has no rust example that a test runs"]);
    }

    #[test]
    fn the_first_example_is_short_and_stands_alone() {
        check("\n```rust\nuse a_two::x;\n```\n", &["crates/one/README.md: the first example needs a_two"]);
        let long = format!("\n```rust\n{}```\n", "1;\n".repeat(20));
        check(&long, &["crates/one/README.md: the first example has 20 lines, fewer than 20 are allowed"]);
    }

    #[test]
    fn a_library_without_a_readme_is_a_breach() {
        let package =
            Package { name: "one".into(), folder: "x".into(), publish: true, library: true, ..Package::default() };
        let graph = Graph { members: [("one".to_owned(), package)].into(), ..Graph::default() };
        let expected =
            ["x/README.md is missing", "x/src/lib.rs does not include README.md, so that no test compiles its example"];
        assert_eq!(check_readmes(&graph, &Tree::default()), expected);
    }
}
