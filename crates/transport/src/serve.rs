//! What a connection's other end asks for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pactum_protocol::Digest;
use quinn::{Incoming, RecvStream, SendStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::endpoint::Shared;
use crate::frame::{REQUEST_HEAD_MAX, Reply, Request};
use crate::hello::{HelloFailure, Objection, Role, introduce, meet};
use crate::link::{DONE, Link, MISBEHAVED};
use crate::{Blob, Service};

/// A stranger that was let in as far as the hello.
pub(crate) struct Handshake {
    incoming: Incoming,
    _permit: OwnedSemaphorePermit,
}

impl Handshake {
    /// Lets a stranger in if there is room. Once half of the room is taken, only those who can be reached at the address
    /// they claim.
    pub(crate) fn begin(shared: &Shared, incoming: Incoming) -> Option<Self> {
        let free = shared.handshakes.available_permits();
        if free <= shared.limits.handshakes_max / 2 && incoming.may_retry() {
            // An error here means only that the stranger is let go without a word.
            let _ = incoming.retry();
            return None;
        }
        match Arc::clone(&shared.handshakes).try_acquire_owned() {
            Ok(permit) => Some(Self { incoming, _permit: permit }),
            Err(_) => {
                incoming.refuse();
                None
            }
        }
    }
}

/// Proves both hotkeys to each other, then answers requests until the connection ends.
pub(crate) async fn welcome(shared: Arc<Shared>, handshake: Handshake) {
    let met = timeout(shared.limits.handshake_timeout, receive(&shared, handshake)).await;
    if let Ok(Some(link)) = met {
        serve(shared, link).await;
    }
}

async fn receive(shared: &Shared, handshake: Handshake) -> Option<Arc<Link>> {
    let connection = handshake.incoming.accept().ok()?.await.ok()?;
    let admitted = async {
        let terms = shared.terms();
        let (mut send, mut recv) = connection.accept_bi().await.map_err(|_| HelloFailure::Lost)?;
        let proven = meet(&terms, &connection, Role::Dialer, &mut recv).await?;
        if !shared.service.admit(&proven.hotkey) {
            return Err(Objection::NotAdmitted.into());
        }
        let link = Arc::new(Link::new(connection.clone(), proven, None, &shared.limits));
        shared.pool.insert(&link)?;
        let introduced = introduce(&terms, &connection, Role::Listener, &mut send).await;
        introduced.inspect_err(|_| shared.pool.remove(&link))?;
        Ok(link)
    };
    match admitted.await {
        Ok(link) => Some(link),
        Err(HelloFailure::Objection(objection)) => {
            tracing::debug!(from = %connection.remote_address(), %objection, "stranger refused");
            connection.close(objection.code(), b"");
            None
        }
        Err(HelloFailure::Lost) => None,
    }
}

/// Answers the requests on one connection until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, link: Arc<Link>) {
    // Streams that the peer gives up at once leave their answers behind: the permits, not QUIC's count, bound those.
    let slots = Arc::new(Semaphore::new(shared.limits.streams_max.max(1) as usize));
    let mut answers = JoinSet::new();
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let Ok((send, recv)) = link.connection.accept_bi().await else { break };
        while answers.try_join_next().is_some() {}
        answers.spawn(answer(Arc::clone(&shared), Arc::clone(&link), Stream { send, recv, _slot: slot }));
    }
    shared.pool.remove(&link);
}

struct Stream {
    send: SendStream,
    recv: RecvStream,
    _slot: OwnedSemaphorePermit,
}

/// Why a request gets no answer.
enum Silence {
    /// The stream broke, or took too long.
    Gone,
    /// The bytes are no request.
    Misbehaved,
}

async fn answer(shared: Arc<Shared>, link: Arc<Link>, mut stream: Stream) {
    let patience = shared.limits.request_timeout;
    let answered = match within(patience, read_head(&mut stream.recv)).await {
        Ok(request) => respond(&shared, &link, &mut stream, request).await,
        Err(silence) => Err(silence),
    };
    match answered {
        Ok(()) => {}
        // Fails only if the stream has ended already.
        Err(Silence::Gone) => drop(stream.send.reset(DONE)),
        Err(Silence::Misbehaved) => {
            tracing::debug!(peer = %link.hotkey(), "connection closed: the peer sent no request");
            link.connection.close(MISBEHAVED, b"the bytes are no request");
        }
    }
}

async fn respond(shared: &Shared, link: &Link, stream: &mut Stream, request: Request) -> Result<(), Silence> {
    if !shared.service.admit(link.hotkey()) {
        return reply(shared, stream, Reply::NotAdmitted, None).await;
    }
    if let Err(wait) = shared.pool.charge_request(link.hotkey()) {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        return reply(shared, stream, Reply::Busy(millis.max(1)), None).await;
    }
    match request {
        Request::Message { topic, bytes } => take_message(shared, link, stream, (topic, bytes)).await,
        Request::Fetch { digest, bytes_max } => give_blob(shared, link, stream, (digest, bytes_max)).await,
    }
}

async fn take_message(
    shared: &Shared,
    link: &Link,
    stream: &mut Stream,
    (topic, bytes): (u8, u32),
) -> Result<(), Silence> {
    let bytes_max = shared.limits.message_bytes_max;
    if bytes > bytes_max {
        return reply(shared, stream, Reply::TooLarge(u64::from(bytes_max)), None).await;
    }
    let body = async {
        let room = Arc::clone(&link.bodies).acquire_many_owned(bytes).await.map_err(|_| Silence::Gone)?;
        Ok((read_body(&mut stream.recv, bytes as usize).await?, room))
    };
    let (body, room) = within(shared.limits.transfer_time(u64::from(bytes)), body).await?;
    shared.pool.charge_bytes(link.hotkey(), u64::from(bytes));
    let from = *link.hotkey();
    let taken = call(shared, move |service| {
        let _room = room;
        service.message(&from, topic, body)
    });
    let status = match taken.await? {
        Ok(()) => Reply::Accepted,
        Err(refusal) => Reply::Refused(refusal.0),
    };
    reply(shared, stream, status, None).await
}

async fn give_blob(
    shared: &Shared,
    link: &Link,
    stream: &mut Stream,
    (digest, bytes_max): (Digest, u64),
) -> Result<(), Silence> {
    let from = *link.hotkey();
    match call(shared, move |service| service.blob(&from, &digest)).await? {
        Blob::Absent => reply(shared, stream, Reply::Absent, None).await,
        Blob::Withheld => reply(shared, stream, Reply::Withheld, None).await,
        Blob::Found(bytes) if bytes.len() as u64 > bytes_max => {
            reply(shared, stream, Reply::TooLarge(bytes.len() as u64), None).await
        }
        Blob::Found(bytes) => {
            shared.pool.charge_bytes(&from, bytes.len() as u64);
            reply(shared, stream, Reply::Found(bytes.len() as u64), Some(bytes)).await
        }
    }
}

/// Runs one call into the service where it may take its time.
async fn call<T: Send + 'static>(
    shared: &Shared,
    ask: impl FnOnce(&dyn Service) -> T + Send + 'static,
) -> Result<T, Silence> {
    let permit = Arc::clone(&shared.calls).acquire_owned().await.map_err(|_| Silence::Gone)?;
    let service = Arc::clone(&shared.service);
    let called = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        ask(&*service)
    });
    called.await.map_err(|_| Silence::Gone)
}

/// Sends a reply and waits until it has arrived, so that whoever lets many replies pile up gets no further slot.
async fn reply(shared: &Shared, stream: &mut Stream, head: Reply, body: Option<Bytes>) -> Result<(), Silence> {
    let patience = shared.limits.transfer_time(body.as_ref().map_or(0, |body| body.len() as u64));
    let sent = async {
        stream.send.write_all(&head.encode()).await.map_err(|_| Silence::Gone)?;
        if let Some(body) = body {
            stream.send.write_chunk(body).await.map_err(|_| Silence::Gone)?;
        }
        stream.send.finish().map_err(|_| Silence::Gone)?;
        stream.send.stopped().await.map_err(|_| Silence::Gone).map(drop)
    };
    within(patience, sent).await
}

async fn read_head(recv: &mut RecvStream) -> Result<Request, Silence> {
    let mut head = [0; REQUEST_HEAD_MAX];
    read_exact(recv, &mut head[..1]).await?;
    let length = 1 + Request::rest(head[0]).map_err(|_| Silence::Misbehaved)?;
    read_exact(recv, &mut head[1..length]).await?;
    Request::decode(&head[..length]).map_err(|_| Silence::Misbehaved)
}

/// Reads exactly `length` bytes and the end. Memory is taken as bytes arrive, not as they are announced.
async fn read_body(recv: &mut RecvStream, length: usize) -> Result<Vec<u8>, Silence> {
    let mut body = Vec::new();
    while let Some(chunk) = recv.read_chunk(usize::MAX, true).await.map_err(|_| Silence::Gone)? {
        if chunk.bytes.len() > length - body.len() {
            return Err(Silence::Misbehaved);
        }
        body.extend_from_slice(&chunk.bytes);
    }
    if body.len() == length { Ok(body) } else { Err(Silence::Misbehaved) }
}

async fn read_exact(recv: &mut RecvStream, into: &mut [u8]) -> Result<(), Silence> {
    recv.read_exact(into).await.map_err(|error| match error {
        quinn::ReadExactError::FinishedEarly(_) => Silence::Misbehaved,
        quinn::ReadExactError::ReadError(_) => Silence::Gone,
    })
}

async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, Silence>>) -> Result<T, Silence> {
    timeout(patience, work).await.unwrap_or(Err(Silence::Gone))
}
