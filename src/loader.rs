//! The loader that build.rs made and this binary carries, so that one file is all it takes to make
//! CDs.

#[allow(dead_code, reason = "stage1 and build.rs use the rest")]
mod header {
    include!("../linker/header.rs");
}

/// stage1 and stage2, as they stand on the CD.
pub const LOADER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/loader.bin"));
/// The standard boot code of an MBR.
pub const MBR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mbr.bin"));

/// The loader with the ISO's own id, by which stage1 knows its medium.
#[must_use]
pub fn with_id(id: &[u8; 32]) -> Vec<u8> {
    let mut loader = LOADER.to_vec();
    let place = header::HEADER_ID..header::HEADER_ID + header::HEADER_ID_BYTES;
    if let Some(field) = loader.get_mut(place) {
        field.copy_from_slice(&id[..header::HEADER_ID_BYTES]);
    }
    loader
}

/// The id in a loader.
#[must_use]
pub fn id(loader: &[u8]) -> Option<&[u8]> {
    loader.get(header::HEADER_ID..header::HEADER_ID + header::HEADER_ID_BYTES)
}
