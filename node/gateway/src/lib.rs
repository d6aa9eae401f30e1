//! Collect and enrich: bytes from browsers, servers and log files become events, or drops with their reason.
//!
//! First and second stage of the flow. A *dialect* turns the bytes of one format into [`Hit`]s; the *pipeline*, one
//! ordered list of steps, turns a hit into a [`ringtail_proto::Event`]; [`Gateway`] hands events to an [`EventSink`]
//! (the router) and answers with what became of them.
//!
//! What this crate deliberately does not know: how events are replicated and counted, where sites and keys are kept
//! (it asks [`Sites`]), and what time it is (it asks its [`Clock`]). Raw addresses live in requests, in bounded
//! in-memory caches and nowhere else: no log, metric, file or event holds one.

mod address;
mod agents;
mod body;
mod channel;
mod clock;
mod counters;
mod countries;
mod dialects;
mod enricher;
mod envelope;
mod error;
mod event_ids;
mod gateway;
mod hit;
mod http;
mod importer;
mod memo;
mod page;
mod pipeline;
mod plain_url;
mod privacy;
mod rate;
mod recent_drops;
mod salts;
mod settings;
mod sink;
mod site_rules;
mod sites;
mod sources;
mod steps;

pub use address::{Network, TrustedProxies};
pub use body::Encoding;
pub use clock::Clock;
pub use dialects::collector::CollectorService;
pub use dialects::events::EventsAnswer;
pub use dialects::pixel::PIXEL;
pub use dialects::plausible::PlausibleAnswer;
pub use envelope::Envelope;
pub use error::CollectError;
pub use gateway::{Collected, Gateway};
pub use hit::{Hit, Signals};
pub use http::configure;
pub use importer::{ImportChunk, Importer};
pub use rate::Rate;
pub use salts::{ImportKey, Salts, SaltsError};
pub use settings::GatewaySettings;
pub use sink::{Durable, EventSink, Receipt, SinkError};
pub use site_rules::{SiteRules, SiteRulesInput};
pub use sites::{KeyGrant, Sites};
