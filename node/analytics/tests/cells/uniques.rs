//! Distinct visitors: exact while few, within the stated error when many, whatever the order.

use proptest::prelude::*;
use ringtail_analytics::{Precision, Uniques};
use ringtail_proto::VisitorId;

fn set(precision: Precision, visitors: impl IntoIterator<Item = u64>) -> Uniques {
    let mut set = Uniques::new(precision);
    for visitor in visitors {
        set.insert(Uniques::hash(VisitorId(visitor), 7));
    }
    set
}

fn union(left: &Uniques, right: &Uniques) -> Uniques {
    let mut union = left.clone();
    union.merge(right);
    union
}

#[test]
fn a_set_is_exact_up_to_its_limit_and_an_estimate_beyond() {
    let full = set(
        Precision::Value,
        0..Precision::Value.exact_hashes_max() as u64,
    );
    assert!(full.is_exact());
    assert_eq!(full.estimate(), 256);
    assert_eq!(full.relative_error(), 0.0);

    let over = set(
        Precision::Value,
        0..=Precision::Value.exact_hashes_max() as u64,
    );
    assert!(!over.is_exact());
    assert!((over.relative_error() - 0.0325).abs() < 1e-9);
    assert!(over.estimate().abs_diff(257) <= 25, "{}", over.estimate());
}

#[test]
fn repeated_visitors_count_once() {
    let once = set(Precision::Total, 0..5_000);
    let thrice = set(Precision::Total, (0..5_000).chain(0..5_000).chain(0..5_000));
    assert_eq!(once, thrice);
}

#[test]
fn estimates_stay_within_four_standard_errors() {
    for (precision, error) in [(Precision::Total, 0.01625), (Precision::Value, 0.0325)] {
        for count in [300_u64, 1_000, 3_000, 10_000, 100_000, 1_000_000] {
            let estimate = set(precision, 0..count).estimate() as f64;
            let deviation = (estimate - count as f64).abs() / count as f64;
            assert!(deviation < 4.0 * error, "{count} estimated as {estimate}");
        }
    }
}

#[test]
fn another_key_gives_other_hashes() {
    let visitor = VisitorId(42);
    assert_ne!(Uniques::hash(visitor, 1), Uniques::hash(visitor, 2));
}

#[test]
fn sets_of_both_precisions_merge_to_the_lower_one() {
    let fine = set(Precision::Total, 0..2_000);
    let coarse = set(Precision::Value, 1_000..3_000);
    let expect = set(Precision::Value, 0..3_000);
    assert_eq!(union(&fine, &coarse), expect);
    assert_eq!(union(&coarse, &fine), expect);
}

/// Ranges around the limit, so that exact and estimated sets meet in every way.
fn any_set() -> impl Strategy<Value = Uniques> {
    let precision = prop::sample::select(vec![Precision::Total, Precision::Value]);
    (precision, 0_u64..500, 0_u64..400)
        .prop_map(|(precision, first, count)| set(precision, first..first + count))
}

proptest! {
    #[test]
    fn merging_is_commutative(left in any_set(), right in any_set()) {
        prop_assert_eq!(union(&left, &right), union(&right, &left));
    }

    #[test]
    fn merging_is_associative(a in any_set(), b in any_set(), c in any_set()) {
        prop_assert_eq!(union(&union(&a, &b), &c), union(&a, &union(&b, &c)));
    }

    #[test]
    fn merging_parts_gives_the_whole(visitors in prop::collection::vec(0_u64..2_000, 0..1_500), cut in 0_usize..1_500) {
        let cut = cut.min(visitors.len());
        let (left, right) = visitors.split_at(cut);
        let parts = union(&set(Precision::Value, left.to_vec()), &set(Precision::Value, right.to_vec()));
        prop_assert_eq!(parts, set(Precision::Value, visitors));
    }
}
