//! Until when a server was the master for certain.

use super::*;

// All Sentinels name the old master for a second in which the new one takes writes. Who hears no event of a promotion was told of a gap that
// begins behind what it had missed.
#[test]
fn a_master_was_one_for_certain_until_a_while_before_it_was_named_last() {
    let mut clock = Clock::new(2);
    let first = clock.0;
    clock.says(0, 1);
    clock.pass(1_000);
    clock.says(1, 1);
    assert_eq!(clock.1.certain(&at(1)), Some(first));
    clock.pass(3_000);
    clock.says(0, 1);
    let confirmed = clock.0;
    clock.pass(400);
    clock.says(0, 2);
    let before = confirmed - Duration::from_millis(1_500);
    assert_eq!(clock.1.certain(&at(1)), Some(before));
    assert_eq!(
        clock.1.left_within(Duration::from_millis(700), clock.0),
        Some(before)
    );
    assert_eq!(clock.1.certain(&at(3)), None);
}

// A Sentinel is cut off with the old master, and with us: for minutes it alone answers, and names that one. What is published at the new one
// meanwhile must be within the gap.
#[test]
fn a_sentinel_that_is_cut_off_confirms_nothing() {
    // One is configured, and names the others.
    for (configured, told) in [(3, 0), (1, 3)] {
        let mut clock = Clock::new(configured);
        clock.1.counted(told);
        let first = clock.0;
        for index in 0..configured {
            clock.says(index, 1);
        }
        for _ in 0..100 {
            clock.pass(500);
            for index in 1..configured {
                clock.fails(index);
            }
            clock.says(0, 1);
        }
        clock.1.switched(0, at(2), clock.0);
        assert_eq!(clock.1.certain(&at(1)), Some(first));
    }
}

// No message is missed before the promotion: a gap that begins earlier has its owner read more again than need be.
#[test]
fn a_master_was_one_for_certain_until_the_promotion_that_was_told() {
    let promoted_after = |millis: u64| {
        let mut clock = Clock::new(1);
        clock.says(0, 1);
        clock.pass(4_000);
        clock.1.promoting(at(2), clock.0);
        let told = clock.0;
        clock.pass(millis);
        clock.says(0, 1);
        let confirmed = clock.0;
        clock.says(0, 2);
        (clock.1.certain(&at(1)).unwrap(), told, confirmed)
    };
    let (certain, told, _) = promoted_after(900);
    assert_eq!(certain, told);
    // That one came to nothing.
    let (certain, _, confirmed) = promoted_after(2_900);
    assert_eq!(certain, confirmed - Duration::from_millis(1_500));
}
