#!/usr/bin/env python3
"""What DuckDB finds in an archive: one JSON object on standard output.

    totals.py VENV ARCHIVE            totals of all tables
    totals.py VENV ARCHIVE --write F  writes the events anew to F with COPY, and says how long that took

VENV is a folder for a virtual environment with duckdb in it; it is made when it is not there.
"""
import json
import os
import subprocess
import sys
import time
import venv

REQUIREMENT = "duckdb==2.0.0"


def ensure(folder):
    """Goes on in the virtual environment, which is made at the first time."""
    python = os.path.join(folder, "bin", "python")
    if os.path.realpath(sys.prefix) == os.path.realpath(folder):
        return
    marker = os.path.join(folder, REQUIREMENT)
    if not os.path.exists(marker):
        venv.create(folder, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUIREMENT]
        subprocess.run(install, check=True, stdout=sys.stderr)
        open(marker, "w").close()
    os.execv(python, [python, *sys.argv])


def rows(connection, query):
    return [list(row) for row in connection.execute(query).fetchall()]


def files(archive, table):
    pattern = f"{archive}/v1/table={table}/*/*/*.parquet"
    return f"read_parquet('{pattern}', hive_partitioning = true)"


def totals(connection, archive):
    events, visits, changes = (files(archive, table) for table in ("events", "visits", "changes"))
    return {
        "by_site": rows(connection, f"""
            SELECT site, count(*), count(*) FILTER (verdict = 'accepted'),
                   sum(engaged_ms)::BIGINT, sum(revenue_micros)::HUGEINT::VARCHAR,
                   sum(cardinality(props))::BIGINT, count(DISTINCT visitor), count(user_id),
                   min(time_ms), max(time_ms), count(client_time_ms)
            FROM {events} GROUP BY site ORDER BY site"""),
        "by_verdict": rows(connection, f"""
            SELECT verdict, drop_reason, count(*) FROM {events}
            GROUP BY ALL ORDER BY ALL NULLS FIRST"""),
        "by_page": rows(connection, f"""
            SELECT page, count(*) FROM {events} GROUP BY page ORDER BY page NULLS FIRST"""),
        "partitions": rows(connection, f"""
            SELECT DISTINCT "group"::BIGINT, received::VARCHAR FROM {events} ORDER BY ALL"""),
        "ids": rows(connection, f"SELECT lower(hex(event_id)) FROM {events} ORDER BY 1 LIMIT 3"),
        "changes": rows(connection, f"SELECT kind, count(*) FROM {changes} GROUP BY kind ORDER BY kind"),
        # The rows with the highest index stand for an hour.
        "visits": rows(connection, f"""
            SELECT site, count(visitor), sum(pageviews)::BIGINT, count(visit_events)
            FROM (SELECT *, max(log_index) OVER (PARTITION BY site, generation, hour_ms) AS newest FROM {visits})
            WHERE log_index = newest GROUP BY site ORDER BY site"""),
    }


def write(connection, archive, target):
    """Reads all events into memory, then times only the writing."""
    order = "site, time_ms, log_index, slice, slice_offset"
    columns = "* EXCLUDE (\"table\", \"group\", received)"
    connection.execute(f"CREATE TABLE events AS SELECT {columns} FROM {files(archive, 'events')} ORDER BY {order}")
    count = connection.execute("SELECT count(*) FROM events").fetchone()[0]
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        connection.execute(f"COPY events TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
        seconds.append(time.monotonic() - began)
    return {"rows": count, "seconds": sorted(seconds)[1], "bytes": os.path.getsize(target)}


def main():
    folder, archive, *rest = sys.argv[1:]
    ensure(folder)
    import duckdb

    connection = duckdb.connect()
    if rest[:1] == ["--write"]:
        connection.execute("SET threads = 1")
        found = write(connection, archive, rest[1])
    else:
        found = totals(connection, archive)
    json.dump(found, sys.stdout)


main()
