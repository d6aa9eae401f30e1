//! Objects from node to node, where each has an archive of its own.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use ringtail_archive::{Archive, ArchiveError, ObjectPath};
use ringtail_peers::Peers;
use ringtail_proto::{
    NodeId,
    stored::ArchiveObject,
    wire::peer::{
        FetchObjectReply, FetchObjectRequest,
        objects_client::ObjectsClient,
        objects_server::{Objects, ObjectsServer},
    },
};
use tonic::{Request, Response, Status};

/// Bytes of an object in one message.
const PIECE_BYTES: usize = 256 << 10;

/// Others that may have an object.
#[async_trait]
pub trait ObjectPeers: Send + Sync + 'static {
    /// Whom to ask, in this order.
    fn nodes(&self) -> Vec<NodeId>;

    /// The bytes of an object, as a node gives them.
    ///
    /// # Errors
    /// When the node does not answer or does not have it.
    async fn fetch(
        &self,
        node: NodeId,
        object: &ArchiveObject,
    ) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status>;
}

/// The other nodes of the ring.
pub struct PeerObjects {
    /// Connections to them.
    pub peers: Peers,
}

#[async_trait]
impl ObjectPeers for PeerObjects {
    fn nodes(&self) -> Vec<NodeId> {
        self.peers.nodes().into_iter().collect()
    }

    async fn fetch(
        &self,
        node: NodeId,
        object: &ArchiveObject,
    ) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status> {
        let channel = self.peers.channel(node);
        let channel = channel.ok_or_else(|| Status::unavailable("its address is not known"))?;
        let request = FetchObjectRequest {
            path: object.path.clone(),
            hash: object.hash.clone(),
            bytes: object.bytes,
        };
        let reply = ObjectsClient::new(channel).fetch(request).await?;
        let pieces = reply.into_inner().map_ok(|reply| reply.bytes);
        Ok(pieces.boxed())
    }
}

/// Gives the other nodes the objects that this one has, whichever group they are of.
#[derive(Clone)]
pub struct ObjectsService {
    /// The objects.
    pub archive: Arc<Archive>,
}

impl ObjectsService {
    /// To be added to a server that only nodes of the ring can reach.
    #[must_use]
    pub fn server(self) -> ObjectsServer<Self> {
        ObjectsServer::new(self)
    }
}

#[async_trait]
impl Objects for ObjectsService {
    type FetchStream = BoxStream<'static, Result<FetchObjectReply, Status>>;

    async fn fetch(
        &self,
        request: Request<FetchObjectRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let FetchObjectRequest { path, hash, bytes } = request.into_inner();
        let path_text = std::str::from_utf8(&path).ok();
        if path_text.and_then(ObjectPath::parse).is_none() {
            return Err(Status::invalid_argument("no object has such a path"));
        }
        let object = ArchiveObject {
            path,
            hash,
            bytes,
            ..ArchiveObject::default()
        };
        let found = self.archive.get(&object).await;
        let found = found.map_err(|error| refuse(&error))?;
        Ok(Response::new(pieces(found).boxed()))
    }
}

fn pieces(bytes: Bytes) -> impl futures::Stream<Item = Result<FetchObjectReply, Status>> {
    let offsets = (0..bytes.len()).step_by(PIECE_BYTES);
    let pieces = offsets.map(move |start| {
        let end = bytes.len().min(start + PIECE_BYTES);
        Ok(FetchObjectReply {
            bytes: bytes.slice(start..end),
        })
    });
    stream::iter(pieces)
}

fn refuse(error: &ArchiveError) -> Status {
    match error {
        ArchiveError::Missing { .. } => Status::not_found(error.to_string()),
        other => Status::unavailable(other.to_string()),
    }
}
