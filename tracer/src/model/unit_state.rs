//! What the words of systemd's states say of a start: its `ActiveState` and `SubState`.

/// Whether the start of a service that is in this state is over, or has not begun. What Restart= starts
/// again is 'activating' while it waits for that: nothing of the start before is left then
/// (`state_translation_table` in systemd's src/core/service.c has `SERVICE_AUTO_RESTART`, and from 254
/// on `SERVICE_AUTO_RESTART_QUEUED`, as `UNIT_ACTIVATING`).
#[must_use]
pub fn is_over(active_state: &str, sub_state: Option<&str>) -> bool {
    let goes_on = is_up(active_state) || matches!(active_state, "activating" | "deactivating");
    !goes_on || is_again(sub_state)
}

/// Whether systemd is to start the service again by Restart=: it waits for that, has the job queued,
/// or is about to wait (`dead-before-auto-restart` and `failed-before-auto-restart`, from 254 on).
#[must_use]
pub fn is_again(sub_state: Option<&str>) -> bool {
    sub_state.is_some_and(|sub| sub.contains("auto-restart"))
}

/// Whether a service in this state is up.
#[must_use]
pub fn is_up(active_state: &str) -> bool {
    matches!(active_state, "active" | "reloading" | "refreshing")
}

/// Whether a unit in this state is up, or on its way to that.
#[must_use]
pub fn is_up_or_starting(active_state: &str) -> bool {
    is_up(active_state) || active_state == "activating"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state of a service that some systemd from 252 to 262 has.
    const STATES: [(&str, &str, bool, bool, bool); 32] = [
        // State, sub-state, over, to be started again, up.
        ("inactive", "dead", true, false, false),
        ("activating", "condition", false, false, false),
        ("activating", "start-pre", false, false, false),
        ("activating", "start", false, false, false),
        ("activating", "start-post", false, false, false),
        ("active", "running", false, false, true),
        ("active", "exited", false, false, true),
        ("refreshing", "refresh-extensions", false, false, true),
        ("refreshing", "refresh-credentials", false, false, true),
        ("reloading", "reload", false, false, true),
        ("reloading", "reload-signal", false, false, true),
        ("reloading", "reload-notify", false, false, true),
        ("reloading", "reload-post", false, false, true),
        ("deactivating", "stop", false, false, false),
        ("deactivating", "stop-watchdog", false, false, false),
        ("deactivating", "stop-sigterm", false, false, false),
        ("deactivating", "stop-sigkill", false, false, false),
        ("deactivating", "stop-post", false, false, false),
        ("deactivating", "final-watchdog", false, false, false),
        ("deactivating", "final-sigterm", false, false, false),
        ("deactivating", "final-sigkill", false, false, false),
        ("failed", "failed", true, false, false),
        ("inactive", "dead-before-auto-restart", true, true, false),
        ("failed", "failed-before-auto-restart", true, true, false),
        ("inactive", "dead-resources-pinned", true, false, false),
        ("activating", "auto-restart", true, true, false),
        ("activating", "auto-restart-queued", true, true, false),
        ("maintenance", "cleaning", true, false, false),
        // Those of which only the time is remembered have no sub-state.
        ("inactive", "", true, false, false),
        ("activating", "", false, false, false),
        ("active", "", false, false, true),
        ("deactivating", "", false, false, false),
    ];

    #[test]
    fn every_state_says_whether_a_start_is_over() {
        for (state, sub, over, again, up) in STATES {
            let sub = Some(sub).filter(|sub| !sub.is_empty());
            let told = (is_over(state, sub), is_again(sub), is_up(state));
            assert_eq!(told, (over, again, up), "{state} {sub:?}");
        }
    }
}
