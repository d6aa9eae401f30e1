//! Tells robots by their user agent; no user agent is a robot's.

use ringtail_proto::DropReason;

use crate::enricher::Work;

pub(crate) fn run(work: &mut Work<'_, '_>) -> Result<(), DropReason> {
    if !work.hit.is_tested_for_bots {
        return Ok(());
    }
    let is_bot = super::user_agent::agent(work).is_bot;
    if is_bot { Err(DropReason::Bot) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hit, steps::bench::Bench};

    #[test]
    fn robots_are_dropped_where_they_are_tested_for() {
        let bench = Bench::new();
        let check =
            |user_agent: &'static str, is_tested_for_bots: bool, expect: Result<(), DropReason>| {
                let hit = Hit {
                    user_agent: user_agent.into(),
                    is_tested_for_bots,
                    ..Hit::new("example.com", "https://example.com/")
                };
                assert_eq!(bench.run(run, &hit).0, expect, "{user_agent}");
            };
        let robot = Err(DropReason::Bot);
        check(
            "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
            true,
            Ok(()),
        );
        check("", true, robot);
        check("", false, Ok(()));
        check("curl/8.5.0", true, robot);
        check("curl/8.5.0", false, Ok(()));
        check(
            "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
            true,
            robot,
        );
    }
}
