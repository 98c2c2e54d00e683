use super::*;
use crate::store::remains::LARGE;
use crate::store::{Hash, List, Set, SortedSet};

const KEYS: [&[u8]; 4] = [b"hash", b"set", b"list", b"sorted set"];

fn filled() -> Keyspace {
    let mut keyspace = Keyspace::new(Policy::Strict);
    for number in 0..1000_u32 {
        let member = number.to_string().into_bytes();
        keyspace.entry::<Hash>(b"hash").unwrap().insert(&member, b"value");
        keyspace.entry::<Set>(b"set").unwrap().insert(&member);
        keyspace.entry::<List>(b"list").unwrap().push_back(&member);
        let sorted_set = keyspace.entry::<SortedSet>(b"sorted set").unwrap();
        sorted_set.insert(&member, f64::from(number));
    }
    keyspace
}

fn turns_to_free() -> usize {
    let mut turns = 1;
    while remains::free(Duration::ZERO) {
        turns += 1;
    }
    turns
}

/// Sixteen sorted sets that expire together stop the event loop for 150 ms, and DEL of one with a million members for 32 to 120 ms.
#[test]
fn large_collections_are_freed_in_pieces_whatever_removes_them() {
    type Removal = fn(&mut Keyspace);
    let removals: [(&str, Removal); 5] = [
        ("DEL", |keyspace| {
            for key in KEYS {
                assert!(keyspace.remove(key));
            }
        }),
        ("SET", |keyspace| {
            for key in KEYS {
                keyspace.set_string(key, b"text", None);
            }
        }),
        ("expiry, and access", |keyspace| {
            expire(keyspace);
            for key in KEYS {
                assert!(!keyspace.contains(key));
            }
        }),
        ("expiry, and sweeping", |keyspace| {
            expire(keyspace);
            let later = keyspace.now() + 2_000;
            keyspace.set_clock(Some(later));
            assert_eq!(keyspace.size(), 0);
        }),
        ("the end of the store", |keyspace| {
            *keyspace = Keyspace::new(Policy::Strict)
        }),
    ];
    for (name, remove) in removals {
        let mut keyspace = filled();
        remove(&mut keyspace);
        let turns = turns_to_free();
        assert!(turns > 3 * 1000 / LARGE, "{name}: {turns} turns");
    }
}

fn expire(keyspace: &mut Keyspace) {
    let soon = keyspace.now() + 1;
    for key in KEYS {
        assert!(keyspace.set_deadline(key, Some(soon)));
    }
    while keyspace.now() < soon {
        keyspace.begin_turn();
    }
}

#[test]
fn a_store_that_has_gone_is_freed_in_pieces() {
    let mut keyspace = Keyspace::new(Policy::Strict);
    for number in 0..10_000_u32 {
        let deadline = keyspace.now() + 1_000_000;
        keyspace.set(
            &number.to_le_bytes(),
            Value::String(b"text"[..].into()),
            Some(deadline),
        );
    }
    drop(keyspace);
    let turns = turns_to_free();
    assert!(turns >= 10, "{turns} turns");
}

/// A loop that never lets the event loop turn must not fill the memory with removed data.
#[test]
fn what_waits_to_be_freed_is_bounded() {
    struct Large(usize);
    impl Shed for Large {
        fn left(&self) -> usize {
            self.0
        }
        fn shed(&mut self) -> usize {
            self.0 -= 1_000_000;
            self.0
        }
    }
    for _ in 0..20 {
        remains::bury(Large(5_000_000));
    }
    assert!(turns_to_free() <= 8);
}
