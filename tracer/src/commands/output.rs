//! Where a report goes.

use std::{
    io::{IsTerminal, Write},
    path::Path,
};

use anyhow::Context as _;
use sigready::{
    model::{
        document::{Document, MainChoice},
        text::Outside,
    },
    report::{self, Format, Style},
    timeline::Counting,
};

use super::{Verdict, fault::Fault, messages::Messages};
use crate::cli::Output;

/// Writes the report to `--output` or to `stream`, and gives the verdict on it: on the services
/// that count.
pub fn write(
    document: &Document,
    options: &Output,
    counting: &Counting,
    stream: impl IsTerminal + Write,
    messages: &Messages,
) -> Result<Verdict, Fault> {
    let format = options.format.unwrap_or_else(|| by_name(options.output.as_deref()));
    match &options.output {
        Some(path) => {
            let style = Style { color: false, ..messages.style(&stream) };
            report::save(path, report::render(document, format, style).as_bytes())?;
            messages.note(format_args!("report written to {}", path.display()));
        }
        None => print(&report::render(document, format, messages.style(&stream)), stream)?,
    }
    if let Some(MainChoice { pattern, matches }) = &document.capture.main {
        let pattern = Outside::new(pattern);
        match matches {
            0 => {
                return Err(Fault::Failed(anyhow::anyhow!(
                    "no process fits --main '{pattern}', so the service was not judged: it is \
                     compared with each process's name, its program's path and its command line"
                )));
            }
            1 => {}
            _ => messages.note(format_args!(
                "{matches} processes fit --main '{pattern}': the first of each start is judged"
            )),
        }
    }
    let verdict = verdict(document, options, counting);
    let untested = &document.capture.untested;
    if verdict == Verdict::Clean && !untested.is_empty() {
        let why: Vec<String> = untested.iter().map(|why| Outside::new(why).to_string()).collect();
        return Err(Fault::Failed(anyhow::anyhow!("not tested: {}", why.join("; "))));
    }
    Ok(verdict)
}

/// Writes text to a stream.
pub fn print(text: &str, mut stream: impl Write) -> Result<(), Fault> {
    stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.flush())
        .context("cannot write the report")?;
    Ok(())
}

/// The format that a file's name says.
fn by_name(path: Option<&Path>) -> Format {
    match path.and_then(Path::extension).and_then(|extension| extension.to_str()) {
        Some("json") => Format::Json,
        Some("jsonl" | "ndjson") => Format::Jsonl,
        _ => Format::Table,
    }
}

fn verdict(document: &Document, options: &Output, counting: &Counting) -> Verdict {
    let counts = document
        .services
        .iter()
        .filter(|service| counting.judges(service.owner))
        .flat_map(|service| &service.activations)
        .flat_map(|activation| &activation.alerts)
        .any(|alert| options.fail_on.includes(alert.severity));
    if counts { Verdict::Alerts } else { Verdict::Clean }
}
