//! An answer that is there, or that needs the log first.

use actix::{
    AsyncContext as _, Context, Message,
    dev::{MessageResponse, OneshotSender},
    fut::{ActorFutureExt as _, LocalBoxActorFuture},
};

use super::SiteActor;
use crate::SiteMachine;

/// An answer of a site's actor. Almost always ready; while a later one is on its way the actor takes no other message.
pub(crate) enum Answer<M: SiteMachine, T> {
    Ready(T),
    Later(LocalBoxActorFuture<SiteActor<M>, T>),
}

impl<M, Q> MessageResponse<SiteActor<M>, Q> for Answer<M, Q::Result>
where
    M: SiteMachine,
    Q: Message,
{
    fn handle(self, context: &mut Context<SiteActor<M>>, sender: Option<OneshotSender<Q::Result>>) {
        // Whoever stopped waiting does not need the answer.
        let send = move |answer| {
            if let Some(sender) = sender {
                let _ = sender.send(answer);
            }
        };
        match self {
            Self::Ready(answer) => send(answer),
            Self::Later(future) => context.wait(future.map(move |answer, _, _| send(answer))),
        }
    }
}
