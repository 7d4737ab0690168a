//! What a program says, and returns, when it cannot go on.

use std::error::Error;
use std::fmt;

/// Why a program ends without success: a message, its chain of causes and an exit code.
///
/// Any error turns into a `Failure` by `?`. It is not an [`Error`] itself: it is the last stop, for `main` to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    sentence: String,
    code: u8,
}

impl Failure {
    /// A failure that has no other cause; exit code 1. The message says what to do.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { sentence: message.to_string(), code: 1 }
    }

    /// A failure with the error that led to it; exit code 1.
    pub fn because(message: impl fmt::Display, cause: &(dyn Error + 'static)) -> Self {
        let mut sentence = message.to_string();
        append_causes(&mut sentence, Some(cause));
        Self { sentence, code: 1 }
    }

    /// A mistake in how the program was called, which the argument parser could not see; exit code 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { sentence: message.to_string(), code: 2 }
    }

    /// The exit code that the program ends with.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut sentence = error.to_string();
        append_causes(&mut sentence, error.source());
        Self { sentence, code: 1 }
    }
}

/// Appends `: cause` for each cause that the sentence does not hold yet: many errors repeat their source, and some go on
/// after it.
fn append_causes(sentence: &mut String, mut cause: Option<&(dyn Error + 'static)>) {
    while let Some(error) = cause {
        let text = error.to_string();
        if !sentence.contains(&text) {
            sentence.push_str(": ");
            sentence.push_str(&text);
        }
        cause = error.source();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|inner| inner as &(dyn Error + 'static))
        }
    }

    fn check(error: Layer, sentence: &str) {
        let failure = Failure::from(error);
        assert_eq!((failure.to_string().as_str(), failure.code()), (sentence, 1));
    }

    #[test]
    fn causes_follow_the_message_and_are_not_said_twice() {
        check(Layer("no such file", None), "no such file");
        check(
            Layer("cannot open the journal", Some(Box::new(Layer("no such file", None)))),
            "cannot open the journal: no such file",
        );
        check(
            Layer("cannot open: no such file", Some(Box::new(Layer("no such file", None)))),
            "cannot open: no such file",
        );
        check(
            Layer("cannot open: no such file; name another", Some(Box::new(Layer("no such file", None)))),
            "cannot open: no such file; name another",
        );
    }

    #[test]
    fn a_message_can_stand_before_an_error_with_causes() {
        let cause = Layer("disk", Some(Box::new(Layer("full", None))));
        assert_eq!(Failure::because("nothing was written", &cause).to_string(), "nothing was written: disk: full");
    }

    #[test]
    fn wrong_usage_has_its_own_code() {
        assert_eq!(Failure::usage("name a file").code(), 2);
    }
}
