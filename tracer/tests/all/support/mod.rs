//! What the tests of `sigready run` share.

pub mod container;
pub mod fuse;
pub mod printed;
pub mod table;
pub mod traces;

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;
use tempfile::TempDir;

/// The interpreter itself: a `python3` in PATH may be a chain of scripts.
pub const PYTHON: &str = "/usr/bin/python3";

/// What a run left.
pub struct Ran {
    /// Exit status.
    pub status: Option<i32>,
    /// The command's stdout.
    pub stdout: String,
    /// What sigready and the command said.
    pub stderr: String,
    /// The report.
    pub report: Value,
}

impl Ran {
    /// The one start.
    pub fn activation(&self) -> &Value {
        let activation = &self.report["services"][0]["activations"][0];
        assert!(activation.is_object(), "{:#}\n{}", self.report, self.stderr);
        activation
    }

    /// Its events of a kind.
    pub fn events(&self, kind: &str) -> Vec<&Value> {
        let events = self.activation()["events"].as_array().unwrap();
        events.iter().filter(|event| event["kind"] == kind).collect()
    }

    /// The HUPs it was sent.
    pub fn hups(&self) -> Vec<&Value> {
        self.events("signal").into_iter().filter(|event| event["signal"] == "HUP").collect()
    }

    /// Disposition and fate of the n-th HUP.
    pub fn hup(&self, n: usize) -> (&str, &str) {
        let hups = self.hups();
        assert!(n < hups.len(), "{:#}", self.activation());
        (hups[n]["disposition"].as_str().unwrap(), hups[n]["fate"].as_str().unwrap())
    }

    /// The ids of its alerts.
    pub fn alerts(&self) -> Vec<&str> {
        let alerts = self.activation()["alerts"].as_array().unwrap();
        alerts.iter().map(|alert| alert["id"].as_str().unwrap()).collect()
    }
}

/// `sigready run` or another that starts a command: with options, and its result as JSON.
pub fn command_of(name: &str, options: &[&str], command: &[&str]) -> (Output, Value) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("result.json");
    let output = Command::new(cargo_bin("sigready"))
        .arg(name)
        .args(options)
        .arg("--output")
        .arg(&file)
        .arg("--")
        .args(command)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let result = fs::read(&file).unwrap_or_else(|error| {
        panic!("no result: {error}\n{}", String::from_utf8_lossy(&output.stderr))
    });
    (output, serde_json::from_slice(&result).unwrap())
}

/// `sigready run` with options and a command; its report as JSON.
pub fn run(options: &[&str], command: &[&str]) -> Ran {
    let (output, report) = command_of("run", options, command);
    Ran {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        report,
    }
}

/// `run` of a Python program until it exits, sent HUP at the given moments.
pub fn python(program: &str, sends: &[&str]) -> Ran {
    let mut options = vec!["--until", "exit", "--timeout", "20s", "--type", "simple"];
    for send in sends {
        options.extend(["--send", send]);
    }
    run(&options, &[PYTHON, "-c", program])
}

/// `run` of a Python program, as a notify service, until it exits.
pub fn python_notify(program: &str, options: &[&str]) -> Ran {
    let mut all = vec!["--until", "exit", "--timeout", "20s"];
    all.extend(options);
    run(&all, &[PYTHON, "-c", program])
}

/// A process that is killed when dropped.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A C program, compiled.
pub struct Compiled {
    program: PathBuf,
    /// Where it is, unless programs are kept.
    #[allow(dead_code, reason = "keeps the directory")]
    directory: Option<TempDir>,
}

impl Compiled {
    /// Compiles it with gcc.
    pub fn new(source: &str) -> Self {
        Self::with(&["-pthread"], source)
    }

    /// The same with other options for the compiler. Where `SIGREADY_PROGRAMS` names a
    /// directory, it is kept there, and compiled only once: compilers are slow in
    /// emulated machines.
    pub fn with(options: &[&str], source: &str) -> Self {
        Self::by("gcc", options, source)
    }

    /// The same with another compiler.
    pub fn by(compiler: &str, options: &[&str], source: &str) -> Self {
        let Some(kept) = std::env::var_os("SIGREADY_PROGRAMS") else {
            let directory = tempfile::tempdir().unwrap();
            let program = directory.path().join("program");
            compile(compiler, options, source, &program);
            return Self { program, directory: Some(directory) };
        };
        let mut hasher = DefaultHasher::new();
        (compiler, options, source).hash(&mut hasher);
        let program = Path::new(&kept).join(format!("program-{:016x}", hasher.finish()));
        if !program.exists() {
            compile(compiler, options, source, &program);
        }
        Self { program, directory: None }
    }

    /// Its path.
    pub fn path(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    /// `run` of it until it exits.
    pub fn run(&self, sends: &[&str]) -> Ran {
        let mut options = vec!["--until", "exit", "--timeout", "20s", "--type", "simple"];
        for send in sends {
            options.extend(["--send", send]);
        }
        run(&options, &[&self.path()])
    }
}

fn compile(compiler: &str, options: &[&str], source: &str, program: &Path) {
    let directory = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
    let (file, unfinished) = (directory.path().join("program.c"), directory.path().join("program"));
    fs::write(&file, source).unwrap();
    let output = Command::new(compiler)
        // Static, so that it runs on any system that it is carried to.
        .args(["-Wall", "-Werror", "-static"])
        .args(options)
        .arg("-o")
        .args([&unfinished, &file])
        .output()
        .expect("the compiler is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::rename(unfinished, program).unwrap();
}

/// Whether the tests are told to use the better backend, in a virtual machine.
pub fn wants_fentry() -> bool {
    std::env::var("SIGREADY_BACKEND").as_deref() == Ok("fentry")
}

/// Whether they are told to use the other one.
pub fn wants_tracepoint() -> bool {
    std::env::var("SIGREADY_BACKEND").as_deref() == Ok("tracepoint")
}

/// Whether this kernel lets the better backend be used, found by using it. In the virtual
/// machines it is known (`SIGREADY_FENTRY`), and has to be so.
pub fn fentry_works() -> bool {
    let tried = sigready(&["run", "--backend", "fentry", "--type", "simple", "--", "/bin/true"]);
    let works = tried.status.success();
    let expected = std::env::var("SIGREADY_FENTRY").map_or(works, |known| known == "yes");
    assert_eq!(works, expected, "{}", String::from_utf8_lossy(&tried.stderr));
    works
}

/// Notes what a test has shown of this kernel and backend, for the compatibility page
/// (`cargo xtask vm`).
pub fn proved(what: &str, is_seen: bool) {
    println!("PROVED {what}: {}", if is_seen { "yes" } else { "no" });
}

/// sigready with these arguments, nothing more.
pub fn sigready(arguments: &[&str]) -> Output {
    Command::new(cargo_bin("sigready")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A file with this content.
pub fn file(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    path
}
