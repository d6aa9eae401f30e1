//! Whoever waits for an entry, and their shares of its answer.

use bytes::Bytes;
use ringtail_proto::{GroupId, Verdict};

use crate::{Applied, Durability, RouteError, submission::Ticket};

/// Whoever waits for an entry.
pub(crate) enum Waiting {
    Events {
        group: GroupId,
        waiters: Vec<Waiter>,
        events: usize,
    },
    /// One that wants apply's reply as it is.
    Whole(Ticket<Bytes>),
}

/// One submission's share of an entry's verdicts.
pub(crate) struct Waiter {
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) ticket: Ticket<Applied>,
}

impl Waiting {
    pub(crate) fn answer_committed(&mut self, answer: &Result<Durability, RouteError>) {
        match self {
            Self::Whole(ticket) => ticket.answer_committed(answer.clone()),
            Self::Events { waiters, .. } => {
                for waiter in waiters {
                    waiter.ticket.answer_committed(answer.clone());
                }
            }
        }
    }

    /// Hands each submission the verdicts of its own events.
    pub(crate) fn answer_applied(self, reply: Bytes) {
        match self {
            Self::Whole(ticket) => ticket.answer_applied(Ok(reply)),
            Self::Events {
                group,
                waiters,
                events,
            } => {
                let fault = RouteError::MalformedReply {
                    group,
                    events,
                    replies: reply.len(),
                };
                let is_complete = reply.len() == events;
                for waiter in waiters {
                    let codes = reply.get(waiter.first..waiter.first + waiter.count);
                    let verdicts = codes.filter(|_| is_complete).and_then(verdicts_of);
                    let applied = verdicts.map(Applied::Verdicts);
                    waiter
                        .ticket
                        .answer_applied(applied.ok_or_else(|| fault.clone()));
                }
            }
        }
    }

    /// The entry is durable, but its reply is lost: `error` for those who need the reply itself.
    pub(crate) fn answer_pending(self, error: &RouteError) {
        match self {
            Self::Whole(ticket) => ticket.refuse(error),
            Self::Events { waiters, .. } => {
                for waiter in waiters {
                    waiter.ticket.answer_applied(Ok(Applied::Pending));
                }
            }
        }
    }

    pub(crate) fn refuse(self, error: &RouteError) {
        match self {
            Self::Whole(ticket) => ticket.refuse(error),
            Self::Events { waiters, .. } => {
                for waiter in waiters {
                    waiter.ticket.refuse(error);
                }
            }
        }
    }
}

fn verdicts_of(codes: &[u8]) -> Option<Vec<Verdict>> {
    codes.iter().map(|code| Verdict::from_code(*code)).collect()
}
