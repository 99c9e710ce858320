//! NumPy arrays: headers of any version, orders, types, lengths.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = maxmargin_fuzz::read(".npy", bytes, "");
});
