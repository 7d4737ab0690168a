//! The first exchange on a connection: each side proves its hotkey by signing what only the two ends of this TLS session know.
//!
//! A hello is `magic:[u8;4] version:u16 run:[u8;32] hotkey:[u8;32] signature:[u8;64]`. The signature is over
//! `"pactum transport hello v1" run role hotkey certificate keying`, where `keying` is 32 bytes of exported keying material
//! (RFC 5705, bound to run and role) and `certificate` the BLAKE3 of the signer's TLS certificate. So a signature fits one
//! connection, one direction, one run and one certificate, and nobody in between can pass it on.

use pactum_protocol::{Digest, Hotkey, Sign, Signature, Verify};
use quinn::rustls::pki_types::CertificateDer;
use quinn::{Connection, RecvStream, SendStream, VarInt};

const MAGIC: [u8; 4] = *b"PCTM";
const VERSION: u16 = 1;
pub(crate) const HELLO_BYTES: usize = 134;
const LABEL: &[u8] = b"EXPORTER-pactum-hello";
const DOMAIN: &[u8] = b"pactum transport hello v1";

/// Which side of a connection signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Dialer = 1,
    Listener = 2,
}

/// Why one side will not talk to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Objection {
    /// The first bytes are no hello.
    #[error("the first bytes are no hello")]
    BadHello,
    /// The two sides speak different versions.
    #[error("the two sides speak different versions; the older one must be updated")]
    WrongVersion,
    /// The two sides take part in different runs.
    #[error("the two sides take part in different runs; compare their settings")]
    WrongRun,
    /// The signature is not the hotkey's, or not for this connection.
    #[error("the signature does not prove the hotkey on this connection")]
    BadSignature,
    /// A true hotkey, but not the one that was asked for.
    #[error("the hotkey is not the expected one; the address may have a new owner")]
    WrongHotkey,
    /// The hotkey is unknown.
    #[error("the hotkey is not admitted; it must be registered first")]
    NotAdmitted,
    /// No connection is free.
    #[error("all connections are taken; try again later")]
    Full,
}

impl Objection {
    const ALL: [Self; 7] = [
        Self::BadHello,
        Self::WrongVersion,
        Self::WrongRun,
        Self::BadSignature,
        Self::WrongHotkey,
        Self::NotAdmitted,
        Self::Full,
    ];

    /// The QUIC application error code that says so to the other side.
    pub(crate) fn code(self) -> VarInt {
        VarInt::from_u32(self as u32 + 1)
    }

    pub(crate) fn from_code(code: VarInt) -> Option<Self> {
        Self::ALL.into_iter().find(|objection| objection.code() == code)
    }
}

/// What a hello has to contain, and who we are.
pub(crate) struct Terms<'a> {
    pub(crate) run: &'a Digest,
    pub(crate) identity: &'a (dyn Sign + Send + Sync),
    pub(crate) verify: &'a (dyn Verify + Send + Sync),
    /// Of our own certificate.
    pub(crate) certificate: &'a Digest,
}

/// Whom a connection belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proven {
    pub(crate) hotkey: Hotkey,
    /// Of the peer's certificate: another one of the same hotkey is another process.
    pub(crate) certificate: Digest,
}

/// The connection broke, or its peer is objectionable.
pub(crate) enum HelloFailure {
    Lost,
    Objection(Objection),
}

impl From<Objection> for HelloFailure {
    fn from(objection: Objection) -> Self {
        Self::Objection(objection)
    }
}

/// Sends our hello in the given role.
pub(crate) async fn introduce(
    terms: &Terms<'_>,
    connection: &Connection,
    role: Role,
    send: &mut SendStream,
) -> Result<(), HelloFailure> {
    let hotkey = terms.identity.hotkey();
    let text = signed_text(connection, terms.run, role, &Proven { hotkey, certificate: *terms.certificate })?;
    let hello = Hello { version: VERSION, run: *terms.run, hotkey, signature: terms.identity.sign(&text) };
    send.write_all(&hello.encode()).await.map_err(|_| HelloFailure::Lost)?;
    send.finish().map_err(|_| HelloFailure::Lost)
}

/// Reads the hello of a peer that acts in the given role, and tells whose connection this is.
pub(crate) async fn meet(
    terms: &Terms<'_>,
    connection: &Connection,
    role: Role,
    recv: &mut RecvStream,
) -> Result<Proven, HelloFailure> {
    let mut bytes = [0; HELLO_BYTES];
    recv.read_exact(&mut bytes).await.map_err(|error| match error {
        quinn::ReadExactError::FinishedEarly(_) => HelloFailure::Objection(Objection::BadHello),
        quinn::ReadExactError::ReadError(_) => HelloFailure::Lost,
    })?;
    let hello = Hello::decode(&bytes).ok_or(Objection::BadHello)?;
    if hello.version != VERSION {
        return Err(Objection::WrongVersion.into());
    }
    if hello.run != *terms.run {
        return Err(Objection::WrongRun.into());
    }
    let certificate = peer_certificate(connection).ok_or(Objection::BadHello)?;
    let proven = Proven { hotkey: hello.hotkey, certificate };
    let text = signed_text(connection, terms.run, role, &proven)?;
    if !terms.verify.verify(&hello.hotkey, &text, &hello.signature) {
        return Err(Objection::BadSignature.into());
    }
    Ok(proven)
}

pub(crate) fn signed_text(
    connection: &Connection,
    run: &Digest,
    role: Role,
    who: &Proven,
) -> Result<Vec<u8>, HelloFailure> {
    let mut keying = [0; 32];
    let context = [&run.0[..], &[role as u8]].concat();
    connection.export_keying_material(&mut keying, LABEL, &context).map_err(|_| HelloFailure::Lost)?;
    Ok([DOMAIN, &context, &who.hotkey.0, &who.certificate.0, &keying].concat())
}

fn peer_certificate(connection: &Connection) -> Option<Digest> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    identity.first().map(|certificate| Digest::of(certificate))
}

/// The wire form.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hello {
    version: u16,
    run: Digest,
    hotkey: Hotkey,
    signature: Signature,
}

impl Hello {
    fn encode(&self) -> Vec<u8> {
        [&MAGIC[..], &self.version.to_le_bytes(), &self.run.0, &self.hotkey.0, &self.signature.0].concat()
    }

    /// The version is the caller's to judge; nothing else about another version's hello is known but its start.
    fn decode(bytes: &[u8; HELLO_BYTES]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (version, rest) = rest.split_first_chunk::<2>()?;
        let (run, rest) = rest.split_first_chunk::<32>()?;
        let (hotkey, rest) = rest.split_first_chunk::<32>()?;
        let signature = rest.first_chunk::<64>()?;
        (*magic == MAGIC).then(|| Self {
            version: u16::from_le_bytes(*version),
            run: Digest(*run),
            hotkey: Hotkey(*hotkey),
            signature: Signature(*signature),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_objection_crosses_the_wire() {
        for objection in Objection::ALL {
            assert_eq!(Objection::from_code(objection.code()), Some(objection));
        }
        assert_eq!(Objection::from_code(VarInt::from_u32(0)), None);
        assert_eq!(Objection::from_code(VarInt::MAX), None);
    }

    #[test]
    fn a_hello_has_the_documented_bytes() {
        let hello =
            Hello { version: 0x0102, run: Digest([3; 32]), hotkey: Hotkey([4; 32]), signature: Signature([5; 64]) };
        let mut expected = b"PCTM\x02\x01".to_vec();
        expected.extend([3; 32]);
        expected.extend([4; 32]);
        expected.extend([5; 64]);
        assert_eq!(hello.encode(), expected);
    }

    proptest! {
        #[test]
        fn what_is_read_as_a_hello_is_written_the_same(
            body in proptest::collection::vec(any::<u8>(), HELLO_BYTES),
            magic: bool,
        ) {
            let mut bytes: [u8; HELLO_BYTES] = body.try_into().unwrap();
            if magic {
                bytes[..4].copy_from_slice(&MAGIC);
            }
            match Hello::decode(&bytes) {
                Some(hello) => prop_assert_eq!(hello.encode(), bytes),
                None => prop_assert_ne!(&bytes[..4], &MAGIC),
            }
        }
    }
}
