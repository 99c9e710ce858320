//! Handles Ctrl-C and termination signals. A training ends after the current step, all other work at once; no
//! half-written file stays behind.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::file::remove_unfinished;

/// Whether running work checks [`STOP`].
static IS_HEEDED: AtomicBool = AtomicBool::new(false);

/// Whether a signal asked the program to end.
static STOP: AtomicBool = AtomicBool::new(false);

/// Installs the handler. If that fails, signals end the program in the default way.
pub(crate) fn install() {
    #[cfg(unix)]
    let ignored = SIGNALS.map(|signal| (signal, is_ignored(signal)));
    let _ = ctrlc::set_handler(|| {
        // A second signal ends the program at once.
        if IS_HEEDED.load(Ordering::Relaxed) && !STOP.swap(true, Ordering::Relaxed) {
            return;
        }
        remove_unfinished();
        std::process::exit(EXIT_CODE.into());
    });
    // A file beyond the limit of its size is then an error of the write.
    #[cfg(unix)]
    // SAFETY: to ignore a signal is an action that needs no function of ours.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN)
    };
    #[cfg(unix)]
    for (signal, _) in ignored.into_iter().filter(|(_, is_ignored)| *is_ignored) {
        // SAFETY: to ignore a signal is an action that needs no function of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// The signals that the handler is installed for.
#[cfg(unix)]
const SIGNALS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Whether the parent process made the program ignore a signal, as nohup does.
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

/// Whether a signal asked the program to end, even if the work was too far along to notice.
pub(crate) fn is_asked() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// The flag that a signal sets. The caller must check it regularly.
pub(crate) fn stop_flag() -> &'static AtomicBool {
    IS_HEEDED.store(true, Ordering::Relaxed);
    &STOP
}
