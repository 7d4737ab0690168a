//! The stop signal: one cloneable token that everything long-running watches.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;

/// A cloneable token that says, once and for all, that the program shall end.
///
/// Asynchronous code awaits [`stopped`](Self::stopped); a plain loop asks [`is_stopped`](Self::is_stopped).
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// A token that only [`stop`](Self::stop) sets off: for tests and for parts that end before their program does.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody who holds a clone to end. Further calls change nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether the program was asked to end.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the program is asked to end. Dropping the future loses nothing.
    pub async fn stopped(&self) {
        // The sender lives in `self`: waiting ends by the value alone.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// Sets the token off at the first Ctrl-C, SIGTERM or hang-up, and ends the process at the second Ctrl-C.
    ///
    /// A hang-up that is ignored, as under `nohup`, stays ignored. SIGTERM never forces the end: a terminal sends Ctrl-C
    /// to a parent and its children alike, and the parent may well send SIGTERM to the same children right after it.
    ///
    /// # Errors
    /// When the system refuses to install the handlers. Must be called inside a runtime, whose workers run the listeners.
    pub(crate) fn listen(&self, interrupted: u8) -> io::Result<()> {
        let mut interrupt = signals::interrupt()?;
        let mut terminate = signals::terminate()?;
        self.listen_to_hangup()?;
        let stop = self.clone();
        tokio::spawn(async move {
            interrupt.recv().await;
            stop.stop();
            interrupt.recv().await;
            std::process::exit(interrupted.into());
        });
        let stop = self.clone();
        tokio::spawn(async move {
            terminate.recv().await;
            stop.stop();
        });
        Ok(())
    }

    #[cfg(unix)]
    fn listen_to_hangup(&self) -> io::Result<()> {
        let Some(mut hangup) = signals::hangup()? else { return Ok(()) };
        let stop = self.clone();
        tokio::spawn(async move {
            hangup.recv().await;
            stop.stop();
        });
        Ok(())
    }

    #[cfg(not(unix))]
    fn listen_to_hangup(&self) -> io::Result<()> {
        Ok(())
    }

    /// Sets the token off when standard input ends, as it does when the process at its other end is gone.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn follow_input(&self) -> io::Result<()> {
        let stop = self.clone();
        // A thread of its own: a read of standard input cannot be cancelled, and the runtime would wait for it at the end.
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            stop.stop();
        })?;
        Ok(())
    }
}

#[cfg(unix)]
mod signals {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    pub(super) fn interrupt() -> io::Result<Signal> {
        signal(SignalKind::interrupt())
    }

    pub(super) fn terminate() -> io::Result<Signal> {
        signal(SignalKind::terminate())
    }

    /// A listener would undo `nohup`: there is one only where the system says that the signal is not ignored.
    pub(super) fn hangup() -> io::Result<Option<Signal>> {
        let heard = std::fs::read_to_string("/proc/self/status").is_ok_and(|status| !ignores_hangup(&status));
        heard.then(|| signal(SignalKind::hangup())).transpose()
    }

    /// Reads the mask of ignored signals off what Linux tells of a process: bit 0 is signal 1, the hang-up (proc(5)).
    pub(super) fn ignores_hangup(status: &str) -> bool {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_none_or(|mask| mask & 1 == 1)
    }
}

#[cfg(windows)]
mod signals {
    use std::io;

    use tokio::signal::windows::{CtrlC, CtrlClose, ctrl_c, ctrl_close};

    pub(super) fn interrupt() -> io::Result<CtrlC> {
        ctrl_c()
    }

    pub(super) fn terminate() -> io::Result<CtrlClose> {
        ctrl_close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_sees_the_stop_and_waiting_after_it_returns() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let stop = Stop::new();
        let clone = stop.clone();
        assert!(!clone.is_stopped());
        runtime.block_on(async {
            let other = stop.clone();
            let waiting = tokio::spawn(async move { other.stopped().await });
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            stop.stop();
            waiting.await.unwrap();
            clone.stopped().await;
        });
        assert!(clone.is_stopped());
    }

    #[cfg(unix)]
    #[test]
    fn a_hang_up_is_heard_only_where_it_is_known_not_to_be_ignored() {
        let check = |status: &str, ignored: bool| assert_eq!(signals::ignores_hangup(status), ignored, "{status}");
        check("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n", false);
        check("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n", true);
        check("SigIgn:\tnonsense\n", true);
        check("", true);
    }
}
