//! A unit's settings from its files, where no systemd can be asked: what it would load
//! now (systemd.unit(5), systemd.syntax(7)).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::reload;
use crate::{
    signal::Signal,
    timeline::unit::{ExitStatuses, FactsSource, UnitFacts},
};

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

/// The assignments of the `[Service]` section. A list has all of its values.
#[derive(Default)]
struct Settings {
    values: BTreeMap<String, Vec<String>>,
}

impl Settings {
    /// Takes in one file. systemd.syntax(7): sections, comments, lines that go on.
    fn read(&mut self, text: &str) {
        let mut section = String::new();
        let mut whole = String::new();
        for line in text.lines() {
            let line = line.trim();
            // Comments may stand between the lines that go on.
            if line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(line) = line.strip_suffix('\\') {
                whole.push_str(line);
                whole.push(' ');
                continue;
            }
            whole.push_str(line);
            let line = std::mem::take(&mut whole);
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
            } else if let Some((name, value)) = line.split_once('=')
                && section == "Service"
            {
                let values = self.values.entry(name.trim().to_owned()).or_default();
                match value.trim() {
                    // An empty value resets a list, and a setting to its default.
                    "" => values.clear(),
                    value => values.push(value.to_owned()),
                }
            }
        }
    }

    /// The value that counts of a setting that has one.
    fn one(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str)
    }

    fn list(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    fn flag(&self, name: &str) -> bool {
        let value = self.one(name).map(str::to_ascii_lowercase);
        value.is_some_and(|value| ["1", "yes", "y", "true", "t", "on"].contains(&value.as_str()))
    }

    /// The settings with systemd's defaults (`service_load` and `service_add_extras` in
    /// src/core/service.c).
    fn facts(&self, specifiers: &Specifiers) -> UnitFacts {
        let commands = |name: &str| -> Vec<(String, Vec<String>)> {
            self.list(name)
                .iter()
                .map(|line| {
                    let command = line.trim_start_matches(PREFIXES);
                    let prefixes = &line[..line.len() - command.len()];
                    let words = shell_words::split(command).unwrap_or_default();
                    let words = words.iter().map(|word| specifiers.expand(word)).collect();
                    (prefixes.to_owned(), words)
                })
                .collect()
        };
        let service_type = self.one("Type").map_or_else(
            || {
                let is_dbus = self.one("BusName").is_some();
                let is_oneshot = self.list("ExecStart").is_empty();
                let word = match (is_dbus, is_oneshot) {
                    (true, _) => "dbus",
                    (_, true) => "oneshot",
                    _ => "simple",
                };
                word.to_owned()
            },
            str::to_owned,
        );
        let by_systemd = service_type == "notify-reload";
        let is_notify = by_systemd || service_type == "notify";
        // A watchdog has to be heard too.
        let hears = is_notify || self.one("WatchdogSec").is_some_and(|span| span != "0");
        let access = match self.one("NotifyAccess") {
            None | Some("none") if hears => "main",
            None => "none",
            Some(access) => access,
        };
        let exec_start = commands("ExecStart");
        let exec_reload: Vec<Vec<String>> =
            commands("ExecReload").into_iter().map(|(_, words)| words).collect();
        let reload_signal = if by_systemd {
            Some(self.one("ReloadSignal").and_then(|name| name.parse().ok()).unwrap_or(Signal::HUP))
        } else {
            reload::signal(&exec_reload)
        };
        let statuses = |name: &str| Some(statuses(self.list(name)));
        UnitFacts {
            notify_access: Some(access.to_owned()),
            restart: Some(self.one("Restart").unwrap_or("no").to_owned()),
            reload_signal,
            exec_reload: Some(exec_reload.iter().map(|words| words.join(" ")).collect()),
            exec_start: Some(exec_start.iter().map(|(_, words)| words.join(" ")).collect()),
            success_exit_status: statuses("SuccessExitStatus"),
            restart_prevent_exit_status: statuses("RestartPreventExitStatus"),
            restart_force_exit_status: statuses("RestartForceExitStatus"),
            remain_after_exit: Some(self.flag("RemainAfterExit")),
            ignores_failure: exec_start.last().map(|(prefixes, _)| prefixes.contains('-')),
            kill_mode: Some(self.one("KillMode").unwrap_or("control-group").to_owned()),
            timeout_start_ns: self.one("TimeoutStartSec").or(self.one("TimeoutSec")).and_then(span),
            systemd: None,
            source: Some(FactsSource::UnitFiles),
            service_type: Some(service_type),
        }
    }
}

/// A time span in ns, 0 for none. systemd.time(7).
fn span(text: &str) -> Option<u64> {
    if text == "infinity" {
        return Some(0);
    }
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000_000_000);
    }
    let span: jiff::SignedDuration = text.parse().ok()?;
    span.as_nanos().try_into().ok()
}

/// What may stand before a command. systemd.service(5).
const PREFIXES: [char; 6] = ['-', '@', ':', '+', '!', '|'];

/// `SuccessExitStatus=3 TEMPFAIL SIGUSR1`: codes, their names, signals.
fn statuses(lines: &[String]) -> ExitStatuses {
    let mut statuses = ExitStatuses::default();
    for word in lines.iter().flat_map(|line| line.split_whitespace()) {
        let named = EXIT_NAMES.iter().find(|(name, _)| *name == word).map(|(_, code)| *code);
        if let Some(code) = named.or_else(|| word.parse().ok()) {
            statuses.codes.push(code);
        } else if let Ok(signal) = word.parse() {
            statuses.signals.push(signal);
        }
    }
    statuses
}

/// The names of exit codes that units use (sysexits.h; systemd.exec(5)).
const EXIT_NAMES: [(&str, u8); 18] = [
    ("SUCCESS", 0),
    ("FAILURE", 1),
    ("INVALIDARGUMENT", 2),
    ("NOTIMPLEMENTED", 3),
    ("NOPERMISSION", 4),
    ("NOTINSTALLED", 5),
    ("NOTCONFIGURED", 6),
    ("NOTRUNNING", 7),
    ("USAGE", 64),
    ("DATAERR", 65),
    ("NOINPUT", 66),
    ("UNAVAILABLE", 69),
    ("SOFTWARE", 70),
    ("OSERR", 71),
    ("TEMPFAIL", 75),
    ("PROTOCOL", 76),
    ("NOPERM", 77),
    ("CONFIG", 78),
];

/// `%n` and its like, as far as they follow from the name. systemd.unit(5), SPECIFIERS.
struct Specifiers {
    name: String,
    prefix: String,
    instance: String,
}

impl Specifiers {
    fn new(name: &str) -> Self {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
        Self { name: name.to_owned(), prefix: prefix.to_owned(), instance: instance.to_owned() }
    }

    fn expand(&self, word: &str) -> String {
        let mut text = String::new();
        let mut rest = word.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            match rest.next() {
                Some('n') => text.push_str(&self.name),
                Some('N') => {
                    let stem = self.name.rsplit_once('.').map_or(&*self.name, |(stem, _)| stem);
                    text.push_str(stem);
                }
                Some('p') => text.push_str(&self.prefix),
                Some('i') => text.push_str(&self.instance),
                Some('P') => text.push_str(&unescape(&self.prefix)),
                Some('I') => text.push_str(&unescape(&self.instance)),
                Some('t') => text.push_str("/run"),
                Some('S') => text.push_str("/var/lib"),
                Some('%') | None => text.push('%'),
                // What depends on the host stays as it is written.
                Some(other) => text.extend(['%', other]),
            }
        }
        text
    }
}

/// `systemd-escape --unescape`
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail
            .strip_prefix(b"x")
            .and_then(|tail| tail.get(..2))
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (first, escaped) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            (b'-', _) => {
                bytes.push(b'/');
                rest = tail;
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

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
        assert_eq!(unescape(r"15-ma\x2din"), "15/ma-in");
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
    fn exit_statuses_are_codes_their_names_and_signals() {
        let found = statuses(&["3 TEMPFAIL".to_owned(), "SIGUSR1 nonsense 999".to_owned()]);
        assert_eq!(found.codes, [3, 75]);
        assert_eq!(found.signals, ["USR1".parse().unwrap()]);
    }

    #[test]
    fn a_span_is_written_in_many_ways() {
        for (text, ns) in [
            ("90", Some(90_000_000_000)),
            ("1min 30s", Some(90_000_000_000)),
            ("500ms", Some(500_000_000)),
            ("infinity", Some(0)),
            ("soon", None),
        ] {
            assert_eq!(span(text), ns, "{text}");
        }
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
