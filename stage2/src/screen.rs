//! VGA text memory.

use crate::bios::int10::{COLUMNS, ROWS, cursor};
use crate::memory::bda;
use crate::port::outb;
use core::ptr::NonNull;
use volatile::VolatileRef;

/// A space, light grey on black.
const BLANK: u16 = 0x0720;

type Cells = [u16; COLUMNS * ROWS];

/// The text screen: a cell is a character and its colours.
pub struct Screen {
    cells: VolatileRef<'static, Cells>,
    row: usize,
    column: usize,
}

// SAFETY: the video memory is at the same place for everybody; the lock around the console gives it to
// one at a time.
unsafe impl Send for Screen {}

impl Screen {
    /// The screen whose memory is at `address`, going on where the BIOS's messages ended.
    pub fn at(address: u32) -> Self {
        let pointer = NonNull::new(address as *mut Cells).unwrap_or(NonNull::dangling());
        // SAFETY: the BIOS said that a text mode of 80 columns is set, whose memory this is. Nobody
        // else writes there: what the BIOS prints it prints only when called.
        let cells = unsafe { VolatileRef::new(pointer) };
        let (row, column) = cursor();
        let mut screen = Self { cells, row, column };
        if column != 0 {
            screen.put(b'\n');
        }
        screen
    }

    /// Row and column of the next character.
    pub fn position(&self) -> (usize, usize) {
        (self.row, self.column)
    }

    /// Moves the blinking cursor here. By the controller's own registers (IBM VGA manual, indexes 0Eh and
    /// 0Fh): a BIOS call for every line would be the most expensive thing about it.
    pub fn show_cursor(&self) {
        let place = u16::try_from(self.row * COLUMNS + self.column).unwrap_or(0);
        let [low, high] = place.to_le_bytes();
        let index = bda::<u16>(0x63);
        // SAFETY: the BIOS says that the controller of this screen is at this port; these two registers
        // are nothing but the cursor's place.
        unsafe {
            outb(index, 0x0E);
            outb(index + 1, high);
            outb(index, 0x0F);
            outb(index + 1, low);
        }
    }

    /// Shows one byte; what is not printable ASCII as a question mark.
    pub fn put(&mut self, byte: u8) {
        if byte == b'\n' || self.column == COLUMNS {
            self.column = 0;
            self.row += 1;
        }
        if self.row == ROWS {
            self.scroll();
        }
        if byte != b'\n' {
            let shown = if (b' '..=b'~').contains(&byte) { byte } else { b'?' };
            self.write(self.row * COLUMNS + self.column, BLANK & 0xFF00 | u16::from(shown));
            self.column += 1;
        }
    }

    fn scroll(&mut self) {
        for index in 0..COLUMNS * (ROWS - 1) {
            let below = self.read(index + COLUMNS);
            self.write(index, below);
        }
        for index in COLUMNS * (ROWS - 1)..COLUMNS * ROWS {
            self.write(index, BLANK);
        }
        self.row = ROWS - 1;
    }

    fn read(&mut self, index: usize) -> u16 {
        assert!(index < COLUMNS * ROWS);
        // SAFETY: the index is inside the array, so the cell is inside the screen's memory.
        let cell = unsafe { self.cells.as_ptr().map(|cells| cells.cast::<u16>().add(index)) };
        cell.read()
    }

    fn write(&mut self, index: usize, value: u16) {
        assert!(index < COLUMNS * ROWS);
        // SAFETY: as in `read`.
        let cell = unsafe { self.cells.as_mut_ptr().map(|cells| cells.cast::<u16>().add(index)) };
        cell.write(value);
    }
}
