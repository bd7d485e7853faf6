//! Reads a saved document back, from JSON or JSON Lines.

use serde::Deserialize;
use serde_json::{Deserializer, Value, error::Category};

use super::{
    escape,
    jsonl::{Counts, Record},
};
use crate::model::document::{Document, SCHEMA};

/// What the schema's name is without its version.
const FAMILY: &str = "sigready/timeline/v";

/// Why a document can't be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is nothing in it.
    #[error(
        "it is empty: the capture that was to write it has not finished, or failed; capture again"
    )]
    Empty,
    /// It is something else.
    #[error(
        "it is not a sigready capture: {0}; give a file that `sigready … --format json` or `--format jsonl` wrote"
    )]
    Foreign(String),
    /// It has another version of the format.
    #[error("it is {found}, and this sigready reads {SCHEMA}: use a newer sigready")]
    Version {
        /// Its `schema`.
        found: String,
    },
    /// Its end is missing.
    #[error("it is cut off: {0}; the program that wrote it was ended, or the copy is not complete")]
    Truncated(String),
    /// A part of it is not as it should be.
    #[error("line {line}, column {column}: {problem}{hint}")]
    Malformed {
        /// Counting from 1.
        line: usize,
        /// Counting from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
        /// What may have led to it.
        hint: String,
    },
    /// A line of JSON Lines is not the one that should be there.
    #[error("line {line}: {problem}; the lines must be whole and in the order they were written")]
    Misplaced {
        /// Counting from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// What tells the formats and versions apart.
#[derive(Deserialize)]
struct Probe {
    record: Option<Value>,
    schema: Option<Value>,
    tool: Option<Value>,
}

/// The document in `bytes`, told apart by content: JSON, or JSON Lines.
///
/// A byte order mark, CRLF line ends and blank lines are no obstacle, and fields
/// this version doesn't know are ignored.
pub fn read(bytes: &[u8]) -> Result<Document, ReadError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let Some(first) = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) else {
        return Err(ReadError::Empty);
    };
    if *first != b'{' {
        return Err(ReadError::Foreign("it does not begin with a JSON object".into()));
    }
    let probe: Probe = match Deserializer::from_slice(bytes).into_iter().next() {
        Some(Ok(probe)) => probe,
        Some(Err(error)) => return Err(malformed(&error, bytes, 1, None)),
        None => return Err(ReadError::Empty),
    };
    if let Some(record) = probe.record.as_ref().filter(|record| *record != "capture") {
        return Err(ReadError::Misplaced {
            line: 1,
            problem: format!(
                "the first record is {}, not \"capture\": the beginning is missing",
                escape::text(&record.to_string())
            ),
        });
    }
    check_schema(probe.schema.as_ref())?;
    let hint = version_hint(probe.tool.as_ref());
    if probe.record.is_some() {
        read_lines(bytes, hint.as_deref())
    } else {
        serde_json::from_slice(bytes).map_err(|error| malformed(&error, bytes, 1, hint.as_deref()))
    }
}

fn check_schema(schema: Option<&Value>) -> Result<(), ReadError> {
    match schema {
        Some(Value::String(schema)) if schema == SCHEMA => Ok(()),
        Some(Value::String(schema)) if schema.starts_with(FAMILY) => {
            Err(ReadError::Version { found: escape::text(schema).into_owned() })
        }
        Some(other) => Err(ReadError::Foreign(format!(
            "its schema is {}, not \"{SCHEMA}\"",
            escape::text(&other.to_string())
        ))),
        None => Err(ReadError::Foreign("it has no \"schema\"".into())),
    }
}

/// What to say of an error in a document that another version wrote.
fn version_hint(tool: Option<&Value>) -> Option<String> {
    let version = tool?.get("version")?.as_str()?;
    let own = env!("CARGO_PKG_VERSION");
    (version != own).then(|| {
        format!("; it was written by sigready {}, and this is {own}", escape::text(version))
    })
}

/// The error of `bytes`, whose first line is line `first` of the file.
fn malformed(
    error: &serde_json::Error,
    bytes: &[u8],
    first: usize,
    hint: Option<&str>,
) -> ReadError {
    let line = first + error.line().saturating_sub(1);
    let column = error.column();
    let text = error.to_string();
    // A number that was cut after its sign is not told from a wrong one by serde_json.
    let cut_number = text.starts_with("invalid number") && bytes.ends_with(b"-");
    if error.classify() == Category::Eof || cut_number {
        return ReadError::Truncated(format!("line {line} ends in the middle"));
    }
    // The position is told in the file's own lines.
    let problem = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem);
    let problem = match problem {
        "trailing characters" => "something follows the end of the document: give one capture only",
        other => other,
    };
    ReadError::Malformed {
        line,
        column,
        problem: escape::text(problem).into_owned(),
        hint: hint.unwrap_or_default().to_owned(),
    }
}

fn read_lines(bytes: &[u8], hint: Option<&str>) -> Result<Document, ReadError> {
    let mut reader = Reader::default();
    for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if text.trim_ascii().is_empty() {
            continue;
        }
        let record: Record =
            serde_json::from_slice(text).map_err(|error| malformed(&error, text, line, hint))?;
        let name = record.name();
        reader.take(record).map_err(|problem| ReadError::Misplaced {
            line,
            problem: format!("{problem} (this is a \"{name}\" record)"),
        })?;
    }
    match reader {
        Reader { document: Some(document), ended: true, .. } => Ok(document),
        _ => Err(ReadError::Truncated("its last line is not the \"end\" record".into())),
    }
}

/// Puts records together again, each in its place.
#[derive(Default)]
struct Reader {
    document: Option<Document>,
    counts: Counts,
    ended: bool,
}

impl Reader {
    fn take(&mut self, record: Record) -> Result<(), String> {
        if self.ended {
            return Err("it follows the \"end\" record: give one capture only".into());
        }
        let Some(document) = &mut self.document else {
            let Record::Capture(record) = record else {
                return Err("the \"capture\" record should come first".into());
            };
            self.document = Some(record.into_document());
            return Ok(());
        };
        let services = &mut document.services;
        match record {
            Record::Capture(_) => return Err("a second capture begins: give one only".into()),
            Record::Service(record) => {
                next("service", record.service, services.len())?;
                services.push(record.into_service());
                self.counts.services += 1;
            }
            Record::Activation(record) => {
                let service = last(services, "service", record.service)?;
                next("activation", record.activation, service.activations.len())?;
                service.activations.push(record.into_activation());
                self.counts.activations += 1;
            }
            Record::Event(record) => {
                let service = last(services, "service", record.service)?;
                let activation = last(&mut service.activations, "activation", record.activation)?;
                next("event", record.event, activation.events.len())?;
                activation.events.push(record.body.into_owned());
                self.counts.events += 1;
            }
            Record::Alert(record) => {
                let service = last(services, "service", record.service)?;
                let activation = last(&mut service.activations, "activation", record.activation)?;
                next("alert", record.alert, activation.alerts.len())?;
                activation.alerts.push(record.body.into_owned());
                self.counts.alerts += 1;
            }
            Record::End(counts) if counts == self.counts => self.ended = true,
            Record::End(counts) => {
                return Err(format!(
                    "it counts {}, and {} came: lines are missing",
                    in_words(counts),
                    in_words(self.counts)
                ));
            }
        }
        Ok(())
    }
}

/// The index a new element must have.
fn next(what: &str, found: usize, expected: usize) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "{what} {found} comes where {what} {expected} should: lines are missing, doubled or out of order"
    ))
}

/// The last element, if it has the index that a record names.
fn last<'a, T>(elements: &'a mut [T], what: &str, index: usize) -> Result<&'a mut T, String> {
    let expected = elements.len().checked_sub(1);
    elements.last_mut().filter(|_| expected == Some(index)).ok_or_else(|| match expected {
        Some(expected) => {
            format!(
                "it belongs to {what} {index}, but stands among the records of {what} {expected}"
            )
        }
        None => format!("it belongs to {what} {index}, whose own record is missing"),
    })
}

fn in_words(counts: Counts) -> String {
    let Counts { services, activations, events, alerts } = counts;
    format!("{services} services, {activations} activations, {events} events and {alerts} alerts")
}
