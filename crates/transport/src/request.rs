//! What this side asks for.

use std::sync::Arc;
use std::time::Duration;

use pactum_protocol::Digest;
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, WriteError};
use tokio::time::timeout;

use crate::dial::{ConnectError, way_to};
use crate::endpoint::Shared;
use crate::frame::{REPLY_HEAD, Reply, Request};
use crate::link::Link;
use crate::{PeerAddress, Refusal};

/// What is set aside for a blob before its first byte has come.
const FIRST_RESERVE: usize = 1 << 20;

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The peer read the message and did not take it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The message is longer than this side or the peer allows.
    #[error("the message is longer than {bytes_max} bytes; send it as a blob")]
    TooLarge {
        /// The bound.
        bytes_max: u64,
    },
    /// The peer takes no more requests for now.
    #[error("the peer is busy; try again in {retry_after:?}")]
    Busy {
        /// When the peer will take the next one.
        retry_after: Duration,
    },
    /// There is no connection with the peer.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(#[from] ConnectError),
    /// The peer did not answer in time.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The peer broke off or answered what is no answer.
    #[error("the peer did not answer as agreed")]
    Broken,
}

/// Why a blob was not obtained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The peer does not have it; another one may.
    #[error("the peer does not have the blob; ask another one")]
    NotThere,
    /// The peer has it but gives it to nobody yet.
    #[error("the peer withholds the blob for now; ask later")]
    Withheld,
    /// It is longer than allowed, so it was not fetched.
    #[error("the blob has {bytes} bytes and at most {bytes_max} are allowed")]
    TooLarge {
        /// The length that the peer tells.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// The peer sent other bytes than were asked for.
    #[error("the peer sent bytes of another digest")]
    WrongDigest,
    /// The peer sent fewer bytes than it had announced.
    #[error("the peer broke off after {arrived} of {bytes} bytes")]
    Truncated {
        /// Bytes announced.
        bytes: u64,
        /// Bytes received.
        arrived: u64,
    },
    /// The peer takes no more requests for now.
    #[error("the peer is busy; try again in {retry_after:?}")]
    Busy {
        /// When the peer will take the next one.
        retry_after: Duration,
    },
    /// There is no connection with the peer.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(#[from] ConnectError),
    /// The peer did not answer, fell silent or was too slow.
    #[error("the peer was silent or slow for too long")]
    TimedOut,
    /// The peer answered what is no answer.
    #[error("the peer did not answer as agreed")]
    Broken,
}

/// Why a stream brought no reply.
enum Failure {
    /// The whole connection ended.
    Lost(ConnectError),
    TimedOut,
    /// The peer ended the stream, or answered nonsense.
    Broken,
}

pub(crate) async fn send(shared: &Arc<Shared>, to: &PeerAddress, topic: u8, message: &[u8]) -> Result<(), SendError> {
    let own_max = shared.limits.message_bytes_max;
    let bytes = u32::try_from(message.len()).ok().filter(|bytes| *bytes <= own_max);
    let bytes = bytes.ok_or(SendError::TooLarge { bytes_max: u64::from(own_max) })?;
    let patience = shared.limits.transfer_time(u64::from(bytes));
    let head = Request::Message { topic, bytes };
    let (reply, _) = ask(shared, to, patience, (head, message)).await.map_err(|failure| match failure {
        Failure::Lost(error) => SendError::Unreachable(error),
        Failure::TimedOut => SendError::TimedOut,
        Failure::Broken => SendError::Broken,
    })?;
    match reply {
        Reply::Accepted => Ok(()),
        Reply::Refused(reason) => Err(Refusal(reason).into()),
        Reply::TooLarge(bytes_max) => Err(SendError::TooLarge { bytes_max }),
        Reply::Busy(millis) => Err(SendError::Busy { retry_after: Duration::from_millis(millis) }),
        Reply::NotAdmitted => Err(not_admitted().into()),
        Reply::Found(_) | Reply::Absent | Reply::Withheld => Err(SendError::Broken),
    }
}

pub(crate) async fn fetch(
    shared: &Arc<Shared>,
    from: &PeerAddress,
    digest: &Digest,
    bytes_max: u64,
) -> Result<Vec<u8>, FetchError> {
    let head = Request::Fetch { digest: *digest, bytes_max };
    let asked = ask(shared, from, shared.limits.request_timeout, (head, &[])).await;
    let (reply, mut recv) = asked.map_err(|failure| match failure {
        Failure::Lost(error) => FetchError::Unreachable(error),
        Failure::TimedOut => FetchError::TimedOut,
        Failure::Broken => FetchError::Broken,
    })?;
    match reply {
        Reply::Found(bytes) if bytes <= bytes_max => {
            let reading = read_blob(&mut recv, digest, bytes, shared.limits.request_timeout);
            timeout(shared.limits.transfer_time(bytes), reading).await.unwrap_or(Err(FetchError::TimedOut))
        }
        Reply::Found(bytes) | Reply::TooLarge(bytes) => Err(FetchError::TooLarge { bytes, bytes_max }),
        Reply::Absent => Err(FetchError::NotThere),
        Reply::Withheld => Err(FetchError::Withheld),
        Reply::Busy(millis) => Err(FetchError::Busy { retry_after: Duration::from_millis(millis) }),
        Reply::NotAdmitted => Err(not_admitted().into()),
        Reply::Accepted | Reply::Refused(_) => Err(FetchError::Broken),
    }
}

fn not_admitted() -> ConnectError {
    ConnectError::Refused(crate::Objection::NotAdmitted)
}

/// Makes one request and reads the head of its reply. If that fails over a connection from earlier, which may lead to a process
/// that is gone, once more over another one.
async fn ask(
    shared: &Arc<Shared>,
    to: &PeerAddress,
    patience: Duration,
    request: (Request, &[u8]),
) -> Result<(Reply, RecvStream), Failure> {
    let way = way_to(shared, to).await.map_err(Failure::Lost)?;
    let first = ask_over(&way.link, patience, request).await;
    let worth_another = match &first {
        Err(Failure::Lost(ConnectError::Lost(_))) => true,
        Err(Failure::TimedOut) => to.address.is_some(),
        _ => false,
    };
    if way.fresh || !worth_another {
        return first;
    }
    match way_to(shared, to).await {
        // There is no other way, so the first failure is the one to tell.
        Err(ConnectError::NoAddress) => first,
        Err(error) => Err(Failure::Lost(error)),
        Ok(other) if Arc::ptr_eq(&other.link, &way.link) => first,
        Ok(other) => ask_over(&other.link, patience, request).await,
    }
}

async fn ask_over(
    link: &Link,
    patience: Duration,
    (head, body): (Request, &[u8]),
) -> Result<(Reply, RecvStream), Failure> {
    let asking = async {
        let (mut send, mut recv) = link.connection.open_bi().await.map_err(|end| lost(&end))?;
        write_request(&mut send, &head, body).await?;
        let mut reply = [0; REPLY_HEAD];
        recv.read_exact(&mut reply).await.map_err(|error| match error {
            ReadExactError::ReadError(ReadError::ConnectionLost(end)) => lost(&end),
            _ => Failure::Broken,
        })?;
        let reply = Reply::decode(&reply).map_err(|_| Failure::Broken)?;
        Ok((reply, recv))
    };
    let asked = timeout(patience, asking).await.unwrap_or(Err(Failure::TimedOut));
    match asked {
        Ok(_) => link.set_suspect(false),
        Err(Failure::TimedOut) => link.set_suspect(true),
        Err(_) => {}
    }
    asked
}

async fn write_request(send: &mut SendStream, head: &Request, body: &[u8]) -> Result<(), Failure> {
    for part in [&head.encode()[..], body] {
        match send.write_all(part).await {
            Ok(()) => {}
            // The peer needs no more to answer; a refusal may be waiting.
            Err(WriteError::Stopped(_)) => return Ok(()),
            Err(WriteError::ConnectionLost(end)) => return Err(lost(&end)),
            Err(_) => return Err(Failure::Broken),
        }
    }
    // Fails only if the peer stopped the stream, as above.
    let _ = send.finish();
    Ok(())
}

fn lost(end: &quinn::ConnectionError) -> Failure {
    Failure::Lost(ConnectError::from_end(end))
}

/// Reads `bytes` bytes and the end, hashing as they come.
async fn read_blob(
    recv: &mut RecvStream,
    digest: &Digest,
    bytes: u64,
    silence: Duration,
) -> Result<Vec<u8>, FetchError> {
    let length = usize::try_from(bytes).map_err(|_| FetchError::TooLarge { bytes, bytes_max: usize::MAX as u64 })?;
    let mut blob = Vec::with_capacity(length.min(FIRST_RESERVE));
    let mut hasher = blake3::Hasher::new();
    loop {
        let next = timeout(silence, recv.read_chunk(usize::MAX, true)).await.map_err(|_| FetchError::TimedOut)?;
        let chunk = match next {
            Ok(Some(chunk)) => chunk.bytes,
            Ok(None) => break,
            Err(ReadError::ConnectionLost(end)) => return Err(ConnectError::from_end(&end).into()),
            Err(_) => return Err(FetchError::Truncated { bytes, arrived: blob.len() as u64 }),
        };
        if chunk.len() > length - blob.len() {
            return Err(FetchError::Broken);
        }
        hasher.update(&chunk);
        if blob.capacity() - blob.len() < chunk.len() {
            // Doubles, but never past the length; `chunk` fits into the rest.
            blob.reserve_exact(blob.len().max(chunk.len()).min(length - blob.len()));
        }
        blob.extend_from_slice(&chunk);
    }
    if blob.len() < length {
        return Err(FetchError::Truncated { bytes, arrived: blob.len() as u64 });
    }
    if hasher.finalize().as_bytes() == &digest.0 { Ok(blob) } else { Err(FetchError::WrongDigest) }
}
