//! TIFF files of one level, for programs that read no Zarr: what they are called, and where in them everything lies.
//! No voxels: the file says where each plane is, and who has the voxels puts them there.

mod description;
mod directory;
mod layout;
mod name;
#[cfg(test)]
mod tests;

pub use layout::TiffLayout;
pub use name::TiffName;
