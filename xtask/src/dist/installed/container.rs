//! The Debian package in containers: one with real systemd and process ids of its own, and one
//! with the host's, as tracing needs them.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::{super::packages, Pair};
use crate::{apt, dist::Dist, process};

/// How long a container may take, seconds.
const PATIENCE: &str = "300";

/// Runs the script once the system is up, and ends the container with its status.
const UNIT: &str = "\
[Unit]
After=basic.target dbus.service
Wants=dbus.service
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=exec
ExecStart=/bin/sh -eux /check/booted
StandardOutput=file:/check/output
StandardError=inherit
";

/// A service that an early reload kills.
const HURT: &str = "\
[Service]
ExecStart=/bin/sleep 1h
ExecReload=/bin/kill -HUP $MAINPID
";

/// What both scripts begin with.
const COMMON: &str = r#"
. /check/versions
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
files() {
    find / -xdev \( -path /var/log -o -path /var/lib/dpkg -o -path /var/lib/systemd \
        -o -path '*/systemd-private-*' -o -path /check \) -prune \
        -o -printf '%p %y %m %U:%G %l\n' | LC_ALL=C sort
}
status() { code=0; "$@" || code=$?; echo "status $code of $*"; }
# 'set -e' passes over what is negated.
absent() { if "$@"; then echo "there is something: $*"; exit 1; fi; }
traces() { find /var/lib/dpkg /run /tmp -name '*sigready*' | grep .; }
installed() { dpkg-query -W -f '${db:Status-Status} ${Version}' sigready; }

absent test -e /usr/bin/sigready
files > /check/files-before
"#;

/// What both end with: what is then on the disks has to be what was before, besides dpkg's own
/// notes and what systemd keeps as it runs.
const REMOVED: &str = r"
dpkg --purge sigready
absent test -e /usr/bin/sigready
absent installed
files > /check/files-after
diff /check/files-before /check/files-after
absent traces
echo removed > /check/ended
";

/// Installs, upgrades, and uses what needs no eBPF.
const BOOTED: &str = r#"
dpkg --install /check/before.deb
test "$(installed)" = "installed $BEFORE"
dpkg --install /check/now.deb
test "$(installed)" = "installed $NOW"
test "$(sigready --version)" = "sigready ${NOW%-1}"
dpkg --verify sigready > /check/altered
test ! -s /check/altered

gunzip --test /usr/share/man/man1/sigready.1.gz /usr/share/man/man1/sigready-run.1.gz
bash -n /usr/share/bash-completion/completions/sigready
test -s /usr/share/zsh/vendor-completions/_sigready
test -s /usr/share/fish/vendor_completions.d/sigready.fish
test -s /usr/share/doc/sigready/copyright

status sigready doctor --format json > /check/found
cat /check/found
test "$code" = 1
grep -q 'process ids of its own' /check/found
status sigready lint hurt.service
test "$code" = 3
systemctl start hurt.service
status sigready lint --running hurt.service
test "$code" = 3
systemctl stop hurt.service
"#;

/// Installs and traces.
const TRACED: &str = r#"
dpkg --install /check/now.deb
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
sigready doctor
sigready run --type simple --output /check/report -- /bin/sh -c 'trap : HUP; sleep 0.2; exit 0'
cat /check/report
grep -q 'HUP handler installed' /check/report
status sigready run --type simple --output /check/report --send HUP@50ms -- /bin/sleep 5
cat /check/report
test "$code" = 3
grep -q 'killed by HUP' /check/report
"#;

/// Runs a script over a root, $1, that stays as it is; $2 is a directory to mount on, $3 is what
/// is shared.
const OVER_A_ROOT: &str = r#"
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
for shared in proc sys dev; do mount --rbind "/$shared" "$2/root/$shared"; done
mkdir "$2/root/check"
mount --bind "$3" "$2/root/check"
exec timeout --kill-after=10 300 chroot "$2/root" /bin/sh -eux /check/traced > "$3/output" 2>&1
"#;

/// Installs what is needed for it.
pub fn prepare() -> Result<()> {
    apt::install(&["systemd-container"], "installing the packages in containers")
}

/// Installs, upgrades, uses and removes the package in systems over a root.
pub fn check(dist: &Dist, root: &Path, debs: &Pair) -> Result<()> {
    let name = root.file_name().context("the container's root has no name")?.to_string_lossy();
    let directory = dist.build.join("installed");
    for (what, container) in [
        ("a container with systemd", booted as fn(&Path, &Path) -> Command),
        ("a container with the host's process ids", traced),
    ] {
        crate::dist::renew(&directory)?;
        crate::dist::renew(&directory.join("room"))?;
        share(dist, &directory, debs)?;
        let ended = process::run(&mut container(root, &directory));
        let output = fs::read_to_string(directory.join("output")).unwrap_or_default();
        if let Err(error) = ended {
            bail!("the package fails in {what} over {name}: {error:#}\n{output}");
        }
        if !directory.join("ended").exists() {
            bail!("{what} over {name} ended before the package was removed\n{output}");
        }
        eprintln!("{name}: installed, used and removed without a trace in {what}");
    }
    Ok(())
}

/// Writes what the containers find in /check.
fn share(dist: &Dist, directory: &Path, debs: &Pair) -> Result<()> {
    let write = |file: &str, text: &str| {
        fs::write(directory.join(file), text).with_context(|| format!("cannot write {file}"))
    };
    write("booted", &[COMMON, BOOTED, REMOVED].concat())?;
    write("traced", &[COMMON, TRACED, REMOVED].concat())?;
    write("check.service", UNIT)?;
    write("hurt.service", HURT)?;
    write("versions", &format!("BEFORE={}-1\nNOW={}-1\n", packages::LOWER, dist.version))?;
    for (package, file) in [(&debs.before, "before.deb"), (&debs.now, "now.deb")] {
        fs::copy(package, directory.join(file))
            .with_context(|| format!("cannot copy {}", package.display()))?;
    }
    Ok(())
}

/// A system over the root.
fn booted(root: &Path, directory: &Path) -> Command {
    let bound = |file: &str| {
        format!("--bind-ro={}:/etc/systemd/system/{file}", directory.join(file).display())
    };
    let mut container = Command::new("timeout");
    container
        .args(["--kill-after=10", PATIENCE, "systemd-nspawn", "--quiet", "--kill-signal=SIGKILL"])
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
        .args(["--register=no", "--keep-unit", "--private-network"])
        .args(["--volatile=overlay", "--console=pipe"])
        .arg(format!("--machine=dist-{}", std::process::id()))
        .arg("--directory")
        .arg(root)
        .arg(format!("--bind={}:/check", directory.display()))
        .args([bound("check.service"), bound("hurt.service")])
        .args(["--boot", "systemd.unit=check.service"]);
    container
}

/// The root alone, with what the host has of /proc, /sys and /dev.
fn traced(root: &Path, directory: &Path) -> Command {
    let mut container = Command::new("unshare");
    container
        .args(["--mount", "sh", "-eu", "-c", OVER_A_ROOT, "sh"])
        .arg(root)
        .arg(directory.join("room"))
        .arg(directory);
    container
}
