//! `cargo xtask ebpf`: the committed eBPF object and where it came from.
//!
//! The object lies in sigready's package, so that building it, from this tree or from what
//! is published, needs nothing but stable Rust. Its provenance says which sources and which
//! toolchain made it.

mod source;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{process, toolchain::Toolchain, workspace};

/// Options of the command.
#[derive(Args)]
pub struct Options {
    /// Build nothing new: fail if the committed object is stale or other bytes than its
    /// source gives.
    #[arg(long)]
    pub check: bool,
}

/// Where an object came from.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Provenance {
    /// SHA-256 of the sources: see [`source::hash`].
    source: String,
    /// SHA-256 of the object.
    object: String,
    /// First line of `rustc -vV`.
    rustc: String,
    /// Its LLVM.
    llvm: u32,
    /// `bpf-linker --version`
    linker: String,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    if options.check { check() } else { rebuild() }
}

fn object_path() -> PathBuf {
    workspace::root().join("tracer/object/sigready.bpf.o")
}

fn provenance_path() -> PathBuf {
    workspace::root().join("tracer/object/provenance.toml")
}

fn build_directory() -> PathBuf {
    workspace::target().join("ebpf")
}

fn rebuild() -> Result<()> {
    let toolchain = Toolchain::prepare()?;
    let built = toolchain.build(&build_directory())?;
    fs::create_dir_all(workspace::root().join("tracer/object"))?;
    fs::copy(&built, object_path()).context("cannot write the object")?;
    let provenance = Provenance {
        source: source::hash()?,
        object: file_hash(&object_path())?,
        rustc: toolchain.rustc.clone(),
        llvm: toolchain.llvm,
        linker: toolchain.linker,
    };
    let text = format!(
        "# What made sigready.bpf.o. Written by `cargo xtask ebpf`.\n{}",
        toml::to_string(&provenance)?
    );
    fs::write(provenance_path(), text).context("cannot write the provenance")?;
    let length = fs::metadata(object_path())?.len();
    eprintln!("wrote {} ({length} bytes)", object_path().display());
    Ok(())
}

fn check() -> Result<()> {
    let text = fs::read_to_string(provenance_path())
        .context("there is no committed object: run 'cargo xtask ebpf'")?;
    let recorded: Provenance = toml::from_str(&text).context("the provenance is malformed")?;
    if file_hash(&object_path())? != recorded.object {
        bail!(
            "the committed object is not the one its provenance speaks of: run 'cargo xtask ebpf'"
        );
    }
    if source::hash()? != recorded.source {
        bail!("the committed object is stale: run 'cargo xtask ebpf' and commit the result");
    }
    if !Toolchain::can_prepare() {
        if process::is_ci() {
            bail!("the object's toolchain is not here, and installing it needs root");
        }
        warn_unchecked("no toolchain for it is here, and installing one needs root");
        return Ok(());
    }
    let toolchain = Toolchain::prepare()?;
    // Also where the bytes can't be compared: the source has to build.
    let built = toolchain.build(&build_directory())?;
    if (&toolchain.rustc, toolchain.llvm, &toolchain.linker)
        != (&recorded.rustc, recorded.llvm, &recorded.linker)
    {
        warn_unchecked(&format!(
            "it was made by {} with {}, and here are {} with {}",
            recorded.rustc, recorded.linker, toolchain.rustc, toolchain.linker
        ));
        return Ok(());
    }
    if file_hash(&built)? != recorded.object {
        bail!(
            "the committed object has other bytes than its source gives with the recorded \
             toolchain ({}): run 'cargo xtask ebpf' and commit the result",
            built.display()
        );
    }
    eprintln!("the committed object is what its source and the recorded toolchain give");
    Ok(())
}

/// The bytes could not be compared. The source hash has been.
fn warn_unchecked(why: &str) {
    eprintln!("WARNING: the object's bytes were not compared: {why}.");
    eprintln!("WARNING: only that it belongs to this source was checked.");
}

fn file_hash(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hex(&Sha256::digest(bytes)))
}

/// Bytes as text.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
