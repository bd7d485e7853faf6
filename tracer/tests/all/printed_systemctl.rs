//! The systemctl commands that the README, the pages and the program's own sentences print,
//! carried out on every systemd, and what those do that a mend relies on.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::support::{
    container::{ANSWERING, Container, Hierarchy, newer_root, newest_root, root},
    printed::{files, root as workspace, words},
};

/// What takes HUP, counts it, and has a helper that HUP kills. It says READY=1.
const APP: &str = "\
import os, signal, socket, time
helper = os.fork()
if helper == 0:
    time.sleep(1000)
def reload(*_):
    with open('/run/web-hups', 'a') as file:
        file.write('x')
signal.signal(signal.SIGHUP, reload)
signal.signal(signal.SIGCHLD, lambda *_: os.wait())
with open('/run/web-helper', 'w') as file:
    file.write(str(helper))
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])
while True:
    time.sleep(1)
";

const UNIT: &str = "\
[Service]
Type=notify
ExecStart=/usr/bin/python3 /shared/app.py
ExecReload=/bin/kill -HUP $MAINPID
";

/// What says what has become of the service.
const STATE: &str = "\
echo main=$(systemctl show -P MainPID web) hups=$(cat /run/web-hups | wc -c) \
helper=$([ -e /proc/$(cat /run/web-helper) ] && echo lives || echo gone) \
file=$(systemctl show -P UnitFileState web)
";

/// The verbs that are printed.
const VERBS: [&str; 7] =
    ["start", "restart", "reload", "try-restart", "kill", "unmask", "daemon-reload"];
/// What stands for a unit of the reader's.
const UNITS: [&str; 6] = ["UNIT", "X", "{unit}", "daemon.service", "patroni", "patroni.service"];

/// What is printed in the program's sentences, and on pages as code.
fn printed() -> Vec<String> {
    let mut sources = Vec::new();
    files(&workspace().join("tracer/src"), "rs", &mut sources);
    sources.retain(|path| !path.ends_with("tests.rs") && !path.ends_with("printed.rs"));
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
    let sentences = sources.iter().map(|path| {
        let text = read(path);
        let text = text.split("#[cfg(test)]").next().unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        // A string that goes on in the next line.
        code.map(|line| line.trim().trim_end_matches('\\')).collect::<String>()
    });
    let mut pages = vec![workspace().join("README.md"), workspace().join("CONTRIBUTING.md")];
    files(&workspace().join("docs"), "md", &mut pages);
    let pages = pages.iter().map(|path| {
        let text = read(path);
        let inline = text.split('`').skip(1).step_by(2).map(|code| code.replace('\n', " "));
        let lines = text.lines().map(str::to_owned);
        let commands = lines.filter(|line| line.trim_start().starts_with("systemctl "));
        inline.chain(commands).collect::<Vec<_>>().join("\n")
    });
    sentences.chain(pages).collect()
}

/// The command that begins with these words: its options, its verb and its unit. Prose may go on.
fn command(words: &[String]) -> Option<Vec<String>> {
    let (mut command, mut verb, mut unit) = (vec!["systemctl".to_owned()], None, false);
    let mut words = words.iter().map(|word| word.trim_end_matches(['.', ',', ':', ')', ';']));
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            command.push(word.to_owned());
            if word == "-s" {
                command.push(words.next()?.replace("{signal}", "HUP"));
            }
        } else if verb.is_none() && VERBS.contains(&word) {
            verb = Some(word);
            command.push(word.to_owned());
        } else if UNITS.contains(&word) && !unit {
            unit = true;
            command.push("web.service".to_owned());
        } else {
            break;
        }
    }
    if !unit && verb.is_some_and(|verb| verb != "daemon-reload") {
        command.push("web.service".to_owned());
    }
    (command.len() > 1).then_some(command)
}

fn commands() -> BTreeSet<Vec<String>> {
    let mut commands = BTreeSet::new();
    for text in printed() {
        let places = text.match_indices("systemctl ").map(|(at, word)| &text[at + word.len()..]);
        let ends = ['"', '\n', '`', '\''];
        let lines = places.map(|rest| rest.split(ends).next().unwrap_or_default());
        commands.extend(lines.filter_map(|line| command(&words(line))));
    }
    commands
}

/// What has become of the service, by the names in [`STATE`].
fn state<'a>(said: &'a str, name: &str) -> &'a str {
    let mut values = said.split_whitespace().filter_map(|word| word.strip_prefix(name));
    values.find_map(|value| value.strip_prefix('=')).unwrap_or_else(|| panic!("{name}: {said}"))
}

/// Carries one out, and holds it against what it is printed for.
fn carry_out(container: &Container, command: &[String]) {
    let line = command.join(" ");
    let has = |word: &str| command.iter().any(|it| it == word);
    let before = if has("unmask") { "systemctl stop web; systemctl mask web" } else { "" };
    let said = container.ask(&format!(
        "systemctl unmask -q web; systemctl reset-failed web; systemctl start web; > /run/web-hups
         {before}
         {STATE}
         echo ---
         {line} < /dev/null && echo done || echo failed
         sleep 0.3
         {STATE}"
    ));
    println!("{line}\n{said}");
    let (before, after) = said.split_once("---").unwrap();
    assert!(after.contains("done") && !after.contains("failed"), "{line}: {said}");
    let same_main = state(before, "main") == state(after, "main");
    if has("reload") || has("--kill-whom=main") {
        assert!(same_main, "{line}: {said}");
        assert_eq!(
            (state(after, "hups"), state(after, "helper")),
            ("1", "lives"),
            "{line}: {said}"
        );
    } else if has("restart") || has("try-restart") {
        assert!(!same_main && state(after, "main") != "0", "{line}: {said}");
    } else if has("kill") {
        assert_eq!(state(after, "helper"), "gone", "{line}: {said}");
    } else if has("unmask") {
        assert_eq!(state(before, "file"), "masked", "{line}: {said}");
        assert_ne!(state(after, "file"), "masked", "{line}: {said}");
    }
}

fn every_command_in(root: PathBuf) {
    let files = [("app.py", APP), ("web.service", UNIT)];
    let container = Container::boot_in(root, Hierarchy::Unified, ANSWERING, &files);
    container.wait_for("up");
    container.ask("cp /shared/web.service /run/systemd/system/ && systemctl daemon-reload");
    for command in commands() {
        carry_out(&container, &command);
    }
    container.over();
}

#[test]
#[ignore = "needs root and a container root: run by cargo xtask test"]
fn every_printed_systemctl_command_does_what_it_is_printed_for() {
    let commands = commands();
    for verb in VERBS {
        let is_printed = commands.iter().any(|command| command.iter().any(|it| it == verb));
        assert!(is_printed, "{verb}: {commands:?}");
    }
    let kill = ["systemctl", "kill", "--kill-whom=main", "-s", "HUP", "web.service"];
    assert!(commands.iter().any(|command| command == &kill), "{commands:?}");
    for root in [root(), newer_root(), newest_root()] {
        every_command_in(root);
    }
}
