// Which function and which line an address of the loader belongs to, from the linked ELF's debug information:
// `loader.lines`, for the host tool, which the loader itself has no room for. Included by build.rs.
//
// Text. First the places that there are, `FUNCTION at FILE:LINE` each; an empty line; then, in the order of
// their addresses, where a place begins: the address in hexadecimal, and the numbers of the place and of those
// that it was inlined into. It reaches up to the next one.

use addr2line::Loader;
use std::collections::HashMap;
use std::error::Error;
use std::ops::Range;
use std::path::Path;

/// This project's folder in the names of files: see `remapped_paths`.
const OURS: &str = "knownstate/";

/// The places met so far, each with its number.
#[derive(Default)]
struct Places {
    numbers: HashMap<String, usize>,
    lines: String,
}

impl Places {
    fn number(&mut self, place: String) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(place).or_insert_with_key(|place| {
            self.lines += place;
            self.lines.push('\n');
            next
        })
    }
}

/// All addresses of the program.
pub fn lines(elf: &Path, program: Range<u64>) -> Result<String, Box<dyn Error>> {
    let loader = Loader::new(elf)?;
    let mut begins: Vec<u64> = Vec::new();
    let mut covered = program.start;
    for (begin, length, _) in loader.find_location_range(program.start, program.end)? {
        // What was written in assembly has no lines, only names.
        begins.extend((covered..begin).chain([begin]));
        covered = covered.max(begin + length);
    }
    begins.extend(covered..program.end);
    let (mut places, mut rows, mut last) = (Places::default(), String::new(), String::new());
    for address in begins {
        let numbers = chain(&loader, address)?.into_iter().map(|place| places.number(place));
        let row: String = numbers.map(|number| format!(" {number}")).collect();
        if row != last {
            rows += &format!("{address:x}{row}\n");
            last = row;
        }
    }
    Ok(format!("{}\n{rows}", places.lines))
}

/// The place of an address, then those that it was inlined into. Only those in this project's source, if there are
/// any: the others are the standard library's, with names that take a page.
fn chain(loader: &Loader, address: u64) -> Result<Vec<String>, Box<dyn Error>> {
    let (mut ours, mut library) = (Vec::new(), None);
    let mut frames = loader.find_frames(address)?;
    while let Some(frame) = frames.next()? {
        let (Some(function), Some(location)) = (frame.function, frame.location) else { continue };
        let (name, file) = (function.demangle()?.into_owned(), location.file.unwrap_or_default());
        let (file, line) = (short(file), location.line.unwrap_or(0));
        // Code that several lines share has no number, and may have any file.
        let line = if line == 0 { String::new() } else { format!(" at {}:{line}", file.trim_start_matches(OURS)) };
        let is_ours = file.starts_with(OURS) || name.trim_start_matches('<').starts_with("knownstate_");
        if is_ours { ours.push(name + &line) } else { library = Some(name + &line) }
    }
    if ours.is_empty() {
        ours.extend(library.or_else(|| loader.find_symbol(address).map(String::from)));
    }
    Ok(ours)
}

/// A file's name by what stands for the folder that it is in: see `remapped_paths`. The compiler puts its own folder
/// before what is in none.
fn short(file: &str) -> &str {
    ["rust/library/", "cargo/registry/"].iter().find_map(|folder| Some(&file[file.find(folder)?..])).unwrap_or(file)
}
