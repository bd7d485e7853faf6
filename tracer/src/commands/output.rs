//! Where a report goes.

use std::{
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
};

use anyhow::Context as _;
use sigready::{
    model::{
        document::{Activation, Capture, Document, MainChoice, Service},
        text::Outside,
    },
    report::{self, Format, PassError, Sink, Source, Style, Survey},
    timeline::Counting,
};

use super::{Verdict, fault::Fault, messages::Messages};
use crate::cli::{FailOn, Output};

/// What a first look at a document tells: the verdict, and what its table says of it as a whole.
pub struct Look<'a> {
    counting: &'a dyn Fn(&Document) -> Counting,
    /// What that says of this document.
    counted: Counting,
    fail_on: FailOn,
    survey: Survey,
    capture: Option<Capture>,
    /// The last service counts for the verdict.
    counts: bool,
    verdict: Verdict,
}

impl<'a> Look<'a> {
    /// Looks at all of a document. `counting` says which services count for its verdict.
    ///
    /// # Errors
    ///
    /// It can't be read.
    pub fn at(
        source: &mut dyn Source,
        options: &Output,
        counting: &'a dyn Fn(&Document) -> Counting,
    ) -> Result<Self, PassError> {
        let mut look = Self {
            counting,
            counted: Counting::All,
            fail_on: options.fail_on,
            survey: Survey::default(),
            capture: None,
            counts: false,
            verdict: Verdict::Clean,
        };
        source.each(&mut look)?;
        Ok(look)
    }
}

impl Sink for Look<'_> {
    fn capture(&mut self, document: &Document) -> io::Result<()> {
        self.counted = (self.counting)(document);
        self.capture = Some(document.capture.clone());
        self.survey.capture(document)
    }

    fn service(&mut self, service: &Service) -> io::Result<()> {
        self.counts = self.counted.judges(service.owner);
        self.survey.service(service)
    }

    fn start(&mut self, start: &Activation) -> io::Result<()> {
        let mut alerts = start.alerts.iter();
        if self.counts && alerts.any(|alert| self.fail_on.includes(alert.severity)) {
            self.verdict = Verdict::Alerts;
        }
        self.survey.start(start)
    }

    fn end(&mut self) -> io::Result<()> {
        self.survey.end()
    }
}

/// Writes the report to `--output` or to `stream`, and gives the verdict on it.
pub fn write(
    source: &mut dyn Source,
    look: &Look,
    options: &Output,
    stream: impl IsTerminal + Write,
    messages: &Messages,
) -> Result<Verdict, Fault> {
    let format = options.format.unwrap_or_else(|| by_name(options.output.as_deref()));
    let style = messages.style(&stream);
    let write = |source: &mut dyn Source, style: Style, out: &mut dyn Write| {
        report::write(source, &look.survey, format, style, out)
    };
    if let Some(path) = &options.output {
        let style = Style { color: false, ..style };
        report::save_with(path, &mut |out| Ok(write(source, style, out)?))?;
        messages.note(format_args!("report written to {}", Outside::path(path)));
    } else {
        let mut stream = BufWriter::new(stream);
        write(source, style, &mut stream).context("cannot write the report")?;
        stream.flush().context("cannot write the report")?;
    }
    let Some(capture) = &look.capture else { return Ok(look.verdict) };
    if let Some(MainChoice { pattern, matches }) = &capture.main {
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
    if !capture.untested.is_empty() {
        let why: Vec<String> =
            capture.untested.iter().map(|why| Outside::new(why).to_string()).collect();
        let why = why.join("; ");
        if look.verdict == Verdict::Clean {
            return Err(Fault::Failed(anyhow::anyhow!("not tested: {why}")));
        }
        // What else there is decides the status.
        messages.note(format_args!("not tested: {why}"));
    }
    Ok(look.verdict)
}

/// The report of a capture that has just ended.
pub fn write_live(
    document: &Document,
    options: &Output,
    counting: &Counting,
    stream: impl IsTerminal + Write,
    messages: &Messages,
) -> Result<Verdict, Fault> {
    let mut source = document;
    let counting = |_: &Document| counting.clone();
    let look = Look::at(&mut source, options, &counting).map_err(anyhow::Error::from)?;
    write(&mut source, &look, options, stream, messages)
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
        Some("svg") => Format::Svg,
        Some("html" | "htm") => Format::Html,
        _ => Format::Table,
    }
}
