//! Snapshots that are none.

use bytes::Bytes;
use futures::FutureExt as _;
use ringtail_raft::{Floor, Machine as _, SNAPSHOT_PART_BYTES_MAX, SnapshotPart};

use super::{
    snapshots::{joiner, receive, rows_of, sent},
    world::{World, add, run},
};
use crate::{floor_row::FloorRow, snapshot_row::piece_key};

#[test]
fn what_cannot_be_a_snapshot_is_refused_and_harms_nothing() {
    run(async {
        let mut world = World::new();
        world.options.snapshot_value_bytes_max = 3 << 20;
        let process = world.start().await;
        process
            .apply(world.log.append_events(&[add(1, 1), add(2, 1)]))
            .await;
        let (_, good) = sent(&process).await;
        let good = good
            .into_iter()
            .flat_map(|part| part.rows)
            .collect::<Vec<_>>();
        let floor = good[0].clone();
        assert_eq!(floor.0, FloorRow::KEY.encode());

        let other = joiner(&world);
        let joined = other.start().await;
        // One that has a state keeps it, one that has none stays without.
        let behind = joiner(&world);
        let lagging = behind.start().await;
        lagging.apply(behind.log.append_events(&[add(1, 7)])).await;
        let check = async |rows: Vec<(Bytes, Bytes)>, expect: &str| {
            for process in [&joined, &lagging] {
                // Every row comes in a part of its own.
                let parts = rows.iter().map(|row| SnapshotPart {
                    rows: vec![row.clone()],
                });
                let error = receive(process, parts.collect()).await.unwrap_err();
                assert!(error.contains(expect), "{error}");
            }
            assert!(!joined.partition.is_whole());
            assert_eq!(joined.raft.floor().await.unwrap(), Floor::default());
            assert_eq!(rows_of(&*joined.partition.rows()), []);
            assert_eq!(lagging.sum(1).await.sum, 7);
        };
        let row =
            |key: &[u8], value: &[u8]| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        let with = |extra: &[(Bytes, Bytes)]| [&good[..], extra].concat();

        check(good[1..].to_vec(), "it has no floor row").await;
        check(Vec::new(), "it has no floor row").await;
        check(vec![row(&floor.0, b"\x09")], "version 9").await;
        check(vec![row(&floor.0, b"")], "cut short").await;
        check(with(&[row(b"\xffodd", b"x")]), "no row has the key").await;
        check(with(&[row(b"", b"x")]), "no row has the key").await;
        check(with(&[good[1].clone()]), "does not come after").await;
        check(with(&[good.last().unwrap().clone()]), "does not come after").await;
        let mut swapped = good.clone();
        swapped.swap(1, 2);
        check(swapped, "does not come after").await;
        let too_large = Bytes::from(vec![0; SNAPSHOT_PART_BYTES_MAX]);
        check(
            vec![(floor.0.clone(), too_large)],
            "at most 1048576 are allowed",
        )
        .await;
        // Pieces that do not follow, and a value that never ends.
        let last = good.last().unwrap().0.clone();
        check(
            with(&[(piece_key(&last, 2), Bytes::new())]),
            "no row has the key",
        )
        .await;
        let piece = Bytes::from(vec![0; 1 << 19]);
        let endless = (1..9).map(|number| (piece_key(&last, number), piece.clone()));
        check(
            with(&endless.collect::<Vec<_>>()),
            "at most 3145728 are allowed",
        )
        .await;

        receive(&joined, vec![SnapshotPart { rows: good.clone() }])
            .await
            .unwrap();
        assert_eq!(joined.hash(1).await, process.hash(1).await);
        assert!(joined.node.failure.wait().now_or_never().is_none());
    });
}

#[test]
fn rows_of_another_groups_site_are_refused() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        let events: Vec<_> = (1..=8).map(|site| add(site, 1)).collect();
        process.apply(world.log.append_events(&events)).await;
        let (_, parts) = sent(&process).await;
        let mut other = joiner(&world);
        other.groups = 2;
        let joined = other.start().await;
        let error = receive(&joined, parts).await.unwrap_err();
        assert!(error.contains("which is in group 2"), "{error}");
        assert!(!joined.partition.is_whole());
    });
}

#[test]
fn a_snapshot_below_what_is_applied_is_refused() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        let (_, old) = sent(&process).await;
        process.apply(world.log.append_events(&[add(1, 2)])).await;
        let error = receive(&process, old).await.unwrap_err();
        assert!(error.contains("is below what is applied here"), "{error}");
        assert_eq!(process.sum(1).await.sum, 3);
        world.pass(20);
        assert_eq!(process.duties().await.checkpoints, 1);
    });
}
