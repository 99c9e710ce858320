//! maxmargin
fn main() {}
