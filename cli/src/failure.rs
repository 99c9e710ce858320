//! What ends the program: one line on stderr and an exit code.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// A failure and its exit code: 2 for wrong usage, 1 for bad data or a failed device.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// The command line asks for something that does not exist.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { message: message.to_string(), code: 2 }
    }

    /// An option of the library is at fault, which the user knows by its name on the command line.
    pub(crate) fn option(error: maxmargin::Error) -> Self {
        let maxmargin::Error::Option { option, expected, got } = error else { return Self::usage(error) };
        let name = match option {
            "gamma" => "--penalty smooth".into(),
            "fraction" => "--validation-split".into(),
            // What is no option of the command line is said in words.
            words if words.contains(' ') => words.into(),
            name => format!("--{}", name.replace('_', "-")),
        };
        // A loss's name has dashes on the command line.
        Self::usage(format!("{name}: expected {expected}, got {}", got.replace('_', "-")))
    }

    /// The data or a device is at fault.
    pub(crate) fn data(message: impl Display) -> Self {
        Self { message: message.to_string(), code: 1 }
    }

    /// A file is at fault.
    pub(crate) fn file(path: &Path, message: impl Display) -> Self {
        Self::data(format!("{}: {message}", path.display()))
    }

    /// This failure, and another one that followed it.
    pub(crate) fn and(self, other: &Failure) -> Self {
        Self { message: format!("{}; {}", self.message, other.message), code: self.code }
    }

    /// What happened, in one line.
    pub(crate) fn line(&self) -> String {
        self.message.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Writes the one line and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let line = self.line();
        // With stderr closed there is nobody left to tell.
        let _ = writeln!(std::io::stderr(), "error: {line}");
        ExitCode::from(self.code)
    }
}
