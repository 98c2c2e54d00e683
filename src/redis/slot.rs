//! The slot of a key: <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model>.

/// A part of the keys of a cluster. All keys of one slot are on one master.
pub type Slot = u16;

/// How many slots there are.
pub const SLOTS: usize = 16_384;

/// Where commands without a key go.
pub const NO_KEY: Slot = 0;

/// The slot of a key, or of a channel.
pub fn slot_of(key: &[u8]) -> Slot {
    crc16(tag(key)) % SLOTS as Slot
}

/// What decides the slot: the text within the first braces, unless there is none, else the whole key.
fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else {
        return key;
    };
    let rest = &key[open + 1..];
    match memchr::memchr(b'}', rest) {
        Some(length @ 1..) => &rest[..length],
        _ => key,
    }
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    let step = |crc: u16, byte: &u8| crc << 8 ^ TABLE[usize::from(crc >> 8) ^ usize::from(*byte)];
    bytes.iter().fold(0, step)
}

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    const POLYNOMIAL: u16 = 0x1021;
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            let carries = crc & 0x8000 != 0;
            crc <<= 1;
            if carries {
                crc ^= POLYNOMIAL;
            }
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As CLUSTER KEYSLOT answers.
    #[test]
    fn slots_are_those_of_redis() {
        for (key, slot) in [
            ("", 0),
            ("123456789", 0x31c3),
            ("foo", 12_182),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
            ("foo{bar", 15_278),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }
}
