//! The program from the command line: reports, files, exit codes, nothing left behind.

mod bad_input;
mod bench;
mod eval;
mod families;
mod files;
mod fit;
mod ignored;
mod limits;
mod multiclass;
mod networks;
mod outputs;
mod parts;
mod presets;
mod readme;
mod reports;
mod shapes;
mod sparse;
mod stream;
mod support;
mod tables;
mod text;
mod train;
