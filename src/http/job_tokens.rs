//! Tokens of jobs, as `emfs token create` makes them: signed, for some datasets, for some time.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::task;
use crate::token::{Claims, KeyError, Keys, TokenError};

/// How long a key file is not read again: so long a token of a revoked key is still valid.
const FRESH: Duration = Duration::from_secs(1);

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    /// It cannot be read.
    #[error("{file}: {error}", file = .0.display(), error = .1)]
    Unreadable(PathBuf, std::io::Error),
    /// It holds no keys.
    #[error("{file}: {error}", file = .0.display(), error = .1)]
    Malformed(PathBuf, KeyError),
}

/// The key file by which tokens of jobs are checked. It is read anew, so that keys can be added and revoked while it is used.
#[derive(Debug)]
pub struct JobTokens {
    file: PathBuf,
    /// The keys, none where the file could not be read, and when that was.
    known: Mutex<(Option<Keys>, Instant)>,
}

impl JobTokens {
    /// Tokens that a key of this file has signed.
    pub fn of(file: PathBuf) -> Result<Self, KeyFileError> {
        let keys = read(&file)?;
        Ok(JobTokens { file, known: Mutex::new((Some(keys), Instant::now())) })
    }

    /// Reads the key file again where that is due; a filesystem may take its time, so on another thread.
    pub(super) async fn refresh(&self) {
        if self.known.lock().1.elapsed() <= FRESH {
            return;
        }
        let file = self.file.clone();
        let keys = match task::spawn_blocking(move || read(&file)).await {
            Ok(Ok(keys)) => Some(keys),
            Ok(Err(error)) => {
                tracing::warn!("{error}; no token of a job is valid until it can be read");
                None
            }
            Err(_) => None,
        };
        *self.known.lock() = (keys, Instant::now());
    }

    /// What a text allows as the token of a job, by the keys as they were read last.
    pub(super) fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.known.lock().0.as_ref().ok_or(TokenError::Signature)?.verify(token, SystemTime::now())
    }
}

fn read(file: &PathBuf) -> Result<Keys, KeyFileError> {
    let text = std::fs::read_to_string(file).map_err(|error| KeyFileError::Unreadable(file.clone(), error))?;
    Keys::parse(&text).map_err(|error| KeyFileError::Malformed(file.clone(), error))
}
