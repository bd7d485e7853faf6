//! The compiler and linker that build the kernel side.
//!
//! rustc, its BPF `core` and the linker's LLVM move together: the linker must be built on
//! an LLVM no older than the compiler's. There are two places to have them from.

mod debian;
mod rustup;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{process, workspace};

/// The release of bpf-linker, whose features name the LLVM majors it can be built on.
const LINKER_VERSION: &str = "0.13.0";

/// A compiler with a BPF `core`, and a linker that matches.
pub struct Toolchain {
    /// First line of `rustc -vV`.
    pub rustc: String,
    /// The major of the LLVM that both use.
    pub llvm: u32,
    /// `bpf-linker --version`
    pub linker: String,
    cargo: PathBuf,
    /// Chooses the compiler: environment and arguments of cargo.
    environment: Vec<(&'static str, String)>,
    arguments: &'static [&'static str],
    linker_path: PathBuf,
    objcopy: PathBuf,
}

impl Toolchain {
    /// Finds a toolchain. Debian's comes first, because the committed object can be
    /// compared only with what its own toolchain builds; it is installed if there is none.
    pub fn prepare() -> Result<Self> {
        if !debian::is_installed()
            && !process::is_ci()
            && let Some(toolchain) = rustup::find()
        {
            return Ok(toolchain);
        }
        debian::prepare()
    }

    /// Whether [`prepare`](Self::prepare) can succeed: there is one, or it can be installed.
    pub fn can_prepare() -> bool {
        process::is_root() || debian::is_installed() || rustup::find().is_some()
    }

    /// Builds the kernel side into `target` and gives the object's path.
    pub fn build(&self, target: &Path) -> Result<PathBuf> {
        let mut flags = vec![
            "-Cdebuginfo=2".to_owned(),
            format!("-Clinker={}", self.linker_path.display()),
            "-Clink-arg=--btf".to_owned(),
            // Without calls inside a program: to verifiers up to 6.1 each number of a program
            // with such calls counts (`__mark_reg_unknown` in kernel/bpf/verifier.c), so that
            // hardly any two ways through it are one.
            "-Clink-arg=--llvm-args=--inline-threshold=1000000".to_owned(),
            "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
            "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
            // One unit, so that the order of functions does not depend on the machine.
            "-Ccodegen-units=1".to_owned(),
        ];
        flags.extend(remapped_paths());
        process::run(
            workspace::cargo_at(&self.cargo)
                .args(["build", "--release", "--locked", "--package", "tracer-ebpf"])
                .args(["--target", "bpfel-unknown-none", "--target-dir"])
                .arg(target)
                .args(self.arguments)
                .env_remove("RUSTUP_TOOLCHAIN")
                .env_remove("RUSTFLAGS")
                .envs(self.environment.iter().map(|(name, value)| (name, value)))
                .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")),
        )?;
        let built = target.join("bpfel-unknown-none/release/sigready-ebpf");
        let object = target.join("sigready.bpf.o");
        // DWARF was needed to make BTF of; the kernel and aya read only that. .BTF.ext tells the
        // kernel the line of each instruction, for the verifier's log, and is half of the object.
        process::run(
            Command::new(&self.objcopy)
                .args([
                    "--strip-debug",
                    "--remove-section=.BTF.ext",
                    "--remove-section=.rel.BTF.ext",
                ])
                .arg(&built)
                .arg(&object),
        )?;
        Ok(object)
    }
}

/// Flags that keep this machine's paths out of the object.
fn remapped_paths() -> Vec<String> {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let mut paths = vec![(workspace::root().to_owned(), "/sigready")];
    paths.extend(cargo_home.map(|home| (home, "/cargo")));
    paths.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect()
}

/// First line and LLVM major of what `rustc -vV` says.
fn versions(rustc: &str) -> Result<(String, u32)> {
    let first = rustc.lines().next().unwrap_or_default().to_owned();
    let llvm = llvm_major(rustc)
        .with_context(|| format!("'rustc -vV' of '{first}' does not tell its LLVM version"))?;
    Ok((first, llvm))
}

/// The major in the line `LLVM version: 22.1.2`.
fn llvm_major(version: &str) -> Option<u32> {
    let line = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.parse().ok()
}

/// The version that a bpf-linker gives of itself.
fn linker_version(path: &Path) -> Result<String> {
    process::output(Command::new(path).arg("--version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_major_is_read_from_rustc() {
        assert_eq!(llvm_major("rustc 1.96.0\nhost: x\nLLVM version: 22.1.8"), Some(22));
        assert_eq!(llvm_major("rustc 1.96.0"), None);
    }

    #[test]
    fn paths_of_this_machine_are_mapped_away() {
        let flags = remapped_paths().join(" ");
        assert!(flags.contains(&format!("{}=/sigready", workspace::root().display())), "{flags}");
        assert!(flags.contains("=/cargo"), "{flags}");
    }
}
