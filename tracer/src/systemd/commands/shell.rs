//! What a shell's script runs, as far as its text tells: its simple commands in order.

use std::{collections::HashMap, thread, time::Duration};

use rable::{ListOperator, Node, NodeKind};

use super::{
    budget::Budget,
    quotes::Quotes,
    word::{Piece, Word},
};
use crate::host::contained;

/// The stack on which a script is parsed and walked. The parser nests at most 1000 deep.
const STACK: usize = 32 << 20;
/// How long it may take: it is read in milliseconds, on a processor that is free.
const PATIENCE: Duration = Duration::from_secs(10);

/// A simple command of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Simple {
    /// Its words.
    pub words: Vec<Word>,
    /// Whether it has redirections.
    pub is_redirected: bool,
    /// Whether a process other than the shell runs it: in a pipeline, in the background, in
    /// parentheses.
    pub in_child: bool,
    /// The simple command whose output it reads through a pipe.
    pub input: Option<Vec<Word>>,
    /// Whether the shell goes on without waiting for it.
    pub in_background: bool,
    /// Whether it comes to it.
    pub when: When,
    /// Whether it is the script's last one, alone on its line, in a list by `;`, or in a chain by
    /// `&&` and `||`: what bash executes in its own place.
    pub is_last: bool,
}

/// Whether a command is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// Always.
    Always,
    /// Or the script ends there.
    OrEnds,
    /// Where the one command before it fails: what is to be done otherwise.
    OrElse,
    /// That depends.
    Maybe,
}

impl When {
    /// Whether it is reached, unless the script ends before it.
    #[must_use]
    pub fn is_sure(self) -> bool {
        matches!(self, Self::Always | Self::OrEnds)
    }
}

/// A script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Script {
    /// Its simple commands.
    pub commands: Vec<Simple>,
    /// Whether there is a loop in it.
    pub has_loop: bool,
    /// Whether it comes to a loop that looks for something again and again: `while` and `until`,
    /// but for those that read their input.
    pub looks_again: bool,
}

/// Whether a program is a shell, by its path or name.
#[must_use]
pub fn is_shell(path: &str) -> bool {
    const SHELLS: [&str; 9] = ["sh", "dash", "ash", "bash", "rbash", "ksh", "ksh93", "mksh", "zsh"];
    SHELLS.contains(&super::base_name(path))
}

/// The script of a command line `sh -c SCRIPT`, and the shell's name; `None` if it is no
/// shell, or one that runs a file.
pub(super) fn script_of(words: &[Word]) -> Option<(String, &Word)> {
    let path = words.first()?.known()?;
    let name = super::base_name(path);
    if !is_shell(path) {
        return None;
    }
    let mut is_command = false;
    let mut rest = words[1..].iter();
    loop {
        let word = rest.next()?;
        match word.known() {
            Some("--" | "-") => {
                return is_command.then(|| Some((name.to_owned(), rest.next()?)))?;
            }
            Some(option) if option.starts_with("--") => {
                if ["--rcfile", "--init-file"].contains(&option) {
                    rest.next();
                }
            }
            Some(option) if option.starts_with(['-', '+']) => {
                is_command |= option.starts_with('-') && option.contains('c');
                // Each `o` takes the name of an option.
                for _ in option.matches(['o', 'O']) {
                    rest.next();
                }
            }
            _ => return is_command.then(|| (name.to_owned(), word)),
        }
    }
}

/// Reads a script; `None` if its text is not known, is too much, or is none.
pub(super) fn read(word: &Word, budget: &mut Budget) -> Option<Script> {
    let text: String = word
        .0
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => Some(text.clone()),
            Piece::Variable(name) => Some(format!("${{{name}}}")),
            Piece::Output(_) | Piece::Unknown => None,
        })
        .collect::<Option<String>>()?;
    if word.variable().is_some() || !budget.takes_script(&text) {
        return None;
    }
    // A thread has the stack it is given, wherever this is called.
    let reader = thread::Builder::new().name("sigready-shell".to_owned()).stack_size(STACK);
    contained::result(reader, PATIENCE, move || {
        let nodes = rable::parse(&text, false).ok()?;
        Walk::default().script(&nodes)
    })?
}

/// Where a command stands.
#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Position {
    in_child: bool,
    in_background: bool,
    when: When,
    /// Nothing comes after it.
    at_end: bool,
    is_last: bool,
}

#[derive(Default)]
struct Walk {
    script: Script,
    /// What the script itself sets; `None` for what it sets in several ways.
    variables: HashMap<String, Option<Word>>,
    /// The functions, by name: each runs where it is called.
    functions: HashMap<String, Node>,
    /// How many functions are being run.
    depth: usize,
    has_ended: bool,
    has_returned: bool,
    /// Whether it may have ended before what comes.
    may_have_ended: bool,
}

/// How deep functions may call functions.
pub(super) const MAX_CALLS: usize = 8;
/// How many links of a chain are followed back to tell how it ends.
pub(super) const MAX_CHAIN: usize = 64;
/// The most simple commands that are told of a script.
pub(super) const MAX_COMMANDS: usize = 4_000;

impl Walk {
    /// What it does; `None` if that is more than is told.
    fn script(mut self, nodes: &[Node]) -> Option<Script> {
        let place = Position {
            in_child: false,
            in_background: false,
            when: When::Always,
            at_end: false,
            is_last: false,
        };
        for (index, node) in nodes.iter().enumerate() {
            let at_end = index + 1 == nodes.len();
            // Each line is parsed by itself, and of the last one bash executes the last
            // command of a chain in its own place.
            if let NodeKind::List { items } = &node.kind
                && let [before, last] = items.as_slice()
                && let Some(link @ (ListOperator::And | ListOperator::Or)) = before.operator
                && last.operator.is_none()
            {
                let ends = at_end && link == ListOperator::Or && Self::is_fallback(&last.command);
                self.node(&before.command, Position { at_end: ends, ..place });
                let status = self.ends_well(&before.command);
                let Some(when) =
                    after(status, link, is_simple(&before.command), at_end, When::Always)
                else {
                    continue;
                };
                self.node(&last.command, Position { when, at_end, is_last: at_end, ..place });
            } else {
                self.node(node, Position { at_end, is_last: at_end, ..place });
            }
        }
        (self.script.commands.len() <= MAX_COMMANDS).then_some(self.script)
    }

    fn node(&mut self, node: &Node, place: Position) {
        if self.has_ended || self.has_returned {
            return;
        }
        let inside = Position { at_end: false, is_last: false, ..place };
        let maybe = Position { when: When::Maybe, ..inside };
        let child = Position { in_child: true, ..inside };
        match &node.kind {
            NodeKind::Command { assignments, words, redirects } => {
                self.simple(assignments, words, !redirects.is_empty(), place);
            }
            NodeKind::Pipeline { commands, .. } => {
                for (index, command) in commands.iter().enumerate() {
                    self.node(command, child);
                    let before = index.checked_sub(1).map(|before| &commands[before].kind);
                    if let Some(NodeKind::Command { words, .. }) = before
                        && let NodeKind::Command { .. } = command.kind
                    {
                        let words = words.iter().map(|word| self.word(word)).collect();
                        self.script.commands.last_mut().into_iter().for_each(|it| {
                            it.input = Some(Vec::clone(&words));
                        });
                    }
                }
            }
            NodeKind::List { items } => self.list(items, place),
            NodeKind::If { condition, then_body, else_body, .. } => {
                self.node(condition, inside);
                let holds = self.ends_well(condition);
                if holds != Some(false) {
                    self.node(then_body, if holds.is_some() { inside } else { maybe });
                }
                if let Some(body) = else_body
                    && holds != Some(true)
                {
                    self.node(body, if holds.is_some() { inside } else { maybe });
                }
            }
            NodeKind::While { condition, body, .. } | NodeKind::Until { condition, body, .. } => {
                self.script.has_loop = true;
                self.script.looks_again |= !place.in_background
                    && place.when == When::Always
                    && first_word(condition) != Some("read");
                self.node(condition, inside);
                self.node(body, maybe);
            }
            NodeKind::For { var, words, body, .. } | NodeKind::Select { var, words, body, .. } => {
                self.script.has_loop = true;
                let value = match words.as_deref() {
                    Some([word]) => Some(self.word(word)),
                    _ => None,
                };
                self.variables.insert(var.clone(), value);
                self.node(body, maybe);
            }
            NodeKind::ForArith { body, .. } => {
                self.script.has_loop = true;
                self.node(body, maybe);
            }
            NodeKind::Case { patterns, .. } => {
                for body in patterns.iter().filter_map(|pattern| pattern.body.as_ref()) {
                    self.node(body, maybe);
                }
            }
            NodeKind::Function { name, body } => {
                self.functions.insert(name.clone(), (**body).clone());
            }
            NodeKind::Subshell { body, .. } => self.node(body, child),
            NodeKind::Coproc { command, .. } => {
                self.node(command, Position { in_background: true, ..child });
            }
            NodeKind::BraceGroup { body, .. } => {
                self.node(body, Position { is_last: false, ..place });
            }
            NodeKind::Negation { pipeline } | NodeKind::Time { pipeline, .. } => {
                self.node(pipeline, inside);
            }
            _ => {}
        }
    }

    fn list(&mut self, items: &[rable::ListItem], place: Position) {
        let mut before = None;
        let mut is_after_one = false;
        // How the chain so far ends, if that is known.
        let mut status = None;
        for (index, item) in items.iter().enumerate() {
            // What does nothing, or ends the script, where all before it fails.
            let fallbacks = items.get(index + 1..).unwrap_or_default();
            let at_end = place.at_end
                && (fallbacks.is_empty() || item.operator == Some(ListOperator::Or))
                && fallbacks.iter().all(|it| Self::is_fallback(&it.command));
            let is_after_link = matches!(before, Some(ListOperator::And | ListOperator::Or));
            let when = match before {
                Some(link) if is_after_link => {
                    after(status, link, is_after_one, at_end, place.when)
                }
                _ => Some(place.when),
            };
            is_after_one = !is_after_link && is_simple(&item.command);
            let is_after_semicolon = matches!(before, None | Some(ListOperator::Semi));
            before = item.operator;
            // A chain goes on behind what it does not come to.
            let Some(when) = when else { continue };
            let is_certain = !is_after_link || status.is_some();
            status = if is_certain { self.ends_well(&item.command) } else { None };
            let in_background = item.operator == Some(ListOperator::Background);
            let by_semicolon =
                is_after_semicolon && matches!(item.operator, None | Some(ListOperator::Semi));
            let place = Position {
                in_child: place.in_child || in_background,
                in_background: place.in_background || in_background,
                when,
                at_end: at_end && !in_background,
                is_last: place.is_last && at_end && by_semicolon,
            };
            self.node(&item.command, place);
        }
    }

    /// How a command ends, where its text tells: a main process that a reload is for is there.
    fn ends_well(&self, node: &Node) -> Option<bool> {
        self.ends_well_within(node, MAX_CHAIN)
    }

    /// The same of a command in which chains stand in others so deep at most. The parser puts what
    /// comes before a link into a list of its own, so this is asked for each link of a chain.
    fn ends_well_within(&self, node: &Node, depth: usize) -> Option<bool> {
        if let NodeKind::List { items } = &node.kind {
            let depth = depth.checked_sub(1)?;
            let (first, rest) = items.split_first()?;
            let links = &items[..items.len() - 1];
            let is_chain = |item: &rable::ListItem| {
                matches!(item.operator, Some(ListOperator::And | ListOperator::Or))
            };
            if !links.iter().all(is_chain) {
                return None;
            }
            let mut status = self.ends_well_within(&first.command, depth)?;
            for (before, item) in links.iter().zip(rest) {
                if status == (before.operator == Some(ListOperator::And)) {
                    status = self.ends_well_within(&item.command, depth)?;
                }
            }
            return Some(status);
        }
        let NodeKind::Command { words, .. } = &node.kind else {
            let NodeKind::Negation { pipeline } = &node.kind else { return None };
            return self.ends_well_within(pipeline, depth.checked_sub(1)?).map(|well| !well);
        };
        let words: Vec<Word> = words.iter().map(|word| self.word(word)).collect();
        // What is shown as a variable is one then.
        if words.iter().filter_map(Word::known).any(|text| text.contains('$')) {
            return None;
        }
        let shown: Vec<String> = words.iter().map(Word::shown).collect();
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        match shown.as_slice() {
            ["true" | ":", ..] => Some(true),
            ["false", ..] => Some(false),
            ["kill" | "/bin/kill" | "/usr/bin/kill", "-0", "$MAINPID"]
            | ["kill" | "/bin/kill" | "/usr/bin/kill", "-s", "0", "$MAINPID"]
            | ["test" | "[", "-n", "$MAINPID", ..]
            | ["[", "$MAINPID", "]"]
            | ["test" | "[", "-d" | "-e", "/proc/$MAINPID", ..]
                if is_one_test(&shown) =>
            {
                Some(true)
            }
            ["test" | "[", "-z", "$MAINPID", ..] if is_one_test(&shown) => Some(false),
            _ => None,
        }
    }

    /// Whether it is what stands behind `||` so that a script ends there, or ends well: it does
    /// nothing to a service.
    fn is_fallback(node: &Node) -> bool {
        matches!(first_word(node), Some("true" | ":" | "exit" | "return" | "echo"))
            && is_simple(node)
    }

    fn simple(
        &mut self,
        assignments: &[Node],
        words: &[Node],
        is_redirected: bool,
        place: Position,
    ) {
        let words: Vec<Word> = words.iter().map(|word| self.word(word)).collect();
        if words.is_empty() {
            for assignment in assignments {
                self.assign(assignment);
            }
            return;
        }
        if self.script.commands.len() > MAX_COMMANDS {
            self.has_ended = true;
            return;
        }
        let when = match place.when {
            When::Always if self.may_have_ended => When::OrEnds,
            when => when,
        };
        let called = words[0].known().and_then(|name| self.functions.get(name)).cloned();
        if let Some(body) = called
            && self.depth < MAX_CALLS
        {
            self.depth += 1;
            self.node(&body, place);
            self.depth -= 1;
            self.has_returned = false;
            return;
        }
        match words[0].known() {
            Some("exit") if !place.in_child => {
                self.has_ended = when.is_sure();
                self.may_have_ended = true;
            }
            // Outside of functions dash ends there, and bash goes on.
            Some("return") if !place.in_child => {
                self.has_returned = when.is_sure() && self.depth > 0;
                self.may_have_ended = true;
            }
            _ => {}
        }
        self.script.commands.push(Simple {
            words,
            is_redirected,
            in_child: place.in_child,
            input: None,
            in_background: place.in_background,
            when,
            is_last: place.is_last,
        });
    }

    fn assign(&mut self, assignment: &Node) {
        let word = self.word(assignment);
        let Some((name, _)) = word.start().split_once('=') else {
            return;
        };
        let name = name.to_owned();
        let value = word.strip(&format!("{name}="));
        self.variables.entry(name).and_modify(|before| *before = None).or_insert(value);
    }

    /// A word with its quotes taken away.
    fn word(&self, node: &Node) -> Word {
        let NodeKind::Word { value, parts, .. } = &node.kind else {
            return Word(vec![Piece::Unknown]);
        };
        let mut word = Word::default();
        let mut quotes = Quotes::default();
        if parts.is_empty() {
            quotes.take(value, &mut word);
        }
        for part in parts {
            match &part.kind {
                NodeKind::WordLiteral { value } => quotes.take(value, &mut word),
                NodeKind::ParamExpansion { param, op: None, .. } => {
                    match self.variables.get(param) {
                        Some(Some(value)) => value.0.iter().for_each(|piece| match piece {
                            Piece::Text(text) => word.push_text(text),
                            other => word.0.push(other.clone()),
                        }),
                        Some(None) => word.0.push(Piece::Unknown),
                        None => word.0.push(Piece::Variable(param.clone())),
                    }
                }
                NodeKind::CommandSubstitution { command, .. } => {
                    word.0.push(self.output(command));
                }
                NodeKind::AnsiCQuote { decoded, .. } => word.push_text(decoded),
                NodeKind::LocaleString { inner, .. } => word.push_text(inner),
                _ => word.0.push(Piece::Unknown),
            }
        }
        word
    }

    /// What `$(…)` stands for: its first command.
    fn output(&self, node: &Node) -> Piece {
        match &node.kind {
            NodeKind::Command { words, redirects, .. } if words.is_empty() => {
                match redirects.first().map(|it| &it.kind) {
                    Some(NodeKind::Redirect { target, .. }) => {
                        Piece::Output(vec![Word::text("cat"), self.word(target)])
                    }
                    _ => Piece::Unknown,
                }
            }
            NodeKind::Command { words, .. } => {
                Piece::Output(words.iter().map(|word| self.word(word)).collect())
            }
            NodeKind::Pipeline { commands, .. } => {
                commands.first().map_or(Piece::Unknown, |first| self.output(first))
            }
            _ => Piece::Unknown,
        }
    }
}

/// Whether it comes to what is behind a link of a chain that ended so before it, and is one command
/// or more; `None` if it never does.
fn after(
    status: Option<bool>,
    link: ListOperator,
    is_one: bool,
    at_end: bool,
    when: When,
) -> Option<When> {
    let is_and = link == ListOperator::And;
    match status {
        Some(well) => (well == is_and).then_some(when),
        None if is_and && at_end && when.is_sure() => Some(When::OrEnds),
        None if !is_and && is_one && at_end && when == When::Always => Some(When::OrElse),
        None => Some(When::Maybe),
    }
}

/// Whether words that begin with a test of one word, or with another command, end with it.
fn is_one_test(words: &[&str]) -> bool {
    match words {
        ["[", .., last] => *last == "]" && words.len() <= 4,
        ["test", ..] => words.len() == 3,
        _ => true,
    }
}

fn is_simple(node: &Node) -> bool {
    matches!(node.kind, NodeKind::Command { .. })
}

/// The first word of a simple command, as it is written.
fn first_word(node: &Node) -> Option<&str> {
    match &node.kind {
        NodeKind::Command { words, .. } => match &words.first()?.kind {
            NodeKind::Word { value, .. } => Some(value),
            _ => None,
        },
        NodeKind::List { items } => first_word(&items.first()?.command),
        _ => None,
    }
}
