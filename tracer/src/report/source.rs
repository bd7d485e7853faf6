//! How documents are passed on: part by part, so that a large one is never in memory whole.

use std::io;

use super::ReadError;
use crate::model::document::{Activation, Document, Service};

/// What takes the parts of a document, in their order.
pub trait Sink {
    /// The first: the document without its services.
    ///
    /// # Errors
    ///
    /// What is written to cannot be written to. So it is with the others.
    fn capture(&mut self, document: &Document) -> io::Result<()> {
        let _ = document;
        Ok(())
    }

    /// A service without its starts, which follow.
    fn service(&mut self, service: &Service) -> io::Result<()> {
        let _ = service;
        Ok(())
    }

    /// A start of the last service.
    fn start(&mut self, start: &Activation) -> io::Result<()>;

    /// There is no more.
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a document comes from.
pub trait Source {
    /// Passes all its parts on; can be done again.
    ///
    /// # Errors
    ///
    /// It can't be read, or the sink could not be written to.
    fn each(&mut self, sink: &mut dyn Sink) -> Result<(), PassError>;
}

/// Why a document could not be passed on.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// Its text is not as it should be.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file could not be read.
    #[error("it can't be read: {0}")]
    Input(io::Error),
    /// The sink could not be written to.
    #[error("{0}")]
    Write(#[from] io::Error),
}

/// A document in memory.
impl Source for &Document {
    fn each(&mut self, sink: &mut dyn Sink) -> Result<(), PassError> {
        sink.capture(&self.without_services())?;
        for service in &self.services {
            sink.service(&service.without_starts())?;
            for start in &service.activations {
                sink.start(start)?;
            }
        }
        Ok(sink.end()?)
    }
}

/// Puts a document together again.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct Assembler {
    /// The document, once it has begun.
    pub document: Option<Document>,
}

#[cfg(test)]
impl Sink for Assembler {
    fn capture(&mut self, document: &Document) -> io::Result<()> {
        self.document = Some(document.clone());
        Ok(())
    }

    fn service(&mut self, service: &Service) -> io::Result<()> {
        if let Some(document) = &mut self.document {
            document.services.push(service.clone());
        }
        Ok(())
    }

    fn start(&mut self, start: &Activation) -> io::Result<()> {
        if let Some(service) = self.document.as_mut().and_then(|it| it.services.last_mut()) {
            service.activations.push(start.clone());
        }
        Ok(())
    }
}
