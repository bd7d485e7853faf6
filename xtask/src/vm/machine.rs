//! A virtual machine, from boot to power-off.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{arch::Arch, guest::FINISHED};
use crate::process;

/// How long a machine may take for all its tests: on two busy processors it was half an hour.
const LIMIT: Duration = Duration::from_mins(80);
/// How long it may say nothing: longer than any test takes.
const SILENCE: Duration = Duration::from_mins(5);
/// Lines of the console that are shown when a machine came to a bad end.
const CONSOLE_LINES: usize = 60;

/// A crash ends the machine at once.
const PANIC: &str = "panic=-1 oops=panic";
/// Without what guards a kernel and costs an emulated one time.
const FASTER: &str = "mitigations=off nokaslr audit=0 apparmor=0 randomize_kstack_offset=off \
                      init_on_alloc=0";
/// The emulated disk loses an interrupt now and then; the driver then looks for itself once
/// this many seconds are over.
const PATIENT: &str = "nvme_core.io_timeout=10 nvme_core.admin_timeout=10";

/// Both kinds of cgroup hierarchies, so that containers can have either.
const HYBRID: &str = "systemd.unified_cgroup_hierarchy=0";

/// What is to be run.
pub struct Machine<'a> {
    /// Its architecture.
    pub arch: Arch,
    /// Its name, in front of every line it says.
    pub label: &'a str,
    /// Its kernel.
    pub kernel: &'a Path,
    /// Its disk. What it writes there is thrown away.
    pub disk: &'a Path,
    /// More words for the kernel's command line.
    pub settings: &'a str,
}

/// Runs it until it has finished, and has each line that it says read.
pub fn run(machine: &Machine<'_>, read_line: impl FnMut(&str)) -> Result<()> {
    let console =
        machine.arch.directory().join(format!("console-{}", machine.label.replace(' ', "-")));
    let mut command = command(machine, &console);
    process::show(&command);
    let mut qemu = Qemu(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}: is it installed?", machine.arch.qemu()))?,
    );
    let result = read(&lines(&mut qemu.0)?, read_line);
    if result.is_err() {
        let text = fs::read(&console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let shown = &lines[lines.len().saturating_sub(CONSOLE_LINES)..];
        eprintln!("the console of {}, its end:\n{}", machine.label, shown.join("\n"));
    }
    result
}

/// Emulated by instruction count: while the machine is busy its time passes with what it
/// executes, so that its clock fits its speed, however busy the host is; while it is idle,
/// with the host's. (If idle time were skipped, a read from the disk would take forever.
/// With a second processor, kernels before 6.5 wait for it forever.)
fn command(machine: &Machine<'_>, console: &Path) -> Command {
    let [line, _] = machine.arch.lines();
    let mut command = Command::new(machine.arch.qemu());
    command
        .args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=on"])
        .args(["-smp", "1", "-m", "2048", "-display", "none", "-nodefaults", "-no-reboot"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(machine.arch.machine())
        .args(["-device", "nvme,serial=root,drive=root", "-drive"])
        .arg(format!(
            "if=none,id=root,format=raw,snapshot=on,cache=unsafe,file={}",
            machine.disk.display()
        ))
        .arg("-kernel")
        .arg(machine.kernel)
        .arg("-append")
        .arg(format!(
            "root=/dev/nvme0n1 rw init=/sbin/init console={line} quiet {PANIC} {FASTER} {PATIENT} \
             {HYBRID} {}",
            machine.settings
        ));
    command
}

/// Ends with the machine it belongs to.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What it writes to its second serial line.
fn lines(qemu: &mut Child) -> Result<Receiver<String>> {
    let stdout = qemu.stdout.take().context("qemu has no stdout")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

fn read(lines: &Receiver<String>, mut read_line: impl FnMut(&str)) -> Result<()> {
    let begun = Instant::now();
    loop {
        let left = LIMIT.saturating_sub(begun.elapsed());
        match lines.recv_timeout(left.min(SILENCE)) {
            Ok(line) if line == FINISHED => return Ok(()),
            Ok(line) => read_line(&line),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the machine ended before its work did");
            }
            Err(RecvTimeoutError::Timeout) if begun.elapsed() >= LIMIT => {
                bail!("the machine took longer than {} minutes", LIMIT.as_secs() / 60);
            }
            Err(RecvTimeoutError::Timeout) => {
                bail!("the machine said nothing for {} minutes", SILENCE.as_secs() / 60);
            }
        }
    }
}
