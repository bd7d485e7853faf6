//! What is drawn, and when: on a thread of its own, ten times a second at most, and not before
//! the terminal has taken what was drawn last.

use std::{
    collections::{BTreeMap, BTreeSet},
    io, mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::getpid,
};
use ratatui::{
    backend::{Backend as _, CrosstermBackend},
    buffer::Buffer,
    layout::Rect,
};
use sigready::{
    host::terminal,
    model::document::{Document, Service},
    report::live::Live,
    session::{News, Position},
};

use super::{Event, keys::Key};

/// The shortest time from one screen to the next.
const DRAW: Duration = Duration::from_millis(100);
/// The longest: the time on it goes on.
const IDLE: Duration = Duration::from_secs(1);
/// The largest screen, columns and rows: a terminal may say anything.
const LARGEST: (u16, u16) = (500, 200);
/// The size of one that says nothing.
const USUAL: (u16, u16) = (80, 24);

/// What is to be told to the screen. What is new of a service takes the place of what was new
/// before, so that there is never more than there are services.
#[derive(Default)]
pub struct Inbox(Mutex<Mail>);

#[derive(Default)]
struct Mail {
    /// The document without its services, and when it came.
    frame: Option<(Document, Instant)>,
    services: BTreeMap<u64, (Position, Service)>,
    /// The services that there are.
    left: Option<BTreeSet<u64>>,
    note: Option<String>,
}

impl Inbox {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something to know.
    pub fn note(&self, sentence: String) {
        self.mail().note = Some(sentence);
    }

    /// What is new in the capture.
    pub fn add(&self, news: News) {
        let News { mut document, places, left } = news;
        let services = mem::take(&mut document.services);
        let mut mail = self.mail();
        for (place, service) in places.into_iter().zip(services) {
            // What was new of its last start stays so if nothing of that is newer.
            let before = mail.services.remove(&place.number);
            let kept = before.filter(|(before, _)| {
                before.has_last && !place.has_last && before.starts == place.starts
            });
            let told = kept.unwrap_or((place, service));
            mail.services.insert(place.number, told);
        }
        if let Some(left) = left {
            mail.services.retain(|number, _| left.contains(number));
            mail.left = Some(left);
        }
        mail.frame = Some((document, Instant::now()));
    }

    fn take(&self) -> Mail {
        mem::take(&mut *self.mail())
    }
}

/// What was drawn, and what is to be.
pub struct Drawing {
    live: Live,
    /// What the terminal shows, once it has taken all that was written.
    shown: Buffer,
    /// How far the capture had come, ns, and when.
    told: Option<(u64, Instant)>,
    /// All is drawn anew.
    is_new: bool,
}

impl Drawing {
    /// Nothing is drawn yet.
    pub fn new(live: Live) -> Self {
        Self { live, shown: Buffer::empty(Rect::ZERO), told: None, is_new: true }
    }

    /// Draws what is told and does what keys mean, until the screen is over or the terminal
    /// gone.
    pub fn follow(mut self, inbox: &Inbox, events: &Receiver<Event>, is_over: &AtomicBool) {
        let mut drawn = Instant::now();
        let mut is_due = true;
        while !is_over.load(Ordering::Acquire) {
            let pause = if is_due { DRAW } else { IDLE };
            let left = (drawn + pause).saturating_duration_since(Instant::now());
            if !left.is_zero() {
                match events.recv_timeout(left) {
                    Ok(event) => {
                        self.learn(&event);
                        is_due = true;
                        continue;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            self.tell(inbox.take());
            drawn = Instant::now();
            match self.draw() {
                Ok(is_drawn) => is_due = !is_drawn,
                Err(_) => return,
            }
        }
    }

    fn learn(&mut self, event: &Event) {
        match event {
            Event::Key(Key::Live(key)) => self.live.press(*key),
            Event::Key(Key::Redraw) => self.is_new = true,
            Event::Key(Key::Quit) => {
                self.live.end();
                // As Ctrl-C does without a screen. To the process: a thread takes it.
                let _ = kill(getpid(), Signal::SIGINT);
            }
            // Its thread does it.
            Event::Key(Key::Stop) | Event::News => {}
        }
    }

    fn tell(&mut self, mail: Mail) {
        if let Some((frame, came)) = mail.frame {
            self.told = Some((frame.capture.duration_ns, came));
            self.live.tell(frame);
        }
        for (number, (place, service)) in mail.services {
            self.live.tell_service(number, place.starts, place.has_last, &service);
        }
        if let Some(left) = mail.left {
            self.live.keep(|number| left.contains(&number));
        }
        if let Some(note) = mail.note {
            self.live.note(&note);
        }
    }

    /// Draws what has changed. Whether the terminal was ready for it.
    fn draw(&mut self) -> io::Result<bool> {
        if !terminal::send(b"")? {
            return Ok(false);
        }
        let area = screen(terminal::size()?);
        let mut next = Buffer::empty(area);
        self.live.draw(self.now(), area, &mut next);
        let mut out = Vec::new();
        let mut backend = CrosstermBackend::new(&mut out);
        if mem::take(&mut self.is_new) || self.shown.area != area {
            backend.clear()?;
            self.shown = Buffer::empty(area);
        }
        let changed = self.shown.diff(&next);
        if !changed.is_empty() {
            backend.draw(changed.into_iter())?;
        }
        self.shown = next;
        terminal::send(&out)?;
        Ok(true)
    }

    /// How far the capture has come, ns.
    fn now(&self) -> u64 {
        self.told.map_or(0, |(ns, since)| {
            ns.saturating_add(u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX))
        })
    }
}

/// The screen on a terminal that says it has so many columns and rows.
fn screen(size: (u16, u16)) -> Rect {
    let (columns, rows) = match size {
        (0, _) | (_, 0) => USUAL,
        (columns, rows) => (columns.min(LARGEST.0), rows.min(LARGEST.1)),
    };
    Rect::new(0, 0, columns, rows)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn a_screen_is_as_large_as_its_terminal_says_within_reason() {
        let size = |columns, rows| screen((columns, rows)).as_size();
        assert_eq!((size(120, 40).width, size(120, 40).height), (120, 40));
        assert_eq!(size(0, 0), size(80, 24));
        assert_eq!(size(u16::MAX, u16::MAX), size(LARGEST.0, LARGEST.1));
    }

    #[test]
    fn what_is_new_of_a_service_takes_the_place_of_what_was() {
        let inbox = Inbox::default();
        let (place, news) = (Position { number: 0, starts: 1, has_last: true }, testing());
        for (starts, has_last, kept) in [(1, true, 1), (1, false, 1), (2, true, 2), (3, true, 3)] {
            let places = vec![Position { starts, has_last, ..place }];
            inbox.add(News { document: news.clone(), places, left: None });
            let mail = inbox.mail();
            assert_eq!(mail.services.len(), 1);
            assert_eq!(mail.services[&0].0, Position { starts: kept, ..place });
        }
        let left = Some(BTreeSet::from([7]));
        let mut none = testing();
        none.services.clear();
        inbox.add(News { document: none, places: Vec::new(), left });
        assert!(inbox.take().services.is_empty());
    }

    /// A document with one service.
    fn testing() -> Document {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = fs::read(directory.join("fuzz/corpus/report/killed.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}
