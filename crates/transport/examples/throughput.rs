//! Fetches one blob of 64 MiB over loopback and prints how fast it came.
//!
//! `cargo run --release -p pactum-transport --example throughput`

use std::error::Error;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use pactum_transport::{
    Blob, Bytes, Digest, Endpoint, EndpointConfig, Hotkey, PeerAddress, Refusal, Service, Sign, Signature,
    TransportLimits, Verify,
};

const BYTES: usize = 64 << 20;

/// A toy: whoever knows the hotkey can forge its signatures. A node signs with a real key.
struct ToyKey(u8);

impl Sign for ToyKey {
    fn hotkey(&self) -> Hotkey {
        Hotkey([self.0; 32])
    }

    fn sign(&self, message: &[u8]) -> Signature {
        let digest = Digest::of(&[&[self.0; 32], message].concat());
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&digest.0);
        Signature(signature)
    }
}

struct ToyVerify;

impl Verify for ToyVerify {
    fn verify(&self, hotkey: &Hotkey, message: &[u8], signature: &Signature) -> bool {
        signature.0[..32] == Digest::of(&[&hotkey.0, message].concat()).0
    }
}

/// Serves one blob to everybody.
struct OneBlob(Digest, Bytes);

impl Service for OneBlob {
    fn admit(&self, _peer: &Hotkey) -> bool {
        true
    }

    fn message(&self, _from: &Hotkey, _topic: u8, _bytes: Vec<u8>) -> Result<(), Refusal> {
        Err(Refusal(0))
    }

    fn blob(&self, _from: &Hotkey, digest: &Digest) -> Blob {
        if *digest == self.0 { Blob::Found(self.1.clone()) } else { Blob::Absent }
    }
}

fn endpoint(key: u8, service: Arc<dyn Service>) -> Result<Endpoint, Box<dyn Error>> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = EndpointConfig { listen, run: Digest::ZERO, limits: TransportLimits::default() };
    Ok(Endpoint::bind(config, Arc::new(ToyKey(key)), Arc::new(ToyVerify), service)?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let blob = Bytes::from((0..BYTES).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    let digest = Digest::of(&blob);
    let server = endpoint(1, Arc::new(OneBlob(digest, blob)))?;
    let client = endpoint(2, Arc::new(OneBlob(Digest::ZERO, Bytes::new())))?;
    let from = PeerAddress { hotkey: server.hotkey(), address: Some(server.local_addr()?) };

    let started = Instant::now();
    let fetched = client.fetch(&from, &digest, BYTES as u64).await?;
    let seconds = started.elapsed().as_secs_f64();

    let rate = fetched.len() as f64 / seconds / 1e6;
    writeln!(std::io::stdout(), "{} bytes in {seconds:.3} s: {rate:.0} MB/s", fetched.len())?;
    client.close().await;
    server.close().await;
    Ok(())
}
