//! The plain way to count: all events at hand, sorted, walked. Shares no code with the product.

use std::collections::{BTreeMap, BTreeSet};

use super::{CellLine, HOUR, Hit};

/// Tables by dimension name, as lines like those of `TestSite::table`.
pub fn tables(
    hits: &[Hit],
    timeout_ms: i64,
    hour_of: &dyn Fn(i64) -> i64,
) -> BTreeMap<&'static str, String> {
    let mut cells: BTreeMap<(&'static str, i64, String), CellLine> = BTreeMap::new();
    let mut visitors: BTreeMap<(&'static str, i64, String), BTreeSet<u64>> = BTreeMap::new();
    for visit in visits(hits, timeout_ms, hour_of) {
        count(&visit, hour_of, &mut cells, &mut visitors);
    }
    for (key, who) in visitors {
        cells.entry(key).or_default().visitors = who.len() as u64;
    }
    let mut lines: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for ((dimension, hour, value), cell) in cells {
        lines
            .entry(dimension)
            .or_default()
            .extend(cell.print(hour, &value));
    }
    lines
        .into_iter()
        .map(|(dimension, mut lines)| {
            lines.sort();
            (dimension, lines.join("\n"))
        })
        .collect()
}

struct Visit<'a> {
    visitor: u64,
    events: Vec<&'a Hit>,
}

fn visits<'a>(hits: &'a [Hit], timeout_ms: i64, hour_of: &dyn Fn(i64) -> i64) -> Vec<Visit<'a>> {
    let mut groups: Vec<Vec<&Hit>> = hits.iter().map(|hit| vec![hit]).collect();
    while let Some((one, other)) = pair_that_belongs_together(&groups, timeout_ms) {
        let moved = groups.swap_remove(other);
        groups[one].extend(moved);
    }
    let mut visits = Vec::new();
    for mut chain in groups {
        chain.sort_by_key(|hit| (hit.time, ringtail_proto::EventId(hit.id).hash()));
        let visitor = chain[0].visitor;
        let mut start = hour_of(chain[0].time);
        let mut events: Vec<&Hit> = Vec::new();
        for hit in chain {
            if hour_of(hit.time) >= start + 24 * HOUR {
                visits.push(Visit {
                    visitor,
                    events: std::mem::take(&mut events),
                });
                start = hour_of(hit.time);
            }
            events.push(hit);
        }
        visits.push(Visit { visitor, events });
    }
    visits.retain(|visit| visit.events.iter().any(|hit| hit.name != "engagement"));
    visits
}

fn pair_that_belongs_together(groups: &[Vec<&Hit>], timeout_ms: i64) -> Option<(usize, usize)> {
    let span = |group: &[&Hit]| {
        let times = group.iter().map(|hit| hit.time);
        (times.clone().min().unwrap(), times.max().unwrap())
    };
    let ids = |group: &[&Hit]| -> BTreeSet<u64> {
        group
            .iter()
            .flat_map(|hit| [hit.visitor, hit.previous])
            .filter(|id| *id != 0)
            .collect()
    };
    for (one, first) in groups.iter().enumerate() {
        for (other, second) in groups.iter().enumerate().skip(one + 1) {
            let (a, b) = (span(first), span(second));
            let gap = (a.0 - b.1).max(b.0 - a.1);
            if gap <= timeout_ms && !ids(first).is_disjoint(&ids(second)) {
                return Some((one, other));
            }
        }
    }
    None
}

fn count(
    visit: &Visit<'_>,
    hour_of: &dyn Fn(i64) -> i64,
    cells: &mut BTreeMap<(&'static str, i64, String), CellLine>,
    visitors: &mut BTreeMap<(&'static str, i64, String), BTreeSet<u64>>,
) {
    let counted: Vec<&&Hit> = visit
        .events
        .iter()
        .filter(|hit| hit.name != "engagement")
        .collect();
    let views: Vec<&&&Hit> = counted
        .iter()
        .filter(|hit| hit.name == "pageview")
        .collect();
    let first = counted[0];
    let last = visit.events.last().unwrap();
    let start = hour_of(first.time);
    let entry = views.first().map(|hit| hit.page.clone());
    let exit = views.last().map(|hit| hit.page.clone());
    let duration = (last.time - first.time) as u64;
    let engaged: u64 = visit
        .events
        .iter()
        .map(|hit| u64::from(hit.engaged_ms))
        .sum();
    let goals = counted.iter().map(|hit| goals(hit).len()).sum::<usize>();
    let interactions = counted
        .iter()
        .filter(|hit| hit.name != "pageview" && hit.is_interactive)
        .count();
    let is_bounce = views.len() == 1 && interactions == 0;
    let lasting = if engaged == 0 { duration } else { engaged };
    let is_engaged = lasting >= 10_000 || goals > 0 || views.len() >= 2;
    let of_visit: [(&'static str, String); 6] = [
        ("total", String::new()),
        ("source", first.source.clone()),
        ("country", first.country.clone()),
        ("browser", first.browser.clone()),
        ("entry_page", entry.clone().unwrap_or_default()),
        ("exit_page", exit.unwrap_or_default()),
    ];
    let enter = |cell: &mut CellLine| {
        cell.entrances += 1;
        cell.bounces += u64::from(is_bounce);
        cell.duration_ms += duration;
        cell.visit_pageviews += views.len() as u64;
        cell.engaged_visits += u64::from(is_engaged);
    };
    for (dimension, value) in &of_visit {
        let cell = cells.entry((*dimension, start, value.clone())).or_default();
        cell.visits += 1;
        enter(cell);
        for hit in &counted {
            let key = (*dimension, hour_of(hit.time), value.clone());
            add(cells.entry(key.clone()).or_default(), hit);
            visitors.entry(key).or_default().insert(visit.visitor);
        }
    }
    if let Some(entry) = entry {
        enter(cells.entry(("page", start, entry)).or_default());
    }
    let mut seen: BTreeSet<(&'static str, String)> = BTreeSet::new();
    for hit in &counted {
        for (dimension, value) in of_event(hit) {
            let key = (dimension, hour_of(hit.time), value.clone());
            let cell = cells.entry(key.clone()).or_default();
            add(cell, hit);
            cell.visits += u64::from(seen.insert((dimension, value)));
            visitors.entry(key).or_default().insert(visit.visitor);
        }
    }
    let mut viewed: BTreeSet<&str> = BTreeSet::new();
    for view in &views {
        let deepest = visit
            .events
            .iter()
            .filter(|hit| hit.page == view.page)
            .filter_map(|hit| hit.scroll)
            .max();
        if viewed.insert(&view.page)
            && let Some(depth) = deepest
        {
            let key = ("page", hour_of(view.time), view.page.clone());
            let cell = cells.entry(key).or_default();
            cell.scroll_sum += u64::from(depth);
            cell.scroll_count += 1;
        }
    }
    for hit in &visit.events {
        let key = ("page", hour_of(hit.time), hit.page.clone());
        cells.entry(key).or_default().engaged_ms += u64::from(hit.engaged_ms);
    }
}

fn add(cell: &mut CellLine, hit: &Hit) {
    cell.events += 1;
    cell.pageviews += u64::from(hit.name == "pageview");
    if let Some((amount, currency)) = hit.revenue {
        *cell.revenue.entry(currency.to_owned()).or_default() += i128::from(amount);
    }
}

fn goals(hit: &Hit) -> Vec<String> {
    let mut met = Vec::new();
    if hit.name == "signup" {
        met.push("1".to_owned());
    }
    if hit.name == "pageview" && hit.page.starts_with("/docs/") {
        met.push("2".to_owned());
    }
    met
}

fn of_event(hit: &Hit) -> Vec<(&'static str, String)> {
    let mut values = vec![
        ("page", hit.page.clone()),
        ("hostname", "example.org".to_owned()),
        ("event", hit.name.clone()),
    ];
    values.extend(goals(hit).into_iter().map(|goal| ("goal", goal)));
    let plan = hit.properties.iter().find(|(key, _)| key == "plan");
    values.extend(plan.map(|(_, value)| ("plan", value.clone())));
    values
}
