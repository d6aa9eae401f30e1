//! Names browser, system, device, screen and language.

use std::sync::Arc;

use ringtail_proto::{Client, DropReason, Text};

use crate::{
    agents::{Agent, cut, device::screen_class},
    enricher::Work,
    memo::{KnownClient, Memo},
};

/// Bytes of a language tag; `zh-Hant-TW` has ten.
const LANGUAGE_BYTES_MAX: usize = 20;

pub(crate) fn run(work: &mut Work<'_, '_>) -> Result<(), DropReason> {
    agent(work);
    Ok(())
}

/// The hit's user agent; the first to ask also names the client, in its screen and language.
pub(super) fn agent(work: &mut Work<'_, '_>) -> Arc<Agent> {
    if let Some(agent) = &work.draft.agent {
        return Arc::clone(agent);
    }
    let hit = work.hit;
    let user_agent = hit.user_agent.as_ref();
    let language = first_language(&hit.language);
    let screen = screen_class(hit.screen_width);
    let hash = work.hash_of(&[
        user_agent.as_bytes(),
        language.as_bytes(),
        screen.as_bytes(),
    ]);
    let found = work.memo.clients.get(hash, |known| {
        known.user_agent.as_str() == user_agent
            && known.language.as_str() == language
            && known.screen == screen
    });
    let (agent, client) = match found {
        Some(found) => (Arc::clone(&found.agent), Arc::clone(&found.client)),
        None => recognise(work, hash, user_agent, language, screen),
    };
    work.draft.client = client;
    work.draft.agent = Some(Arc::clone(&agent));
    agent
}

fn recognise(
    work: &mut Work<'_, '_>,
    hash: u64,
    user_agent: &str,
    language: &str,
    screen: &'static str,
) -> (Arc<Agent>, Arc<Client>) {
    let agents = &work.enricher.agents;
    let agent = agents.agent(user_agent);
    let language = work.memo.text(work.enricher.seed, language);
    let client = agents.client(&agent, screen, &language);
    if user_agent.len() <= Memo::KEY_BYTES_MAX {
        let known = KnownClient {
            user_agent: Text::from(user_agent),
            language,
            screen,
            agent: Arc::clone(&agent),
            client: Arc::clone(&client),
        };
        work.memo.clients.put(hash, known);
    }
    (agent, client)
}

/// `de-DE,de;q=0.9` → `de-DE`.
fn first_language(header: &str) -> &str {
    let first = header.split([',', ';']).next().unwrap_or_default().trim();
    let is_tag = !first.is_empty()
        && first
            .bytes()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == b'-');
    if is_tag {
        cut(first, LANGUAGE_BYTES_MAX)
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hit, steps::bench::Bench};

    #[test]
    fn equal_clients_share_one_allocation_and_others_do_not() {
        let bench = Bench::new();
        let client = |language: &'static str, screen_width: u32| {
            let hit = Hit {
                user_agent: bench.browser(),
                language: language.into(),
                screen_width,
                ..Hit::new("example.com", "https://example.com/")
            };
            bench.enrich(&hit).unwrap().client
        };
        let first = client("de-DE,de;q=0.9", 390);
        assert_eq!(
            [&first.browser, &first.language, &first.screen].map(|text| text.as_str()),
            ["Firefox", "de-DE", "Mobile"]
        );
        assert!(Arc::ptr_eq(&first, &client("de-DE", 400)));
        assert!(!Arc::ptr_eq(&first, &client("de-AT", 390)));
        assert!(!Arc::ptr_eq(&first, &client("de-DE", 1920)));
    }

    #[test]
    fn the_first_language_counts() {
        let check =
            |header: &str, expect: &str| assert_eq!(first_language(header), expect, "{header}");
        check("en-US", "en-US");
        check("en-US,en;q=0.5", "en-US");
        check("fr;q=0.9", "fr");
        check("*", "");
        check("", "");
        check("<script>", "");
        check(&"a".repeat(500), &"a".repeat(20));
    }
}
