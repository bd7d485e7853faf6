//! Debian's `rustc-web`, with a prebuilt `core` for BPF and the LLVM it was built on.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{LINKER_VERSION, Toolchain, linker_version, versions};
use crate::{apt, process, workspace};

const PURPOSE: &str = "building the kernel side";
const RUSTC: &str = "/usr/bin/rustc";
const COMPILER: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// Whether the compiler is here.
pub fn is_installed() -> bool {
    apt::are_installed(&COMPILER)
}

/// The toolchain, with what is missing of it installed.
pub fn prepare() -> Result<Toolchain> {
    apt::install(&COMPILER, PURPOSE)?;
    let (rustc, llvm) = versions(&process::output(Command::new(RUSTC).arg("-vV"))?)?;
    apt::install(&[&format!("llvm-{llvm}-dev"), &format!("llvm-{llvm}")], PURPOSE)?;
    let linker_path = linker(llvm)?;
    Ok(Toolchain {
        rustc,
        llvm,
        linker: linker_version(&linker_path)?,
        cargo: workspace::cargo_path(),
        // aya-ebpf uses one unstable feature.
        environment: vec![("RUSTC", RUSTC.to_owned()), ("RUSTC_BOOTSTRAP", "1".to_owned())],
        arguments: &[],
        linker_path,
        objcopy: llvm_root(llvm).join("bin/llvm-objcopy"),
    })
}

fn llvm_root(llvm: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{llvm}"))
}

/// bpf-linker on this LLVM: the one in PATH if it is that, else one built into the target
/// directory.
fn linker(llvm: u32) -> Result<PathBuf> {
    let directory = workspace::target().join(format!("bpf-linker-{LINKER_VERSION}-llvm-{llvm}"));
    let built = directory.join("bin/bpf-linker");
    if built.exists() {
        return Ok(built);
    }
    if let Some(path) = process::find("bpf-linker").filter(|path| fits(path, llvm)) {
        return Ok(path);
    }
    eprintln!("building bpf-linker {LINKER_VERSION} on LLVM {llvm}: this takes a minute, once");
    apt::install(&["zlib1g-dev", "libzstd-dev", "g++"], "building bpf-linker")?;
    process::run(
        workspace::cargo()
            // Away from this workspace's cargo settings.
            .current_dir("/")
            .args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked"])
            .args(["--no-default-features", "--features", &format!("llvm-{llvm}"), "--root"])
            .arg(&directory)
            .env("LLVM_PREFIX", llvm_root(llvm)),
    )?;
    Ok(built)
}

/// Whether a bpf-linker is the wanted release on the wanted LLVM. Which LLVM it is built
/// on only its shared libraries tell.
fn fits(path: &Path, llvm: u32) -> bool {
    let libraries = process::output(Command::new("ldd").arg(path)).unwrap_or_default();
    linker_version(path).is_ok_and(|version| version == format!("bpf-linker {LINKER_VERSION}"))
        && (libraries.contains(&format!("libLLVM.so.{llvm}."))
            || libraries.contains(&format!("libLLVM-{llvm}.so")))
}
