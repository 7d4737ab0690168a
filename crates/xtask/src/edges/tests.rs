use super::*;
use crate::graph::Dependency;

const TABLE: &str = "
| folder | may use | one line |
|---|---|---|
| `crates/base` | - | The root. |
| `crates/left` | `base` | Uses `crates/base`. |
| `crates/right` | `base` | A sibling. |
| `crates/top` | `left`; tests: `right` | The top. |
| `bins/one`, `bins/two` | `top` | Programs. |
| `examples` | anything | Free. |
";

fn package(folder: &str, uses: &[(&str, Kind)]) -> Package {
    let dependency = |&(name, kind): &(&str, Kind)| Dependency {
        name: name.into(),
        kind,
        optional: false,
        version: "^1".into(),
        registry: false,
    };
    let name = folder.rsplit('/').next().unwrap().to_owned();
    Package { name, folder: folder.into(), dependencies: uses.iter().map(dependency).collect(), ..Package::default() }
}

/// The lawful workspace of the table, with other packages put in the place of their namesakes.
fn graph(changed: Vec<Package>) -> Graph {
    let lawful = [
        package("crates/base", &[]),
        package("crates/left", &[("base", Kind::Normal)]),
        package("crates/right", &[("base", Kind::Normal)]),
        package("crates/top", &[("left", Kind::Normal), ("base", Kind::Normal)]),
        package("bins/one", &[("top", Kind::Normal), ("left", Kind::Dev)]),
        package("bins/two", &[]),
        package("examples", &[("right", Kind::Normal), ("one", Kind::Normal)]),
    ];
    let members = lawful.into_iter().chain(changed).map(|package| (package.name.clone(), package)).collect();
    Graph { members, ..Graph::default() }
}

fn check(changed: Vec<Package>, expected: &[&str]) {
    assert_eq!(check_edges(&graph(changed), TABLE), expected);
}

#[test]
fn what_the_table_allows_and_what_that_uses_is_lawful() {
    check(vec![], &[]);
}

#[test]
fn an_edge_to_a_sibling_is_a_breach_in_tests_too() {
    for kind in [Kind::Normal, Kind::Dev, Kind::Build] {
        check(vec![package("crates/left", &[("right", kind)])], &["crates/left must not use crates/right"]);
    }
}

#[test]
fn what_tests_may_use_the_crate_itself_may_not() {
    let using = |kind| package("crates/top", &[("left", Kind::Normal), ("right", kind)]);
    check(vec![using(Kind::Dev)], &[]);
    check(vec![using(Kind::Normal)], &["crates/top must not use crates/right"]);
    check(vec![package("bins/one", &[("right", Kind::Dev)])], &["bins/one must not use crates/right"]);
}

#[test]
fn an_edge_upwards_is_a_breach() {
    check(vec![package("crates/base", &[("top", Kind::Normal)])], &["crates/base must not use crates/top"]);
    check(vec![package("crates/top", &[("one", Kind::Normal)])], &["crates/top must not use bins/one"]);
}

#[test]
fn rows_and_packages_must_match() {
    check(vec![package("crates/new", &[])], &["crates/new has no row in the table of docs/architecture.md"]);
    let mut less = graph(vec![]);
    less.members.remove("right");
    assert_eq!(check_edges(&less, TABLE), ["crates/right has a row in docs/architecture.md and is no package"]);
    assert_eq!(check_edges(&graph(vec![]), "no table").len(), 7);
}

fn built(edges: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    edges.iter().map(|(from, to)| (from.to_string(), to.iter().map(ToString::to_string).collect())).collect()
}

#[test]
fn a_heavy_package_is_found_however_deep_and_the_way_is_told() {
    let mut graph = graph(vec![]);
    graph.built_from = built(&[("base", &["light"]), ("light", &["runtime"]), ("runtime", &["light"])]);
    let found = check_pure(&graph, &["crates/base", "crates/left"], &["runtime", "absent"]);
    assert_eq!(found, ["crates/base must be built without it: base > light > runtime"]);
    assert_eq!(check_pure(&graph, &["crates/left"], &["runtime"]), Vec::<String>::new());
}

#[test]
fn an_optional_dependency_of_the_package_itself_does_not_count() {
    let mut base = package("crates/base", &[("runtime", Kind::Normal)]);
    base.dependencies[0].optional = true;
    let mut graph = graph(vec![base]);
    graph.built_from = built(&[("base", &["runtime"])]);
    assert_eq!(check_pure(&graph, &["crates/base"], &["runtime"]), Vec::<String>::new());
}
