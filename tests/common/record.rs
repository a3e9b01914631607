//! bstate.txt as docs/STATES.md describes it, written and read without the code under test.

use knownstate_core::units::SECTOR;

/// CRC-32 as zlib computes it, bit by bit (RFC 1952 section 8).
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 })
    })
}

/// A record's sector: the lines, their sum, spaces, a newline.
pub fn sector(lines: &str) -> [u8; SECTOR] {
    let lines: String = lines.split_whitespace().map(|l| format!("{}\n", l.replace('~', " "))).collect();
    padded(&format!("{lines}crc32={:08x}\n", crc32(lines.as_bytes())))
}

/// A sector with this text, as an editor would leave it: no sum is added.
pub fn padded(text: &str) -> [u8; SECTOR] {
    assert!(text.len() < SECTOR, "{} bytes do not fit", text.len());
    let mut sector = [b' '; SECTOR];
    sector[..text.len()].copy_from_slice(text.as_bytes());
    sector[SECTOR - 1] = b'\n';
    sector
}

/// A whole file of 4096 bytes that begins with `sector`.
pub fn file(sector: &[u8]) -> Vec<u8> {
    let mut file = vec![b' '; 4096];
    file[..sector.len()].copy_from_slice(sector);
    file[4095] = b'\n';
    file
}

/// The lines of a record that is valid, without their sum; else why it is not.
pub fn lines(sector: &[u8]) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(sector).map_err(|e| e.to_string())?;
    let (body, rest) = text.split_once("crc32=").ok_or("no crc32 line")?;
    let (sum, rest) = rest.split_once('\n').ok_or("the crc32 line has no end")?;
    let good = sum == format!("{:08x}", crc32(body.as_bytes()));
    if !good || !rest.bytes().all(|b| b == b' ' || b == b'\n') || !text.ends_with('\n') {
        return Err(format!("not canonical: {text}"));
    }
    Ok(body.lines().map(str::to_string).collect())
}

/// The value of one key of a valid record.
pub fn value(sector: &[u8], key: &str) -> String {
    let lines = lines(sector).unwrap();
    let found = lines.iter().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {key} in {lines:#?}")).to_string()
}

/// A disk on which every record is of the same set: that is random, and nothing else of a restore is.
pub fn of_one_set(mut disk: Vec<u8>) -> Vec<u8> {
    for sector in disk.chunks_exact_mut(SECTOR).filter(|sector| sector.starts_with(b"sequence=")) {
        let Ok(lines) = lines(sector) else { continue };
        let same = |line: String| if line.starts_with("set=") { "set=00000000".to_string() } else { line };
        let body: String = lines.into_iter().map(|line| same(line) + "\n").collect();
        sector.copy_from_slice(&padded(&format!("{body}crc32={:08x}\n", crc32(body.as_bytes()))));
    }
    disk
}
