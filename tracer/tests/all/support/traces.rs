//! `sigready trace` on units in containers, and what its reports say.

use std::{
    fs,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use super::container::Container;

/// How long it may take to attach.
const PATIENCE: Duration = Duration::from_mins(1);

/// A trace, already attached.
pub struct Trace {
    child: Child,
    directory: TempDir,
}

/// What a trace left.
pub struct Traced {
    /// Exit status.
    pub status: Option<i32>,
    /// What it wrote to stderr.
    pub said: String,
    /// Its report.
    pub report: Value,
}

impl Trace {
    /// Starts one, and waits until it is attached.
    pub fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(cargo_bin("sigready"))
            .args(["trace", "-v"])
            .args(arguments)
            .args(["--format", "json", "--output"])
            .arg(directory.path().join("trace.json"))
            .stderr(fs::File::create(directory.path().join("said")).unwrap())
            .spawn()
            .unwrap();
        let mut trace = Self { child, directory };
        let begun = Instant::now();
        while !trace.said().contains("tracing") {
            let over = trace.child.try_wait().unwrap();
            assert!(over.is_none() && begun.elapsed() < PATIENCE, "{over:?}: {}", trace.said());
            thread::sleep(Duration::from_millis(5));
        }
        trace
    }

    /// The same for a command with the container's units.
    pub fn start_in(container: &Container, arguments: &[&str]) -> Self {
        let root = format!("/proc/{}/root", container.init());
        Self::start(&[&["--root", &root], arguments].concat())
    }

    /// Ends it as Ctrl-C would.
    pub fn end(self) -> Traced {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).unwrap();
        self.wait()
    }

    /// Waits until it is over.
    pub fn wait(mut self) -> Traced {
        let status = self.child.wait().unwrap().code();
        let said = self.said();
        let report = fs::read(self.directory.path().join("trace.json"))
            .unwrap_or_else(|error| panic!("no report: {error}\n{said}"));
        let report: Value = serde_json::from_slice(&report).unwrap();
        // For whoever reads why a test failed.
        println!("{said}\n{:#}", report["capture"]);
        Traced { status, said, report }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("said")).unwrap()
    }
}

impl Traced {
    /// A unit's service.
    pub fn service(&self, unit: &str) -> &Value {
        let mut services = self.report["services"].as_array().unwrap().iter();
        let service = services.find(|service| service["name"] == unit);
        service.unwrap_or_else(|| panic!("no {unit}: {:#}\n{}", self.report, self.said))
    }

    /// A unit's starts.
    pub fn activations(&self, unit: &str) -> &Vec<Value> {
        self.service(unit)["activations"].as_array().unwrap()
    }
}

/// A start's events of a kind.
pub fn events<'a>(activation: &'a Value, kind: &str) -> Vec<&'a Value> {
    activation["events"].as_array().unwrap().iter().filter(|event| event["kind"] == kind).collect()
}

/// The HUPs that were sent to it.
pub fn hups(activation: &Value) -> Vec<&Value> {
    events(activation, "signal").into_iter().filter(|event| event["signal"] == "HUP").collect()
}

/// The ids of its alerts.
pub fn alerts(activation: &Value) -> Vec<&str> {
    let alerts = activation["alerts"].as_array().unwrap().iter();
    alerts.map(|alert| alert["id"].as_str().unwrap()).collect()
}
