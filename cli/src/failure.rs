//! Failures that end the program: one line on stderr and an exit code.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A failure and its exit code: 2 for wrong usage, 1 for bad data or a failed device.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

/// The most characters of a message.
const MOST_LETTERS: usize = 600;

pub(crate) type Outcome<T> = Result<T, Failure>;

/// The files for a report or a message.
pub(crate) fn listed_paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Which files were written.
pub(crate) fn wrote(paths: &[PathBuf]) -> String {
    format!("wrote {}", listed_paths(paths))
}

impl Failure {
    /// The command line asks for something that does not exist.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { message: message.to_string(), code: 2 }
    }

    /// A failure of a device. A limit of the device's own is no limit of the CPU.
    pub(crate) fn device(error: maxmargin::Error) -> Self {
        match error {
            maxmargin::Error::DeviceLimit { .. } => Self::data(format!("{error}; --device cpu has no such limit")),
            error => Self::data(error),
        }
    }

    /// An invalid option of the library, under its name on the command line.
    pub(crate) fn option(error: maxmargin::Error) -> Self {
        let (option, expected, got) = match error {
            maxmargin::Error::Option { option, expected, got } => (option, expected, got),
            // The option asks for more than there is.
            error @ maxmargin::Error::OutOfMemory { .. } => return Self::data(error),
            error => return Self::usage(error),
        };
        let name = match option {
            "gamma" => "--penalty smooth".into(),
            "fraction" => "--validation-split".into(),
            "shuffle" => {
                let before = if got == "true" { "had" } else { "did not have" };
                return Self::usage(format!("--no-shuffle: expected as before, where the training {before} it"));
            }
            // A name with spaces is a description, not an option of the command line.
            words if words.contains(' ') => words.into(),
            name => format!("--{}", name.replace('_', "-")),
        };
        // On the command line the name of a loss has dashes.
        Self::usage(format!("{name}: expected {expected}, got {}", got.replace('_', "-")))
    }

    /// An error in the data or of a device.
    pub(crate) fn data(message: impl Display) -> Self {
        Self { message: message.to_string(), code: 1 }
    }

    /// An error in a file.
    pub(crate) fn file(path: &Path, message: impl Display) -> Self {
        let message = message.to_string();
        // The system's own number says nothing more than its words.
        let message = message.split_once(" (os error ").map_or(&*message, |(words, _)| words);
        Self::data(format!("{}: {message}", path.display()))
    }

    /// The same failure, with the options that it is about.
    pub(crate) fn about(mut self, options: &str) -> Self {
        self.message = format!("{options}: {}", self.message);
        self
    }

    /// The same failure, with a hint at its end.
    pub(crate) fn hint(mut self, hint: &str) -> Self {
        self.message += &format!("; {hint}");
        self
    }

    /// Adds which files are written all the same, and a second failure that followed this one.
    pub(crate) fn after(mut self, written: &[PathBuf], second: Outcome<()>) -> Self {
        if !written.is_empty() {
            self.message += &format!("; {}", wrote(written));
        }
        if let Err(second) = second {
            self.message += &format!("; {}", second.message);
        }
        self
    }

    /// One line. What is long is cut in its middle.
    pub(crate) fn line(&self) -> String {
        let line = self.message.split_whitespace().collect::<Vec<_>>().join(" ");
        let letters: Vec<char> = line.chars().collect();
        if letters.len() <= MOST_LETTERS {
            return line;
        }
        let (head, tail) = (&letters[..MOST_LETTERS * 3 / 4], &letters[letters.len() - MOST_LETTERS / 4..]);
        head.iter().chain(&[' ', '.', '.', '.', ' ']).chain(tail).collect()
    }

    /// Prints the message as a note, where the program did what was asked for in part.
    pub(crate) fn note(self) {
        // A failed write means that stderr is closed, so there is no other place for the note.
        let _ = writeln!(std::io::stderr(), "note: {}", self.line());
    }

    pub(crate) fn report(self) -> ExitCode {
        let line = self.line();
        // A failed write means that stderr is closed, so there is no other place to report it.
        let _ = writeln!(std::io::stderr(), "error: {line}");
        ExitCode::from(self.code)
    }
}
