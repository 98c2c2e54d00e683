//! What instances of the fan-out tell one another.
#![no_main]

use covara_kv::fuzzed::{aggregate, event};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Ok(Some((id, event))) = event(text, |id| Some(id.to_owned())) {
        assert!(id.len() <= text.len());
        let within = text.as_ptr_range();
        assert!(within.contains(&event.as_ptr()) && event.len() <= text.len());
    }
    let _ = event(text, |_| None::<()>);
    let _ = aggregate(text);
});
