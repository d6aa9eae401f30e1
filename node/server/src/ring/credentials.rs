//! The certificates of the data directory.

use ringtail_peers::{NodeCredentials, PeerIdentity, RingAuthority};

use crate::{
    data_directory::{DataDirectory, FOUNDER},
    exit::{Exit, ExitError},
};

/// Reads the node's certificates. The founder makes the ring's authority when there is none yet.
pub(crate) fn credentials(data: &DataDirectory) -> Result<NodeCredentials, ExitError> {
    let fail = |error| ExitError::new(Exit::DataDirectory, error);
    let identity = PeerIdentity {
        cluster: data.identity.cluster.as_u128(),
        node: data.identity.node,
    };
    if let Some(found) = NodeCredentials::load(&data.tls(), identity).map_err(fail)? {
        return Ok(found);
    }
    if identity.node != FOUNDER {
        let message = format!(
            "{} holds no certificates of the ring: node {} has to join again, as a new node",
            data.tls().display(),
            identity.node
        );
        return Err(ExitError::new(Exit::DataDirectory, message));
    }
    let authority = RingAuthority::create(identity.cluster).map_err(fail)?;
    let made = NodeCredentials::issue(identity, authority).map_err(fail)?;
    made.save(&data.tls()).map_err(fail)?;
    Ok(made)
}

/// What a join token carries of the ring's authority, as text.
pub(crate) fn fingerprint(credentials: &NodeCredentials) -> String {
    hex::encode(credentials.authority().fingerprint())
}
