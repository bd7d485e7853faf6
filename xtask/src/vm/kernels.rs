//! Debian's kernels for virtual machines, fetched once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::arch::{Arch, Series};
use crate::{apt, process};

/// What the package is called that depends on a release's newest kernel, before the architecture.
/// The cloud kernels have drivers for emulated disks built in.
const PACKAGE: &str = "linux-image-cloud-";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A kernel, unpacked.
#[derive(Debug)]
pub struct Kernel {
    /// The series it stands for.
    pub name: &'static str,
    /// Whether functions can be hooked.
    pub hooks_functions: bool,
    /// What `uname -r` says of it.
    pub version: String,
    /// The file to boot.
    pub image: PathBuf,
    /// The overlay file system, which containers need: a module.
    pub overlay: PathBuf,
}

/// The kernels, or the one of that series. Those that are not cached are fetched.
pub fn fetch(arch: Arch, series: Option<&str>) -> Result<Vec<Kernel>> {
    arch.series()
        .iter()
        .filter(|it| series.is_none_or(|wanted| wanted == it.name))
        .map(|it| {
            let directory = arch.directory().join("kernels").join(it.name);
            if !directory.exists() {
                unpack(arch, it.release, &directory)
                    .with_context(|| format!("cannot fetch Debian {}'s kernel", it.release))?;
            }
            find(it, &directory)
        })
        .collect()
}

/// Fetches the packages of a release's kernel, and unpacks them into `directory`.
fn unpack(arch: Arch, release: &str, directory: &Path) -> Result<()> {
    let unfinished = directory.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    let packages = unfinished.join("packages");
    fs::create_dir_all(&packages)?;
    let apt = Apt::new(arch, release, &unfinished.join("apt"))?;
    let package = format!("{PACKAGE}{}", arch.debian());
    process::run(apt.command("apt-get").args(["-qq", "update"]))?;
    let list = process::output(apt.command("apt-cache").args([
        "depends",
        "--recurse",
        "--important",
        &package,
    ]))?;
    // The kernel itself, and where it is split, its parts; not what would install it.
    let names: Vec<&str> = list
        .lines()
        .filter(|line| {
            ["linux-image-", "linux-binary-", "linux-modules-"]
                .iter()
                .any(|prefix| line.starts_with(prefix))
        })
        .filter(|line| *line != package)
        .collect();
    if names.is_empty() {
        bail!("{package} depends on no kernel");
    }
    // As root: apt's own user may not write below here.
    process::run(
        apt.command("apt-get")
            .current_dir(&packages)
            .args(["-qq", "-o", "APT::Sandbox::User=root", "download"])
            .args(names),
    )?;
    for package in fs::read_dir(&packages)? {
        process::run(
            Command::new("dpkg-deb").arg("--extract").arg(package?.path()).arg(&unfinished),
        )?;
    }
    fs::remove_dir_all(packages)?;
    fs::remove_dir_all(unfinished.join("apt"))?;
    fs::rename(&unfinished, directory).context("cannot put the kernel in place")
}

/// An apt that knows another release than the host's, maybe of another architecture, and leaves the host's lists alone.
struct Apt {
    arch: Arch,
    directory: PathBuf,
}

impl Apt {
    fn new(arch: Arch, release: &str, directory: &Path) -> Result<Self> {
        for below in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(below))?;
        }
        let source = format!("deb [signed-by={KEYRING}] {} {release} main\n", apt::archive()?);
        fs::write(directory.join("sources.list"), source)?;
        Ok(Self { arch, directory: directory.to_owned() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |name: &str| self.directory.join(name).display().to_string();
        for (option, value) in [
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", "-".to_owned()),
            ("Dir::State::lists", at("lists")),
            ("Dir::Cache", at("cache")),
            ("APT::Architecture", self.arch.debian().to_owned()),
            ("APT::Architectures", self.arch.debian().to_owned()),
        ] {
            command.args(["-o", &format!("{option}={value}")]);
        }
        command
    }
}

/// Finds the files in an unpacked kernel.
fn find(series: &Series, directory: &Path) -> Result<Kernel> {
    let files = process::output(Command::new("find").arg(directory).args([
        "-name",
        "vmlinuz*",
        "-o",
        "-name",
        "overlay.ko*",
    ]))?;
    let named = |start: &str| {
        files
            .lines()
            .map(PathBuf::from)
            .find(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))
            })
            .with_context(|| format!("no {start} in {}: delete it", directory.display()))
    };
    let overlay = named("overlay.ko")?;
    let version = overlay
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .skip_while(|part| part != "modules")
        .nth(1)
        .context("a module lies outside of its kernel's directory")?
        .into_owned();
    let Series { name, hooks_functions, .. } = *series;
    if !version.starts_with(&format!("{name}.")) {
        eprintln!("WARNING: Debian has {version} by now where it had {name}");
    }
    Ok(Kernel { name, hooks_functions, version, image: named("vmlinuz")?, overlay })
}
