//! What a stranger on the socket gets.
#![expect(clippy::unwrap_used, reason = "the functions that tests share panic as tests do")]

use std::path::Path;

use jsonrpsee::core::client::{ClientT, Error, Subscription, SubscriptionClientT};
use jsonrpsee::rpc_params;
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use pactum_chain::rpc;
use pactum_chain::{Call, Head, SignedCall, Wallet};
use pactum_devchain::{DevChain, DevChainConfig, Genesis, Production};
use serde_json::{Value, json};

async fn start(dir: &Path, connections_max: u32) -> DevChain {
    let config = DevChainConfig {
        production: Production::OnDemand,
        connections_max,
        ..DevChainConfig::new(dir, Some(Genesis { time: 5, ..Genesis::default() }))
    };
    DevChain::start(config).await.unwrap()
}

async fn connect(chain: &DevChain) -> Result<WsClient, String> {
    WsClientBuilder::new().build(chain.url()).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn answers_have_their_documented_form() {
    let dir = tempfile::tempdir().unwrap();
    let chain = start(dir.path(), 4).await;
    let client = connect(&chain).await.unwrap();
    let wallet = Wallet::from_seed([1; 32]);
    let genesis: String = client.request(rpc::BLOCK_HASH, rpc_params![0]).await.unwrap();
    let call = SignedCall::sign(genesis.parse().unwrap(), 0, Call::Register, &wallet);
    let submit = client.request::<u64, _>(rpc::SUBMIT, rpc_params![rpc::to_hex(&call.encode())]);
    let mut submit = std::pin::pin!(submit);
    let block = loop {
        tokio::select! {
            biased;
            block = &mut submit => break block.unwrap(),
            head = chain.produce() => drop(head.unwrap()),
        }
    };
    let metagraph: Value = client.request(rpc::METAGRAPH, rpc_params![block]).await.unwrap();
    let neuron = json!({
        "uid": 0, "hotkey": call.hotkey.to_string(), "stake": 0, "permit": false, "address": null, "registered": block,
    });
    assert_eq!(metagraph, json!({ "block": block, "neurons": [neuron] }));
    let record: Value = client.request(rpc::RECORD, rpc_params![3, block]).await.unwrap();
    assert_eq!(record, json!({ "metagraph": metagraph, "attestations": [] }));
    let emission: Value = client.request(rpc::EMISSION, rpc_params![]).await.unwrap();
    assert!(emission["0"].is_u64(), "{emission}");
    let head: Value = client.request(rpc::HEAD, rpc_params![]).await.unwrap();
    assert_eq!(head, serde_json::to_value(chain.head()).unwrap());
    chain.close().await;
}

#[tokio::test]
async fn nonsense_is_refused_and_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let chain = start(dir.path(), 4).await;
    let client = connect(&chain).await.unwrap();
    let code = |answer: Result<Value, Error>| match answer.unwrap_err() {
        Error::Call(error) => error.code(),
        other => panic!("{other}"),
    };
    assert_eq!(code(client.request(rpc::SUBMIT, rpc_params!["zz"]).await), -32602);
    assert_eq!(code(client.request(rpc::SUBMIT, rpc_params!["00ff"]).await), -32602);
    assert_eq!(code(client.request(rpc::SUBMIT, rpc_params![7]).await), -32602);
    assert_eq!(code(client.request(rpc::SUBMIT, rpc_params!["00".repeat(5000)]).await), -32602);
    assert_eq!(code(client.request(rpc::METAGRAPH, rpc_params![-1]).await), -32602);
    assert_eq!(code(client.request(rpc::NONCE, rpc_params!["12"]).await), -32602);
    assert_eq!(code(client.request(rpc::METAGRAPH, rpc_params![u64::MAX]).await), rpc::REFUSED);
    assert_eq!(code(client.request(rpc::RECORD, rpc_params![u64::MAX, 9]).await), rpc::REFUSED);
    assert_eq!(code(client.request("chain_nothing", rpc_params![]).await), -32601);
    // A request beyond the limit is answered with an error or ends the connection, and is never read as a call.
    assert!(client.request::<Value, _>(rpc::SUBMIT, rpc_params!["00".repeat(100_000)]).await.is_err());
    let other = connect(&chain).await.unwrap();
    assert_eq!(other.request::<Head, _>(rpc::HEAD, rpc_params![]).await.unwrap(), chain.head());
    chain.close().await;
}

#[tokio::test]
async fn connections_are_limited() {
    let dir = tempfile::tempdir().unwrap();
    let chain = start(dir.path(), 2).await;
    let (_one, _two) = (connect(&chain).await.unwrap(), connect(&chain).await.unwrap());
    let refused = connect(&chain).await.unwrap_err();
    assert!(refused.contains("429"), "{refused}");
}

#[tokio::test]
async fn closing_answers_whoever_waits_and_ends_every_connection() {
    let dir = tempfile::tempdir().unwrap();
    let chain = start(dir.path(), 4).await;
    let client = connect(&chain).await.unwrap();
    let mut heads: Subscription<Head> =
        client.subscribe(rpc::SUBSCRIBE_HEADS, rpc_params![], rpc::UNSUBSCRIBE_HEADS).await.unwrap();
    assert_eq!(heads.next().await.unwrap().unwrap(), chain.head());
    let genesis = chain.head().hash;
    let call = SignedCall::sign(genesis, 0, Call::Register, &Wallet::from_seed([1; 32]));
    let submit = client.request::<u64, _>(rpc::SUBMIT, rpc_params![rpc::to_hex(&call.encode())]);
    let (answer, ()) = tokio::join!(submit, chain.close());
    match answer.unwrap_err() {
        Error::Call(error) => assert_eq!(error.code(), rpc::CLOSING),
        lost => assert!(matches!(lost, Error::RestartNeeded(_)), "{lost}"),
    }
    assert!(heads.next().await.is_none());
    client.on_disconnect().await;
}
