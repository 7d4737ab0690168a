//! The chain's JSON-RPC over WebSocket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::server::{BatchRequestConfig, PendingSubscriptionSink, Server, ServerConfig, SubscriptionMessage};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use pactum_chain::rpc::{self, Refusal};
use pactum_chain::{CALL_BYTES_MAX, Ledger, SignedCall};
use pactum_protocol::{BlockNumber, Digest, Hotkey, Window};

use crate::devchain::StartError;
use crate::engine::{BlockHashError, Engine};

const REQUEST_BYTES_MAX: u32 = 4 * CALL_BYTES_MAX as u32;
const RESPONSE_BYTES_MAX: u32 = 16 << 20;
const SUBSCRIPTIONS_MAX: u32 = 4;
const BAD_PARAMS: i32 = -32602;
const INTERNAL: i32 = -32603;

type Answer<T> = Result<T, ErrorObjectOwned>;

/// Takes the address without answering anybody yet.
pub(crate) async fn bind(address: SocketAddr, connections_max: u32) -> Result<Server, StartError> {
    if !address.ip().is_loopback() {
        return Err(StartError::NotLoopback { address });
    }
    let config = ServerConfig::builder()
        .max_request_body_size(REQUEST_BYTES_MAX)
        .max_response_body_size(RESPONSE_BYTES_MAX)
        .max_connections(connections_max)
        .max_subscriptions_per_connection(SUBSCRIPTIONS_MAX)
        .set_batch_request_config(BatchRequestConfig::Disabled)
        .ws_only()
        .build();
    Server::builder().set_config(config).build(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::PortInUse { address },
        _ => StartError::Listen { address, source },
    })
}

/// Everything that can be asked, as [`rpc`] documents it.
pub(crate) fn methods(engine: Arc<Engine>) -> Result<RpcModule<Engine>, RegisterMethodError> {
    let mut module = RpcModule::from_arc(engine);
    module.register_method(rpc::HEAD, |_, engine, _| Answer::Ok(engine.head()))?;
    module.register_method(rpc::GENESIS, |_, engine, _| read(engine, |ledger| ledger.genesis().clone()))?;
    module.register_method(rpc::BLOCK_HASH, |params, engine, _| block_hash(&params, engine))?;
    module.register_method(rpc::METAGRAPH, |params, engine, _| {
        let block: BlockNumber = params.one()?;
        read(engine, |ledger| ledger.metagraph_at(block))?.map_err(|error| refused(error.into()))
    })?;
    module.register_method(rpc::RECORD, |params, engine, _| {
        let (window, at): (Window, BlockNumber) = params.parse()?;
        read(engine, |ledger| ledger.record(window, at))?.map_err(|error| refused(error.into()))
    })?;
    module.register_method(rpc::NONCE, |params, engine, _| {
        let hotkey: Hotkey = params.one()?;
        read(engine, |ledger| ledger.nonce(&hotkey))
    })?;
    module.register_method(rpc::EMISSION, |_, engine, _| read(engine, Ledger::emission))?;
    module.register_method(rpc::WEIGHTS, |_, engine, _| read(engine, Ledger::weights))?;
    module.register_async_method(rpc::SUBMIT, |params, engine, _| submit(params, engine))?;
    module.register_subscription(
        rpc::SUBSCRIBE_HEADS,
        rpc::NEW_HEAD,
        rpc::UNSUBSCRIBE_HEADS,
        |_, pending, engine, _| heads(pending, engine),
    )?;
    Ok(module)
}

fn read<T>(engine: &Engine, from: impl FnOnce(&Ledger) -> T) -> Answer<T> {
    engine.read(from).ok_or_else(closing)
}

fn block_hash(params: &Params<'_>, engine: &Engine) -> Answer<Digest> {
    engine.block_hash(params.one()?).map_err(|error| match error {
        BlockHashError::Refused(refusal) => refused(refusal),
        BlockHashError::Closed => closing(),
        BlockHashError::Unreadable(reason) => ErrorObjectOwned::owned(INTERNAL, reason, None::<()>),
    })
}

/// Takes a call and answers once its block is durable, so that a confirmed call outlives a crash.
async fn submit(params: Params<'static>, engine: Arc<Engine>) -> Answer<BlockNumber> {
    let text: String = params.one()?;
    let bytes = rpc::from_hex(&text).ok_or_else(|| bad_params("a call is given as hexadecimal digits"))?;
    let call = SignedCall::decode(&bytes).map_err(|error| bad_params(&error.to_string()))?;
    if engine.is_stopped() {
        return Err(closing());
    }
    let block = engine.apply(&call).map_err(|error| refused(error.into()))?;
    let mut heads = engine.heads();
    tokio::select! {
        sealed = heads.wait_for(|head| head.number >= block) => sealed.map(|_| block).map_err(|_| closing()),
        _ = engine.halted() => Err(closing()),
    }
}

/// Sends the present head and then every new one; whoever is slow gets the newest only.
async fn heads(pending: PendingSubscriptionSink, engine: Arc<Engine>) {
    let Ok(sink) = pending.accept().await else { return };
    let mut heads = engine.heads();
    heads.mark_changed();
    loop {
        tokio::select! {
            changed = heads.changed() => if changed.is_err() { return },
            () = sink.closed() => return,
            _ = engine.halted() => return,
        }
        let head = *heads.borrow_and_update();
        let message = SubscriptionMessage::new(sink.method_name(), sink.subscription_id(), &head);
        let Ok(message) = message else { return };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

fn refused(refusal: Refusal) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(rpc::REFUSED, refusal.to_string(), Some(refusal))
}

fn closing() -> ErrorObjectOwned {
    ErrorObjectOwned::owned(rpc::CLOSING, "the chain is closing", None::<()>)
}

fn bad_params(reason: &str) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(BAD_PARAMS, reason, None::<()>)
}
