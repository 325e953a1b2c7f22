//! Directories in which somebody waits for a name or a listing.
//!
//! The kernel locks a directory for that, so it cannot be asked meanwhile to forget a name in it: it would wait, and
//! everybody who looks up another name behind it.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use parking_lot::Mutex;

use super::Reply;
use crate::tree::Inode;

/// How many wait in each directory in which somebody does.
#[derive(Default, Clone)]
pub(super) struct PendingDirs(Arc<Mutex<HashMap<Inode, usize>>>);

impl PendingDirs {
    /// Whether somebody waits for a name in `directory` or for its listing.
    pub(super) fn is_busy(&self, directory: Inode) -> bool {
        self.0.lock().contains_key(&directory)
    }

    /// The same answer, which counts as waited for until it is there or nobody wants it any more.
    pub(super) fn counted<T: Send + 'static>(&self, directory: Inode, reply: Reply<T>) -> Reply<T> {
        match reply {
            Reply::Ready(answer) => Reply::Ready(answer),
            Reply::Pending(answer) => {
                *self.0.lock().entry(directory).or_default() += 1;
                let one = One { pending_dirs: self.clone(), directory };
                Reply::Pending(
                    async move {
                        let _one = one;
                        answer.await
                    }
                    .boxed(),
                )
            }
        }
    }
}

struct One {
    pending_dirs: PendingDirs,
    directory: Inode,
}

impl Drop for One {
    fn drop(&mut self) {
        let mut waiting = self.pending_dirs.0.lock();
        if let Some(count) = waiting.get_mut(&self.directory) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.directory);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_is_busy_until_the_last_answer_is_there_or_not_wanted_any_more() {
        let waiting = PendingDirs::default();
        let later = || Reply::Pending(async { Ok(()) }.boxed());
        assert!(matches!(waiting.counted(Inode::ROOT, Reply::Ready(Ok(()))), Reply::Ready(Ok(()))));
        assert!(!waiting.is_busy(Inode::ROOT));
        let (Reply::Pending(first), second) =
            (waiting.counted(Inode::ROOT, later()), waiting.counted(Inode::ROOT, later()))
        else {
            panic!("answers that are pending stay so");
        };
        first.await.unwrap();
        assert!(waiting.is_busy(Inode::ROOT));
        drop(second);
        assert!(!waiting.is_busy(Inode::ROOT));
    }
}
