//! `cargo xtask dist`: what users install, made from a clean tree.
//!
//! The same commit gives the same bytes, wherever its tree lies: nothing in them depends on
//! the time, the directory or the user.

mod archive;
mod binary;
mod crates;
mod installed;
mod lintian;
mod packages;
mod pages;
mod sbom;
mod third_parties;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use sha2::{Digest as _, Sha256};

use crate::{ebpf::hex, process, workspace};

/// The platforms that there are packages for.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];

/// Options of the command.
#[derive(Args)]
pub struct Options {
    /// For one platform alone.
    #[arg(long, value_parser = TARGETS)]
    target: Option<String>,
    /// Make them from a tree with changes too, which nobody else can make again.
    #[arg(long)]
    allow_dirty: bool,
    /// Install them in fresh systems, over the version before, use them, and remove them; then
    /// make all of it from a clone of the commit elsewhere, and fail unless all bytes are the
    /// same (as root).
    #[arg(long)]
    check: bool,
}

/// What all that is made has in common.
pub struct Dist {
    /// Where cargo builds, and what is packaged is put together.
    build: PathBuf,
    /// Where the results go.
    results: PathBuf,
    /// sigready's version.
    version: String,
    /// The time of the commit, seconds since the epoch: `SOURCE_DATE_EPOCH`.
    time: String,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    if options.check {
        installed::prepare()?;
    }
    let dist = Dist::prepare(options.allow_dirty)?;
    let wanted = |target: &&str| options.target.as_deref().is_none_or(|it| it == *target);
    let targets: Vec<&str> = TARGETS.into_iter().filter(wanted).collect();
    crates::check(&dist)?;
    pages::write(&dist)?;
    third_parties::write(&dist)?;
    for target in targets.iter().copied() {
        binary::build(&dist, target)?;
        archive::make(&dist, target)?;
        packages::make(&dist, target)?;
    }
    sbom::write(&dist)?;
    lintian::check(&dist)?;
    let sums = checksums(&dist.results)?;
    if options.check {
        installed::check(&dist, &targets)?;
        check_again(&dist, options, &sums)?;
    }
    eprintln!("all of it is in {}", dist.results.display());
    Ok(())
}

/// Builds the program for x86_64 as it is packaged.
///
/// # Errors
/// If it is larger than it may be.
pub fn program() -> Result<()> {
    binary::build(&Dist::new()?, TARGETS[0])
}

fn git(arguments: &[&str]) -> Result<String> {
    process::output(Command::new("git").current_dir(workspace::root()).args(arguments))
}

impl Dist {
    fn prepare(allow_dirty: bool) -> Result<Self> {
        let changes = git(&["status", "--porcelain"])?;
        if !changes.is_empty() && !allow_dirty {
            bail!("the tree has changes, so nobody else can make the same: commit them\n{changes}");
        }
        let dist = Self::new()?;
        renew(&dist.results)?;
        Ok(dist)
    }

    fn new() -> Result<Self> {
        // Where Cargo.toml looks for them.
        let build = workspace::root().join("target/dist");
        let results = build.join("results");
        let version = process::output(workspace::cargo().args(["pkgid", "--package", "sigready"]))?;
        let version = version.rsplit(['#', '@']).next().unwrap_or_default().to_owned();
        Ok(Self { build, results, version, time: git(&["log", "-1", "--format=%ct"])? })
    }

    /// A cargo that builds for this.
    fn cargo(&self) -> Command {
        let mut command = workspace::cargo();
        command.env("CARGO_TARGET_DIR", &self.build).env("SOURCE_DATE_EPOCH", &self.time);
        command
    }

    /// Where the pages and lists are that go into every package.
    fn pages(&self) -> PathBuf {
        self.build.join("pages")
    }

    /// The program for a platform.
    fn program(&self, target: &str) -> PathBuf {
        self.build.join(target).join("dist/sigready")
    }
}

/// An empty directory, whatever was in it.
fn renew(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}

/// Writes `SHA256SUMS`, says how large each is, and gives the sums.
fn checksums(results: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(results)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let mut sums = String::new();
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        writeln!(sums, "{}  {name}", hex(&Sha256::digest(&bytes)))?;
        eprintln!("{:>10} bytes  {name}", bytes.len());
    }
    fs::write(results.join("SHA256SUMS"), &sums).context("cannot write SHA256SUMS")?;
    Ok(sums)
}

/// Makes all of it from a clone, and compares.
fn check_again(dist: &Dist, options: &Options, sums: &str) -> Result<()> {
    let clone = dist.build.join("clone");
    renew(&clone)?;
    process::run(
        Command::new("git")
            .current_dir(workspace::root())
            .args(["clone", "--quiet", "--no-hardlinks", "."])
            .arg(&clone),
    )?;
    let mut again = Command::new(workspace::cargo_path());
    again.current_dir(&clone).env_remove("CARGO_TARGET_DIR").args(["xtask", "dist"]);
    if let Some(target) = &options.target {
        again.args(["--target", target]);
    }
    process::run(&mut again)?;
    let second = fs::read_to_string(clone.join("target/dist/results/SHA256SUMS"))
        .context("the clone gave no sums")?;
    if second != sums {
        bail!("the same commit gave other bytes elsewhere:\n{sums}\n{second}");
    }
    eprintln!("a clone of the commit gives the same bytes");
    Ok(())
}
