//! What is published holds all that it is built from.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Packs sigready as for a registry, and unpacks that.
fn unpacked(into: &Path) -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packed = Command::new(env!("CARGO"))
        .current_dir(home)
        .args(["package", "--locked", "--offline", "--no-verify", "--allow-dirty", "--quiet"])
        .args(["--package", "tracer-common", "--package", "sigready", "--target-dir"])
        .arg(into)
        .output()
        .unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let name = format!("sigready-{}", env!("CARGO_PKG_VERSION"));
    let tar = Command::new("tar")
        .args(["--extract", "--gzip", "--directory"])
        .arg(into)
        .arg("--file")
        .arg(into.join("package").join(format!("{name}.crate")))
        .status()
        .unwrap();
    assert!(tar.success());
    into.join(name)
}

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_owned());
    }
}

/// The paths in `include_str!("…")` and its like, relative to the file that has them.
fn included(source: &str) -> impl Iterator<Item = &str> {
    source.split("include_").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("!(\"")?;
        let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        rest.split_once('"').filter(|_| is_name).map(|(path, _)| path)
    })
}

#[test]
fn a_package_holds_the_object_and_all_that_its_source_includes() {
    let directory = tempfile::tempdir().unwrap();
    let package = unpacked(directory.path()).canonicalize().unwrap();
    let committed =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("object/sigready.bpf.o").canonicalize().unwrap();
    assert_eq!(
        fs::read(package.join("object/sigready.bpf.o")).unwrap(),
        fs::read(committed).unwrap()
    );

    let (mut files, mut count) = (Vec::new(), 0);
    sources(&package.join("src"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for path in included(&text) {
            let included = file.parent().unwrap().join(path);
            let found = included.canonicalize();
            assert!(
                found.as_ref().is_ok_and(|found| found.starts_with(&package)),
                "{} includes {path}, which is not in the package: {found:?}",
                file.display()
            );
            count += 1;
        }
    }
    assert!(count > 20, "the pages of rules and findings and the object: {count}");
}

#[test]
fn a_package_holds_the_licences() {
    let directory = tempfile::tempdir().unwrap();
    let package = unpacked(directory.path());
    for licence in ["LICENSE-MIT", "LICENSE-APACHE", "LICENSE-GPL", "README.md"] {
        assert!(package.join(licence).metadata().unwrap().len() > 500, "{licence}");
    }
}
