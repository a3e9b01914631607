//! Several copies of bstate.txt are made one.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Next, Parsed, Partition, Record, State};
use crate::defects::{Defect, seeded};

/// A copy, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// What it says.
    pub copy: Parsed,
    /// The partitions on its disk; none, where that is not known.
    pub home: Vec<&'a str>,
}

impl Partition {
    /// The worse of both, value by value; what was found and what was mended are of the one whose state is worse.
    /// Of two reasons for the same state the alphabet decides, so that it does not matter which copy is read first.
    fn worse(&mut self, other: &Self) {
        if seeded(Defect::BetterWins) {
            self.state = self.state.min(other.state);
            self.failures = self.failures.min(other.failures);
            return;
        }
        if (other.state, &other.why, &other.before) > (self.state, &self.why, &self.before) {
            self.why.clone_from(&other.why);
            self.before.clone_from(&other.before);
        }
        self.state = self.state.max(other.state);
        self.failures = self.failures.max(other.failures);
        self.crashes = self.crashes.max(other.crashes);
        self.proved = self.proved.min(other.proved);
        self.trial = self.trial.max(other.trial);
        self.slice = self.slice.min(other.slice);
    }
}

impl Record {
    /// Makes one record of all copies, for exactly the partitions `names`, where nobody knows which disk a copy
    /// is on: see [`Record::merge_found`].
    pub fn merge<'a>(copies: &[Parsed], names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let found: Vec<Found<'_>> = copies.iter().map(|copy| Found { copy: copy.clone(), home: Vec::new() }).collect();
        Self::merge_found(&found, names)
    }

    /// Makes one record of all copies, for exactly the partitions `names`.
    ///
    /// The valid copy with the highest sequence wins; of equal ones each partition gets the worse
    /// value. Where copies are of different sets, each partition's lines come from those of the set on its own
    /// disk. What a person edited goes on top of that. The result's sequence is the highest seen.
    /// Nothing comes of no copies. The order of the copies does not matter.
    pub fn merge_found<'a>(found: &[Found<'_>], names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let names: Vec<&str> = names.into_iter().collect();
        let sequence = found.iter().map(|f| f.copy.record().sequence).max()?;
        let mut record = Self::of_sets(found, &names);
        if let Some(edit) = Self::typed(found, true, &names) {
            record = record.replaced(edit);
        }
        if let Some(edit) = Self::typed(found, false, &names) {
            record = record.overlaid(edit);
        }
        record.sequence = sequence;
        record.limit_to(&names);
        Some(record)
    }

    /// What the valid copies say.
    fn of_sets(found: &[Found<'_>], names: &[&str]) -> Self {
        let valid = found.iter().filter_map(|f| if let Parsed::Valid(r) = &f.copy { Some((r, &f.home)) } else { None });
        let valid: Vec<(&Self, &Vec<&str>)> = valid.collect();
        let mut record = Self::newest(valid.iter().map(|(copy, _)| *copy));
        // A copy without a set belongs to any.
        let mut sets = valid.iter().filter_map(|(copy, _)| copy.set);
        let first = sets.next();
        if sets.all(|set| Some(set) == first) {
            return record;
        }
        for name in names {
            let at_home = valid.iter().filter(|(_, home)| home.contains(name));
            let Some((_, set)) = at_home.filter_map(|(copy, _)| Some((copy.sequence, copy.set?))).max() else {
                continue;
            };
            let of_set = valid.iter().map(|(copy, _)| *copy).filter(|copy| copy.set.is_none_or(|other| other == set));
            let theirs = Self::newest(of_set);
            record.restores = record.restores.max(theirs.restores);
            if let Some(partition) = theirs.get(name) {
                // Hand-offs are counted in each set from its own beginning.
                let proved = if record.set == Some(set) { partition.proved } else { 0 };
                *record.entry(name) = Partition { proved, ..partition.clone() };
            }
        }
        record
    }

    /// What people typed: whole records, or parts of one.
    fn typed(found: &[Found<'_>], wholes: bool, names: &[&str]) -> Option<Self> {
        let edits = found.iter().filter_map(|f| match &f.copy {
            Parsed::Edited { record, whole, .. } if *whole == wholes => Some(record.meaning(names)),
            _ => None,
        });
        edits.reduce(|a, b| a.worse(&b))
    }

    fn newest<'r>(copies: impl Iterator<Item = &'r Self> + Clone) -> Self {
        let sequences = copies.clone().map(|copy| copy.sequence);
        let newest = if seeded(Defect::OldestWins) { sequences.min() } else { sequences.max() };
        let winners = copies.filter(|copy| Some(copy.sequence) == newest).cloned();
        winners.reduce(|a, b| a.worse(&b)).unwrap_or_default()
    }

    /// Of two records that can't be told apart by age: the worse value of each partition, and no wish.
    fn worse(mut self, other: &Self) -> Self {
        if self == *other {
            return self;
        }
        self.next = None;
        for theirs in &other.partitions {
            match self.get_mut(&theirs.name) {
                Some(ours) => ours.worse(theirs),
                None => self.partitions.push(theirs.clone()),
            }
        }
        self.restores = self.restores.max(other.restores);
        self.boots = self.boots.max(other.boots);
        self.set = self.set.max(other.set);
        if other.cd > self.cd {
            self.cd.clone_from(&other.cd);
        }
        if other.booting > self.booting {
            self.booting.clone_from(&other.booting);
        }
        self.unknown.extend(other.unknown.iter().cloned());
        // Of one key the last value in the alphabet.
        self.unknown.sort_by(|a, b| (&a.0, &b.1).cmp(&(&b.0, &a.1)));
        self.unknown.dedup_by(|a, b| a.0 == b.0);
        self
    }

    /// A person's text, with the names that were meant: nobody minds case who types in a hurry.
    fn meaning(&self, names: &[&str]) -> Self {
        let mut meant_record = Self { partitions: Vec::new(), ..self.clone() };
        for partition in &self.partitions {
            let name = meant(&partition.name, names).unwrap_or(&partition.name);
            let partition = Partition { name: name.to_string(), ..partition.clone() };
            match meant_record.get_mut(name) {
                Some(twice) => twice.worse(&partition),
                None => meant_record.partitions.push(partition),
            }
        }
        if let Some(name) = meant(&self.booting, names) {
            meant_record.booting = name.to_string();
        }
        if let Some(Next::Partition(wish)) = &mut meant_record.next
            && let Some(name) = meant(wish, names)
        {
            *wish = name.to_string();
        }
        meant_record
    }

    /// The whole record `edit` replaces this one; but of partitions that it leaves out stays what stood here.
    fn replaced(self, mut edit: Self) -> Self {
        for ours in self.partitions {
            if edit.get(&ours.name).is_none() {
                edit.partitions.push(ours);
            }
        }
        edit
    }

    /// What `edit` says replaces what stood there. What people don't count themselves, and what they say nothing
    /// of, stays as it is.
    fn overlaid(mut self, edit: Self) -> Self {
        for theirs in edit.partitions {
            let ours = self.entry(&theirs.name);
            let on_trial = ours.trial.filter(|_| theirs.state != State::Ok);
            let (proved, slice) = (or(theirs.proved, ours.proved), or(theirs.slice, ours.slice));
            *ours = Partition { trial: theirs.trial.or(on_trial), proved, slice, ..theirs };
        }
        for (text, typed) in [(&mut self.booting, edit.booting), (&mut self.cd, edit.cd)] {
            if !typed.is_empty() {
                *text = typed;
            }
        }
        self.boots = or(edit.boots, self.boots);
        self.set = edit.set.or(self.set);
        self.next = edit.next.or(self.next);
        self.restores = edit.restores;
        for (key, value) in edit.unknown {
            match self.unknown.iter_mut().find(|(known, _)| *known == key) {
                Some((_, old)) => *old = value,
                None => self.unknown.push((key, value)),
            }
        }
        self
    }

    /// Exactly these partitions are in it, and nothing else is named.
    fn limit_to(&mut self, names: &[&str]) {
        let known = |name: &str| names.contains(&name);
        if !known(&self.booting) {
            self.booting.clear();
        }
        self.next.take_if(|next| matches!(next, Next::Partition(name) if !known(name)));
        self.unknown.retain(|(key, _)| meant(key, names).is_none());
        self.partitions = names
            .iter()
            // A partition that no copy tells of is one whose boot nobody has confirmed.
            .map(|n| self.get(n).cloned().unwrap_or_else(|| Partition { state: State::Dirty, ..Partition::ok(n) }))
            .collect();
    }
}

/// What was typed, or what stood there.
const fn or(typed: u32, stood: u32) -> u32 {
    if typed == 0 { stood } else { typed }
}

/// The partition that a person meant: the one that is named so, or else the only one that is if case does not
/// matter.
pub(super) fn meant<'n>(typed: &str, names: &[&'n str]) -> Option<&'n str> {
    if let Some(name) = names.iter().find(|name| **name == typed) {
        return Some(name);
    }
    let mut like = names.iter().filter(|name| name.eq_ignore_ascii_case(typed));
    like.next().filter(|_| like.next().is_none()).copied()
}
