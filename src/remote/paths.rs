//! What is asked of a filesystem of this machine beside the bytes of files.

use std::path::Path;

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::clock::Clock;
use super::limits::{Host, timed_out};
use super::origins::{Origins, file_path};
use super::{Cause, Location, RemoteError};
use crate::task;

impl Origins {
    /// Does `work` with the path of a local file or folder, on a thread that may wait for its filesystem. Whoever waits for
    /// the answer does so no longer than for that of a host; the thread is the filesystem's until the work is done.
    pub(crate) async fn with_path<T: Send + 'static>(
        &self,
        location: &Location,
        work: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> Result<T, RemoteError> {
        let failed = |cause| RemoteError { url: location.to_string(), range: None, attempts: 1, cause };
        let path = file_path(&location.url).map_err(failed)?;
        let (host, _) = self.filesystem(&path);
        let answer = done(&host, &Clock::start(self.timeout()), move || work(&path)).await;
        match &answer {
            Ok(_) => host.served(),
            Err(_) => host.counters().failures.add(1),
        }
        answer.map_err(failed)
    }
}

async fn done<T: Send + 'static>(
    host: &Host,
    clock: &Clock,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Cause> {
    let permit = host.permit(clock).await?;
    let _in_flight = host.in_flight();
    let (sender, receiver) = oneshot::channel();
    task::spawn_blocking(move || {
        let _permit = permit;
        if !sender.is_closed() {
            // Who waited may have gone meanwhile.
            let _ = sender.send(work());
        }
    });
    match timeout_at(clock.deadline(), receiver).await {
        Ok(answer) => answer.map_err(|_| Cause::Connection("it was not done to its end".to_owned())),
        Err(_) => Err(timed_out(clock)),
    }
}
