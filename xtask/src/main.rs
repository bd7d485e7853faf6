//! sigready development commands.
fn main() {}
