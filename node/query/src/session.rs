//! What a client has seen of a site, so that no later answer goes behind it, whichever node gives it.

use std::{fmt, str::FromStr};

use ringtail_proto::{LogIndex, SiteId, UnixMillis};

use crate::{error::QueryError, source::SiteSource};

/// The first field of a token: a later form has another one.
const FORM: &str = "2";
/// The form before sites could be switched to other generations.
const FORM_WITHOUT_SWITCHES: &str = "1";
/// A token that promises more of the future than clocks of nodes may differ by is not believed.
const NOW_AHEAD_MS_MAX: i64 = 10 * 60_000;

/// What a client has seen of a site. As text it is the token in `meta.session`, opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The site.
    pub site: SiteId,
    /// What of its log.
    pub seen: Seen,
    /// What time it was: today never becomes yesterday's evening again.
    pub now: UnixMillis,
    /// How often the site had been switched to another generation of its history.
    pub switches: u64,
}

/// What of a site's log an answer includes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The last entry of the site's partition.
    pub index: LogIndex,
    /// The last entry up to which all events are in the numbers, late ones too.
    pub complete: LogIndex,
}

impl Seen {
    /// What is seen of a site's state when its partition stands at an entry.
    #[must_use]
    pub fn of(index: LogIndex, source: &dyn SiteSource) -> Self {
        let incomplete = source.incomplete_since();
        Self {
            index,
            complete: incomplete.map_or(index, |since| LogIndex(since.0.saturating_sub(1))),
        }
    }

    /// True when whoever has seen the other sees nothing disappear here.
    #[must_use]
    pub fn includes(&self, other: Self) -> bool {
        self.index >= other.index && self.complete >= other.complete
    }
}

impl Session {
    /// Reads the token of a query about a site.
    ///
    /// # Errors
    /// When it is no token, or one of another site.
    pub fn parse(token: &str, site: SiteId) -> Result<Self, QueryError> {
        let session: Self = token.parse()?;
        if session.seen.complete > session.seen.index {
            return Err(not_understood());
        }
        if session.site == site {
            return Ok(session);
        }
        let message = "session is of another site: send the meta.session of the same site's last answer, or none";
        Err(QueryError::Invalid(message.to_owned()))
    }

    /// The time at which the next question is asked, by a node's clock.
    #[must_use]
    pub fn now(&self, clock: UnixMillis) -> UnixMillis {
        let latest = UnixMillis(clock.0.saturating_add(NOW_AHEAD_MS_MAX));
        self.now.min(latest).max(clock)
    }
}

impl fmt::Display for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (site, index, complete) = (self.site.0, self.seen.index.0, self.seen.complete.0);
        let (now, switches) = (self.now.0, self.switches);
        write!(
            formatter,
            "{FORM}.{site:x}.{index:x}.{complete:x}.{now:x}.{switches:x}"
        )
    }
}

impl FromStr for Session {
    type Err = QueryError;

    fn from_str(token: &str) -> Result<Self, QueryError> {
        let fields: Vec<&str> = token.splitn(7, '.').collect();
        let (site, index, complete, now, switches) = match *fields.as_slice() {
            [FORM, site, index, complete, now, switches] => (site, index, complete, now, switches),
            [FORM_WITHOUT_SWITCHES, site, index, complete, now] => {
                (site, index, complete, now, "0")
            }
            _ => return Err(not_understood()),
        };
        let number = |text: &str| u64::from_str_radix(text, 16).map_err(|_| not_understood());
        let now = i64::from_str_radix(now, 16).map_err(|_| not_understood())?;
        Ok(Self {
            site: SiteId(number(site)?),
            seen: Seen {
                index: LogIndex(number(index)?),
                complete: LogIndex(number(complete)?),
            },
            now: UnixMillis(now),
            switches: number(switches)?,
        })
    }
}

fn not_understood() -> QueryError {
    let message =
        "session is not understood: send the meta.session of an answer as it came, or none";
    QueryError::Invalid(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(index: u64, complete: u64) -> Session {
        Session {
            site: SiteId(77),
            seen: Seen {
                index: LogIndex(index),
                complete: LogIndex(complete),
            },
            now: UnixMillis(1_700_000_000_000),
            switches: 3,
        }
    }

    #[test]
    fn a_token_says_what_was_seen() {
        let seen = session(u64::MAX, 12);
        assert_eq!(
            Session::parse(&seen.to_string(), SiteId(77)).ok(),
            Some(seen)
        );
        let before = Session::parse("1.4d.c.9.1", SiteId(77));
        assert_eq!(before.map(|session| session.switches).ok(), Some(0));
    }

    #[test]
    fn what_is_no_token_of_the_site_is_refused() {
        let token = session(9, 9).to_string();
        assert!(Session::parse(&token, SiteId(78)).is_err());
        for wrong in [
            "",
            "1",
            "3.4d.9.9.1.1",
            "2.4d.9.9.1",
            "2.4d.9.9.1.1.1",
            "2.4d.9.9.1.x",
            "1.4d.9.9",
            "1.4d.9.9.1.1",
            "1.4d.-9.9.1",
            "1.4d.9.x.1",
            "1.4d.9.a.1",
            "1.4d.11111111111111111.9.1",
        ] {
            assert!(Session::parse(wrong, SiteId(77)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn both_halves_have_to_be_reached() {
        let seen = |index, complete| session(index, complete).seen;
        assert!(seen(5, 4).includes(seen(5, 4)));
        assert!(!seen(5, 3).includes(seen(5, 4)));
        assert!(!seen(4, 4).includes(seen(5, 4)));
    }

    #[test]
    fn time_goes_on_and_a_forged_future_is_bounded() {
        let session = session(1, 1);
        let earlier = UnixMillis(session.now.0 - 1_000);
        let later = UnixMillis(session.now.0 + 1_000);
        assert_eq!(session.now(earlier), session.now);
        assert_eq!(session.now(later), later);
        let long_ago = UnixMillis(0);
        assert_eq!(session.now(long_ago), UnixMillis(NOW_AHEAD_MS_MAX));
        let forged = Session {
            now: UnixMillis(i64::MAX),
            ..session
        };
        assert_eq!(forged.now(later), UnixMillis(later.0 + NOW_AHEAD_MS_MAX));
    }
}
