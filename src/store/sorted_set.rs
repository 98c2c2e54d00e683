//! Members with scores, in the order of score, then bytes of the member.

use std::cmp::Ordering;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::remains;
use super::value::Value;

/// The hash and the order hold the same allocation.
pub type Member = Arc<[u8]>;

type Item = (f64, Member);

/// Large enough that a rank is found by adding up few lengths, small enough that an insertion moves few items.
const CHUNK: usize = 256;

/// A hash from member to score beside an ordered list in chunks. Searching halves the chunks, then the chunk; a rank is a
/// sum of chunk lengths, which lie side by side: faster than a balanced tree up to millions of members, and simpler.
///
/// Invariants: no chunk is empty; `lengths[i] == chunks[i].len()`; items ascend through all chunks; no score is NaN.
#[derive(Debug, Default)]
pub struct SortedSet {
    scores: HashMap<Member, f64, RandomState>,
    chunks: Vec<Vec<Item>>,
    lengths: Vec<u32>,
}

/// An end of a range of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    pub score: f64,
    pub exclusive: bool,
}

impl SortedSet {
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).copied()
    }

    /// Adds a member or moves it to a new score, and gives the score it had.
    pub fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let Some((shared, old)) = self.scores.get_key_value(member) else {
            let shared = Member::from(member);
            self.scores.insert(shared.clone(), score);
            self.link(score, shared);
            return None;
        };
        let old = *old;
        if old.to_bits() != score.to_bits() {
            let shared = shared.clone();
            self.unlink(old, member);
            self.link(score, shared);
            if let Some(current) = self.scores.get_mut(member) {
                *current = score;
            }
        }
        Some(old)
    }

    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = self.scores.remove(member)?;
        self.unlink(score, member);
        Some(score)
    }

    /// The position of a member in ascending order.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        let (chunk, at) = self.locate(|item| compare(item, score, member) == Ordering::Less);
        Some(self.before(chunk) + at)
    }

    /// The ranks of the members between two scores.
    pub fn ranks(&self, min: Bound, max: Bound) -> Range<usize> {
        let below = |item: &Item| {
            if min.exclusive {
                item.0 <= min.score
            } else {
                item.0 < min.score
            }
        };
        let within = |item: &Item| {
            if max.exclusive {
                item.0 < max.score
            } else {
                item.0 <= max.score
            }
        };
        let (chunk, at) = self.locate(below);
        let start = self.before(chunk) + at;
        let (chunk, at) = self.locate(within);
        start..(self.before(chunk) + at).max(start)
    }

    /// The members with these ranks, ascending.
    pub fn range(
        &self,
        ranks: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (&[u8], f64)> + ExactSizeIterator {
        let ranks = ranks.start.min(self.len())..ranks.end.min(self.len());
        let count = ranks.len();
        let (first, skipped) = self.position(ranks.start);
        let (last, kept) = self.position(ranks.end);
        RangeOf {
            set: self,
            front: (first, skipped),
            back: (last, kept),
            left: count,
        }
    }

    /// Removes the members with these ranks, and gives how many they were.
    pub fn remove_range(&mut self, ranks: Range<usize>) -> usize {
        let ranks = ranks.start.min(self.len())..ranks.end.min(self.len());
        if ranks.len() > self.len() / 2 {
            return self.keep_ends(ranks);
        }
        let members: Vec<Member> = {
            let items = self.range(ranks);
            items.map(|(member, _)| Member::from(member)).collect()
        };
        members
            .iter()
            .filter(|member| self.remove(member).is_some())
            .count()
    }

    /// Moves what is outside of these ranks to a set of its own, so that the rest is freed in pieces.
    fn keep_ends(&mut self, ranks: Range<usize>) -> usize {
        let mut kept = Self::default();
        for (member, score) in self
            .range(0..ranks.start)
            .chain(self.range(ranks.end..self.len()))
        {
            kept.insert(member, score);
        }
        remains::discard(Value::SortedSet(Box::new(mem::replace(self, kept))));
        ranks.len()
    }

    /// Drops the last chunk.
    pub fn shed(&mut self) {
        self.lengths.pop();
        for (_, member) in self.chunks.pop().unwrap_or_default() {
            self.scores.remove(&member);
        }
    }

    fn link(&mut self, score: f64, member: Member) {
        let (mut chunk, mut at) = self.locate(|item| compare(item, score, &member) == Ordering::Less);
        if chunk == self.chunks.len() {
            // Past the last item: at the end of the last chunk, where logs and queues append.
            match chunk.checked_sub(1) {
                Some(last) => (chunk, at) = (last, self.chunks[last].len()),
                None => {
                    self.chunks.push(Vec::new());
                    self.lengths.push(0);
                }
            }
        }
        if self.chunks[chunk].len() == CHUNK {
            (chunk, at) = self.split(chunk, at);
        }
        self.chunks[chunk].insert(at, (score, member));
        self.lengths[chunk] += 1;
    }

    /// Divides a full chunk: in the middle, or at its end when items arrive in order, so that those chunks stay full.
    fn split(&mut self, chunk: usize, at: usize) -> (usize, usize) {
        let middle = if at == CHUNK && chunk + 1 == self.chunks.len() {
            CHUNK
        } else {
            CHUNK / 2
        };
        let upper = self.chunks[chunk].split_off(middle);
        self.lengths[chunk] = middle as u32;
        self.lengths.insert(chunk + 1, upper.len() as u32);
        self.chunks.insert(chunk + 1, upper);
        if at > middle || middle == CHUNK {
            (chunk + 1, at - middle)
        } else {
            (chunk, at)
        }
    }

    fn unlink(&mut self, score: f64, member: &[u8]) {
        let (chunk, at) = self.locate(|item| compare(item, score, member) == Ordering::Less);
        self.chunks[chunk].remove(at);
        self.lengths[chunk] -= 1;
        if self.chunks[chunk].is_empty() {
            self.chunks.remove(chunk);
            self.lengths.remove(chunk);
        } else {
            self.join(chunk);
            self.join(chunk.saturating_sub(1));
        }
    }

    /// Merges two neighbours that have become thin, so that a set that has shrunk does not keep thousands of near-empty chunks.
    fn join(&mut self, chunk: usize) {
        let next = chunk + 1;
        if next < self.chunks.len() && self.chunks[chunk].len() + self.chunks[next].len() <= CHUNK / 2 {
            let mut upper = self.chunks.remove(next);
            self.lengths.remove(next);
            self.chunks[chunk].append(&mut upper);
            self.lengths[chunk] = self.chunks[chunk].len() as u32;
        }
    }

    /// The first place whose item is not `before` the one sought; (number of chunks, 0) past the last.
    fn locate(&self, before: impl Fn(&Item) -> bool) -> (usize, usize) {
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk.last().is_some_and(&before));
        let at = self
            .chunks
            .get(chunk)
            .map_or(0, |chunk| chunk.partition_point(&before));
        (chunk, at)
    }

    fn before(&self, chunk: usize) -> usize {
        self.lengths[..chunk].iter().map(|&length| length as usize).sum()
    }

    /// The place of a rank.
    fn position(&self, rank: usize) -> (usize, usize) {
        let mut left = rank;
        for (chunk, &length) in self.lengths.iter().enumerate() {
            if left < length as usize {
                return (chunk, left);
            }
            left -= length as usize;
        }
        (self.lengths.len(), 0)
    }
}

fn compare(item: &Item, score: f64, member: &[u8]) -> Ordering {
    // Scores are never NaN; `partial_cmp` also makes -0 and 0 equal, as Redis does.
    item.0
        .partial_cmp(&score)
        .unwrap_or(Ordering::Equal)
        .then_with(|| (*item.1).cmp(member))
}

struct RangeOf<'a> {
    set: &'a SortedSet,
    front: (usize, usize),
    /// The place after the last item.
    back: (usize, usize),
    left: usize,
}

impl<'a> Iterator for RangeOf<'a> {
    type Item = (&'a [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (chunk, at) = self.front;
        let items = self.set.chunks.get(chunk)?;
        self.front = if at + 1 == items.len() {
            (chunk + 1, 0)
        } else {
            (chunk, at + 1)
        };
        items.get(at).map(|(score, member)| (&**member, *score))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for RangeOf<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (chunk, at) = match self.back {
            (chunk, 0) => (chunk - 1, self.set.chunks.get(chunk - 1)?.len() - 1),
            (chunk, at) => (chunk, at - 1),
        };
        self.back = (chunk, at);
        self.set
            .chunks
            .get(chunk)?
            .get(at)
            .map(|(score, member)| (&**member, *score))
    }
}

impl ExactSizeIterator for RangeOf<'_> {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A sorted vector that is sorted anew for every question.
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
}
