//! The keys of the screen, read on a thread of their own: a key that was pressed by half keeps
//! nobody waiting. While another job has the terminal, its keys are not read.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::SyncSender,
    },
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ratatui::crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use sigready::{
    host::terminal::{self, Whose},
    report::live,
};

use super::Event;

/// How often it is looked whether the screen is over.
const LOOK: Duration = Duration::from_millis(100);

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Something on the screen.
    Live(live::Key),
    /// All is drawn anew.
    Redraw,
    /// The job stops, as by Ctrl-Z without a screen.
    Stop,
    /// The trace ends.
    Quit,
}

/// Reads keys until the screen is over.
pub fn read(events: &SyncSender<Event>, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Acquire) {
        match terminal::follow_job() {
            Ok(Whose::Ours) => {}
            Ok(Whose::OursAgain) => {
                if events.send(Event::Key(Key::Redraw)).is_err() {
                    return;
                }
            }
            Ok(Whose::Others) => {
                thread::sleep(LOOK);
                continue;
            }
            Err(_) => return,
        }
        let read = match event::poll(LOOK) {
            Ok(true) => event::read(),
            Ok(false) => continue,
            Err(_) => return,
        };
        let event = match read {
            Ok(event::Event::Key(pressed)) => match meaning(pressed) {
                Some(Key::Stop) => {
                    // To the job, as the terminal would: who waits for this is to stop with it.
                    let _ = kill(Pid::from_raw(0), Signal::SIGTSTP);
                    None
                }
                key => key.map(Event::Key),
            },
            Ok(event::Event::Resize(..)) => Some(Event::News),
            Ok(_) => None,
            Err(_) => return,
        };
        if let Some(event) = event
            && events.send(event).is_err()
        {
            return;
        }
    }
}

fn meaning(pressed: KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    if pressed.modifiers.contains(KeyModifiers::CONTROL) {
        return match pressed.code {
            KeyCode::Char('c' | '\\') => Some(Key::Quit),
            KeyCode::Char('l') => Some(Key::Redraw),
            KeyCode::Char('z') => Some(Key::Stop),
            _ => None,
        };
    }
    Some(Key::Live(match pressed.code {
        KeyCode::Char('q') => return Some(Key::Quit),
        KeyCode::Up | KeyCode::Char('k') => live::Key::Up,
        KeyCode::Down | KeyCode::Char('j') => live::Key::Down,
        KeyCode::Left | KeyCode::Char('h') => live::Key::Left,
        KeyCode::Right | KeyCode::Char('l') => live::Key::Right,
        KeyCode::PageUp => live::Key::PageUp,
        KeyCode::PageDown | KeyCode::Char(' ') => live::Key::PageDown,
        KeyCode::Home | KeyCode::Char('g') => live::Key::Home,
        KeyCode::End | KeyCode::Char('G') => live::Key::End,
        KeyCode::Enter => live::Key::Open,
        KeyCode::Esc | KeyCode::Backspace => live::Key::Back,
        KeyCode::Char('s') => live::Key::Sort,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_and_ctrl_c_end_the_trace_and_ctrl_z_stops_it_in_a_terminal_in_raw_mode() {
        let plain = |code| meaning(KeyEvent::new(code, KeyModifiers::NONE));
        let control = |c| meaning(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL));
        assert_eq!(plain(KeyCode::Char('q')), Some(Key::Quit));
        assert_eq!(control('c'), Some(Key::Quit));
        assert_eq!(control('l'), Some(Key::Redraw));
        assert_eq!(control('z'), Some(Key::Stop));
        assert_eq!(control('q'), None);
        assert_eq!(plain(KeyCode::Char('c')), None);
        assert_eq!(plain(KeyCode::Enter), Some(Key::Live(live::Key::Open)));
        assert_eq!(plain(KeyCode::Esc), Some(Key::Live(live::Key::Back)));
    }
}
