//! The formats that volumes are read of file by file.

/// A format of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArchiveFormat {
    Dm,
    Tiff,
    Mrc,
}

impl ArchiveFormat {
    /// All of them. Of a folder that holds several the first is taken: others are often pictures of it.
    pub(super) const ALL: [ArchiveFormat; 3] = [ArchiveFormat::Dm, ArchiveFormat::Mrc, ArchiveFormat::Tiff];

    /// This one alone.
    pub(super) fn alone(self) -> &'static [ArchiveFormat] {
        match self {
            ArchiveFormat::Dm => &[ArchiveFormat::Dm],
            ArchiveFormat::Tiff => &[ArchiveFormat::Tiff],
            ArchiveFormat::Mrc => &[ArchiveFormat::Mrc],
        }
    }

    /// Endings of files that are sections.
    pub(super) fn endings(self) -> &'static [&'static str] {
        match self {
            ArchiveFormat::Dm => &[".dm3", ".dm4"],
            ArchiveFormat::Tiff => &[".tif", ".tiff"],
            ArchiveFormat::Mrc => &[".mrc"],
        }
    }

    /// Whether a file of this name is a section. macOS puts a file `._name` beside each one on disks of others.
    pub(super) fn has(self, name: &str) -> bool {
        let folded = name.to_ascii_lowercase();
        !name.starts_with('.') && self.endings().iter().any(|ending| folded.ends_with(ending))
    }
}
