//! The text of every file that belongs to the repository.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use walkdir::{DirEntry, WalkDir};

/// Files by their path from the root, with forward slashes; `None` for what is not text.
#[derive(Debug, Clone, Default)]
pub struct Tree(BTreeMap<String, Option<String>>);

impl Tree {
    /// Reads what lies below `root`, without `.git` and what `.gitignore` names.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn load(root: &Path) -> io::Result<Self> {
        let ignored = ignored(&fs::read_to_string(root.join(".gitignore"))?);
        let name = |entry: &DirEntry| {
            let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
            path.to_string_lossy().replace('\\', "/")
        };
        let mut files = BTreeMap::new();
        for entry in WalkDir::new(root).into_iter().filter_entry(|entry| !ignored.contains(&name(entry))) {
            let entry = entry?;
            if entry.file_type().is_file() {
                files.insert(name(&entry), String::from_utf8(fs::read(entry.path())?).ok());
            }
        }
        Ok(Self(files))
    }

    /// A tree of the given paths and texts.
    pub fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(files.into_iter().map(|(path, text)| (path.to_owned(), Some(text.to_owned()))).collect())
    }

    /// The text of one file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path)?.as_deref()
    }

    /// Whether a file or a folder has this path.
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        self.0.contains_key(path)
            || self.0.range(folder.clone()..).next().is_some_and(|(next, _)| next.starts_with(&folder))
    }

    /// Every text file: path and text, in order of the paths.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// Every path, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The paths that a `.gitignore` of plain anchored lines names, and `.git` itself.
fn ignored(text: &str) -> Vec<String> {
    let anchored = text.lines().filter_map(|line| line.trim_end_matches('/').strip_prefix('/'));
    anchored.map(str::to_owned).chain([".git".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_there_when_a_file_below_it_is() {
        let tree = Tree::of([("crates/model/Cargo.toml", ""), ("crates/modelling", "")]);
        for path in ["crates", "crates/model", "crates/model/", "crates/modelling", "crates/model/Cargo.toml"] {
            assert!(tree.has(path), "{path}");
        }
        for path in ["crate", "crates/mode", "crates/model/src", "crates/modelling/x"] {
            assert!(!tree.has(path), "{path}");
        }
    }

    #[test]
    fn anchored_lines_and_git_are_left_out() {
        assert_eq!(ignored("/target\n/docs/book/\n# note\n"), ["target", "docs/book", ".git"]);
    }
}
