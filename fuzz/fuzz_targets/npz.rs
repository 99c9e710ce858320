//! Archives of NumPy arrays: the member `a`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = maxmargin_fuzz::read(".npz", bytes, ":a");
});
