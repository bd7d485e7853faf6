//! The rooms of the library use what `docs/architecture.md` lets them use, and no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Ident, Item, Macro, UsePath, UseTree,
    visit::{self, Visit},
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
    } else if path.extension().is_some_and(|kind| kind == "rs")
        && !path
            .components()
            .any(|part| ["tests", "testing.rs"].iter().any(|of| part.as_os_str() == *of))
    {
        found.push(path.to_owned());
    }
}

/// The rooms that a file names in paths that begin with `crate` or `sigready`, outside of what is
/// built for tests alone.
fn used(text: &str) -> BTreeSet<String> {
    let mut used = Used::default();
    used.visit_file(&syn::parse_file(text).unwrap());
    used.0
}

#[derive(Default)]
struct Used(BTreeSet<String>);

impl Used {
    fn takes(&mut self, root: &str, next: Option<&Ident>) {
        if ["crate", "sigready"].contains(&root) {
            self.0.extend(next.map(ToString::to_string));
        }
    }
}

impl<'a> Visit<'a> for Used {
    fn visit_item(&mut self, item: &'a Item) {
        let attributes = match item {
            Item::Const(it) => &it.attrs,
            Item::Fn(it) => &it.attrs,
            Item::Impl(it) => &it.attrs,
            Item::Mod(it) => &it.attrs,
            Item::Static(it) => &it.attrs,
            Item::Use(it) => &it.attrs,
            _ => return visit::visit_item(self, item),
        };
        let is_for_tests = |attribute: &Attribute| {
            attribute.path().is_ident("cfg")
                && attribute.parse_args::<Ident>().is_ok_and(|name| name == "test")
        };
        if !attributes.iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_use_path(&mut self, path: &'a UsePath) {
        let root = path.ident.to_string();
        let mut trees = vec![&*path.tree];
        while let Some(tree) = trees.pop() {
            match tree {
                UseTree::Path(it) => self.takes(&root, Some(&it.ident)),
                UseTree::Name(it) => self.takes(&root, Some(&it.ident)),
                UseTree::Rename(it) => self.takes(&root, Some(&it.ident)),
                UseTree::Group(group) => trees.extend(&group.items),
                UseTree::Glob(_) => self.takes(&root, Some(&path.ident)),
            }
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let mut parts = path.segments.iter().map(|part| &part.ident);
        if let Some(root) = parts.next() {
            self.takes(&root.to_string(), parts.next());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'a Macro) {
        // What a macro makes of its words is not known: any path among them counts.
        let words = called.tokens.to_string();
        let words: Vec<&str> = words.split_whitespace().collect();
        for path in words.windows(3).filter(|path| path[1] == "::") {
            self.takes(path[0], syn::parse_str(path[2]).ok().as_ref());
        }
    }
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
                probe::attach,\n    rules,\n};\nconst A: u8 = crate::systemd::bus();\n\
                #[cfg(test)]\nuse crate::report;\n#[cfg(test)]\nmod tests { use crate::lint; }\n\
                fn a() -> crate::timeline::A { dbg!(1, crate::race::b()) }";
    let expected = ["host", "model", "probe", "race", "rules", "systemd", "timeline"];
    let expected = expected.map(str::to_owned);
    assert_eq!(used(text), BTreeSet::from(expected));
}

/// The bounds of a file.
fn bounds(text: &str) -> Vec<String> {
    let items = syn::parse_file(text).unwrap().items.into_iter();
    let names = items.filter_map(|item| match item {
        Item::Const(it) => Some(it.ident.to_string()),
        _ => None,
    });
    names.filter(|name| name.starts_with("MAX_")).collect()
}

#[test]
fn every_bound_is_on_the_page_of_bounds_by_its_name_and_its_file_and_no_other() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bounds.md");
    let page = fs::read_to_string(page).unwrap();
    let mut found = Vec::new();
    files(&source(), &mut found);
    let mut missing = Vec::new();
    let mut known = BTreeSet::new();
    for path in found {
        let name = path.strip_prefix(source()).unwrap().display().to_string();
        // The page names files from their room, or from within it.
        let ways: Vec<String> = name
            .match_indices('/')
            .map(|(at, _)| &name[at + 1..])
            .chain([name.as_str()])
            .map(|way| format!("`{way}`"))
            .collect();
        for bound in bounds(&fs::read_to_string(&path).unwrap()) {
            let is_its_row = |row: &str| {
                row.contains(&format!("`{bound}`")) && ways.iter().any(|way| row.contains(way))
            };
            if !page.lines().any(is_its_row) {
                missing.push(format!("{name}: {bound}"));
            }
            known.insert(bound);
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    let on_page = page.split('`').filter(|word| word.starts_with("MAX_") && *word != "MAX_…");
    let gone: Vec<&str> = on_page.filter(|word| !known.contains(*word)).collect();
    assert_eq!(gone, [""; 0]);
}
