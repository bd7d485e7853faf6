//! The compiler and linker that build the kernel side.
//!
//! The BPF target has no prebuilt `core` in rustup. Debian has one, for its own
//! `rustc-web`; the linker must be built on an LLVM no older than that compiler's. So
//! rustc, its core and the linker's LLVM are taken together from there.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{apt, process, workspace};

/// The release of bpf-linker, whose features name the LLVM majors it can be built on.
const LINKER_VERSION: &str = "0.13.0";
/// Debian's compiler.
const RUSTC: &str = "/usr/bin/rustc";

/// A compiler with a BPF `core`, and a linker that matches.
pub struct Toolchain {
    /// The compiler's version, all of `rustc -vV`'s lines.
    pub rustc: String,
    /// `bpf-linker --version`
    pub linker: String,
    /// The LLVM that both use.
    pub llvm: u32,
    linker_path: PathBuf,
}

impl Toolchain {
    /// Finds the toolchain, installing what is missing.
    pub fn prepare() -> Result<Self> {
        apt::install(&["rustc-web", "libstd-rust-web-dev-bpf"], "building the kernel side")?;
        let rustc = process::output(Command::new(RUSTC).arg("-vV"))?;
        let llvm = llvm_major(&rustc)
            .with_context(|| format!("'{RUSTC} -vV' does not tell its LLVM version"))?;
        apt::install(
            &[&format!("llvm-{llvm}-dev"), &format!("llvm-{llvm}")],
            "building the kernel side",
        )?;
        let linker_path = linker(llvm)?;
        let linker = process::output(Command::new(&linker_path).arg("--version"))?;
        Ok(Self { rustc, linker, llvm, linker_path })
    }

    /// Builds the kernel side into `target` and gives the object's path.
    pub fn build(&self, target: &Path) -> Result<PathBuf> {
        // Paths of this machine must not be in the object.
        let home = std::env::var("CARGO_HOME")
            .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
            .unwrap_or_default();
        let flags = [
            "-Cdebuginfo=2".to_owned(),
            format!("-Clinker={}", self.linker_path.display()),
            "-Clink-arg=--btf".to_owned(),
            "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
            format!("--remap-path-prefix={}=/sigready", workspace::root().display()),
            format!("--remap-path-prefix={home}=/cargo"),
            // One unit, so that the order of functions does not depend on the machine.
            "-Ccodegen-units=1".to_owned(),
        ];
        process::run(
            workspace::cargo()
                .args(["build", "--release", "--locked", "--package", "tracer-ebpf"])
                .args(["--target", "bpfel-unknown-none", "--target-dir"])
                .arg(target)
                .env("RUSTC", RUSTC)
                // aya-ebpf uses one unstable feature.
                .env("RUSTC_BOOTSTRAP", "1")
                .env_remove("RUSTUP_TOOLCHAIN")
                .env_remove("RUSTFLAGS")
                .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")),
        )?;
        let built = target.join("bpfel-unknown-none/release/sigready-ebpf");
        let object = target.join("sigready.bpf.o");
        // The line tables were needed for BTF; the kernel reads only that.
        process::run(
            Command::new(format!("/usr/lib/llvm-{}/bin/llvm-strip", self.llvm))
                .arg("--strip-debug")
                .arg("-o")
                .arg(&object)
                .arg(&built),
        )?;
        Ok(object)
    }
}

/// The major in the line `LLVM version: 22.1.2`.
fn llvm_major(version: &str) -> Option<u32> {
    let line = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.parse().ok()
}

/// bpf-linker on this LLVM: the one in PATH if it is the right release, else one built
/// into the target directory.
fn linker(llvm: u32) -> Result<PathBuf> {
    let directory = workspace::target().join(format!("bpf-linker-{LINKER_VERSION}-llvm-{llvm}"));
    let built = directory.join("bin/bpf-linker");
    if built.exists() {
        return Ok(built);
    }
    eprintln!("building bpf-linker {LINKER_VERSION} on LLVM {llvm}: this takes a minute, once");
    apt::install(&["zlib1g-dev", "libzstd-dev", "g++"], "building bpf-linker")?;
    process::run(
        workspace::cargo()
            .current_dir("/")
            .args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked"])
            .args(["--no-default-features", "--features", &format!("llvm-{llvm}"), "--root"])
            .arg(&directory)
            .env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm}")),
    )?;
    Ok(built)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_major_is_read_from_rustc() {
        assert_eq!(llvm_major("rustc 1.96.0\nhost: x\nLLVM version: 22.1.8"), Some(22));
        assert_eq!(llvm_major("rustc 1.96.0"), None);
    }
}
