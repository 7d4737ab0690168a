//! How far a program is: a headline and a row per thing that it watches.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::screen::{LogWriter, SCREEN};

/// Plain output repeats its rows no more often than this, so that a log of hours stays readable.
const ROWS_EVERY: Duration = Duration::from_secs(10);
/// How often the live view moves its sign of life.
const TICK: Duration = Duration::from_millis(120);

/// Shows progress on standard error; clones share one display.
///
/// On a terminal the headline and the rows are redrawn in place. Elsewhere each new headline is a line, and rows that
/// changed follow it every ten seconds at most. Rows stand in the order in which their keys were first seen.
/// Dropping the last clone leaves the last state on the screen.
#[derive(Clone)]
pub struct Progress(Arc<Mutex<View>>);

enum View {
    Silent,
    Plain(Plain<Box<dyn Write + Send>>),
    Live(Live),
}

impl Progress {
    /// A display that suits where standard error goes; with `quiet`, one that shows nothing.
    pub fn new(quiet: bool) -> Self {
        let view = if quiet {
            View::Silent
        } else if std::io::stderr().is_terminal() {
            View::Live(Live::new(SCREEN.clone()))
        } else {
            View::Plain(Plain::new(Box::new(LogWriter), ROWS_EVERY))
        };
        Self(Arc::new(Mutex::new(view)))
    }

    /// Whether nothing that it is told is shown, so that nothing need be put together for it.
    pub fn is_silent(&self) -> bool {
        matches!(*self.view(), View::Silent)
    }

    /// Replaces the headline: what the program as a whole does now.
    pub fn headline(&self, text: impl Display) {
        match &mut *self.view() {
            View::Silent => {}
            View::Plain(plain) => plain.headline(&text.to_string(), Instant::now()),
            View::Live(live) => live.headline(text.to_string()),
        }
    }

    /// Replaces the row with this key, or adds it below the others.
    pub fn row(&self, key: &str, text: impl Display) {
        match &mut *self.view() {
            View::Silent => {}
            View::Plain(plain) => plain.row(key, text.to_string()),
            View::Live(live) => live.row(key, text.to_string()),
        }
    }

    /// Writes a line that stays, above the live part.
    pub fn note(&self, line: impl Display) {
        match &mut *self.view() {
            View::Silent => {}
            View::Plain(plain) => plain.line(&line.to_string()),
            View::Live(live) => live.note(&line.to_string()),
        }
    }

    /// Ends the display; its last state stays visible and later calls show nothing.
    pub fn finish(&self) {
        *self.view() = View::Silent;
    }

    fn view(&self) -> MutexGuard<'_, View> {
        // A display stays usable after a panic elsewhere: it holds nothing that could be half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        match self {
            Self::Silent => {}
            Self::Plain(plain) => plain.rows(),
            Self::Live(live) => live.finish(),
        }
    }
}

/// Lines for files, pipes and logs.
struct Plain<W> {
    out: W,
    every: Duration,
    headline: String,
    keys: Vec<String>,
    changed: BTreeMap<usize, String>,
    shown: BTreeMap<usize, String>,
    last: Option<Instant>,
}

impl<W: Write> Plain<W> {
    fn new(out: W, every: Duration) -> Self {
        let (headline, keys, last) = (String::new(), Vec::new(), None);
        Self { out, every, headline, keys, changed: BTreeMap::new(), shown: BTreeMap::new(), last }
    }

    fn headline(&mut self, text: &str, now: Instant) {
        if text != self.headline {
            text.clone_into(&mut self.headline);
            self.line(text);
        }
        if self.last.is_none_or(|last| now.duration_since(last) >= self.every) {
            self.rows();
            self.last = Some(now);
        }
    }

    fn row(&mut self, key: &str, text: String) {
        let place = self.keys.iter().position(|known| known == key).unwrap_or_else(|| {
            self.keys.push(key.to_owned());
            self.keys.len() - 1
        });
        if self.shown.get(&place) == Some(&text) {
            self.changed.remove(&place);
        } else {
            self.changed.insert(place, text);
        }
    }

    /// Shows the rows that differ from what was shown last.
    fn rows(&mut self) {
        let width = self.keys.iter().map(|key| key.chars().count()).max().unwrap_or(0);
        for (place, text) in std::mem::take(&mut self.changed) {
            let line = format!("  {:width$}  {text}", self.keys[place]);
            self.line(&line);
            self.shown.insert(place, text);
        }
    }

    fn line(&mut self, line: &str) {
        // One write for each line, so that lines of several processes on one pipe do not mix.
        let _ = self.out.write_all(format!("{line}\n").as_bytes());
    }
}

/// A few lines at the bottom of a terminal, redrawn in place.
struct Live {
    screen: MultiProgress,
    headline: ProgressBar,
    rows: Vec<(String, ProgressBar)>,
}

impl Live {
    fn new(screen: MultiProgress) -> Self {
        let headline = screen.add(ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg}")));
        headline.enable_steady_tick(TICK);
        Self { screen, headline, rows: Vec::new() }
    }

    fn headline(&self, text: String) {
        self.headline.set_message(text);
    }

    fn row(&mut self, key: &str, text: String) {
        if let Some((_, bar)) = self.rows.iter().find(|(known, _)| known == key) {
            bar.set_message(text);
            return;
        }
        let bar = self.screen.add(ProgressBar::no_length().with_style(style("  {prefix} {wide_msg}")));
        bar.set_message(text);
        self.rows.push((key.to_owned(), bar));
        let width = self.rows.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
        for (key, bar) in &self.rows {
            bar.set_prefix(format!("{key:width$}"));
        }
    }

    fn note(&self, line: &str) {
        // It fails only when the terminal is gone, and then nobody reads.
        let _ = self.screen.println(line);
    }

    fn finish(&self) {
        self.headline.disable_steady_tick();
        self.headline.abandon();
        for (_, bar) in &self.rows {
            bar.abandon();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests;
