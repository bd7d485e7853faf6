//! `sigready lint`: what unit files alone say, without tracing anything.

mod running;

use std::{
    io::stdout,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sigready::{
    host::named,
    lint::{LintReport, Location, Subject},
    model::{
        raw_name,
        text::{Outside, shell_word},
    },
    report::{
        self,
        lint::{json, table},
    },
    session::BadRequest,
    systemd::{
        opener::{self, Listing, WholeUnit, wait_for},
        unit_files,
    },
};

use super::{Verdict, fault::Fault, messages::Messages, output, regular_file, unit_names};
use crate::cli::{Lint, LintFormat};

/// Runs the command.
pub fn run(options: &Lint, messages: &Messages) -> Result<Verdict, Fault> {
    let files = Files::of(options)?;
    let place = Location {
        directory: files.listing.own_directory.clone().into(),
        options: match (&options.user, &options.root) {
            (Some(user), _) => format!("--user {}", shell_word(user)),
            (None, Some(root)) => format!("--root {}", shell_word(&root.display().to_string())),
            (None, None) => String::new(),
        },
    };
    let findings = if options.running {
        LintReport::of_running(running::services(options)?, &place)
    } else if options.what.is_empty() {
        LintReport::of(all(&files)?, &place)
    } else {
        let units = options.what.iter().map(|what| one(&files, what));
        let units = units.collect::<Result<Vec<Vec<Subject>>, Fault>>()?.concat();
        LintReport::of(units, &place)
    };
    let text = match options.format {
        LintFormat::Table => table(&findings, messages.style(&stdout())),
        LintFormat::Json => json(&findings).context("cannot write the findings as JSON")?,
    };
    match &options.output {
        Some(path) => {
            report::save(path, text.as_bytes())?;
            messages.note(format_args!("report written to {}", Outside::path(path)));
        }
        None => output::print(&text, stdout().lock())?,
    }
    let counts = findings.findings().any(|finding| options.fail_on.includes(finding.severity));
    Ok(if counts { Verdict::Alerts } else { Verdict::Clean })
}

/// The unit files of the system or user that was named.
struct Files {
    root: PathBuf,
    user: Option<u32>,
    listing: Listing,
}

impl Files {
    fn of(options: &Lint) -> Result<Self, Fault> {
        let root = options.root.clone().unwrap_or_else(|| "/".into());
        let user = options.user.as_deref().map(unit_names::user).transpose()?;
        let user = user.map(|user| user.uid);
        let listing = wait_for(opener::list(&root, user)).map_err(|error| {
            Fault::usage(format_args!("cannot open {}: {error}", Outside::path(&root)))
        })?;
        Ok(Self { root, user, listing })
    }

    fn read(&self, names: &[&str]) -> Result<Vec<WholeUnit>, Fault> {
        wait_for(opener::read(&self.root, self.user, names)).map_err(|error| {
            let place = Outside::new(&self.listing.place);
            Fault::usage(format_args!("cannot read the unit files {place}: {error}"))
        })
    }
}

/// Every service that systemd could load.
fn all(files: &Files) -> Result<Vec<Subject>, Fault> {
    let names: Vec<&str> = files.listing.names.iter().map(String::as_str).collect();
    if names.is_empty() {
        return Err(Fault::usage(format_args!(
            "there are no unit files {}: is there a systemd?",
            Outside::new(&files.listing.place)
        )));
    }
    // An alias is examined as the unit it names.
    let units = files.read(&names)?.into_iter().zip(names);
    let own = |(unit, asked)| subject(unit).filter(|unit| unit.name == asked);
    Ok(units.filter_map(own).collect())
}

fn subject(unit: WholeUnit) -> Option<Subject> {
    match unit {
        WholeUnit::Unit { name, facts, commands, files } => {
            Some(Subject { name, files, facts: *facts, commands })
        }
        WholeUnit::Masked | WholeUnit::Nothing => None,
    }
}

/// A unit by name or glob, or a file.
fn one(files: &Files, what: &Path) -> Result<Vec<Subject>, Fault> {
    let text = raw_name::os_text(what);
    let is_file = || {
        named::is_file(what).map_err(|error| {
            let what = Outside::path(what);
            BadRequest::unless_short(format_args!("cannot read {what}"), error)
        })
    };
    if text.contains('/') || is_file()? {
        return file(what).map(|unit| vec![unit]);
    }
    let name = unit_names::service(&text)?;
    if unit_names::is_glob(&name) {
        let matcher = unit_names::matcher(&name)?;
        let names = files.listing.names.iter().map(String::as_str);
        let names: Vec<&str> = names.filter(|name| matcher.is_match(name)).collect();
        let units: Vec<Subject> = files.read(&names)?.into_iter().filter_map(subject).collect();
        if units.is_empty() {
            return Err(Fault::usage(format_args!("no service matches '{name}'")));
        }
        return Ok(units);
    }
    match files.read(&[&name])?.into_iter().next() {
        Some(WholeUnit::Masked) => Err(Fault::usage(format_args!("'{name}' is masked"))),
        Some(unit @ WholeUnit::Unit { .. }) => Ok(subject(unit).into_iter().collect()),
        Some(WholeUnit::Nothing) | None => {
            Err(Fault::usage(format_args!("there is no unit file of '{name}'")))
        }
    }
}

/// A file that need not be installed, without drop-ins.
fn file(path: &Path) -> Result<Subject, Fault> {
    let bytes = regular_file::read(path, unit_files::MAX_SIZE)?;
    let name = raw_name::os_text(path.file_name().unwrap_or_default()).into_owned();
    let text = String::from_utf8_lossy(&bytes);
    let (facts, commands) = unit_files::parse(&name, &text).ok_or_else(|| {
        let path = Outside::path(path);
        Fault::usage(format_args!("{path} is no service: it has no [Service] section"))
    })?;
    Ok(Subject { name, files: vec![path.display().to_string()], facts, commands })
}
