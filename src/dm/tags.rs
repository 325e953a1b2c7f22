//! The tags of a file.

use std::borrow::Cow;

use bytes::Bytes;

use super::DmError;
use super::encoding::{Scalar, TagEncoding};

/// Most groups and values of a file; real ones have some hundreds to some thousands.
pub const MAX_TAGS: usize = 1 << 14;

/// The value of a tag: how it is encoded, where it is, and what it is unless it is long.
#[derive(Debug, Clone, PartialEq)]
pub struct TagData {
    /// How the payload is encoded.
    pub encoding: TagEncoding,
    /// Whether its numbers are big-endian.
    pub big_endian: bool,
    /// Where the payload begins in the file.
    pub offset: u64,
    /// Bytes of it.
    pub length: u64,
    /// The payload as it stands in the file; `None` where it is longer than [`super::walker::MAX_KEPT`].
    pub payload: Option<Bytes>,
}

impl TagData {
    /// The value where it is one number. Integers beyond 2⁵³ are rounded.
    pub fn number(&self) -> Option<f64> {
        let TagEncoding::Scalar(scalar) = self.encoding else { return None };
        let bytes = self.little_endian::<8>(scalar.size())?;
        let [a, b, c, d, ..] = bytes;
        Some(match scalar {
            Scalar::I16 => f64::from(i16::from_le_bytes([a, b])),
            Scalar::U16 => f64::from(u16::from_le_bytes([a, b])),
            Scalar::I32 => f64::from(i32::from_le_bytes([a, b, c, d])),
            Scalar::U32 => f64::from(u32::from_le_bytes([a, b, c, d])),
            Scalar::F32 => shortest(f32::from_le_bytes([a, b, c, d])),
            Scalar::F64 => f64::from_le_bytes(bytes),
            Scalar::Bool | Scalar::U8 => f64::from(a),
            Scalar::I8 => f64::from(i8::from_le_bytes([a])),
            Scalar::I64 => i64::from_le_bytes(bytes) as f64,
            Scalar::U64 => u64::from_le_bytes(bytes) as f64,
        })
    }

    /// The value where it is one whole number that is not negative.
    pub fn unsigned(&self) -> Option<u64> {
        let TagEncoding::Scalar(scalar) = self.encoding else { return None };
        let value = u64::from_le_bytes(self.little_endian::<8>(scalar.size())?);
        match scalar {
            Scalar::F32 | Scalar::F64 => None,
            Scalar::I8 | Scalar::I16 | Scalar::I32 | Scalar::I64 => {
                // The sign is the highest bit of what was read.
                (value >> (8 * scalar.size() - 1) == 0).then_some(value)
            }
            Scalar::Bool | Scalar::U8 | Scalar::U16 | Scalar::U32 | Scalar::U64 => Some(value),
        }
    }

    /// The value where it is text. Text is stored as an array of UTF-16 units, so an array of such numbers that means
    /// something else looks the same.
    pub fn text(&self) -> Option<String> {
        let payload = self.payload.as_ref()?;
        match &self.encoding {
            TagEncoding::Text(_) => Some(latin_1(payload).into_owned()),
            TagEncoding::Array(element, _) if **element == TagEncoding::Scalar(Scalar::U16) => {
                let units =
                    payload.as_chunks::<2>().0.iter().map(|unit| {
                        if self.big_endian { u16::from_be_bytes(*unit) } else { u16::from_le_bytes(*unit) }
                    });
                Some(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
            }
            _ => None,
        }
    }

    /// The first `size` bytes of the payload, little-endian, padded with zeros.
    fn little_endian<const N: usize>(&self, size: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let value = bytes.get_mut(..size)?;
        value.copy_from_slice(self.payload.as_ref()?.get(..size)?);
        if self.big_endian {
            value.reverse();
        }
        Some(bytes)
    }
}

/// The number that was meant: 0.0079982504 rather than 0.007998250424861908, which are the same 32 bits.
fn shortest(number: f32) -> f64 {
    if number.is_finite() { number.to_string().parse().unwrap_or(f64::from(number)) } else { f64::from(number) }
}

/// Text of one byte per letter.
pub(super) fn latin_1(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()),
    }
}

/// All tags of a file: a tree of groups with values at its ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Tags {
    pub(super) nodes: Vec<TagNode>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct TagNode {
    parent: usize,
    /// `None`: a member of a list, known by its number among those without a name.
    pub(super) name: Option<Box<str>>,
    pub(super) number: u64,
    unnamed: u64,
    pub(super) children: Vec<usize>,
    pub(super) data: Option<TagData>,
}

/// The root group.
pub(super) const ROOT: usize = 0;

impl Tags {
    pub(super) fn new() -> Self {
        let root = TagNode { parent: ROOT, name: None, number: 0, unnamed: 0, children: Vec::new(), data: None };
        Tags { nodes: vec![root] }
    }

    /// Adds a group (no data) or a value to a group; gives the number of the new one.
    pub(super) fn add(&mut self, parent: usize, name: &[u8], data: Option<TagData>) -> Result<usize, DmError> {
        let index = self.nodes.len();
        if index > MAX_TAGS {
            return Err(DmError::unsupported(self.path(parent), format!("a file of more than {MAX_TAGS} tags")));
        }
        let name = (!name.is_empty()).then(|| latin_1(name).into());
        let mut number = 0;
        if let Some(group) = self.nodes.get_mut(parent) {
            number = group.unnamed;
            group.unnamed += u64::from(name.is_none());
            group.children.push(index);
        }
        self.nodes.push(TagNode { parent, name, number, unnamed: 0, children: Vec::new(), data });
        Ok(index)
    }

    fn child(&self, parent: usize, name: &str) -> Option<usize> {
        let children = &self.nodes.get(parent)?.children;
        let wanted: Option<u64> = name.parse().ok();
        children.iter().copied().find(|&child| {
            self.nodes.get(child).is_some_and(|node| match &node.name {
                Some(own) => **own == *name,
                None => wanted == Some(node.number),
            })
        })
    }

    fn node(&self, path: &[&str]) -> Option<&TagNode> {
        let index = path.iter().try_fold(ROOT, |parent, name| self.child(parent, name))?;
        self.nodes.get(index)
    }

    /// The value at a path of names; members of lists are named by their numbers: `["ImageList", "0", "Name"]`.
    pub fn get(&self, path: &[&str]) -> Option<&TagData> {
        self.node(path)?.data.as_ref()
    }

    /// Number of tags directly in the group at a path; 0 where there is none.
    pub fn count(&self, path: &[&str]) -> usize {
        self.node(path).map_or(0, |node| node.children.len())
    }

    #[cfg(test)]
    /// All values with their paths, `ImageList.0.Name`, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (String, &TagData)> {
        self.nodes.iter().enumerate().filter_map(|(index, node)| Some((self.path(index), node.data.as_ref()?)))
    }

    /// The path of a tag as people write it.
    pub(super) fn path(&self, mut index: usize) -> String {
        let mut names = Vec::new();
        while let Some(node) = self.nodes.get(index).filter(|_| index != ROOT) {
            names.push(node.name.as_deref().map_or_else(|| Cow::Owned(node.number.to_string()), Cow::Borrowed));
            index = node.parent;
        }
        names.reverse();
        if names.is_empty() { "tags".to_owned() } else { names.join(".") }
    }
}
