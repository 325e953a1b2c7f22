//! What failed and what was absent at its origin since the mount, with the time, for whoever asks later. Bounded: the
//! oldest entries go first, and how many have gone can be told.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Entries that are kept of each kind.
const MAX_ENTRIES: usize = 4096;

/// Bytes of text that are kept of each kind.
const MAX_BYTES: usize = 1 << 20;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// When it was written, as RFC 3339 has it, in UTC.
    pub time: String,
    /// What the log says.
    pub line: String,
}

/// A moment in the life of one ledger. As text, one short word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    life: u64,
    failed: u64,
    absent: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}.{}", self.life, self.failed, self.absent)
    }
}

/// A text that is no mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is no mark; `emfs mark MOUNTPOINT` prints one")]
pub struct NotAMark;

impl FromStr for Mark {
    type Err = NotAMark;

    fn from_str(text: &str) -> Result<Self, NotAMark> {
        let mut words = text.trim().split('.');
        let mut next = |radix| u64::from_str_radix(words.next().ok_or(NotAMark)?, radix).map_err(|_| NotAMark);
        let mark = Mark { life: next(16)?, failed: next(10)?, absent: next(10)? };
        words.next().is_none().then_some(mark).ok_or(NotAMark)
    }
}

/// Entries of one kind, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// How many there were, with those that are no longer here.
    pub count: u64,
    /// The latest.
    pub kept: VecDeque<LedgerEntry>,
}

impl Entries {
    fn add(&mut self, line: String, bytes: &mut usize) {
        self.count += 1;
        *bytes += line.len();
        self.kept.push_back(LedgerEntry { time: now(), line });
        while self.kept.len() > MAX_ENTRIES || (*bytes > MAX_BYTES && self.kept.len() > 1) {
            *bytes -= self.kept.pop_front().map_or(0, |entry| entry.line.len());
        }
    }

    /// Those from number `from` on.
    fn since(mut self, from: u64) -> Entries {
        let first = self.count - self.kept.len() as u64;
        let before = from.saturating_sub(first).min(self.kept.len() as u64);
        self.kept.drain(..before as usize);
        Entries { count: self.count.saturating_sub(from), kept: self.kept }
    }

    /// How many are no longer here.
    pub fn gone(&self) -> u64 {
        self.count.saturating_sub(self.kept.len() as u64)
    }
}

/// What the ledger says at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerPage {
    /// The moment.
    pub mark: String,
    /// Reads and look-ups that ended in an error.
    pub failed: Entries,
    /// What the origin does not have, which reads as the fill value.
    pub absent: Entries,
}

impl LedgerPage {
    /// What was written since `mark`, if that is of the same ledger.
    pub fn since(self, mark: &Mark) -> Option<LedgerPage> {
        let now: Mark = self.mark.parse().ok()?;
        let is_before = now.life == mark.life && mark.failed <= now.failed && mark.absent <= now.absent;
        is_before.then(|| LedgerPage {
            failed: self.failed.since(mark.failed),
            absent: self.absent.since(mark.absent),
            mark: self.mark,
        })
    }
}

#[derive(Debug, Default)]
struct Book {
    entries: Entries,
    bytes: usize,
}

/// The ledger of one mount.
#[derive(Debug)]
pub struct Ledger {
    /// The nanosecond it was begun in, which no other mount of the machine shares.
    life: u64,
    failed: Mutex<Book>,
    absent: Mutex<Book>,
}

impl Default for Ledger {
    fn default() -> Self {
        let life = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        Ledger { life, failed: Mutex::default(), absent: Mutex::default() }
    }
}

impl Ledger {
    /// Adds a failure.
    pub fn failure(&self, line: String) {
        write(&self.failed, line);
    }

    /// Adds an absence.
    pub fn absence(&self, line: String) {
        write(&self.absent, line);
    }

    /// How many failures there were.
    pub fn failed(&self) -> u64 {
        self.failed.lock().entries.count
    }

    /// The lines of the latest failures, oldest first.
    pub fn latest_failures(&self, most: usize) -> Vec<String> {
        let book = self.failed.lock();
        let kept = &book.entries.kept;
        kept.iter().skip(kept.len().saturating_sub(most)).map(|entry| entry.line.clone()).collect()
    }

    /// What the latest line says of `path` that begins with it.
    pub fn latest_failure_of(&self, path: &str) -> Option<String> {
        let book = self.failed.lock();
        let said = |line: &str| line.strip_prefix(path)?.strip_prefix(": ").map(str::to_owned);
        book.entries.kept.iter().rev().find_map(|entry| said(&entry.line))
    }

    /// This moment.
    pub fn mark(&self) -> Mark {
        Mark { life: self.life, failed: self.failed(), absent: self.absent.lock().entries.count }
    }

    /// All that is kept.
    pub fn page(&self) -> LedgerPage {
        let (failed, absent) = (self.failed.lock().entries.clone(), self.absent.lock().entries.clone());
        let mark = Mark { life: self.life, failed: failed.count, absent: absent.count };
        LedgerPage { mark: mark.to_string(), failed, absent }
    }
}

fn write(book: &Mutex<Book>, line: String) {
    let book = &mut *book.lock();
    book.entries.add(line, &mut book.bytes);
}

fn now() -> String {
    DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(entries: &Entries) -> Vec<&str> {
        entries.kept.iter().map(|entry| entry.line.as_str()).collect()
    }

    #[test]
    fn what_came_since_a_mark_is_told_and_nothing_else() {
        let ledger = Ledger::default();
        ledger.failure("a".to_owned());
        let mark = ledger.mark();
        assert_eq!(ledger.page().since(&mark).unwrap().failed, Entries::default());
        ledger.failure("b".to_owned());
        ledger.absence("c".to_owned());
        let page = ledger.page().since(&mark).unwrap();
        assert_eq!((lines(&page.failed), lines(&page.absent)), (vec!["b"], vec!["c"]));
        assert_eq!((page.failed.count, page.failed.gone()), (1, 0));
        assert_eq!(lines(&ledger.page().failed), ["a", "b"]);
    }

    #[test]
    fn a_mark_is_a_word_that_only_its_own_ledger_takes() {
        let (ledger, other) = (Ledger { life: 7, ..Ledger::default() }, Ledger { life: 8, ..Ledger::default() });
        ledger.failure("a".to_owned());
        let text = ledger.mark().to_string();
        assert_eq!(text, "7.1.0");
        let mark: Mark = text.parse().unwrap();
        assert_eq!(mark, ledger.mark());
        assert!(other.page().since(&mark).is_none());
        let later: Mark = "7.2.0".parse().unwrap();
        assert!(ledger.page().since(&later).is_none(), "a moment that has not come yet");
        for text in ["", "7", "7.1", "7.1.0.0", "7.x.0", "7.-1.0", "..", "x.1.0"] {
            assert_eq!(text.parse::<Mark>(), Err(NotAMark), "{text}");
        }
    }

    #[test]
    fn a_full_ledger_keeps_the_latest_and_says_how_many_have_gone() {
        let ledger = Ledger::default();
        let start = ledger.mark();
        for number in 0..MAX_ENTRIES + 10 {
            ledger.failure(number.to_string());
        }
        let page = ledger.page();
        assert_eq!((page.failed.kept.len(), page.failed.gone()), (MAX_ENTRIES, 10));
        assert_eq!(page.failed.kept[0].line, "10");
        assert_eq!(page.clone().since(&start).unwrap().failed.gone(), 10);
        let mark = Mark { failed: 11, ..start };
        let since = page.since(&mark).unwrap().failed;
        assert_eq!((since.gone(), since.kept[0].line.as_str()), (0, "11"));

        for _ in 0..5 {
            ledger.absence("x".repeat(MAX_BYTES / 3));
        }
        assert_eq!((ledger.page().absent.kept.len(), ledger.page().absent.gone()), (3, 2));
        ledger.absence("y".repeat(2 * MAX_BYTES));
        assert_eq!(ledger.page().absent.kept.len(), 1, "the latest is always kept");
        assert_eq!(ledger.latest_failures(2), [(MAX_ENTRIES + 8).to_string(), (MAX_ENTRIES + 9).to_string()]);
    }
}
