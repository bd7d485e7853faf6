//! `sigready lint`: what unit files alone say, without tracing anything.

mod running;

use std::{
    io::stdout,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sigready::{
    lint::{Lint as Findings, Place, Subject},
    report::{
        self,
        lint::{json, table},
    },
    systemd::unit_files::{self, Found, UnitFiles},
};

use super::{Verdict, fault::Fault, messages::Messages, output, regular_file, unit_names};
use crate::cli::{Lint, LintFormat};

/// Runs the command.
pub fn run(options: &Lint, messages: &Messages) -> Result<Verdict, Fault> {
    let files = files(options)?;
    let place = Place {
        directory: files.own_directory(),
        options: match (&options.user, &options.root) {
            (Some(user), _) => format!("--user {user}"),
            (None, Some(root)) => format!("--root {}", root.display()),
            (None, None) => String::new(),
        },
    };
    let findings = if options.running {
        Findings::of_running(running::services(options)?, &place)
    } else if options.what.is_empty() {
        Findings::of(all(&files)?, &place)
    } else {
        let units = options.what.iter().map(|what| one(&files, what));
        let units = units.collect::<Result<Vec<Vec<Subject>>, Fault>>()?.concat();
        Findings::of(units, &place)
    };
    let text = match options.format {
        LintFormat::Table => table(&findings, messages.style(&stdout())),
        LintFormat::Json => json(&findings).context("cannot write the findings as JSON")?,
    };
    match &options.output {
        Some(path) => {
            report::save(path, text.as_bytes())?;
            messages.note(format_args!("report written to {}", path.display()));
        }
        None => output::print(&text, stdout().lock())?,
    }
    let counts = findings.findings().any(|finding| options.fail_on.includes(finding.severity));
    Ok(if counts { Verdict::Alerts } else { Verdict::Clean })
}

/// The unit files of the system or user that was named.
fn files(options: &Lint) -> Result<UnitFiles, Fault> {
    if let Some(name) = &options.user {
        return Ok(UnitFiles::of_user(&unit_names::user(name)?).context("cannot open /")?);
    }
    let root = options.root.as_deref().unwrap_or(Path::new("/"));
    UnitFiles::of_system(root)
        .map_err(|error| Fault::usage(format_args!("cannot open {}: {error}", root.display())))
}

/// Every service that systemd could load.
fn all(files: &UnitFiles) -> Result<Vec<Subject>, Fault> {
    let names = files.services();
    if names.is_empty() {
        return Err(Fault::usage(format_args!(
            "there are no unit files {}: is there a systemd?",
            files.place()
        )));
    }
    // An alias is examined as the unit it names.
    let read = |name: String| match files.read(&name) {
        Found::Unit { name: own, facts, commands, files } if own == name => {
            Some(Subject { name, files: shown(&files), facts: *facts, commands })
        }
        _ => None,
    };
    Ok(names.into_iter().filter_map(read).collect())
}

/// A unit by name or glob, or a file.
fn one(files: &UnitFiles, what: &Path) -> Result<Vec<Subject>, Fault> {
    let text = what.to_string_lossy();
    if text.contains('/') || what.is_file() {
        return file(what).map(|unit| vec![unit]);
    }
    let name = unit_names::with_suffix(&text);
    if unit_names::is_glob(&name) {
        let matcher = unit_names::matcher(&name)?;
        let names = files.services().into_iter().filter(|name| matcher.is_match(name));
        let units: Vec<Subject> = names.filter_map(|name| named(files, &name).ok()).collect();
        if units.is_empty() {
            return Err(Fault::usage(format_args!("no service matches '{name}'")));
        }
        return Ok(units);
    }
    named(files, &name).map(|unit| vec![unit])
}

fn named(files: &UnitFiles, name: &str) -> Result<Subject, Fault> {
    match files.read(name) {
        Found::Unit { name, facts, commands, files } => {
            Ok(Subject { name, files: shown(&files), facts: *facts, commands })
        }
        Found::Masked => Err(Fault::usage(format_args!("'{name}' is masked"))),
        Found::Nothing => Err(Fault::usage(format_args!("there is no unit file of '{name}'"))),
    }
}

/// A file that need not be installed, without drop-ins.
fn file(path: &Path) -> Result<Subject, Fault> {
    let bytes = regular_file::read(path, unit_files::MAX_SIZE)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = String::from_utf8_lossy(&bytes);
    let (facts, commands) = unit_files::parse(&name, &text).ok_or_else(|| {
        Fault::usage(format_args!("{} is no service: it has no [Service] section", path.display()))
    })?;
    Ok(Subject { name, files: vec![path.display().to_string()], facts, commands })
}

fn shown(files: &[PathBuf]) -> Vec<String> {
    files.iter().map(|file| file.display().to_string()).collect()
}
