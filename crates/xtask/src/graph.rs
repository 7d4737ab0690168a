//! The packages of the workspace and of everything below it, as cargo sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The library or program itself.
    Normal,
    /// Its build script.
    Build,
    /// Its tests, examples and benches.
    Dev,
}

/// One line of a manifest's dependencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// Whether only a feature turns it on.
    pub optional: bool,
    /// The version that is asked for; `*` when none is.
    pub version: String,
    /// Whether it comes from the registry; neither path nor git.
    pub registry: bool,
}

/// A package of the workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder, from the root, with forward slashes.
    pub folder: String,
    /// Whether it may be published.
    pub publish: bool,
    /// Whether it has a library.
    pub library: bool,
    /// What its manifest depends on.
    pub dependencies: Vec<Dependency>,
    /// Fields of the manifest that a registry shows: `description`, `license`, `readme`, `repository`, `keywords`.
    pub fields: BTreeMap<&'static str, String>,
}

/// The workspace's packages, and for each package of the whole tree what it is built from.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The workspace's packages by name.
    pub members: BTreeMap<String, Package>,
    /// By name, the packages that each package of the tree is built from (tests aside, versions joined).
    pub built_from: BTreeMap<String, BTreeSet<String>>,
}

/// Why cargo's answer could not be had.
#[derive(Debug)]
#[non_exhaustive]
pub enum GraphError {
    /// A command could not be started or failed; what it said.
    Command(String),
    /// The answer lacks this field.
    Answer(&'static str),
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(said) => write!(f, "cargo metadata failed: {said}"),
            Self::Answer(field) => write!(f, "the answer of cargo metadata has no field {field}"),
        }
    }
}

impl std::error::Error for GraphError {}

impl Graph {
    /// Asks cargo about the workspace at `root`.
    ///
    /// # Errors
    /// When cargo fails or answers in another form.
    pub fn load(root: &Path) -> Result<Self, GraphError> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        // Without the filter cargo would fetch what only other platforms need.
        let platform = host()?;
        let arguments = ["metadata", "--format-version", "1", "--filter-platform", &platform];
        let text = answer(Command::new(cargo).args(arguments).current_dir(root))?;
        Self::parse(&serde_json::from_str(&text).map_err(|error| GraphError::Command(error.to_string()))?)
    }

    /// Reads cargo's answer.
    ///
    /// # Errors
    /// When a field is missing.
    pub fn parse(metadata: &Value) -> Result<Self, GraphError> {
        let root = text(metadata, "workspace_root")?;
        let members: BTreeSet<_> = list(metadata, "workspace_members")?.iter().filter_map(Value::as_str).collect();
        let mut names = BTreeMap::new();
        let mut graph = Self::default();
        for package in list(metadata, "packages")? {
            let id = text(package, "id")?;
            names.insert(id, text(package, "name")?);
            if members.contains(id) {
                let package = Package::parse(package, root)?;
                graph.members.insert(package.name.clone(), package);
            }
        }
        for node in list(&metadata["resolve"], "nodes")? {
            let from = names.get(text(node, "id")?).ok_or(GraphError::Answer("id"))?;
            let found = graph.built_from.entry((*from).to_owned()).or_default();
            for dependency in list(node, "deps")?.iter().filter(|dependency| is_built_from(dependency)) {
                found.insert((*names.get(text(dependency, "pkg")?).ok_or(GraphError::Answer("pkg"))?).to_owned());
            }
        }
        Ok(graph)
    }
}

impl Package {
    fn parse(package: &Value, root: &str) -> Result<Self, GraphError> {
        let manifest = text(package, "manifest_path")?.replace('\\', "/");
        let folder = manifest.trim_end_matches("/Cargo.toml");
        let mut fields = BTreeMap::new();
        for name in ["description", "license", "readme", "repository"] {
            fields.extend(package[name].as_str().map(|value| (name, value.to_owned())));
        }
        let keywords: Vec<_> = list(package, "keywords")?.iter().filter_map(Value::as_str).collect();
        fields.insert("keywords", keywords.join(" "));
        let kinds = list(package, "targets")?.iter().flat_map(|target| target["kind"].as_array());
        Ok(Self {
            name: text(package, "name")?.to_owned(),
            folder: folder.strip_prefix(&root.replace('\\', "/")).unwrap_or(folder).trim_start_matches('/').to_owned(),
            publish: package["publish"].as_array().is_none_or(|registries| !registries.is_empty()),
            library: kinds.flatten().any(|kind| kind == "lib"),
            dependencies: list(package, "dependencies")?.iter().map(Dependency::parse).collect::<Result<_, _>>()?,
            fields,
        })
    }
}

impl Dependency {
    fn parse(dependency: &Value) -> Result<Self, GraphError> {
        Ok(Self {
            name: text(dependency, "name")?.to_owned(),
            kind: match dependency["kind"].as_str() {
                Some("dev") => Kind::Dev,
                Some("build") => Kind::Build,
                _ => Kind::Normal,
            },
            optional: dependency["optional"] == true,
            version: text(dependency, "req")?.to_owned(),
            registry: dependency["source"].as_str().is_some_and(|source| source.starts_with("registry+")),
        })
    }
}

/// Whether a resolved dependency is more than a test's.
fn is_built_from(dependency: &Value) -> bool {
    dependency["dep_kinds"].as_array().is_none_or(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev"))
}

fn text<'a>(value: &'a Value, field: &'static str) -> Result<&'a str, GraphError> {
    value[field].as_str().ok_or(GraphError::Answer(field))
}

fn list<'a>(value: &'a Value, field: &'static str) -> Result<&'a Vec<Value>, GraphError> {
    value[field].as_array().ok_or(GraphError::Answer(field))
}

/// The platform that this compiler builds for.
fn host() -> Result<String, GraphError> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = answer(Command::new(rustc).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or(GraphError::Answer("host"))
}

fn answer(command: &mut Command) -> Result<String, GraphError> {
    let output = command.output().map_err(|error| GraphError::Command(error.to_string()))?;
    if !output.status.success() {
        return Err(GraphError::Command(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata() -> Value {
        json!({
            "workspace_root": "/w",
            "workspace_members": ["a#1"],
            "packages": [
                {
                    "id": "a#1", "name": "a", "manifest_path": "/w/crates/a/Cargo.toml", "publish": null,
                    "description": "d", "license": "l", "readme": null, "repository": null, "keywords": ["k", "l"],
                    "targets": [{"kind": ["lib"]}],
                    "dependencies": [
                        {"name": "b", "kind": null, "optional": true, "req": "^1", "source": "registry+https://docs.rs"},
                        {"name": "c", "kind": "dev", "optional": false, "req": "*", "source": null}
                    ]
                },
                {"id": "b#1", "name": "b"},
                {"id": "c#1", "name": "c"}
            ],
            "resolve": {"nodes": [
                {"id": "a#1", "deps": [
                    {"pkg": "b#1", "dep_kinds": [{"kind": null}]},
                    {"pkg": "c#1", "dep_kinds": [{"kind": "dev"}]}
                ]},
                {"id": "b#1", "deps": []},
                {"id": "c#1", "deps": []}
            ]}
        })
    }

    #[test]
    fn members_and_the_tree_below_them_are_read() {
        let graph = Graph::parse(&metadata()).unwrap();
        let package = &graph.members["a"];
        assert_eq!((package.folder.as_str(), package.publish, package.library), ("crates/a", true, true));
        assert_eq!(package.fields["keywords"], "k l");
        assert!(!package.fields.contains_key("readme"));
        let read: Vec<_> = package.dependencies.iter().map(|d| (d.kind, d.optional, d.registry)).collect();
        assert_eq!(read, [(Kind::Normal, true, true), (Kind::Dev, false, false)]);
        assert_eq!(graph.built_from["a"], BTreeSet::from(["b".to_owned()]));
    }

    #[test]
    fn an_answer_in_another_form_is_an_error_that_names_the_field() {
        let error = Graph::parse(&json!({"workspace_root": "/w", "workspace_members": []})).unwrap_err();
        assert_eq!(error.to_string(), "the answer of cargo metadata has no field packages");
    }
}
