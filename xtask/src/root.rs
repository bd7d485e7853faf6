//! `cargo xtask root`: Debian roots with real systemd and real daemons, which the tests
//! boot as containers. Built once, and again when the recipe changes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use sha2::{Digest as _, Sha256};

use crate::{apt, process, workspace};

/// Options of the command.
#[derive(Args)]
pub struct Options {}

/// A root that can be built.
pub struct Recipe {
    /// The release of Debian.
    suite: &'static str,
    packages: &'static [&'static str],
}

/// systemd 252, patroni 3.0.2, and the daemons under test.
pub const DAEMONS: Recipe = Recipe { suite: "bookworm", packages: &PACKAGES };
/// systemd 257, what a unit of the tests calls, and those of the daemons that are small.
pub const NEWER: Recipe = Recipe { suite: "trixie", packages: &SMALL };
/// The same with systemd 262.
pub const NEWEST: Recipe = Recipe { suite: "forky", packages: &SMALL };
/// All of them.
pub const ALL: [&Recipe; 3] = [&DAEMONS, &NEWER, &NEWEST];

/// debootstrap's script for every release since 2004: an older debootstrap lacks the name of
/// a newer release, which is a link to it.
const SCRIPT: &str = "/usr/share/debootstrap/scripts/sid";

/// What makes it boot.
const BASE: &str = "systemd,systemd-sysv,dbus,procps,iproute2";
/// The daemons under test, their witnesses, and what the tests themselves call.
const PACKAGES: [&str; 44] = [
    "apache2",
    "bpftool",
    "bsdutils",
    "busybox",
    "chrony",
    "cron",
    "dns-root-data",
    "dnsmasq",
    "erlang-base",
    "etcd-server",
    "gcc",
    "gunicorn",
    "haproxy",
    "jq",
    "kmod",
    "ksh93u+m",
    "libc6-dev",
    "libcap2-bin",
    "lldpd",
    "lua5.4",
    "mksh",
    "mosquitto",
    "nginx-light",
    "nodejs",
    "openjdk-17-jdk-headless",
    "openssh-server",
    "patroni",
    "pgbouncer",
    "php-cli",
    "postgresql",
    "prometheus",
    "prometheus-node-exporter",
    "python3",
    "python3-systemd",
    "redis-server",
    "rsyslog",
    "ruby",
    "slapd",
    "strace",
    "systemd-container",
    "tcl",
    "unbound",
    "zsh",
    "util-linux",
];
/// What the roots of later releases have: some 60 MB.
const SMALL: [&str; 9] = [
    "cron",
    "haproxy",
    "mosquitto",
    "nginx-light",
    "openssh-server",
    "prometheus-node-exporter",
    "python3-minimal",
    "redis-server",
    "rsyslog",
];
/// Patroni's settings: a cluster of one, with etcd.
const PATRONI: &str = "\
scope: test
name: one
restapi: {listen: '127.0.0.1:8008', connect_address: '127.0.0.1:8008'}
etcd3: {host: '127.0.0.1:2379'}
bootstrap: {dcs: {ttl: 30, loop_wait: 2}}
postgresql:
  listen: 127.0.0.1:5432
  connect_address: 127.0.0.1:5432
  bin_dir: /usr/lib/postgresql/15/bin
  data_dir: /var/lib/postgresql/data
  authentication: {replication: {username: r, password: r}, superuser: {username: s, password: s}}
";
/// chrony's settings: leave the clock alone, which a container has no say in.
const CHRONY: &str = "DAEMON_OPTS=-x\n";
/// The Patroni whose makers mended it, which no release of Debian that is used here has:
/// what pip(1) is to fetch, and where it goes.
const MENDED_PATRONI: &str = "patroni==4.1.5 \
    --hash=sha256:7aad8c1539e6c51c269a8005169dd54ddc7668437b7900fa6099d7894e224c84\n";
const MENDED_PATRONI_IN: &str = "opt/patroni";
/// Makes package scripts start nothing (invoke-rc.d(8)).
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Runs the command.
pub fn run(_: &Options) -> Result<()> {
    for root in prepare_all(ALL)? {
        println!("{}", root.display());
    }
    Ok(())
}

/// The paths of roots. Those that aren't there are built side by side: most of that time is
/// one processor's, or the network's.
pub fn prepare_all<const N: usize>(recipes: [&Recipe; N]) -> Result<[PathBuf; N]> {
    let prepared: Vec<Result<PathBuf>> = thread::scope(|scope| {
        let builds = recipes.map(|recipe| scope.spawn(|| prepare(recipe)));
        let join = |build: thread::ScopedJoinHandle<'_, _>| match build.join() {
            Ok(root) => root,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        builds.into_iter().map(join).collect()
    });
    let roots: Vec<PathBuf> = prepared.into_iter().collect::<Result<_>>()?;
    roots.try_into().map_err(|_| anyhow!("not every root was built"))
}

/// A root's path, built if it isn't there.
pub fn prepare(recipe: &Recipe) -> Result<PathBuf> {
    // All of it is in this file.
    let hash = Sha256::digest(include_bytes!("root.rs"));
    let directory = workspace::target().join("roots");
    let name: String = hash[..4]
        .iter()
        .fold(recipe.suite.to_owned() + "-", |name, byte| format!("{name}{byte:02x}"));
    let root = directory.join(name);
    if root.exists() {
        return Ok(root);
    }
    process::need_root("building the tests' container root")?;
    apt::install(&["debootstrap"], "building the tests' container root")?;
    eprintln!(
        "building a {} root with systemd and what is tested with it: a minute or two",
        recipe.suite
    );
    // Under another name until it is whole.
    let unfinished = root.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).context("cannot remove an unfinished root")?;
    }
    fs::create_dir_all(&directory)?;
    build(recipe, &unfinished)?;
    fs::rename(&unfinished, &root).context("cannot put the finished root in place")?;
    Ok(root)
}

fn build(recipe: &Recipe, root: &Path) -> Result<()> {
    process::run(
        // In a mount namespace, so that what it mounts in there goes with it, even if it
        // is interrupted.
        Command::new("unshare")
            .args([
                "--mount",
                "debootstrap",
                "--variant=minbase",
                &format!("--include={BASE}"),
                recipe.suite,
            ])
            .arg(root)
            .args([&apt::archive()?, SCRIPT]),
    )?;
    let policy = root.join("usr/sbin/policy-rc.d");
    fs::write(&policy, POLICY)?;
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o755))?;
    let proxy = root.join("etc/apt/apt.conf.d/99host-proxy");
    fs::write(&proxy, proxy_settings())?;
    // Best effort: a host with a proxy may have no name server.
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).ok();
    process::run(
        // In a mount namespace again. Java's package wants to see /proc.
        Command::new("unshare")
            .args([
                "--mount",
                "sh",
                "-c",
                r#"mount -t proc proc "$0/proc" && exec chroot "$0" "$@""#,
            ])
            .arg(root)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "install", "--yes"])
            .arg("--no-install-recommends")
            .args(recipe.packages),
    )?;
    process::run(Command::new("chroot").arg(root).args(["apt-get", "clean"]))?;
    for leftover in [policy, proxy] {
        fs::remove_file(leftover)?;
    }
    fs::remove_dir_all(root.join("var/lib/apt/lists")).context("cannot remove package lists")?;
    // Tests start what they test; a boot is to start nothing else.
    let wanted = root.join("etc/systemd/system/multi-user.target.wants");
    fs::remove_dir_all(&wanted).ok();
    fs::remove_dir_all(root.join("etc/systemd/system/timers.target.wants")).ok();
    fs::create_dir_all(&wanted)?;
    if recipe.suite == DAEMONS.suite {
        fs::write(root.join("etc/default/chrony"), CHRONY)?;
        fs::write(root.join("etc/patroni/config.yml"), PATRONI)?;
        mended_patroni(root)?;
    }
    Ok(())
}

/// Adds the newer Patroni. Its libraries are those of Debian's.
fn mended_patroni(root: &Path) -> Result<()> {
    let pip = ["-m", "pip", "--disable-pip-version-check", "--no-input"];
    if process::output(Command::new("python3").args(pip).arg("--version")).is_err() {
        apt::install(&["python3-pip"], "fetching a newer Patroni for the tests' container root")?;
    }
    let requirement = root.join("patroni.txt");
    fs::write(&requirement, MENDED_PATRONI)?;
    process::run(
        Command::new("python3")
            .args(pip)
            .args(["install", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"])
            .args(["--no-compile", "--root-user-action=ignore", "--target"])
            .arg(root.join(MENDED_PATRONI_IN))
            .arg("--requirement")
            .arg(&requirement),
    )?;
    fs::remove_file(&requirement).context("cannot remove what pip was to fetch")
}

/// The host's proxy for packages, if it has one.
fn proxy_settings() -> String {
    process::output(Command::new("apt-config").arg("dump"))
        .unwrap_or_default()
        .lines()
        .filter(|line| line.contains("Proxy"))
        .collect::<Vec<_>>()
        .join("\n")
}
