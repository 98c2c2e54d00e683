use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The model of a sorted set: a map, sorted anew for every question.
#[derive(Default)]
struct Naive(BTreeMap<Vec<u8>, f64>);

impl Naive {
    fn sorted(&self) -> Vec<(Vec<u8>, f64)> {
        let mut items: Vec<_> = self
            .0
            .iter()
            .map(|(member, score)| (member.clone(), *score))
            .collect();
        items.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
        items
    }
}

fn owned<'a>(items: impl Iterator<Item = (&'a [u8], f64)>) -> Vec<(Vec<u8>, f64)> {
    items.map(|(member, score)| (member.to_vec(), score)).collect()
}

fn check_invariants(set: &SortedSet) {
    assert_eq!(set.chunks.len(), set.lengths.len());
    for (chunk, &length) in set.chunks.iter().zip(&set.lengths) {
        assert!(!chunk.is_empty() && chunk.len() <= CHUNK && chunk.len() == length as usize);
    }
    assert_eq!(set.before(set.chunks.len()), set.len());
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        5 => (-20..20i32).prop_map(f64::from),
        2 => -1e9..1e9f64,
        1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, f64::MAX, 5e-324]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn agrees_with_a_sorted_vector(
        steps in prop::collection::vec((0..4u8, 0..900u16, score()), 0..3000),
        ranks in prop::collection::vec((0..1200usize, 0..1200usize), 20),
        bounds in prop::collection::vec((score(), any::<bool>(), score(), any::<bool>()), 20),
    ) {
        let mut set = SortedSet::default();
        let mut naive = Naive::default();
        for (kind, member, score) in steps {
            let member = member.to_string().into_bytes();
            if kind == 0 {
                prop_assert_eq!(set.remove(&member), naive.0.remove(&member));
            } else {
                prop_assert_eq!(set.insert(&member, score), naive.0.insert(member, score));
            }
        }
        check_invariants(&set);
        let sorted = naive.sorted();
        prop_assert_eq!(owned(set.range(0..set.len())), sorted.clone());
        for (rank, (member, _)) in sorted.iter().enumerate() {
            prop_assert_eq!(set.rank(member), Some(rank));
        }
        for (start, end) in ranks {
            let (start, end) = (start.min(end), start.max(end));
            let expected = &sorted[start.min(sorted.len())..end.min(sorted.len())];
            prop_assert_eq!(&owned(set.range(start..end)), expected);
            let mut backwards = owned(set.range(start..end).rev());
            backwards.reverse();
            prop_assert_eq!(&backwards, expected);
        }
        for (min, min_exclusive, max, max_exclusive) in bounds {
            let range = set.ranks(
                Bound { score: min, exclusive: min_exclusive },
                Bound { score: max, exclusive: max_exclusive },
            );
            let inside = |score: f64| {
                (if min_exclusive { score > min } else { score >= min })
                    && (if max_exclusive { score < max } else { score <= max })
            };
            let expected: Vec<_> = sorted.iter().filter(|(_, score)| inside(*score)).cloned().collect();
            prop_assert_eq!(owned(set.range(range)), expected);
        }
    }
}

#[test]
fn a_set_that_shrinks_joins_its_chunks() {
    let mut set = SortedSet::default();
    for number in 0..10_000 {
        set.insert(format!("{number:05}").as_bytes(), f64::from(number));
    }
    assert_eq!(
        set.chunks.len(),
        10_000_usize.div_ceil(CHUNK),
        "items that arrive in order fill their chunks"
    );
    for number in (0..10_000).filter(|number| number % 100 != 0) {
        set.remove(format!("{number:05}").as_bytes());
    }
    check_invariants(&set);
    assert!(
        set.chunks.len() <= 4,
        "{} chunks for 100 members",
        set.chunks.len()
    );
}

#[test]
fn removes_a_range_of_ranks() {
    let mut set = SortedSet::default();
    for number in 0..1000 {
        set.insert(format!("{number:04}").as_bytes(), 1.0);
    }
    assert_eq!(set.remove_range(100..900), 800);
    assert_eq!(set.rank(b"0900"), Some(100));
    check_invariants(&set);
}
