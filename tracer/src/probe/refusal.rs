//! What the kernel's refusals mean.

use std::{fs, io};

use aya::{EbpfError, programs::ProgramError, sys::SyscallError};

use super::lockdown;
use crate::model::errno;

/// Who may use perf events (Documentation/admin-guide/sysctl/kernel.rst; Debian adds 3).
const PERF_PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

/// Why the maps could not be made.
#[must_use]
pub fn of_object(error: EbpfError) -> anyhow::Error {
    let error = anyhow::Error::new(error);
    let is_limit = |cause: &(dyn std::error::Error + 'static)| {
        let number = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        number == Some(nix::libc::EMFILE)
    };
    if error.chain().any(is_limit) {
        return error.context("cannot create the eBPF maps");
    }
    error.context(
        "the kernel does not let sigready create its eBPF maps: run it as root, or with \
         CAP_BPF and CAP_PERFMON ('sigready doctor' tells what is missing)",
    )
}

/// Why a program was refused. The verifier's words are for `--verbose`.
#[must_use]
pub fn of_program(hook: &str, error: ProgramError) -> anyhow::Error {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        log::debug!("verifier log of {hook}:\n{verifier_log}");
        let why = lockdown::complaint()
            .or_else(|| missing_helper(&verifier_log.to_string()))
            .unwrap_or_else(|| {
                "the kernel refused the eBPF program ('sigready doctor' tells what this host \
                 allows; -vv shows the verifier's log)"
                    .to_owned()
            });
        return anyhow::Error::new(io_error).context(format!("'{hook}': {why}"));
    }
    let why = perf_is_restricted(&error).unwrap_or_default();
    anyhow::Error::new(error).context(format!("cannot attach to '{hook}'{why}"))
}

/// Distributions may keep tracepoints from everybody but administrators.
fn perf_is_restricted(error: &ProgramError) -> Option<String> {
    let ProgramError::SyscallError(SyscallError { call, io_error }) = error else { return None };
    if !call.starts_with("perf_event_open") || io_error.kind() != io::ErrorKind::PermissionDenied {
        return None;
    }
    let level = fs::read_to_string(PERF_PARANOID).ok()?;
    Some(format!(
        ": kernel.perf_event_paranoid is {}. Run sigready as root, or run \
         'sysctl kernel.perf_event_paranoid=2'",
        level.trim()
    ))
}

/// The verifier's complaint about a helper that this kernel doesn't have, as a sentence.
fn missing_helper(log: &str) -> Option<String> {
    let complaint = log
        .lines()
        .find(|line| line.contains("unknown func ") || line.contains("cannot use helper"))?;
    Some(format!(
        "this kernel lacks a function that sigready's eBPF programs call ({}): sigready needs \
         Linux 5.10 or newer",
        complaint.trim()
    ))
}

/// Whether the kernel would refuse every program of this type: it is not for this process to load,
/// or a security module forbids it, as EPERM says. The verifier has other words
/// (`bpf_prog_load` in kernel/bpf/syscall.c).
#[must_use]
pub fn is_of_all(error: &ProgramError) -> bool {
    matches!(error, ProgramError::LoadError { io_error, .. }
        if io_error.raw_os_error() == Some(nix::libc::EPERM))
}

/// Why the better backend can't be used for a hook, in a few words.
#[must_use]
pub fn in_short(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, .. } => said(io_error),
        ProgramError::SyscallError(error) => said(&error.io_error),
        ProgramError::Btf(_) => "the kernel's BTF doesn't list the function".to_owned(),
        other => other.to_string(),
    }
}

fn said(error: &io::Error) -> String {
    let words = error.raw_os_error().map_or_else(|| error.to_string(), errno::words);
    format!("the kernel says '{words}'")
}
