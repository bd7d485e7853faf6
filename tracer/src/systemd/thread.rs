//! The thread that speaks D-Bus: nothing that a bus sends keeps the rest of the program waiting.

use std::{
    future::pending,
    io,
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use tokio::{
    runtime::{Builder, Handle},
    task::JoinHandle,
};

use crate::host::contained;

/// Its event loop, once it runs.
static LOOP: Mutex<Option<Handle>> = Mutex::new(None);

/// Has the thread work at something. It is started by the first call, with the privileges that
/// the caller has, and ends with the process: nobody waits for it.
pub fn spawn<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let mut running = LOOP.lock().unwrap_or_else(PoisonError::into_inner);
    let handle = match running.take() {
        Some(handle) => handle,
        None => start()?,
    };
    let task = handle.spawn(work);
    *running = Some(handle);
    Ok(task)
}

fn start() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (began, has_begun) = mpsc::channel();
    contained::spawn(thread::Builder::new().name("systemd".to_owned()), move || {
        let _ = began.send(());
        runtime.block_on(pending::<()>());
    })?;
    // The other end is gone only if the thread is.
    has_begun.recv().map_err(io::Error::other)?;
    Ok(handle)
}
