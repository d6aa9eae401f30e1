//! Leadership of a group that has no replica on this node.

use futures::{
    FutureExt as _,
    future::{BoxFuture, pending},
};
use parking_lot::Mutex;
use ringtail_proto::NodeId;
use tokio::sync::watch;

use super::{GroupLeadership, Leader};

/// A guess among the nodes that host a group, made better by what they answer: one that does not lead says who does,
/// and when it does not know either, the next is asked.
pub struct HintedLeadership {
    state: Mutex<State>,
    /// Counts changes of the hosts.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    hosts: Vec<NodeId>,
    guess: Option<NodeId>,
}

impl HintedLeadership {
    /// Guesses the first of these hosts.
    #[must_use]
    pub fn new(hosts: Vec<NodeId>) -> Self {
        let guess = hosts.first().copied();
        Self {
            state: Mutex::new(State { hosts, guess }),
            changes: watch::Sender::new(0),
        }
    }

    /// The group is hosted elsewhere now; the guess stays, if it still may be right.
    pub fn set_hosts(&self, hosts: Vec<NodeId>) {
        {
            let mut state = self.state.lock();
            if state.hosts == hosts {
                return;
            }
            let stays = state.guess.filter(|guess| hosts.contains(guess));
            state.guess = stays.or(hosts.first().copied());
            state.hosts = hosts;
        }
        self.changes.send_modify(|changes| *changes += 1);
    }
}

impl GroupLeadership for HintedLeadership {
    fn leader(&self) -> Leader {
        self.state
            .lock()
            .guess
            .map_or(Leader::Unknown, Leader::Peer)
    }

    /// Answers when the hosts change only: a lane looks again by itself after each answer.
    fn changed(&self, seen: Leader) -> BoxFuture<'static, ()> {
        let mut changes = self.changes.subscribe();
        let is_new = self.leader() != seen;
        async move {
            if is_new || changes.changed().await.is_ok() {
                return;
            }
            pending::<()>().await;
        }
        .boxed()
    }

    fn missed(&self, asked: NodeId, told: Option<NodeId>) {
        let mut state = self.state.lock();
        if state.guess != Some(asked) {
            return;
        }
        let position = state.hosts.iter().position(|host| *host == asked);
        let next = position.map_or(0, |position| position + 1);
        let next = state.hosts.get(next).or(state.hosts.first()).copied();
        state.guess = told.or(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(node: u64) -> Leader {
        Leader::Peer(NodeId(node))
    }

    #[test]
    fn hints_are_followed_and_without_one_the_next_host_is_asked() {
        let leadership = HintedLeadership::new(vec![NodeId(4), NodeId(5), NodeId(6)]);
        let mut guesses = vec![leadership.leader()];
        for (asked, told) in [
            (4, Some(6)),
            (6, None),
            (4, None),
            (4, None),
            (5, Some(9)),
            (9, None),
        ] {
            leadership.missed(NodeId(asked), told.map(NodeId));
            guesses.push(leadership.leader());
        }
        // An answer about a node that is no longer the guess changes nothing.
        assert_eq!(guesses, [4, 6, 4, 5, 5, 9, 4].map(peer));
        leadership.set_hosts(vec![NodeId(5), NodeId(4)]);
        assert_eq!(leadership.leader(), peer(4));
        let changed = leadership.changed(peer(4));
        leadership.set_hosts(vec![NodeId(7)]);
        assert_eq!(changed.now_or_never(), Some(()));
        assert_eq!(leadership.changed(peer(4)).now_or_never(), Some(()));
        assert_eq!(leadership.changed(peer(7)).now_or_never(), None);
        assert_eq!(HintedLeadership::new(Vec::new()).leader(), Leader::Unknown);
    }
}
