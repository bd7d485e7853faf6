//! What is asked for below roots that are not the host's own, by a process that opens
//! ([`crate::host::opener`]): connections to systemds, and unit files.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::{fs::MetadataExt as _, net::UnixStream as StdUnixStream},
    path::Path,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use crate::host::opener::wait_for;
use crate::{
    host::opener::{Answer, Question, descriptor, goes_on, in_memory, text},
    model::{raw_name, unit::UnitFacts},
    systemd::{
        root::Root,
        unit_files::{Commands, Found, UnitFiles},
        user::User,
    },
};

/// Names that are given to one process: all that a command line has room for, by far.
const MAX_NAMES: usize = 1_000;

/// What the files of a unit say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitFile {
    /// Its settings, and its name if that it was asked by is an alias.
    Unit {
        /// Its own name.
        name: String,
        /// Its settings.
        facts: Box<UnitFacts>,
    },
    /// It is masked.
    Masked,
    /// There is no such file.
    Nothing,
}

impl From<Found> for UnitFile {
    fn from(found: Found) -> Self {
        match found {
            Found::Unit { name, facts, .. } => Self::Unit { name, facts },
            Found::Masked => Self::Masked,
            Found::Nothing => Self::Nothing,
        }
    }
}

/// The same with what lint looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WholeUnit {
    /// A unit.
    Unit {
        /// Its own name.
        name: String,
        /// Its settings.
        facts: Box<UnitFacts>,
        /// Its commands.
        commands: Commands,
        /// The fragment and the drop-ins, in the order they are read, for people.
        files: Vec<String>,
    },
    /// It is masked.
    Masked,
    /// There is no such file.
    Nothing,
}

impl From<Found> for WholeUnit {
    fn from(found: Found) -> Self {
        match found {
            Found::Unit { name, facts, commands, files } => {
                let files = files.iter().map(|file| file.display().to_string()).collect();
                Self::Unit { name, facts, commands, files }
            }
            Found::Masked => Self::Masked,
            Found::Nothing => Self::Nothing,
        }
    }
}

/// The unit files there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Of services, aliases and templates among them.
    pub names: BTreeSet<String>,
    /// Where they are, in words.
    pub place: String,
    /// Where their owner puts files of their own.
    pub own_directory: String,
}

/// Connects to a socket by its path below a root: the system's or a user's.
pub async fn connect(root: &Path, user: Option<u32>, socket: &Path) -> io::Result<StdUnixStream> {
    let words = ["connect".as_ref(), root.as_ref(), socket.as_ref()];
    descriptor(Question::new((root.to_owned(), user), &words)).await.map(StdUnixStream::from)
}

/// Reads a unit's files: the system's below a root, or those of a user of this host.
pub async fn unit(root: &Path, user: Option<u32>, name: &str) -> io::Result<UnitFile> {
    let uid = shown(user);
    let name = raw_name::of(name);
    let words = ["unit".as_ref(), root.as_ref(), OsStr::new(&uid), &*name];
    Ok(serde_json::from_slice(&text(Question::new((root.to_owned(), user), &words)).await?)?)
}

/// Lists the unit files of a system below a root, or of a user of this host.
pub async fn list(root: &Path, user: Option<u32>) -> io::Result<Listing> {
    long(root, user, "list", &[]).await
}

/// Reads these units' files with all that they say, in their order.
pub async fn read(root: &Path, user: Option<u32>, names: &[&str]) -> io::Result<Vec<WholeUnit>> {
    let mut units = Vec::with_capacity(names.len());
    for names in names.chunks(MAX_NAMES) {
        units.extend(long::<Vec<WholeUnit>>(root, user, "read", names).await?);
    }
    Ok(units)
}

/// Whether two paths lead to the same directory.
pub async fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let words = ["same".as_ref(), one.as_ref(), other.as_ref()];
    Ok(serde_json::from_slice(&text(Question::new((other.to_owned(), None), &words)).await?)?)
}

/// Asks for what is too long for a reply.
async fn long<T: DeserializeOwned>(
    root: &Path,
    user: Option<u32>,
    question: &str,
    names: &[&str],
) -> io::Result<T> {
    let uid = shown(user);
    let mut words = vec![OsStr::new(question), root.as_ref(), OsStr::new(&uid)];
    let names: Vec<_> = names.iter().map(|name| raw_name::of(name)).collect();
    words.extend(names.iter().map(|name| &**name));
    let answer = descriptor(Question::new((root.to_owned(), user), &words)).await?;
    Ok(serde_json::from_reader(io::BufReader::new(File::from(answer)))?)
}

fn shown(user: Option<u32>) -> String {
    user.map(|uid| uid.to_string()).unwrap_or_default()
}

/// Answers what is asked above.
#[must_use]
pub fn answer(words: &[&OsStr]) -> Option<io::Result<Answer>> {
    let answer = match *words {
        [question, root, socket] if question == "connect" => connected(root, socket),
        [question, root, user, name] if question == "unit" => files(root, user).and_then(|files| {
            let found = UnitFile::from(files.read(&raw_name::os_text(name)));
            Ok(Answer::Text(serde_json::to_vec(&found)?))
        }),
        [question, root, user] if question == "list" => files(root, user).and_then(|files| {
            let listing = Listing {
                names: files.services(),
                place: files.place(),
                own_directory: files.own_directory().display().to_string(),
            };
            Ok(Answer::Descriptor(in_memory(&serde_json::to_vec(&listing)?)?))
        }),
        [question, root, user, ref names @ ..] if question == "read" => {
            files(root, user).and_then(|files| {
                let read = |name: &&OsStr| {
                    let unit = WholeUnit::from(files.read(&raw_name::os_text(name)));
                    goes_on();
                    unit
                };
                let units: Vec<WholeUnit> = names.iter().map(read).collect();
                Ok(Answer::Descriptor(in_memory(&serde_json::to_vec(&units)?)?))
            })
        }
        [question, one, other] if question == "same" => same(one, other),
        _ => return None,
    };
    Some(answer)
}

fn connected(root: &OsStr, socket: &OsStr) -> io::Result<Answer> {
    let reached = Root::open(Path::new(root))?.reach(Path::new(socket))?;
    Ok(Answer::Descriptor(StdUnixStream::connect(reached.path())?.into()))
}

fn files(root: &OsStr, user: &OsStr) -> io::Result<UnitFiles> {
    match user.to_str().map(str::parse) {
        Some(Ok(uid)) => match User::numbered(uid) {
            Some(user) => UnitFiles::of_user(&user),
            None => Err(io::Error::other(format!("there is no user {uid}"))),
        },
        _ => UnitFiles::of_system(Path::new(root)),
    }
}

fn same(one: &OsStr, other: &OsStr) -> io::Result<Answer> {
    let (one, other) = (fs::metadata(one)?, fs::metadata(other)?);
    let same = (one.dev(), one.ino()) == (other.dev(), other.ino());
    Ok(Answer::Text(serde_json::to_vec(&same)?))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn asked(words: &[&OsStr]) -> io::Result<Answer> {
        answer(words).unwrap_or_else(|| Err(io::ErrorKind::InvalidInput.into()))
    }

    fn long<T: DeserializeOwned>(words: &[&OsStr]) -> T {
        let Ok(Answer::Descriptor(memory)) = asked(words) else { panic!("no answer") };
        serde_json::from_reader(File::from(memory)).unwrap()
    }

    #[test]
    fn a_socket_is_connected_to() {
        let directory = tempfile::tempdir().unwrap();
        let listener =
            std::os::unix::net::UnixListener::bind(directory.path().join("socket")).unwrap();
        let words = ["connect".as_ref(), directory.path().as_os_str(), "/socket".as_ref()];
        let Ok(Answer::Descriptor(stream)) = asked(&words) else { panic!("no connection") };
        let mut stream = StdUnixStream::from(stream);
        stream.write_all(b"hello").unwrap();
        drop(stream);
        let (mut accepted, _) = listener.accept().unwrap();
        assert_eq!(io::read_to_string(&mut accepted).unwrap(), "hello");
    }

    #[test]
    fn a_question_that_is_none_and_a_user_that_is_none_are_refused() {
        for words in [&["other", "/", "7", "a.service"][..], &["other", "/", "/"], &["unit"], &[]] {
            let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
            assert!(answer(&words).is_none(), "{words:?}");
        }
        let unknown = asked(&["unit", "/", "4000000000", "a.service"].map(OsStr::new));
        assert!(unknown.is_err_and(|error| error.to_string().contains("no user 4000000000")));
    }

    #[test]
    fn two_paths_are_the_same_by_the_directory_they_lead_to() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path();
        let (other, link) = (own.join("other"), own.join("link"));
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(own, &link).unwrap();
        let is_same =
            |one: &Path, two: &Path| match asked(&["same".as_ref(), one.as_ref(), two.as_ref()]) {
                Ok(Answer::Text(json)) => serde_json::from_slice::<bool>(&json).unwrap(),
                _ => panic!("no answer"),
            };
        assert!(is_same(own, own) && is_same(own, &link));
        assert!(!is_same(own, &other));
    }

    #[test]
    fn a_user_is_asked_for_by_number_and_the_system_by_none() {
        assert_eq!((shown(Some(7)), shown(None)), ("7".to_owned(), String::new()));
    }

    #[test]
    fn what_files_say_is_handed_over_whole() {
        let directory = tempfile::tempdir().unwrap();
        let units = directory.path().join("etc/systemd/system");
        fs::create_dir_all(&units).unwrap();
        fs::write(units.join("a.service"), "[Service]\nType=notify\nExecStart=/bin/a\n").unwrap();
        std::os::unix::fs::symlink("/dev/null", units.join("m.service")).unwrap();
        let root = directory.path().as_os_str();
        let read = |name: &str| {
            let words = ["unit".as_ref(), root, "".as_ref(), name.as_ref()];
            match asked(&words) {
                Ok(Answer::Text(json)) => serde_json::from_slice::<UnitFile>(&json).unwrap(),
                _ => panic!("no answer for {name}"),
            }
        };
        let UnitFile::Unit { name, facts } = read("a.service") else { panic!("no unit") };
        assert_eq!((name.as_str(), facts.is_notify()), ("a.service", true));
        assert_eq!(read("m.service"), UnitFile::Masked);
        assert_eq!(read("b.service"), UnitFile::Nothing);

        let listing: Listing = long(&["list".as_ref(), root, "".as_ref()]);
        assert_eq!(listing.names, ["a.service", "m.service"].map(str::to_owned).into());
        assert_eq!(listing.own_directory, units.display().to_string());
        let names = ["m.service", "a.service", "b.service"].map(OsStr::new);
        let words = [&["read".as_ref(), root, "".as_ref()], &names[..]].concat();
        let whole: Vec<WholeUnit> = long(&words);
        let files = UnitFiles::of_system(directory.path()).unwrap();
        let expected = names.map(|name| WholeUnit::from(files.read(name.to_str().unwrap())));
        assert_eq!(whole, expected);
    }
}
