use super::*;

fn entry(next: u64) -> Entry {
    Entry { next: Window(next), previous: Digest::of(b"manifest"), state: Digest::of(&next.to_le_bytes()) }
}

fn journal_of(windows: u64) -> (tempfile::TempDir, DiskJournal) {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = DiskJournal::open(folder.path()).unwrap();
    for next in 1..=windows {
        journal.commit(&entry(next), Box::new(vec![next as u8; 100]), None).unwrap();
    }
    journal.settle().unwrap();
    (folder, journal)
}

#[test]
fn a_new_journal_recovers_nothing() {
    let (_folder, journal) = journal_of(0);
    assert!(journal.recover().unwrap().is_none());
}

#[test]
fn the_newest_window_is_recovered_after_reopening() {
    let (folder, journal) = journal_of(5);
    drop(journal);
    let recovered = DiskJournal::open(folder.path()).unwrap().recover().unwrap().unwrap();
    assert_eq!(recovered.entry, entry(5));
    assert_eq!(fs::read(recovered.snapshot).unwrap(), vec![5; 100]);
    assert_eq!(recovered.damaged, 0);
}

#[test]
fn a_damaged_snapshot_falls_back_to_the_one_before() {
    let (folder, journal) = journal_of(5);
    fs::write(folder.path().join("window-5.snapshot"), b"rubbish").unwrap();
    let recovered = journal.recover().unwrap().unwrap();
    assert_eq!((recovered.entry, recovered.damaged), (entry(4), 1));
}

#[test]
fn a_crash_between_the_file_and_the_line_loses_only_that_window() {
    let (folder, journal) = journal_of(3);
    write_durably(&folder.path().join("window-4.snapshot"), b"written, never named").unwrap();
    assert_eq!(journal.recover().unwrap().unwrap().entry, entry(3));
}

#[test]
fn nothing_but_damaged_snapshots_says_what_to_do() {
    let (folder, journal) = journal_of(2);
    for next in 1..=2 {
        fs::remove_file(folder.path().join(format!("window-{next}.snapshot"))).unwrap();
    }
    assert!(journal.recover().unwrap_err().to_string().contains("joins anew"));
}

#[test]
fn what_a_crash_left_is_removed_at_the_next_start() {
    let (folder, journal) = journal_of(3);
    drop(journal);
    for name in ["window-1.snapshot", "window-4.snapshot", "window-5.draft"] {
        fs::write(folder.path().join(name), b"left behind").unwrap();
    }
    let journal = DiskJournal::open(folder.path()).unwrap();
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["journal.redb", "window-2.snapshot", "window-3.snapshot"]);
    assert_eq!(journal.recover().unwrap().unwrap().entry, entry(3));
}

#[test]
fn old_snapshots_are_removed() {
    let (folder, _journal) = journal_of(9);
    let snapshots = fs::read_dir(folder.path()).unwrap();
    let count = snapshots.filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "snapshot")).count();
    assert_eq!(count, 2);
}

#[test]
fn rubbish_in_place_of_the_journal_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("journal.redb"), b"this is no database, but it is long enough to look like one")
        .unwrap();
    let error = DiskJournal::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("cannot open the journal"), "{error}");
}

fn submitted(window: u64) -> Submitted {
    let inner = InnerReport { steps: 7, samples: 28, loss: f32::from_bits(0x3f9d_f3b7) };
    Submitted { window: Window(window), payload: Digest::of(b"payload"), inner }
}

/// A snapshot that is written once the test says so, or fails.
struct Held(std::sync::mpsc::Receiver<io::Result<()>>);

impl Snapshot for Held {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"half")?;
        self.0.recv().map_err(io::Error::other)??;
        out.write_all(b" and half")
    }
}

fn held() -> (std::sync::mpsc::Sender<io::Result<()>>, Box<Held>) {
    let (go, wait) = std::sync::mpsc::channel();
    (go, Box::new(Held(wait)))
}

#[test]
fn a_prepared_payload_is_recovered_with_its_window() {
    let (folder, mut journal) = journal_of(3);
    journal.prepare(&entry(3), &submitted(3), Box::new(b"with the payload".to_vec())).unwrap();
    drop(journal);
    let journal = DiskJournal::open(folder.path()).unwrap();
    let recovered = journal.recover().unwrap().unwrap();
    assert_eq!((recovered.entry, recovered.submitted), (entry(3), Some(submitted(3))));
    assert_eq!(fs::read(recovered.snapshot).unwrap(), b"with the payload");
}

#[test]
fn a_commit_that_is_not_durable_leaves_what_was_prepared() {
    let (folder, mut journal) = journal_of(3);
    journal.prepare(&entry(3), &submitted(3), Box::new(b"with the payload".to_vec())).unwrap();
    let (go, snapshot) = held();
    let began = journal.commit(&entry(4), snapshot, None);
    began.unwrap();
    // The node goes on; whatever a crash would find now is what was prepared.
    let recovered = journal.recover().unwrap().unwrap();
    assert_eq!((recovered.entry, recovered.submitted), (entry(3), Some(submitted(3))));
    go.send(Ok(())).unwrap();
    journal.settle().unwrap();
    let recovered = journal.recover().unwrap().unwrap();
    assert_eq!((recovered.entry, recovered.submitted, recovered.damaged), (entry(4), None, 0));
    assert_eq!(fs::read(recovered.snapshot).unwrap(), b"half and half");
    drop(journal);
    let journal = DiskJournal::open(folder.path()).unwrap();
    fs::write(folder.path().join("window-4.snapshot"), b"rubbish").unwrap();
    let recovered = journal.recover().unwrap().unwrap();
    assert_eq!((recovered.entry, recovered.submitted), (entry(3), Some(submitted(3))), "kept to fall back on");
}

#[test]
fn the_next_window_waits_for_the_one_before_and_hears_of_its_failure() {
    let (_folder, mut journal) = journal_of(3);
    let (go, snapshot) = held();
    journal.commit(&entry(4), snapshot, None).unwrap();
    go.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
    let error = journal.prepare(&entry(4), &submitted(4), Box::new(Vec::new())).unwrap_err();
    assert!(error.to_string().contains("no storage space"), "{error}");
    assert_eq!(journal.recover().unwrap().unwrap().entry, entry(3));
}

#[test]
fn scores_are_durable_before_the_snapshot() {
    let (folder, mut journal) = journal_of(3);
    assert_eq!(journal.recover().unwrap().unwrap().scores, None);
    let (go, snapshot) = held();
    let scores = ScoreBook::new();
    journal.commit(&entry(4), snapshot, Some(&scores)).unwrap();
    let recovered = journal.recover().unwrap().unwrap();
    assert_eq!((recovered.entry, recovered.scores), (entry(3), Some(scores)));
    go.send(Ok(())).unwrap();
    drop(journal);
    let recovered = DiskJournal::open(folder.path()).unwrap().recover().unwrap().unwrap();
    assert_eq!(recovered.entry, entry(4), "a journal that is closed has written everything");
}

#[test]
fn in_the_foreground_a_commit_is_durable_when_it_returns() {
    let (_folder, journal) = journal_of(3);
    let mut journal = journal.in_foreground();
    journal.commit(&entry(4), Box::new(vec![4; 9]), None).unwrap();
    assert_eq!(journal.recover().unwrap().unwrap().entry, entry(4));
}
