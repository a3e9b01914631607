//! Which copies of bstate.txt are this machine's.
//!
//! Believed and written are those of one set: on the disk that `/` is on, in partitions that hold a record, or a
//! seal, which is what a restore puts into each; and, as long as fewer were found there than the record has
//! partitions, on other built-in disks, if their record is of the same set. Where `/` is on no disk (initramfs,
//! overlay, network), it is the set whose record says what was booted.

use std::path::{Path, PathBuf};

use knownstate_core::bstate::{FILE, Parsed, Record};

use crate::place::{Content, Look, Route, Target};
use crate::system::{Mount, OURS, Place, Root, System};
use crate::worker;

/// Other filesystems that are asked whether they have a bstate.txt, for `show` alone: local ones, so that the
/// answer comes at once. It is never believed.
const LOCAL: [&str; 12] =
    ["tmpfs", "ramfs", "devtmpfs", "overlay", "btrfs", "xfs", "f2fs", "exfat", "ntfs3", "iso9660", "udf", "squashfs"];

/// A partition with a bstate.txt or a seal.
pub struct Copy {
    pub place: Place,
    pub target: Target,
    /// Whether it has a bstate.txt that can be written.
    pub there: bool,
    /// What that says; or why not.
    pub record: Result<Parsed, String>,
    sealed: bool,
}

impl Copy {
    /// What people call it: the file, or the device of a partition that is not mounted.
    pub fn path(&self) -> PathBuf {
        path(&self.target)
    }

    fn valid(&self) -> Option<&Record> {
        match &self.record {
            Ok(Parsed::Valid(record)) => Some(record),
            _ => None,
        }
    }
}

/// A bstate.txt that is none of this machine's.
pub struct Stranger {
    pub path: PathBuf,
    pub why: String,
}

/// What was found.
pub struct Ours {
    pub copies: Vec<Copy>,
    pub strangers: Vec<Stranger>,
    /// A record that names all partitions of the set.
    pub base: Record,
    /// The device that `/` is on, and which partition this is, where both are certain.
    pub root: Option<(PathBuf, String)>,
}

/// Finds the copies.
///
/// # Errors
/// That there is none, or that it can't be told which, in words.
pub fn find(system: &System) -> Result<Ours, String> {
    let mounts = system.mounts()?;
    let mut root = system.root(&mounts)?;
    let mut found = root.as_ref().map(|root| look(&root.places, &mounts)).unwrap_or_default();
    // A live system's root is a file on some disk: that says as little as an initramfs does.
    if root.as_ref().is_some_and(|root| root.vague && !found.iter().any(|copy| copy.record.is_ok())) {
        root = None;
    }
    if root.is_none() {
        let (fixed, loose): (Vec<_>, Vec<_>) = system.all_places().into_iter().partition(|place| place.fixed);
        found = look(&fixed, &mounts);
        if !found.iter().any(|copy| copy.record.is_ok()) {
            found = look(&loose, &mounts);
        }
    }
    let base = base(&found, root.as_ref())?;
    let (mut copies, mut strangers) = sort(found, &base, true);
    if let Some(root) = root.as_ref().filter(|_| copies.len() < base.partitions.len()) {
        let (more, others) = sort(look(&elsewhere(system, root), &mounts), &base, false);
        copies.extend(more);
        strangers.extend(others);
    }
    let root = root.and_then(|root| name_of(&root, &copies, &base));
    Ok(Ours { copies, strangers, base, root })
}

/// The bstate.txt of other filesystems that are mounted.
pub fn others(system: &System, copies: &[Copy], strangers: &[Stranger]) -> Vec<Stranger> {
    let mounts = system.mounts().unwrap_or_default();
    let kinds: Vec<&str> = OURS.into_iter().chain(LOCAL).collect();
    let known = |m: &Mount| {
        copies.iter().any(|copy| copy.target.number == m.number)
            || strangers.iter().any(|stranger| stranger.path == m.point.join(FILE))
    };
    let mut targets: Vec<Target> = Vec::new();
    for mount in mounts.iter().filter(|m| kinds.contains(&m.kind.as_str()) && m.whole && !known(m)) {
        if !targets.iter().any(|target| target.number == mount.number) {
            let points = vec![mount.point.clone()];
            targets.push(Target { node: PathBuf::new(), number: mount.number, route: Route::Mounted, points });
        }
    }
    let looks = worker::look(&targets);
    let there = targets.iter().zip(looks).filter(|(_, look)| !matches!(look.content, Content::Absent(_)));
    there
        .map(|(target, _)| Stranger { path: path(target), why: "not on this machine's own disk; left alone".into() })
        .collect()
}

/// All names of partitions in some records, as many as a sector holds: a person may have typed more.
pub fn names<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for partition in records.flat_map(|record| &record.partitions) {
        if !names.contains(&partition.name) {
            names.push(partition.name.clone());
        }
        if !Record::fits(names.iter().map(String::as_str)) {
            names.pop();
        }
    }
    names
}

/// Partitions of other disks: built-in ones, unless `/` itself is on one that is not.
fn elsewhere(system: &System, root: &Root) -> Vec<Place> {
    let fixed = root.places.iter().all(|place| place.fixed);
    let known = |place: &Place| root.places.iter().any(|own| own.disk == place.disk);
    system.all_places().into_iter().filter(|place| !known(place) && (place.fixed || !fixed)).collect()
}

/// Looks at partitions; those that have something of a recovery CD's.
fn look(places: &[Place], mounts: &[Mount]) -> Vec<Copy> {
    let targets: Vec<Target> = places.iter().map(|place| target(place, mounts)).collect();
    let looks = worker::look(&targets);
    let all = places.iter().zip(targets).zip(looks);
    all.filter_map(|((place, target), Look { sealed, content })| {
        let (there, record) = match content {
            Content::Read(bytes) => (true, Record::parse(&bytes).map_err(|fault| fault.to_string())),
            Content::Refused(why) => (false, Err(why)),
            Content::Absent(why) if sealed => (false, Err(why)),
            Content::Absent(_) => return None,
        };
        Some(Copy { place: place.clone(), target, there, record, sealed })
    })
    .collect()
}

/// How a partition is reached.
fn target(place: &Place, mounts: &[Mount]) -> Target {
    let own = || mounts.iter().filter(|m| m.number == place.number);
    let points = |writable: bool| -> Vec<PathBuf> {
        own().filter(|m| m.whole && (!writable || !m.read_only)).map(|m| m.point.clone()).collect()
    };
    let (route, points) = match (points(true), points(false)) {
        (writable, _) if !writable.is_empty() => (Route::Mounted, writable),
        (_, points) if own().next().is_some() => (Route::Below, points),
        (_, points) => (Route::Alone, points),
    };
    Target { node: place.node.clone(), number: place.number, route, points }
}

/// Whether two records are of one set: they say the same one, or name the same partitions where one says none.
fn same(a: &Record, b: &Record) -> bool {
    let within = |a: &Record, b: &Record| a.partitions.iter().all(|p| b.get(&p.name).is_some());
    match (a.set, b.set) {
        (Some(a), Some(b)) => a == b,
        _ => within(a, b) && within(b, a),
    }
}

/// Whether a copy is of the set of `base`. A person who edits one may leave out the set and some partitions.
fn belongs(copy: &Parsed, base: &Record) -> bool {
    match copy {
        Parsed::Valid(record) => same(record, base),
        Parsed::Edited { record, .. } => {
            let set = record.set.is_none() || base.set.is_none() || record.set == base.set;
            set && record
                .partitions
                .iter()
                .any(|p| base.partitions.iter().any(|b| b.name.eq_ignore_ascii_case(&p.name)))
        }
    }
}

/// The newest record of the set that is this machine's.
fn base(found: &[Copy], root: Option<&Root>) -> Result<Record, String> {
    let mut sets: Vec<Vec<&Copy>> = Vec::new();
    for copy in found.iter().filter(|copy| copy.valid().is_some()) {
        let first =
            |set: &Vec<&Copy>| set.first().and_then(|c| c.valid()).zip(copy.valid()).is_some_and(|(a, b)| same(a, b));
        match sets.iter_mut().find(|set| first(set)) {
            Some(set) => set.push(copy),
            None => sets.push(vec![copy]),
        }
    }
    let newest = |set: &[&Copy]| set.iter().filter_map(|copy| copy.valid()).max_by_key(|r| r.sequence).cloned();
    let Some(set) = choose(sets, root)? else {
        // A person has edited all of them.
        let edited: Vec<&Record> = found.iter().filter_map(|c| c.record.as_ref().ok()).map(Parsed::record).collect();
        if edited.is_empty() {
            return Err(nothing(found, root));
        }
        return Ok(Record::ok(names(edited.into_iter()).iter().map(String::as_str)));
    };
    newest(&set).ok_or_else(|| nothing(found, root))
}

/// Of several sets the one that `/` belongs to; else the one that says what was booted, and has a copy for each
/// partition: what was copied to some other partition with other files has not.
fn choose<'a>(mut sets: Vec<Vec<&'a Copy>>, root: Option<&Root>) -> Result<Option<Vec<&'a Copy>>, String> {
    let own = |set: &Vec<&Copy>| set.iter().any(|c| root.is_some_and(|root| root.devices.contains(&c.place.number)));
    let record = |set: &Vec<&Copy>, is: fn(&Record, usize) -> bool| {
        set.iter().filter_map(|copy| copy.valid()).any(|r| is(r, set.len()))
    };
    let booted = |set: &Vec<&Copy>| record(set, |r, _| !r.booting.is_empty());
    let complete = |set: &Vec<&Copy>| record(set, |r, copies| copies >= r.partitions.len());
    keep(&mut sets, own);
    keep(&mut sets, booted);
    keep(&mut sets, complete);
    if sets.len() > 1 {
        let each = sets.iter().flatten().map(|copy| copy.path().display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(format!("copies of {FILE} of several machines: {each}; say with --file which are this one's"));
    }
    Ok(sets.pop())
}

/// Leaves those that have what is asked for, if any has.
fn keep(sets: &mut Vec<Vec<&Copy>>, has: impl Fn(&Vec<&Copy>) -> bool) {
    if sets.iter().any(&has) {
        sets.retain(has);
    }
}

fn nothing(found: &[Copy], root: Option<&Root>) -> String {
    let place = match root {
        Some(root) => {
            let nodes: Vec<String> = root.places.iter().map(|place| place.node.display().to_string()).collect();
            format!("on the disk that / is on ({})", nodes.join(", "))
        }
        None => "on any disk".to_string(),
    };
    let broken: Vec<String> = found
        .iter()
        .filter_map(|copy| Some(format!("; {}: {}", copy.path().display(), copy.record.as_ref().err()?)))
        .collect();
    format!("no valid {FILE} {place}{}", broken.concat())
}

/// Those of this machine's set, and the others. A broken one counts as ours beside a seal, on a disk of ours.
fn sort(found: Vec<Copy>, base: &Record, own: bool) -> (Vec<Copy>, Vec<Stranger>) {
    let mut strangers = Vec::new();
    let ours = found.into_iter().filter(|copy| {
        let (mine, why) = match &copy.record {
            Ok(record) => (belongs(record, base), "of another machine, or of an older restore; left alone"),
            Err(why) => (own && copy.sealed, why.as_str()),
        };
        if !mine {
            strangers.push(Stranger { path: copy.path(), why: why.to_string() });
        }
        mine
    });
    (ours.collect(), strangers)
}

/// The device that `/` is on, and which partition this is.
///
/// The record has the names in logic.txt's order, which on one disk is the order of the table; but not those of
/// partitions without an image. So the names are certain only where all copies are on one disk, one for each name.
fn name_of(root: &Root, copies: &[Copy], base: &Record) -> Option<(PathBuf, String)> {
    let [device] = root.devices.as_slice() else { return None };
    let first = copies.first()?;
    let one_disk = copies.iter().all(|copy| copy.place.disk == first.place.disk && copy.place.entry > 0);
    if !one_disk || copies.len() != base.partitions.len() {
        return None;
    }
    let before = |entry: u32| copies.iter().filter(|copy| copy.place.entry < entry).count();
    let own = copies.iter().find(|copy| copy.place.number == *device)?;
    let name = &base.partitions.get(before(own.place.entry))?.name;
    Some((own.place.node.clone(), name.clone()))
}

fn path(target: &Target) -> PathBuf {
    target.points.first().map_or_else(|| target.node.clone(), |point: &PathBuf| Path::join(point, FILE))
}
