use std::io;

use indicatif::{ProgressDrawTarget, TermLike};

use super::*;

/// Memory that stands for a file, or for a terminal of 60 columns that never forgets.
#[derive(Debug, Clone, Default)]
struct Paper(Arc<Mutex<String>>);

impl Paper {
    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn add(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap().push_str(text);
        Ok(())
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(std::str::from_utf8(bytes).unwrap()).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TermLike for Paper {
    fn width(&self) -> u16 {
        60
    }
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, line: &str) -> io::Result<()> {
        self.add(&format!("{line}\n"))
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(text)
    }
    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn plain(every: Duration) -> (Plain<Paper>, Paper) {
    let paper = Paper::default();
    (Plain::new(paper.clone(), every), paper)
}

#[test]
fn a_plain_headline_is_said_once_and_rows_follow_it_in_order_of_first_sight() {
    let (mut plain, paper) = plain(Duration::ZERO);
    let now = Instant::now();
    plain.row("validator 1", "idle".into());
    plain.row("m", "training".into());
    plain.headline("window 1", now);
    plain.headline("window 1", now);
    plain.row("m", "training".into());
    plain.row("validator 1", "scoring".into());
    plain.headline("window 2", now);
    let expected = "window 1\n  validator 1  idle\n  m            training\nwindow 2\n  validator 1  scoring\n";
    assert_eq!(paper.text(), expected);
}

#[test]
fn plain_rows_wait_for_their_interval_and_the_newest_text_is_said() {
    let (mut plain, paper) = plain(Duration::from_secs(10));
    let start = Instant::now();
    plain.headline("one", start);
    plain.row("m", "first".into());
    plain.row("m", "second".into());
    plain.headline("two", start + Duration::from_secs(9));
    assert_eq!(paper.text(), "one\ntwo\n");
    plain.headline("two", start + Duration::from_secs(10));
    assert_eq!(paper.text(), "one\ntwo\n  m  second\n");
}

#[test]
fn dropping_a_plain_display_says_the_rows_that_are_left() {
    let paper = Paper::default();
    let plain = Plain::new(Box::new(paper.clone()) as Box<dyn Write + Send>, ROWS_EVERY);
    let progress = Progress(Arc::new(Mutex::new(View::Plain(plain))));
    progress.clone().row("m", "last words");
    progress.note("a note");
    assert_eq!(paper.text(), "a note\n");
    drop(progress);
    assert_eq!(paper.text(), "a note\n  m  last words\n");
}

#[test]
fn a_live_display_draws_headline_rows_and_notes_and_falls_silent_after_its_end() {
    let paper = Paper::default();
    let screen = MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(paper.clone())));
    let progress = Progress(Arc::new(Mutex::new(View::Live(Live::new(screen)))));
    progress.headline("window 7");
    progress.row("miner 1", "training");
    progress.row("validator 2", "scoring");
    progress.note("miner 3 is back");
    progress.finish();
    for expected in ["window 7", "  miner 1     training", "  validator 2 scoring", "miner 3 is back"] {
        assert!(paper.text().contains(expected), "{expected:?} is missing in {:?}", paper.text());
    }
    let length = paper.text().len();
    progress.headline("window 8");
    progress.note("too late");
    assert_eq!(paper.text().len(), length);
}

#[test]
fn a_quiet_display_shows_nothing() {
    assert!(matches!(*Progress::new(true).view(), View::Silent));
}
