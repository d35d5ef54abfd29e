//! Batches as lines: cut in any way, they are the same lines, and each one is an uplink or an error.
#![no_main]

use causeway::http::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (cut, limit, text) = input;
    let limit = usize::from(limit) * 4;
    let whole = fuzzing::lines([text], limit);
    let pieces = text.chunks(usize::from(cut) + 1);
    assert_eq!(fuzzing::lines(pieces, limit), whole);
    for line in whole.into_iter().flatten() {
        assert!(line.len() <= limit);
        fuzzing::parse_line(&line);
    }
});
