//! Results on standard output.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::Failure;

/// Writes a program's result and a line end to standard output.
///
/// A reader that has gone away (`| head`) is no error: it has what it wanted.
///
/// # Errors
/// When standard output cannot be written to for another reason, such as a full disk behind a redirection.
pub fn output(text: impl Display) -> Result<(), Failure> {
    write_line(&mut io::stdout().lock(), text)
}

/// Writes a part of a result to standard output, without a line end, so that it is seen at once.
///
/// A reader that has gone away is told by `false`, since nobody needs the rest.
///
/// # Errors
/// When standard output cannot be written to for another reason.
pub fn output_part(text: impl Display) -> Result<bool, Failure> {
    write_part(&mut io::stdout().lock(), text)
}

fn write_part(out: &mut impl Write, text: impl Display) -> Result<bool, Failure> {
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::because("cannot write to standard output", &error)),
    }
}

fn write_line(out: &mut impl Write, text: impl Display) -> Result<(), Failure> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::because("cannot write to standard output", &error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Refusing(ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_error_and_a_full_disk_is() {
        assert_eq!(write_line(&mut Refusing(ErrorKind::BrokenPipe), "text"), Ok(()));
        let failure = write_line(&mut Refusing(ErrorKind::StorageFull), "text").unwrap_err();
        assert!(failure.to_string().starts_with("cannot write to standard output: "), "{failure}");
    }

    #[test]
    fn a_part_tells_whether_anybody_reads() {
        let mut out = Vec::new();
        assert_eq!(write_part(&mut out, "two "), Ok(true));
        assert_eq!(out, b"two ");
        assert_eq!(write_part(&mut Refusing(ErrorKind::BrokenPipe), "text"), Ok(false));
        assert!(write_part(&mut Refusing(ErrorKind::StorageFull), "text").is_err());
    }

    #[test]
    fn a_line_is_written_whole() {
        let mut out = Vec::new();
        write_line(&mut out, "two words").unwrap();
        assert_eq!(out, b"two words\n");
    }
}
