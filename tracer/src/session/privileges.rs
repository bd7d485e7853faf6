//! What sigready may do is cut down to what it still needs, once it is attached.

use std::collections::HashSet;

use caps::{CapSet, Capability, CapsHashSet};

/// What is needed after the programs are attached, and by which part.
const NEEDED: [Capability; 8] = [
    // The maps: losses, and cgroups that join the scope.
    Capability::CAP_BPF,
    // The programs of other users' processes, in /proc.
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_DAC_READ_SEARCH,
    // Time for the report, once somebody waits for it.
    Capability::CAP_SYS_NICE,
    // Signals to the command, which may be another user's.
    Capability::CAP_KILL,
    // The report, which may go to another user's directory or replace their file.
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_CHOWN,
];

/// Gives up every capability but [`NEEDED`], for this thread and those it will start. A
/// kernel that refuses leaves things as they are, which is no reason to stop.
pub fn drop_unneeded() {
    if let Err(error) = try_drop() {
        log::warn!("could not give up privileges that are no longer needed: {error}");
    }
}

fn try_drop() -> Result<(), caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let mut needed: CapsHashSet = HashSet::from(NEEDED);
    if !permitted.contains(&Capability::CAP_BPF) {
        // What stands in for it where it came with CAP_SYS_ADMIN alone.
        needed.insert(Capability::CAP_SYS_ADMIN);
    }
    let kept: CapsHashSet = permitted.intersection(&needed).copied().collect();
    // So that nothing this process might execute gets them back. Needs CAP_SETPCAP.
    if permitted.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::read(None, CapSet::Bounding)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}
