//! What has to happen to the disks of a machine, after SPEC section 4 and docs/LOGIC.md, said without the code under
//! test.

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
    /// A second disk is declared, that every larger one fits.
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
}

impl State {
    /// Every one.
    pub const ALL: [Self; 19] = [
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

/// As much as the rules ask about a disk.
pub struct Seen {
    /// Larger than declared.
    pub big: bool,
    /// The boot medium, or of a size that nothing declares.
    pub never: bool,
    pub marked: bool,
    /// It can't be looked at, or can't be written.
    pub unclear: bool,
    /// Whether it has an MBR, with the declared table; and its signature.
    pub mbr: Option<(bool, u32)>,
}

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// This one of the list is the declared disk.
    Is(usize),
    None,
    Several,
    /// It could be the second declared disk as well.
    Both,
}

impl State {
    pub fn seen(self, declared: Declared) -> Seen {
        let ours = if declared.signature { SIGNATURE } else { 1 };
        let mbr = match self {
            Self::Blank | Self::MbrZeroed | Self::MbrGarbage | Self::MbrUnreadable => None,
            Self::HeadUnreadable | Self::TailUnreadable => None,
            Self::TableZeroed => Some((false, ours)),
            Self::SomebodyElses => Some((false, OTHER_SIGNATURE)),
            Self::SignatureAltered => Some((true, OTHER_SIGNATURE)),
            _ => Some((true, ours)),
        };
        let unclear = matches!(self, Self::HeadUnreadable | Self::TailUnreadable | Self::Locked);
        Seen { big: false, never: self == Self::Clipped, marked: false, unclear, mbr }
    }
}

/// SPEC section 4, `disk`; docs/LOGIC.md: a disk that can't be looked at, or has the declared table with
/// another signature, could be the one, and nothing else is taken for it that has neither table nor signature.
pub fn rule(seen: &[Seen], declared: Declared) -> Rule {
    let fits = |s: &Seen| !s.never && (declared.at_least || !s.big);
    let mut could: Vec<usize> = (0..seen.len()).filter(|&n| fits(&seen[n]) && !seen[n].marked).collect();
    let other_signature = |n: usize| declared.signature && seen[n].mbr.is_some_and(|(_, s)| s != SIGNATURE);
    could.retain(|&n| seen[n].unclear || !other_signature(n) || seen[n].mbr.is_some_and(|(map, _)| map));
    let is_unclear = |n: usize| seen[n].unclear || other_signature(n);
    let (unclear, mut clear): (Vec<usize>, Vec<usize>) = could.into_iter().partition(|&n| is_unclear(n));
    let mut decided = clear.iter().any(|&n| seen[n].mbr.is_some_and(|(map, _)| map));
    if declared.signature && clear.iter().any(|&n| seen[n].mbr.is_some()) {
        clear.retain(|&n| seen[n].mbr.is_some());
        decided = true;
    }
    match (clear.as_slice(), decided || unclear.is_empty()) {
        ([], _) => Rule::None,
        (&[one], true) => {
            // The second disk is every larger one: it is found if there is one alone.
            let second = |s: &Seen| s.big && !s.marked;
            let as_well = declared.second && second(&seen[one]) && seen.iter().filter(|s| second(s)).count() == 1;
            if as_well { Rule::Both } else { Rule::Is(one) }
        }
        _ => Rule::Several,
    }
}

impl Other {
    /// What the rules ask about it.
    pub fn seen(self) -> Seen {
        let mbr = self.has_table().then_some((false, OTHER_SIGNATURE));
        Seen { big: self.is_big(), never: false, marked: self.is_marked(), unclear: false, mbr }
    }
}
