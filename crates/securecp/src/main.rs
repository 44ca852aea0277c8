//! the command line: arguments, configuration files, rendering, exit codes.
fn main() {}
