//! A connection to one systemd (org.freedesktop.systemd1(5)).

use std::{
    ffi::OsString,
    fmt::Write as _,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            net::{SocketAddr, UnixStream as StdUnixStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use futures_lite::StreamExt as _;
use tokio::{
    net::UnixStream,
    sync::mpsc::{Receiver, channel},
    time::timeout,
};
use zbus::{
    Address, Connection, Message, MessageStream,
    address::{Transport, transport::UnixSocket},
    connection::Builder,
    zvariant::{DynamicType, OwnedObjectPath, OwnedValue},
};

use super::{limits::Limited, manager::Manager, opener, private::Private, properties::Properties};
use crate::{
    host::named,
    model::text::{Outside, clipped},
};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const ROOT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// The interface of every unit.
pub const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// The interface of a service.
pub const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";
const PEER: &str = "org.freedesktop.DBus.Peer";
/// How long the first message to a private socket may lie there until another one is sent.
const WAKES: Duration = Duration::from_millis(50);
/// How long systemd may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest object of a unit, bytes: `UNIT_NAME_MAX` (src/basic/unit-name.h of systemd),
/// each byte escaped, and what stands before it.
const LONGEST_OBJECT: usize = 3 * 256 + 64;
/// The longest version that is kept, characters.
const LONGEST_VERSION: usize = 64;
/// Ends of jobs that wait to be taken: more than a restart of all units at once has.
const MAX_JOBS: usize = 4_096;
/// Messages that may wait. More are left in the socket: they are read while an answer is
/// awaited too.
pub const MAX_QUEUED: usize = 16;

/// A connection to one systemd.
#[derive(Clone)]
pub struct Bus {
    connection: Connection,
    /// Whether a message bus is between.
    routed: bool,
}

impl Bus {
    /// Connects, by the first way that works.
    pub async fn connect(manager: &Manager) -> Result<Self> {
        let connecting = async {
            let (root, user) = match manager {
                Manager::Root { root, user, .. } => (root, user),
                Manager::Address(address) => {
                    let reach = || format!("cannot reach systemd through {address}");
                    let stream = at(address).await.with_context(reach)?;
                    return Self::build(stream, true).await.with_context(reach);
                }
            };
            let [bus, private] = Manager::sockets(*user);
            match Self::through(manager, root, &bus, true).await {
                Ok(bus) => Ok(bus),
                Err(failure) => {
                    Self::through(manager, root, &private, false).await.map_err(|_| failure)
                }
            }
        };
        match timeout(PATIENCE, connecting).await {
            Ok(connected) => connected,
            Err(_) => bail!("systemd's D-Bus did not answer within {} s", PATIENCE.as_secs()),
        }
    }

    async fn through(manager: &Manager, root: &Path, socket: &Path, routed: bool) -> Result<Self> {
        let path = root.join(socket);
        let reaching = async {
            let stream = if manager.is_host() {
                UnixStream::connect(&path).await?
            } else {
                let stream = opener::connect(root, manager.user(), socket).await?;
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream)?
            };
            let listener = stream.peer_cred()?.uid();
            if !manager.may_listen(listener) {
                bail!("it is uid {listener} who listens there");
            }
            let bus = Self::build(stream, routed).await?;
            if !routed {
                bus.begin().await?;
            }
            Ok(bus)
        };
        reaching
            .await
            .with_context(|| format!("cannot reach systemd through {}", Outside::path(&path)))
    }

    async fn build(stream: UnixStream, routed: bool) -> Result<Self> {
        let builder = if routed {
            Builder::socket(Limited(stream))
        } else {
            Builder::socket(Limited(Private(stream))).p2p()
        };
        let connection = builder.max_queued(MAX_QUEUED).build().await.map_err(Failure::from)?;
        Ok(Self { connection, routed })
    }

    /// Has systemd read messages of its private socket. One that comes together with the end of the
    /// authentication lies in sd-bus's buffer until more comes (252: `bus_socket_auth_verify_server`
    /// takes it in, and nothing wakes the loop for it). So it is asked for nothing until it answers.
    async fn begin(&self) -> Result<()> {
        let mut patience = WAKES;
        loop {
            let ping = self.connection.call_method(None::<&str>, ROOT, Some(PEER), "Ping", &());
            match timeout(patience, ping).await {
                // Whatever it answers.
                Ok(Ok(_) | Err(zbus::Error::MethodError(..))) => return Ok(()),
                Ok(Err(error)) => return Err(Failure::from(error).into()),
                // The caller's own patience ends this.
                Err(_) => patience = patience.saturating_mul(2),
            }
        }
    }

    /// What comes from now on. To be read while answers are awaited too, or those don't come.
    pub fn messages(&self) -> MessageStream {
        MessageStream::from(&self.connection)
    }

    /// Asks to be told of changes.
    pub async fn subscribe(&self) -> Result<()> {
        if self.routed {
            let signals = format!("type='signal',sender='{SYSTEMD}',path_namespace='{ROOT}'");
            let comes =
                format!("type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{SYSTEMD}'");
            for rule in [signals, comes] {
                self.call(BUS, "/org/freedesktop/DBus", BUS, "AddMatch", &(rule,)).await?;
            }
        }
        self.renew().await
    }

    /// Subscribes, again after systemd has executed itself anew.
    pub async fn renew(&self) -> Result<()> {
        match self.manager("Subscribe", &()).await {
            Err(Failure { name: Some(name), .. }) if name.ends_with(".AlreadySubscribed") => Ok(()),
            answer => answer.map(|_| ()).context("systemd would not tell of changes"),
        }
    }

    /// Has systemd load a unit if need be. Gives its object, which an alias shares with the
    /// unit it names.
    pub async fn load(&self, name: &str) -> Result<OwnedObjectPath> {
        let answer = self.manager("LoadUnit", &(name,)).await;
        let answer =
            answer.with_context(|| format!("systemd can't load '{}'", Outside::new(name)))?;
        Ok(answer.body().deserialize().map_err(Failure::from)?)
    }

    /// Has systemd keep a unit loaded as long as this connection lasts, so that it remembers
    /// how a start of it ended. Not over its private socket (`method_ref_unit`).
    pub async fn keep(&self, name: &str) -> Result<()> {
        let answer = self.manager("RefUnit", &(name,)).await;
        let kept = answer.map(drop);
        kept.with_context(|| format!("systemd would not keep '{}' loaded", Outside::new(name)))
    }

    /// All properties of an object's interface.
    pub async fn properties(&self, object: &str, interface: &str) -> Result<Properties> {
        let answer = self.call(SYSTEMD, object, PROPERTIES, "GetAll", &(interface,)).await;
        let answer = answer.with_context(|| format!("systemd does not tell of {object}"))?;
        Ok(answer.body().deserialize().map_err(Failure::from)?)
    }

    /// One property of an object.
    async fn property(&self, object: &str, interface: &str, name: &str) -> Result<OwnedValue> {
        let answer = self.call(SYSTEMD, object, PROPERTIES, "Get", &(interface, name)).await?;
        Ok(answer.body().deserialize().map_err(Failure::from)?)
    }

    /// The main process of a unit that is loaded, as systemd's own pids go; 0 for none.
    pub async fn main_pid(&self, unit: &str) -> Result<u32> {
        Ok(self.property(&object(unit), SERVICE, "MainPID").await?.try_into()?)
    }

    /// When systemd started the last main process of a unit that is loaded, `CLOCK_MONOTONIC` µs; 0
    /// for never.
    pub async fn main_began_us(&self, unit: &str) -> Result<u64> {
        let name = "ExecMainStartTimestampMonotonic";
        Ok(self.property(&object(unit), SERVICE, name).await?.try_into()?)
    }

    /// Whether a unit that is loaded is up.
    pub async fn is_active(&self, unit: &str) -> Result<bool> {
        let state = self.property(&object(unit), UNIT, "ActiveState").await?;
        Ok(String::try_from(state)? == "active")
    }

    /// Whether systemd has a job for a unit. One that is not loaded has none.
    pub async fn has_job(&self, unit: &str) -> Result<bool> {
        let job = self.property(&object(unit), UNIT, "Job").await?;
        let (id, _): (u32, OwnedObjectPath) = job.try_into()?;
        Ok(id != 0)
    }

    /// systemd's version.
    pub async fn version(&self) -> Result<String> {
        let version: String = self.property(ROOT, MANAGER, "Version").await?.try_into()?;
        Ok(clipped(&version, LONGEST_VERSION).into_owned())
    }

    /// Has systemd queue a job for a unit (`RestartUnit`, `ReloadUnit`), in place of what
    /// is in its way. Gives the job's object.
    pub async fn start_job(&self, method: &str, unit: &str) -> Result<String> {
        let answer = self.manager(method, &(unit, "replace")).await?;
        Ok(answer.body().deserialize::<OwnedObjectPath>().map_err(Failure::from)?.to_string())
    }

    /// Calls a method of the manager itself.
    pub async fn manager(
        &self,
        method: &str,
        arguments: &(impl serde::Serialize + DynamicType),
    ) -> Result<Message, Failure> {
        self.call(SYSTEMD, ROOT, MANAGER, method, arguments).await
    }

    async fn call(
        &self,
        destination: &str,
        object: &str,
        interface: &str,
        method: &str,
        arguments: &(impl serde::Serialize + DynamicType),
    ) -> Result<Message, Failure> {
        let destination = self.routed.then_some(destination);
        let answer =
            self.connection.call_method(destination, object, Some(interface), method, arguments);
        match timeout(PATIENCE, answer).await {
            Ok(answer) => answer.map_err(Failure::from),
            Err(_) => Err(Failure {
                name: None,
                lost: false,
                why: Outside::new(&format!("no answer within {} s", PATIENCE.as_secs())),
            }),
        }
    }
}

/// Why a call failed. zbus's errors may quote what came from the bus.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Failure {
    /// The error's name, where systemd or the bus answered with one.
    name: Option<String>,
    /// The connection broke.
    lost: bool,
    why: Outside,
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        let why = Outside::quoting(&error);
        let lost = matches!(error, zbus::Error::InputOutput(_));
        let name = match error {
            zbus::Error::MethodError(name, ..) => Some(name.to_string()),
            _ => None,
        };
        Self { name, lost, why }
    }
}

/// Whether a call got no answer because the connection broke.
#[must_use]
pub fn is_lost(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.lost)
}

/// The most bytes of a Unix socket's address (`sun_path`, unix(7)), and one that ends a path.
const MAX_ADDRESS: usize = 107;

/// A Unix socket to connect to.
#[derive(Debug, PartialEq, Eq)]
enum Socket {
    File(PathBuf),
    Abstract(Vec<u8>),
}

/// The socket that a D-Bus address names (D-Bus specification, "Server Addresses").
fn socket(address: &str) -> Result<Socket> {
    let parsed = address.parse::<Address>();
    let parsed =
        parsed.with_context(|| format!("'{}' is not a D-Bus address", Outside::new(address)))?;
    let Transport::Unix(unix) = parsed.transport() else {
        bail!("it is not the address of a Unix socket of this host: unix:path=PATH");
    };
    let (is_path, name) = match unix.path() {
        UnixSocket::File(path) => (true, unescaped(path.as_os_str().as_bytes())?),
        UnixSocket::Abstract(name) => (false, unescaped(name.as_bytes())?),
        _ => bail!("it is an address to listen at: unix:path=PATH is one to connect to"),
    };
    if name.is_empty() || name.len() > MAX_ADDRESS {
        bail!("the name of a socket has 1 to {MAX_ADDRESS} bytes, and this has {}", name.len());
    }
    if !is_path {
        return Ok(Socket::Abstract(name));
    }
    if name.contains(&0) {
        bail!("a path has no zero byte");
    }
    Ok(Socket::File(OsString::from_vec(name).into()))
}

/// A value of an address without its escapes (`%20`), which zbus leaves as they are.
fn unescaped(value: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = rest.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.context("'%' is not followed by two hexadecimal digits")?);
        rest = &rest[2..];
    }
    Ok(bytes)
}

/// Whether there can be a Unix socket at a D-Bus address.
///
/// # Errors
///
/// It is no address, or not of such a socket.
pub fn check_address(address: &str) -> Result<(), Outside> {
    socket(address).map(drop).map_err(|error| Outside::quoting(&format_args!("{error:#}")))
}

/// The path of the socket at a D-Bus address, if it has one.
#[must_use]
pub fn socket_path(address: &str) -> Option<PathBuf> {
    match socket(address).ok()? {
        Socket::File(path) => Some(path),
        Socket::Abstract(_) => None,
    }
}

/// Connects to a D-Bus address.
async fn at(address: &str) -> Result<UnixStream> {
    let stream = match socket(address)? {
        Socket::File(path) => named::connect(&path).await?,
        Socket::Abstract(name) => {
            StdUnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?
        }
    };
    stream.set_nonblocking(true)?;
    Ok(UnixStream::from_std(stream)?)
}

/// The ends of jobs.
pub struct Jobs(Receiver<(String, Outside)>);

impl Jobs {
    /// Listens for them from now on, also while nobody waits for one. Needs the event loop that
    /// the connection has.
    pub async fn of(bus: &Bus) -> Result<Self> {
        let mut messages = bus.messages();
        let (tell, ends) = channel(MAX_JOBS);
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                if let Some(end) = job_end(&message)
                    && tell.send(end).await.is_err()
                {
                    return;
                }
            }
        });
        bus.subscribe().await?;
        Ok(Self(ends))
    }

    /// Waits for the end of a job. Gives its object and its result: `done`, `failed`,
    /// `canceled`, …
    pub async fn next(&mut self) -> Result<(String, Outside)> {
        self.0.recv().await.context("systemd closed the connection")
    }
}

fn job_end(message: &Message) -> Option<(String, Outside)> {
    if message.header().member()?.as_str() != "JobRemoved" {
        return None;
    }
    let body = message.body();
    let (_, job, _, result): (u32, OwnedObjectPath, String, String) = body.deserialize().ok()?;
    Some((job.to_string(), Outside::new(&result)))
}

/// The object of a unit of this name (`unit_dbus_path_from_name` and `bus_label_escape`
/// in src/basic of systemd).
#[must_use]
pub fn object(name: &str) -> String {
    let mut object = format!("{ROOT}/unit/");
    for (index, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit()) {
            object.push(char::from(byte));
        } else {
            let _ = write!(object, "_{byte:02x}");
        }
    }
    object
}

/// A change of properties that a message tells: the object, the interface and the
/// properties with their values.
#[must_use]
pub fn changed(message: &Message) -> Option<(String, String, Properties)> {
    let header = message.header();
    if header.member()?.as_str() != "PropertiesChanged" {
        return None;
    }
    let object = header.path()?.as_str();
    if object.len() > LONGEST_OBJECT {
        return None;
    }
    let object = object.to_owned();
    let body = message.body();
    let (interface, properties, _): (String, Properties, Vec<String>) = body.deserialize().ok()?;
    Some((object, interface, properties))
}

/// Whether a message says that systemd has come (back) to the bus.
#[must_use]
pub fn has_come(message: &Message) -> bool {
    let body = message.body();
    let is_change = message.header().member().is_some_and(|m| m.as_str() == "NameOwnerChanged");
    is_change
        && body
            .deserialize::<(String, String, String)>()
            .is_ok_and(|(name, _, owner)| name == SYSTEMD && !owner.is_empty())
}

#[cfg(test)]
mod tests;
