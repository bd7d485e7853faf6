//! The document as JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::{escape, source::Sink};
use crate::model::document::{Activation, Document, Service};

/// How an object ends whose last field is a list that is still empty.
const OPEN: &str = "[]";

/// Writes JSON, indented, with a newline at its end. Documents and services end with the list
/// of what they contain: it is put in there.
pub struct Json<W> {
    out: W,
    services: usize,
    starts: usize,
}

impl<W: Write> Json<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, services: 0, starts: 0 }
    }

    /// An object as the element of a list at a depth, but for `end`, with which it ends.
    fn element(&mut self, value: &impl Serialize, depth: usize, end: &str) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value)
            .expect("a part has string keys and no type of its own that can fail");
        // Strings have no newline of their own in JSON.
        let text = text.replace('\n', &format!("\n{:depth$}", ""));
        let text = text.strip_suffix(end).expect("the list is its last field");
        write!(self.out, "{:depth$}{}", "", escape::json(text))
    }

    fn begin_element(&mut self, count: usize) -> io::Result<()> {
        self.out.write_all(if count == 0 { b"[\n" } else { b",\n" })
    }

    fn end_list(&mut self, count: usize, depth: usize) -> io::Result<()> {
        if count == 0 {
            return write!(self.out, "{OPEN}");
        }
        write!(self.out, "\n{:depth$}]", "")
    }

    fn end_service(&mut self) -> io::Result<()> {
        if self.services == 0 {
            return Ok(());
        }
        self.end_list(self.starts, 6)?;
        self.starts = 0;
        write!(self.out, "\n    }}")
    }
}

impl<W: Write> Sink for Json<W> {
    fn capture(&mut self, document: &Document) -> io::Result<()> {
        self.element(document, 0, &format!("{OPEN}\n}}"))
    }

    fn service(&mut self, service: &Service) -> io::Result<()> {
        self.end_service()?;
        self.begin_element(self.services)?;
        self.services += 1;
        self.element(service, 4, &format!("{OPEN}\n    }}"))
    }

    fn start(&mut self, start: &Activation) -> io::Result<()> {
        self.begin_element(self.starts)?;
        self.starts += 1;
        self.element(start, 8, "")
    }

    fn end(&mut self) -> io::Result<()> {
        self.end_service()?;
        self.end_list(self.services, 2)?;
        self.out.write_all(b"\n}\n")
    }
}
