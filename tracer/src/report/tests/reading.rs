//! What can't be read is refused by a sentence that says where and what to do.

use super::fixtures;
use crate::report::{Format, ReadError, Style, read, render};

fn json() -> String {
    render(&fixtures::patroni_killed(), Format::Json, Style::default())
}

fn jsonl() -> String {
    render(&fixtures::patroni_killed(), Format::Jsonl, Style::default())
}

fn refusal(bytes: impl AsRef<[u8]>) -> String {
    read(bytes.as_ref()).unwrap_err().to_string()
}

#[test]
fn a_byte_order_mark_crlf_and_blank_lines_are_no_obstacle() {
    let document = fixtures::patroni_killed();
    for text in [json(), jsonl()] {
        let windows = format!("\u{feff}{}\r\n\r\n  \r\n", text.replace('\n', "\r\n"));
        assert_eq!(read(windows.as_bytes()).unwrap(), document);
    }
}

#[test]
fn a_document_on_one_line_is_json_and_not_json_lines() {
    let compact = serde_json::to_string(&fixtures::patroni_killed()).unwrap();
    assert_eq!(read(compact.as_bytes()).unwrap(), fixtures::patroni_killed());
}

#[test]
fn fields_of_a_later_minor_version_are_ignored() {
    let document = fixtures::patroni_killed();
    let json = json().replacen("\"hostname\"", "\"rack\": {\"row\": [1]}, \"hostname\"", 1);
    assert_eq!(read(json.as_bytes()).unwrap(), document);
    let jsonl = jsonl()
        .replace("\"record\":\"event\"", "\"record\":\"event\",\"cpu\":3")
        .replace("\"record\":\"alert\"", "\"record\":\"alert\",\"seen\":null");
    assert_eq!(read(jsonl.as_bytes()).unwrap(), document);
}

#[test]
fn a_newer_version_asks_for_a_newer_sigready() {
    for text in [json(), jsonl()] {
        let newer = text.replace("timeline/v1", "timeline/v2");
        assert_eq!(
            refusal(newer),
            "it is sigready/timeline/v2, and this sigready reads sigready/timeline/v1: use a newer sigready"
        );
    }
}

#[test]
fn an_event_of_a_later_kind_names_the_version_that_wrote_it() {
    for text in [json(), jsonl()] {
        let later = text
            .replace("\"version\": \"0.1.0\"", "\"version\": \"0.9.0\"")
            .replace("\"version\":\"0.1.0\"", "\"version\":\"0.9.0\"")
            .replace("\"kind\": \"fork\"", "\"kind\": \"birth\"")
            .replace("\"kind\":\"fork\"", "\"kind\":\"birth\"");
        let refusal = refusal(later);
        assert!(refusal.contains("unknown variant `birth`"), "{refusal}");
        assert!(refusal.contains("written by sigready 0.9.0"), "{refusal}");
        assert!(refusal.starts_with("line "), "{refusal}");
    }
}

#[test]
fn an_empty_file_is_called_empty() {
    for empty in ["", " \n\r\n\t", "\u{feff}"] {
        assert_eq!(read(empty.as_bytes()).unwrap_err(), ReadError::Empty);
    }
}

#[test]
fn other_files_are_called_foreign() {
    for foreign in [
        &b"\x7fELF\x02\x01\x01"[..],
        b"patroni.service: killed by HUP",
        b"[1, 2]",
        b"{}",
        b"{\"level\":\"info\",\"msg\":\"hello\"}\n{\"level\":\"info\"}\n",
        b"{\"schema\": \"https://json-schema.org/draft/2020-12/schema\"}",
        b"{\"schema\": 7}",
    ] {
        let error = read(foreign).unwrap_err();
        assert!(matches!(error, ReadError::Foreign(_)), "{error}");
    }
}

#[test]
fn a_cut_is_recognised_wherever_it_is() {
    for text in [json(), jsonl()] {
        let text = text.trim_end();
        for end in 1..text.len() {
            let refusal = refusal(&text[..end]);
            assert!(refusal.starts_with("it is cut off"), "at {end}: {refusal}");
        }
    }
}

#[test]
fn a_mistake_is_told_with_its_line_and_column() {
    let lines: Vec<String> = json().lines().map(Into::into).collect();
    let at = lines.iter().position(|line| line.contains("\"hostname\"")).unwrap();
    let mut broken = lines.clone();
    broken[at] = "    \"hostname\": db1,".into();
    let refusal = refusal(broken.join("\n"));
    assert!(
        refusal.starts_with(&format!("line {}, column 17: expected value", at + 1)),
        "{refusal}"
    );
}

#[test]
fn what_a_file_says_cannot_reach_the_terminal_through_an_error() {
    for text in [json(), jsonl()] {
        for (from, to) in [
            ("HUP\"", "\\u001b[2J\""),
            ("sigready/timeline/v1", "sigready/timeline/v\\u001b[2J"),
            ("sigready/timeline/v1", "\\u001b[2J"),
            ("capture", "capt\\u001b[2Jure"),
        ] {
            let refusal = refusal(text.replace(from, to));
            assert!(!refusal.contains('\x1b'), "{refusal:?}");
        }
    }
}

/// The lines of the fixture: capture, service, activation, four events, alert, end.
fn changed(change: impl Fn(&mut Vec<String>)) -> String {
    let mut lines: Vec<String> = jsonl().lines().map(Into::into).collect();
    assert_eq!(lines.len(), 9);
    change(&mut lines);
    refusal(lines.join("\n"))
}

#[test]
fn lines_out_of_their_place_are_told_by_their_number() {
    let doubled = changed(|lines| lines.insert(4, lines[3].clone()));
    assert!(doubled.starts_with("line 5: event 0 comes where event 1 should"), "{doubled}");
    let swapped = changed(|lines| lines.swap(3, 4));
    assert!(swapped.starts_with("line 4: event 1 comes where event 0 should"), "{swapped}");
    let orphan = changed(|lines| drop(lines.remove(2)));
    assert!(orphan.starts_with("line 3: it belongs to activation 0, whose own record"), "{orphan}");
    let headless = changed(|lines| drop(lines.remove(0)));
    assert!(headless.contains("the first record is \"service\""), "{headless}");
    let silent_loss = changed(|lines| drop(lines.remove(7)));
    assert!(silent_loss.contains("lines are missing"), "{silent_loss}");
    let second = changed(|lines| lines.insert(4, lines[0].clone()));
    assert!(second.contains("a second capture begins"), "{second}");
    let two = changed(|lines| lines.extend(lines.clone()));
    assert!(two.starts_with("line 10: it follows the \"end\" record"), "{two}");
}

#[test]
fn two_documents_in_one_file_are_refused() {
    let refusal = refusal(json() + &json());
    assert!(refusal.contains("something follows the end"), "{refusal}");
}

#[test]
fn a_name_that_stands_twice_in_an_object_is_refused() {
    let twice =
        json().replacen("\"hostname\": \"db1\"", "\"hostname\": \"db1\", \"hostname\": \"x\"", 1);
    assert!(refusal(twice).contains("duplicate field `hostname`"));
}

#[test]
fn a_line_without_an_end_is_refused_and_not_kept() {
    let text = jsonl();
    let head = text.lines().next().unwrap();
    let line = format!("{head}\n{{\"record\":\"event\",\"kind\":\"{}", "x".repeat(16 << 20));
    assert_eq!(
        refusal(line),
        "line 2: it is longer than 16777216 bytes; the lines must be whole and in the order they \
         were written"
    );
}

/// As `jq -S` sorts them: what contains comes after what it contains.
#[test]
fn the_fields_of_an_object_may_come_in_any_order() {
    let document = fixtures::patroni_killed();
    // A map of serde_json is in the order of the names.
    let sorted: serde_json::Value = serde_json::from_str(&json()).unwrap();
    assert!(sorted.to_string().find("\"services\"") < sorted.to_string().find("\"tool\""));
    assert_eq!(read(sorted.to_string().as_bytes()).unwrap(), document);
}

#[test]
fn a_line_of_json_lines_has_a_limit() {
    let most = 16 * 1_048_576;
    let jsonl = jsonl();
    let (first, rest) = jsonl.split_once('\n').unwrap();
    let padded = |length: usize| {
        let filler = " ".repeat(length - first.len());
        format!("{first}{filler}\n{rest}")
    };
    assert_eq!(read(padded(most - 1).as_bytes()).unwrap(), fixtures::patroni_killed());
    assert_eq!(
        refusal(padded(most)),
        "line 1: it is longer than 16777216 bytes; the lines must be whole and in the order they were written"
    );
}

#[test]
fn a_refusal_is_short_whatever_it_quotes() {
    let long = "A\u{1b}".repeat(100_000);
    let value = serde_json::to_string(&long).unwrap();
    let begins = format!("{{\"record\":{value}}}");
    let version = json().replacen("timeline/v1", &format!("timeline/v{}", "9".repeat(200_000)), 1);
    let mut refusals = vec![refusal(begins), refusal(version)];
    for text in [json(), jsonl()] {
        let text = text.replace("\": \"", "\":\"");
        for (name, is) in [
            ("schema", "\"schema\":\"sigready/timeline/v1\""),
            ("version", "\"version\":\"0.1.0\""),
            ("kind", "\"kind\":\"exec\""),
            ("fate", "\"fate\":\"killed\""),
            ("severity", "\"severity\":\"error\""),
            ("signal", "\"signal\":\"HUP\""),
        ] {
            assert!(text.contains(is), "{name}: {text}");
            refusals.push(
                match read(text.replacen(is, &format!("\"{name}\":{value}"), 1).as_bytes()) {
                    Ok(_) if name == "version" => continue,
                    read => read.unwrap_err().to_string(),
                },
            );
        }
        let pid = text.find("\"pid\":").unwrap() + 6;
        refusals.push(refusal(format!("{} {value}{}", &text[..pid], &text[pid..])));
    }
    for refusal in refusals {
        assert!(refusal.chars().count() < 1_200, "{}: {refusal:.100}", refusal.chars().count());
        assert!(!refusal.contains('\u{1b}'), "{refusal:?}");
    }
}

#[test]
fn white_space_before_a_document_has_a_limit() {
    let padded = |length: usize| " ".repeat(length) + &json();
    assert_eq!(read(padded(1 << 16).as_bytes()).unwrap(), fixtures::patroni_killed());
    let endless = refusal(padded(1 << 17));
    assert!(endless.contains("begins with 65536 bytes of white space"), "{endless}");
    let blank = refusal(" ".repeat(1 << 17));
    assert!(blank.contains("white space"), "{blank}");
    assert_eq!(refusal(" ".repeat(1 << 10)), ReadError::Empty.to_string());
}
