//! Whether a reload through systemd reaches an interval of the main process.

use super::steps::{Active, Steps};
use crate::model::race::{Reach, Role};

/// Whether it does, for the interval from `from` to `to` (`CLOCK_BOOTTIME` ns).
///
/// `systemctl reload` of a unit that is still `activating` is folded into its start, and sends
/// nothing; nor does it to one that is stopping. A `Type=simple` unit is active right after the
/// fork, before the exec. Of a unit systemd has told when it took it for active. What ends a
/// service, and what others send, is not held back. A unit without `ExecReload=` has no reload
/// (`systemctl reload` refuses), unless it is `Type=notify-reload`.
#[must_use]
pub fn reach(steps: &Steps, role: Role, service_type: &str, from: u64, to: u64) -> Reach {
    if role != Role::Reload {
        return Reach::Reached;
    }
    if steps.can_reload() == Some(false) {
        return Reach::NotByReload;
    }
    let is_stopping = steps.stopping().is_some_and(|stopping| from >= stopping);
    let is_up = match steps.active() {
        Some(Active::Since(active)) => to > active,
        Some(Active::Never) => false,
        None => service_type == "simple" || steps.ready().is_some_and(|ready| to > ready),
    };
    if is_up && !is_stopping { Reach::Reached } else { Reach::NotByReload }
}
