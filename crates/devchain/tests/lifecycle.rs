//! Starting, being killed, and starting again.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use pactum_devchain::{DevChain, DevChainConfig, Genesis, Production, StartError, StoreError};

fn config(dir: &Path) -> DevChainConfig {
    let mut config = DevChainConfig::new(dir, Some(Genesis { block_millis: 1, ..Genesis::default() }));
    config.production = Production::OnDemand;
    config
}

#[tokio::test]
async fn a_closed_chain_goes_on_from_its_newest_block() {
    let dir = tempfile::tempdir().unwrap();
    let chain = DevChain::start(config(dir.path())).await.unwrap();
    for _ in 0..3 {
        chain.produce().await.unwrap();
    }
    let before = chain.head();
    chain.close().await;
    let chain = DevChain::start(config(dir.path())).await.unwrap();
    assert_eq!(chain.head(), before);
    let after = chain.produce().await.unwrap();
    assert_eq!(after.number.0, 4);
    assert!(after.time > before.time);
    chain.close().await;
}

#[tokio::test]
async fn a_chain_stays_as_it_was_started_without_being_told_its_rules() {
    let dir = tempfile::tempdir().unwrap();
    let chain = DevChain::start(config(dir.path())).await.unwrap();
    let genesis = chain.head().hash;
    chain.close().await;
    let mut again = config(dir.path());
    again.genesis = None;
    let chain = DevChain::start(again).await.unwrap();
    assert_eq!(chain.head().hash, genesis);
    drop(chain);
    let mut other = config(dir.path());
    other.genesis = Some(Genesis::default());
    let error = DevChain::start(other).await.unwrap_err();
    assert!(matches!(error, StartError::Store(StoreError::OtherGenesis { .. })), "{error}");
}

#[tokio::test]
async fn timed_blocks_come_by_themselves_until_the_chain_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut timed = config(dir.path());
    timed.production = Production::Timed;
    let chain = DevChain::start(timed).await.unwrap();
    while chain.head().number.0 < 3 {
        tokio::task::yield_now().await;
    }
    chain.close().await;
    let chain = DevChain::start(config(dir.path())).await.unwrap();
    assert!(chain.head().number.0 >= 3);
}

#[tokio::test]
async fn addresses_that_others_could_reach_or_have_are_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("chain");
    let mut open = config(&folder);
    open.listen = "0.0.0.0:0".parse().unwrap();
    let error = DevChain::start(open).await.unwrap_err();
    assert_eq!(error.to_string(), "the chain listens on loopback only, not on 0.0.0.0:0: use 127.0.0.1 or [::1]");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut second = config(&folder);
    second.listen = taken.local_addr().unwrap();
    let error = DevChain::start(second).await.unwrap_err();
    let expected = format!("port {} is in use: choose another one, or 0 for any", taken.local_addr().unwrap().port());
    assert_eq!(error.to_string(), expected);
    assert!(!folder.exists());
}

const CHILD: &str = "PACTUM_DEVCHAIN_TEST_DIR";

/// Not a test by itself: the process that [`a_chain_killed_while_it_works_keeps_what_it_told`] kills.
#[tokio::test]
async fn child() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let chain = DevChain::start(config(Path::new(&dir))).await.unwrap();
    let mut out = std::io::stderr().lock();
    loop {
        let head = chain.produce().await.unwrap();
        writeln!(out, "block {} {}", head.number, head.hash).unwrap();
    }
}

#[tokio::test]
async fn a_chain_killed_while_it_works_keeps_what_it_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = 0;
    for round in 1..=4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(CHILD, dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut blocks = lines.map_while(Result::ok).filter(|line| line.starts_with("block "));
        let line = blocks.nth(round * 5).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let line = blocks.last().unwrap_or(line);
        let words: Vec<&str> = line.split(' ').collect();
        let number: u64 = words[1].parse().unwrap();
        assert!(number > told);
        told = number;
        let chain = DevChain::start(config(dir.path())).await.unwrap();
        let head = chain.head();
        // At most one block was made durable without being told any more.
        assert!(head.number.0 == number || head.number.0 == number + 1, "{head:?} {line}");
        assert!(head.number.0 > number || head.hash.to_string() == words[2]);
        chain.close().await;
    }
}
