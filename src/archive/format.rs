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

    /// Endings of files that are sections: the usual ones, and others that some programs write.
    fn all_endings(self) -> [&'static [&'static str]; 2] {
        match self {
            ArchiveFormat::Dm => [&[".dm3", ".dm4"], &[]],
            ArchiveFormat::Tiff => [&[".tif", ".tiff"], &[".btf", ".tf8"]],
            ArchiveFormat::Mrc => [&[".mrc"], &[".mrcs", ".map", ".rec", ".st"]],
        }
    }

    /// Endings of files that are sections.
    pub(super) fn endings(self) -> impl Iterator<Item = &'static str> {
        self.all_endings().into_iter().flatten().copied()
    }

    /// Whether a file of this name is a section. macOS puts a file `._name` beside each one on disks of others.
    pub(super) fn has(self, name: &str) -> bool {
        is_of(name, self.endings())
    }

    /// Whether its ending is a usual one, which files of no other format have.
    pub(super) fn has_usual(self, name: &str) -> bool {
        let [usual, _] = self.all_endings();
        is_of(name, usual.iter().copied())
    }
}

fn is_of(name: &str, mut endings: impl Iterator<Item = &'static str>) -> bool {
    let folded = name.to_ascii_lowercase();
    !name.starts_with('.') && endings.any(|ending| folded.ends_with(ending))
}
