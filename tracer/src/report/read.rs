//! Reads a saved document back, from JSON or JSON Lines: of JSON Lines one start at a time, of
//! JSON one service at a time.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Deserializer, Value, error::Category};

use super::{
    jsonl::{Counts, Record},
    source::{PassError, Sink, Source},
};
use crate::model::{
    document::{Activation, Capture, Document, Host, SCHEMA, Service, Tool},
    text::{Outside, escaped, shortened},
};

/// The longest line of JSON Lines, bytes.
const MAX_LINE: u64 = 16 << 20;

/// A byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// The most white space before a document, bytes.
const MAX_BLANK: usize = 1 << 16;
/// How many bytes tell whether it can be a report.
pub const BEGINNING: u64 = MAX_BLANK as u64 + 8;

/// The longest description of what is wrong, characters: it may quote what stands there, and what
/// should.
const MAX_PROBLEM: usize = 600;

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

/// A JSON document without its services.
#[derive(Deserialize)]
struct Head {
    schema: String,
    tool: Tool,
    host: Host,
    capture: Capture,
}

/// A saved document, told apart by content: JSON, or JSON Lines.
///
/// A byte order mark, CRLF line ends and blank lines are no obstacle, and fields
/// this version doesn't know are ignored.
pub struct Saved<R> {
    input: R,
    /// Where its text begins, after a byte order mark.
    begin: u64,
    /// What to say of an error in it.
    hint: Option<String>,
    /// The document without its services, where it is JSON.
    head: Option<Document>,
}

impl<R: Read + Seek> Saved<R> {
    /// Looks at what it is.
    ///
    /// # Errors
    ///
    /// It is something else, has another version of the format, or is cut off.
    pub fn open(input: R) -> Result<Self, PassError> {
        let mut saved = Self { input, begin: 0, hint: None, head: None };
        let mut beginning = Vec::new();
        let text = saved.text()?;
        text.take(BEGINNING).read_to_end(&mut beginning).map_err(PassError::Input)?;
        check_beginning(&beginning)?;
        saved.begin = if beginning.starts_with(MARK) { MARK.len() as u64 } else { 0 };
        let probe: Probe = match Deserializer::from_reader(saved.text()?).into_iter().next() {
            Some(Ok(probe)) => probe,
            Some(Err(error)) => return Err(saved.malformed(&error)),
            None => return Err(ReadError::Empty.into()),
        };
        if let Some(record) = probe.record.as_ref().filter(|record| *record != "capture") {
            return Err(ReadError::Misplaced {
                line: 1,
                problem: format!(
                    "the first record is {}, not \"capture\": the beginning is missing",
                    Outside::quoting(record)
                ),
            }
            .into());
        }
        check_schema(probe.schema.as_ref())?;
        saved.hint = version_hint(probe.tool.as_ref());
        if probe.record.is_none() {
            let head = serde_json::from_reader(saved.text()?);
            let Head { schema, tool, host, capture } =
                head.map_err(|error| saved.malformed(&error))?;
            saved.head = Some(Document { schema, tool, host, capture, services: Vec::new() });
        }
        Ok(saved)
    }

    fn text(&mut self) -> Result<BufReader<&mut R>, PassError> {
        self.input.seek(SeekFrom::Start(self.begin)).map_err(PassError::Input)?;
        Ok(BufReader::with_capacity(1 << 16, &mut self.input))
    }

    /// The error of a document that is JSON.
    fn malformed(&mut self, error: &serde_json::Error) -> PassError {
        if error.is_io() {
            return PassError::Input(io::Error::other(error.to_string()));
        }
        let ends_in_sign = self.ends_in_sign();
        malformed(error, ends_in_sign, 1, self.hint.as_deref()).into()
    }

    fn ends_in_sign(&mut self) -> bool {
        let mut last = [0];
        let end = self.input.seek(SeekFrom::End(-1));
        end.is_ok() && self.input.read_exact(&mut last).is_ok() && last == *b"-"
    }

    fn each_of_json(&mut self, head: &Document, sink: &mut dyn Sink) -> Result<(), PassError> {
        sink.capture(head)?;
        let mut problem = None;
        let services = Services { sink: &mut *sink, problem: &mut problem };
        let mut text = Deserializer::from_reader(self.text()?);
        let read = services.deserialize(&mut text).and_then(|()| text.end());
        drop(text);
        match (read, problem) {
            (_, Some(problem)) => Err(problem.into()),
            (Err(error), None) => Err(self.malformed(&error)),
            (Ok(()), None) => Ok(sink.end()?),
        }
    }

    fn each_of_lines(&mut self, sink: &mut dyn Sink) -> Result<(), PassError> {
        let hint = self.hint.clone();
        let mut text = self.text()?;
        let mut reader = Reader::default();
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            let mut rest = text.by_ref().take(MAX_LINE);
            if rest.read_until(b'\n', &mut bytes).map_err(PassError::Input)? == 0 {
                break;
            }
            let is_whole = bytes.ends_with(b"\n");
            if !is_whole && bytes.len() as u64 == MAX_LINE {
                let problem = format!("it is longer than {MAX_LINE} bytes");
                return Err(ReadError::Misplaced { line, problem }.into());
            }
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            if is_whole {
                bytes.pop();
            }
            let ends_in_sign = bytes.ends_with(b"-");
            let record: Record = serde_json::from_slice(&bytes)
                .map_err(|error| malformed(&error, ends_in_sign, line, hint.as_deref()))?;
            let name = record.name();
            reader.take(record, sink).map_err(|trouble| match trouble {
                Trouble::Place(problem) => ReadError::Misplaced {
                    line,
                    problem: format!("{problem} (this is a \"{name}\" record)"),
                }
                .into(),
                Trouble::Write(error) => PassError::Write(error),
            })?;
        }
        if !reader.ended {
            return Err(
                ReadError::Truncated("its last line is not the \"end\" record".into()).into()
            );
        }
        Ok(sink.end()?)
    }
}

impl<R: Read + Seek> Source for Saved<R> {
    fn each(&mut self, sink: &mut dyn Sink) -> Result<(), PassError> {
        match self.head.clone() {
            Some(head) => self.each_of_json(&head, sink),
            None => self.each_of_lines(sink),
        }
    }
}

/// The document in `bytes`, whole.
///
/// # Panics
///
/// Memory can't be read.
#[cfg(test)]
pub fn read(bytes: &[u8]) -> Result<Document, ReadError> {
    let mut assembler = super::source::Assembler::default();
    let read = Saved::open(io::Cursor::new(bytes)).and_then(|mut it| it.each(&mut assembler));
    match read {
        Ok(()) => Ok(assembler.document.expect("it has begun")),
        Err(PassError::Read(error)) => Err(error),
        Err(error) => panic!("memory can be read: {error}"),
    }
}

/// Whether a report may begin like this: with a JSON object that has members. For what can be
/// read once only, or has no end.
///
/// # Errors
///
/// It is no report, or empty: there are fewer bytes than [`BEGINNING`] only if these are all.
pub fn check_beginning(bytes: &[u8]) -> Result<(), ReadError> {
    let text = bytes.strip_prefix(MARK).unwrap_or(bytes).trim_ascii_start();
    let Some(members) = text.strip_prefix(b"{") else {
        let is_empty = text.is_empty() && (bytes.len() as u64) < BEGINNING;
        return Err(if is_empty {
            ReadError::Empty
        } else if text.is_empty() {
            ReadError::Foreign(format!("it begins with {MAX_BLANK} bytes of white space"))
        } else {
            ReadError::Foreign("it does not begin with a JSON object".into())
        });
    };
    // What ends here is told by the parser: it is cut off.
    match members.trim_ascii_start().first() {
        Some(b'"' | b'}') => Ok(()),
        None if (bytes.len() as u64) < BEGINNING => Ok(()),
        _ => Err(ReadError::Foreign("its JSON object does not begin with a member".into())),
    }
}

/// Passes the services of a JSON document on, each once it is read.
struct Services<'a> {
    sink: &'a mut dyn Sink,
    /// What the sink could not be written to for.
    problem: &'a mut Option<io::Error>,
}

impl Services<'_> {
    fn pass_on(&mut self, service: &Service) -> io::Result<()> {
        self.sink.service(&service.without_starts())?;
        service.activations.iter().try_for_each(|start| self.sink.start(start))
    }
}

impl<'de> DeserializeSeed<'de> for Services<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, document: D) -> Result<(), D::Error> {
        document.deserialize_map(InDocument(self))
    }
}

/// Finds the services of a document.
struct InDocument<'a>(Services<'a>);

impl<'de> Visitor<'de> for InDocument<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a document")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<(), M::Error> {
        let mut services = Some(self.0);
        while let Some(name) = fields.next_key::<String>()? {
            if name != "services" {
                fields.next_value::<IgnoredAny>()?;
                continue;
            }
            let Some(services) = services.take() else {
                return Err(M::Error::duplicate_field("services"));
            };
            fields.next_value_seed(InServices(services))?;
        }
        if services.is_some() {
            return Err(M::Error::missing_field("services"));
        }
        Ok(())
    }
}

/// Goes through the services.
struct InServices<'a>(Services<'a>);

impl<'de> DeserializeSeed<'de> for InServices<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, services: D) -> Result<(), D::Error> {
        services.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for InServices<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a sequence")
    }

    fn visit_seq<S: SeqAccess<'de>>(mut self, mut services: S) -> Result<(), S::Error> {
        while let Some(service) = services.next_element::<Service>()? {
            if let Err(error) = self.0.pass_on(&service) {
                *self.0.problem = Some(error);
                return Err(S::Error::custom("it could not be passed on"));
            }
        }
        Ok(())
    }
}

fn check_schema(schema: Option<&Value>) -> Result<(), ReadError> {
    match schema {
        Some(Value::String(schema)) if schema == SCHEMA => Ok(()),
        Some(Value::String(schema)) if schema.starts_with(FAMILY) => {
            Err(ReadError::Version { found: Outside::new(schema).to_string() })
        }
        Some(other) => Err(ReadError::Foreign(format!(
            "its schema is {}, not \"{SCHEMA}\"",
            Outside::quoting(other)
        ))),
        None => Err(ReadError::Foreign("it has no \"schema\"".into())),
    }
}

/// What to say of an error in a document that another version wrote.
fn version_hint(tool: Option<&Value>) -> Option<String> {
    let version = tool?.get("version")?.as_str()?;
    let own = env!("CARGO_PKG_VERSION");
    (version != own).then(|| {
        format!("; it was written by sigready {}, and this is {own}", Outside::new(version))
    })
}

/// The error of a text that begins on line `first` of the file. `ends_in_sign`: with a minus.
fn malformed(
    error: &serde_json::Error,
    ends_in_sign: bool,
    first: usize,
    hint: Option<&str>,
) -> ReadError {
    let line = first + error.line().saturating_sub(1);
    let column = error.column();
    let text = error.to_string();
    // A number that was cut after its sign is not told from a wrong one by serde_json.
    let cut_number = text.starts_with("invalid number") && ends_in_sign;
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
        problem: shortened(&escaped(problem), MAX_PROBLEM).into_owned(),
        hint: hint.unwrap_or_default().to_owned(),
    }
}

/// Puts records together again, each in its place.
#[derive(Default)]
struct Reader {
    counts: Counts,
    began: bool,
    ended: bool,
    /// Starts of the last service.
    starts: usize,
    /// The last of them, whose events and alerts may follow.
    start: Option<Activation>,
}

/// Why a record could not be taken.
enum Trouble {
    /// It is not the one that should be there.
    Place(String),
    /// The sink could not be written to.
    Write(io::Error),
}

impl From<String> for Trouble {
    fn from(problem: String) -> Self {
        Self::Place(problem)
    }
}

impl From<&str> for Trouble {
    fn from(problem: &str) -> Self {
        Self::Place(problem.into())
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl Reader {
    fn take(&mut self, record: Record, sink: &mut dyn Sink) -> Result<(), Trouble> {
        if self.ended {
            return Err("it follows the \"end\" record: give one capture only".into());
        }
        if !self.began {
            let Record::Capture(record) = record else {
                return Err("the \"capture\" record should come first".into());
            };
            self.began = true;
            return Ok(sink.capture(&record.into_document())?);
        }
        match record {
            Record::Capture(_) => return Err("a second capture begins: give one only".into()),
            Record::Service(record) => {
                next("service", record.service, self.counts.services)?;
                self.start_is_over(sink)?;
                self.counts.services += 1;
                self.starts = 0;
                sink.service(&record.into_service())?;
            }
            Record::Activation(record) => {
                self.belongs_to_service(record.service)?;
                next("activation", record.activation, self.starts)?;
                self.start_is_over(sink)?;
                self.counts.activations += 1;
                self.starts += 1;
                self.start = Some(record.into_activation());
            }
            Record::Event(record) => {
                let start = self.start(record.service, record.activation)?;
                next("event", record.event, start.events.len())?;
                start.events.push(record.body.into_owned());
                self.counts.events += 1;
            }
            Record::Alert(record) => {
                let start = self.start(record.service, record.activation)?;
                next("alert", record.alert, start.alerts.len())?;
                start.alerts.push(record.body.into_owned());
                self.counts.alerts += 1;
            }
            Record::End(counts) if counts == self.counts => {
                self.start_is_over(sink)?;
                self.ended = true;
            }
            Record::End(counts) => {
                return Err(Trouble::Place(format!(
                    "it counts {}, and {} came: lines are missing",
                    in_words(counts),
                    in_words(self.counts)
                )));
            }
        }
        Ok(())
    }

    fn start_is_over(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        self.start.take().map_or(Ok(()), |start| sink.start(&start))
    }

    fn belongs_to_service(&self, service: usize) -> Result<(), String> {
        is_last("service", service, self.counts.services)
    }

    /// The start that a record names.
    fn start(&mut self, service: usize, start: usize) -> Result<&mut Activation, String> {
        self.belongs_to_service(service)?;
        is_last("activation", start, self.starts)?;
        self.start.as_mut().ok_or_else(|| missing("activation", start))
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

/// Whether the last of so many elements has the index that a record names.
fn is_last(what: &str, index: usize, count: usize) -> Result<(), String> {
    match count.checked_sub(1) {
        Some(last) if last == index => Ok(()),
        Some(last) => Err(format!(
            "it belongs to {what} {index}, but stands among the records of {what} {last}"
        )),
        None => Err(missing(what, index)),
    }
}

fn missing(what: &str, index: usize) -> String {
    format!("it belongs to {what} {index}, whose own record is missing")
}

fn in_words(counts: Counts) -> String {
    let Counts { services, activations, events, alerts } = counts;
    format!("{services} services, {activations} activations, {events} events and {alerts} alerts")
}
