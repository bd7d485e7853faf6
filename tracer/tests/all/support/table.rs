//! A table on a page in docs/ that a test makes, or holds what it found against.

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// Brings the committed table up to date instead of checking it.
const UPDATE: &str = "SIGREADY_UPDATE";
const END: &str = "<!-- end -->";
/// A page is written by one test at a time.
static PAGE: Mutex<()> = Mutex::new(());

/// Where a table stands.
pub struct Table<'a> {
    /// The page, in docs/.
    pub page: &'a str,
    /// The task of `cargo xtask` that makes it.
    pub made_by: &'a str,
    /// Under which systemd its rows were found.
    pub systemd: &'a str,
    /// Its first two lines.
    pub head: &'a str,
}

impl Table<'_> {
    /// Holds the lines against the committed ones by what `quality` leaves of each, or puts them in
    /// their place.
    pub fn compare(&self, lines: &[String], quality: fn(&str) -> Vec<String>) {
        let Self { page, made_by, systemd, head } = self;
        let _turn = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
        let text = fs::read_to_string(&path).expect("the page is there");
        let begin = format!("<!-- systemd {systemd}: made by cargo xtask {made_by} -->");
        let (before, rest) = text.split_once(&begin).expect("the table's beginning");
        let (table, after) = rest.split_once(END).expect("the table's end");
        let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| unit");
        let committed: Vec<Vec<String>> = table.lines().filter(is_row).map(quality).collect();
        if std::env::var_os(UPDATE).is_some() {
            let table = format!("{begin}\n{head}\n{}\n{END}", lines.join("\n"));
            fs::write(&path, format!("{before}{table}{after}")).unwrap();
            return;
        }
        let found: Vec<Vec<String>> = lines.iter().map(|line| quality(line)).collect();
        assert_eq!(
            found,
            committed,
            "docs/{page} says otherwise; `cargo xtask {made_by}` makes it anew:\n{}",
            lines.join("\n")
        );
    }
}
