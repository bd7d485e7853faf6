//! Whether the kernel is locked down (`kernel_lockdown(7)`).

use std::fs;

/// The modes, the one in force in brackets.
const MODES: &str = "/sys/kernel/security/lockdown";

/// The mode that stops sigready; `integrity` does not.
pub const CONFIDENTIALITY: &str = "confidentiality";
/// What it forbids.
pub const FORBIDS: &str = "the kernel is locked down (lockdown=confidentiality), which forbids eBPF programs to read \
     kernel memory";
/// How to do without it.
pub const MEND: &str = "boot without lockdown=confidentiality (lockdown=integrity is fine)";

/// The mode in force, if any.
#[must_use]
pub fn mode() -> Option<String> {
    let modes = fs::read_to_string(MODES).ok()?;
    let mode = modes.split_once('[')?.1.split_once(']')?.0;
    (mode != "none").then(|| mode.to_owned())
}

/// What it keeps from sigready, if this kernel is so locked down.
#[must_use]
pub fn complaint() -> Option<String> {
    (mode()? == CONFIDENTIALITY).then(|| format!("{FORBIDS}: {MEND}"))
}
