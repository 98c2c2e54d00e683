//! A set of slots.

use std::fmt::Write;

use crate::redis::slot::{SLOTS, Slot};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots(Vec<bool>);

impl Slots {
    pub fn new() -> Self {
        Self(vec![false; SLOTS])
    }

    pub fn has(&self, slot: Slot) -> bool {
        self.0[usize::from(slot)]
    }

    pub fn insert(&mut self, slot: Slot) {
        self.0[usize::from(slot)] = true;
    }

    /// Whether it was in.
    pub fn remove(&mut self, slot: Slot) -> bool {
        std::mem::take(&mut self.0[usize::from(slot)])
    }

    pub fn iter(&self) -> impl Iterator<Item = Slot> {
        (0..SLOTS as Slot).filter(|slot| self.has(*slot))
    }

    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// As `0-5460,6000`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut slot = 0;
        while slot < SLOTS {
            let length = self.0[slot..].iter().take_while(|is_in| **is_in).count();
            if length > 0 {
                let comma = if text.is_empty() { "" } else { "," };
                let last = slot + length - 1;
                // Writing to a String does not fail.
                let _ = write!(text, "{comma}{slot}-{last}");
            }
            slot += length.max(1);
        }
        text
    }

    pub fn parse(text: &str) -> Option<Self> {
        let mut slots = Self::new();
        for range in text.split(',').filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-')?;
            slots
                .0
                .get_mut(first.parse().ok()?..=last.parse().ok()?)?
                .fill(true);
        }
        Some(slots)
    }
}
