//! Where in a document what is written has come to.

use super::{survey::Survey, view::View};
use crate::model::document::{Activation, Document, Service};

/// What came before a start, without the starts themselves.
#[derive(Default)]
pub struct Position {
    /// The document, without its services.
    pub document: Option<Document>,
    service: Option<Service>,
    /// Services that came, this one included.
    services: usize,
    /// Starts of it that came, the last one included.
    starts_of_service: usize,
    /// Starts of all services that came, the last one included.
    pub starts: usize,
}

impl Position {
    /// A document begins.
    pub fn capture(&mut self, document: &Document) {
        self.document = Some(document.clone());
    }

    /// A service begins.
    pub fn service(&mut self, service: &Service) {
        self.service = Some(service.clone());
        self.services += 1;
        self.starts_of_service = 0;
    }

    /// A start begins.
    pub fn start(&mut self) {
        self.starts += 1;
        self.starts_of_service += 1;
    }

    /// The start that has begun, with all it takes to tell of it; `None` where no document or
    /// service has.
    pub fn view<'a>(&'a self, survey: &'a Survey, activation: &'a Activation) -> Option<View<'a>> {
        Some(View {
            document: self.document.as_ref()?,
            survey,
            service: self.service.as_ref()?,
            starts: survey.starts_of(self.services - 1),
            index: self.starts_of_service - 1,
            activation,
        })
    }
}
