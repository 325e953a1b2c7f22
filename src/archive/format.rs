//! The formats that volumes are read of file by file.

/// A format of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Dm,
    Tiff,
    Mrc,
}

impl Format {
    /// All of them. Of a folder that holds several the first is taken: others are often pictures of it.
    pub(super) const ALL: [Format; 3] = [Format::Dm, Format::Mrc, Format::Tiff];

    /// This one alone.
    pub(super) fn alone(self) -> &'static [Format] {
        match self {
            Format::Dm => &[Format::Dm],
            Format::Tiff => &[Format::Tiff],
            Format::Mrc => &[Format::Mrc],
        }
    }

    /// Endings of files that are sections.
    pub(super) fn endings(self) -> &'static [&'static str] {
        match self {
            Format::Dm => &[".dm3", ".dm4"],
            Format::Tiff => &[".tif", ".tiff"],
            Format::Mrc => &[".mrc"],
        }
    }

    /// Whether a file of this name is a section. macOS puts a file `._name` beside each one on disks of others.
    pub(super) fn has(self, name: &str) -> bool {
        let folded = name.to_ascii_lowercase();
        !name.starts_with('.') && self.endings().iter().any(|ending| folded.ends_with(ending))
    }
}
