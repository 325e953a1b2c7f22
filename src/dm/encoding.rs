//! How the payload of a tag is encoded.

/// Arrays of arrays and structures are legal; deeper nesting than this was never seen.
const MAX_NESTING: u8 = 4;

/// A number of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Scalar {
    I16,
    I32,
    U16,
    U32,
    F32,
    F64,
    Bool,
    I8,
    U8,
    I64,
    U64,
}

impl Scalar {
    /// By its code in the file.
    pub const fn of_code(code: u64) -> Option<Self> {
        Some(match code {
            2 => Scalar::I16,
            3 => Scalar::I32,
            4 => Scalar::U16,
            5 => Scalar::U32,
            6 => Scalar::F32,
            7 => Scalar::F64,
            8 => Scalar::Bool,
            9 => Scalar::I8,
            10 => Scalar::U8,
            11 => Scalar::I64,
            12 => Scalar::U64,
            _ => return None,
        })
    }

    /// Bytes.
    pub const fn size(self) -> usize {
        match self {
            Scalar::Bool | Scalar::I8 | Scalar::U8 => 1,
            Scalar::I16 | Scalar::U16 => 2,
            Scalar::I32 | Scalar::U32 | Scalar::F32 => 4,
            Scalar::F64 | Scalar::I64 | Scalar::U64 => 8,
        }
    }
}

/// What a payload is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagEncoding {
    /// One number.
    Scalar(Scalar),
    /// So many bytes of text.
    Text(u64),
    /// Numbers one after the other.
    Struct(Vec<Scalar>),
    /// So many times the same.
    Array(Box<TagEncoding>, u64),
}

impl TagEncoding {
    /// Reads the words of the info array, all of which must be used.
    pub(super) fn parse(words: &[u64]) -> Result<Self, String> {
        let mut words = words.iter().copied();
        let encoding = Self::next(&mut words, 0)?;
        match words.len() {
            0 => Ok(encoding),
            left => Err(format!("{left} words too many in the description of the type")),
        }
    }

    fn next(words: &mut (impl ExactSizeIterator<Item = u64> + Clone), depth: u8) -> Result<Self, String> {
        const SHORT: &str = "the description of the type ends early";
        let code = words.next().ok_or(SHORT)?;
        Ok(match code {
            15 => {
                if words.next().ok_or(SHORT)? != 0 {
                    return Err("a structure with a name".into());
                }
                let fields = words.next().ok_or(SHORT)?;
                // Each field takes two words, which bounds what is reserved.
                if fields > words.len() as u64 / 2 {
                    return Err(format!("a structure of {fields} fields in too few words"));
                }
                let mut scalars = Vec::with_capacity(fields as usize);
                for _ in 0..fields {
                    let (name, code) = (words.next().ok_or(SHORT)?, words.next().ok_or(SHORT)?);
                    if name != 0 {
                        return Err("a structure whose fields have names".into());
                    }
                    scalars.push(Scalar::of_code(code).ok_or_else(|| format!("unknown type {code} in a structure"))?);
                }
                TagEncoding::Struct(scalars)
            }
            18 => TagEncoding::Text(words.next().ok_or(SHORT)?),
            20 if depth == MAX_NESTING => return Err("arrays nested too deep".into()),
            20 => {
                let element = Self::next(words, depth + 1)?;
                TagEncoding::Array(Box::new(element), words.next().ok_or(SHORT)?)
            }
            code => TagEncoding::Scalar(Scalar::of_code(code).ok_or_else(|| format!("unknown type {code}"))?),
        })
    }

    /// Bytes of the payload; `None` where they do not fit 64 bits.
    pub fn bytes(&self) -> Option<u64> {
        match self {
            TagEncoding::Scalar(scalar) => Some(scalar.size() as u64),
            TagEncoding::Text(length) => Some(*length),
            TagEncoding::Struct(fields) => Some(fields.iter().map(|field| field.size() as u64).sum()),
            TagEncoding::Array(element, count) => element.bytes()?.checked_mul(*count),
        }
    }
}
