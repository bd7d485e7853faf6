//! JSON Schemas of the formats, generated from their types.

use schemars::{Schema, generate::SchemaSettings};
use serde_json::Value;

use super::jsonl::Record;
use crate::{
    lint::{self, LintReport},
    model::{
        document::{Document, SCHEMA},
        race::{self, Race},
    },
};

/// The schema of a document.
#[must_use]
pub fn document() -> Schema {
    let mut schema = settings().into_root_schema_for::<Document>();
    set_title(&mut schema, SCHEMA);
    schema
}

/// The schema of a line of JSON Lines.
#[must_use]
pub fn record() -> Schema {
    let mut schema = settings().into_root_schema_for::<Record>();
    set_title(&mut schema, "sigready/timeline/v1, a line of JSON Lines");
    schema
}

/// The schema of the findings of `lint`.
#[must_use]
pub fn lint() -> Schema {
    let mut schema = settings().into_root_schema_for::<LintReport>();
    set_title(&mut schema, lint::SCHEMA);
    schema
}

/// The schema of the result of a race.
#[must_use]
pub fn race() -> Schema {
    let mut schema = settings().into_root_schema_for::<Race>();
    set_title(&mut schema, race::SCHEMA);
    schema
}

/// As written, not as read: what is always there is required.
fn settings() -> schemars::SchemaGenerator {
    SchemaSettings::draft2020_12().for_serialize().into_generator()
}

fn set_title(schema: &mut Schema, title: &str) {
    schema.insert("title".into(), Value::from(title));
}
