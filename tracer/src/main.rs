//! sigready's command line.

fn main() {}
