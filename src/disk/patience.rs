//! Waiting for the disk no longer than what is kept there is worth: a folder may be on a filesystem that hangs, as that of a
//! dead file server does, and no call to it can be taken back.
//!
//! Each call is made by a thread that may wait. Once one takes too long, nobody else waits until it has returned: what is
//! kept counts as not kept meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicIsize, AtomicU8, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::task;

/// How long the index may take, for whoever is waiting answers others as well.
const INDEX_ANSWERS: Duration = Duration::from_secs(1);
/// How long bytes may take: disks that are in much use are slow.
const BYTES_COME: Duration = Duration::from_secs(5);
/// Threads that ask the index.
const CLERKS: usize = 4;
/// Threads that read bytes at most.
const READERS: usize = 32;

type Job = Box<dyn FnOnce() + Send>;

/// Those who wait for the disk.
pub struct Patience {
    overdue: Arc<AtomicIsize>,
    clerks: mpsc::Sender<Job>,
    readers: Arc<Semaphore>,
}

/// A call that somebody waits for.
struct Call {
    state: AtomicU8,
    /// How many are not waited for any more and have not returned.
    overdue: Arc<AtomicIsize>,
}

const WAITED_FOR: u8 = 0;
const GIVEN_UP: u8 = 1;
const RETURNED: u8 = 2;

impl Call {
    fn new(overdue: &Arc<AtomicIsize>) -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(WAITED_FOR), overdue: overdue.clone() })
    }

    fn is_given_up(&self) -> bool {
        self.state.load(Ordering::Acquire) == GIVEN_UP
    }

    fn give_up(&self) {
        if self.state.swap(GIVEN_UP, Ordering::AcqRel) == WAITED_FOR {
            self.overdue.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// The thread's side of a call, which returns when this is dropped, also by a panic.
struct Made(Arc<Call>);

impl Drop for Made {
    fn drop(&mut self) {
        if self.0.state.swap(RETURNED, Ordering::AcqRel) == GIVEN_UP {
            self.0.overdue.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Patience {
    /// # Errors
    /// No thread can be started.
    pub fn new() -> std::io::Result<Self> {
        let (clerks, jobs) = mpsc::channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..CLERKS {
            let jobs = jobs.clone();
            thread::Builder::new().name("emfs-index".to_owned()).spawn(move || {
                loop {
                    // Not held while the job is done.
                    let job = jobs.lock().recv();
                    match job {
                        // One that panics is answered by nobody; the others are.
                        Ok(job) => drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job))),
                        Err(_) => return,
                    }
                }
            })?;
        }
        Ok(Self { overdue: Arc::default(), clerks, readers: Arc::new(Semaphore::new(READERS)) })
    }

    /// Whether a call took too long and has not returned yet.
    pub fn is_at_an_end(&self) -> bool {
        self.overdue.load(Ordering::Acquire) > 0
    }

    /// What the index answers, if it does soon. Blocks so long.
    pub fn ask<T: Send + 'static>(&self, question: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        if self.is_at_an_end() {
            return None;
        }
        let call = Call::new(&self.overdue);
        let (sender, receiver) = mpsc::sync_channel(1);
        let made = Made(call.clone());
        let job = move || {
            if !made.0.is_given_up() {
                // Who asked may have given up meanwhile.
                let _ = sender.send(question());
            }
        };
        self.clerks.send(Box::new(job)).ok()?;
        let give_up = |reason: &mpsc::RecvTimeoutError| {
            if *reason == mpsc::RecvTimeoutError::Timeout {
                call.give_up();
            }
        };
        receiver.recv_timeout(INDEX_ANSWERS).inspect_err(give_up).ok()
    }

    /// What is read, if that is done soon.
    pub async fn read<T: Send + 'static>(&self, read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        if self.is_at_an_end() {
            return None;
        }
        let permit = timeout(BYTES_COME, self.readers.clone().acquire_owned()).await.ok()?.ok()?;
        let call = Call::new(&self.overdue);
        let (sender, receiver) = oneshot::channel();
        let made = Made(call.clone());
        task::spawn_blocking(move || {
            let _held = (permit, made);
            if !sender.is_closed() {
                // Who asked may have gone meanwhile.
                let _ = sender.send(read());
            }
        });
        match timeout(BYTES_COME, receiver).await {
            Ok(answer) => answer.ok(),
            Err(_) => {
                call.give_up();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn who_asks_a_disk_that_hangs_waits_once_and_asks_again_when_it_goes_on() {
        let patience = Patience::new().unwrap();
        assert_eq!(patience.ask(|| 1), Some(1));
        let (go_on, hung) = mpsc::channel::<()>();
        assert_eq!(patience.ask(move || hung.recv()), None);
        assert!(patience.is_at_an_end());
        let began = Instant::now();
        for _ in 0..1000 {
            assert_eq!(patience.ask(|| 2), None);
        }
        assert!(began.elapsed() < INDEX_ANSWERS);
        drop(go_on);
        while patience.is_at_an_end() {
            thread::yield_now();
        }
        assert_eq!(patience.ask(|| 3), Some(3));
    }

    #[tokio::test]
    async fn reads_that_hang_take_a_bounded_number_of_threads_and_end() {
        let patience = Arc::new(Patience::new().unwrap());
        assert_eq!(patience.read(|| 1).await, Some(1));
        let (go_on, hung) = mpsc::channel::<()>();
        let (hung, begun) = (Arc::new(Mutex::new(hung)), Arc::new(AtomicIsize::new(0)));
        let reads = (0..4 * READERS).map(|_| {
            let (patience, hung, begun) = (patience.clone(), hung.clone(), begun.clone());
            tokio::spawn(async move {
                let read = move || {
                    begun.fetch_add(1, Ordering::AcqRel);
                    let _ = hung.lock().recv();
                };
                patience.read(read).await
            })
        });
        for read in reads.collect::<Vec<_>>() {
            assert_eq!(read.await.unwrap(), None);
        }
        assert!(patience.is_at_an_end() && begun.load(Ordering::Acquire) <= READERS as isize);
        drop(go_on);
        while patience.is_at_an_end() {
            tokio::task::yield_now().await;
        }
        assert_eq!(patience.read(|| 2).await, Some(2));
    }

    #[test]
    fn a_question_that_panics_is_no_silence() {
        let patience = Patience::new().unwrap();
        for _ in 0..2 * CLERKS {
            assert_eq!(
                patience.ask(|| if true {
                    panic!("on purpose")
                }),
                None
            );
        }
        assert!(!patience.is_at_an_end());
        assert_eq!(patience.ask(|| 1), Some(1));
    }
}
