//! The program `maxmargin`: max-margin losses of arrays in files, and networks trained with them, on the CPU or any GPU.
//!
//! The library `maxmargin` is what other programs use. Here there is only what the program and its fuzz targets need:
//! [`run`], and [`read_array`] and [`read_sparse_rows`], which read any file that the program reads.

mod arguments;
mod bench;
mod choices;
mod devices;
mod eval;
mod failure;
mod file;
mod fit;
mod interrupt;
mod merge;
mod method;
mod objective;
mod place;
mod predict;
mod progress;
mod report;
mod state;
mod train;
mod words;

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::channel;

use clap::Parser;
use clap::error::ErrorKind;

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    #[cfg(target_os = "linux")]
    quiet_loader();
    match run_command() {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// A driver's loader looks for a Wayland display, and complains on stderr if there is no folder for its socket. An absolute
/// path needs no folder, and where nothing listens the loader goes on without a display, which nothing here needs.
#[cfg(target_os = "linux")]
fn quiet_loader() {
    let is_absolute = |path: std::ffi::OsString| Path::new(&path).is_absolute();
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() && !std::env::var_os("WAYLAND_DISPLAY").is_some_and(is_absolute) {
        // SAFETY: no other thread exists yet that could read the environment.
        unsafe { std::env::set_var("WAYLAND_DISPLAY", "/") };
    }
}

/// Starts the pool of threads, with as many as the system gives; where it gives none, this one does all the work. The
/// threads come first: a pool that cannot have one of its threads is lost, and whoever needs it panics.
fn start_threads() {
    let of_environment = std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok());
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = of_environment.filter(|&threads| threads > 0).unwrap_or_else(cores);
    let waiting = (0..wanted).map_while(|_| {
        let (give, take) = channel::<rayon::ThreadBuilder>();
        let work = move || take.recv().map_or((), rayon::ThreadBuilder::run);
        std::thread::Builder::new().spawn(work).ok().map(|_| give)
    });
    let mut waiting: Vec<_> = waiting.collect();
    let builder = rayon::ThreadPoolBuilder::new();
    // Neither fails: nothing has used the pool yet, and there is a thread for each part of it.
    let _ = match waiting.len() {
        0 => builder.num_threads(1).use_current_thread().build_global(),
        given => builder
            .num_threads(given)
            .spawn_handler(|part| {
                let give = waiting.pop().ok_or(std::io::ErrorKind::WouldBlock)?;
                give.send(part).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
            })
            .build_global(),
    };
}

/// Reads the array that an argument names (`x.npy`, `x.csv:a,b`), and returns its shape and its number of elements.
///
/// # Errors
/// The message of the program.
pub fn read_array(argument: &Path) -> Result<(Vec<usize>, usize), String> {
    let array = file::read(argument, file::TextOptions::default()).map_err(|failure| failure.line())?;
    Ok((array.shape, array.data.len()))
}

/// Reads the sparse rows that an argument names (`x.svm`, `x.npz`), and returns the numbers of rows and columns.
///
/// # Errors
/// The message of the program.
pub fn read_sparse_rows(argument: &Path) -> Result<(usize, usize), String> {
    let wanted = file::sparse::Wanted { base: Default::default(), labels: true, columns: None };
    let rows = file::sparse::read(argument, wanted).map_err(|failure| failure.line())?;
    let rows = rows.ok_or("a dense array")?;
    match rows.rows() {
        Ok(rows) => Ok((rows.len(), rows.columns())),
        Err(error) => Err(format!("{UNCHECKED}{error}")),
    }
}

/// What the message of [`read_sparse_rows`] begins with where rows were read that are none.
pub const UNCHECKED: &str = "read, but not rows: ";

/// The standard library's words for a text that is no number, replaced.
fn in_plain_words(message: &str) -> String {
    let words = [
        ("invalid float literal", "expected a number"),
        ("cannot parse float from empty string", "expected a number"),
        ("invalid digit found in string", "expected a whole number, 0 or more"),
        ("cannot parse integer from empty string", "expected a whole number, 0 or more"),
        ("number too large to fit in target type", "expected a smaller number"),
    ];
    words.iter().fold(message.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}

fn run_command() -> failure::Outcome<ExitCode> {
    let arguments = match arguments::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            _ => {
                // The first paragraph says what is wrong; usage and tips follow.
                let text = error.to_string();
                let what = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
                let near = text.lines().find_map(|line| line.trim().strip_prefix("tip: a similar "));
                let near = near.map(|near| format!("; a similar {near}")).unwrap_or_default();
                return Err(failure::Failure::usage(format!("{}{near}", in_plain_words(what))));
            }
        },
    };
    interrupt::install();
    start_threads();
    match &arguments.command {
        arguments::Command::Devices(options) => devices::run(options)?,
        arguments::Command::Bench(options) => bench::run(options)?,
        arguments::Command::Eval(options) => eval::run(options)?,
        arguments::Command::Merge(options) => merge::run(options)?,
        arguments::Command::Predict(options) => predict::run(options)?,
        arguments::Command::Train(options) if train::run(options)? => return Ok(ExitCode::from(interrupt::EXIT_CODE)),
        arguments::Command::Train(_) => {}
        arguments::Command::Fit(options) if fit::run(options)? => return Ok(ExitCode::from(interrupt::EXIT_CODE)),
        arguments::Command::Fit(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}
