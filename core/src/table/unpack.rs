//! From an image on the CD to the bytes that stand on a disk.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

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
    /// The image that `loaded` and `ahead` are of.
    image: String,
    /// The pack that stands unpacked in `output`, and its length in bytes there.
    loaded: Option<(u32, usize)>,
    /// What was read of the image behind the last pack.
    ahead: Ahead,
}

/// Part of an image, read before it was asked for. Packs that are taken in their order come from the CD in as
/// few transfers as there can be, whatever their lengths: each has a price, of a seek or of a BIOS's ways.
#[derive(Default)]
struct Ahead {
    /// Where it begins in the image, in bytes.
    from: u64,
    bytes: Vec<u8>,
    /// Where the pack ends that was asked for last, in bytes: in whose place the next one begins, if they are
    /// taken in their order.
    next: u64,
}

impl<'b> Buffers<'b> {
    /// Makes two buffers of one piece of memory.
    #[must_use]
    pub fn new(memory: &'b mut [u8; BUFFER_BYTES]) -> Self {
        let (input, output) = memory.split_at_mut(CHUNK_BYTES);
        Self { input, output, ..Self::default() }
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
        self.turn_to(image);
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

    /// The unpacked pack was changed, or all is to be read again.
    pub fn forget(&mut self) {
        self.loaded = None;
        self.ahead = Ahead::default();
    }

    /// What stands here of another image is of no use.
    fn turn_to(&mut self, image: &Table) {
        if self.image != image.name() {
            self.forget();
            self.image = String::from(image.name());
        }
    }

    /// Reads a pack and compares its hash.
    ///
    /// # Errors
    /// That it is unreadable or damaged.
    pub fn check(&mut self, machine: &mut dyn Machine, image: &Table, place: Place) -> Result<(), String> {
        self.turn_to(image);
        read(machine, image, place, self.input, &mut self.ahead).map(drop)
    }

    /// Reads and unpacks a pack; its length in bytes.
    #[inline(never)]
    fn load(&mut self, machine: &mut dyn Machine, image: &Table, place: Place) -> Result<usize, String> {
        let packed = read(machine, image, place, self.input, &mut self.ahead)?;
        if !place.raw {
            return knownstate_hot::unpack(packed, self.output)
                .ok_or_else(|| damaged(image, place, "it can't be unpacked"));
        }
        let output = self.output.get_mut(..packed.len()).ok_or_else(|| too_long(image, place))?;
        output.copy_from_slice(packed);
        Ok(packed.len())
    }
}

/// Reads a pack, and compares its hash. It stands in `input`, or in what was read `ahead`.
fn read<'i>(
    machine: &mut dyn Machine,
    image: &Table,
    place: Place,
    input: &'i mut [u8],
    ahead: &'i mut Ahead,
) -> Result<&'i [u8], String> {
    let (from, bytes) = (u64::from(place.at) * CD_SECTOR as u64, place.bytes as usize);
    let whole = bytes.next_multiple_of(CD_SECTOR);
    if whole > input.len() {
        return Err(too_long(image, place));
    }
    let in_order = from == ahead.next;
    ahead.next = from + whole as u64;
    let packed = if in_order {
        ahead.fill(machine, image, from, whole, input)?
    } else {
        image.read(machine, from, &mut input[..whole])?;
        &*input
    };
    let packed = &packed[..bytes];
    if hash(0, packed) != place.hash && !seeded(Defect::PackTrusted) {
        return Err(damaged(image, place, "its hash is wrong"));
    }
    Ok(packed)
}

impl Ahead {
    /// Gives `length` bytes from byte `from` of an image on, and reads what is not there yet, by way of `input`.
    fn fill(
        &mut self,
        machine: &mut dyn Machine,
        image: &Table,
        from: u64,
        length: usize,
        input: &mut [u8],
    ) -> Result<&[u8], String> {
        // What lies before it was used.
        let used = from.checked_sub(self.from).and_then(|used| usize::try_from(used).ok());
        match used.filter(|&used| used <= self.bytes.len()) {
            Some(used) if used + length <= self.bytes.len() => return Ok(&self.bytes[used..used + length]),
            Some(used) => drop(self.bytes.drain(..used)),
            None => self.bytes.clear(),
        }
        self.from = from;
        let at = from + self.bytes.len() as u64;
        let missing = length - self.bytes.len();
        let left = image.header.file_bytes.saturating_sub(at).next_multiple_of(CD_SECTOR as u64);
        let most = usize::try_from(left).unwrap_or(usize::MAX).clamp(missing, input.len());
        let mut read = &mut input[..most];
        if image.read(machine, at, read).is_err() {
            // Not for the sake of what nobody has asked for.
            read = &mut read[..missing];
            image.read(machine, at, read)?;
        }
        self.bytes.extend_from_slice(read);
        Ok(&self.bytes[..length])
    }
}

fn too_long(image: &Table, place: Place) -> String {
    damaged(image, place, "it is too long")
}

fn damaged(image: &Table, place: Place, why: &str) -> String {
    format!("{} is damaged on the CD: pack at byte {}: {why}", image.name(), u64::from(place.at) * CD_SECTOR as u64)
}
