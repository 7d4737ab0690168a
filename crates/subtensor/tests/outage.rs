//! What becomes of a client whose chain goes away.
#![expect(clippy::unwrap_used, reason = "the functions that tests share panic as tests do")]

use std::path::Path;

use pactum_chain::{Call, Chain, ChainError, Genesis, Wallet};
use pactum_devchain::{DevChain, DevChainConfig, Production};
use pactum_protocol::{BlockNumber, Sign, Uid};
use pactum_subtensor::{Client, ConnectError, Link};

async fn start(dir: &Path, port: u16) -> DevChain {
    let mut config = DevChainConfig::new(dir, Some(Genesis { stake_min: 100, ..Genesis::default() }));
    config.production = Production::OnDemand;
    config.listen.set_port(port);
    DevChain::start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_wait_while_the_chain_is_away_and_go_on_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let chain = start(dir.path(), 0).await;
    let port = chain.local_addr().port();
    let client = Client::connect(&chain.url(), None).unwrap();
    let mut link = client.link();
    link.wait_for(|link| *link == Link::Connected).await.unwrap();
    chain.produce().await.unwrap();
    let before = client.head().await.unwrap();
    chain.close().await;
    link.wait_for(|link| matches!(link, Link::Waiting { .. })).await.unwrap();

    let asked = tokio::spawn({
        let client = client.clone();
        async move { (client.head().await, client.until(BlockNumber(3)).await) }
    });
    let chain = start(dir.path(), port).await;
    chain.produce().await.unwrap();
    link.wait_for(|link| *link == Link::Connected).await.unwrap();
    chain.produce().await.unwrap();
    let (head, until) = asked.await.unwrap();
    assert!(head.unwrap().number >= before.number);
    assert_eq!(until.unwrap().number, BlockNumber(3));
    assert_eq!(client.block_hash(before.number).await, Ok(before.hash));
}

/// A call that was in the open block when the chain died was never confirmed; it is submitted again and counts once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_died_with_the_chain_is_submitted_again() {
    let dir = tempfile::tempdir().unwrap();
    let chain = start(dir.path(), 0).await;
    let port = chain.local_addr().port();
    let client = Client::connect(&chain.url(), None).unwrap();
    let wallet = Wallet::from_seed([1; 32]);
    let registering = tokio::spawn({
        let (client, wallet) = (client.clone(), wallet.clone());
        async move { client.transact(&wallet, Call::Register).await }
    });
    // The open block counts in the nonce, which tells that the call is there.
    while client.nonce(&wallet.hotkey()).await.unwrap() == 0 {}
    drop(chain);

    let chain = start(dir.path(), port).await;
    assert_eq!(chain.head().number, BlockNumber(0));
    while client.nonce(&wallet.hotkey()).await.unwrap() == 0 {}
    chain.produce().await.unwrap();
    assert_eq!(registering.await.unwrap(), Ok(BlockNumber(1)));
    let metagraph = client.metagraph(BlockNumber(1)).await.unwrap();
    assert_eq!(metagraph.neurons.len(), 1);
    assert_eq!(metagraph.by_uid(Uid(0)).unwrap().hotkey, wallet.hotkey());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_chain_in_the_place_of_the_first_is_an_error_that_says_so() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let chain = start(dir.path(), 0).await;
    let port = chain.local_addr().port();
    let client = Client::connect(&chain.url(), None).unwrap();
    let expected = client.genesis().await.unwrap().hash();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.until(BlockNumber(9)).await }
    });
    chain.close().await;

    let mut config = DevChainConfig::new(other_dir.path(), Some(Genesis { tempo: 7, ..Genesis::default() }));
    config.production = Production::OnDemand;
    config.listen.set_port(port);
    let other = DevChain::start(config).await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    let ChainError::OtherChain { expected: first, found } = &error else { panic!("{error}") };
    assert_eq!(*first, expected);
    assert_ne!(*found, expected);
    assert_eq!(client.head().await, Err(error.clone()));
    assert_eq!(*client.link().borrow(), Link::OtherChain { expected, found: *found });
    assert!(error.to_string().contains("start it with a new folder"), "{error}");

    let pinned = Client::connect(&other.url(), Some(expected)).unwrap();
    assert_eq!(pinned.head().await, Err(error));
}

#[tokio::test]
async fn addresses_of_another_kind_are_refused() {
    for url in ["http://127.0.0.1:1", "127.0.0.1:1", "ws://", "ws://a b"] {
        assert_eq!(Client::connect(url, None).unwrap_err(), ConnectError::BadUrl { url: url.into() });
    }
}
