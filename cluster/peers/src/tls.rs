//! What both ends demand of each other.

mod pinned;

use std::sync::Arc;

use ringtail_proto::NodeId;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName},
    server::WebPkiClientVerifier,
};

use crate::{NodeCredentials, PeerError, PeerIdentity, error::certificate, identity::ANY_NODE};

pub(crate) use pinned::pinned_client;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(credentials: &NodeCredentials) -> Result<RootCertStore, PeerError> {
    let mut roots = RootCertStore::empty();
    roots
        .add(credentials.authority().certificate().clone())
        .map_err(certificate)?;
    Ok(roots)
}

/// For calls to nodes of the ring.
pub(crate) fn client(credentials: &NodeCredentials) -> Result<Arc<ClientConfig>, PeerError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(certificate)?
        .with_root_certificates(roots(credentials)?)
        .with_client_auth_cert(credentials.chain(), credentials.private_key()?)
        .map_err(certificate)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// For calls from nodes of the ring, and from those that want to become one: these show no certificate.
pub(crate) fn server(credentials: &NodeCredentials) -> Result<Arc<ServerConfig>, PeerError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots(credentials)?), provider())
            .allow_unauthenticated()
            .build()
            .map_err(certificate)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(certificate)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(credentials.chain(), credentials.private_key()?)
        .map_err(certificate)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// The name by which a node is called: whoever has another certificate is not it.
pub(crate) fn name_of(cluster: u128, node: NodeId) -> Result<ServerName<'static>, PeerError> {
    ServerName::try_from(PeerIdentity { cluster, node }.name()).map_err(certificate)
}

pub(crate) fn name_of_any() -> Result<ServerName<'static>, PeerError> {
    ServerName::try_from(ANY_NODE).map_err(certificate)
}

/// Whom a verified certificate names.
pub(crate) fn identity_of(presented: &CertificateDer<'_>) -> Option<PeerIdentity> {
    let (_, parsed) = x509_parser::parse_x509_certificate(presented).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    names
        .value
        .general_names
        .iter()
        .find_map(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(name) => PeerIdentity::parse(name),
            _ => None,
        })
}
