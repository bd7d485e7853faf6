//! A unit's settings from its files, where no systemd can be asked: what it would load
//! now (systemd.unit(5), systemd.syntax(7)).

mod lines;
mod settings;
mod specifiers;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use self::{
    lines::lines,
    settings::Settings,
    specifiers::{Specifiers, Whose},
};
use super::{
    commands::Command,
    root::Root,
    user::{User, runtime_directory},
};
use crate::model::{raw_name, unit::UnitFacts};

/// Where a system's unit files are, the first the strongest. systemd.unit(5).
const OF_SYSTEM: [&str; 13] = [
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
    "etc/systemd/system",
    "etc/systemd/system.attached",
    "run/systemd/system",
    "run/systemd/system.attached",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
];
/// Where a user's are. `~` is their home, `%t` their runtime directory.
const OF_USER: [&str; 17] = [
    "~/.config/systemd/user.control",
    "%t/systemd/user.control",
    "%t/systemd/transient",
    "%t/systemd/generator.early",
    "~/.config/systemd/user",
    "etc/xdg/systemd/user",
    "etc/systemd/user",
    "%t/systemd/user",
    "run/systemd/user",
    "%t/systemd/generator",
    "~/.local/share/systemd/user",
    "usr/local/share/systemd/user",
    "usr/share/systemd/user",
    "usr/local/lib/systemd/user",
    "usr/lib/systemd/user",
    "lib/systemd/user",
    "%t/systemd/generator.late",
];
/// The longest chain of aliases that is followed.
const MAX_ALIASES: usize = 16;
/// The largest file that is read.
pub const MAX_SIZE: u64 = 1 << 20;
/// The most drop-ins that are read of one unit.
const MAX_DROP_INS: usize = 1_000;

/// What the files of a unit say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its settings, its name if that it was asked by is an alias, and the files they are from.
    Unit {
        /// Its own name.
        name: String,
        /// Its settings.
        facts: Box<UnitFacts>,
        /// Its commands.
        commands: Commands,
        /// The fragment and the drop-ins, in the order they are read.
        files: Vec<PathBuf>,
    },
    /// It is masked.
    Masked,
    /// There is no such file.
    Nothing,
}

/// The commands of a unit, and what else is told of how they are run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commands {
    /// `ExecStart=`
    pub start: Vec<Command>,
    /// `ExecStartPost=`
    pub start_post: Vec<Command>,
    /// `ExecReload=`
    pub reload: Vec<Command>,
    /// `ExecStop=` and `ExecStopPost=`: what runs when the main process has ended.
    pub stop: Vec<Command>,
    /// Whether `WatchdogSec=` makes systemd wait for WATCHDOG=1 while the service is up.
    pub has_watchdog: bool,
    /// Whether it runs as somebody else than root, by `User=` or `DynamicUser=`.
    pub has_user: bool,
}

/// The unit files of a system, or of a user of it.
#[derive(Debug)]
pub struct UnitFiles {
    root: Root,
    directories: Vec<PathBuf>,
    /// The one for files of their owner's.
    own: PathBuf,
    whose: Whose,
}

impl UnitFiles {
    /// Those of the system below a root directory.
    pub fn of_system(root: &Path) -> io::Result<Self> {
        let directories = OF_SYSTEM.iter().map(PathBuf::from).collect();
        let own = "etc/systemd/system".into();
        Ok(Self { root: Root::open(root)?, directories, own, whose: Whose::System })
    }

    /// Those of a user of this host.
    pub fn of_user(user: &User) -> io::Result<Self> {
        let directory = |written: &&str| {
            if let Some(inside) = written.strip_prefix("~/") {
                user.home.join(inside)
            } else if let Some(inside) = written.strip_prefix("%t/") {
                runtime_directory(user.uid).join(inside)
            } else {
                PathBuf::from(written)
            }
        };
        let directories = OF_USER.iter().map(directory).collect();
        let own = user.home.join(".config/systemd/user");
        let whose = Whose::User { uid: user.uid };
        Ok(Self { root: Root::open(Path::new("/"))?, directories, own, whose })
    }

    /// Where they are, in words.
    #[must_use]
    pub fn place(&self) -> String {
        match self.whose {
            Whose::System => format!("below {}", self.root.shown(Path::new("")).display()),
            Whose::User { uid } => format!("of user {uid}"),
        }
    }

    /// Where their owner puts files of their own, as it is written outside of the root.
    #[must_use]
    pub fn own_directory(&self) -> PathBuf {
        self.root.shown(&self.own)
    }

    /// Reads a unit.
    #[must_use]
    pub fn read(&self, name: &str) -> Found {
        let Some((name, fragment)) = self.fragment(name) else {
            return Found::Nothing;
        };
        if self.is_null(&fragment) {
            return Found::Masked;
        }
        // A link may lead nowhere.
        let Some(text) = self.text(&fragment) else {
            return Found::Nothing;
        };
        let mut settings = Settings::default();
        settings.read(&text);
        let mut files = vec![fragment];
        for file in self.drop_ins(&name) {
            if let Some(text) = self.text(&file) {
                settings.read(&text);
            }
            files.push(file);
        }
        let specifiers = Specifiers::new(&name, self.whose);
        let facts = Box::new(settings.facts(&specifiers));
        let commands = settings.commands(&specifiers);
        let files = files.iter().map(|file| self.root.shown(file)).collect();
        Found::Unit { name, facts, commands, files }
    }

    /// The names of all services that have a file, aliases and templates among them.
    #[must_use]
    pub fn services(&self) -> BTreeSet<String> {
        let names = self.directories.iter().filter_map(|it| self.root.names(it).ok()).flatten();
        names.filter(|name| name.ends_with(".service")).collect()
    }

    /// The unit's own name and its file: by that name, or an instance's by its template's. A
    /// link to another name makes it an alias of that.
    fn fragment(&self, asked: &str) -> Option<(String, PathBuf)> {
        let mut name = asked.to_owned();
        for _ in 0..MAX_ALIASES {
            let found =
                [Some(name.clone()), template(&name)].into_iter().flatten().find_map(|file| {
                    let mut paths = self
                        .directories
                        .iter()
                        .map(|directory| directory.join(raw_name::of(&file)));
                    paths.find_map(|path| Some((self.root.reach_link(&path).ok()?.link(), path)))
                });
            let (link, file) = found?;
            let target = link.and_then(|to| {
                let [to, own] = [to.file_name()?, file.file_name()?].map(raw_name::os_text);
                (to.contains('.') && to != own).then(|| to.into_owned())
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

    /// Whether a file masks: a link to /dev/null does, and an empty file (`null_or_empty` in
    /// src/basic/stat-util.c of systemd).
    fn is_null(&self, file: &Path) -> bool {
        let link = self.root.reach_link(file).ok().and_then(|reached| reached.link());
        let is_empty = |file: &fs::Metadata| file.is_file() && file.len() == 0;
        link.is_some_and(|to| to == Path::new("/dev/null"))
            || self
                .root
                .reach(file)
                .is_ok_and(|it| fs::metadata(it.path()).is_ok_and(|it| is_empty(&it)))
    }

    /// `*.conf` below `service.d`, `foo-.service.d`, `foo@.service.d` and `foo@bar.service.d`:
    /// by file name, and of one name the one in the strongest directory, where the more
    /// specific unit name is the stronger.
    fn drop_ins(&self, name: &str) -> Vec<PathBuf> {
        let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
        for unit in drop_in_names(name) {
            for directory in &self.directories {
                let directory = directory.join(format!("{unit}.d"));
                for file in self.root.names(&directory).into_iter().flatten() {
                    if file.ends_with(".conf") {
                        let path = directory.join(raw_name::of(&file));
                        files.entry(file).or_insert(path);
                    }
                }
            }
        }
        let files = files.into_values().filter(|file| !self.is_null(file));
        files.take(MAX_DROP_INS).collect()
    }

    fn text(&self, file: &Path) -> Option<String> {
        let mut bytes = Vec::new();
        let file = self.root.reach(file).ok()?;
        // What is no file could keep its reader waiting.
        if !fs::metadata(file.path()).ok()?.is_file() {
            return None;
        }
        let length = file.read().ok()?.take(MAX_SIZE + 1).read_to_end(&mut bytes).ok()?;
        (length as u64 <= MAX_SIZE).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The settings in the text of one unit file; `None` if it has none of a service.
#[must_use]
pub fn parse(name: &str, text: &str) -> Option<(UnitFacts, Commands)> {
    let is_header = |line: &str| line.trim() == "[Service]";
    if !lines(text).any(is_header) {
        return None;
    }
    let mut settings = Settings::default();
    settings.read(text);
    let specifiers = Specifiers::new(name, Whose::System);
    Some((settings.facts(&specifiers), settings.commands(&specifiers)))
}

/// `foo@.service` of `foo@bar.service`.
fn template(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    let (instance, suffix) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{suffix}"))
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
