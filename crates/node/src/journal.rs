//! What survives `kill -9`: a table of committed windows, and beside it one snapshot file for each of the newest.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pactum_protocol::{Digest, Window};
use pactum_round::{BoxError, Entry, Journal};
use pactum_scoring::ScoreBook;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");

/// How many snapshots are kept: the newest, and one to fall back on if its file is damaged.
const SNAPSHOTS_KEPT: u64 = 2;

/// The journal of one node, in one folder.
#[derive(Debug)]
pub struct DiskJournal {
    database: Database,
    folder: PathBuf,
}

/// A committed window as it is written down.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    next: Window,
    previous: Digest,
    state: Digest,
    snapshot: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scores: Option<ScoreBook>,
}

/// Where a node stood when it stopped.
#[derive(Debug)]
pub struct Recovered {
    /// The newest committed window that could be read.
    pub entry: Entry,
    /// The learner's snapshot.
    pub snapshot: Vec<u8>,
    /// The score book of a validator.
    pub scores: Option<ScoreBook>,
    /// How many newer windows were passed over since their snapshots are damaged.
    pub damaged: u32,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The folder or a file in it cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The table cannot be opened.
    #[error("cannot open the journal {path}: {source}; if it is damaged, move it away and the node joins anew")]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: Box<redb::Error>,
    },
    /// There are committed windows, but no snapshot of any can be read.
    #[error("every snapshot in {folder} is damaged; move the folder away and the node joins anew")]
    Damaged {
        /// The folder.
        folder: PathBuf,
    },
}

impl DiskJournal {
    /// Opens or begins the journal in `folder`.
    ///
    /// # Errors
    /// [`JournalError`] if the folder cannot be written or the table cannot be read.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let io = |source| JournalError::Io { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(io)?;
        let path = folder.join("journal.redb");
        let broken = |source| JournalError::Database { path: path.clone(), source: Box::new(source) };
        let journal = Self { database: begin(&path).map_err(broken)?, folder: folder.to_owned() };
        let kept = journal.kept().map_err(broken)?;
        journal.sweep(&kept).map_err(io)?;
        Ok(journal)
    }

    /// The snapshots that lines of the journal name.
    fn kept(&self) -> Result<BTreeSet<PathBuf>, redb::Error> {
        let read = self.database.begin_read()?;
        let table = read.open_table(ENTRIES)?;
        let mut kept = BTreeSet::new();
        for row in table.iter()? {
            kept.insert(self.snapshot_path(Window(row?.0.value())));
        }
        Ok(kept)
    }

    /// Removes the snapshots that a crash left unfinished or unnamed.
    fn sweep(&self, kept: &BTreeSet<PathBuf>) -> io::Result<()> {
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            let is_ours = path.extension().is_some_and(|kind| kind == "snapshot" || kind == "draft");
            if is_ours && !kept.contains(&path) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Where the node stood when it stopped; `None` if it never committed a window.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] if windows are committed but none can be read.
    pub fn recover(&self) -> Result<Option<Recovered>, JournalError> {
        let lines = self.lines().map_err(|source| JournalError::Database {
            path: self.folder.join("journal.redb"),
            source: Box::new(source),
        })?;
        let mut damaged = 0;
        for line in &lines {
            let Ok(line) = serde_json::from_slice::<Line>(line) else {
                damaged += 1;
                continue;
            };
            match fs::read(self.snapshot_path(line.next)) {
                Ok(snapshot) if Digest::of(&snapshot) == line.snapshot => {
                    let entry = Entry { next: line.next, previous: line.previous, state: line.state };
                    return Ok(Some(Recovered { entry, snapshot, scores: line.scores, damaged }));
                }
                _ => damaged += 1,
            }
        }
        if lines.is_empty() { Ok(None) } else { Err(JournalError::Damaged { folder: self.folder.clone() }) }
    }

    /// The lines of the journal, newest first.
    fn lines(&self) -> Result<Vec<Vec<u8>>, redb::Error> {
        let read = self.database.begin_read()?;
        let table = read.open_table(ENTRIES)?;
        let mut lines = Vec::new();
        for row in table.iter()?.rev() {
            lines.push(row?.1.value().to_vec());
        }
        Ok(lines)
    }

    fn snapshot_path(&self, next: Window) -> PathBuf {
        self.folder.join(format!("window-{next}.snapshot"))
    }

    fn write(&self, line: &Line) -> Result<Vec<u64>, BoxError> {
        let bytes = serde_json::to_vec(line)?;
        let write = self.database.begin_write()?;
        let mut dropped = Vec::new();
        {
            let mut table = write.open_table(ENTRIES)?;
            table.insert(line.next.0, bytes.as_slice())?;
            let newest_dropped = line.next.0.saturating_sub(SNAPSHOTS_KEPT);
            for row in table.extract_from_if(..=newest_dropped, |_, _| true)? {
                dropped.push(row?.0.value());
            }
        }
        write.commit()?;
        Ok(dropped)
    }
}

impl Journal for DiskJournal {
    fn commit(&mut self, entry: &Entry, snapshot: Vec<u8>, scores: Option<&ScoreBook>) -> Result<(), BoxError> {
        // The file is durable before the line that names it, so that a line never names what is not there.
        write_durably(&self.snapshot_path(entry.next), &snapshot)?;
        let line = Line {
            next: entry.next,
            previous: entry.previous,
            state: entry.state,
            snapshot: Digest::of(&snapshot),
            scores: scores.cloned(),
        };
        for dropped in self.write(&line)? {
            // A file left behind costs space, never truth.
            let _ = fs::remove_file(self.snapshot_path(Window(dropped)));
        }
        Ok(())
    }
}

fn begin(path: &Path) -> Result<Database, redb::Error> {
    let database = Database::create(path)?;
    let write = database.begin_write()?;
    write.open_table(ENTRIES)?;
    write.commit()?;
    Ok(database)
}

/// Writes a file so that after a crash it is whole or absent.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
