//! What a node does for its callers, whatever protocol they speak: HTTP and gRPC handlers only translate.

mod access;
mod admin;
mod archive;
mod documents;
mod imports;
mod lookup;
mod realtime;
mod reports;
mod reprocess;
mod ring;
mod status;
mod subscriptions;

pub(crate) use access::{Access, Caller};
pub(crate) use admin::{Admin, NewGoal, NewKey, SiteChange};
pub(crate) use archive::Archive;
pub(crate) use documents::{GoalDocument, KeyDocument, SiteDocument, Time, time_text};
pub(crate) use imports::{ImportChunk, Imports};
pub(crate) use lookup::Lookup;
pub(crate) use realtime::Realtime;
pub(crate) use reports::{Question, Reports, Terms};
pub(crate) use reprocess::{Difference, NewReprocess, Reprocess, Step};
pub(crate) use ring::{NewJoinToken, Ring, RingChange};
pub(crate) use status::Status;
pub(crate) use subscriptions::{Beginning, FeedsService, PAST_TURNS, Subscription, Subscriptions};
