//! The columns in the files are a promise to everybody who reads them with tools of their own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::fmt::Write;

use common::log::{LogMaker, seal};
use parquet::{
    basic::Compression,
    file::{
        metadata::{PageIndexPolicy, ParquetMetaDataReader},
        page_index::column_index::ColumnIndexMetaData,
        reader::{FileReader, SerializedFileReader},
    },
};
use ringtail_archive::{
    SealBuilder, SealOptions, Table, VisitAttributes, VisitPart, VisitRow, VisitTotals,
};
use ringtail_proto::{Generation, GroupId, HourStart, LogIndex, SiteId, UnixMillis, VisitorId};

/// One visit, and an hour that has none left.
fn visits() -> [VisitRow; 2] {
    let hour = HourStart(common::log::NOON_MS);
    let part = VisitPart {
        visitor: VisitorId(9),
        first: UnixMillis(hour.0 + 1),
        last: UnixMillis(hour.0 + 2),
        events: 3,
        pageviews: 2,
        engaged_ms: 11_000,
        attributes: VisitAttributes {
            entry_page: Some("/".into()),
            ..VisitAttributes::default()
        },
        start: Some(VisitTotals::default()),
    };
    [Some(part), None].map(|part| VisitRow {
        site: SiteId(1),
        generation: Generation(0),
        hour,
        index: LogIndex(4),
        part,
    })
}

#[test]
fn columns_in_the_files_are_the_golden_ones() {
    let mut text = String::new();
    let mut builder = SealBuilder::new(GroupId(1), SealOptions::default());
    common::log::add(&mut builder, &LogMaker::new(1, 3).entries(40));
    for row in visits() {
        builder.visit(row);
    }
    let built = builder.finish().unwrap();
    let tables: Vec<Option<Table>> = built
        .iter()
        .map(|built| Table::from_stored(built.object.table))
        .collect();
    assert_eq!(tables, Table::ALL.map(Some));
    for built in built {
        let file = SerializedFileReader::new(built.bytes).unwrap();
        let metadata = file.metadata().file_metadata();
        let table = Table::from_stored(built.object.table).unwrap();
        writeln!(text, "table {table}").unwrap();
        for column in metadata.schema_descr().columns() {
            let logical = column
                .logical_type_ref()
                .map_or_else(String::new, |logical| format!(" {logical:?}"));
            let presence = match column.max_def_level() {
                0 => "required",
                _ => "optional",
            };
            let (path, kind) = (column.path(), column.physical_type());
            writeln!(text, "  {path} {kind}{logical} {presence}").unwrap();
        }
    }
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/columns.txt");
    if std::env::var_os("RINGTAIL_WRITE_GOLDEN").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(golden).unwrap());
}

#[test]
fn an_object_says_what_its_rows_span() {
    let entries = LogMaker::new(1, 3).entries(40);
    for built in seal(9, &entries) {
        let path = std::str::from_utf8(&built.object.path).unwrap();
        let path = ringtail_archive::ObjectPath::parse(path).unwrap();
        assert_eq!(path.group, GroupId(9));
        assert_eq!(path.first.0, built.object.first_index);
        assert_eq!(path.last.0, built.object.last_index);
        assert_eq!(path.received.to_string(), "2026-11-22");
        assert_eq!(&built.object.hash[..8], path.hash);
        assert_eq!(built.object.bytes, built.bytes.len() as u64);
        assert!(built.object.first_index >= entries[0].head().index.0);
        assert!(built.object.last_index <= entries[39].head().index.0);
        assert!(built.object.last_site <= 2);
        let file = SerializedFileReader::new(built.bytes).unwrap();
        let rows = file.metadata().file_metadata().num_rows();
        assert_eq!(built.object.rows, rows as u64);
    }
}

#[test]
fn visitors_have_bloom_filters_and_key_columns_have_bounds_of_pages() {
    let built = seal(9, &LogMaker::new(1, 3).entries(40));
    let reader = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(&built[0].bytes)
        .unwrap();
    let group = reader.row_group(0);
    for (position, column) in group.columns().iter().enumerate() {
        let name = column.column_path().string();
        let is_visitor = name == "visitor";
        assert_eq!(column.bloom_filter_offset().is_some(), is_visitor, "{name}");
        let bounds = &reader.column_index().unwrap()[0][position];
        let is_key = [
            "site",
            "time_ms",
            "stamp_ms",
            "log_index",
            "visitor",
            "name",
        ];
        let has_bounds = !matches!(bounds, ColumnIndexMetaData::NONE);
        assert_eq!(has_bounds, is_key.contains(&name.as_str()), "{name}");
        assert!(matches!(column.compression(), Compression::ZSTD(_)));
    }
}
