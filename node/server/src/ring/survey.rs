//! The ring as all of its nodes together see it: what only a group's leader knows is asked from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::join_all;
use ringtail_metadata::Metadata;
use ringtail_peers::Peers;
use ringtail_proto::{
    GroupId, NodeId, SiteId,
    wire::peer::{GroupLook, NodeLookReply, NodeLookRequest, look_client::LookClient},
};
use tokio::time::timeout;

use super::LookService;

/// How long a node may take; one that takes longer is shown as one that does not answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(1);

/// Asks all nodes.
#[derive(Clone)]
pub(crate) struct Surveyor {
    pub(crate) node: NodeId,
    pub(crate) metadata: Metadata,
    pub(crate) peers: Peers,
    pub(crate) own: LookService,
}

/// What the nodes said.
pub(crate) struct Survey {
    /// By node; the reason of those that said nothing.
    pub(crate) nodes: BTreeMap<NodeId, Result<NodeLookReply, String>>,
}

impl Surveyor {
    /// Asks all members at once.
    pub(crate) async fn ask(&self) -> Survey {
        self.ask_about(&[]).await
    }

    /// Asks all members at once, also about the generations of sites.
    pub(crate) async fn ask_about(&self, sites: &[SiteId]) -> Survey {
        let request = NodeLookRequest {
            sites: sites.iter().map(|site| site.0).collect(),
        };
        let nodes = self.metadata.directory().nodes();
        let members = nodes.iter().filter(|node| node.is_member());
        let asked = members.map(|node| async { (node.id, self.put(node.id, &request).await) });
        let nodes = join_all(asked).await.into_iter().collect();
        Survey { nodes }
    }

    /// Asks one node; the reason when it says nothing.
    pub(crate) async fn ask_one(&self, node: NodeId) -> Result<NodeLookReply, String> {
        self.put(node, &NodeLookRequest::default()).await
    }

    async fn put(&self, node: NodeId, request: &NodeLookRequest) -> Result<NodeLookReply, String> {
        if node == self.node {
            return Ok(self.own.look(request));
        }
        let channel = self.peers.channel(node);
        let channel = channel.ok_or_else(|| "its address is not known here".to_owned())?;
        let mut client = LookClient::new(channel);
        match timeout(ANSWER_WAIT_MAX, client.node(request.clone())).await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_elapsed) => Err(format!("no answer within {ANSWER_WAIT_MAX:?}")),
        }
    }
}

impl Survey {
    /// What the nodes that have a replica of a group say about it.
    pub(crate) fn of(&self, group: GroupId) -> BTreeMap<NodeId, &GroupLook> {
        let answers = self.nodes.iter();
        let looks = answers.filter_map(|(node, answer)| {
            let looks = &answer.as_ref().ok()?.groups;
            let look = looks.iter().find(|look| look.group == group.0)?;
            Some((*node, look))
        });
        looks.collect()
    }

    /// The leader's own word; of two that lead, the one of the later term does.
    pub(crate) fn leader_of(&self, group: GroupId) -> Option<(NodeId, &GroupLook)> {
        let looks = self.of(group).into_iter();
        let leading = looks.filter(|(node, look)| look.leader == Some(node.0));
        leading.max_by_key(|(_, look)| look.term)
    }

    /// The leaders of all groups that have one which answers.
    pub(crate) fn leaders(&self) -> BTreeMap<GroupId, NodeId> {
        let groups: BTreeSet<GroupId> = self
            .nodes
            .values()
            .filter_map(|answer| answer.as_ref().ok())
            .flat_map(|answer| &answer.groups)
            .map(|look| GroupId(look.group))
            .collect();
        let leaders = groups.into_iter().filter_map(|group| {
            let (leader, _) = self.leader_of(group)?;
            Some((group, leader))
        });
        leaders.collect()
    }

    /// Why nothing is known of a group's leader: what the nodes that might lead it said.
    pub(crate) fn why_unknown(&self, group: GroupId, voters: &[NodeId]) -> String {
        let looks = self.of(group);
        let silent = voters.iter().filter_map(|node| {
            let answer = self.nodes.get(node)?;
            match (answer, looks.contains_key(node)) {
                (Err(reason), _) => Some(format!("node {node}: {reason}")),
                (Ok(_), false) => Some(format!("node {node}: the group is not open there")),
                (Ok(_), true) => None,
            }
        });
        let silent: Vec<String> = silent.collect();
        match silent.is_empty() {
            true => "it has no leader now".to_owned(),
            false => format!("no leader answers; {}", silent.join("; ")),
        }
    }
}
