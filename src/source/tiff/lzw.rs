//! LZW of TIFF (TIFF 6.0, section 13) by a decoder whose state can be copied, so that a stream is entered where that was done.
//!
//! It reads what `weezl` reads, which unpacks strips as a whole.

use super::step::Step;

const CLEAR: u16 = 256;
const END: u16 = 257;
/// The first code of which a stream tells what it stands for.
const FIRST: u16 = 258;
const LEAST_WIDTH: u32 = 9;
const MOST_WIDTH: u32 = 12;
const CODES: usize = 1 << MOST_WIDTH;

/// What a code stands for: the bytes of another one and one more.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    before: u16,
    length: u16,
    first: u8,
    last: u8,
}

/// What the reader of a stream knows somewhere in it.
#[derive(Clone)]
pub(super) struct Lzw {
    /// Whether codes are as writers had them before TIFF 6.0: the lowest bits first, and each width for one code longer.
    is_old: bool,
    words: Box<[Word; CODES]>,
    /// The code that is explained next.
    next: u16,
    width: u32,
    previous: Option<u16>,
    /// Bits of a code that was not read to its end; the latest byte is at the end where the next bits go.
    bits: u32,
    count: u32,
    /// A code of which only so many bytes were given yet.
    pending: Option<(u16, usize)>,
    has_ended: bool,
}

impl Lzw {
    /// Before a stream that begins with these bytes, by which libtiff tells the old kind.
    pub(super) fn new(start: &[u8]) -> Lzw {
        let is_old = start.first() == Some(&0) && start.get(1).is_some_and(|byte| byte & 1 == 1);
        let mut words = Box::new([Word::default(); CODES]);
        for (byte, word) in (0..=u8::MAX).zip(words.iter_mut()) {
            *word = Word { before: 0, length: 1, first: byte, last: byte };
        }
        Lzw {
            is_old,
            words,
            next: FIRST,
            width: LEAST_WIDTH,
            previous: None,
            bits: 0,
            count: 0,
            pending: None,
            has_ended: false,
        }
    }

    /// Bytes of memory that it takes.
    pub(super) const fn bytes() -> usize {
        size_of::<Lzw>() + size_of::<[Word; CODES]>()
    }

    /// Reads on, until the input or the space in the output ends.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String> {
        let (mut read, mut made) = (0, 0);
        while made < output.len() && !self.has_ended {
            if let Some((code, given)) = self.pending {
                let length = usize::from(self.word(code).length);
                let free = output.get_mut(made..).unwrap_or_default();
                let part = free.len().min(length - given);
                self.give(code, given, free.get_mut(..part).unwrap_or_default());
                made += part;
                self.pending = (given + part < length).then_some((code, given + part));
                continue;
            }
            while self.count < self.width
                && let Some(&byte) = input.get(read)
            {
                self.add(byte);
                read += 1;
            }
            if self.count < self.width {
                break;
            }
            match self.take() {
                CLEAR => (self.next, self.width, self.previous) = (FIRST, LEAST_WIDTH, None),
                END => self.has_ended = true,
                code => {
                    self.explain(code)?;
                    self.pending = Some((code, 0));
                }
            }
        }
        Ok(Step { read, made, may_end: self.has_ended, has_ended: self.has_ended })
    }

    fn word(&self, code: u16) -> Word {
        self.words.get(usize::from(code)).copied().unwrap_or_default()
    }

    fn add(&mut self, byte: u8) {
        self.bits = match self.is_old {
            true => self.bits | u32::from(byte) << self.count,
            false => self.bits << 8 | u32::from(byte),
        };
        self.count += 8;
    }

    fn take(&mut self) -> u16 {
        let mask = (1 << self.width) - 1;
        self.count -= self.width;
        let code = if self.is_old { self.bits & mask } else { self.bits >> self.count & mask };
        self.bits = if self.is_old { self.bits >> self.width } else { self.bits & ((1 << self.count) - 1) };
        code as u16
    }

    /// Learns from a code what the next one stands for.
    fn explain(&mut self, code: u16) -> Result<(), String> {
        let broken = || Err("broken LZW data: a code that was not explained".to_owned());
        let Some(previous) = self.previous.replace(code) else {
            return if code < CLEAR { Ok(()) } else { broken() };
        };
        if code > self.next {
            return broken();
        }
        let before = self.word(previous);
        // The code that is being explained begins like the one before it.
        let last = if code == self.next { before.first } else { self.word(code).first };
        let Some(word) = self.words.get_mut(usize::from(self.next)) else { return Ok(()) };
        *word = Word { before: previous, length: before.length + 1, first: before.first, last };
        self.next += 1;
        let most = (1 << self.width) - 1 - u16::from(!self.is_old);
        if self.next > most && self.width < MOST_WIDTH {
            self.width += 1;
        }
        Ok(())
    }

    /// The bytes that a code stands for, from one of them on.
    fn give(&self, code: u16, from: usize, output: &mut [u8]) {
        let mut word = self.word(code);
        let mut at = usize::from(word.length);
        while at > from {
            at -= 1;
            if let Some(byte) = output.get_mut(at - from) {
                *byte = word.last;
            }
            word = self.word(word.before);
        }
    }
}
