//! How much memory there is above 1 MiB.

use super::regs::Regs;
use super::thunk::call;
use crate::memory::{BIOS_SCRATCH, HEAP};

/// "SMAP", which goes in and must come out.
const SIGNATURE: u32 = 0x534D_4150;

/// Some BIOSes never say that a map has ended.
const MAX_ENTRIES: usize = 128;

/// One entry of the map (ACPI 3.0, table 14-3), without the attributes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    base: u64,
    length: u64,
    kind: u32,
    attributes: u32,
}

const _: () = assert!(size_of::<Entry>() == 24);

impl Entry {
    /// One that covers nothing.
    const EMPTY: Self = Self { base: 0, length: 0, kind: 0, attributes: 1 };

    /// Memory that is free to use is type 1; everything else is not.
    fn is_free(self) -> bool {
        self.kind == 1
    }

    fn end(self) -> u64 {
        self.base.saturating_add(self.length)
    }
}

/// The end of the free memory that begins at 1 MiB; `HEAP` when there is none.
pub fn end_of_memory() -> u32 {
    let end = by_map().or_else(by_size).or_else(by_old_size).unwrap_or(HEAP);
    end.max(HEAP)
}

/// The next entry and where to go on, from INT 15h AX=E820. Register contents are not relied on from
/// one call to the next, and the signature is checked at each: BIOSes lose both half way.
fn entry(continuation: u32) -> Option<(Entry, u32)> {
    let buffer = BIOS_SCRATCH as *mut Entry;
    // SAFETY: the scratch area is ours, and long enough; the call below fills it.
    unsafe { buffer.write_volatile(Entry::EMPTY) }
    let out =
        call(0x15, &Regs { ebx: continuation, ecx: 24, edx: SIGNATURE, edi: BIOS_SCRATCH, ..Regs::service(0xE820) });
    if out.carry() || out.eax != SIGNATURE || !(20..=24).contains(&out.ecx) {
        return None;
    }
    // SAFETY: as above.
    Some((unsafe { buffer.read_volatile() }, out.ebx))
}

/// The map's entries that cover anything.
fn entries(into: &mut [Entry; MAX_ENTRIES]) -> &[Entry] {
    let (mut count, mut continuation) = (0, 0);
    for _ in 0..MAX_ENTRIES {
        let Some((found, next)) = entry(continuation) else { break };
        if found.length != 0 {
            into[count] = found;
            count += 1;
        }
        if next == 0 {
            break;
        }
        continuation = next;
    }
    &into[..count]
}

/// From the map: grow from 1 MiB through whatever is free, then cut at whatever is not. Entries may
/// overlap and come in any order, so growing takes a pass for each step; a few are enough.
#[inline(never)]
fn by_map() -> Option<u32> {
    let mut room = [Entry::EMPTY; MAX_ENTRIES];
    let map = entries(&mut room);
    let start = u64::from(HEAP);
    let mut end = start;
    for _ in 0..4 {
        for found in map.iter().filter(|found| found.is_free()) {
            if found.base <= end {
                end = end.max(found.end());
            }
        }
    }
    for found in map.iter().filter(|found| !found.is_free() && found.end() > start) {
        if found.base < end {
            end = found.base.max(start);
        }
    }
    let end = end.min(0xFFFF_F000);
    (end > start).then(|| u32::try_from(end).unwrap_or(HEAP))
}

/// INT 15h AX=E801: KiB between 1 and 16 MiB, in AX or CX. More than 15 MiB there is nonsense.
fn by_size() -> Option<u32> {
    let out = call(0x15, &Regs::service(0xE801));
    let kib = if out.ax() == 0 { out.cx() } else { out.ax() };
    (!out.carry() && (1..=15 * 1024).contains(&kib)).then(|| HEAP + u32::from(kib) * 1024)
}

/// INT 15h AH=88: KiB above 1 MiB, at most 64 MiB.
fn by_old_size() -> Option<u32> {
    let out = call(0x15, &Regs::service(0x8800));
    (!out.carry() && out.ax() != 0).then(|| HEAP + u32::from(out.ax()) * 1024)
}
