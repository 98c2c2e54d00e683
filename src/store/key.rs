//! The key of an entry.

use std::ops::Deref;

/// The longest key that fits into the 24 bytes of a `Key`.
const INLINE: usize = 22;

/// A short key, as most are, lies in the entry: it costs no allocation, and no second cache miss in a comparison.
#[derive(Debug)]
pub enum Key {
    Short { length: u8, bytes: [u8; INLINE] },
    Long(Box<[u8]>),
}

impl From<&[u8]> for Key {
    #[inline]
    fn from(key: &[u8]) -> Self {
        if key.len() > INLINE {
            return Key::Long(key.into());
        }
        let mut bytes = [0; INLINE];
        bytes[..key.len()].copy_from_slice(key);
        Key::Short {
            length: key.len() as u8,
            bytes,
        }
    }
}

impl Deref for Key {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Key::Short { length, bytes } => &bytes[..*length as usize],
            Key::Long(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_keys_of_every_length_and_takes_24_bytes() {
        for length in 0..100 {
            let key: Vec<u8> = (0..length).collect();
            assert_eq!(&*Key::from(&key[..]), key);
        }
        assert_eq!(size_of::<Key>(), 24);
    }
}
