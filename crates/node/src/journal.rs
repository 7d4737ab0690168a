//! What survives `kill -9`: a table of committed windows, and beside it one snapshot file for each of the newest.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pactum_protocol::{Digest, Window};
use pactum_round::{BoxError, Entry, InnerReport, Journal, Snapshot, Submitted};
use pactum_scoring::ScoreBook;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::scribe::Scribe;

#[cfg(test)]
mod tests;

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");

/// The score book of the newest commit, under [`NEWEST`].
const SCORES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("scores");
const NEWEST: &str = "newest";

/// How many snapshots are kept: the newest, and one to fall back on if its file is damaged.
const SNAPSHOTS_KEPT: u64 = 2;

/// The journal of one node, in one folder.
///
/// Snapshots are written by a thread of their own, one at a time, while the node goes on. What was given to the journal is
/// written also if the node ends.
#[derive(Debug)]
pub struct DiskJournal {
    scribe: Scribe,
    store: Arc<Store>,
}

/// The table and the files.
#[derive(Debug)]
struct Store {
    database: Database,
    folder: PathBuf,
}

/// A window as it is written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    next: Window,
    previous: Digest,
    state: Digest,
    snapshot: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    submitted: Option<Sent>,
    /// Of a journal whose scores were not yet in a table of their own.
    #[serde(default, skip_serializing)]
    scores: Option<ScoreBook>,
}

/// The payload that a miner made in the window `next` of the line, which the snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Sent {
    payload: Digest,
    steps: u32,
    samples: u32,
    /// The loss as its bits, so that the header is the same again.
    loss: u32,
}

/// Where a node stood when it stopped.
#[derive(Debug)]
pub struct Recovered {
    /// The newest committed window that could be read.
    pub entry: Entry,
    /// The file of the learner's snapshot, whose digest is that of the journal.
    pub snapshot: PathBuf,
    /// The score book of a validator. It may be ahead of the entry by the window that the crash cost.
    pub scores: Option<ScoreBook>,
    /// The payload that a miner made in the window it stood at.
    pub submitted: Option<Submitted>,
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
        let store = Store { database: begin(&path).map_err(broken)?, folder: folder.to_owned() };
        let kept = store.kept().map_err(broken)?;
        store.sweep(&kept).map_err(io)?;
        Ok(Self { scribe: Scribe::in_background(), store: Arc::new(store) })
    }

    /// Lets the node wait for each snapshot, which then need not share the learner's memory with the next window.
    #[must_use]
    pub fn in_foreground(mut self) -> Self {
        self.scribe = Scribe::in_foreground();
        self
    }

    /// Where the node stood when it stopped; `None` if it never wrote anything down.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] if windows are written down but none can be read.
    pub fn recover(&self) -> Result<Option<Recovered>, JournalError> {
        let broken =
            |source| JournalError::Database { path: self.store.folder.join("journal.redb"), source: Box::new(source) };
        let lines = self.store.lines().map_err(broken)?;
        let scores = self.store.scores().map_err(broken)?;
        let mut damaged = 0;
        for line in &lines {
            let Ok(line) = serde_json::from_slice::<Line>(line) else {
                damaged += 1;
                continue;
            };
            let snapshot = self.store.snapshot_path(&line);
            if digest_of(&snapshot).is_ok_and(|digest| digest == line.snapshot) {
                return Ok(Some(line.recovered(snapshot, scores, damaged)));
            }
            damaged += 1;
        }
        if lines.is_empty() { Ok(None) } else { Err(JournalError::Damaged { folder: self.store.folder.clone() }) }
    }

    /// Waits until everything given so far is durable.
    ///
    /// # Errors
    /// If the last of it could not be written.
    pub fn settle(&mut self) -> Result<(), BoxError> {
        self.scribe.settle()
    }

    fn write(&mut self, line: Line, snapshot: Box<dyn Snapshot>) -> Result<(), BoxError> {
        let store = Arc::clone(&self.store);
        self.scribe.write(move || store.write(line, &*snapshot))
    }
}

impl Line {
    fn new(entry: &Entry, submitted: Option<Sent>) -> Self {
        let Entry { next, previous, state } = *entry;
        Self { next, previous, state, snapshot: Digest::ZERO, submitted, scores: None }
    }

    fn recovered(self, snapshot: PathBuf, scores: Option<ScoreBook>, damaged: u32) -> Recovered {
        let entry = Entry { next: self.next, previous: self.previous, state: self.state };
        let submitted = self.submitted.map(|sent| Submitted {
            window: self.next,
            payload: sent.payload,
            inner: InnerReport { steps: sent.steps, samples: sent.samples, loss: f32::from_bits(sent.loss) },
        });
        Recovered { entry, snapshot, scores: scores.or(self.scores), submitted, damaged }
    }
}

impl Store {
    /// The snapshots that lines of the journal name.
    fn kept(&self) -> Result<BTreeSet<PathBuf>, redb::Error> {
        let lines = self.lines()?;
        let read = lines.iter().filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        Ok(read.map(|line| self.snapshot_path(&line)).collect())
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

    fn scores(&self) -> Result<Option<ScoreBook>, redb::Error> {
        let read = self.database.begin_read()?;
        let newest = read.open_table(SCORES)?.get(NEWEST)?;
        Ok(newest.and_then(|scores| serde_json::from_slice(scores.value()).ok()))
    }

    fn write_scores(&self, scores: &ScoreBook) -> Result<(), BoxError> {
        let bytes = serde_json::to_vec(scores)?;
        let write = self.database.begin_write()?;
        write.open_table(SCORES)?.insert(NEWEST, bytes.as_slice())?;
        write.commit()?;
        Ok(())
    }

    /// A window that has a payload has a second file, so that none is replaced which a line still names.
    fn snapshot_path(&self, line: &Line) -> PathBuf {
        let kind = if line.submitted.is_some() { "-sent" } else { "" };
        self.folder.join(format!("window-{}{kind}.snapshot", line.next))
    }

    fn write(&self, line: Line, snapshot: &dyn Snapshot) -> Result<(), BoxError> {
        let path = self.snapshot_path(&line);
        // The file is durable before the line that names it, so that a line never names what is not there.
        let digest = write_hashed(&path, snapshot)?;
        self.write_line(&Line { snapshot: digest, ..line })?;
        let kept = self.kept()?;
        // A file left behind costs space, never truth.
        let _ = self.sweep(&kept);
        Ok(())
    }

    fn write_line(&self, line: &Line) -> Result<(), BoxError> {
        let bytes = serde_json::to_vec(line)?;
        let write = self.database.begin_write()?;
        {
            let mut table = write.open_table(ENTRIES)?;
            table.insert(line.next.0, bytes.as_slice())?;
            table.retain_in(..=line.next.0.saturating_sub(SNAPSHOTS_KEPT), |_, _| false)?;
        }
        write.commit()?;
        Ok(())
    }
}

impl Journal for DiskJournal {
    fn prepare(&mut self, entry: &Entry, submitted: &Submitted, snapshot: Box<dyn Snapshot>) -> Result<(), BoxError> {
        self.settle()?;
        let InnerReport { steps, samples, loss } = submitted.inner;
        let sent = Sent { payload: submitted.payload, steps, samples, loss: loss.to_bits() };
        self.write(Line::new(entry, Some(sent)), snapshot)
    }

    fn commit(
        &mut self,
        entry: &Entry,
        snapshot: Box<dyn Snapshot>,
        scores: Option<&ScoreBook>,
    ) -> Result<(), BoxError> {
        self.settle()?;
        if let Some(scores) = scores {
            self.store.write_scores(scores)?;
        }
        self.write(Line::new(entry, None), snapshot)
    }
}

fn begin(path: &Path) -> Result<Database, redb::Error> {
    let database = Database::create(path)?;
    let write = database.begin_write()?;
    write.open_table(ENTRIES)?;
    write.open_table(SCORES)?;
    write.commit()?;
    Ok(database)
}

/// Writes a file so that after a crash it is whole or absent.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// The same for a snapshot, whose digest is returned.
fn write_hashed(path: &Path, snapshot: &dyn Snapshot) -> io::Result<Digest> {
    let mut digest = Digest::ZERO;
    write_with(path, |file| {
        let mut out = Hashing { out: BufWriter::with_capacity(1 << 18, file), hasher: blake3::Hasher::new() };
        snapshot.write(&mut out)?;
        digest = Digest(*out.hasher.finalize().as_bytes());
        out.out.flush()
    })?;
    Ok(digest)
}

/// That of a file, which need not fit into memory.
fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut hashing = Hashing { out: io::sink(), hasher: blake3::Hasher::new() };
    io::copy(&mut BufReader::with_capacity(1 << 18, File::open(path)?), &mut hashing)?;
    Ok(Digest(*hashing.hasher.finalize().as_bytes()))
}

struct Hashing<W> {
    out: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn write_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft)?;
    write(&mut file)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
