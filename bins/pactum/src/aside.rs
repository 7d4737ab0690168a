//! Long work beside the main task, which can listen for the signal to stop meanwhile.

use std::panic;

use pactum_cli::Failure;

/// Does `work` on a thread of its own. Dropping the future leaves the work to itself; a panic in it goes on here.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Err(error) if error.is_panic() => panic::resume_unwind(error.into_panic()),
        done => Ok(done?),
    }
}
