//! A folder of blobs by digest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use pactum_protocol::Digest;

use crate::Blob;

/// Blobs in files named by their BLAKE3 digest, at most so many bytes of them.
///
/// `open/` holds what anybody may have, `withheld/` what nobody may have before its [`release`](Self::release), `partial/`
/// what was not finished. So a restart finds everything as it was; [`pins`](Self::pin) alone are to be set again.
#[derive(Debug)]
pub struct BlobStore {
    dir: PathBuf,
    bytes_max: u64,
    partials: AtomicU64,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    entries: BTreeMap<Digest, Entry>,
    bytes: u64,
    /// The age of the next entry; a larger one is younger.
    next: u64,
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    age: u64,
    withheld: bool,
    pinned: bool,
    /// What is being served just now is shared by all who ask.
    served: Weak<Vec<u8>>,
}

/// Why a blob could not be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system refuses.
    #[error("cannot {action} {path}: {source}; check the disk and the folder's permissions", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no room, even without all that may be dropped.
    #[error("no room for {bytes} bytes: {kept} of at most {bytes_max} are pinned or withheld; raise the store's limit")]
    Full {
        /// Length of the blob.
        bytes: u64,
        /// What cannot be dropped.
        kept: u64,
        /// The bound.
        bytes_max: u64,
    },
}

impl BlobStore {
    /// Opens the store in `dir`, which is made if it is not there. Nothing is dropped before the next insertion, so that there is
    /// time to pin.
    pub fn open(dir: impl Into<PathBuf>, bytes_max: u64) -> Result<Self, StoreError> {
        let store = Self { dir: dir.into(), bytes_max, partials: AtomicU64::new(0), index: Mutex::default() };
        for folder in ["open", "withheld", "partial"] {
            let path = store.dir.join(folder);
            fs::create_dir_all(&path).map_err(|source| failed("make", &path, source))?;
        }
        for (path, _) in list(&store.dir.join("partial"))? {
            fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
        }
        store.recover()?;
        Ok(store)
    }

    /// Keeps `blob` for everybody. One that is there already stays as it is, withheld if it was.
    pub fn insert(&self, blob: &[u8]) -> Result<Digest, StoreError> {
        self.keep(blob, false)
    }

    /// Keeps `blob` and hides it until its [`release`](Self::release). One that was open already stays open.
    pub fn insert_withheld(&self, blob: &[u8]) -> Result<Digest, StoreError> {
        self.keep(blob, true)
    }

    /// Opens a withheld blob to everybody. Returns whether the blob is here.
    pub fn release(&self, digest: &Digest) -> Result<bool, StoreError> {
        let mut index = self.lock();
        let Some(entry) = index.entries.get_mut(digest) else { return Ok(false) };
        if entry.withheld {
            let (from, to) = (self.path(digest, true), self.path(digest, false));
            fs::rename(&from, &to).map_err(|source| failed("rename", &from, source))?;
            entry.withheld = false;
            sync_folder(&to)?;
        }
        Ok(true)
    }

    /// Removes every withheld blob: what was to be released by a process that is gone.
    pub fn drop_withheld(&self) {
        let mut index = self.lock();
        let withheld = index.entries.iter().filter(|(_, entry)| entry.withheld).map(|(digest, _)| *digest);
        for digest in withheld.collect::<Vec<_>>() {
            self.forget(&mut index, &digest);
        }
    }

    /// The blob as a peer may see it. A file that is damaged is an absence, and is removed.
    #[must_use]
    pub fn serve(&self, digest: &Digest) -> Blob {
        match self.lock().entries.get(digest) {
            None => return Blob::Absent,
            Some(entry) if entry.withheld => return Blob::Withheld,
            Some(_) => {}
        }
        self.read(digest).map_or(Blob::Absent, Blob::Found)
    }

    /// The blob as its owner may see it: withheld or not.
    #[must_use]
    pub fn read(&self, digest: &Digest) -> Option<Bytes> {
        let (age, path) = {
            let index = self.lock();
            let entry = index.entries.get(digest)?;
            if let Some(served) = entry.served.upgrade() {
                return Some(Bytes::from_owner(Served(served)));
            }
            (entry.age, self.path(digest, entry.withheld))
        };
        // Released in between, perhaps: then it lies among the open ones.
        let found = fs::read(&path).or_else(|_| fs::read(self.path(digest, false)));
        let found = found.inspect_err(|error| tracing::warn!(blob = %digest, %error, "a stored blob is unreadable"));
        let damaged = match &found {
            Ok(bytes) => Digest::of(bytes) != *digest,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let mut index = self.lock();
        let entry = index.entries.get_mut(digest).filter(|entry| entry.age == age)?;
        if damaged {
            tracing::warn!(blob = %digest, "a stored blob is damaged and was removed");
            self.forget(&mut index, digest);
            return None;
        }
        let found = found.ok()?;
        let served = Arc::new(found);
        entry.served = Arc::downgrade(&served);
        Some(Bytes::from_owner(Served(served)))
    }

    /// Whether the blob is here, withheld or not.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.lock().entries.contains_key(digest)
    }

    /// Bytes kept, at most those allowed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Keeps the blob whatever its age, until [`unpin`](Self::unpin) or the end of the process. Returns whether it is here.
    pub fn pin(&self, digest: &Digest) -> bool {
        self.lock().entries.get_mut(digest).map(|entry| entry.pinned = true).is_some()
    }

    /// Lets the blob go when its turn comes. Returns whether it is here.
    pub fn unpin(&self, digest: &Digest) -> bool {
        self.lock().entries.get_mut(digest).map(|entry| entry.pinned = false).is_some()
    }

    /// Removes the blob, pinned or withheld too. Returns whether it was here.
    pub fn remove(&self, digest: &Digest) -> bool {
        self.forget(&mut self.lock(), digest)
    }

    fn keep(&self, blob: &[u8], withheld: bool) -> Result<Digest, StoreError> {
        let digest = Digest::of(blob);
        let bytes = blob.len() as u64;
        if self.contains(&digest) {
            return Ok(digest);
        }
        self.check_room(&self.lock(), bytes)?;
        let partial = self.write_partial(blob)?;
        let mut index = self.lock();
        let placed = self.place(&mut index, &partial, (digest, bytes, withheld));
        drop(index);
        if !matches!(placed, Ok(true)) {
            // What is left over is removed at the next start if not now.
            let _ = fs::remove_file(&partial);
        }
        placed.map(|_| digest)
    }

    /// Moves a finished file to its place, and makes room for it. Returns false if somebody else was first.
    fn place(
        &self,
        index: &mut Index,
        partial: &Path,
        (digest, bytes, withheld): (Digest, u64, bool),
    ) -> Result<bool, StoreError> {
        if index.entries.contains_key(&digest) {
            return Ok(false);
        }
        self.check_room(index, bytes)?;
        while index.bytes + bytes > self.bytes_max {
            let droppable = index.entries.iter().filter(|(_, entry)| !entry.stays());
            let Some(oldest) = droppable.min_by_key(|(_, entry)| entry.age).map(|(digest, _)| *digest) else { break };
            self.forget(index, &oldest);
        }
        let path = self.path(&digest, withheld);
        fs::rename(partial, &path).map_err(|source| failed("rename", partial, source))?;
        index.add(digest, bytes, withheld);
        sync_folder(&path)?;
        Ok(true)
    }

    fn check_room(&self, index: &Index, bytes: u64) -> Result<(), StoreError> {
        let kept = index.entries.values().filter(|entry| entry.stays()).map(|entry| entry.bytes).sum::<u64>();
        if kept.saturating_add(bytes) > self.bytes_max {
            return Err(StoreError::Full { bytes, kept, bytes_max: self.bytes_max });
        }
        Ok(())
    }

    fn write_partial(&self, blob: &[u8]) -> Result<PathBuf, StoreError> {
        let number = self.partials.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join("partial").join(format!("{}-{number}", std::process::id()));
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(blob)?;
            file.sync_all()
        });
        written.map_err(|source| {
            // A full disk must not stay full because of what did not fit.
            let _ = fs::remove_file(&path);
            failed("write", &path, source)
        })?;
        Ok(path)
    }

    fn forget(&self, index: &mut Index, digest: &Digest) -> bool {
        let Some(entry) = index.entries.remove(digest) else { return false };
        index.bytes -= entry.bytes;
        let path = self.path(digest, entry.withheld);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "a blob's file could not be removed");
        }
        true
    }

    /// Finds the blobs of earlier processes. Their age is that of their files.
    fn recover(&self) -> Result<(), StoreError> {
        let mut found = Vec::new();
        for (folder, withheld) in [("open", false), ("withheld", true)] {
            for (path, metadata) in list(&self.dir.join(folder))? {
                let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.extend(digest_named(&path).map(|digest| (modified, digest, metadata.len(), withheld)));
            }
        }
        found.sort();
        let mut index = self.lock();
        for (_, digest, bytes, withheld) in found {
            index.add(digest, bytes, withheld);
        }
        Ok(())
    }

    fn path(&self, digest: &Digest, withheld: bool) -> PathBuf {
        self.dir.join(if withheld { "withheld" } else { "open" }).join(digest.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn add(&mut self, digest: Digest, bytes: u64, withheld: bool) {
        let entry = Entry { bytes, age: self.next, withheld, pinned: false, served: Weak::new() };
        self.next += 1;
        self.bytes += bytes;
        if let Some(twin) = self.entries.insert(digest, entry) {
            self.bytes -= twin.bytes;
        }
    }
}

impl Entry {
    /// Whether age alone does not remove it.
    fn stays(&self) -> bool {
        self.pinned || self.withheld
    }
}

struct Served(Arc<Vec<u8>>);

impl AsRef<[u8]> for Served {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { action, path: path.to_owned(), source }
}

/// The digest that a file is named by, if it is one of ours.
fn digest_named(path: &Path) -> Option<Digest> {
    path.file_name()?.to_str()?.parse().ok()
}

/// The files in a folder.
fn list(folder: &Path) -> Result<Vec<(PathBuf, fs::Metadata)>, StoreError> {
    let read = || -> io::Result<Vec<_>> {
        let entries = fs::read_dir(folder)?.map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))));
        entries.filter(|entry| entry.as_ref().map_or(true, |(_, metadata)| metadata.is_file())).collect()
    };
    read().map_err(|source| failed("read", folder, source))
}

/// Makes a renaming last; only some systems let a folder be opened for that.
fn sync_folder(file: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    if let Some(folder) = file.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| failed("sync", folder, source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
