//! Compresses the kernel side for the program: an eighth of it is left.

use std::{env, error::Error, fs, path::Path};

/// The kernel side, as `cargo xtask ebpf` made it.
const OBJECT: &str = "object/sigready.bpf.o";
/// The best that there is is no smaller.
const LEVEL: u8 = 9;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={OBJECT}");
    let object = fs::read(OBJECT).map_err(|error| format!("cannot read {OBJECT}: {error}"))?;
    let out = env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?;
    let out = Path::new(&out);
    fs::write(out.join("object.z"), miniz_oxide::deflate::compress_to_vec(&object, LEVEL))?;
    fs::write(out.join("object.len"), object.len().to_string())?;
    Ok(())
}
