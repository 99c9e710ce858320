//! Text: headers, quotes, blank lines, columns by name and by place.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses what is asked for.
    let wanted = [":0", ":1-2", ":a", ":\"a,b\",c", ":a,a"];
    let (&first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let _ = maxmargin_fuzz::read(".csv", rest, wanted[usize::from(first) % wanted.len()]);
});
