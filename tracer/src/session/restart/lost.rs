//! What is done where the connection to systemd breaks while units are restarted, as it does if
//! the message bus is among them.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::progress::Progress;
use crate::systemd::{
    bus::{Bus, UNIT, object},
    manager::Manager,
    properties,
};

/// How long systemd may not be there again, or not answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How soon it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// A unit whose restart is not known to be over.
pub(super) struct Left {
    /// Its name.
    pub unit: String,
    /// Whether a reload is to follow.
    pub reloads: bool,
    /// `CLOCK_MONOTONIC` µs of when systemd was asked, if it did not answer that.
    pub unanswered: Option<u64>,
}

/// Waits on another connection until the restarts of these units are over, and reloads those that
/// are to be reloaded. Tells `progress` what was not, and why. How the restarts and the reloads
/// ended is not known.
pub(super) async fn go_on(
    manager: &Manager,
    left: Vec<Left>,
    lost: &anyhow::Error,
    progress: &Progress,
) -> Result<()> {
    for Left { unit, reloads, unanswered } in left {
        log::warn!("the connection to systemd broke while it restarted {unit}: {lost:#}");
        let mut bus = idle(manager, &unit).await;
        if let (Ok(reached), Some(asked)) = (&bus, unanswered) {
            let known = reached.properties(&object(&unit), UNIT).await?;
            // It may not even have been asked.
            if properties::began_us(&known) < asked {
                reached.start_job("RestartUnit", &unit).await?;
                bus = idle(manager, &unit).await;
            }
        }
        if !reloads {
            progress.is_over(&unit);
            continue;
        }
        let reloaded = match bus {
            Ok(bus) => bus.start_job("ReloadUnit", &unit).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = reloaded {
            progress.not_tested(format!("systemd would not reload {unit}: {error:#}"));
        }
        progress.is_over(&unit);
    }
    Ok(())
}

/// A connection to systemd, once it has no job for the unit any more.
async fn idle(manager: &Manager, unit: &str) -> Result<Bus> {
    let mut silent_since = Instant::now();
    loop {
        let asked = async {
            let bus = Bus::connect(manager).await?;
            while bus.has_job(unit).await? {
                silent_since = Instant::now();
                sleep(ASK_AGAIN).await;
            }
            anyhow::Ok(bus)
        };
        match asked.await {
            Ok(bus) => return Ok(bus),
            // It may be about to take its name on the bus.
            Err(error) if silent_since.elapsed() < PATIENCE => log::debug!("{error:#}"),
            Err(error) => return Err(error),
        }
        sleep(ASK_AGAIN).await;
    }
}
