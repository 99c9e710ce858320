//! Progress on a terminal: what is done now, how far it is, how fast it goes and how long it still takes. Where stderr is
//! no terminal, or with --quiet, nothing is drawn.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// Work on fewer bytes ends before a bar could be seen.
const BAR_FROM_BYTES: u64 = 64 << 20;

/// Time between two drawings.
const TICK: Duration = Duration::from_millis(100);

/// Whether --quiet was given.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Draws nothing from now on.
pub(crate) fn set_quiet(is_quiet: bool) {
    QUIET.store(is_quiet, Ordering::Relaxed);
}

fn is_drawn() -> bool {
    !QUIET.load(Ordering::Relaxed) && std::io::stderr().is_terminal()
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A line that says what is done now, from its creation until it is dropped.
pub(crate) struct Stage(ProgressBar);

impl Stage {
    /// Says something else.
    pub(crate) fn say(&self, message: String) {
        self.0.set_message(message);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A line for work of unknown length.
pub(crate) fn stage(message: impl Into<String>) -> Stage {
    if !is_drawn() {
        return Stage(ProgressBar::hidden());
    }
    let bar = styled(ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}");
    bar.set_message(message.into());
    bar.enable_steady_tick(TICK);
    Stage(bar)
}

/// A bar for this many bytes; for few bytes a line, since a kernel may still have to be compiled.
pub(crate) fn bytes(bytes: u64, message: &str) -> ProgressBar {
    if !is_drawn() {
        return ProgressBar::hidden();
    }
    let bar = match bytes >= BAR_FROM_BYTES {
        true => styled(ProgressBar::new(bytes), "{msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}"),
        false => styled(ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}"),
    };
    bar.set_message(message.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}

/// A bar that follows a counter of rows, which other threads raise.
pub(crate) struct Rows {
    pub(crate) done: Arc<AtomicU64>,
    bar: ProgressBar,
    is_over: Arc<AtomicBool>,
}

impl Rows {
    pub(crate) fn new(total: u64, message: String) -> Self {
        let (done, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        if !is_drawn() {
            return Self { done, bar: ProgressBar::hidden(), is_over };
        }
        let bar = ProgressBar::new(total).with_message(message);
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} rows {rate} {eta}") {
            // indicatif's own rate has four digits behind the point.
            bar.set_style(style.with_key("rate", |state: &ProgressState, text: &mut dyn Write| {
                let _ = write!(text, "{:.0}/s", state.per_sec());
            }));
        }
        let (counter, over, drawn) = (done.clone(), is_over.clone(), bar.clone());
        let follow = move || {
            while !over.load(Ordering::Relaxed) {
                drawn.set_position(counter.load(Ordering::Relaxed));
                thread::sleep(TICK);
            }
        };
        // Without such a thread the bar stands still.
        let _ = thread::Builder::new().spawn(follow);
        Self { done, bar, is_over }
    }

    pub(crate) fn say(&self, message: String) {
        self.bar.set_message(message);
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.bar.finish_and_clear();
    }
}
