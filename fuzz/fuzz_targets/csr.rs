//! SciPy's CSR matrices.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = maxmargin_fuzz::read_sparse_rows(".npz", bytes);
});
