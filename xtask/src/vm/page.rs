//! The tables in docs/compatibility.md: what the tests proved of each kernel and backend.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use super::arch::Arch;
use crate::{suite::Suite, workspace};

/// What each table ends with.
const END: &str = "<!-- end -->";

/// A column: the kernel's series and the backend, and what was proved there.
pub type Column<'a> = (String, &'a BTreeMap<String, bool>);

/// Compares the page with what was proved, or brings it up to date.
pub fn check(arch: Arch, columns: &[Column<'_>], write: bool) -> Result<()> {
    let command = command(arch);
    let begin = format!("<!-- made by {command} -->");
    let path = path();
    let page = fs::read_to_string(&path).context("cannot read docs/compatibility.md")?;
    let (before, rest) = page.split_once(&begin).context("the page has no place for the table")?;
    let (_, after) = rest.split_once(END).context("the page's table has no end")?;
    let proved = format!("{before}{begin}\n{}{END}{after}", table(columns));
    if proved == page {
        return Ok(());
    }
    if write {
        return fs::write(&path, proved).context("cannot write docs/compatibility.md");
    }
    bail!(
        "docs/compatibility.md says something else than the tests proved: run '{command}' and \
         look at the difference. The tests proved:\n{}",
        table(columns)
    )
}

/// What makes an architecture's table.
fn command(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "cargo xtask vm --write",
        Arch::Aarch64 => "cargo xtask vm --arch aarch64 --write",
    }
}

fn path() -> PathBuf {
    workspace::root().join("docs/compatibility.md")
}

/// The columns of the suites that were run in machines.
pub fn columns(suites: &[(String, Suite)]) -> Vec<Column<'_>> {
    suites.iter().filter_map(|(label, suite)| Some((label.clone(), suite.proved()?))).collect()
}

fn table(columns: &[Column<'_>]) -> String {
    let mut facts: Vec<&String> = columns.iter().flat_map(|(_, proved)| proved.keys()).collect();
    facts.sort_unstable();
    facts.dedup();
    let row = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let mut text = row([""].into_iter().chain(columns.iter().map(|it| it.0.as_str())).collect());
    text += &row(vec!["---"; columns.len() + 1]);
    for fact in facts {
        let cells = columns.iter().map(|(_, proved)| match proved.get(fact) {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not tried",
        });
        text += &row([fact.as_str()].into_iter().chain(cells).collect());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_proved_is_not_claimed() {
        let one = BTreeMap::from([("a".to_owned(), true), ("b".to_owned(), false)]);
        let other = BTreeMap::from([("a".to_owned(), true)]);
        let text = table(&[("5.10".to_owned(), &one), ("6.1".to_owned(), &other)]);
        assert_eq!(
            text,
            "|  | 5.10 | 6.1 |\n| --- | --- | --- |\n| a | yes | yes |\n| b | no | not tried |\n"
        );
    }
}
