//! What a trace costs on another kernel, in a virtual machine whose clock counts instructions: one
//! of its nanoseconds is one.

use std::{env, path::Path};

use anyhow::{Context as _, Result};

use super::{
    Row, load,
    others::{self, Meanwhile, SETTINGS},
};
use crate::vm;

/// What stands before a row on the line that the machine says it on.
const ROW: &str = "ROW ";

/// Has a machine with this kernel measure. Gives the kernel's version and the rows.
pub fn measure(kernel: &str, rounds: usize) -> Result<(String, Vec<Row>)> {
    let (version, lines) = vm::measure(kernel, rounds)?;
    let rows = lines.iter().filter_map(|line| line.strip_prefix(ROW));
    let rows: Vec<Row> = rows
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("the machine's rows can't be read")?;
    let unit = |row: Row| Row { unit: "instructions".to_owned(), ..row };
    Ok((version, rows.into_iter().map(unit).collect()))
}

/// Measures in the machine: it has no peers.
pub fn measure_here(sigready: &Path, rounds: usize) -> Result<()> {
    let settings = SETTINGS.into_iter();
    let settings: Vec<_> =
        settings.filter(|(_, what)| !matches!(what, Meanwhile::Bpftrace(_))).collect();
    let loads = load::all(&env::temp_dir())?;
    for row in others::measure(sigready, &settings, &loads, rounds)? {
        println!("{ROW}{}", serde_json::to_string(&row)?);
    }
    Ok(())
}
