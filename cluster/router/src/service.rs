//! What other nodes ask of this one's router: `ringtail.peer.v1.Events`.

use std::sync::Arc;

use metrics::{Counter, counter};
use ringtail_proto::{
    ErrorKind, GroupId, NodeId,
    wire::peer::{
        AskSpooledReply, AskSpooledRequest, Committed, DropSpooledReply, DropSpooledRequest,
        ForwardReply, ForwardRequest, KeepSpooledReply, KeepSpooledRequest, Refused,
        events_server::{Events, EventsServer},
        forward_reply::Answer,
    },
};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{FileFates, RouteError, Router, spool::KeepRefusal, submission::EntrySubmission};

/// Who sends a request, as its connection proves.
pub type Callers = Arc<dyn Fn(&Request<()>) -> Result<NodeId, Status> + Send + Sync>;

/// Files of one message about spooled events.
const FILES_MAX: usize = 10_000;
/// What a message takes beside its entry.
const FRAME_BYTES: usize = 4 << 10;

/// The service over a [`Router`].
#[derive(Clone)]
pub struct EventsService {
    router: Router,
    callers: Callers,
    forwarded: Counter,
}

impl EventsService {
    /// The service.
    #[must_use]
    pub fn new(router: Router, callers: Callers) -> Self {
        let forwarded = counter!("ringtail_route_forwarded_here_total");
        Self {
            router,
            callers,
            forwarded,
        }
    }

    /// The service, ready to be mounted, with the bound of a message.
    #[must_use]
    pub fn server(router: Router, callers: Callers) -> EventsServer<Self> {
        let bytes_max = router.entry_bytes_max() + FRAME_BYTES;
        EventsServer::new(Self::new(router, callers)).max_decoding_message_size(bytes_max)
    }

    fn caller<T>(&self, request: Request<T>) -> Result<(NodeId, T), Status> {
        let (metadata, extensions, body) = request.into_parts();
        let caller = (self.callers)(&Request::from_parts(metadata, extensions, ()));
        Ok((caller.inspect_err(|_| count_hostile("caller"))?, body))
    }

    /// Takes one entry, or says why not.
    fn begin(&self, request: ForwardRequest) -> Result<EntrySubmission, RouteError> {
        let submission = self
            .router
            .submit_forwarded(GroupId(request.group), request.entry);
        match &submission {
            Ok(_) => self.forwarded.increment(1),
            Err(error) => {
                let kind = error.kind().name();
                counter!("ringtail_route_forwarded_refused_total", "kind" => kind).increment(1);
                if matches!(
                    error,
                    RouteError::Refused { .. }
                        | RouteError::TooLarge { .. }
                        | RouteError::UnknownGroup(_)
                ) {
                    tracing::warn!(%error, "route: another node sent an entry that cannot be");
                }
            }
        }
        submission
    }
}

#[tonic::async_trait]
impl Events for EventsService {
    type ForwardStream = ReceiverStream<Result<ForwardReply, Status>>;

    async fn forward(
        &self,
        request: Request<Streaming<ForwardRequest>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        let (caller, requests) = self.caller(request)?;
        let entries_max = self.router.options().forward_entries_max;
        let (answers, replies) = mpsc::channel(entries_max);
        tokio::spawn(run_stream(
            self.clone(),
            caller,
            requests,
            answers,
            entries_max,
        ));
        Ok(Response::new(ReceiverStream::new(replies)))
    }

    async fn keep_spooled(
        &self,
        request: Request<KeepSpooledRequest>,
    ) -> Result<Response<KeepSpooledReply>, Status> {
        let (
            caller,
            KeepSpooledRequest {
                owner,
                file,
                content,
            },
        ) = self.caller(request)?;
        check_owner(caller, owner)?;
        let kept = self.router.spool().keep_for(caller, file, content).await;
        kept.map_err(|refusal| keep_status(&refusal))?;
        Ok(Response::new(KeepSpooledReply {}))
    }

    async fn drop_spooled(
        &self,
        request: Request<DropSpooledRequest>,
    ) -> Result<Response<DropSpooledReply>, Status> {
        let (caller, DropSpooledRequest { owner, files }) = self.caller(request)?;
        check_owner(caller, owner)?;
        check_files(&files)?;
        self.router.spool().drop_for(caller, &files).await;
        Ok(Response::new(DropSpooledReply {}))
    }

    async fn ask_spooled(
        &self,
        request: Request<AskSpooledRequest>,
    ) -> Result<Response<AskSpooledReply>, Status> {
        let (_, AskSpooledRequest { files }) = self.caller(request)?;
        check_files(&files)?;
        let FileFates { done, lost } = self.router.spool().fates(&files);
        Ok(Response::new(AskSpooledReply { done, lost }))
    }
}

/// Takes entries while fewer than `entries_max` wait for their answers. What was taken goes on without the caller.
async fn run_stream(
    service: EventsService,
    caller: NodeId,
    mut requests: Streaming<ForwardRequest>,
    answers: mpsc::Sender<Result<ForwardReply, Status>>,
    entries_max: usize,
) {
    let room = Arc::new(Semaphore::new(entries_max));
    loop {
        // It fails only once it is closed, and nobody closes it.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let request = match requests.message().await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(status) => {
                tracing::debug!(%caller, %status, "route: a stream of entries broke");
                return;
            }
        };
        let sequence = request.sequence;
        let begun = service.begin(request);
        let answers = answers.clone();
        tokio::spawn(async move {
            let answer = match begun {
                Ok(submission) => see_through(sequence, submission, &answers).await,
                Err(error) => refused(&error),
            };
            send(sequence, answer, &answers).await;
            drop(permit);
        });
    }
}

/// Tells when the entry is committed; returns what it is answered with in the end.
async fn see_through(
    sequence: u64,
    mut submission: EntrySubmission,
    answers: &mpsc::Sender<Result<ForwardReply, Status>>,
) -> Answer {
    if let Err(error) = submission.committed().await {
        return refused(&error);
    }
    send(sequence, Answer::Committed(Committed {}), answers).await;
    match submission.applied().await {
        Ok(reply) => Answer::Applied(reply),
        Err(error) => refused(&error),
    }
}

async fn send(sequence: u64, answer: Answer, answers: &mpsc::Sender<Result<ForwardReply, Status>>) {
    let reply = ForwardReply {
        sequence,
        answer: Some(answer),
    };
    // A caller that is gone asks again, with the same ids.
    drop(answers.send(Ok(reply)).await);
}

fn refused(error: &RouteError) -> Answer {
    let leader = match error {
        RouteError::NotLeader { leader, .. } => leader.map(|node| node.0),
        _ => None,
    };
    Answer::Refused(Refused {
        kind: error.kind().name().to_owned(),
        message: error.to_string(),
        may_commit: error.may_commit(),
        leader,
    })
}

fn check_owner(caller: NodeId, owner: u64) -> Result<(), Status> {
    if caller.0 == owner {
        return Ok(());
    }
    count_hostile("owner");
    Err(Status::permission_denied(
        "a node speaks for its own files only",
    ))
}

fn check_files(files: &[u64]) -> Result<(), Status> {
    if files.len() <= FILES_MAX {
        return Ok(());
    }
    count_hostile("files");
    Err(Status::invalid_argument(format!(
        "at most {FILES_MAX} files"
    )))
}

fn keep_status(refusal: &KeepRefusal) -> Status {
    let kind = match refusal {
        KeepRefusal::Damaged(_) | KeepRefusal::Own | KeepRefusal::Taken => {
            count_hostile("copy");
            ErrorKind::InvalidRequest
        }
        KeepRefusal::Full { .. } => ErrorKind::Overloaded,
        KeepRefusal::Disk(_) => ErrorKind::StorageFull,
    };
    Status::new(kind.grpc_code(), refusal.to_string())
}

/// Counts what no honest node sends.
fn count_hostile(what: &'static str) {
    counter!("ringtail_route_peer_refused_total", "what" => what).increment(1);
}
