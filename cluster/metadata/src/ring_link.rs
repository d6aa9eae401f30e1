//! The link over gRPC: service `Ring` between the nodes, both halves.
//!
//! | status | means |
//! |---|---|
//! | failed precondition | this node does not lead, nothing was written; ask again |
//! | resource exhausted | the disk is full, nothing was written |
//! | invalid argument | not an entry that this ring takes; nothing was written |
//! | anything else | the entry may still be carried out |

use std::{error::Error, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use ringtail_proto::{
    LogIndex, NodeId,
    wire::peer::{
        ProposeReply, ProposeRequest, ReadIndexReply, ReadIndexRequest, ring_client::RingClient,
    },
};
use ringtail_raft::Channels;
use tonic::{Code, Request, Status, transport::Channel};

use crate::{
    LeaderLink, LinkError, Metadata, MetadataError, Written, leader_link::no_way_to,
    metadata::ENTRY_BYTES_MAX,
};

/// How long the leader may take; the metadata's own deadline is longer, so that there is time for another try.
const ANSWER_MS_MAX: Duration = Duration::from_millis(4_000);

/// More than the largest reply and its frame.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// The link over gRPC.
pub struct RingLink {
    channels: Channels,
}

impl RingLink {
    /// A link over these connections.
    #[must_use]
    pub fn new(channels: Channels) -> Self {
        Self { channels }
    }

    fn client(&self, leader: NodeId) -> Result<RingClient<Channel>, LinkError> {
        let channel = (self.channels)(leader).ok_or_else(|| no_way_to(leader))?;
        Ok(RingClient::new(channel)
            .max_decoding_message_size(REPLY_BYTES_MAX)
            .max_encoding_message_size(2 * ENTRY_BYTES_MAX))
    }
}

#[async_trait]
impl LeaderLink for RingLink {
    async fn propose(&self, leader: NodeId, entry: Bytes) -> Result<Written, LinkError> {
        let mut request = Request::new(ProposeRequest { entry });
        request.set_timeout(ANSWER_MS_MAX);
        let answer = self.client(leader)?.propose(request).await;
        let reply = answer.map_err(from_status)?.into_inner();
        Ok(Written {
            reply: reply.reply,
            index: LogIndex(reply.index),
        })
    }

    async fn read_index(&self, leader: NodeId) -> Result<LogIndex, LinkError> {
        let mut request = Request::new(ReadIndexRequest {});
        request.set_timeout(ANSWER_MS_MAX);
        let answer = self.client(leader)?.read_index(request).await;
        Ok(LogIndex(answer.map_err(from_status)?.into_inner().index))
    }
}

/// The server's half: what the node that leads answers its peers.
impl Metadata {
    /// Answers `Ring.Propose`. Who may ask is for the caller to know.
    ///
    /// # Errors
    /// See the table of this module.
    pub async fn answer_propose(&self, request: ProposeRequest) -> Result<ProposeReply, Status> {
        let written = self.propose_for_peer(request.entry).await;
        let written = written.map_err(|error| to_status(&error))?;
        Ok(ProposeReply {
            reply: written.reply,
            index: written.index.0,
        })
    }

    /// Answers `Ring.ReadIndex`.
    ///
    /// # Errors
    /// When this node does not lead, or does not know whether it still does.
    pub async fn answer_read_index(&self) -> Result<ReadIndexReply, Status> {
        let index = self.read_index_for_peer().await;
        let index = index.map_err(|error| to_status(&error))?;
        Ok(ReadIndexReply { index: index.0 })
    }
}

fn to_status(error: &MetadataError) -> Status {
    let code = match error {
        MetadataError::Unavailable { .. } => Code::FailedPrecondition,
        MetadataError::StorageFull { .. } => Code::ResourceExhausted,
        MetadataError::InDoubt { .. } | MetadataError::Storage { .. } => Code::Unknown,
        _ => Code::InvalidArgument,
    };
    Status::new(code, error.to_string())
}

fn from_status(status: Status) -> LinkError {
    let message = status.message().to_owned();
    match status.code() {
        Code::FailedPrecondition => LinkError::NotWritten(message),
        Code::ResourceExhausted => LinkError::Refused(MetadataError::StorageFull { message }),
        Code::InvalidArgument
        | Code::Unimplemented
        | Code::Unauthenticated
        | Code::PermissionDenied => LinkError::Refused(MetadataError::invalid("command", message)),
        _ if never_connected(&status) => LinkError::NotWritten(status.to_string()),
        _ => LinkError::InDoubt(status.to_string()),
    }
}

/// Nothing can have been written where no connection came about.
fn never_connected(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
