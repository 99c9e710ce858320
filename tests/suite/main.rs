//! All tests of the library from outside, in one program. It lists its trials at run time, one per adapter.
//!
//! | module | what it compares |
//! |---|---|
//! | `parity/` | the CPU and every adapter with the f64 reference, over the case table (`cases/`) |
//! | `peers.rs`, `compat.rs` | results with the peers' own numbers, and with their functions under every option |
//! | `metric.rs`, `batches.rs` | streaming metrics; valid and invalid batches |
//! | `network.rs` | training with Keras's and torch's epochs |
//! | `shaders.rs` | every shader, without a GPU |
//! | `examples.rs` | what the examples print |
//!
//! `harness.rs` says where tests run. `MAXMARGIN_TESTS=all` tests everything that is otherwise sampled.

mod batches;
mod cases;
mod compat;
mod examples;
mod harness;
mod metric;
mod network;
mod parity;
mod peers;
mod shaders;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let (found, none_found) = harness::adapters_under_test();
    let mut trials: Vec<Trial> = none_found.into_iter().collect();
    let modules = [
        ("parity", parity::trials(&found)),
        ("peers", peers::trials(&found)),
        ("compat", compat::trials(&found)),
        ("metric", metric::trials(&found)),
        ("batches", batches::trials(&found)),
        ("network", network::trials(&found)),
        ("shaders", shaders::trials()),
        ("examples", examples::trials(&found)),
    ];
    for (module, of_module) in modules {
        trials.extend(of_module.into_iter().map(|trial| trial.with_kind(module)));
    }
    libtest_mimic::run(&arguments, trials).exit();
}
