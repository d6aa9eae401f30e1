//! One question to several nodes, in turn, until one answers or its time is over.

use std::fmt;

use ringtail_proto::{ErrorKind, GroupId, NodeId};
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};

use crate::api_error::ApiError;

/// Why no node has answered.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// What is asked is wrong: every node would say so.
    Fault(ApiError),
    /// The time is over. Nobody else is asked: what takes one node so long takes the next one as long.
    TooLate(GroupId),
    /// All were asked, and each refused or could not be reached.
    Nobody(GroupId, Vec<String>),
}

impl From<NoAnswer> for ApiError {
    fn from(reason: NoAnswer) -> Self {
        match reason {
            NoAnswer::Fault(fault) => fault,
            other => Self::new(ErrorKind::Unavailable, other),
        }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(formatter),
            Self::TooLate(group) => {
                write!(formatter, "partition {group} does not answer in time")
            }
            Self::Nobody(group, refusals) if refusals.is_empty() => {
                write!(formatter, "no other node holds partition {group}")
            }
            Self::Nobody(group, refusals) => {
                let refusals = refusals.join("; ");
                write!(
                    formatter,
                    "no replica of partition {group} answers: {refusals}"
                )
            }
        }
    }
}

/// Asks these nodes. The next one is asked only when one refuses or cannot be reached, and all share the time.
pub(super) async fn ask_in_turn<T, F>(
    group: GroupId,
    nodes: Vec<NodeId>,
    deadline: Instant,
    ask: impl Fn(NodeId) -> F,
) -> Result<T, NoAnswer>
where
    F: Future<Output = Result<T, Status>>,
{
    let mut refusals = Vec::new();
    for node in nodes {
        let status = match timeout_at(deadline, ask(node)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(status)) => status,
            Err(_elapsed) => {
                metrics::counter!("ringtail_query_peer_timeouts_total").increment(1);
                return Err(NoAnswer::TooLate(group));
            }
        };
        match status.code() {
            Code::InvalidArgument => {
                let fault = ApiError::new(ErrorKind::InvalidRequest, status.message());
                return Err(NoAnswer::Fault(fault));
            }
            Code::NotFound => {
                let fault = ApiError::new(ErrorKind::NotFound, status.message());
                return Err(NoAnswer::Fault(fault));
            }
            _ => {}
        }
        metrics::counter!("ringtail_query_peer_refusals_total").increment(1);
        refusals.push(format!("node {node}: {}", status.message()));
    }
    Err(NoAnswer::Nobody(group, refusals))
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::pending, time::Duration};

    use tokio::time::sleep;

    use super::*;

    /// What a node does.
    #[derive(Clone, Copy)]
    enum Deed {
        Answers,
        /// After longer than a hop may ever take.
        AnswersLate,
        IsSilent,
        Refuses(Code),
    }

    use Deed::{Answers, AnswersLate, IsSilent, Refuses};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Who was asked, and what came of it.
    async fn ask(deeds: &[Deed], wait: Duration) -> (Vec<u64>, Result<u64, NoAnswer>) {
        let asked = RefCell::new(Vec::new());
        let nodes = (1..=deeds.len() as u64).map(NodeId).collect();
        let answer = ask_in_turn(GroupId(4), nodes, Instant::now() + wait, |node| {
            asked.borrow_mut().push(node.0);
            let deed = deeds.get(node.0 as usize - 1).copied();
            async move {
                match deed.unwrap_or(IsSilent) {
                    Answers => {}
                    AnswersLate => sleep(Duration::from_secs(4)).await,
                    IsSilent => pending().await,
                    Refuses(code) => return Err(Status::new(code, "no")),
                }
                Ok(node.0)
            }
        })
        .await;
        (asked.into_inner(), answer)
    }

    #[tokio::test]
    async fn a_slow_answer_is_waited_for_as_long_as_the_caller_waits() {
        let (asked, answer) = ask(&[AnswersLate, Answers], PATIENCE).await;
        assert_eq!((asked, answer.ok()), (vec![1], Some(1)));
    }

    #[tokio::test]
    async fn nobody_else_is_asked_when_the_time_is_over() {
        let (asked, answer) = ask(&[IsSilent, Answers], Duration::from_millis(20)).await;
        assert!(matches!(answer, Err(NoAnswer::TooLate(_))), "{answer:?}");
        assert_eq!(asked, [1]);
    }

    #[tokio::test]
    async fn the_next_one_is_asked_after_a_refusal_and_what_is_wrong_is_wrong_everywhere() {
        let no = [Refuses(Code::Unavailable), Refuses(Code::Internal)];
        let (asked, answer) = ask(&[no[0], no[1], Answers], PATIENCE).await;
        assert_eq!((asked, answer.ok()), (vec![1, 2, 3], Some(3)));
        let (asked, answer) = ask(&[Refuses(Code::InvalidArgument), Answers], PATIENCE).await;
        assert!(matches!(answer, Err(NoAnswer::Fault(_))), "{answer:?}");
        assert_eq!(asked, [1]);
        let (asked, answer) = ask(&no, PATIENCE).await;
        let text = answer.map_err(|reason| reason.to_string());
        let expect = "no replica of partition 4 answers: node 1: no; node 2: no";
        assert_eq!(text, Err(expect.to_owned()));
        assert_eq!(asked, [1, 2]);
    }
}
