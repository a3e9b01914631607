//! From an image on the CD to the bytes that stand on a disk.

use alloc::format;
use alloc::string::String;

use super::{CHUNK_BYTES, Entry, Place, Table};
use crate::defects::{Defect, seeded};
use crate::hash::hash;
use crate::machine::Machine;
use crate::units::{CD_SECTOR, SECTOR};

/// Bytes that [`Buffers`] are made of.
pub const BUFFER_BYTES: usize = 2 * CHUNK_BYTES;

/// The two large buffers of a run. The loader gives memory that the BIOS itself can reach, so that what it
/// reads is hashed, unpacked and written where it stands, without a copy.
#[derive(Default)]
pub struct Buffers<'b> {
    /// Where data comes in: packs from the CD, sectors that are checked or read back.
    pub input: &'b mut [u8],
    /// Where it goes out: the unpacked pack.
    output: &'b mut [u8],
    /// The pack that stands unpacked in `output`, and its length in bytes there.
    loaded: Option<(u32, usize)>,
}

impl<'b> Buffers<'b> {
    /// Makes two buffers of one piece of memory.
    #[must_use]
    pub fn new(memory: &'b mut [u8; BUFFER_BYTES]) -> Self {
        let (input, output) = memory.split_at_mut(CHUNK_BYTES);
        Self { input, output, loaded: None }
    }

    /// A chunk's content, and the input buffer, which is free again. Neighbours that share a pack are
    /// unpacked once.
    ///
    /// # Errors
    /// What is unreadable or damaged on the CD.
    pub fn chunk(
        &mut self,
        machine: &mut dyn Machine,
        image: &Table,
        entry: &Entry,
    ) -> Result<(&mut [u8], &mut [u8]), String> {
        let place = entry.place.ok_or_else(|| format!("{} is no image", image.name()))?;
        let loaded = self.loaded.filter(|(at, _)| *at == place.at).map(|(_, bytes)| bytes);
        let bytes = match loaded {
            Some(bytes) => bytes,
            None => {
                self.loaded = None;
                self.load(machine, image, place)?
            }
        };
        self.loaded = Some((place.at, bytes));
        let from = usize::from(place.within) * SECTOR;
        // Behind the pack's end stands what is left of an earlier one.
        let content = self.output.get_mut(..bytes).and_then(|pack| pack.get_mut(from..from + entry.bytes()));
        let content = content.ok_or_else(|| damaged(image, place, "it is too short"))?;
        Ok((content, &mut *self.input))
    }

    /// Both buffers, for other use.
    pub fn both(&mut self) -> (&mut [u8], &mut [u8]) {
        self.forget();
        (&mut *self.input, &mut *self.output)
    }

    /// The unpacked pack was changed, or another image is opened: it has to be read again.
    pub fn forget(&mut self) {
        self.loaded = None;
    }

    /// Reads a pack and compares its hash.
    ///
    /// # Errors
    /// That it is unreadable or damaged.
    pub fn check(&mut self, machine: &mut dyn Machine, image: &Table, place: Place) -> Result<(), String> {
        read(machine, image, place, self.input).map(drop)
    }

    /// Reads and unpacks a pack; its length in bytes.
    #[inline(never)]
    fn load(&mut self, machine: &mut dyn Machine, image: &Table, place: Place) -> Result<usize, String> {
        if place.raw {
            return read(machine, image, place, self.output).map(|pack| pack.len());
        }
        let packed = read(machine, image, place, self.input)?;
        knownstate_hot::unpack(packed, self.output).ok_or_else(|| damaged(image, place, "it can't be unpacked"))
    }
}

fn read<'i>(machine: &mut dyn Machine, image: &Table, place: Place, input: &'i mut [u8]) -> Result<&'i [u8], String> {
    let bytes = place.bytes as usize;
    let too_long = || damaged(image, place, "it is too long");
    let whole = input.get_mut(..bytes.next_multiple_of(CD_SECTOR)).ok_or_else(too_long)?;
    image.read(machine, u64::from(place.at) * CD_SECTOR as u64, whole)?;
    let packed = &whole[..bytes];
    if hash(0, packed) != place.hash && !seeded(Defect::PackTrusted) {
        return Err(damaged(image, place, "its hash is wrong"));
    }
    Ok(packed)
}

fn damaged(image: &Table, place: Place, why: &str) -> String {
    format!("{} is damaged on the CD: pack at byte {}: {why}", image.name(), u64::from(place.at) * CD_SECTOR as u64)
}
