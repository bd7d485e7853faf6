//! What is written can be read back, and gives the same again.

use proptest::prelude::*;

use super::{arbitrary, fixtures::all};
use crate::{
    model::document::Document,
    report::{Format, Style, read, render},
};

const FORMATS: [Format; 6] =
    [Format::Table, Format::Json, Format::Jsonl, Format::Svg, Format::Html, Format::TraceEvent];

fn assert_same_after_reading(document: &Document) {
    for saved in [Format::Json, Format::Jsonl] {
        let bytes = render(document, saved, Style::default());
        let again = read(bytes.as_bytes()).unwrap();
        assert_eq!(&again, document);
        for format in FORMATS {
            for style in [Style::default(), Style { color: true, width: 133 }] {
                assert_eq!(render(&again, format, style), render(document, format, style));
            }
        }
    }
}

#[test]
fn every_fixture_reads_back_as_it_was() {
    for (_, document) in all() {
        assert_same_after_reading(&document);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_document_reads_back_as_it_was(document in arbitrary::document()) {
        assert_same_after_reading(&document);
    }

    #[test]
    fn no_document_reaches_the_terminal_unescaped_or_overflows_it(
        document in arbitrary::document(),
        width in 0_u16..200,
    ) {
        for format in FORMATS {
            let text = render(&document, format, Style { color: false, width });
            prop_assert!(text.ends_with('\n'));
            for c in text.chars() {
                prop_assert!(c == '\n' || !c.is_control(), "{:?}", c);
                prop_assert!(!matches!(c, '\u{202a}'..='\u{202e}'), "{:?}", c);
            }
        }
        let table = render(&document, Format::Table, Style { color: false, width });
        for line in table.lines() {
            prop_assert!(crate::report::text::width(line) <= usize::from(width.max(60)), "{}", line);
        }
    }
}

#[test]
fn a_live_document_finer_than_a_microsecond_gives_the_bytes_of_the_saved_one() {
    let mut document = super::fixtures::good_start();
    let finer = "2026-01-01T00:00:00.123456999Z".parse().unwrap();
    document.capture.started_at.0 = finer;
    document.services[0].activations[0].started_at.0 = finer;
    let saved = render(&document, Format::Json, Style::default());
    let again = read(saved.as_bytes()).unwrap();
    for format in FORMATS {
        let style = Style::default();
        assert_eq!(render(&again, format, style), render(&document, format, style));
    }
}
