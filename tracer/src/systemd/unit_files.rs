//! A unit's settings from its files, where no systemd can be asked: what it would load
//! now (systemd.unit(5), systemd.syntax(7)).

mod settings;
mod specifiers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use self::{settings::Settings, specifiers::Specifiers};
use crate::timeline::unit::UnitFacts;

/// Where unit files are, the first the strongest. systemd.unit(5).
const DIRECTORIES: [&str; 10] = [
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
/// The weakest of all.
const LATE: &str = "run/systemd/generator.late";
/// The longest chain of aliases that is followed.
const MAX_ALIASES: usize = 16;
/// The largest file that is read.
const MAX_SIZE: u64 = 1 << 20;

/// What the files of a unit say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its settings, its name if that it was asked by is an alias, and the files they are from.
    Unit {
        /// Its own name.
        name: String,
        /// Its settings.
        facts: Box<UnitFacts>,
        /// The fragment and the drop-ins, in the order they are read.
        files: Vec<PathBuf>,
    },
    /// It is masked.
    Masked,
    /// There is no such file.
    Nothing,
}

/// Reads a unit of the system below `root`.
#[must_use]
pub fn read(root: &Path, name: &str) -> Found {
    let Some((name, fragment)) = fragment(root, name) else {
        return Found::Nothing;
    };
    if is_null(&fragment) {
        return Found::Masked;
    }
    let files: Vec<PathBuf> = std::iter::once(fragment).chain(drop_ins(root, &name)).collect();
    let mut settings = Settings::default();
    for file in &files {
        if let Some(text) = text(file) {
            settings.read(&text);
        }
    }
    let facts = Box::new(settings.facts(&Specifiers::new(&name)));
    Found::Unit { name, facts, files }
}

/// The settings in the text of one unit file; `None` if it has none of a service.
#[must_use]
pub fn parse(name: &str, text: &str) -> Option<UnitFacts> {
    let is_header = |line: &str| line.trim() == "[Service]";
    if !text.lines().any(is_header) {
        return None;
    }
    let mut settings = Settings::default();
    settings.read(text);
    Some(settings.facts(&Specifiers::new(name)))
}

/// The names of all services that have a file, aliases and templates among them.
#[must_use]
pub fn services(root: &Path) -> BTreeSet<String> {
    directories(root)
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flat_map(Iterator::flatten)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".service"))
        .collect()
}

fn directories(root: &Path) -> impl Iterator<Item = PathBuf> {
    DIRECTORIES.iter().chain([&LATE]).map(|directory| root.join(directory))
}

/// The unit's own name and its file: by that name, or an instance's by its template's. A link
/// to another name makes it an alias of that.
fn fragment(root: &Path, asked: &str) -> Option<(String, PathBuf)> {
    let mut name = asked.to_owned();
    for _ in 0..MAX_ALIASES {
        let found = [Some(name.clone()), template(&name)]
            .into_iter()
            .flatten()
            .find_map(|file| directories(root).map(|d| d.join(&file)).find(|f| exists(f)));
        let file = found?;
        let target = fs::read_link(&file).ok().and_then(|to| {
            let to = to.file_name()?.to_str()?.to_owned();
            (to.contains('.') && Some(to.as_str()) != file.file_name()?.to_str()).then_some(to)
        });
        match target {
            // An alias of a template names an instance of it.
            Some(target) => match (template(&name), target.split_once("@.")) {
                (Some(_), Some((before, after))) => {
                    let instance = name.split_once('@')?.1.rsplit_once('.')?.0.to_owned();
                    name = format!("{before}@{instance}.{after}");
                }
                _ => name = target,
            },
            None => return Some((name, file)),
        }
    }
    None
}

fn exists(file: &Path) -> bool {
    file.symlink_metadata().is_ok()
}

/// Whether a file masks: a link to /dev/null does, and an empty file.
fn is_null(file: &Path) -> bool {
    fs::read_link(file).is_ok_and(|to| to == Path::new("/dev/null"))
        || file.metadata().is_ok_and(|meta| meta.len() == 0)
}

/// `foo@.service` of `foo@bar.service`.
fn template(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    let (instance, suffix) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{suffix}"))
}

/// `*.conf` below `service.d`, `foo-.service.d`, `foo@.service.d` and `foo@bar.service.d`: by
/// file name, and of one name the one in the strongest directory, where the more specific
/// unit name is the stronger.
fn drop_ins(root: &Path, name: &str) -> Vec<PathBuf> {
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for unit in drop_in_names(name) {
        for directory in directories(root) {
            let entries = fs::read_dir(directory.join(format!("{unit}.d")));
            for entry in entries.into_iter().flatten().flatten() {
                let file = entry.file_name().to_string_lossy().into_owned();
                if file.ends_with(".conf") {
                    files.entry(file).or_insert_with(|| entry.path());
                }
            }
        }
    }
    files.into_values().filter(|file| !is_null(file)).collect()
}

/// The names whose drop-ins a unit takes, the most specific first.
fn drop_in_names(name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    let base = template(name);
    names.extend(base.clone());
    let Some((stem, suffix)) = base.as_deref().unwrap_or(name).rsplit_once('.') else {
        return names;
    };
    // foo-bar-baz.service takes those of foo-bar-.service and foo-.service.
    let stem = stem.trim_end_matches('@').trim_end_matches('-');
    for (index, _) in stem.char_indices().rev().filter(|(_, c)| *c == '-') {
        names.push(format!("{}.{suffix}", &stem[..=index]));
    }
    names.push(suffix.to_owned());
    names
}

fn text(file: &Path) -> Option<String> {
    let size = fs::metadata(file).ok()?.len();
    (size <= MAX_SIZE)
        .then(|| fs::read(file).ok())?
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;
    use crate::signal::Signal;

    /// A system with these files.
    fn system(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        root
    }

    fn unit(root: &TempDir, name: &str) -> UnitFacts {
        match read(root.path(), name) {
            Found::Unit { facts, .. } => *facts,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_unit_without_settings_has_systemds_defaults() {
        let root = system(&[("lib/systemd/system/a.service", "[Service]\nExecStart=/bin/a\n")]);
        let facts = unit(&root, "a.service");
        assert_eq!(facts.service_type.as_deref(), Some("simple"));
        assert_eq!(facts.notify_access.as_deref(), Some("none"));
        assert_eq!(facts.restart.as_deref(), Some("no"));
        assert_eq!((facts.reload_signal, facts.exec_reload), (None, Some(Vec::new())));
    }

    #[test]
    fn drop_ins_add_and_reset_in_the_order_of_their_names() {
        let root = system(&[
            (
                "usr/lib/systemd/system/a.service",
                "[Unit]\nType=none\n[Service]\nType=notify\nExecStart=/bin/a\n\
                 ExecReload=/bin/a check\nExecReload=/bin/kill -USR2 \\\n  # why\n  $MAINPID\n",
            ),
            ("etc/systemd/system/a.service.d/20.conf", "[Service]\nRestart=always\n"),
            ("usr/lib/systemd/system/a.service.d/20.conf", "[Service]\nRestart=no\n"),
            ("run/systemd/system/service.d/10.conf", "[Service]\nRestart=on-abort\nExecReload=\n"),
            ("etc/systemd/system/a.service.d/30.conf", "[Service]\nExecReload=kill -HUP $MAINPID"),
        ]);
        let facts = unit(&root, "a.service");
        assert_eq!(facts.restart.as_deref(), Some("always"));
        assert_eq!(facts.notify_access.as_deref(), Some("main"));
        assert_eq!(facts.exec_reload, Some(vec!["kill -HUP $MAINPID".to_owned()]));
        assert_eq!(facts.reload_signal, Some(Signal::HUP));
    }

    #[test]
    fn an_instance_takes_its_templates_file_and_its_own_name() {
        let root = system(&[
            (
                "lib/systemd/system/pg@.service",
                "[Service]\nType=forking\nExecStart=-/bin/pg %I\nExecReload=/bin/pg reload %i %n %p\n",
            ),
            ("etc/systemd/system/pg@.service.d/a.conf", "[Service]\nRestart=on-failure\n"),
        ]);
        let facts = unit(&root, r"pg@15-ma\x2din.service");
        assert_eq!(
            facts.exec_reload.unwrap(),
            [r"/bin/pg reload 15-ma\x2din pg@15-ma\x2din.service pg"]
        );
        assert_eq!(facts.ignores_failure, Some(true));
        assert_eq!(facts.restart.as_deref(), Some("on-failure"));
    }

    #[test]
    fn an_alias_is_the_unit_it_names_and_a_mask_hides_it() {
        let root =
            system(&[("lib/systemd/system/mariadb.service", "[Service]\nExecStart=/bin/m\n")]);
        let etc = root.path().join("etc/systemd/system");
        fs::create_dir_all(&etc).unwrap();
        symlink("/lib/systemd/system/mariadb.service", etc.join("mysql.service")).unwrap();
        symlink("/dev/null", etc.join("gone.service")).unwrap();
        match read(root.path(), "mysql.service") {
            Found::Unit { name, .. } => assert_eq!(name, "mariadb.service"),
            other => panic!("{other:?}"),
        }
        assert_eq!(read(root.path(), "gone.service"), Found::Masked);
        assert_eq!(read(root.path(), "never.service"), Found::Nothing);
    }

    #[test]
    fn names_with_dashes_take_the_drop_ins_of_their_prefixes() {
        assert_eq!(
            drop_in_names("foo-bar-baz@x.service"),
            [
                "foo-bar-baz@x.service",
                "foo-bar-baz@.service",
                "foo-bar-.service",
                "foo-.service",
                "service"
            ]
        );
    }

    #[test]
    fn a_file_without_a_service_section_is_no_service() {
        assert_eq!(parse("a.service", "[Unit]\nDescription=x\n"), None);
        assert_eq!(parse("a.service", "\0\u{1b}[Service"), None);
        assert!(parse("a.service", "[Service]\n=\n===\nType\n[\n").is_some());
    }

    #[test]
    fn a_loop_of_aliases_is_no_unit() {
        let root = system(&[]);
        let etc = root.path().join("etc/systemd/system");
        fs::create_dir_all(&etc).unwrap();
        symlink("b.service", etc.join("a.service")).unwrap();
        symlink("a.service", etc.join("b.service")).unwrap();
        assert_eq!(read(root.path(), "a.service"), Found::Nothing);
    }
}
