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

/// Which function and line an address of it is: see linker/lines.rs.
const LINES: &str = include_str!(concat!(env!("OUT_DIR"), "/loader.lines"));

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

/// Whether a CD's loader is this tool's, but for what each CD has of its own.
#[must_use]
pub fn is_ours(loader: &[u8]) -> bool {
    let own = header::HEADER_TABLE..header::HEADER_ID + header::HEADER_ID_BYTES;
    let rest = |bytes: &[u8]| Some([bytes.get(..own.start)?.to_vec(), bytes.get(own.end..)?.to_vec()]);
    rest(loader).is_some_and(|rest_of_it| rest(LOADER) == Some(rest_of_it))
}

/// What stands at an address in this tool's loader: a function and a line, and those that it was inlined into.
#[must_use]
pub fn places(address: u32) -> Vec<&'static str> {
    let Some((places, rows)) = LINES.split_once("\n\n") else { return Vec::new() };
    let begins = |row: &str| row.split(' ').next().and_then(|begin| u32::from_str_radix(begin, 16).ok());
    let row = rows.lines().take_while(|row| begins(row).is_some_and(|begin| begin <= address)).last();
    let numbers = row.unwrap_or_default().split(' ').skip(1).filter_map(|number| number.parse().ok());
    numbers.filter_map(|number| places.lines().nth(number)).collect()
}
