//! The disk that the virtual machines boot from: the tests' root, with the tests in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{arch::Arch, foreign, guest, kernels::Kernel};
use crate::{musl, process, root, workspace};

/// Where the tests and what they need is in the machine.
pub const DIRECTORY: &str = "/sigready";
/// Room on the disk, and for what the tests write: a sparse file.
const SIZE: &str = "3G";
/// The C library that the tests were linked with, which may not be the machine's.
const LIBRARIES: [&str; 4] = ["ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libgcc_s.so.1"];
const LIBRARY_DIRECTORY: &str = "/lib/x86_64-linux-gnu";
const UNIT_PATH: &str = "/etc/systemd/system/guest.service";

/// Tests of what depends on systemd and on Debian's daemons, and not on the kernel: they are
/// left out.
const OF_SYSTEMD: [&str; 6] =
    ["consequences::", "debian::", "lint::", "patroni::", "race::daemons::", "unanswered::"];

/// A disk.
pub struct Image {
    /// The file.
    pub file: PathBuf,
    /// The names of the tests in it.
    pub tests: Vec<String>,
}

/// Builds a disk that measures what a trace costs, with this command and sigready in it.
pub fn measuring(arch: Arch) -> Result<PathBuf> {
    let directory = arch.directory();
    let base = base(&root::prepare(&root::DAEMONS)?, &directory)?;
    let file = directory.join("bench-disk");
    let build = ["build", "--release", "--package", "sigready", "--package", "xtask", "--bins"];
    let mut files = Files::default();
    for program in programs(arch, &directory.join("build"), &build)? {
        files.add(&program.path, &program.name);
    }
    add_libraries(&mut files);
    add_guest(&mut files, &directory)?;
    process::run(Command::new("cp").arg("--sparse=always").arg(&base).arg(&file))?;
    files.write(&file)?;
    Ok(file)
}

/// Builds the tests, and a disk with them and the kernels' modules.
pub fn build(arch: Arch, kernels: &[Kernel]) -> Result<Image> {
    let root = match arch {
        Arch::X86_64 => root::prepare(&root::DAEMONS)?,
        Arch::Aarch64 => foreign::prepare(arch)?,
    };
    let directory = arch.directory();
    let base = base(&root, &directory)?;
    let file = directory.join("disk");
    eprintln!("building the tests for the virtual machines");
    // With the program; the library's own tests need no machine.
    let tests =
        ["test", "--no-run", "--profile", "machines", "--package", "sigready", "--test", "*"];
    let programs = programs(arch, &directory.join("build"), &tests)?;
    let mut tests = Vec::new();
    let mut files = Files::default();
    for program in &programs {
        if program.is_test {
            let listed = list(arch, &program.path)?;
            if listed.is_empty() {
                continue;
            }
            tests.extend(listed);
            files.add(&program.path, &format!("tests/{}", program.name));
        } else {
            files.add(&program.path, &program.name);
        }
    }
    if arch == Arch::X86_64 {
        for program in fs::read_dir(workspace::programs()?)? {
            let program = program?;
            let name = program.file_name();
            files.add(&program.path(), &format!("programs/{}", name.to_string_lossy()));
        }
        add_libraries(&mut files);
    }
    let modules = directory.join("modules");
    fs::create_dir_all(&modules)?;
    for kernel in kernels {
        files.add(&unpacked(kernel, &modules)?, &format!("overlay/{}.ko", kernel.version));
    }
    add_guest(&mut files, &directory)?;
    let left_out = directory.join("left_out");
    fs::write(&left_out, skipping().join(" "))?;
    files.add(&left_out, "left_out");
    process::run(Command::new("cp").arg("--sparse=always").arg(&base).arg(&file))?;
    files.write(&file)?;
    Ok(Image { file, tests })
}

/// The C library of the programs that are built here.
fn add_libraries(files: &mut Files) {
    for library in LIBRARIES {
        files.add(&Path::new(LIBRARY_DIRECTORY).join(library), &format!("lib/{library}"));
    }
}

/// What the machine runs.
fn add_guest(files: &mut Files, directory: &Path) -> Result<()> {
    for (name, text) in [("guest.sh", guest::SCRIPT), ("guest.service", guest::UNIT)] {
        let file = directory.join(name);
        fs::write(&file, text)?;
        files.add(&file, name);
    }
    Ok(())
}

/// A disk with the root alone, cached.
fn base(root: &Path, directory: &Path) -> Result<PathBuf> {
    let name = root.file_name().context("the tests' root has no name")?;
    let file = directory.join(name).with_extension("ext4");
    if file.exists() {
        return Ok(file);
    }
    let unfinished = file.with_extension("unfinished");
    fs::create_dir_all(directory)?;
    let _ = fs::remove_file(&unfinished);
    process::run(
        Command::new("/sbin/mke2fs")
            .args(["-q", "-t", "ext4", "-O", "^has_journal", "-d"])
            .arg(root)
            .arg(&unfinished)
            .arg(SIZE),
    )?;
    fs::rename(unfinished, &file)?;
    Ok(file)
}

/// A program that was built.
struct Program {
    name: String,
    path: PathBuf,
    is_test: bool,
}

/// Builds what cargo is asked for, optimised: emulation is slow enough. The programs find their C
/// library beside them, or have it inside.
fn programs(arch: Arch, directory: &Path, what: &[&str]) -> Result<Vec<Program>> {
    let target = arch.target();
    let flags = match arch {
        Arch::X86_64 => vec![
            format!("-Clink-arg=-Wl,--dynamic-linker={DIRECTORY}/lib/{}", LIBRARIES[0]),
            format!("-Clink-arg=-Wl,-rpath,{DIRECTORY}/lib"),
        ],
        Arch::Aarch64 => {
            musl::add(target)?;
            musl::STATIC.map(str::to_owned).to_vec()
        }
    };
    let messages = process::output(
        workspace::cargo()
            .args(what)
            .args(["--locked", "--message-format=json", "--quiet", "--target", target])
            .env("CARGO_TARGET_DIR", directory)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}")),
    )?;
    let mut programs = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).context("cargo's messages are no JSON")?;
        let Some(path) = message["executable"].as_str() else { continue };
        programs.push(Program {
            name: message["target"]["name"].as_str().unwrap_or_default().to_owned(),
            path: PathBuf::from(path),
            is_test: message["profile"]["test"] == true,
        });
    }
    if programs.is_empty() {
        bail!("cargo built no programs");
    }
    Ok(programs)
}

/// The privileged tests of a test program. It is run with its library, as in the machine, or
/// emulated.
fn list(arch: Arch, program: &Path) -> Result<Vec<String>> {
    let mut command = match arch {
        Arch::X86_64 => Command::new(Path::new(LIBRARY_DIRECTORY).join(LIBRARIES[0])),
        Arch::Aarch64 => Command::new("qemu-aarch64-static"),
    };
    let text = process::output(
        command.arg(program).args(["--ignored", "--list", "--format=terse"]).args(skipping()),
    )?;
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// The test harness' options that leave out what is not for the machines.
fn skipping() -> [String; OF_SYSTEMD.len()] {
    OF_SYSTEMD.map(|module| format!("--skip={module}"))
}

/// A kernel's module, uncompressed.
fn unpacked(kernel: &Kernel, into: &Path) -> Result<PathBuf> {
    let file = into.join(format!("{}.ko", kernel.version));
    if kernel.overlay.extension().is_some_and(|extension| extension == "xz") {
        let bytes = process::bytes(Command::new("xz").arg("-dc").arg(&kernel.overlay))?;
        fs::write(&file, bytes)?;
    } else {
        fs::copy(&kernel.overlay, &file)?;
    }
    Ok(file)
}

/// Files to be put into [`DIRECTORY`].
#[derive(Default)]
struct Files {
    directories: Vec<String>,
    files: Vec<(PathBuf, String)>,
}

impl Files {
    fn add(&mut self, from: &Path, to: &str) {
        if let Some((directory, _)) = to.split_once('/')
            && !self.directories.iter().any(|it| it == directory)
        {
            self.directories.push(directory.to_owned());
        }
        self.files.push((from.to_owned(), to.to_owned()));
    }

    /// Writes them to a disk that isn't mounted.
    fn write(&self, disk: &Path) -> Result<()> {
        let mut script = vec![format!("mkdir {DIRECTORY}")];
        script.extend(self.directories.iter().map(|it| format!("mkdir {DIRECTORY}/{it}")));
        script.extend(
            self.files
                .iter()
                .map(|(from, to)| format!("write {} {DIRECTORY}/{to}", from.display())),
        );
        script.push(format!("symlink {UNIT_PATH} {DIRECTORY}/guest.service"));
        let file = disk.with_extension("debugfs");
        fs::write(&file, script.join("\n") + "\n")?;
        process::run(Command::new("/sbin/debugfs").args(["-w", "-f"]).arg(&file).arg(disk))
    }
}
