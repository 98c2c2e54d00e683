//! Redis's globs over bytes: `*`, `?`, `[abc]`, `[a-z]`, `[^a]` and `\` escapes.

/// Whether `text` matches `pattern`, byte by byte.
///
/// Between two stars each element takes one byte, so only the last star is tried again: the time is at most pattern × text,
/// whatever the number of stars.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // As in Redis, where not even `*` matches an empty text.
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        match pattern.get(p..).and_then(|rest| element(rest, text[t])) {
            Some(length) => {
                p += length;
                t += 1;
            }
            None => match &mut retry {
                Some((after_star, start)) => {
                    *start += 1;
                    (p, t) = (*after_star, *start);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// The length of the pattern's first element, if it matches `byte`.
fn element(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => class(pattern, byte),
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        literal => (literal == byte).then_some(1),
    }
}

/// `[…]`. As in Redis an unclosed class ends with the pattern, and a range may be written backwards.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        let rest = &pattern[at.min(pattern.len())..];
        at += match rest {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                2
            }
            [from, b'-', to, ..] => {
                // Redis compares C's signed `char`: bytes above ASCII come before it.
                let (from, to) = (*from as i8, *to as i8);
                found |= (from.min(to)..=from.max(to)).contains(&(byte as i8));
                3
            }
            [single, ..] => {
                found |= *single == byte;
                1
            }
        };
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Redis's `stringmatchlen`, retold by recursion: exponential, and plainly right.
    fn reference(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), None) => reference(&pattern[1..], text),
            (Some(b'*'), Some(_)) => reference(&pattern[1..], text) || reference(pattern, &text[1..]),
            (Some(_), Some(&byte)) => {
                element(pattern, byte).is_some_and(|length| reference(&pattern[length..], &text[1..]))
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_recursive_reference(pattern in r"[ab*?\[\]^\\-]{0,10}", text in "[ab\\-\\[\\]^]{1,8}") {
            prop_assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                reference(pattern.as_bytes(), text.as_bytes())
            );
        }

        #[test]
        fn never_panics(pattern: Vec<u8>, text: Vec<u8>) {
            matches(&pattern, &text);
        }
    }

    #[test]
    fn follows_redis_in_the_corners() {
        let cases: &[(&str, &str, bool)] = &[
            ("*", "", false),
            ("", "", true),
            ("a*", "a", true),
            ("[^a]x", "bx", true),
            ("[^a]x", "ax", false),
            ("[z-a]", "m", true),
            ("[]", "a", false),
            ("[a", "a", true),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a\\", "a\\", true),
            ("h?llo", "hllo", false),
            ("[a-", "-", true),
            // Bytes compared without a sign put all letters between a `*` and an `é`.
            ("[é-*", "s", false),
            ("[é-*", "!", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                *expected,
                "{pattern} on {text}"
            );
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        // As a regular expression this pattern took seven seconds against two hundred letters.
        assert!(!matches(b"*a*a*a*a*a*a*a*a*b", &[b'a'; 100_000]));
    }
}
