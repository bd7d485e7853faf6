//! `sigready doctor`: what this host allows, found by trying it.

use std::{io::stdout, path::Path};

use anyhow::Context as _;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use nix::unistd::geteuid;
use procfs::process::Process;
use serde::Serialize;
use sigready::{
    host::{cgroups::Hierarchies, namespaces},
    model::{document::Fallback, errno, signal::Signal},
    probe::{
        attach::{Attached, Reach, Request, attach},
        backend::{Backend, Wanted},
        btf::{self, Btf},
        layout, lockdown, tracefs,
    },
};

use super::{Verdict, fault::Fault, messages::Messages, output};
use crate::cli::{Doctor, DoctorFormat};

/// Bits of the capability sets (capabilities(7)).
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;
/// The check that proves the others.
const PROGRAMS: &str = "eBPF programs";

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    kernel: String,
    /// Whether `run` and `trace` work here.
    works: bool,
    /// The backend they would use.
    backend: Option<&'static str>,
    /// What a process can do that this backend does not show.
    blind_to: &'static [&'static str],
    checks: Vec<Check>,
}

/// One thing that was tried.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    found: String,
    /// How to get what is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    /// Works, with something less.
    Limited,
    Missing,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), mend: None }
    }

    fn limited(name: &'static str, found: impl Into<String>, mend: &str) -> Self {
        Self { name, status: Status::Limited, found: found.into(), mend: Some(mend.to_owned()) }
    }

    fn missing(name: &'static str, found: impl Into<String>, mend: &str) -> Self {
        Self { name, status: Status::Missing, found: found.into(), mend: Some(mend.to_owned()) }
    }
}

/// Runs the command.
pub fn run(options: &Doctor, messages: &Messages) -> Result<Verdict, Fault> {
    let findings = examine();
    let text = match options.format {
        DoctorFormat::Json => {
            let json = serde_json::to_string_pretty(&findings).context("cannot write JSON")?;
            format!("{json}\n")
        }
        DoctorFormat::Table => table(&findings, messages),
    };
    output::print(&text, stdout().lock())?;
    if findings.works {
        return Ok(Verdict::Clean);
    }
    Err(Fault::Failed(anyhow::anyhow!("tracing does not work on this host as things are")))
}

fn examine() -> Findings {
    let (attach, backend) = attached();
    let checks = vec![
        capabilities(),
        pids(),
        type_information(),
        lockdown(),
        tracefs(),
        cgroups(),
        systemd(),
        attach,
    ];
    Findings {
        kernel: nix::sys::utsname::uname()
            .map(|uname| uname.release().to_string_lossy().into_owned())
            .unwrap_or_default(),
        works: backend.is_some(),
        backend: backend.map(Backend::name),
        blind_to: backend.map_or(&[], Backend::blind_to),
        checks,
    }
}

fn capabilities() -> Check {
    const NAME: &str = "capabilities";
    let effective =
        Process::myself().and_then(|process| process.status()).map_or(0, |status| status.capeff);
    let has = |capability| effective & capability != 0;
    let who = if geteuid().is_root() { "root" } else { "not root" };
    if has(CAP_SYS_ADMIN) || (has(CAP_BPF) && has(CAP_PERFMON)) {
        return Check::ok(NAME, format!("{who}, may use eBPF"));
    }
    let found = format!("{who}, without CAP_BPF and CAP_PERFMON");
    Check::missing(
        NAME,
        found,
        "run sigready as root (in a container: give it CAP_BPF, CAP_PERFMON and the host's \
         pid namespace)",
    )
}

fn pids() -> Check {
    const NAME: &str = "process ids";
    if namespaces::has_host_pids() {
        return Check::ok(NAME, "the host's");
    }
    Check::missing(NAME, namespaces::OTHER_PIDS, namespaces::OTHER_PIDS_MEND)
}

fn type_information() -> Check {
    const NAME: &str = "type information";
    let bytes = match btf::read() {
        Ok(bytes) => bytes,
        Err(error) => {
            return Check::missing(
                NAME,
                errno::chain(&error),
                "as root, on a distribution's kernel: those are built with it",
            );
        }
    };
    let missing = match Btf::parse(&bytes, &[]) {
        Ok(btf) => layout::find(&btf).1,
        Err(error) => {
            return Check::missing(NAME, error.to_string(), "report your kernel's version");
        }
    };
    let Some(first) = missing.first() else {
        return Check::ok(NAME, "BTF with every member needed");
    };
    let found = format!("no {first}: hides {}", first.cost());
    let mend = "report your kernel's version";
    if missing.iter().any(layout::Missing::is_essential) {
        Check::missing(NAME, found, mend)
    } else {
        Check::limited(NAME, found, mend)
    }
}

fn lockdown() -> Check {
    const NAME: &str = "lockdown";
    match lockdown::mode() {
        None => Check::ok(NAME, "none"),
        Some(mode) if mode == lockdown::CONFIDENTIALITY => {
            Check::missing(NAME, lockdown::FORBIDS, lockdown::MEND)
        }
        Some(mode) => Check::ok(NAME, format!("{mode}, which forbids nothing that is needed")),
    }
}

fn tracefs() -> Check {
    const NAME: &str = "tracefs";
    if tracefs::is_mounted() {
        return Check::ok(NAME, "mounted");
    }
    let syscalls = || Ok(Path::new(tracefs::MOUNT_POINT).join("events/syscalls").is_dir());
    match tracefs::with(syscalls) {
        Ok(true) => Check::ok(NAME, "not mounted; sigready mounts it for itself alone"),
        // A kernel locked down that far keeps tracefs empty, too.
        Ok(false) if lockdown::complaint().is_some() => {
            Check::missing(NAME, "closed by the lockdown", lockdown::MEND)
        }
        Ok(false) => Check::missing(
            NAME,
            "has no syscall tracepoints",
            "use a kernel built with CONFIG_FTRACE_SYSCALLS=y",
        ),
        Err(error) => {
            let mount = format!("as root: mount -t tracefs tracefs {}", tracefs::MOUNT_POINT);
            Check::missing(NAME, errno::chain(&error), &mount)
        }
    }
}

fn cgroups() -> Check {
    const NAME: &str = "cgroups";
    match Hierarchies::find() {
        Ok(Hierarchies { unified: Some(at), systemd: None }) => {
            Check::ok(NAME, format!("unified, at {}", at.display()))
        }
        Ok(Hierarchies { unified: Some(at), systemd: Some(_) }) => {
            Check::ok(NAME, format!("hybrid, unified at {}", at.display()))
        }
        Ok(Hierarchies { unified: None, systemd: Some((at, _)) }) => {
            Check::ok(NAME, format!("v1, systemd's at {}", at.display()))
        }
        Ok(Hierarchies { unified: None, systemd: None }) => Check::limited(
            NAME,
            "none mounted: units can't be told apart",
            "trace processes by --pid, or mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        ),
        Err(error) => Check::missing(NAME, errno::chain(&error), "mount -t proc proc /proc"),
    }
}

fn systemd() -> Check {
    const NAME: &str = "systemd";
    // As sd_booted(3) finds out.
    if Path::new("/run/systemd/system").is_dir() {
        return Check::ok(NAME, "manages this host");
    }
    Check::limited(
        NAME,
        "does not manage this host",
        "use 'sigready run', or trace by --pid, --cgroup, or units inside containers",
    )
}

/// The proof: everything is loaded and attached, and let go again.
fn attached() -> (Check, Option<Backend>) {
    let request = Request {
        signals: Signal::HUP.set(),
        dispositions: Signal::HUP.set(),
        reach: Reach::ChildrenOf(std::process::id()),
        buffer: 4 << 20,
        backend: Wanted::Auto,
        places: false,
    };
    match attach(&request) {
        Ok(attached) => (attachment(&attached), Some(attached.backend)),
        Err(error) => {
            let mend = "mend what is missing above; -vv shows the kernel's own words";
            (Check::missing(PROGRAMS, errno::chain(&error), mend), None)
        }
    }
}

/// Which backend it came to be, and why not the better one.
fn attachment(attached: &Attached) -> Check {
    let backend = attached.backend.name();
    let Some(first) = attached.fallbacks.first() else {
        return Check::ok(PROGRAMS, format!("attached, backend {backend}"));
    };
    let found = if attached.backend == Backend::Tracepoint {
        format!("attached, backend {backend}: fentry can't be used, {}", first.reason)
    } else {
        let instead = Fallback::list(&attached.fallbacks);
        format!("attached, backend {backend}, but {instead}: {}", first.reason)
    };
    Check::limited(
        PROGRAMS,
        found,
        "nothing to be done as long as the programs to be traced are 64-bit ones that don't \
         send through io_uring; else use a distribution's kernel from 5.10 on, unlocked",
    )
}

fn table(findings: &Findings, messages: &Messages) -> String {
    let style = messages.style(&stdout());
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(style.width);
    for check in &findings.checks {
        let (word, color) = match check.status {
            Status::Ok => ("ok", Color::Green),
            Status::Limited => ("limited", Color::Yellow),
            Status::Missing => ("missing", Color::Red),
        };
        let word = if style.color { Cell::new(word).fg(color) } else { Cell::new(word) };
        let found = match &check.mend {
            Some(mend) => format!("{}\n-> {mend}", check.found),
            None => check.found.clone(),
        };
        table.add_row([word, Cell::new(check.name), Cell::new(found)]);
    }
    if style.color {
        table.enforce_styling();
    }
    let backend = findings.backend.map_or_else(
        || "tracing does not work here".to_owned(),
        |backend| format!("tracing works here, with the {backend} backend"),
    );
    let blind_to = if findings.blind_to.is_empty() {
        String::new()
    } else {
        format!("not seen with it: {}\n", findings.blind_to.join("; "))
    };
    format!("{table}\n\nkernel {}: {backend}\n{blind_to}", findings.kernel)
}
