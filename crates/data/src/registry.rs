use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Bytes of text that [`registry_corpus`] is meant for by default: 8 MiB.
pub const REGISTRY_BYTES: u64 = 8 << 20;

/// Text that is on every machine which has built this program: READMEs and Rust sources in Cargo's registry folder
/// (`$CARGO_HOME/registry/src`, by default below `~/.cargo`). At most `bytes_max` bytes, in the order of the packages'
/// names, an equal share from each.
///
/// # Errors
/// If the folder is absent or holds no package.
pub fn registry_corpus(bytes_max: u64) -> Result<Vec<PathBuf>, RegistryError> {
    let home = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).ok_or(RegistryError::NoHome)?;
    registry_corpus_in(&home.join("registry").join("src"), bytes_max)
}

/// [`registry_corpus`] of the given `registry/src` folder.
///
/// # Errors
/// If the folder is absent or holds no package.
pub fn registry_corpus_in(folder: &Path, bytes_max: u64) -> Result<Vec<PathBuf>, RegistryError> {
    let absent = || RegistryError::Absent { folder: folder.to_owned() };
    if !folder.is_dir() {
        return Err(absent());
    }
    let packages = packages(folder);
    let share = (bytes_max / (packages.len() as u64).max(1)).max(SHARE_MIN);
    let (mut files, mut left) = (Vec::new(), bytes_max);
    for package in packages.values() {
        left -= choose(package, share.min(left), &mut files);
    }
    if files.is_empty() { Err(absent()) } else { Ok(files) }
}

/// Packages of all registries by name, so that the order does not depend on a registry's name.
fn packages(folder: &Path) -> BTreeMap<std::ffi::OsString, PathBuf> {
    let found = WalkDir::new(folder).min_depth(2).max_depth(2).sort_by_file_name().into_iter().flatten();
    found
        .filter(|entry| entry.file_type().is_dir())
        .map(|entry| (entry.file_name().to_owned(), entry.into_path()))
        .collect()
}

/// Adds files of one package, READMEs first, as far as `share` bytes go; returns the bytes taken.
fn choose(package: &Path, share: u64, files: &mut Vec<PathBuf>) -> u64 {
    let readmes = WalkDir::new(package).max_depth(1).sort_by_file_name().into_iter().flatten();
    let readmes = readmes.filter(|entry| entry.file_name().to_string_lossy().to_lowercase().starts_with("readme"));
    let sources = WalkDir::new(package.join("src")).sort_by_file_name().into_iter().flatten();
    let sources = sources.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "rs"));
    let mut taken = 0;
    for entry in readmes.chain(sources).filter(|entry| entry.file_type().is_file()) {
        let bytes = entry.metadata().map_or(u64::MAX, |found| found.len());
        if bytes > 0 && bytes <= share - taken {
            taken += bytes;
            files.push(entry.into_path());
        }
    }
    taken
}

/// A smaller share would leave out the main file of most packages.
const SHARE_MIN: u64 = 32 << 10;

/// Why the registry gave no text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There is no home folder to look in.
    #[error("neither CARGO_HOME nor a home folder is known: name a file or folder of text instead")]
    NoHome,
    /// There is no source of any package.
    #[error("there is no source text in {}: name a file or folder of text instead", folder.display())]
    Absent {
        /// The folder that was looked at.
        folder: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn write(root: &Path, path: &str, bytes: usize) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![b'x'; bytes]).unwrap();
    }

    #[test]
    fn takes_readmes_and_sources_up_to_the_bound() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "host-b/alpha-1.0.0/src/lib.rs", 30_000);
        write(root.path(), "host-b/alpha-1.0.0/src/deep/more.rs", 1000);
        write(root.path(), "host-b/alpha-1.0.0/README.md", 500);
        write(root.path(), "host-b/alpha-1.0.0/Cargo.toml", 10);
        write(root.path(), "host-a/beta-1.0.0/src/lib.rs", 900_000);
        write(root.path(), "host-a/beta-1.0.0/src/small.rs", 20);
        let found = registry_corpus_in(root.path(), 100_000).unwrap();
        let names: Vec<_> = found.iter().map(|p| p.strip_prefix(root.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "host-b/alpha-1.0.0/README.md",
                "host-b/alpha-1.0.0/src/deep/more.rs",
                "host-b/alpha-1.0.0/src/lib.rs",
                "host-a/beta-1.0.0/src/small.rs"
            ]
        );
        assert_eq!(registry_corpus_in(root.path(), 1500).unwrap().len(), 2);
    }

    #[test]
    fn an_absent_registry_is_said_so() {
        let root = tempfile::tempdir().unwrap();
        for folder in [root.path().join("none"), root.path().to_owned()] {
            let error = registry_corpus_in(&folder, 100).unwrap_err();
            assert!(error.to_string().contains("name a file or folder"), "{error}");
        }
    }
}
