//! TLS by certificates that prove nothing but themselves: the hello binds them to hotkeys.

use std::sync::Arc;

use pactum_protocol::Digest;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};

use crate::TransportLimits;

/// The name that every certificate carries; nobody looks at it.
pub(crate) const SERVER_NAME: &str = "pactum";
/// Chosen by ALPN, so that incompatible formats part before the first byte.
const PROTOCOL: &[u8] = b"pactum/1";
/// What a peer may send before its hotkey is proven.
const STRANGER_BYTES: u32 = 4096;

/// Both directions' settings, from one fresh certificate.
pub(crate) struct Tls {
    pub(crate) server: ServerConfig,
    pub(crate) client: ClientConfig,
    /// The digest of the certificate, which names this process.
    pub(crate) certificate: Digest,
}

impl Tls {
    pub(crate) fn new(limits: &TransportLimits) -> Result<Self, TlsError> {
        let made = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()])?;
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(ring::default_provider());
        let digest = Digest::of(&certificate);

        let mut server = ServerConfig::with_crypto(Arc::new(server_crypto(&provider, &certificate, &key)?));
        server.transport_config(Arc::new(transport(limits, 1)?));
        server.max_incoming(limits.handshakes_max);
        server.migration(true);
        let mut client = ClientConfig::new(Arc::new(client_crypto(&provider, certificate, key)?));
        client.transport_config(Arc::new(transport(limits, 0)?));
        Ok(Self { server, client, certificate: digest })
    }
}

/// Why no certificate or no setting could be made of the machine's randomness and the limits.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
    #[error(transparent)]
    Tls(#[from] Error),
    #[error(transparent)]
    Suite(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    #[error("idle_timeout: {0}")]
    IdleTimeout(#[from] quinn::VarIntBoundsExceeded),
}

fn server_crypto(
    provider: &Arc<CryptoProvider>,
    certificate: &CertificateDer<'static>,
    key: &PrivateKeyDer<'static>,
) -> Result<QuicServerConfig, TlsError> {
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(AnyCertificate::new(provider))
        .with_single_cert(vec![certificate.clone()], key.clone_key())?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // Every connection is a full handshake: a resumed one would carry an older one's identity.
    config.send_tls13_tickets = 0;
    Ok(QuicServerConfig::try_from(config)?)
}

fn client_crypto(
    provider: &Arc<CryptoProvider>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<QuicClientConfig, TlsError> {
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(AnyCertificate::new(provider))
        .with_client_auth_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(QuicClientConfig::try_from(config)?)
}

/// `streams`: how many streams the peer may open before its hotkey is proven.
fn transport(limits: &TransportLimits, streams: u32) -> Result<TransportConfig, TlsError> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .receive_window(VarInt::from_u32(STRANGER_BYTES))
        .stream_receive_window(VarInt::from_u32(limits.window_bytes))
        .send_window(u64::from(limits.window_bytes))
        .max_idle_timeout(Some(IdleTimeout::try_from(limits.idle_timeout)?))
        .keep_alive_interval(Some(limits.idle_timeout / 3));
    Ok(transport)
}

/// Takes any certificate whose private key the peer holds.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl AnyCertificate {
    fn new(provider: &Arc<CryptoProvider>) -> Arc<Self> {
        Arc::new(Self(provider.signature_verification_algorithms))
    }

    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }
}

fn no_tls12() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
