//! How this node becomes one of a ring.

use std::time::Duration;

use ringtail_gateway::Salts;
use ringtail_metadata::JoinAttempt;
use ringtail_peers::{NodeCredentials, PeerIdentity, RingAuthority, admission_channel};
use ringtail_proto::{
    NodeId,
    wire::peer::{self, joining_client::JoiningClient},
};
use tokio::time::sleep;
use tonic::Code;
use uuid::Uuid;

use crate::{
    data_directory::{Addresses, Identity, Unclaimed},
    exit::{Exit, ExitError},
};

/// How often a ring that has no leader just now is asked again.
const TRIES_MAX: usize = 20;
const TRY_INTERVAL: Duration = Duration::from_millis(500);
/// Hex digits of an authority's fingerprint.
const FINGERPRINT_DIGITS: usize = 64;

/// What `serve --join` says.
#[derive(Clone, Debug)]
pub(crate) struct JoinOptions {
    /// Peer address of any node of the ring.
    pub(crate) address: String,
    /// `id.secret.fingerprint`
    pub(crate) token: String,
    /// Where this node stands.
    pub(crate) zone: String,
    /// What it knows of the ring's features.
    pub(crate) feature_level: u32,
}

/// What is in a join token.
struct JoinToken<'a> {
    /// Which token, and the proof of it: for the ring to check.
    secret: &'a str,
    /// Of the ring's authority.
    fingerprint: [u8; FINGERPRINT_DIGITS / 2],
}

impl<'a> JoinToken<'a> {
    fn parse(text: &'a str) -> Result<Self, ExitError> {
        let usage = |message: &str| ExitError::new(Exit::Usage, format!("join token: {message}"));
        let (secret, digits) = text
            .trim()
            .rsplit_once('.')
            .filter(|(_, digits)| digits.len() == FINGERPRINT_DIGITS)
            .ok_or_else(|| usage("it does not read id.secret.fingerprint"))?;
        let mut fingerprint = [0; FINGERPRINT_DIGITS / 2];
        hex::decode_to_slice(digits, &mut fingerprint)
            .map_err(|error| usage(&error.to_string()))?;
        Ok(Self {
            secret,
            fingerprint,
        })
    }
}

/// A node is in one ring for good: one that belongs to another than the token's may not go on as if it had joined.
pub(crate) fn check_same_ring(
    directory: &Unclaimed,
    identity: &Identity,
    options: &JoinOptions,
) -> Result<(), ExitError> {
    let token = JoinToken::parse(&options.token)?;
    let own = PeerIdentity {
        cluster: identity.cluster.as_u128(),
        node: identity.node,
    };
    let found = NodeCredentials::load(&directory.tls(), own);
    let found = found.map_err(|error| ExitError::new(Exit::DataDirectory, error))?;
    // Without certificates it cannot serve, and says so itself.
    if found.is_none_or(|own| own.authority().fingerprint() == token.fingerprint) {
        return Ok(());
    }
    let Identity { cluster, node } = identity;
    let message = format!(
        "this data directory is that of node {node} of the ring {cluster}, and the join token is another ring's: \
         give an empty directory to join with"
    );
    Err(ExitError::new(Exit::DataDirectory, message))
}

/// Spends the token and writes down who this node is: first the certificates, last the identity that makes them count.
pub(crate) async fn join(
    directory: Unclaimed,
    options: &JoinOptions,
    addresses: &Addresses,
) -> Result<Unclaimed, ExitError> {
    let JoinToken {
        secret,
        fingerprint,
    } = JoinToken::parse(&options.token)?;
    let request = peer::JoinRequest {
        token: secret.to_owned(),
        addresses: Some(peer::NodeAddresses {
            http: addresses.http.clone(),
            grpc: addresses.grpc.clone(),
            peer: addresses.peer.clone(),
        }),
        zone: options.zone.clone(),
        attempt: attempt(&directory)?.0.to_vec().into(),
        feature_level: options.feature_level,
    };
    let reply = ask(&options.address, fingerprint, request).await?;
    let fail =
        |error: &dyn std::fmt::Display| ExitError::new(Exit::Failure, format!("join: {error}"));
    let cluster = <[u8; 16]>::try_from(&reply.cluster[..])
        .map(u128::from_be_bytes)
        .map_err(|error| fail(&error))?;
    let authority =
        RingAuthority::from_der(reply.authority_certificate.to_vec(), &reply.authority_key)
            .map_err(|error| fail(&error))?;
    if authority.fingerprint() != fingerprint {
        return Err(fail(&"the ring's authority is not the one of the token"));
    }
    let identity = PeerIdentity {
        cluster,
        node: NodeId(reply.node),
    };
    NodeCredentials::issue(identity, authority)
        .and_then(|credentials| credentials.save(&directory.tls()))
        .map_err(|error| fail(&error))?;
    let peers = reply.nodes.into_iter().filter_map(|node| {
        let addresses = node.addresses?;
        Some((NodeId(node.id), addresses.peer))
    });
    directory.write_peers(&peers.collect())?;
    let salts = std::str::from_utf8(&reply.salts).map_err(|error| fail(&error))?;
    Salts::begin_with(&directory.salts(), salts).map_err(|error| fail(&error))?;
    directory.claim(&Identity {
        cluster: Uuid::from_u128(cluster),
        node: identity.node,
    })?;
    tracing::info!(node = %identity.node, cluster = %Uuid::from_u128(cluster), "joined");
    Ok(directory)
}

/// The same for every try with this directory, so that a lost answer does not cost a second node.
fn attempt(directory: &Unclaimed) -> Result<JoinAttempt, ExitError> {
    Ok(JoinAttempt(directory.join_attempt()?.into_bytes()))
}

async fn ask(
    address: &str,
    fingerprint: [u8; 32],
    request: peer::JoinRequest,
) -> Result<peer::JoinReply, ExitError> {
    let mut refusal = String::new();
    for attempt in 0..TRIES_MAX {
        let channel = match admission_channel(address, fingerprint).await {
            Ok(channel) => channel,
            Err(error) if attempt == 0 => {
                return Err(ExitError::new(Exit::Address, format!("join: {error}")));
            }
            Err(error) => {
                refusal = error.to_string();
                sleep(TRY_INTERVAL).await;
                continue;
            }
        };
        match JoiningClient::new(channel).join(request.clone()).await {
            Ok(reply) => return Ok(reply.into_inner()),
            Err(status) if status.code() == Code::Unavailable => {
                refusal = status.message().to_owned();
                sleep(TRY_INTERVAL).await;
            }
            Err(status) => {
                let message = format!(
                    "{address} refuses to let this node join: {}",
                    status.message()
                );
                return Err(ExitError::new(Exit::Usage, message));
            }
        }
    }
    let message = format!("{address} does not let this node join now: {refusal}");
    Err(ExitError::new(Exit::Failure, message))
}
