//! A sorted set: members with scores, ordered by score, then by the bytes of the member.

use std::cmp::Ordering;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::remains::{self, Shed, is_sparse};

/// The hash and the chunks share this allocation.
pub type Member = Arc<[u8]>;

type ScoredMember = (f64, Member);

/// Large enough that a rank is the sum of few lengths, small enough that an insertion moves few items.
const CHUNK: usize = 256;

/// A hash from member to score, and an ordered list in chunks. A search is binary among the chunks, then in one chunk.
/// A rank is a sum of chunk lengths, which are adjacent in memory: up to millions of members faster than a balanced tree.
///
/// Invariants: no chunk is empty; `lengths[i] == chunks[i].len()`; items ascend through all chunks; no score is NaN.
#[derive(Debug, Default)]
pub struct SortedSet {
    scores: HashMap<Member, f64, RandomState>,
    chunks: Vec<Vec<ScoredMember>>,
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

    /// Adds a member, or moves it to a new score. Returns its old score.
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
        if is_sparse(self.scores.len(), self.scores.capacity()) {
            self.scores.shrink_to(2 * self.scores.len());
        }
        Some(score)
    }

    /// The rank of a member in ascending order.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        let (chunk, at) = self.locate(|item| compare(item, score, member) == Ordering::Less);
        Some(self.before(chunk) + at)
    }

    /// The ranks of the members between two scores.
    pub fn ranks(&self, min: Bound, max: Bound) -> Range<usize> {
        let below = |item: &ScoredMember| {
            if min.exclusive {
                item.0 <= min.score
            } else {
                item.0 < min.score
            }
        };
        let within = |item: &ScoredMember| {
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
    #[inline]
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

    /// Removes the members with these ranks. Returns their number.
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

    /// Moves the members outside of these ranks to a new set, so that the old one is freed in pieces.
    fn keep_ends(&mut self, ranks: Range<usize>) -> usize {
        let mut kept = Self::default();
        for (member, score) in self
            .range(0..ranks.start)
            .chain(self.range(ranks.end..self.len()))
        {
            kept.insert(member, score);
        }
        remains::discard(mem::replace(self, kept));
        ranks.len()
    }

    fn link(&mut self, score: f64, member: Member) {
        let (mut chunk, mut at) = self.locate(|item| compare(item, score, &member) == Ordering::Less);
        if chunk == self.chunks.len() {
            // Past the last item, as logs and queues append: at the end of the last chunk.
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

    /// Splits a full chunk in the middle; for items that arrive in order at its end, so that chunks stay full.
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

    /// Merges two neighbours that are a quarter full on average: a set that shrinks must not keep thousands of such chunks.
    fn join(&mut self, chunk: usize) {
        let next = chunk + 1;
        if next < self.chunks.len() && self.chunks[chunk].len() + self.chunks[next].len() <= CHUNK / 2 {
            let mut upper = self.chunks.remove(next);
            self.lengths.remove(next);
            self.chunks[chunk].append(&mut upper);
            self.lengths[chunk] = self.chunks[chunk].len() as u32;
        }
    }

    /// The first (chunk, index) whose item is not `before` the one sought; (number of chunks, 0) past the last.
    fn locate(&self, before: impl Fn(&ScoredMember) -> bool) -> (usize, usize) {
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk.last().is_some_and(&before));
        let at = self
            .chunks
            .get(chunk)
            .map_or(0, |chunk| chunk.partition_point(&before));
        (chunk, at)
    }

    /// The number of items before a chunk.
    #[inline]
    fn before(&self, chunk: usize) -> usize {
        self.lengths[..chunk].iter().map(|&length| length as usize).sum()
    }

    /// The (chunk, index) of a rank.
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

impl Shed for SortedSet {
    fn left(&self) -> usize {
        self.len()
    }

    /// Frees the last chunk.
    fn shed(&mut self) -> usize {
        self.lengths.pop();
        for (_, member) in self.chunks.pop().unwrap_or_default() {
            self.scores.remove(&member);
        }
        self.len()
    }
}

#[inline]
fn compare(item: &ScoredMember, score: f64, member: &[u8]) -> Ordering {
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

    #[inline]
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
mod tests;
