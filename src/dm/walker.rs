//! Walks through the tags of a file, over whatever parts of it are at hand.

use bytes::Bytes;

use super::DmError;
use super::encoding::TagEncoding;
use super::tags::{ROOT, TagData, Tags, latin_1};

/// Longest payload that is kept; of longer ones only the place is.
pub const MAX_KEPT: u64 = 8 << 10;
/// Deepest nesting of groups.
pub const MAX_DEPTH: usize = 64;
/// Most words that describe a type; a structure of 500 fields has as many.
const MAX_INFO: u64 = 1 << 10;
/// Bytes of the names, types and payloads of all tags that are kept together.
const MAX_KEPT_ALL: u64 = 2 << 20;

/// Version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DmVersion {
    Dm3,
    Dm4,
}

impl DmVersion {
    const fn word(self) -> u64 {
        match self {
            DmVersion::Dm3 => 4,
            DmVersion::Dm4 => 8,
        }
    }

    /// The shortest entry: an empty group without a name.
    const fn shortest_entry(self) -> u64 {
        match self {
            DmVersion::Dm3 => 3 + 2 + 4,
            DmVersion::Dm4 => 3 + 8 + 2 + 8,
        }
    }
}

/// What a [`Walker`] wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Bytes from `offset` on, at least `length` of them, which all lie in the file.
    Need {
        /// Offset in the file.
        offset: u64,
        /// Bytes that the next tag takes at least.
        length: u64,
    },
    /// Nothing more.
    Done,
}

/// Reads the tags of a file that is handed over in parts.
#[derive(Debug)]
pub struct Walker {
    total: u64,
    position: u64,
    header: Option<Header>,
    open: Vec<Frame>,
    kept: u64,
    tags: Tags,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    version: DmVersion,
    big_endian: bool,
}

/// A group whose end was not reached.
#[derive(Debug)]
struct Frame {
    node: usize,
    left: u64,
    /// Where the group ends, in DM4; in DM3 the end of the file.
    end: u64,
}

/// Why a tag could not be read from the bytes at hand.
enum Stop {
    /// So many bytes are needed from the tag's beginning on.
    Short(u64),
    Error(DmError),
}

impl From<DmError> for Stop {
    fn from(error: DmError) -> Self {
        Stop::Error(error)
    }
}

impl Walker {
    /// Begins to read a file of `total` bytes.
    pub fn new(total: u64) -> Self {
        Walker { total, position: 0, header: None, open: Vec::new(), kept: 0, tags: Tags::new() }
    }

    /// Takes the bytes that are in the file from `offset` on, reads what it can, and says what it needs next. Bytes that
    /// are not the ones needed change nothing.
    pub fn feed(&mut self, offset: u64, bytes: &[u8]) -> Result<Step, DmError> {
        loop {
            while self.open.last().is_some_and(|frame| frame.left == 0) {
                self.close()?;
            }
            if self.header.is_some() && self.open.is_empty() {
                return Ok(Step::Done);
            }
            let mut cursor = Cursor { bytes: self.at_hand(offset, bytes), used: 0 };
            let read = match self.header {
                None => self.begin(&mut cursor),
                Some(header) => self.entry(header, &mut cursor),
            };
            match read {
                Ok(next) => self.position = next,
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Short(length)) => {
                    let end = self.open.last().map_or(self.total, |frame| frame.end);
                    if self.position.checked_add(length).is_none_or(|needed| needed > end) {
                        let place = format!("offset {}", self.position);
                        let what = if end == self.total { "the file" } else { "its group" };
                        let reason = format!("a tag of at least {length} bytes, but {what} ends at {end}");
                        return Err(DmError::malformed(place, reason));
                    }
                    return Ok(Step::Need { offset: self.position, length });
                }
            }
        }
    }

    /// What there is from the position on, nothing behind the end of the file.
    fn at_hand<'a>(&self, offset: u64, bytes: &'a [u8]) -> &'a [u8] {
        let skip = self.position.checked_sub(offset).and_then(|skip| usize::try_from(skip).ok());
        let rest = skip.and_then(|skip| bytes.get(skip..)).unwrap_or_default();
        let left = usize::try_from(self.total.saturating_sub(self.position)).unwrap_or(usize::MAX);
        rest.get(..left).unwrap_or(rest)
    }

    /// The version of the format, once the first bytes were read.
    pub fn version(&self) -> Option<DmVersion> {
        self.header.map(|header| header.version)
    }

    /// The tags, once [`Step::Done`] was reached.
    pub fn finish(self) -> Result<Tags, DmError> {
        if self.header.is_some() && self.open.is_empty() {
            return Ok(self.tags);
        }
        Err(DmError::malformed(format!("offset {}", self.position), "the file ends within its tags"))
    }

    fn close(&mut self) -> Result<(), DmError> {
        let Some(Header { version, .. }) = self.header else { return Ok(()) };
        if let Some(frame) = self.open.pop()
            && version == DmVersion::Dm4
            && frame.node != ROOT
            && frame.end != self.position
        {
            let reason = format!("the group should end at {}, but its tags end at {}", frame.end, self.position);
            return Err(DmError::malformed(self.tags.path(frame.node), reason));
        }
        Ok(())
    }

    /// The header of the file and of its root group.
    fn begin(&mut self, cursor: &mut Cursor<'_>) -> Result<u64, Stop> {
        let malformed = |reason: String| Stop::Error(DmError::malformed("header", reason));
        let version = match cursor.u32()? {
            3 => DmVersion::Dm3,
            4 => DmVersion::Dm4,
            other => return Err(malformed(format!("version {other}, which is neither DM3 nor DM4"))),
        };
        cursor.word(version)?;
        let big_endian = match cursor.u32()? {
            0 => true,
            1 => false,
            other => return Err(malformed(format!("byte order {other}, which is neither 0 nor 1"))),
        };
        let left = self.group(version, cursor, self.total, ROOT)?;
        self.header = Some(Header { version, big_endian });
        self.open.push(Frame { node: ROOT, left, end: self.total });
        Ok(self.position + cursor.used)
    }

    /// The head of a group: how many tags it has.
    fn group(&self, version: DmVersion, cursor: &mut Cursor<'_>, end: u64, node: usize) -> Result<u64, Stop> {
        cursor.take(2)?;
        let count = cursor.word(version)?;
        let left = end.saturating_sub(self.position.saturating_add(cursor.used));
        if count > left / version.shortest_entry() {
            let reason = format!("{count} tags, for which there is no room in {left} bytes");
            return Err(DmError::malformed(self.tags.path(node), reason).into());
        }
        Ok(count)
    }

    /// A tag, if all of it that is kept is at hand. Gives the position behind it.
    fn entry(&mut self, Header { version, big_endian }: Header, cursor: &mut Cursor<'_>) -> Result<u64, Stop> {
        let Some(&Frame { node: parent, end: parent_end, .. }) = self.open.last() else { return Ok(self.position) };
        let start = self.position;
        let kind = cursor.take(1)?.first().copied().unwrap_or_default();
        let name = cursor.u16()?;
        let name = cursor.take(u64::from(name))?;
        let malformed = |tags: &Tags, reason: String| {
            let place = format!("{}.{}", tags.path(parent), latin_1(name).escape_debug());
            Stop::Error(DmError::malformed(place, format!("at offset {start}: {reason}")))
        };
        if !matches!(kind, 20 | 21) {
            return Err(malformed(&self.tags, format!("a tag of kind {kind}, which is neither a group nor a value")));
        }
        self.keep(parent, name.len() as u64)?;
        let mut end = parent_end;
        if version == DmVersion::Dm4 {
            let length = cursor.u64()?;
            let here = start.saturating_add(cursor.used);
            end = here.checked_add(length).filter(|end| *end <= parent_end).ok_or_else(|| {
                malformed(&self.tags, format!("{length} bytes at {here}, but what it is in ends at {parent_end}"))
            })?;
        }
        let next = if kind == 20 {
            if self.open.len() >= MAX_DEPTH {
                let reason = format!("groups nested more than {MAX_DEPTH} deep");
                return Err(DmError::unsupported(self.tags.path(parent), reason).into());
            }
            let left = self.group(version, cursor, end, parent)?;
            let node = self.tags.add(parent, name, None)?;
            self.begin_child(Frame { node, left, end });
            start + cursor.used
        } else {
            let data = self.data(version, big_endian, cursor, end).map_err(|fault| match fault {
                Fault::Short(length) => Stop::Short(length),
                Fault::Reason(reason) => malformed(&self.tags, reason),
            })?;
            let next = data.offset + data.length;
            if version == DmVersion::Dm4 && next != end {
                return Err(malformed(&self.tags, format!("its value ends at {next}, where {end} is said")));
            }
            let words = data.offset.saturating_sub(start).saturating_sub(name.len() as u64);
            self.keep(parent, words + data.payload.as_ref().map_or(0, |payload| payload.len() as u64))?;
            self.tags.add(parent, name, Some(data))?;
            self.count_down();
            next
        };
        Ok(next)
    }

    /// Counts what is kept of a tag of a group.
    fn keep(&mut self, parent: usize, bytes: u64) -> Result<(), DmError> {
        self.kept = self.kept.saturating_add(bytes);
        if self.kept > MAX_KEPT_ALL {
            let reason = format!("a file with more than {MAX_KEPT_ALL} bytes of names and types of its tags");
            return Err(DmError::unsupported(self.tags.path(parent), reason));
        }
        Ok(())
    }

    fn begin_child(&mut self, frame: Frame) {
        self.count_down();
        self.open.push(frame);
    }

    fn count_down(&mut self) {
        if let Some(frame) = self.open.last_mut() {
            frame.left = frame.left.saturating_sub(1);
        }
    }

    fn data(&self, version: DmVersion, big_endian: bool, cursor: &mut Cursor<'_>, end: u64) -> Result<TagData, Fault> {
        if cursor.take(4)? != b"%%%%" {
            return Err(Fault::Reason("the mark %%%% is missing".into()));
        }
        let count = cursor.word(version)?;
        if count > MAX_INFO {
            return Err(Fault::Reason(format!("a type that is described by {count} words")));
        }
        let words = cursor.take(count * version.word())?;
        let words: Vec<u64> = words.chunks_exact(version.word() as usize).map(big_endian_word).collect();
        let encoding = TagEncoding::parse(&words).map_err(Fault::Reason)?;
        let offset = self.position + cursor.used;
        let left = end.saturating_sub(offset);
        let length = encoding.bytes().filter(|length| *length <= left).ok_or_else(|| {
            Fault::Reason(format!("a value of {}, for which {left} bytes are left", sized(encoding.bytes())))
        })?;
        let keep = length <= MAX_KEPT && self.kept + length <= MAX_KEPT_ALL;
        let payload = if keep { Some(Bytes::copy_from_slice(cursor.take(length)?)) } else { None };
        Ok(TagData { encoding, big_endian, offset, length, payload })
    }
}

/// What is wrong with a value.
enum Fault {
    Short(u64),
    Reason(String),
}

impl From<Short> for Fault {
    fn from(Short(length): Short) -> Self {
        Fault::Short(length)
    }
}

impl From<Short> for Stop {
    fn from(Short(length): Short) -> Self {
        Stop::Short(length)
    }
}

fn sized(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "more than 2⁶⁴ bytes".to_owned(), |bytes| format!("{bytes} bytes"))
}

fn big_endian_word(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// Bytes from the beginning of a tag on.
struct Cursor<'a> {
    bytes: &'a [u8],
    used: u64,
}

/// The tag takes so many bytes at least.
struct Short(u64);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], Short> {
        let end = self.used.saturating_add(length);
        let taken = usize::try_from(end).ok().and_then(|end| self.bytes.get(self.used as usize..end));
        let taken = taken.ok_or(Short(end))?;
        self.used = end;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, Short> {
        Ok(big_endian_word(self.take(2)?) as u16)
    }

    fn u32(&mut self) -> Result<u32, Short> {
        Ok(big_endian_word(self.take(4)?) as u32)
    }

    fn u64(&mut self) -> Result<u64, Short> {
        Ok(big_endian_word(self.take(8)?))
    }

    fn word(&mut self, version: DmVersion) -> Result<u64, Short> {
        Ok(big_endian_word(self.take(version.word())?))
    }
}
