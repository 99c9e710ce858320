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
    #[cfg(unix)]
    let ignored = SIGNALS.map(|signal| (signal, is_ignored(signal)));
    let _ = ctrlc::set_handler(|| {
        // Asked twice: now.
        if IS_HEEDED.load(Ordering::Relaxed) && !STOP.swap(true, Ordering::Relaxed) {
            return;
        }
        remove_unfinished();
        std::process::exit(EXIT_CODE.into());
    });
    #[cfg(unix)]
    for (signal, _) in ignored.into_iter().filter(|(_, is_ignored)| *is_ignored) {
        // SAFETY: to ignore a signal is an action that needs no function of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// What the handler is installed for.
#[cfg(unix)]
const SIGNALS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Whether who started the program had it ignore a signal, as nohup does.
#[cfg(unix)]
fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the call changes nothing and fills the action where it returns 0, after which that is read.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// 128 + SIGINT, as shells report it.
pub(crate) const EXIT_CODE: u8 = 130;

/// Whether the end was asked for, be it too late for the work that looks at it.
pub(crate) fn is_asked() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// The flag that is set once the end is asked for, for work that looks at it.
pub(crate) fn stop_flag() -> &'static AtomicBool {
    IS_HEEDED.store(true, Ordering::Relaxed);
    &STOP
}
