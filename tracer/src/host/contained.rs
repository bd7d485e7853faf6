//! Threads of which a panic is the end, and not the program's: those that parse what others have
//! written.
//!
//! The packaged program has no tables by which a stack could be unwound, so a panic ends it. Such a
//! thread stops in its panic instead, with the message told, and whoever waits for it does so for a
//! limited time. With unwinding, it ends.

use std::{
    cell::Cell,
    io, panic,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

thread_local! {
    static IS_CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Has a panic in a contained thread stop that thread alone. To be called once, as the program begins.
pub fn contain_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        before(panic);
        while IS_CONTAINED.try_with(Cell::get).unwrap_or(false) {
            thread::park();
        }
    }));
}

/// Starts a thread with this name whose panic is its own. Nobody may wait for its end without a limit.
pub fn spawn<T: Send + 'static>(
    builder: thread::Builder,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    builder.spawn(move || {
        IS_CONTAINED.set(true);
        work()
    })
}

/// What work comes to on a thread of its own; `None` if it panics, or takes longer than `patience`.
pub fn result<T: Send + 'static>(
    builder: thread::Builder,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = mpsc::sync_channel(1);
    spawn(builder, move || {
        // Who asked may have gone.
        let _ = done.send(work());
    })
    .ok()?;
    result.recv_timeout(patience).ok()
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command, time::Instant};

    use super::*;

    /// Set where this runs in a process of its own, whose hook it may change.
    const OF_ITS_OWN: &str = "SIGREADY_TEST_CONTAINED";

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn work_is_done_and_its_result_given() {
        assert_eq!(result(thread::Builder::new(), LONG, || 7), Some(7));
    }

    #[test]
    fn a_panic_in_a_contained_thread_stops_that_thread_and_another_ends_the_program() {
        if env::var_os(OF_ITS_OWN).is_some() {
            contain_panics();
            // As in the packaged program: where the hook comes back, that is the end.
            let contained = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                contained(panic);
                std::process::abort();
            }));
            let began = Instant::now();
            let patience = Duration::from_millis(100);
            let none = result(thread::Builder::new(), patience, || -> u8 { panic!("as is meant") });
            assert_eq!(none, None);
            assert!(began.elapsed() >= patience, "the thread is there, and waits");
            panic!("the end");
        }
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("host::contained::tests::a_panic_in_a_contained_thread_stops_that_thread_and_another_ends_the_program")
            .env(OF_ITS_OWN, "1")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        let (first, second) = (told.find("as is meant"), told.find("the end"));
        assert!(first.is_some() && first < second, "{told}");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(6), "ABRT");
    }
}
