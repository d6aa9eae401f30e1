//! Gives the visitor a hash in place of whatever could name them.

use std::{hash::Hasher, net::IpAddr};

use ringtail_proto::{DropReason, VisitorId};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::{
    SiteRules,
    enricher::{Mode, Work},
    salts::Secret,
};

pub(crate) fn run(work: &mut Work<'_, '_>) -> Result<(), DropReason> {
    let site = work.site()?;
    let named = work
        .hit
        .visitor
        .as_deref()
        .filter(|visitor| !visitor.is_empty());
    let agent = work.draft.agent.as_ref().map_or(0, |agent| agent.digest);
    let address = work.hit.address;
    match (work.mode, named) {
        (Mode::Live, None) => {}
        (Mode::Live, Some(visitor)) => {
            work.draft.visitor = of_client_id(&site, visitor);
            return Ok(());
        }
        (Mode::Import { key }, Some(visitor)) => {
            work.draft.visitor = of_text(key, visitor);
            return Ok(());
        }
        (Mode::Import { key }, None) => {
            work.draft.visitor = of_trace(key, &site, address, agent);
            return Ok(());
        }
    }
    let day = site.local_day(work.receipt);
    // Without its salt (the clock left all that is due) no day can be told from another, which is still no name.
    let salt = work.enricher.salts.day(day).unwrap_or_default();
    work.draft.visitor = of_trace(&salt, &site, address, agent);
    // A visit over midnight stays one.
    work.draft.visitor_previous = work
        .enricher
        .salts
        .day(day - 1)
        .map(|salt| of_trace(&salt, &site, address, agent));
    Ok(())
}

/// Lasts as long as the client's id does; keyed, so that ids cannot be guessed back from hashes without the site's key.
fn of_client_id(site: &SiteRules, visitor: &str) -> VisitorId {
    let mut key = Secret::default();
    let (low, high) = key.split_at_mut(8);
    low.copy_from_slice(&site.sketch_key.to_le_bytes());
    high.copy_from_slice(&site.id.0.to_le_bytes());
    of_text(&key, visitor)
}

fn of_text(key: &Secret, text: &str) -> VisitorId {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(text.as_bytes());
    shortened(&hasher)
}

/// Address and user agent under a secret that will be forgotten.
fn of_trace(secret: &Secret, site: &SiteRules, address: Option<IpAddr>, agent: u128) -> VisitorId {
    let mut hasher = SipHasher13::new_with_key(secret);
    hasher.write_u64(site.id.0);
    match address {
        Some(IpAddr::V4(address)) => hasher.write(&address.octets()),
        Some(IpAddr::V6(address)) => hasher.write(&address.octets()),
        None => hasher.write_u8(0),
    }
    hasher.write_u128(agent);
    shortened(&hasher)
}

/// 64 of 128 bits; never 0, which stands for nobody.
fn shortened(hasher: &SipHasher13) -> VisitorId {
    VisitorId(hasher.finish128().h1.max(1))
}

#[cfg(test)]
mod tests {
    use crate::{
        Hit,
        steps::bench::{Bench, NOW},
    };

    fn hit<'a>(bench: &Bench, domain: &'a str, address: &str) -> Hit<'a> {
        Hit {
            user_agent: bench.browser(),
            address: Some(address.parse().unwrap()),
            ..Hit::new(domain, "https://example.com/")
        }
    }

    #[test]
    fn a_visitor_is_one_within_a_site_and_a_day() {
        let bench = Bench::new();
        let visitor = |hit: &Hit<'_>| bench.enrich(hit).unwrap().visitor;
        let first = visitor(&hit(&bench, "example.com", "192.0.2.1"));
        assert_eq!(first, visitor(&hit(&bench, "example.com", "192.0.2.1")));
        assert_ne!(first, visitor(&hit(&bench, "example.com", "192.0.2.2")));
        assert_ne!(first, visitor(&hit(&bench, "other.example", "192.0.2.1")));
        let other_agent = Hit {
            user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
                .into(),
            ..hit(&bench, "example.com", "192.0.2.1")
        };
        assert_ne!(first, visitor(&other_agent));
    }

    #[test]
    fn yesterdays_hash_rides_along_until_its_salt_is_deleted() {
        let bench = Bench::new();
        let event = bench
            .enrich(&hit(&bench, "example.com", "192.0.2.1"))
            .unwrap();
        bench.set_now(NOW.0 + 86_400_000);
        let next = bench
            .enrich(&hit(&bench, "example.com", "192.0.2.1"))
            .unwrap();
        assert_eq!(next.visitor_previous, Some(event.visitor));
        assert_ne!(next.visitor, event.visitor);
        // In UTC the salt of yesterday ends at 14:00.
        let noon = NOW.0.div_euclid(86_400_000) * 86_400_000;
        bench.set_now(noon + 14 * 3_600_000 - 1);
        assert!(
            bench
                .enrich(&hit(&bench, "example.com", "192.0.2.1"))
                .unwrap()
                .visitor_previous
                .is_some()
        );
        bench.set_now(noon + 14 * 3_600_000);
        assert_eq!(
            bench
                .enrich(&hit(&bench, "example.com", "192.0.2.1"))
                .unwrap()
                .visitor_previous,
            None
        );
    }

    #[test]
    fn a_clients_own_id_lasts_and_needs_no_previous_one() {
        let bench = Bench::new();
        let with_id = |address: &str| Hit {
            visitor: Some("user-1".into()),
            ..hit(&bench, "example.com", address)
        };
        let first = bench.enrich(&with_id("192.0.2.1")).unwrap();
        bench.set_now(NOW.0 + 10 * 86_400_000);
        let later = bench.enrich(&with_id("192.0.2.9")).unwrap();
        assert_eq!(
            (first.visitor, first.visitor_previous),
            (later.visitor, None)
        );
        let elsewhere = Hit {
            visitor: Some("user-1".into()),
            ..hit(&bench, "other.example", "192.0.2.1")
        };
        assert_ne!(bench.enrich(&elsewhere).unwrap().visitor, first.visitor);
    }
}
