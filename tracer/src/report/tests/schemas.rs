//! The committed schemas are those of the types, and hold for what is rendered.

use std::{fs, path::Path};

use serde_json::Value;

use super::fixtures::all;
use crate::report::{Format, Style, render, schema};

fn assert_current(name: &str, schema: &schemars::Schema) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema").join(name);
    let current = serde_json::to_string_pretty(schema).unwrap() + "\n";
    if std::env::var_os("SIGREADY_UPDATE").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "docs/schema/{name} is not the schema of the types; update it with \
         `SIGREADY_UPDATE=1 cargo test -p sigready schema` and read the difference: \
         within a version, only additions are allowed"
    );
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    assert_current("timeline-v1.json", &schema::document());
    assert_current("timeline-v1-line.json", &schema::record());
    assert_current("lint-v1.json", &schema::lint());
    assert_current("race-v1.json", &schema::race());
}

#[test]
fn what_is_rendered_is_valid_by_the_schemas() {
    let document_schema = jsonschema::validator_for(schema::document().as_value()).unwrap();
    let record_schema = jsonschema::validator_for(schema::record().as_value()).unwrap();
    for (name, document) in all() {
        let json = render(&document, Format::Json, Style::default());
        let value: Value = serde_json::from_str(&json).unwrap();
        document_schema.validate(&value).unwrap_or_else(|error| panic!("{name}: {error}"));
        for line in render(&document, Format::Jsonl, Style::default()).lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            record_schema
                .validate(&value)
                .unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
        }
    }
}

#[test]
fn the_schemas_refuse_what_is_no_timeline() {
    let validator = jsonschema::validator_for(schema::document().as_value()).unwrap();
    let json = render(&super::fixtures::patroni_killed(), Format::Json, Style::default());
    let good: Value = serde_json::from_str(&json).unwrap();
    for (pointer, bad) in [
        ("/schema", Value::from("sigready/timeline/v2")),
        ("/services/0/activations/0/events/0/kind", Value::from("birth")),
        ("/services/0/activations/0/events/2/fate", Value::Null),
        ("/capture/events", Value::from(-1)),
    ] {
        let mut document = good.clone();
        *document.pointer_mut(pointer).unwrap() = bad;
        assert!(!validator.is_valid(&document), "{pointer}");
    }
}
