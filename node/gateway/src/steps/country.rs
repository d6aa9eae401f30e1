//! Looks up the country of the visitor's address. The address itself goes no further than the visitor step.

use ringtail_proto::DropReason;

use crate::enricher::Work;

pub(crate) fn run(work: &mut Work<'_, '_>) -> Result<(), DropReason> {
    if let Some(address) = work.hit.address {
        work.draft.place = work.place_of(address);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hit, steps::bench::Bench};

    #[test]
    fn an_address_becomes_a_country() {
        let bench = Bench::new();
        let check = |address: Option<&str>, expect: &str| {
            let address = address.map(|address| address.parse().unwrap());
            let hit = Hit {
                address,
                ..Hit::new("example.com", "https://example.com/")
            };
            let (result, draft) = bench.run(run, &hit);
            assert_eq!(
                (result, draft.place.country.as_str()),
                (Ok(()), expect),
                "{address:?}"
            );
        };
        check(Some("8.8.8.8"), "US");
        check(Some("8.8.8.8"), "US");
        check(Some("2001:4860:4860::8888"), "CA");
        check(Some("192.168.1.1"), "");
        check(None, "");
    }
}
