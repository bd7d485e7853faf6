//! The rooms of the library use what `docs/architecture.md` lets them use, and no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The folder of the library.
fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The page that says who may use whom.
fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/architecture.md");
    fs::read_to_string(path).unwrap()
}

/// The names in backquotes in a cell of a table.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Each room with those that it may use; `None` for all.
fn allowed() -> BTreeMap<String, Option<BTreeSet<String>>> {
    let page = page();
    let table = page.split("## The rooms").nth(1).unwrap().split("\n\n").nth(2).unwrap();
    let mut allowed = BTreeMap::new();
    for row in table.lines().skip(2) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [rooms, _, may_use] = cells[..] else { panic!("a row of three cells: {row}") };
        for room in names(rooms) {
            let may_use = match may_use.trim() {
                "all" => None,
                "all but `report`, `lint`" => {
                    let mut others = rooms_in_source();
                    others.retain(|other| !["report", "lint"].contains(&other.as_str()));
                    Some(others)
                }
                listed => Some(names(listed)),
            };
            allowed.insert(room, may_use);
        }
    }
    allowed
}

fn rooms_in_source() -> BTreeSet<String> {
    let entries = fs::read_dir(source()).unwrap().map(|entry| entry.unwrap().path());
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(stem).filter(|name| name != "lib" && name != "main").collect()
}

/// The files of a room, without its tests.
fn files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            files(&entry.unwrap().path(), found);
        }
    } else if !path
        .components()
        .any(|part| ["tests", "testing.rs"].iter().any(|of| part.as_os_str() == *of))
    {
        found.push(path.to_owned());
    }
}

/// The rooms that a file names in paths that begin with `crate` or `sigready`.
fn used(text: &str) -> BTreeSet<String> {
    // What comes after is for tests.
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut used = BTreeSet::new();
    for root in ["crate::", "sigready::"] {
        for (at, _) in text.match_indices(root) {
            let rest = &text[at + root.len()..];
            let Some(list) = rest.strip_prefix('{') else {
                used.insert(word(rest));
                continue;
            };
            // The first word of each member of the list.
            let (mut depth, mut begins) = (0, true);
            for (index, letter) in list.char_indices() {
                match letter {
                    '}' if depth == 0 => break,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => begins = true,
                    letter if begins && !letter.is_whitespace() => {
                        used.insert(word(&list[index..]));
                        begins = false;
                    }
                    _ => {}
                }
            }
        }
    }
    used
}

#[test]
fn every_room_is_in_the_table_and_every_row_is_a_room() {
    let rooms: BTreeSet<String> = allowed().into_keys().collect();
    assert_eq!(rooms, rooms_in_source());
}

#[test]
fn no_room_uses_one_that_it_may_not() {
    let rooms = rooms_in_source();
    let mut trespasses = Vec::new();
    for (room, may_use) in allowed() {
        let Some(may_use) = may_use else { continue };
        let mut found = Vec::new();
        files(&source().join(&room), &mut found);
        files(&source().join(format!("{room}.rs")), &mut found);
        for file in found.iter().filter(|file| file.exists()) {
            let used = used(&fs::read_to_string(file).unwrap());
            let wrong = used
                .iter()
                .filter(|it| rooms.contains(*it) && **it != room && !may_use.contains(*it));
            trespasses.extend(wrong.map(|wrong| format!("{} uses {wrong}", file.display())));
        }
    }
    assert_eq!(trespasses, Vec::<String>::new());
}

#[test]
fn imports_are_read_as_they_are_written() {
    let text = "use crate::model::event::Event;\nuse sigready::{\n    host::{clock, procfs},\n    \
                probe::attach,\n    rules,\n};\nlet a = crate::systemd::bus();\n\
                #[cfg(test)]\nuse crate::report;";
    let expected = ["host", "model", "probe", "rules", "systemd"].map(str::to_owned);
    assert_eq!(used(text), BTreeSet::from(expected));
}
