//! Any document at all: hostile texts, the largest numbers, nonsense that a capture would not
//! produce but a file can hold. It is made after the schema of documents, so no field is left out.

use proptest::{collection::vec, prelude::*, strategy::Union};
use serde_json::{Map, Value, json};

use crate::model::{
    document::{Document, WallTime},
    signal::Signal,
};

/// How deep objects are within each other where what holds them can do without: a sender may name
/// a sender that asked it.
const DEEPEST: usize = 9;

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        "[a-z]{0,12}",
        any::<String>(),
        vec(
            prop_oneof![
                Just('\u{1b}'),
                Just('\u{202e}'),
                Just('\u{9b}'),
                Just('\u{200d}'),
                Just('\u{10feff}'),
                Just('\n'),
                Just('"'),
                Just('\\'),
                Just('デ'),
                Just('🦀'),
                Just('\u{301}'),
                Just('ل'),
                Just('ا'),
                Just('🇩'),
                Just('\u{fe0f}'),
                any::<char>(),
            ],
            0..40
        )
        .prop_map(|chars| chars.into_iter().collect()),
    ]
    .boxed()
}

fn signal() -> BoxedStrategy<Value> {
    let named = |number| Signal::from_number(number).map(|signal| json!(signal));
    (1..=64_u32).prop_filter_map("a signal", named).boxed()
}

/// A wall-clock time to the microsecond, as documents hold it.
fn wall() -> BoxedStrategy<Value> {
    (-62_135_596_800_000_000..253_402_200_000_000_000_i64)
        .prop_map(|micros| json!(WallTime(jiff::Timestamp::from_microsecond(micros).unwrap())))
        .boxed()
}

fn number(format: &str) -> BoxedStrategy<Value> {
    match format {
        "uint8" => any::<u8>().prop_map(Value::from).boxed(),
        "uint32" => any::<u32>().prop_map(Value::from).boxed(),
        "int32" => any::<i32>().prop_map(Value::from).boxed(),
        // Places in a list, too.
        "uint64" | "uint" => {
            prop_oneof![0..50_u64, Just(u64::MAX), any::<u64>()].prop_map(Value::from).boxed()
        }
        "int64" => prop_oneof![
            4 => 0..2_000_000_000_i64,
            1 => Just(0),
            1 => any::<i64>(),
            1 => Just(i64::MIN),
            1 => Just(i64::MAX),
        ]
        .prop_map(Value::from)
        .boxed(),
        _ => panic!("numbers of the format {format}"),
    }
}

/// A document's schema.
struct Schemas(Value);

impl Schemas {
    /// Whatever a part of the schema allows.
    fn value(&self, schema: &Value, depth: usize) -> BoxedStrategy<Value> {
        if let Some(name) = schema["$ref"].as_str().and_then(|to| to.strip_prefix("#/$defs/")) {
            let named = match name {
                "Signal" => signal(),
                "WallTime" => wall(),
                _ => self.value(&self.0["$defs"][name], depth),
            };
            return self.with_own(named, schema, depth);
        }
        if let Some(value) = schema.get("const") {
            return Just(value.clone()).boxed();
        }
        let alternatives = schema.get("oneOf").or_else(|| schema.get("anyOf"));
        if let Some(alternatives) = alternatives.and_then(Value::as_array) {
            let any = Union::new(alternatives.iter().map(|it| self.value(it, depth)));
            return self.with_own(any.boxed(), schema, depth);
        }
        let kinds = match &schema["type"] {
            Value::Array(kinds) => kinds.clone(),
            kind => vec![kind.clone()],
        };
        let any = kinds.iter().map(|kind| self.of_kind(kind.as_str().unwrap(), schema, depth));
        Union::new(any).boxed()
    }

    /// What an alternative or a named schema has, with what is said beside it.
    fn with_own(
        &self,
        value: BoxedStrategy<Value>,
        schema: &Value,
        depth: usize,
    ) -> BoxedStrategy<Value> {
        (value, self.object(schema, depth)).prop_map(|(value, own)| merged(value, own)).boxed()
    }

    fn of_kind(&self, kind: &str, schema: &Value, depth: usize) -> BoxedStrategy<Value> {
        match kind {
            "null" => Just(Value::Null).boxed(),
            "boolean" => any::<bool>().prop_map(Value::from).boxed(),
            "string" => text().prop_map(Value::from).boxed(),
            "integer" => number(schema["format"].as_str().unwrap()),
            "array" => self.array(schema, depth),
            "object" => self.object(schema, depth).prop_map(Value::from).boxed(),
            _ => panic!("values of the kind {kind}"),
        }
    }

    fn array(&self, schema: &Value, depth: usize) -> BoxedStrategy<Value> {
        if let Some(items) = schema["prefixItems"].as_array() {
            let items: Vec<_> = items.iter().map(|item| self.value(item, depth + 1)).collect();
            return items.prop_map(Value::from).boxed();
        }
        let item = &schema["items"];
        let most = if item["$ref"] == "#/$defs/Event" { 45 } else { 3 };
        vec(self.value(item, depth + 1), 0..most).prop_map(Value::from).boxed()
    }

    fn object(&self, schema: &Value, depth: usize) -> BoxedStrategy<Map<String, Value>> {
        if let Some(value) = schema.get("additionalProperties").filter(|it| it.is_object()) {
            let entries =
                proptest::collection::btree_map(text(), self.value(value, depth + 1), 0..3);
            return entries.prop_map(|entries| entries.into_iter().collect()).boxed();
        }
        let required = schema["required"].as_array();
        let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|it| it == name));
        let mut fields: Vec<BoxedStrategy<Option<(String, Value)>>> = Vec::new();
        for (name, value) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = is_required(name);
            if !is_required && depth > DEEPEST {
                continue;
            }
            let name = name.clone();
            let value = self.value(value, depth + 1);
            fields.push(
                (value, any::<bool>())
                    .prop_map(move |(value, is_there)| {
                        (is_required || is_there).then(|| (name.clone(), value))
                    })
                    .boxed(),
            );
        }
        fields.prop_map(|fields| fields.into_iter().flatten().collect()).boxed()
    }
}

fn merged(mut value: Value, own: Map<String, Value>) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.extend(own);
    }
    value
}

/// A document.
pub fn document() -> impl Strategy<Value = Document> {
    let schemas = Schemas(schemars::schema_for!(Document).to_value());
    let document = schemas.value(&schemas.0, 0);
    document.prop_map(|value| {
        let read = serde_json::from_value(value.clone());
        read.unwrap_or_else(|error| panic!("{error}: {value:#}"))
    })
}
