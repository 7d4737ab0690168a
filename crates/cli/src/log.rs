//! Logging: lines on standard error, levels by flags or by one environment variable.

use std::io::{self, IsTerminal};

use clap::Args;
use tracing_subscriber::EnvFilter;

use crate::Failure;
use crate::screen::LogWriter;

/// The environment variable that sets log levels when no flag does.
const VARIABLE: &str = "PACTUM_LOG";

/// How much a program tells; flatten it into the program's own arguments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct Verbosity {
    /// Only errors: no progress, no warnings
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// More detail; twice for everything (PACTUM_LOG=target=level,… chooses by crate)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Verbosity {
    /// Starts logging. A second call in one process changes nothing.
    pub(crate) fn start(&self) -> Result<(), Failure> {
        let filter = self.filter(std::env::var(VARIABLE).ok().as_deref())?;
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(io::stderr().is_terminal())
            .with_writer(|| LogWriter)
            .compact()
            .finish();
        // It fails only where a subscriber is set already, as in a process that runs many programs' tests.
        let _ = tracing::subscriber::set_global_default(subscriber);
        Ok(())
    }

    /// The filter that the flags ask for, else the environment, else the default.
    fn filter(&self, variable: Option<&str>) -> Result<EnvFilter, Failure> {
        let levels = match (self.quiet, self.verbose, variable) {
            (true, _, _) => "error",
            (false, 1, _) => "info,pactum=debug",
            (false, 2.., _) => "debug,pactum=trace",
            (false, 0, Some(levels)) if !levels.is_empty() => levels,
            (false, 0, _) => "warn,pactum=info",
        };
        EnvFilter::try_new(levels).map_err(|error| {
            Failure::usage(format!(
                "{VARIABLE}={levels} is not a list of target=level such as pactum_node=debug: {error}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(quiet: bool, verbose: u8, variable: Option<&str>, expected: &str) {
        let filter = Verbosity { quiet, verbose }.filter(variable).unwrap();
        let mut directives: Vec<_> = filter.to_string().split(',').map(str::to_owned).collect();
        directives.sort();
        assert_eq!(directives.join(","), expected);
    }

    #[test]
    fn flags_come_before_the_environment_and_the_environment_before_the_default() {
        check(false, 0, None, "pactum=info,warn");
        check(false, 0, Some(""), "pactum=info,warn");
        check(false, 0, Some("quinn=trace"), "quinn=trace");
        check(false, 1, Some("quinn=trace"), "info,pactum=debug");
        check(false, 7, None, "debug,pactum=trace");
        check(true, 0, Some("quinn=trace"), "error");
    }

    #[test]
    fn a_malformed_variable_is_a_usage_error_that_names_it() {
        let failure = Verbosity::default().filter(Some("pactum=loud")).unwrap_err();
        assert_eq!(failure.code(), 2);
        assert!(failure.to_string().contains("PACTUM_LOG=pactum=loud"), "{failure}");
    }
}
