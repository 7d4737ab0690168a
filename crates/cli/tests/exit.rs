//! How programs end: exit codes and what stands on each stream, seen from outside.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

/// The example program, which cargo builds together with the tests.
fn program() -> Command {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let mut command = Command::new(profile.join("examples").join("program"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("PACTUM_LOG");
    command
}

struct Seen {
    code: Option<i32>,
    out: String,
    err: String,
}

fn see(output: Output) -> Seen {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Seen { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn run(arguments: &[&str]) -> Seen {
    see(program().args(arguments).output().unwrap())
}

/// Starts the program and waits until it runs.
fn start(arguments: &[&str], input: Stdio) -> (Child, BufReader<impl Read + use<>>) {
    let mut child = program().args(arguments).stdin(input).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    wait_for(&mut err, "this is a log line");
    (child, err)
}

fn wait_for(err: &mut impl BufRead, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(err.read_line(&mut line).unwrap(), 0, "the program ended without saying {text:?}");
    }
}

fn send(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn success_is_0_with_the_result_alone_on_standard_output() {
    let seen = run(&[]);
    assert_eq!((seen.code, seen.out.as_str()), (Some(0), "done\n"));
    assert!(seen.err.contains("running\n") && seen.err.contains("  way  chosen\n"), "{}", seen.err);
    assert!(seen.err.contains("INFO") && !seen.err.contains('\u{1b}'), "{}", seen.err);
}

#[test]
fn quiet_leaves_standard_error_empty() {
    let seen = run(&["--quiet"]);
    assert_eq!((seen.code, seen.out.as_str(), seen.err.as_str()), (Some(0), "done\n", ""));
}

#[test]
fn a_failure_is_1_and_one_line_with_its_cause() {
    let seen = run(&["failed", "--quiet"]);
    let expected = "error: cannot read the input: No such file or directory (os error 2)\n";
    assert_eq!((seen.code, seen.out.as_str(), seen.err.as_str()), (Some(1), "", expected));
}

#[test]
fn wrong_usage_is_2() {
    assert_eq!(run(&["sideways"]).code, Some(2));
    assert_eq!(run(&["--quiet", "-v"]).code, Some(2));
    let seen = see(program().env("PACTUM_LOG", "pactum=loud").output().unwrap());
    assert_eq!(seen.code, Some(2));
    assert!(seen.err.starts_with("error: PACTUM_LOG=pactum=loud is not a list"), "{}", seen.err);
}

#[test]
fn a_panic_is_101_and_called_a_bug() {
    let seen = run(&["bug", "--quiet"]);
    assert_eq!(seen.code, Some(101));
    assert!(seen.err.starts_with("bug: program 0.1.0 met a case"), "{}", seen.err);
    assert!(seen.err.contains("one apple too many") && seen.err.contains("program.rs:"), "{}", seen.err);
}

/// Whether a hang-up reaches what this test starts: it does not where the test itself was started under `nohup`.
fn hangup_is_heard() -> bool {
    let survived = Command::new("sh").args(["-c", "kill -HUP $$; echo ignored"]).output().unwrap().stdout;
    cfg!(target_os = "linux") && survived.is_empty()
}

#[test]
fn one_signal_stops_the_program_cleanly() {
    for signal in ["-INT", "-TERM"].into_iter().chain(hangup_is_heard().then_some("-HUP")) {
        let (child, _err) = start(&["stopped"], Stdio::null());
        send(&child, signal);
        let seen = see(child.wait_with_output().unwrap());
        assert_eq!((seen.code, seen.out.as_str()), (Some(0), "done\n"), "{signal}");
    }
}

#[test]
fn the_end_of_standard_input_stops_a_program_that_asks_for_it() {
    let (mut child, _err) = start(&["stopped", "--with-input"], Stdio::piped());
    assert!(child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn a_second_interrupt_ends_a_program_that_does_not_stop_and_sigterm_does_not_count() {
    let (mut child, mut err) = start(&["never"], Stdio::null());
    send(&child, "-TERM");
    wait_for(&mut err, "told to stop");
    send(&child, "-INT");
    // Signals of one kind merge while they wait, so the second is repeated until it has been heard.
    let code = loop {
        send(&child, "-INT");
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        std::thread::yield_now();
    };
    assert_eq!(code, Some(130));
}
