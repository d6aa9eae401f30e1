//! How many bytes events take in memory and, at most, in an entry.

use ringtail_proto::{Acquisition, Client, Event, Place};

/// Numbers, tags and lengths of one event, rounded up.
const FIXED_BYTES: usize = 160;

/// Tags, lengths and two positions of one property.
const PROPERTY_BYTES: usize = 32;

/// An upper bound of what the events add to an entry: attributes that events share are counted for each.
pub(crate) fn bytes_of(events: &[Event]) -> usize {
    events.iter().map(bytes_of_event).sum()
}

fn bytes_of_event(event: &Event) -> usize {
    let properties: usize = event
        .properties
        .iter()
        .map(|(key, value)| key.len() + value.len() + PROPERTY_BYTES)
        .sum();
    FIXED_BYTES
        + event.name.len()
        + event.page.len()
        + event.hostname.len()
        + event.user_id.as_ref().map_or(0, |user| user.len())
        + properties
        + bytes_of_client(&event.client)
        + bytes_of_place(&event.place)
        + bytes_of_acquisition(&event.acquisition)
}

fn bytes_of_client(client: &Client) -> usize {
    client.browser.len()
        + client.browser_version.len()
        + client.os.len()
        + client.os_version.len()
        + client.device.len()
        + client.screen.len()
        + client.language.len()
        + client.raw_user_agent.len()
        + 64
}

fn bytes_of_place(place: &Place) -> usize {
    place.country.len() + place.region.len() + place.city.len() + 32
}

fn bytes_of_acquisition(acquisition: &Acquisition) -> usize {
    acquisition.referrer.len()
        + acquisition.source.len()
        + acquisition.channel.len()
        + acquisition.utm_source.len()
        + acquisition.utm_medium.len()
        + acquisition.utm_campaign.len()
        + acquisition.utm_content.len()
        + acquisition.utm_term.len()
        + acquisition.raw_referrer.len()
        + 64
}
