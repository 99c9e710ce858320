//! Ctrl-C and a termination from outside: a training ends after the step at hand, everything else at once, and nothing
//! half-written stays behind.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::file::remove_unfinished;

/// Somebody looks at [`STOP`].
static IS_HEEDED: AtomicBool = AtomicBool::new(false);

/// The end was asked for.
static STOP: AtomicBool = AtomicBool::new(false);

/// Installs the handler. Where that fails, the program ends as any other does.
pub(crate) fn install() {
    let _ = ctrlc::set_handler(|| {
        // Asked twice: now.
        if IS_HEEDED.load(Ordering::Relaxed) && !STOP.swap(true, Ordering::Relaxed) {
            return;
        }
        remove_unfinished();
        std::process::exit(EXIT_CODE.into());
    });
}

/// 128 + SIGINT, as shells report it.
pub(crate) const EXIT_CODE: u8 = 130;

/// The flag that is set once the end is asked for, for work that looks at it.
pub(crate) fn stop_flag() -> &'static AtomicBool {
    IS_HEEDED.store(true, Ordering::Relaxed);
    &STOP
}
