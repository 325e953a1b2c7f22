//! Writes DM files, also such as no program would.

use super::super::DmVersion;

/// A tag's value or group.
#[derive(Debug, Clone)]
pub(crate) enum TagTree {
    Group(Vec<(String, TagTree)>),
    U32(u32),
    F32(f32),
    F64(f64),
    Bool(bool),
    Text(String),
    /// An array of so many bytes of the code, which stand in the file as they are.
    Bytes(u32, Vec<u8>),
}

impl TagTree {
    pub(crate) fn group<const N: usize>(tags: [(&str, TagTree); N]) -> TagTree {
        TagTree::Group(tags.into_iter().map(|(name, tag)| (name.to_owned(), tag)).collect())
    }

    pub(crate) fn list<const N: usize>(tags: [TagTree; N]) -> TagTree {
        TagTree::Group(tags.into_iter().map(|tag| (String::new(), tag)).collect())
    }

    pub(crate) fn text(text: &str) -> TagTree {
        TagTree::Text(text.to_owned())
    }

    pub(crate) fn tags(&mut self) -> &mut Vec<(String, TagTree)> {
        match self {
            TagTree::Group(tags) => tags,
            other => panic!("{other:?} is no group"),
        }
    }

    /// The tag at a path; numbers count the members of lists.
    pub(crate) fn at(&mut self, path: &[&str]) -> &mut TagTree {
        path.iter().fold(self, |tree, name| {
            let tags = tree.tags();
            let named = tags.iter().position(|(own, _)| own == name);
            let place = named.or_else(|| name.parse().ok()).unwrap_or_else(|| panic!("no tag {name}"));
            &mut tags[place].1
        })
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.tags().retain(|(own, _)| own != name);
    }

    /// Turns round the order of all groups but the root, whose members' places then stay; lists keep theirs.
    pub(crate) fn reverse(&mut self) {
        if let TagTree::Group(tags) = self {
            tags.iter_mut().for_each(|(_, tag)| tag.reverse());
            // Only tags behind the pixels are moved, which keeps the pixels' place.
            if tags.iter().any(|(name, _)| name == "DataType") {
                let behind = tags.iter().position(|(name, _)| name == "Data").unwrap_or(0) + 1;
                tags[behind..].reverse();
            }
        }
    }
}

/// The tags of a section: thumbnail of `thumbnail` bytes, then the image. `dimensions`: fastest axis first.
pub(crate) fn slice(dimensions: &[u32], data_type: u32, pixels: Vec<u8>, thumbnail: usize) -> TagTree {
    let calibration = |scale, unit| {
        TagTree::group([("Origin", TagTree::F32(0.0)), ("Scale", TagTree::F32(scale)), ("Units", TagTree::text(unit))])
    };
    let micrometres = || calibration(0.007_998_25, "\u{b5}m");
    let depth = match data_type {
        6 | 9 => 1,
        1 | 10 => 2,
        12 => 8,
        _ => 4,
    };
    let data = |code, data, data_type, depth, dimensions: &[u32]| {
        TagTree::group([
            ("Calibrations", TagTree::group([("Dimension", TagTree::list([micrometres(), micrometres()]))])),
            ("Data", TagTree::Bytes(code, data)),
            ("DataType", TagTree::U32(data_type)),
            ("Dimensions", TagTree::Group(dimensions.iter().map(|n| (String::new(), TagTree::U32(*n))).collect())),
            ("PixelDepth", TagTree::U32(depth)),
        ])
    };
    let z = calibration(50.0, "nm");
    TagTree::group([
        (
            "DocumentObjectList",
            TagTree::list([TagTree::group([(
                "ImageDisplayInfo",
                TagTree::group([("HighLimit", TagTree::F32(123.0)), ("LowLimit", TagTree::F32(65.0))]),
            )])]),
        ),
        (
            "ImageList",
            TagTree::list([
                TagTree::group([("ImageData", data(3, vec![7; thumbnail], 23, 4, &[thumbnail as u32 / 4, 1]))]),
                TagTree::group([
                    ("ImageData", data(10, pixels, data_type, depth, dimensions)),
                    (
                        "ImageTags",
                        TagTree::group([(
                            "Meta Data",
                            TagTree::group([(
                                "Dimension info",
                                TagTree::list([TagTree::group([]), TagTree::group([]), z]),
                            )]),
                        )]),
                    ),
                    ("Name", TagTree::text("section")),
                ]),
            ]),
        ),
        ("ImageSourceList", TagTree::list([TagTree::group([("ImageRef", TagTree::U32(1))])])),
        ("InImageMode", TagTree::Bool(true)),
        ("Thumbnails", TagTree::list([TagTree::group([("ImageIndex", TagTree::U32(0))])])),
    ])
}

/// A file of these tags.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) version: DmVersion,
    pub(crate) big_endian: bool,
    pub(crate) root: TagTree,
}

impl File {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(if self.version == DmVersion::Dm3 { 3u32 } else { 4 }.to_be_bytes());
        let length = out.len();
        self.word(&mut out, 0);
        out.extend(u32::from(!self.big_endian).to_be_bytes());
        self.group(&mut out, &self.root);
        out.extend([0; 8]);
        let total = out.len() as u64;
        let mut word = Vec::new();
        self.word(&mut word, total - 16);
        out[length..length + word.len()].copy_from_slice(&word);
        out
    }

    fn word(&self, out: &mut Vec<u8>, word: u64) {
        match self.version {
            DmVersion::Dm3 => out.extend((word as u32).to_be_bytes()),
            DmVersion::Dm4 => out.extend(word.to_be_bytes()),
        }
    }

    fn group(&self, out: &mut Vec<u8>, group: &TagTree) {
        let TagTree::Group(tags) = group else { panic!("{group:?} is no group") };
        out.extend([1, 0]);
        self.word(out, tags.len() as u64);
        for (name, tag) in tags {
            out.push(if matches!(tag, TagTree::Group(_)) { 20 } else { 21 });
            let name: Vec<u8> = name.chars().map(|letter| letter as u8).collect();
            out.extend((name.len() as u16).to_be_bytes());
            out.extend(name);
            let size = out.len();
            if self.version == DmVersion::Dm4 {
                out.extend([0; 8]);
            }
            let start = out.len();
            if matches!(tag, TagTree::Group(_)) {
                self.group(out, tag)
            } else {
                self.data(out, tag)
            }
            if self.version == DmVersion::Dm4 {
                let length = (out.len() - start) as u64;
                out[size..size + 8].copy_from_slice(&length.to_be_bytes());
            }
        }
    }

    fn data(&self, out: &mut Vec<u8>, tag: &TagTree) {
        let order = |little: &[u8]| {
            let mut bytes = little.to_vec();
            if self.big_endian {
                bytes.reverse();
            }
            bytes
        };
        let (info, payload) = match tag {
            TagTree::Group(_) => panic!("a group is no value"),
            TagTree::U32(value) => (vec![5], order(&value.to_le_bytes())),
            TagTree::F32(value) => (vec![6], order(&value.to_le_bytes())),
            TagTree::F64(value) => (vec![7], order(&value.to_le_bytes())),
            TagTree::Bool(value) => (vec![8], vec![u8::from(*value)]),
            TagTree::Text(text) => {
                let units: Vec<u16> = text.encode_utf16().collect();
                let payload = units.iter().flat_map(|unit| order(&unit.to_le_bytes())).collect();
                (vec![20, 4, units.len() as u64], payload)
            }
            TagTree::Bytes(code, bytes) => {
                let size = if *code == 3 { 4 } else { 1 };
                (vec![20, u64::from(*code), bytes.len() as u64 / size], bytes.clone())
            }
        };
        out.extend(b"%%%%");
        self.word(out, info.len() as u64);
        info.iter().for_each(|word| self.word(out, *word));
        out.extend(payload);
    }
}
