#!/usr/bin/env python3
"""Counts an access log a second time, with SQL over its raw lines.

Shares no code with Ringtail: Python's standard library, SQLite, and the published list of crawler patterns. What is
counted is said in ops/docs/glossary.md:

* a page view is a GET with status 2xx or 304 whose last path segment has no extension or that of a page;
* of the page views, a user agent that is absent or matches a crawler pattern is a bot;
* a visitor is an address with its user agent;
* a visit ends at a gap of more than 30 minutes (and spans at most 24 hours, which this log never reaches);
* a bounce is a visit of one page view;
* a source is the host of the first page view's referrer without `www.`; what is no host name is no source.

Usage: recompute.py LOG CRAWLER_PATTERNS [--own-host HOST]…  → one JSON document on stdout
"""

import argparse
import gzip
import json
import re
import sqlite3
import sys
from datetime import datetime
from urllib.parse import urlsplit

COMBINED = re.compile(
    r'^(?P<address>\S+) \S+ \S+ \[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" '
    r'(?P<status>\d{3}) (?:\d+|-) "(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"$'
)
HOST_NAME = re.compile(r"[a-z0-9.-]+")
PAGE_EXTENSIONS = {"", "html", "htm", "xhtml", "php", "asp", "aspx", "jsp"}
GAP_SECONDS_MAX = 30 * 60
VISIT_SECONDS_MAX = 23 * 60 * 60

SCHEMA = """
create table request (
    line integer primary key,
    address text, at integer, method text, page text, extension text, status integer, referrer_host text, agent text
);
create table agent (agent text primary key, is_bot integer);

-- Each well-formed line has one fate; the first rule that applies decides.
create view fate as
select request.*, agent.is_bot,
    case
        when not (method = 'GET' and (status between 200 and 299 or status = 304) and is_page(extension))
            then 'not_a_pageview'
        when agent.is_bot then 'bot'
        else 'counted'
    end as fate
from request join agent using (agent);

create table view as
select line, at, date(at, 'unixepoch') as day, strftime('%Y-%m-%d %H:00:00', at, 'unixepoch') as hour,
    page, referrer_host, address || ' ' || agent as visitor
from fate where 0;
"""

VISITS = """
create table ordered as
select *, at - lag(at) over (partition by visitor order by at, line) as gap from view;

-- A visit is a run of page views without a gap of more than half an hour.
create table run as
select *, sum(gap is null or gap > :gap) over (partition by visitor order by at, line) as number from ordered;

create table visit as
select visitor, number, min(at) as first, max(at) as last, count(*) as pageviews,
    date(min(at), 'unixepoch') as day
from run group by visitor, number;
"""


def read_lines(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rb") as log:
        for line in log:
            yield line.rstrip(b"\r\n").decode("utf-8", "replace")


def host_of(referrer):
    if referrer == "-":
        return ""
    host = urlsplit(referrer).hostname or ""
    return host.removeprefix("www.") if HOST_NAME.fullmatch(host) else ""


def parse(line):
    """The fields of a line, or None when it is not one of the format."""
    match = COMBINED.match(line)
    if not match:
        return None
    parts = match["request"].split(" ")
    if len(parts) != 3:
        return None
    method, target, _protocol = parts
    at = datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z")
    path = target.split("?")[0].split("#")[0]
    segment = path.rsplit("/", 1)[-1]
    extension = segment.rsplit(".", 1)[1].lower() if "." in segment else ""
    host = host_of(match["referrer"])
    return (
        match["address"], int(at.timestamp()), method, path, extension, int(match["status"]), host, match["agent"],
    )


def load(database, log):
    """Fills `request`; answers lines and malformed lines."""
    lines = malformed = 0
    for number, line in enumerate(read_lines(log), 1):
        lines += 1
        fields = parse(line)
        if fields is None:
            malformed += 1
            continue
        database.execute("insert into request values (?, ?, ?, ?, ?, ?, ?, ?, ?)", (number, *fields))
    return lines, malformed


def mark_bots(database, patterns_path):
    with open(patterns_path, encoding="utf-8") as file:
        patterns = [re.compile(entry["pattern"]) for entry in json.load(file)]
    agents = [row[0] for row in database.execute("select distinct agent from request")]
    is_bot = lambda agent: agent in ("", "-") or any(pattern.search(agent) for pattern in patterns)
    database.executemany("insert into agent values (?, ?)", [(agent, is_bot(agent)) for agent in agents])


def sources(database, own_hosts):
    """Visits by the referring host of their first page view: the least and the most, since a log's seconds tie."""
    rows = database.execute(
        """
        select distinct visit.visitor, visit.number, run.referrer_host
        from visit join run using (visitor, number) where run.at = visit.first
        """
    )
    hosts_of = {}
    for visitor, number, host in rows:
        hosts_of.setdefault((visitor, number), set()).add("" if host in own_hosts else host)
    bounds = {}
    for hosts in hosts_of.values():
        for host in hosts:
            least, most = bounds.get(host, (0, 0))
            bounds[host] = (least + (len(hosts) == 1), most + 1)
    return bounds


def recompute(log, patterns, own_hosts):
    database = sqlite3.connect(":memory:")
    database.create_function("is_page", 1, lambda extension: extension in PAGE_EXTENSIONS, deterministic=True)
    database.executescript(SCHEMA)
    lines, malformed = load(database, log)
    mark_bots(database, patterns)
    database.execute(
        """
        insert into view
        select line, at, date(at, 'unixepoch'), strftime('%Y-%m-%d %H:00:00', at, 'unixepoch'),
            page, referrer_host, address || ' ' || agent
        from fate where fate = 'counted'
        """
    )
    for statement in VISITS.split(";"):
        database.execute(statement, {"gap": GAP_SECONDS_MAX} if ":gap" in statement else {})
    longest = database.execute("select max(last - first) from visit").fetchone()[0] or 0
    if longest > VISIT_SECONDS_MAX:
        sys.exit(f"a visit lasts {longest} s: this script does not cut long visits")

    rows = lambda query: database.execute(query).fetchall()
    table = lambda query: {row[0]: (row[1] if len(row) == 2 else list(row[1:])) for row in rows(query)}
    one = lambda query: rows(query)[0][0]
    dropped = table("select fate, count(*) from fate where fate != 'counted' group by fate")
    if malformed:
        dropped["malformed"] = malformed
    return {
        "lines": lines,
        "accepted": one("select count(*) from view"),
        "dropped": dropped,
        "pageviews": one("select count(*) from view"),
        "visitors": one("select count(distinct visitor) from view"),
        "visits": one("select count(*) from visit"),
        "bounces": one("select count(*) from visit where pageviews = 1"),
        "visit_seconds": one("select sum(last - first) from visit"),
        "pageviews_by_day": table("select day, count(*) from view group by day"),
        "visitors_by_day": table("select day, count(distinct visitor) from view group by day"),
        "visits_by_day": table("select day, count(*) from visit group by day"),
        "bounces_by_day": table("select day, sum(pageviews = 1) from visit group by day"),
        "pageviews_by_hour": table("select hour, count(*) from view group by hour"),
        "visitors_by_hour": table("select hour, count(distinct visitor) from view group by hour"),
        "pageviews_by_page": table("select page, count(*) from view group by page"),
        "visits_by_source": sources(database, set(own_hosts)),
    }


def main():
    arguments = argparse.ArgumentParser(description="counts an access log with SQL")
    arguments.add_argument("log")
    arguments.add_argument("patterns", help="crawler-user-agents.json")
    arguments.add_argument("--own-host", action="append", default=[], help="referrers from here are no source")
    given = arguments.parse_args()
    json.dump(recompute(given.log, given.patterns, given.own_host), sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
