//! A connection to one systemd (org.freedesktop.systemd1(5)).

use std::{fmt::Write as _, io::ErrorKind, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures_lite::StreamExt as _;
use tokio::{net::UnixStream, time::timeout};
use zbus::{
    Connection, Message, MessageStream,
    connection::Builder,
    zvariant::{DynamicType, OwnedObjectPath, OwnedValue},
};

use super::{manager::Manager, private::Private, properties::Properties, root::Root};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const ROOT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// The interface of every unit.
pub const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// The interface of a service.
pub const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";
/// How long systemd may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Signals that may wait: while an answer is awaited they are not read.
const MAX_QUEUED: usize = 16_384;

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
                    let builder = Builder::address(address.as_str())
                        .with_context(|| format!("'{address}' is not a D-Bus address"))?;
                    return Self::build(builder, true)
                        .await
                        .with_context(|| format!("cannot reach systemd through {address}"));
                }
            };
            let root = Root::open(root)
                .with_context(|| format!("cannot reach systemd below {}", root.display()))?;
            let [bus, private] = Manager::sockets(*user);
            match Self::through(&root, &bus, true).await {
                Ok(bus) => Ok(bus),
                Err(failure) => Self::through(&root, &private, false).await.map_err(|_| failure),
            }
        };
        match timeout(PATIENCE, connecting).await {
            Ok(connected) => connected,
            Err(_) => bail!("systemd's D-Bus did not answer within {} s", PATIENCE.as_secs()),
        }
    }

    async fn through(root: &Root, socket: &Path, routed: bool) -> Result<Self> {
        let unreachable =
            || format!("cannot reach systemd through {}", root.shown(socket).display());
        let reached = root.reach(socket).with_context(unreachable)?;
        let stream = UnixStream::connect(reached.path()).await.with_context(unreachable)?;
        let builder = if routed {
            Builder::unix_stream(stream)
        } else {
            Builder::socket(Private(stream)).p2p()
        };
        Self::build(builder, routed).await.with_context(unreachable)
    }

    async fn build(builder: Builder<'_>, routed: bool) -> Result<Self> {
        let builder = builder.method_timeout(PATIENCE).max_queued(MAX_QUEUED);
        Ok(Self { connection: builder.build().await?, routed })
    }

    /// Asks to be told of changes, and gives the stream of what is told.
    pub async fn subscribe(&self) -> Result<MessageStream> {
        let stream = MessageStream::from(&self.connection);
        if self.routed {
            let signals = format!("type='signal',sender='{SYSTEMD}',path_namespace='{ROOT}'");
            let comes =
                format!("type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{SYSTEMD}'");
            for rule in [signals, comes] {
                self.call(BUS, "/org/freedesktop/DBus", BUS, "AddMatch", &(rule,)).await?;
            }
        }
        self.renew().await?;
        Ok(stream)
    }

    /// Subscribes, again after systemd has executed itself anew.
    pub async fn renew(&self) -> Result<()> {
        match self.manager("Subscribe", &()).await {
            Err(zbus::Error::MethodError(name, ..)) if name.ends_with(".AlreadySubscribed") => {
                Ok(())
            }
            answer => answer.map(|_| ()).context("systemd would not tell of changes"),
        }
    }

    /// Has systemd load a unit if need be. Gives its object, which an alias shares with the
    /// unit it names.
    pub async fn load(&self, name: &str) -> Result<OwnedObjectPath> {
        let answer = self.manager("LoadUnit", &(name,)).await;
        let answer = answer.with_context(|| format!("systemd can't load '{name}'"))?;
        Ok(answer.body().deserialize()?)
    }

    /// Has systemd keep a unit loaded as long as this connection lasts, so that it remembers
    /// how a start of it ended. Not over its private socket (`method_ref_unit`).
    pub async fn keep(&self, name: &str) -> Result<()> {
        let answer = self.manager("RefUnit", &(name,)).await;
        answer.map(drop).with_context(|| format!("systemd would not keep '{name}' loaded"))
    }

    /// All properties of an object's interface.
    pub async fn properties(&self, object: &str, interface: &str) -> Result<Properties> {
        let answer = self.call(SYSTEMD, object, PROPERTIES, "GetAll", &(interface,)).await;
        let answer = answer.with_context(|| format!("systemd does not tell of {object}"))?;
        Ok(answer.body().deserialize()?)
    }

    /// systemd's version.
    pub async fn version(&self) -> Result<String> {
        let answer = self.call(SYSTEMD, ROOT, PROPERTIES, "Get", &(MANAGER, "Version")).await?;
        let version: OwnedValue = answer.body().deserialize()?;
        Ok(version.try_into()?)
    }

    /// Has systemd queue a job for a unit (`RestartUnit`, `ReloadUnit`), in place of what
    /// is in its way. Gives the job's object.
    pub async fn start_job(&self, method: &str, unit: &str) -> Result<String> {
        let answer = self.manager(method, &(unit, "replace")).await?;
        Ok(answer.body().deserialize::<OwnedObjectPath>()?.to_string())
    }

    /// Listens for the ends of jobs from now on.
    pub async fn jobs(&self) -> Result<Jobs> {
        Ok(Jobs { stream: self.subscribe().await? })
    }

    /// Calls a method of the manager itself.
    pub async fn manager(
        &self,
        method: &str,
        arguments: &(impl serde::Serialize + DynamicType),
    ) -> zbus::Result<Message> {
        self.call(SYSTEMD, ROOT, MANAGER, method, arguments).await
    }

    async fn call(
        &self,
        destination: &str,
        object: &str,
        interface: &str,
        method: &str,
        arguments: &(impl serde::Serialize + DynamicType),
    ) -> zbus::Result<Message> {
        let destination = self.routed.then_some(destination);
        let answer =
            self.connection.call_method(destination, object, Some(interface), method, arguments);
        answer.await.map_err(|error| match error {
            zbus::Error::InputOutput(error) if error.kind() == ErrorKind::TimedOut => {
                zbus::Error::Failure(format!("no answer within {} s", PATIENCE.as_secs()))
            }
            error => error,
        })
    }
}

/// The ends of jobs.
pub struct Jobs {
    stream: MessageStream,
}

impl Jobs {
    /// Waits for the end of a job. Gives its object and its result: `done`, `failed`,
    /// `canceled`, …
    pub async fn next(&mut self) -> Result<(String, String)> {
        loop {
            let message = self.stream.next().await.context("systemd closed the connection")??;
            let header = message.header();
            if header.member().is_some_and(|member| member.as_str() == "JobRemoved") {
                let body = message.body();
                let (_, job, _, result): (u32, OwnedObjectPath, String, String) =
                    body.deserialize()?;
                return Ok((job.to_string(), result));
            }
        }
    }
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
    let object = header.path()?.to_string();
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
mod tests {
    use super::*;

    #[test]
    fn a_units_object_has_its_name_escaped() {
        assert_eq!(object("foo.service"), "/org/freedesktop/systemd1/unit/foo_2eservice");
        assert_eq!(
            object(r"2foo\x2dbar@a-b.service"),
            "/org/freedesktop/systemd1/unit/_32foo_5cx2dbar_40a_2db_2eservice"
        );
    }
}
