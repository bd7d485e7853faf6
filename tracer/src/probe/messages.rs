//! What the kernel side has to say of itself. It says the same at every event that it concerns,
//! so each text is told once, and at the end how often it was said.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use log::{Log, Metadata, Record};

/// How many texts are told apart: those of the kernel side are constant, and fewer.
const MAX_TEXTS: usize = 64;

/// Passes each text on once. A clone shares what has been said.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    said: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Messages {
    /// Whether it is the first of its kind.
    fn is_new(&self, text: String) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= MAX_TEXTS && !said.contains_key(&text) {
            return false;
        }
        let count = said.entry(text).or_default();
        *count += 1;
        *count == 1
    }

    /// What was said more than once, and how often. They count anew from here.
    pub fn repeated(&self) -> Vec<(String, u64)> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let repeated = |(text, count): (&String, &mut u64)| {
            let times = std::mem::replace(count, 1);
            (times > 1).then(|| (text.clone(), times))
        };
        said.iter_mut().filter_map(repeated).collect()
    }
}

impl Log for Messages {
    fn enabled(&self, metadata: &Metadata) -> bool {
        log::logger().enabled(metadata)
    }

    fn log(&self, record: &Record) {
        if self.is_new(record.args().to_string()) {
            log::logger().log(record);
        }
    }

    fn flush(&self) {
        log::logger().flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_told_once_and_how_often_it_was_said() {
        let messages = Messages::default();
        let told = |text: &str| messages.is_new(text.to_owned());
        assert!(told("no room") && told("other"));
        assert!((1..117).all(|_| !told("no room")));
        assert_eq!(messages.clone().repeated(), [("no room".to_owned(), 117)]);
        assert_eq!(messages.repeated(), [], "it is told once");
        assert!(!told("no room"));
        assert_eq!(messages.repeated(), [("no room".to_owned(), 2)]);
    }

    #[test]
    fn only_so_many_texts_are_told() {
        let messages = Messages::default();
        let told = (0..10_000).filter(|n| messages.is_new(n.to_string()));
        assert_eq!(told.count(), MAX_TEXTS);
    }
}
