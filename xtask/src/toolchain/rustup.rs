//! rustup's nightly with the components rust-src and llvm-tools, and a bpf-linker in PATH:
//! what aya's users have. `core` is built from its source.

use std::{path::PathBuf, process::Command};

use super::{Toolchain, linker_version, versions};
use crate::process;

/// The toolchain, if all of it is here.
pub fn find() -> Option<Toolchain> {
    let ask = |question: &[&str]| {
        process::output(Command::new("rustup").args(["run", "nightly", "rustc"]).args(question))
    };
    let sysroot = PathBuf::from(ask(&["--print", "sysroot"]).ok()?);
    let libraries = sysroot.join("lib/rustlib");
    let version = ask(&["-vV"]).ok()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "))?;
    let objcopy = libraries.join(host).join("bin/llvm-objcopy");
    let linker_path = process::find("bpf-linker")?;
    if !libraries.join("src/rust/library/core").is_dir() || !objcopy.exists() {
        return None;
    }
    let (rustc, llvm) = versions(&version).ok()?;
    Some(Toolchain {
        rustc,
        llvm,
        linker: linker_version(&linker_path).ok()?,
        cargo: sysroot.join("bin/cargo"),
        environment: vec![("RUSTC", sysroot.join("bin/rustc").display().to_string())],
        arguments: &["-Zbuild-std=core"],
        linker_path,
        objcopy,
    })
}
