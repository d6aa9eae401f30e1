//! What a request says beside its body.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
};

use crate::Signals;

/// Peer and headers of a request, of whatever protocol.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    /// The address at the other end of the connection.
    pub peer: IpAddr,
    /// `X-Forwarded-For`.
    pub forwarded_for: Option<Cow<'a, str>>,
    /// `User-Agent`.
    pub user_agent: &'a str,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// `Origin`.
    pub origin: &'a str,
    /// `Referer`.
    pub referer: &'a str,
    /// `Accept-Language`.
    pub accept_language: &'a str,
    /// `DNT`, `Sec-GPC`.
    pub signals: Signals,
}

impl Default for Envelope<'_> {
    fn default() -> Self {
        Self {
            peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            forwarded_for: None,
            user_agent: "",
            authorization: None,
            origin: "",
            referer: "",
            accept_language: "",
            signals: Signals::default(),
        }
    }
}
