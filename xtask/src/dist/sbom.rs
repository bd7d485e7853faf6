//! The list of what is linked in (CycloneDX), with versions, licences and checksums.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::Dist;
use crate::{process, tool::install, workspace};

/// The release of cargo-cyclonedx.
const VERSION: &str = "0.5.9";

/// What the directory of the sources is called in the list, wherever they are.
const SOURCES: &str = "/sigready";

/// Writes it.
pub fn write(dist: &Dist) -> Result<()> {
    install("cargo-cyclonedx", VERSION, &["--debug"])?;
    // It writes beside each Cargo.toml: so not in this tree.
    let copy = dist.build.join("sbom");
    if copy.exists() {
        fs::remove_dir_all(&copy).context("cannot remove the copy made before")?;
    }
    process::run(
        Command::new("git")
            .current_dir(workspace::root())
            .args(["clone", "--quiet", "--no-hardlinks", "."])
            .arg(&copy),
    )?;
    process::run(
        dist.cargo()
            .current_dir(&copy)
            .args(["cyclonedx", "--format", "json", "--target", super::TARGETS[0]])
            .args(["--no-build-deps", "--manifest-path"])
            .arg(copy.join("tracer/Cargo.toml")),
    )?;
    let list = fs::read_to_string(copy.join("tracer/sigready.cdx.json"))
        .context("cargo-cyclonedx wrote no list")?;
    let name = format!("sigready-{}.cdx.json", dist.version);
    fs::write(dist.results.join(name), anywhere(&list, &copy)?)
        .context("cannot write the list of what is linked in")?;
    fs::remove_dir_all(&copy).context("cannot remove the copy")
}

/// The list without the directory that it was made in.
fn anywhere(list: &str, directory: &Path) -> Result<String> {
    let directory = directory.to_str().context("the build's directory is not UTF-8")?;
    let list = list.replace(directory, SOURCES);
    // Some characters are written in another way in an address.
    let mut files = list.split("file://").skip(1);
    if let Some(other) = files.find(|it| it.starts_with('/') && !it.starts_with(SOURCES)) {
        let name = other.split('"').next().unwrap_or_default();
        bail!("the list of what is linked in names a directory of this machine: {name}");
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_does_not_say_where_it_was_made() {
        let made = Path::new("/a/b/sbom");
        let list = r#"{"bom-ref": "path+file:///a/b/sbom/tracer#sigready@0.1.0"}"#;
        let told = anywhere(list, made).unwrap();
        assert_eq!(told, r#"{"bom-ref": "path+file:///sigready/tracer#sigready@0.1.0"}"#);
        let error = anywhere(r#"{"bom-ref": "path+file:///a%20b"}"#, made).unwrap_err();
        assert!(error.to_string().ends_with(": /a%20b"), "{error}");
    }
}
