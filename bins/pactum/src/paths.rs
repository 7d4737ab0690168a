//! Files and folders that the commands choose or check before any work begins.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use pactum_cli::Failure;

/// Makes a new folder for temporary files, one that nobody had before: process ids come again, and on a machine with
/// many users anybody may put a folder of a known name there.
pub(crate) fn fresh(what: &str) -> Result<PathBuf, Failure> {
    let base = std::env::temp_dir();
    fresh_in(&base, what).map_err(|error| {
        Failure::because(format!("cannot make a folder in {}; choose one with --dir", base.display()), &error)
    })
}

fn fresh_in(base: &Path, what: &str) -> io::Result<PathBuf> {
    let mut number = 0_u64;
    loop {
        let folder = base.join(format!("pactum-{what}-{}-{number}", std::process::id()));
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            made => return made.map(|()| folder),
        }
    }
}

/// Finds out before hours of work whether the report can be written after them.
pub(crate) fn check_report(file: &Path) -> Result<(), Failure> {
    // Also a link that leads nowhere yet: it is the user's.
    let existed = file.symlink_metadata().is_ok();
    File::options()
        .create(true)
        .append(true)
        .open(file)
        .and_then(|_| if existed { Ok(()) } else { fs::remove_file(file) })
        .map_err(|error| Failure::because(format!("cannot write the report {}", file.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_folder_is_had_twice() {
        let base = tempfile::tempdir().unwrap();
        let first = fresh_in(base.path(), "test").unwrap();
        fs::write(first.join("localnet.json"), "of an earlier process with the same id").unwrap();
        let second = fresh_in(base.path(), "test").unwrap();
        assert_ne!(first, second);
        assert_eq!(fs::read_dir(second).unwrap().count(), 0);
    }

    #[test]
    fn looking_at_a_report_changes_none() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("report.json");
        check_report(&file).unwrap();
        assert!(!file.exists());
        fs::write(&file, "older").unwrap();
        check_report(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "older");
        assert!(check_report(&base.path().join("no/such/folder.json")).is_err());
    }
}
