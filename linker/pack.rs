// How stage2 is packed: for `s2_unpack` in stage2/src/bios/thunk.s, which build.rs includes this for.
//
// Sequences of: a token; literals; where in what is already unpacked a match begins; all of it by bytes.
// The token's bits 6 to 4 are the number of literals, bits 3 to 0 the match's length less MATCH_LEAST; with
// all bits set, bytes follow that are added, up to one that is not 255 (for the literals before them, for
// the match behind its distance). Bit 7: the distance has two bytes (little endian) instead of one. The last
// sequence ends with its literals, of which there are so many that a byte is added.
//
// It is LZ4 with short distances, of which code is full. Among all ways to pack it takes the one with the
// fewest bytes and instructions to unpack, the latter at INSTRUCTION bytes each.
//
// Before that, each near call gets the place that it goes to, counted from the first byte, instead of the distance to
// it: calls of one function are the same bytes then, wherever they are. That saves 3.5 KB.

const LITERALS_MOST: usize = 7;
const MATCH_LEAST: usize = 3;
const MATCH_MOST: usize = 15 + MATCH_LEAST;
/// Longer ones are split; only runs of zeros are.
const MATCH_LONGEST: usize = 1024;
/// The farthest matches of either kind.
const NEAR: usize = 0xFF;
const FAR: usize = 0xFFFF;

/// What an instruction to unpack is worth, in bytes.
const INSTRUCTION: f32 = 0.03;
/// Instructions of a sequence, and what more they are for a long run, of which four bytes go at once.
const SEQUENCE: f32 = 18.0;
const LONG: f32 = 13.0;

/// Longest match at each place: length and distance.
type Matches = Vec<(usize, usize)>;

/// The opcode of a near call, which four bytes follow (80386 manual, CALL). Data may have it too: it is
/// treated alike, and comes out as it was.
const CALL: u8 = 0xE8;
const CALL_BYTES: usize = 5;

/// The bytes with places instead of distances.
fn with_places(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while at + CALL_BYTES <= bytes.len() {
        if bytes[at] != CALL {
            at += 1;
            continue;
        }
        let operand = &mut bytes[at + 1..at + CALL_BYTES];
        let distance = u32::from_le_bytes([operand[0], operand[1], operand[2], operand[3]]);
        operand.copy_from_slice(&distance.wrapping_add(at as u32).to_le_bytes());
        at += CALL_BYTES;
    }
    bytes
}

/// Packs.
pub fn pack(bytes: &[u8]) -> Vec<u8> {
    let bytes = &with_places(bytes)[..];
    let (near, far) = (matches(bytes, NEAR), matches(bytes, FAR));
    let plan = plan(bytes.len(), [&near, &far]);
    let mut packed = Vec::new();
    let mut at = 0;
    loop {
        let literals = plan[at].literals;
        let (length, is_far) = plan[at + literals].match_;
        let ends = at + literals == bytes.len();
        let long = if ends { 0 } else { (length - MATCH_LEAST).min(15) };
        packed.push(u8::from(is_far) << 7 | (literals.min(LITERALS_MOST) as u8) << 4 | long as u8);
        extend(&mut packed, literals, LITERALS_MOST);
        packed.extend(&bytes[at..at + literals]);
        if ends {
            return packed;
        }
        at += literals;
        let distance = if is_far { far[at].1 } else { near[at].1 };
        packed.extend(&(distance as u16).to_le_bytes()[..1 + usize::from(is_far)]);
        extend(&mut packed, length, MATCH_MOST);
        at += length;
    }
}

/// The bytes that are added to a length which does not fit the token.
fn extend(packed: &mut Vec<u8>, length: usize, most: usize) {
    if let Some(mut rest) = length.checked_sub(most) {
        while rest >= 255 {
            packed.push(255);
            rest -= 255;
        }
        packed.push(rest as u8);
    }
}

/// The longest match at each place that begins at most `window` bytes before it.
fn matches(bytes: &[u8], window: usize) -> Matches {
    let mut places = std::collections::HashMap::<&[u8], Vec<usize>>::new();
    let longest = |(at, _): (usize, &u8)| {
        let Some(begin) = bytes.get(at..at + MATCH_LEAST) else { return (0, 0) };
        let earlier = places.entry(begin).or_default();
        let mut best = (0, 0);
        for &from in earlier.iter().rev().take_while(|&&from| at - from <= window) {
            // Only what goes on longer than the best so far is looked at.
            if best.0 == 0 || bytes.get(at + best.0).is_some_and(|byte| *byte == bytes[from + best.0]) {
                let same = bytes[at..].iter().zip(&bytes[from..]).take(MATCH_LONGEST).take_while(|(a, b)| a == b);
                best = best.max((same.count(), at - from));
            }
        }
        earlier.push(at);
        best
    };
    bytes.iter().enumerate().map(longest).collect()
}

/// What is best at a place.
#[derive(Clone, Copy)]
struct Best {
    /// The literals of a sequence that begins here.
    literals: usize,
    /// The match, if the literals of a sequence end here: its length, and whether it is a far one.
    match_: (usize, bool),
    /// The cost from here to the end: when a sequence begins here, when its literals end here, and when they
    /// are many already and may go on, by as many as `more`.
    begin: f32,
    matched: f32,
    long: f32,
    more: usize,
}

/// From the end to the beginning, what is best at each place.
fn plan(length: usize, candidates: [&Matches; 2]) -> Vec<Best> {
    let never = Best {
        literals: 0,
        match_: (0, false),
        begin: f32::INFINITY,
        matched: f32::INFINITY,
        long: f32::INFINITY,
        more: 0,
    };
    let mut plan = vec![never; length + LITERALS_MOST + 1];
    plan[length] = Best { matched: 1.0, long: 1.0, ..never };
    for at in (0..length).rev() {
        let mut best = never;
        for (is_far, candidate) in candidates.iter().enumerate() {
            for length in MATCH_LEAST..=candidate[at].0 {
                let cost = match_cost(length, is_far) + plan[at + length].begin;
                if cost < best.matched {
                    (best.matched, best.match_) = (cost, (length, is_far == 1));
                }
            }
        }
        let go_on = 1.0 + INSTRUCTION / 4.0;
        (best.long, best.more) = (best.matched, 0);
        if go_on + plan[at + 1].long < best.long {
            (best.long, best.more) = (go_on + plan[at + 1].long, plan[at + 1].more + 1);
        }
        plan[at] = best;
        for literals in 0..LITERALS_MOST {
            let cost = literals as f32 * (1.0 + INSTRUCTION) + plan[at + literals].matched;
            if at + literals < length && cost < best.begin {
                (best.begin, best.literals) = (cost, literals);
            }
        }
        let long = &plan[at + LITERALS_MOST];
        let cost = 1.0 + LONG * INSTRUCTION + LITERALS_MOST as f32 * go_on + long.long;
        if cost < best.begin {
            (best.begin, best.literals) = (cost, LITERALS_MOST + long.more);
        }
        plan[at] = best;
    }
    plan
}

/// The cost of a sequence without its literals.
fn match_cost(length: usize, is_far: usize) -> f32 {
    let token_and_distance = (2 + is_far) as f32;
    let (bytes, instructions) = match length {
        0..MATCH_MOST => (0, length as f32),
        _ => (1 + (length - MATCH_MOST) / 255, LONG + length as f32 / 4.0),
    };
    token_and_distance + bytes as f32 + INSTRUCTION * (SEQUENCE + instructions)
}
