//! The screen. Only its mode and cursor are the BIOS's business: the text itself is written to video
//! memory, since some BIOSes' teletype destroys registers or scrolls wrong.

use super::regs::Regs;
use super::thunk::call;
use crate::memory::bda;

/// Columns and rows of the text modes used.
pub const COLUMNS: usize = 80;
/// See [`COLUMNS`].
pub const ROWS: usize = 25;

/// Where text goes in the current mode: colour or monochrome video memory; `None` in graphics modes,
/// and without a video BIOS.
fn text_memory() -> Option<u32> {
    let columns: u16 = bda(0x4A);
    match bda::<u8>(0x49) {
        2 | 3 if usize::from(columns) == COLUMNS => Some(0xB_8000),
        7 if usize::from(columns) == COLUMNS => Some(0xB_0000),
        _ => None,
    }
}

/// Video memory of a text mode, setting mode 3 once if there is none yet. Without a video BIOS the call
/// returns at once and nothing changes.
pub fn text_screen() -> Option<u32> {
    text_memory().or_else(|| {
        call(0x10, &Regs::service(0x0003));
        text_memory()
    })
}

/// The cursor's row and column on the page shown.
pub fn cursor() -> (usize, usize) {
    let [column, row]: [u8; 2] = bda(0x50);
    (usize::from(row).min(ROWS - 1), usize::from(column).min(COLUMNS - 1))
}

/// Moves the cursor, so that whoever prints next goes on where we stopped.
pub fn set_cursor(row: usize, column: usize) {
    let position = (row.min(ROWS - 1) << 8 | column.min(COLUMNS - 1)) as u32;
    call(0x10, &Regs { edx: position, ..Regs::service(0x0200) });
}
