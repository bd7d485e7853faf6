//! The page, in a real browser: nothing goes wrong in it and nothing is asked for, whatever names
//! there are and however many services, for the screen, in the dark and on paper.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Killed;

/// How long the browser may take to answer, on a busy host.
const PATIENCE: Duration = Duration::from_mins(1);

/// Markup that would run, load or end something if it were taken for that.
const HOSTILE: &str = "</title></style></script><script>console.error('owned')</script>\
                       <img src=http://127.0.0.1:9/x onerror=alert(1)>\"'><svg onload=alert(1)>";

/// Has the browser speak its protocol (Chrome DevTools, of JSON with a zero byte behind each
/// message) over two pipes.
const BROWSER: &str = "exec chromium --headless=new --no-sandbox --disable-gpu --no-first-run \
    --disable-background-networking --disable-component-update --disable-dev-shm-usage \
    --user-data-dir=profile --remote-debugging-pipe about:blank 3<commands 4>answers";

/// A browser with one page open.
struct Browser {
    _process: Killed,
    commands: fs::File,
    messages: Receiver<Value>,
    session: String,
    number: u64,
    /// What went wrong, and what was asked for.
    seen: Vec<String>,
    directory: TempDir,
}

impl Browser {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["commands", "answers"] {
            mkfifo(&directory.path().join(name), Mode::S_IRWXU).unwrap();
        }
        let process = Command::new("sh")
            .args(["-c", BROWSER])
            .current_dir(directory.path())
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("said")).unwrap())
            .spawn()
            .expect("a shell");
        let process = Killed(process);
        let commands = fs::File::create(directory.path().join("commands")).unwrap();
        let answers = fs::File::open(directory.path().join("answers")).unwrap();
        let (told, messages) = channel();
        thread::spawn(move || {
            let (mut answers, mut message) = (BufReader::new(answers), Vec::new());
            while answers.read_until(0, &mut message).is_ok_and(|count| count > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { return };
                if told.send(value).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Self {
            _process: process,
            commands,
            messages,
            session: String::new(),
            number: 0,
            seen: Vec::new(),
            directory,
        };
        let target = browser.ask("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.ask("Target.attachToTarget", &attach);
        attached["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        for part in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{part}.enable"), &json!({}));
        }
        browser
    }

    /// Sends a command and gives its result.
    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let mut command = json!({"id": self.number, "method": method, "params": parameters});
        if !self.session.is_empty() {
            command["sessionId"] = self.session.clone().into();
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).unwrap();
        let number = self.number;
        self.wait(method, |message| message["id"] == number)["result"].take()
    }

    /// Waits for a message, and takes down what others tell.
    fn wait(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.messages.recv_timeout(PATIENCE).unwrap_or_else(|error| {
                let said = fs::read_to_string(self.directory.path().join("said"));
                panic!("no {what}: {error}\n{}", said.unwrap_or_default())
            });
            assert!(message["error"].is_null(), "{what}: {message}");
            let seen = match message["method"].as_str().unwrap_or_default() {
                "Runtime.consoleAPICalled"
                | "Runtime.exceptionThrown"
                | "Log.entryAdded"
                | "Page.javascriptDialogOpening" => true,
                "Network.requestWillBeSent" => {
                    let url = message["params"]["request"]["url"].as_str().unwrap();
                    !url.starts_with("file:///") && !url.starts_with("data:")
                }
                _ => false,
            };
            if seen {
                self.seen.push(message.to_string());
            }
            if is_it(&message) {
                return message;
            }
        }
    }

    /// Opens a file.
    fn open(&mut self, path: &Path) {
        self.ask("Page.navigate", &json!({"url": format!("file://{}", path.display())}));
        self.wait("load", |message| message["method"] == "Page.loadEventFired");
    }

    /// The value of an expression in the page.
    fn value(&mut self, expression: &str) -> Value {
        let question = json!({"expression": expression, "returnByValue": true});
        let mut answer = self.ask("Runtime.evaluate", &question);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// How it is shown: for a screen or for paper, light or dark. The page is laid out and
    /// drawn for that; the picture is kept where there is a directory for it.
    fn show(&mut self, name: &str, media: &str, scheme: &str) -> Value {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask("Emulation.setEmulatedMedia", &json!({"media": media, "features": features}));
        let picture = self.ask("Page.captureScreenshot", &json!({"format": "png"}));
        let picture = picture["data"].as_str().unwrap();
        assert!(picture.len() > 4_000, "{name}: nothing is drawn");
        if let Some(directory) = std::env::var_os("SIGREADY_SCREENSHOTS") {
            let path = Path::new(&directory).join(format!("{name}-{media}-{scheme}.base64"));
            fs::write(path, picture).unwrap();
        }
        self.value("getComputedStyle(document.documentElement).backgroundColor")
    }

    /// Presses a key: its name, which is its code too, and its number.
    fn press(&mut self, key: &str, number: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": number,
            });
            self.ask("Input.dispatchKeyEvent", &event);
        }
    }

    /// Presses Tab and gives what has the keyboard then, if anything: its name, where it leads
    /// to or what it is called, whether it is in view, and whether it is seen to have it.
    fn tab(&mut self) -> Option<(String, String, bool)> {
        self.press("Tab", 9);
        let value = self.value(
            "{ const it = document.activeElement, at = it.getBoundingClientRect();
               const seen = at.bottom > 0 && at.top < innerHeight && at.right > 0
                   && at.left < innerWidth && getComputedStyle(it).outlineStyle != 'none';
               [it.tagName, it.getAttribute('href') ?? it.id, seen] }",
        );
        let text = |at: usize| value[at].as_str().unwrap().to_lowercase();
        (text(0) != "body").then(|| (text(0), text(1), value[2] == true))
    }

    /// Nothing went wrong, and nothing was asked for.
    fn is_quiet(&self) {
        assert!(self.seen.is_empty(), "{}", self.seen.join("\n"));
    }
}

/// A capture in which a service was killed.
fn capture() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/report/killed.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// The page of a capture.
fn page(directory: &Path, name: &str, capture: &Value) -> std::path::PathBuf {
    let (saved, page) = (directory.join(format!("{name}.json")), directory.join(name));
    fs::write(&saved, capture.to_string()).unwrap();
    let page = page.with_extension("html");
    let output = Command::new(cargo_bin("sigready"))
        .arg("report")
        .arg(&saved)
        .arg("--output")
        .arg(&page)
        .output()
        .unwrap();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    page
}

/// Puts hostile text in the place of every text that others choose.
fn make_hostile(value: &mut Value) {
    const CHOSEN: [&str; 12] = [
        "name",
        "comm",
        "exe",
        "filename",
        "hostname",
        "command",
        "message",
        "consequence",
        "mend",
        "problem",
        "sub_state",
        "path",
    ];
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if member.is_string() && CHOSEN.contains(&name.as_str()) {
                    *member = HOSTILE.into();
                } else {
                    make_hostile(member);
                }
            }
        }
        Value::Array(members) => members.iter_mut().for_each(make_hostile),
        _ => {}
    }
}

/// White, and what is dark.
const PAPER: &str = "rgb(255, 255, 255)";
const DARK: &str = "rgb(13, 17, 23)";

#[test]
#[ignore = "needs chromium: run by cargo xtask test"]
fn a_page_with_hostile_names_and_one_with_500_services_ask_for_nothing_and_run_their_filter() {
    let directory = tempfile::tempdir().unwrap();
    let mut hostile = capture();
    make_hostile(&mut hostile["services"]);
    make_hostile(&mut hostile["host"]);
    let mut many = capture();
    let service = many["services"][0].clone();
    let services = many["services"].as_array_mut().unwrap();
    services.clear();
    for number in 0..500 {
        let mut service = service.clone();
        service["name"] = format!("service{number}.service").into();
        service["activations"][0]["main_process"]["comm"] = format!("comm{number}").into();
        if number != 7 {
            service["activations"][0]["alerts"] = json!([]);
        }
        services.push(service);
    }
    let mut browser = Browser::start();
    for (name, capture) in [("hostile", &hostile), ("many", &many)] {
        let page = page(directory.path(), name, capture);
        browser.open(&page);
        assert_eq!(browser.value("document.querySelectorAll('script').length"), 1);
        assert_eq!(
            browser.value("document.querySelectorAll('img, [onload], [onerror]').length"),
            0
        );
        assert_eq!(browser.show(name, "screen", "light"), PAPER);
        assert_eq!(browser.show(name, "screen", "dark"), DARK);
        assert_eq!(browser.show(name, "print", "dark"), PAPER);
        if name == "hostile" {
            browser.ask("Page.printToPDF", &json!({}));
        }
        browser.show(name, "screen", "light");
        browser.is_quiet();
    }
    // The page with many services is open.
    let starts = "document.querySelectorAll('details.start:not([hidden])').length";
    assert_eq!(browser.value(starts), 500);
    let filter = |text: &str| {
        format!(
            "{{ const box = document.querySelector('#filter input'); box.value = {text:?};
               box.dispatchEvent(new Event('input')); }}"
        )
    };
    assert_eq!(browser.value("document.getElementById('filter').hidden"), false);
    let told = "document.querySelector('#filter output').textContent";
    for (text, shown, rest) in [("no such event", 0, "0 of "), ("", 500, ""), ("HUP", 500, " of ")]
    {
        browser.value(&filter(text));
        // It waits for more to be typed.
        let begun = Instant::now();
        loop {
            let (starts, told) = (browser.value(starts), browser.value(told));
            if starts == shown && told.as_str().unwrap().contains(rest) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{text}: {starts} {told}");
            thread::sleep(Duration::from_millis(20));
        }
    }
    let hidden = "document.querySelectorAll('tbody tr[hidden]').length > 0";
    assert_eq!(browser.value(hidden), true);
    browser.is_quiet();
}

#[test]
#[ignore = "needs chromium: run by cargo xtask test"]
fn tab_goes_to_everything_in_order_and_the_arrows_zoom() {
    let directory = tempfile::tempdir().unwrap();
    let mut browser = Browser::start();
    browser.open(&page(directory.path(), "killed", &capture()));

    let mut passed = Vec::new();
    while let Some((element, name, is_seen)) = browser.tab() {
        assert!(is_seen, "{element} {name} has the keyboard and does not show it");
        passed.push(format!("{element} {name}"));
        assert!(passed.len() < 500, "Tab goes in circles: {passed:?}");
    }
    let at = |name: &str| {
        let found = passed.iter().position(|it| it == name);
        found.unwrap_or_else(|| panic!("Tab passes over {name}: {passed:?}"))
    };
    // What is chosen, the overview, and the start: its picture, then its alert's evidence.
    let order = ["input kind-process", "input zoom-1", "a #s0", "summary ", "div ", "a #s0e0"];
    assert!(order.map(at).is_sorted(), "{passed:?}");
    let events = browser.value("document.querySelectorAll('.plot a').length").as_u64().unwrap();
    let marks = &passed[at("a #s0e0")..];
    for (event, mark) in (0..events).zip(marks) {
        assert_eq!(mark, &format!("a #s0e{event}"), "{passed:?}");
    }

    // Twice as wide is twice as far from one mark to another.
    let measure = "{ const at = [...document.querySelectorAll('.plot a use')].map(mark => {
          const { left, right } = mark.getBoundingClientRect(); return (left + right) / 2; });
        [Math.max(...at) - Math.min(...at),
         document.querySelector('.plot').getBoundingClientRect().width,
         document.querySelector('.scroll').clientWidth] }";
    let sizes = |browser: &mut Browser| {
        let sizes = browser.value(measure);
        [0, 1, 2].map(|at| sizes[at].as_f64().unwrap())
    };
    let [far, wide, room] = sizes(&mut browser);
    assert!(far > 100.0, "{far}");
    browser.value("document.getElementById('zoom-1').focus()");
    for zoom in [2.0, 4.0, 8.0, 16.0] {
        browser.press("ArrowRight", 39);
        let now = sizes(&mut browser);
        assert!((now[0] / far - zoom).abs() < 0.01, "{zoom}: {far} {now:?}");
        assert!((now[1] / wide - zoom).abs() < 0.01, "{zoom}: {wide} {now:?}");
        assert!((now[2] - room).abs() < 1.0, "the page itself is wider: {room} {now:?}");
    }
    // Paper is as wide as ever.
    browser.show("zoomed", "print", "light");
    let [_, wide, room] = sizes(&mut browser);
    assert!(wide <= room, "the picture runs off the paper: {wide} {room}");

    // The last mark is far outside of what is seen, until it has the keyboard.
    browser.show("zoomed", "screen", "light");
    browser.value("document.querySelector('.plot a:last-of-type').focus()");
    browser.show("zoomed", "screen", "dark");
    let is_in_view = "{ const at = document.activeElement.getBoundingClientRect(),
          room = document.querySelector('.scroll').getBoundingClientRect();
        at.left >= room.left - 1 && at.right <= room.right + 1 }";
    assert_eq!(browser.value(is_in_view), true);
    browser.press("Enter", 13);
    let followed = format!("#s0e{}", events - 1);
    assert_eq!(browser.value("location.hash"), followed);
    browser.is_quiet();
}

#[test]
#[ignore = "needs chromium: run by cargo xtask test"]
fn the_browser_test_sees_a_request_and_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("bad.html");
    let bad = "<img src='http://127.0.0.1:9/x'><script>console.error('bad')</script>";
    fs::write(&page, bad).unwrap();
    let mut browser = Browser::start();
    browser.open(&page);
    let seen = browser.seen.join("\n");
    assert!(seen.contains("127.0.0.1:9") && seen.contains("consoleAPICalled"), "{seen}");
}
