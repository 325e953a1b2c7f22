//! Tasks that go on for a request, and the span by which each line that they log names it.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinHandle;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

/// The span of a request: its number in this process, its operation and, where it is known at once, its path. There is none
/// but at `-vv`, and then nothing is counted and no path is made.
pub fn request(operation: &str, path: impl FnOnce() -> Option<String>) -> Span {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let span = tracing::trace_span!("request", number = Empty, operation = Empty, path = Empty);
    if !span.is_disabled() {
        span.record("number", NEXT.fetch_add(1, Ordering::Relaxed)).record("operation", display(operation));
        if let Some(path) = path() {
            is_about(&span, &path);
        }
    }
    span
}

/// Says what the request of a span is about, once that is known.
pub fn is_about(span: &Span, path: &dyn fmt::Display) {
    span.record("path", display(path));
}

/// A task that goes on for the request of this one.
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(task.in_current_span())
}

/// Work of the request of this task that may wait, on a thread of its own.
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let span = Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
}
