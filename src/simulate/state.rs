//! `--state`: what bstate.txt says before the first start.

use anyhow::{Context, Result, anyhow, bail};
use knownstate_core::bstate::{MAX_BOOTS, MAX_COUNT, Next, Partition, Record, State};
use knownstate_core::logic::Program;
use knownstate_core::media::iso9660::Iso;
use knownstate_core::steps::{self, Outcome};

use super::drive::suggestion;
use super::machine::{FileMachine, buffers, in_two};

/// Reads `KEY=VALUE ...`: keys as in bstate.txt (docs/STATES.md). What is not named is as good as can be.
///
/// # Errors
/// The first word that says nothing.
pub fn parse(text: &str, program: &Program) -> Result<Record> {
    let mut record = Record::ok(program.recorded_names());
    for word in text.split_whitespace() {
        take(&mut record, word).with_context(|| format!("--state: {word}"))?;
    }
    Ok(record)
}

fn take(record: &mut Record, word: &str) -> Result<()> {
    let (key, value) = word.split_once('=').context("write KEY=VALUE, such as P1=Dirty or P1.failures=2")?;
    match key.split_once('.') {
        None if key == "restores" => record.restores = count(value, MAX_COUNT)?,
        None if key == "booting" => record.booting = partition(record, value)?.name.clone(),
        None if key == "cd" => record.cd = value.to_string(),
        None if key == "set" => record.set = Some(set(value)?),
        None if key == "boots" => record.boots = count(value, MAX_BOOTS)?,
        None if key == "next" => record.next = Some(next(record, value)?),
        None => {
            let partition = partition(record, key)?;
            partition.state =
                State::parse(value).with_context(|| format!("`{value}` is no state: write OK, Clean or Dirty"))?;
        }
        Some((name, field)) => take_of(partition(record, name)?, field, value)?,
    }
    Ok(())
}

/// The same for a key of a partition.
fn take_of(partition: &mut Partition, field: &str, value: &str) -> Result<()> {
    match field {
        "failures" => partition.failures = count(value, MAX_COUNT)?,
        "crashes" => partition.crashes = count(value, MAX_COUNT)?,
        "proved" => partition.proved = count(value, MAX_BOOTS)?,
        "trial" => partition.trial = Some(count(value, MAX_COUNT)?),
        "slice" => partition.slice = count(value, MAX_COUNT)?,
        "why" => partition.why = value.to_string(),
        "before" => partition.before = value.to_string(),
        other => {
            let known = ["failures", "crashes", "proved", "trial", "slice", "why", "before"];
            bail!("bstate.txt has no `.{other}`; {}", suggestion(other, &known))
        }
    }
    Ok(())
}

fn next(record: &mut Record, value: &str) -> Result<Next> {
    match Next::parse(value).context("write a partition's name, restore or hold")? {
        Next::Partition(name) => Ok(Next::Partition(partition(record, &name)?.name.clone())),
        other => Ok(other),
    }
}

fn set(text: &str) -> Result<u32> {
    let digits = Some(text).filter(|text| text.len() == 8);
    let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    number.with_context(|| format!("`{text}` is no set: write 8 hexadecimal digits"))
}

fn partition<'r>(record: &'r mut Record, name: &str) -> Result<&'r mut Partition> {
    let names: Vec<String> = record.partitions.iter().map(|p| p.name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    record
        .get_mut(name)
        .with_context(|| format!("no partition `{name}` in the logic file; {}", suggestion(name, &names)))
}

fn count(text: &str, most: u32) -> Result<u32> {
    match text.parse() {
        Ok(number) if number <= most => Ok(number),
        _ => bail!("`{text}` is no number from 0 to {most}"),
    }
}

/// Puts a record into every copy, valid and newer than what stood there: what a person's edit would come to.
///
/// # Errors
/// When there is no copy that could be written.
pub fn put(machine: &mut FileMachine, program: &Program, wanted: &Record) -> Result<()> {
    let put = |record: &mut Record| {
        *record = Record { sequence: record.sequence, ..wanted.clone() };
        Ok(())
    };
    amend(machine, program, put).map(drop).map_err(|why| anyhow!("--state: {why}"))
}

/// Changes the record in every copy that the loader would find, outside of any run.
pub fn amend(
    machine: &mut FileMachine,
    program: &Program,
    change: impl FnOnce(&mut Record) -> Result<(), String>,
) -> Outcome {
    machine.quietly(|machine| {
        let cd = Iso::open(machine).map_err(|e| e.to_string())?;
        let mut memory = buffers();
        steps::Context::new(machine, in_two(&mut memory), cd, program).amend_states(change)
    })
}
