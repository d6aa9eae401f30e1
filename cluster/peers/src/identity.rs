//! The ring's certificate authority and the certificates of its nodes.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use ringtail_proto::NodeId;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

use crate::{PeerError, error::certificate};

/// Clocks of nodes may differ by less than this.
const CLOCK_SKEW_MAX: Duration = Duration::hours(24);
/// How long a node's certificate is good; a node renews it at a start in the second half.
const NODE_LASTING: Duration = Duration::days(365);
const AUTHORITY_LASTING: Duration = Duration::days(3_650);
/// A name that every node of every ring answers to, for those who do not know which node they call.
pub(crate) const ANY_NODE: &str = "node.ringtail";

const AUTHORITY_FILE: &str = "authority.der";
const AUTHORITY_KEY_FILE: &str = "authority.key";
const NODE_FILE: &str = "node.der";
const NODE_KEY_FILE: &str = "node.key";

/// Which node of which ring a certificate names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The ring.
    pub cluster: u128,
    /// The node.
    pub node: NodeId,
}

impl PeerIdentity {
    /// The name in the certificate.
    #[must_use]
    pub fn name(&self) -> String {
        format!("node-{}.{:032x}.ringtail", self.node, self.cluster)
    }

    /// In words.
    fn described(&self) -> String {
        format!("node {} of cluster {:032x}", self.node, self.cluster)
    }

    /// Reads what [`Self::name`] gives.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("node-")?.strip_suffix(".ringtail")?;
        let (node, cluster) = rest.split_once('.')?;
        let identity = Self {
            cluster: u128::from_str_radix(cluster, 16).ok()?,
            node: NodeId(node.parse().ok()?),
        };
        (identity.name() == name).then_some(identity)
    }
}

/// Makes certificates for nodes. Every node of the ring holds it, so that each can admit others.
pub struct RingAuthority {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl RingAuthority {
    /// The authority of a new ring.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn create(cluster: u128) -> Result<Self, PeerError> {
        let key = KeyPair::generate().map_err(certificate)?;
        let mut params = params(Vec::new(), AUTHORITY_LASTING)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, format!("ringtail {cluster:032x}"));
        params.distinguished_name = name;
        let made = params.self_signed(&key).map_err(certificate)?;
        Ok(Self {
            certificate: made.der().clone(),
            key,
        })
    }

    /// From a certificate and its PKCS#8 key.
    ///
    /// # Errors
    /// When they do not belong together or cannot be read.
    pub fn from_der(certificate_der: Vec<u8>, key_der: &[u8]) -> Result<Self, PeerError> {
        let key = KeyPair::try_from(key_der).map_err(certificate)?;
        let authority = Self {
            certificate: certificate_der.into(),
            key,
        };
        authority.issuer()?;
        Ok(authority)
    }

    /// The certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The key, PKCS#8 DER. Whoever has it can become any node.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        self.key.serialize_der()
    }

    /// What a join token carries, so that a new node knows the ring before the ring knows it: BLAKE3 of the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        *blake3::hash(&self.certificate).as_bytes()
    }

    /// A certificate with a key of its own.
    fn issue(&self, node: PeerIdentity, lasting: Duration) -> Result<NodeCertificate, PeerError> {
        let key = KeyPair::generate().map_err(certificate)?;
        let made = node_params(node, lasting)?
            .signed_by(&key, &self.issuer()?)
            .map_err(certificate)?;
        Ok(NodeCertificate {
            certificate: made.der().clone(),
            key: key.serialize_der(),
        })
    }

    fn issuer(&self) -> Result<Issuer<'_, &KeyPair>, PeerError> {
        Issuer::from_ca_cert_der(&self.certificate, &self.key).map_err(certificate)
    }
}

#[derive(Clone)]
struct NodeCertificate {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

/// What a node shows to others, and by what it knows them.
pub struct NodeCredentials {
    identity: PeerIdentity,
    authority: RingAuthority,
    own: NodeCertificate,
}

impl NodeCredentials {
    /// A certificate for a node of the ring whose authority this is.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn issue(identity: PeerIdentity, authority: RingAuthority) -> Result<Self, PeerError> {
        let own = authority.issue(identity, NODE_LASTING)?;
        Ok(Self {
            identity,
            authority,
            own,
        })
    }

    /// A certificate that is good until then: renewal is tested with it.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn issue_for(
        identity: PeerIdentity,
        authority: RingAuthority,
        seconds: i64,
    ) -> Result<Self, PeerError> {
        let own = authority.issue(identity, Duration::seconds(seconds))?;
        Ok(Self {
            identity,
            authority,
            own,
        })
    }

    /// Reads a directory; `None` when it holds nothing. A certificate in the second half of its life is renewed.
    ///
    /// # Errors
    /// When a file cannot be read, or is not what was written.
    pub fn load(directory: &Path, identity: PeerIdentity) -> Result<Option<Self>, PeerError> {
        let read = |name: &str| {
            let path = directory.join(name);
            match fs::read(&path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(PeerError::File { path, source }),
            }
        };
        let (Some(authority), Some(authority_key)) =
            (read(AUTHORITY_FILE)?, read(AUTHORITY_KEY_FILE)?)
        else {
            return Ok(None);
        };
        let authority = RingAuthority::from_der(authority, &authority_key)?;
        let own = match (read(NODE_FILE)?, read(NODE_KEY_FILE)?) {
            (Some(certificate), Some(key)) => Some(NodeCertificate {
                certificate: certificate.into(),
                key,
            }),
            _ => None,
        };
        if let Some(own) = &own {
            check_owner(&own.certificate, identity)?;
        }
        let own = match own.filter(|own| is_in_first_half(&own.certificate)) {
            Some(own) => own,
            None => {
                let renewed = authority.issue(identity, NODE_LASTING)?;
                write_node(directory, &renewed)?;
                tracing::info!(name = identity.name(), "certificate renewed");
                renewed
            }
        };
        Ok(Some(Self {
            identity,
            authority,
            own,
        }))
    }

    /// Writes a directory; keys are readable by their owner alone.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), PeerError> {
        fs::create_dir_all(directory).map_err(|source| PeerError::File {
            path: directory.to_owned(),
            source,
        })?;
        write(directory, AUTHORITY_KEY_FILE, &self.authority.key(), 0o600)?;
        write(
            directory,
            AUTHORITY_FILE,
            &self.authority.certificate,
            0o644,
        )?;
        write_node(directory, &self.own)
    }

    /// Which node this is.
    #[must_use]
    pub const fn identity(&self) -> PeerIdentity {
        self.identity
    }

    /// The ring's authority.
    #[must_use]
    pub const fn authority(&self) -> &RingAuthority {
        &self.authority
    }

    /// From when on other nodes refuse this node, unless it has another certificate by then: a start in the second half
    /// of a certificate's life makes one. Seconds since the Unix epoch.
    #[must_use]
    pub fn expires_unix_seconds(&self) -> i64 {
        let parsed = x509_parser::parse_x509_certificate(&self.own.certificate);
        parsed.map_or(0, |(_, parsed)| parsed.validity().not_after.timestamp())
    }

    /// This node's certificate and the authority's.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![
            self.own.certificate.clone(),
            self.authority.certificate.clone(),
        ]
    }

    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, PeerError> {
        PrivateKeyDer::try_from(self.own.key.clone()).map_err(certificate)
    }
}

fn params(names: Vec<String>, lasting: Duration) -> Result<CertificateParams, PeerError> {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::new(names).map_err(certificate)?;
    params.not_before = now - CLOCK_SKEW_MAX;
    params.not_after = now + lasting;
    Ok(params)
}

fn node_params(node: PeerIdentity, lasting: Duration) -> Result<CertificateParams, PeerError> {
    let mut params = params(vec![node.name(), ANY_NODE.to_owned()], lasting)?;
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.distinguished_name = DistinguishedName::new();
    Ok(params)
}

/// Files of another node, or of another ring, are not taken for this one's.
fn check_owner(own: &CertificateDer<'_>, identity: PeerIdentity) -> Result<(), PeerError> {
    match crate::tls::identity_of(own) {
        Some(named) if named == identity => Ok(()),
        named => {
            let named = named.map_or("nobody".to_owned(), |named| named.described());
            let text = format!(
                "it names {named}, this is {}: parts of two data directories were mixed",
                identity.described()
            );
            Err(certificate(text))
        }
    }
}

fn is_in_first_half(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return false;
    };
    let validity = parsed.validity();
    let (from, to) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    OffsetDateTime::now_utc().unix_timestamp() < from + (to - from) / 2
}

fn write_node(directory: &Path, own: &NodeCertificate) -> Result<(), PeerError> {
    write(directory, NODE_KEY_FILE, &own.key, 0o600)?;
    write(directory, NODE_FILE, &own.certificate, 0o644)
}

/// Whole or not at all.
fn write(directory: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<(), PeerError> {
    let path = directory.join(name);
    let draft = directory.join(format!("{name}.new"));
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        fs::File::open(directory)?.sync_all()
    };
    write().map_err(|source| PeerError::File { path, source })
}
