//! Which of several disks, and which of several declarations.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::bstate::{self, Record};
use crate::disks::blank::HEAD;
use crate::disks::claim::{Claim, Kept, Scope};
use crate::disks::look::{Look, Standing};
use crate::disks::{Chosen, Search, default_signature, fits, never};
use crate::logic::{DiskIndex, DiskState};
use crate::machine::{DiskId, DiskInfo};
use crate::media::boot_sector;
use crate::media::filesystem::Filesystem;
use crate::media::marks::{self, On};
use crate::media::region::{Access, Region};
use crate::units::{Lba, Offset, SECTOR};

/// A disk and what it is to the declaration that is asked for.
struct Candidate {
    id: DiskId,
    info: DiskInfo,
    look: Look,
    /// Whether it is as much another declaration's.
    contested: Option<DiskIndex>,
}

impl Candidate {
    fn named(&self) -> String {
        format!("drive {:02X}", self.info.drive)
    }

    /// Whether nobody has looked at it yet.
    fn is_open(&self) -> bool {
        self.look.standing == Standing::Never(String::new())
    }
}

impl Search<'_> {
    /// Finds the declared disk, for every step but `restore D`. Where `all` are looked at, one that its table proves
    /// is not the only one that may be ours: who is about to change more than bstate.txt has to know of a clone.
    ///
    /// # Errors
    /// Why there is none, in words for the log.
    pub fn find(&mut self, wanted: DiskIndex, all: bool) -> Result<Chosen, String> {
        let candidates = self.candidates(wanted, all);
        match self.ours_of(wanted, &candidates) {
            Some(chosen) if chosen.claim.scope() == Scope::Restore => {
                let drive = chosen.claim.drive();
                Err(format!("drive {drive:02X} is ours with another layout, which only a restore of the disk replaces"))
            }
            Some(chosen) => Ok(chosen),
            None => Err(self.refusal(wanted, &candidates)),
        }
    }

    /// Finds the disk that `restore D` may write: ours, else blank, else one that may be adopted.
    ///
    /// # Errors
    /// Why there is none, in words for the log.
    pub fn find_to_restore(&mut self, wanted: DiskIndex) -> Result<Chosen, String> {
        let candidates = self.candidates(wanted, true);
        if let Some(mut chosen) = self.ours_of(wanted, &candidates) {
            return match chosen.claim.scope() {
                Scope::All | Scope::Restore => {
                    self.read_gaps(wanted, &mut chosen.claim);
                    Ok(chosen)
                }
                Scope::State | Scope::Nothing if chosen.remark.is_empty() => {
                    Err(chosen.claim.check_scope().err().unwrap_or_default())
                }
                Scope::State | Scope::Nothing => Err(chosen.remark),
            };
        }
        let blank: Vec<&Candidate> = candidates.iter().filter(|c| c.look.standing == Standing::Blank).collect();
        match blank.as_slice() {
            [one] if one.contested.is_none() => return Ok(self.chosen(wanted, one, Scope::Restore)),
            [one] => return Err(self.contest(wanted, one)),
            [] => {}
            several => {
                let drives: Vec<String> = several.iter().map(|c| format!("{:02X}", c.info.drive)).collect();
                let name = &self.program.disk(wanted).name;
                return Err(format!(
                    "{} blank disks could be {name}: drives {}; leave one of them, or provision it",
                    drives.len(),
                    drives.join(", ")
                ));
            }
        }
        self.adopted(wanted, &candidates)
    }

    /// Looks for old marks in the gaps of a disk that its table has proved: a restore clears them.
    fn read_gaps(&mut self, wanted: DiskIndex, claim: &mut Claim) {
        if claim.is_whole() {
            let marks = marks::look(self.machine, claim.id, Lba(0), claim.sectors(), On::Disk);
            claim.gap_marks = self.in_gaps(wanted, &marks.found);
        }
    }

    /// What the best of all candidates is.
    pub fn state(&mut self, wanted: DiskIndex) -> Option<DiskState> {
        let candidates = self.candidates(wanted, false);
        let is = |wanted: fn(&Standing) -> bool| candidates.iter().any(|c| wanted(&c.look.standing));
        if is(|s| matches!(s, Standing::Ours { .. })) {
            Some(DiskState::Ours)
        } else if is(|s| *s == Standing::Blank) {
            Some(DiskState::Blank)
        } else if is(|s| matches!(s, Standing::Foreign(_))) {
            Some(DiskState::Foreign)
        } else if is(|s| matches!(s, Standing::Unclear { .. })) {
            Some(DiskState::Unclear)
        } else {
            None
        }
    }

    /// Every disk that no other declaration has, and what it is. Where the table of one proves it to be ours, no
    /// other is looked at, but where that is asked for, or no copy on that one can be read.
    #[inline(never)]
    fn candidates(&mut self, wanted: DiskIndex, thorough: bool) -> Vec<Candidate> {
        let all: Vec<(DiskId, DiskInfo)> =
            self.machine.disks().into_iter().enumerate().map(|(n, info)| (DiskId(n), info)).collect();
        let mut quick = Vec::new();
        let mut rest = Vec::new();
        for &(id, info) in &all {
            if let Some(look) = never(&info) {
                rest.push(Candidate { id, info, look, contested: None });
                continue;
            }
            let looks = self.quick_looks(id, &info);
            match self.goes_to(id, &info, &looks.iter().map(|(disk, _)| *disk).collect::<Vec<_>>(), wanted) {
                Goes::Here(contested) => {
                    let look = looks.into_iter().find(|(disk, _)| *disk == wanted).map(|(_, look)| look);
                    quick.extend(look.map(|look| Candidate { id, info, look, contested }));
                }
                Goes::Elsewhere(disk) => {
                    rest.push(Candidate { id, info, look: Look::never(&self.as_disk(disk)), contested: None });
                }
                Goes::Nowhere => rest.push(Candidate { id, info, look: Look::never(""), contested: None }),
            }
        }
        let others = rest.iter().any(Candidate::is_open);
        let looks_on = quick.is_empty() || others && (thorough || self.are_all_damaged(wanted, &quick));
        if !looks_on {
            return quick;
        }
        let lacking = self.lacking(&all, wanted);
        for candidate in rest.iter_mut().filter(|candidate| candidate.is_open()) {
            candidate.look = self.whole_once(candidate.id, &candidate.info, wanted);
            self.settle_rivals(candidate, &lacking, &all, wanted);
        }
        if quick.is_empty() {
            return rest;
        }
        // Where the table of one proves it, others count only if they are as much ours.
        quick.extend(rest.into_iter().filter(|candidate| matches!(candidate.look.standing, Standing::Ours { .. })));
        quick
    }

    /// Whether none of these disks has a copy that can be read.
    fn are_all_damaged(&mut self, wanted: DiskIndex, quick: &[Candidate]) -> bool {
        !quick.iter().any(|candidate| self.rate(wanted, candidate).0)
    }

    /// Finds out whether a disk is another declaration's as well, or rather.
    #[inline(never)]
    fn settle_rivals(
        &mut self,
        candidate: &mut Candidate,
        lacking: &[DiskIndex],
        all: &[(DiskId, DiskInfo)],
        wanted: DiskIndex,
    ) {
        let blank = candidate.look.standing == Standing::Blank;
        let ours = matches!(candidate.look.standing, Standing::Ours { .. });
        let mut claimants = alloc::vec![wanted];
        for &other in lacking {
            match self.whole_once(candidate.id, &candidate.info, other).standing {
                // What is one declaration's own is not blank, or anybody's, for another one.
                Standing::Ours { .. } if !ours => return candidate.look = Look::never(&self.as_disk(other)),
                Standing::Ours { .. } => claimants.push(other),
                // A declaration without an image takes no blank disk, nor does one that has its disk.
                Standing::Blank if blank && self.has_images(other) && !self.has_own(other, all) => {
                    claimants.push(other);
                }
                _ => {}
            }
        }
        if !blank && !ours {
            return;
        }
        match self.goes_to(candidate.id, &candidate.info, &claimants, wanted) {
            Goes::Here(contested) => candidate.contested = contested,
            Goes::Elsewhere(disk) => candidate.look = Look::never(&self.as_disk(disk)),
            Goes::Nowhere => {}
        }
    }

    fn as_disk(&self, disk: DiskIndex) -> String {
        format!("is disk {}", self.program.disk(disk).name)
    }

    /// Whether any disk is provably a declaration's own.
    fn has_own(&mut self, wanted: DiskIndex, all: &[(DiskId, DiskInfo)]) -> bool {
        all.iter().any(|(id, info)| {
            never(info).is_none() && matches!(self.whole_once(*id, info, wanted).standing, Standing::Ours { .. })
        })
    }

    /// The declarations to which a disk's table proves it.
    fn quick_looks(&mut self, id: DiskId, info: &DiskInfo) -> Vec<(DiskIndex, Look)> {
        let disks: Vec<DiskIndex> = self.program.disk_indexes().collect();
        disks.into_iter().filter_map(|disk| self.quick(id, info, disk).map(|look| (disk, look))).collect()
    }

    /// The other declarations to which no table proves a disk.
    fn lacking(&mut self, all: &[(DiskId, DiskInfo)], wanted: DiskIndex) -> Vec<DiskIndex> {
        let others: Vec<DiskIndex> = self.program.disk_indexes().filter(|&disk| disk != wanted).collect();
        let has = |search: &mut Self, other: DiskIndex| {
            all.iter().any(|(id, info)| never(info).is_none() && search.quick(*id, info, other).is_some())
        };
        others.into_iter().filter(|&other| !has(self, other)).collect()
    }

    /// Which of the declarations that a disk could be it goes to: to the one whose signature it has, then to the one
    /// whose size it has.
    fn goes_to(&mut self, id: DiskId, info: &DiskInfo, claimants: &[DiskIndex], wanted: DiskIndex) -> Goes {
        let signature = self.signature_of(id).unwrap_or(0);
        let has_signature = |disk: &DiskIndex| {
            let disk = self.program.disk(*disk);
            signature != 0 && disk.signature.unwrap_or(default_signature(disk)) == signature
        };
        let has_size = |disk: &DiskIndex| fits(self.program.disk(*disk).sectors, info.sectors);
        let mut left: Vec<DiskIndex> = claimants.to_vec();
        for is_it in [&has_signature as &dyn Fn(&DiskIndex) -> bool, &has_size] {
            if left.len() > 1 && left.iter().any(is_it) {
                left.retain(is_it);
            }
        }
        let other = left.iter().find(|&&disk| disk != wanted).copied();
        match (left.contains(&wanted), other) {
            (true, contested) => Goes::Here(contested),
            (false, Some(other)) => Goes::Elsewhere(other),
            (false, None) => Goes::Nowhere,
        }
    }

    /// The one of those that are ours, if any is.
    #[inline(never)]
    fn ours_of(&mut self, wanted: DiskIndex, candidates: &[Candidate]) -> Option<Chosen> {
        let ours: Vec<&Candidate> =
            candidates.iter().filter(|c| matches!(c.look.standing, Standing::Ours { .. })).collect();
        let whole: Vec<&Candidate> = ours.iter().copied().filter(|c| c.scope() == Scope::All).collect();
        let best = if whole.is_empty() { ours } else { whole };
        match best.as_slice() {
            [] => None,
            [one] if one.contested.is_none() => Some(self.chosen(wanted, one, one.scope())),
            [one] => {
                let remark = self.contest(wanted, one);
                Some(Chosen { remark, ..self.chosen(wanted, one, Scope::Nothing) })
            }
            [first, ..] => {
                let chosen = self.best(wanted, &best).unwrap_or(first);
                Some(self.one_of(wanted, chosen, &best))
            }
        }
    }

    /// One of several that are ours: on it nothing but bstate.txt is written, and the others are named.
    fn one_of(&self, wanted: DiskIndex, chosen: &Candidate, several: &[&Candidate]) -> Chosen {
        let scope = if chosen.scope() == Scope::All { Scope::State } else { Scope::Nothing };
        let drives: Vec<String> = several.iter().map(|c| format!("{:02X}", c.info.drive)).collect();
        let remark = format!(
            "{} disks are {}: drives {}; on drive {:02X}, which is taken, only bstate.txt is written until one of them \
             is removed",
            drives.len(),
            self.program.disk(wanted).name,
            drives.join(", "),
            chosen.info.drive
        );
        Chosen { remark, ..self.chosen(wanted, chosen, scope) }
    }

    fn contest(&self, wanted: DiskIndex, candidate: &Candidate) -> String {
        let other = candidate.contested.map_or("", |other| self.program.disk(other).name.as_str());
        let name = &self.program.disk(wanted).name;
        format!(
            "{} could be disk {name} and disk {other}, so it is not written; give each a signature of its own",
            candidate.named()
        )
    }

    /// Of several that are ours: one with a copy that can be read, then the one with the newest bstate.txt, if all
    /// are of one set, else the first of the BIOS.
    #[inline(never)]
    fn best<'c>(&mut self, wanted: DiskIndex, several: &[&'c Candidate]) -> Option<&'c Candidate> {
        let rated: Vec<(bool, Option<Record>)> = several.iter().map(|c| self.rate(wanted, c)).collect();
        let good = rated.iter().any(|(whole, _)| *whole);
        let mut left = rated.iter().zip(several).filter(|((whole, _), _)| *whole == good);
        let first = left.next()?;
        let of_one_set = |record: &Option<Record>| {
            let set = |record: &Option<Record>| record.as_ref().and_then(|r| r.set);
            set(record).is_some() && set(record) == set(&first.0.1)
        };
        let rest: Vec<_> = left.collect();
        if !rest.iter().all(|((_, record), _)| of_one_set(record)) {
            return Some(first.1);
        }
        let sequence = |record: &Option<Record>| record.as_ref().map_or(0, |record| record.sequence);
        let newest = rest
            .into_iter()
            .fold(first, |best, other| if sequence(&other.0.1) > sequence(&best.0.1) { other } else { best });
        Some(newest.1)
    }

    /// Whether a disk has a partition with boot sector and filesystem, and its newest record.
    #[inline(never)]
    fn rate(&mut self, wanted: DiskIndex, candidate: &Candidate) -> (bool, Option<Record>) {
        let (mut whole, mut newest) = (false, None::<Record>);
        for partition in self.program.partitions_on(wanted).map(|p| self.program.partition(p)) {
            let region = Region::cut(candidate.id, partition.start, partition.sectors, Access::Nothing);
            let mut sector = [0; SECTOR];
            let boots =
                region.read(self.machine, Offset(0), &mut sector).is_ok() && boot_sector::fault(&sector).is_none();
            let Ok(filesystem) = Filesystem::open(&mut region.volume(self.machine)) else { continue };
            whole |= boots;
            let Ok(start) = filesystem.find(&mut region.volume(self.machine), bstate::FILE) else { continue };
            if region.read(self.machine, start.at, &mut sector).is_err() {
                continue;
            }
            let Ok(parsed) = Record::parse(&sector) else { continue };
            let record = parsed.record();
            if newest.as_ref().is_none_or(|newest| newest.sequence < record.sequence) {
                newest = Some(record.clone());
            }
        }
        (whole, newest)
    }

    /// The one disk that may be adopted.
    fn adopted(&mut self, wanted: DiskIndex, candidates: &[Candidate]) -> Result<Chosen, String> {
        let disk = self.program.disk(wanted);
        let used = |c: &&Candidate| matches!(c.look.standing, Standing::Foreign(_) | Standing::Unclear { .. });
        let used: Vec<&Candidate> = candidates.iter().filter(used).collect();
        let refusal = self.refusal(wanted, candidates);
        if !disk.adopt {
            return Err(refusal);
        }
        let [one] = used.as_slice() else {
            return Err(if used.is_empty() {
                refusal
            } else {
                format!("{refusal}; of several used disks none is adopted")
            });
        };
        let blank = matches!(one.look.standing, Standing::Unclear { blank: true, .. });
        let foreign = matches!(one.look.standing, Standing::Foreign(_));
        if foreign && one.info.removable {
            return Err(format!("{refusal}; what is removable or on USB is not adopted"));
        }
        if !(blank || fits(disk.sectors, one.info.sectors)) || !self.fit(wanted, &one.info) {
            return Err(format!("{refusal}; a disk of another size is not adopted"));
        }
        let mut chosen = self.chosen(wanted, one, Scope::Restore);
        chosen.remark = format!("{} {}, and is adopted", one.named(), one.look.standing.reason());
        Ok(chosen)
    }

    /// Why none of them is taken, and what a person can do.
    #[inline(never)]
    fn refusal(&self, wanted: DiskIndex, candidates: &[Candidate]) -> String {
        let disk = self.program.disk(wanted);
        if candidates.is_empty() {
            return "no disk found".to_string();
        }
        let reasons: Vec<String> =
            candidates.iter().map(|c| format!("{} {}", c.named(), c.look.standing.reason())).collect();
        let remedy = candidates.iter().map(|c| c.look.standing.remedy()).find(|remedy| !remedy.is_empty());
        let remedy = remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
        format!("no disk is {}: {}{remedy}", disk.name, reasons.join(", "))
    }

    /// The entries that have to be kept: where the disk may be adopted, those alone that are in nobody's way.
    fn kept(&self, wanted: DiskIndex, look: &Look) -> Vec<Kept> {
        let map = self.program.map(wanted);
        let beside = |kept: &&Kept| !map.iter().any(|e| e.kind != 0 && kept.overlaps(e.start.into(), e.end()));
        let adopt = self.program.disk(wanted).adopt;
        look.kept.iter().filter(|kept| !adopt || beside(kept)).cloned().collect()
    }

    fn chosen(&self, wanted: DiskIndex, candidate: &Candidate, scope: Scope) -> Chosen {
        let disk = self.program.disk(wanted);
        let Candidate { id, info, look, .. } = candidate;
        let scope = if self.has_images(wanted) && info.writable { scope } else { Scope::Nothing };
        let claim = Claim {
            id: *id,
            info: *info,
            scope,
            kept: self.kept(wanted, look),
            first: self.first_of(wanted),
            gap_marks: look.gap_marks.clone(),
            blank: if look.standing == Standing::Blank { HEAD } else { 0 },
            whole: look.whole,
            note: look.note.clone(),
        };
        let mut remarks = Vec::new();
        if !fits(disk.sectors, info.sectors) {
            let (crate::logic::Size::Exactly(n) | crate::logic::Size::AtLeast(n)) = disk.sectors;
            remarks.push(format!("{} has {} sectors, declared {}", candidate.named(), info.sectors, n.0));
        }
        if !look.remark.is_empty() {
            remarks.push(look.remark.clone());
        }
        Chosen { claim, remark: remarks.join("; ") }
    }
}

impl Candidate {
    fn scope(&self) -> Scope {
        match self.look.standing {
            Standing::Ours { scope, .. } => scope,
            _ => Scope::Nothing,
        }
    }
}

/// Where a disk goes.
enum Goes {
    /// To the declaration that is asked for; and it could be another one's as well.
    Here(Option<DiskIndex>),
    /// To another one.
    Elsewhere(DiskIndex),
    /// To none, so far.
    Nowhere,
}
