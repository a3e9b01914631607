//! Whose the disks of a machine are, and what has to happen to them, after docs/DISKS.md, said without the code
//! under test: what each disk carries stands here as facts, and what follows from those as the rules.

use super::others::Other;

/// The signature that some declarations ask for.
pub const SIGNATURE: u32 = 0x1234_5678;
/// The signature of what is somebody else's.
pub const OTHER_SIGNATURE: u32 = 0x0BAD_CAFE;

/// What logic.txt declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// `sectors N..` instead of `sectors N`.
    pub at_least: bool,
    pub signature: bool,
    /// A second disk without an image is declared, that every larger one fits.
    pub second: bool,
}

/// What the target is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Good,
    Blank,
    MbrZeroed,
    /// Noise that ends in 55AA.
    MbrGarbage,
    /// Boot code, 55AA and signature as they were, no partitions.
    TableZeroed,
    /// Another system's table, and its signature.
    SomebodyElses,
    CodeAltered,
    SignatureAltered,
    P1Damaged,
    BothDamaged,
    BothDirty,
    StatesGarbage,
    /// The power went in the middle of a restore.
    Restoring,
    MbrUnreadable,
    /// Nothing at its beginning can be read.
    HeadUnreadable,
    /// What follows a good MBR can't be read.
    GapUnreadable,
    /// The MBR is gone, and a place that marks may stand at can't be read.
    TailUnreadable,
    /// Its BIOS can't write it.
    Locked,
    /// Its bus reports another size, a sector less.
    Clipped,
    /// The MBR is gone, and the last sector has an old mark of somebody's.
    OldMark,
    /// Somebody has made a filesystem of the whole disk; our old files are still at their places.
    Reused,
}

impl State {
    /// Every one.
    pub const ALL: [Self; 21] = [
        Self::Good,
        Self::Blank,
        Self::MbrZeroed,
        Self::MbrGarbage,
        Self::TableZeroed,
        Self::SomebodyElses,
        Self::CodeAltered,
        Self::SignatureAltered,
        Self::P1Damaged,
        Self::BothDamaged,
        Self::BothDirty,
        Self::StatesGarbage,
        Self::Restoring,
        Self::MbrUnreadable,
        Self::HeadUnreadable,
        Self::GapUnreadable,
        Self::TailUnreadable,
        Self::Locked,
        Self::Clipped,
        Self::OldMark,
        Self::Reused,
    ];
}

pub const DECLARED: [Declared; 6] = [
    Declared { at_least: false, signature: false, second: false },
    Declared { at_least: true, signature: false, second: false },
    Declared { at_least: false, signature: true, second: false },
    Declared { at_least: true, signature: true, second: false },
    Declared { at_least: false, signature: false, second: true },
    Declared { at_least: true, signature: true, second: true },
];

/// How a disk's size is to the declared one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Declared,
    Larger,
    /// By so little that all partitions fit.
    Shorter,
}

/// What a disk signature says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// It is the declared one, or where none is declared the one that a restore writes.
    Ours,
    /// It is another one, and not 0.
    Another,
}

/// What is in sector 0, where it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// No table and no note.
    Nothing,
    Table {
        /// Whether every declared entry is in its slot.
        map: bool,
        signature: Signature,
        /// Whether the boot code is the CD's.
        code: bool,
    },
    /// The note of a restore of ours that is not finished.
    Note,
}

/// As much as the rules ask about a disk.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub length: Length,
    pub first: First,
    /// Our files are where they belong.
    pub content: bool,
    /// Somebody's mark is at the disk's own beginning.
    pub taken_over: bool,
    /// There is a mark of somebody's, wherever.
    pub marked: bool,
    /// There is data that nobody can name.
    pub data: bool,
    /// It can't be read where it counts.
    pub unreadable: bool,
    /// The machine was booted from it.
    pub medium: bool,
    /// It can be taken out, or is on USB, as the firmware says.
    pub removable: bool,
    /// Whether one of its copies verifies `quick`.
    pub copy: bool,
    /// The set and the age of its newest bstate.txt.
    pub record: Option<(u32, u64)>,
}

/// Nothing is on it.
pub const BLANK: Seen = Seen {
    length: Length::Declared,
    first: First::Nothing,
    content: false,
    taken_over: false,
    marked: false,
    data: false,
    unreadable: false,
    medium: false,
    removable: false,
    copy: false,
    record: None,
};

/// As the CD's restore leaves it.
pub const GOOD: Seen = Seen {
    first: First::Table { map: true, signature: Signature::Ours, code: true },
    content: true,
    copy: true,
    record: Some((1, 0)),
    ..BLANK
};

/// Whose a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Ours,
    Blank,
    Somebodys,
    Unclear,
    Never,
}

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// This one of the list is the declared disk.
    Is(usize),
    /// Several are, and this one is taken; but nothing is written on it but bstate.txt.
    State(usize),
    /// None is.
    None,
    /// Several are blank, and none is ours.
    Several,
}

impl State {
    /// What the target carries in this state.
    pub fn seen(self) -> Seen {
        let table = |map, signature, code| First::Table { map, signature, code };
        let (ours, another) = (Signature::Ours, Signature::Another);
        match self {
            Self::Good | Self::P1Damaged | Self::GapUnreadable | Self::Locked => GOOD,
            Self::Clipped => Seen { length: Length::Shorter, ..GOOD },
            Self::Blank => BLANK,
            Self::MbrZeroed | Self::MbrUnreadable => Seen { first: First::Nothing, ..GOOD },
            Self::HeadUnreadable | Self::TailUnreadable => Seen { first: First::Nothing, unreadable: true, ..GOOD },
            Self::OldMark => Seen { first: First::Nothing, marked: true, ..GOOD },
            Self::Reused => Seen { first: First::Nothing, taken_over: true, marked: true, copy: false, ..GOOD },
            Self::TableZeroed => Seen { first: table(false, ours, true), ..GOOD },
            // Noise is a signature too; and nothing of anybody's is in what it names.
            Self::MbrGarbage | Self::SomebodyElses => Seen { first: table(false, another, false), ..GOOD },
            Self::CodeAltered => Seen { first: table(true, ours, false), ..GOOD },
            Self::SignatureAltered => Seen { first: table(true, another, true), ..GOOD },
            Self::BothDamaged => Seen { content: false, copy: false, record: None, ..GOOD },
            Self::BothDirty => Seen { record: Some((0, 7)), ..GOOD },
            Self::StatesGarbage => Seen { record: None, ..GOOD },
            Self::Restoring => Seen { first: First::Note, content: false, copy: false, record: None, ..BLANK },
        }
    }

    /// Whether figure 4 boots a copy of the disk as it is, where nothing but bstate.txt may be written. (It boots P2
    /// only where it could make it active, which takes a write.)
    pub fn boots_as_it_is(self) -> bool {
        matches!(self, Self::Good | Self::GapUnreadable | Self::Locked | Self::Clipped | Self::SignatureAltered)
    }
}

impl Seen {
    /// Whether its own signature says that it is not the declared disk.
    fn is_disproved(&self, declared: Declared) -> bool {
        declared.signature && matches!(self.first, First::Table { signature: Signature::Another, .. })
    }

    /// Whether its table and something else in sector 0 prove it to be ours.
    fn by_table(&self, declared: Declared) -> bool {
        let First::Table { map, signature, code } = self.first else { return false };
        map && (signature == Signature::Ours || code) && !self.is_disproved(declared)
    }

    fn is_ours(&self, declared: Declared) -> bool {
        let by_note = self.first == First::Note && !self.taken_over;
        let by_content = self.content && !self.taken_over && !self.is_disproved(declared);
        self.by_table(declared) || by_note || by_content
    }

    /// Whose it is, other disks and declarations aside.
    pub fn standing(&self, declared: Declared) -> Standing {
        let holds_map = matches!(self.first, First::Table { map: true, .. });
        let fits = match self.length {
            Length::Declared => true,
            Length::Larger => declared.at_least,
            Length::Shorter => false,
        };
        match () {
            () if self.medium => Standing::Never,
            () if self.is_ours(declared) => Standing::Ours,
            () if holds_map => Standing::Unclear,
            () if self.marked => Standing::Somebodys,
            () if self.unreadable => Standing::Unclear,
            () if self.first != First::Nothing || self.data => Standing::Somebodys,
            () if !fits || self.removable => Standing::Unclear,
            () => Standing::Blank,
        }
    }
}

/// What has to happen to these disks.
pub fn rule(seen: &[Seen], declared: Declared) -> Rule {
    let are = |standing| (0..seen.len()).filter(|&n| seen[n].standing(declared) == standing).collect::<Vec<_>>();
    match (are(Standing::Ours).as_slice(), are(Standing::Blank).as_slice()) {
        (&[one], _) => Rule::Is(one),
        ([], []) => Rule::None,
        // The second disk has no image, so nothing is ever written on it, and a blank one is of no use to it.
        ([], &[one]) => Rule::Is(one),
        ([], _) => Rule::Several,
        (several, _) => Rule::State(best(seen, several, declared)),
    }
}

/// Of several that are ours: those whose table says so, since no other is looked at then; those with a copy that
/// can be booted; of one set the newest; else the first.
fn best(seen: &[Seen], several: &[usize], declared: Declared) -> usize {
    let mut left = several.to_vec();
    let by_table = |n: &usize| seen[*n].by_table(declared);
    let has_copy = |n: &usize| seen[*n].copy;
    for better in [&by_table as &dyn Fn(&usize) -> bool, &has_copy] {
        if left.iter().any(better) {
            left.retain(better);
        }
    }
    let set = |n: usize| seen[n].record.map(|(set, _)| set).filter(|set| *set != 0);
    let first = left[0];
    if set(first).is_none() || left.iter().any(|&n| set(n) != set(first)) {
        return first;
    }
    let age = |n: usize| seen[n].record.map_or(0, |(_, age)| age);
    left.into_iter().fold(first, |best, n| if age(n) > age(best) { n } else { best })
}

impl Other {
    /// What it carries.
    pub fn seen(self) -> Seen {
        let length = if self.is_big() { Length::Larger } else { Length::Declared };
        let table = First::Table { map: false, signature: Signature::Another, code: false };
        let first = if self.has_table() { table } else { First::Nothing };
        let data = self == Self::Data;
        Seen { length, first, marked: self.is_marked(), data, ..BLANK }
    }
}
