//! What the outer and the inner process tell each other, by a pipe each way. A pipe breaks when its other end has gone, however
//! that ended.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::pipe2;

/// What the inner process tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// The kernel allows no namespace; why.
    NoNamespace(String),
    /// It has mounted and starts the command.
    Started,
    /// All is over; the exit code.
    Ended(u8),
}

impl News {
    fn line(&self) -> String {
        match self {
            News::NoNamespace(reason) => format!("no namespace {}\n", reason.replace('\n', " ")),
            News::Started => "started\n".to_owned(),
            News::Ended(code) => format!("ended {code}\n"),
        }
    }

    fn parse(line: &str) -> Option<News> {
        if let Some(reason) = line.strip_prefix("no namespace ") {
            return Some(News::NoNamespace(reason.to_owned()));
        }
        match line.strip_prefix("ended ") {
            Some(code) => Some(News::Ended(code.parse().ok()?)),
            None => (line == "started").then_some(News::Started),
        }
    }

    /// Takes all complete lines out of `text`.
    pub fn take(text: &mut Vec<u8>) -> Vec<News> {
        let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let lines: Vec<u8> = text.drain(..=end).collect();
        String::from_utf8_lossy(&lines).lines().filter_map(News::parse).collect()
    }

    /// Tells the outer process.
    pub fn tell(&self, mut to: &File) -> io::Result<()> {
        to.write_all(self.line().as_bytes())
    }
}

/// A signal to be passed on.
pub(super) fn order(signal: Signal, mut to: &File) -> io::Result<()> {
    // Numbers of signals are small.
    to.write_all(&[u8::try_from(signal as i32).unwrap_or(0)])
}

/// Both ends of two pipes, in the outer process.
pub(super) struct Pipes {
    /// Where it writes its orders, and reads the news.
    pub orders: File,
    pub news: File,
    /// The ends for the inner process, which inherits them until this is dropped.
    pub for_inside: (OwnedFd, OwnedFd),
}

impl Pipes {
    pub fn new() -> io::Result<Self> {
        let (orders_read, orders) = pipe2(OFlag::O_CLOEXEC)?;
        let (news, news_write) = pipe2(OFlag::O_CLOEXEC)?;
        for end in [&orders_read, &news_write] {
            fcntl(end.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(Pipes { orders: orders.into(), news: news.into(), for_inside: (orders_read, news_write) })
    }

    /// The numbers by which the inner process knows its ends.
    pub fn numbers(&self) -> (RawFd, RawFd) {
        (self.for_inside.0.as_raw_fd(), self.for_inside.1.as_raw_fd())
    }
}

/// Takes over the ends of these numbers in the inner process: that of orders to be read, that of news to be written. None
/// of its children inherits them.
pub(super) fn take_over(orders: RawFd, news: RawFd) -> io::Result<(File, File)> {
    Ok((own(orders, OpenOptions::new().read(true))?, own(news, OpenOptions::new().write(true))?))
}

fn own(number: RawFd, options: &mut OpenOptions) -> io::Result<File> {
    // Without this, opening would wait for an other end that has gone.
    let opened = options.custom_flags(libc::O_NONBLOCK).open(format!("/proc/self/fd/{number}"))?;
    nix::unistd::close(number)?;
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn news_come_as_they_were_told_in_pieces_of_any_size() {
        let all = [News::NoNamespace("not\nallowed".to_owned()), News::Started, News::Ended(143)];
        let lines: String = all.iter().map(News::line).collect();
        let (mut text, mut found) = (Vec::new(), Vec::new());
        for byte in lines.bytes() {
            text.push(byte);
            found.extend(News::take(&mut text));
        }
        assert_eq!(found, [News::NoNamespace("not allowed".to_owned()), News::Started, News::Ended(143)]);
        assert_eq!(News::take(&mut b"ended 300\nended x\nwhat\n".to_vec()), []);
    }

    #[test]
    fn a_pipe_breaks_when_the_other_end_has_gone() {
        let mut pipes = Pipes::new().unwrap();
        let (orders, news) = pipes.numbers();
        let (mut orders, news) = take_over(orders, news).unwrap();
        // Those numbers are closed now, and not this test's to close again.
        std::mem::forget(pipes.for_inside);
        order(Signal::SIGTERM, &pipes.orders).unwrap();
        News::Started.tell(&news).unwrap();
        let mut byte = [0];
        assert_eq!((orders.read(&mut byte).unwrap(), byte), (1, [15]));
        drop(pipes.orders);
        assert_eq!(orders.read(&mut byte).unwrap(), 0);
        drop(news);
        let mut text = String::new();
        pipes.news.read_to_string(&mut text).unwrap();
        assert_eq!(text, "started\n");
    }
}
