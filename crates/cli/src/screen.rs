//! Standard error as one screen: log lines, notes and the live view take turns on it.

use std::io::{self, Write};
use std::sync::LazyLock;

use indicatif::MultiProgress;

/// What is drawn on standard error. One per process, because the terminal is.
pub(crate) static SCREEN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Writes one line above whatever is being drawn. Nobody is left to tell when standard error is gone.
pub(crate) fn say(line: &str) {
    SCREEN.suspend(|| {
        let _ = writeln!(io::stderr().lock(), "{line}");
    });
}

/// A writer for log lines, which arrive whole.
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        SCREEN.suspend(|| io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}
