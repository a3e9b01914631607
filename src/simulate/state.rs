//! `--state`: what bstate.txt says before the first start.

use anyhow::{Context, Result, anyhow, bail};
use knownstate_core::bstate::{MAX_COUNT, Record, State};
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
    let mut record = Record::ok(program.partition_names());
    for word in text.split_whitespace() {
        take(&mut record, word).with_context(|| format!("--state: {word}"))?;
    }
    Ok(record)
}

fn take(record: &mut Record, word: &str) -> Result<()> {
    let (key, value) = word.split_once('=').context("write KEY=VALUE, such as P1=Dirty or P1.failures=2")?;
    match key.split_once('.') {
        None if key == "restores" => record.restores = count(value)?,
        None if key == "booting" => record.booting = partition(record, value)?.name.clone(),
        None => {
            let partition = partition(record, key)?;
            partition.state =
                State::parse(value).with_context(|| format!("`{value}` is no state: write OK, Clean or Dirty"))?;
        }
        Some((name, "failures")) => partition(record, name)?.failures = count(value)?,
        Some((name, "crashes")) => partition(record, name)?.crashes = count(value)?,
        Some((name, "why")) => partition(record, name)?.why = value.to_string(),
        Some((_, other)) => {
            bail!("bstate.txt has no `.{other}`; {}", suggestion(other, &["failures", "crashes", "why"]))
        }
    }
    Ok(())
}

fn partition<'r>(record: &'r mut Record, name: &str) -> Result<&'r mut knownstate_core::bstate::Partition> {
    let names: Vec<String> = record.partitions.iter().map(|p| p.name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    record
        .get_mut(name)
        .with_context(|| format!("no partition `{name}` in the logic file; {}", suggestion(name, &names)))
}

fn count(text: &str) -> Result<u32> {
    match text.parse() {
        Ok(number) if number <= MAX_COUNT => Ok(number),
        _ => bail!("`{text}` is no number from 0 to {MAX_COUNT}"),
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
