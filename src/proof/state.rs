//! What the proof knows of a machine: what stands in bstate.txt, and what a run has seen so far.

use knownstate_core::bstate::State;

/// Partitions and disks that the proof can follow; a declaration has rarely more than four.
pub const MOST: usize = 8;
/// A counter that nobody has asked for yet.
pub const OPEN: u16 = u16::MAX;

/// One partition's part of bstate.txt; `None` is a state that nobody has asked for yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    pub state: Option<Bstate>,
    pub failures: u16,
    pub crashes: u16,
}

/// [`State`], with an order and a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bstate {
    Ok,
    Clean,
    Dirty,
}

impl From<State> for Bstate {
    fn from(state: State) -> Self {
        match state {
            State::Ok => Self::Ok,
            State::Clean => Self::Clean,
            State::Dirty => Self::Dirty,
        }
    }
}

impl Bstate {
    /// As bstate.txt has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Clean => "Clean",
            Self::Dirty => "Dirty",
        }
    }
}

impl Part {
    pub const OPEN: Self = Self { state: None, failures: 0, crashes: 0 };
    pub const OK: Self = Self::of(Bstate::Ok);
    pub const DIRTY: Self = Self::of(Bstate::Dirty);

    pub const fn of(state: Bstate) -> Self {
        Self { state: Some(state), failures: 0, crashes: 0 }
    }
}

/// bstate.txt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    pub parts: [Part; MOST],
    pub restores: u16,
}

impl Record {
    /// Of which nothing was asked yet.
    pub const OPEN: Self = Self { parts: [Part::OPEN; MOST], restores: OPEN };
    /// As a restore leaves it, but for the number of restores.
    pub const OK: Self = Self { parts: [Part::OK; MOST], restores: 0 };
    /// What the loader assumes where no copy is readable.
    pub const UNKNOWN: Self = Self { parts: [Part::DIRTY; MOST], restores: 0 };
}

/// What outlives a start: bstate.txt, the active partition of each disk, and, over a warm restart, the number of
/// restores that memory keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stored {
    pub record: Record,
    pub active: [u8; MOST],
    /// Matters, and is followed, only where bstate.txt can't be read.
    pub remembered: u16,
}

/// What a run knows of bstate.txt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Load {
    /// Nobody has asked.
    Not,
    /// It was read, or written since.
    Known,
    /// No copy is readable or can be found.
    Unknown,
    /// The same, and a `set` has made a record that can't be written anywhere.
    Guess,
    /// The copies are there, and none is valid.
    Broken,
}

/// What a run has found out about a partition's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// Nothing yet.
    Unseen,
    /// The last `verify`, `heal` or `restore` of it was good.
    Good,
    /// It was not.
    Bad,
    /// A restore has begun to overwrite it, and failed.
    Destroyed,
}

/// One start, on its way through the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// The step that comes next.
    pub at: u16,
    pub load: Load,
    /// Whether the copies of bstate.txt are broken; nothing while nobody has looked.
    pub broken: Option<bool>,
    /// The record as the run has it in memory.
    pub memory: Record,
    /// And as it stands on the disks.
    pub stored: Stored,
    pub content: [Content; MOST],
    /// Partitions, as bits: `activate` failed, so that the flow knows it.
    pub in_vain: u8,
    /// `set P Dirty` was carried out, and nothing has made it OK or Clean since.
    pub begun: u8,
    /// Whether the record in memory began as a guess, because no copy was valid or readable: what it calls Dirty
    /// may be so for want of knowledge.
    pub guessed: bool,
    /// While it is guessed: partitions that this start itself has set Dirty.
    pub condemned: u8,
    /// Whether the operator's wish was followed, or is taken away by a boot.
    pub wished: bool,
    /// Rewriting steps that were begun, as bits: see [`super::model::Model::once`].
    pub once: u32,
    /// Those that restored something.
    pub restored: u32,
    /// The same, and those that failed when they had begun to write.
    pub overwrote: u32,
}

impl Run {
    pub fn begin(stored: Stored, lazy: bool) -> Self {
        Self {
            at: 0,
            load: Load::Not,
            broken: if lazy { None } else { Some(false) },
            memory: stored.record,
            stored,
            content: [Content::Unseen; MOST],
            in_vain: 0,
            begun: 0,
            guessed: false,
            condemned: 0,
            wished: false,
            once: 0,
            restored: 0,
            overwrote: 0,
        }
    }

    /// How little is known of bstate.txt: 0 where it was read, 1 where it can't be, 2 where no copy is valid.
    pub fn doubt(&self) -> u8 {
        match self.load {
            Load::Unknown | Load::Guess => 1,
            Load::Not if self.broken == Some(true) => 2,
            _ if self.guessed => 2,
            _ => 0,
        }
    }

    /// Whether a copy was verified and nothing speaks against it: neither bstate.txt, nor, where that can't be
    /// read, this start itself.
    pub fn is_good(&self, p: usize) -> bool {
        let dirty = if self.doubt() > 0 {
            self.condemned & 1 << p != 0
        } else {
            !matches!(self.memory.parts[p].state, Some(Bstate::Ok | Bstate::Clean))
        };
        self.content[p] == Content::Good && !dirty
    }
}
