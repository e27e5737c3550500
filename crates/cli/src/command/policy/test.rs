//! `bailiwick policy test`: given/when/then files, played on a ledger in memory. What a file may say
//! is in [`file`]; what comes of it is decided by the rules themselves, in [`world`].

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};
use toml::Spanned;

use super::files::{Fault, Policies};
use super::{check, plural};
use crate::exit::usage;
use crate::show;
use crate::show::table::table;

mod file;
mod verdict;
mod world;

use file::{Case, File};
use verdict::Played;
use world::World;

/// The most bytes of a file.
const FILE_BYTES_MAX: u64 = 1_024 * 1_024;

/// A case that was played.
struct Outcome {
    file: PathBuf,
    line: u32,
    name: String,
    calls: Vec<Played>,
}

pub(super) fn run(files: &[PathBuf], json: bool) -> Result<()> {
    let (mut played, mut faults) = (Vec::new(), Vec::new());
    for path in files {
        match play(path)? {
            Ok(cases) => played.extend(cases),
            Err(found) => faults.extend(found),
        }
    }
    if json {
        tell_json(&played, &faults)?;
    } else {
        tell(&played, &faults)?;
    }
    check::found(&faults)?;
    match played.iter().filter(|case| !case.passed()).count() {
        0 => Ok(()),
        failed => Err(anyhow!("{failed} of {} failed", plural(played.len(), "case", "cases"))),
    }
}

/// Plays every case of a file, each on a ledger of its own.
fn play(path: &Path) -> Result<Result<Vec<Outcome>, Vec<Fault>>> {
    let cannot = || format!("cannot read `{}`", path.display());
    let bytes = fs::metadata(path).with_context(cannot)?.len();
    if bytes > FILE_BYTES_MAX {
        let path = path.display();
        return Err(usage(format!("`{path}` has {bytes} bytes, at most {FILE_BYTES_MAX}")));
    }
    let text = fs::read_to_string(path).with_context(cannot)?;
    let at = |(offset, why): (usize, String)| vec![Fault::at(path, &text, offset, why)];
    let file = match File::parse(&text) {
        Ok(file) => file,
        Err(fault) => return Ok(Err(at(fault))),
    };
    let dir = path.parent().unwrap_or(Path::new(""));
    let mut policies = Policies::default();
    if !file.given.policies.is_empty() {
        let paths: Vec<PathBuf> = file.given.policies.iter().map(|given| dir.join(given)).collect();
        policies = Policies::read(&paths)?;
    }
    let schemas: Vec<_> =
        file.given.schemas.iter().map(|of| (&of.action, dir.join(&of.file))).collect();
    policies.read_schemas(schemas.iter().map(|(action, file)| (*action, file.as_path())))?;
    policies.compile();
    if !policies.faults.is_empty() {
        return Ok(Err(policies.faults));
    }
    let base = World::new(file.given.clock.unwrap_or(world::START))
        .with_policies(
            &policies.schemas,
            policies.texts.iter().map(|(id, (_, text))| (id, text.as_str())),
        )
        .and_then(|base| base.with(&file.given));
    let base = match base {
        Ok(base) => base,
        Err(fault) => return Ok(Err(at(fault))),
    };
    let mut cases = Vec::new();
    for case in &file.cases {
        let line = Fault::at(path, &text, case.span().start, "").line;
        match play_case(base.clone(), case) {
            Ok(calls) => cases.push(Outcome {
                file: path.to_owned(),
                line,
                name: case.get_ref().name.clone(),
                calls,
            }),
            Err(fault) => return Ok(Err(at(fault))),
        }
    }
    Ok(Ok(cases))
}

fn play_case(world: World, case: &Spanned<Case>) -> Result<Vec<Played>, (usize, String)> {
    let case = case.get_ref();
    let mut world = world.with(&case.given)?;
    let mut calls = Vec::new();
    for step in &case.when {
        calls.extend(world.play(step)?);
    }
    Ok(calls)
}

impl Outcome {
    fn passed(&self) -> bool {
        self.calls.iter().all(Played::passed)
    }

    fn json(&self) -> Value {
        json!({
            "file": self.file.display().to_string(), "line": self.line, "case": self.name,
            "passed": self.passed(),
            "calls": self.calls.iter().map(Played::json).collect::<Vec<_>>(),
        })
    }

    fn row(&self) -> Vec<String> {
        let result = if self.passed() { "ok" } else { "FAILED" };
        let place = format!("{}:{}", show::harmless(&self.file.display().to_string()), self.line);
        vec![result.to_owned(), show::harmless(&self.name), self.calls.len().to_string(), place]
    }
}

fn tell_json(played: &[Outcome], faults: &[Fault]) -> Result<()> {
    let told = json!({
        "passed": played.iter().filter(|case| case.passed()).count(),
        "failed": played.iter().filter(|case| !case.passed()).count(),
        "cases": played.iter().map(Outcome::json).collect::<Vec<_>>(),
        "faults": faults.iter().map(Fault::json).collect::<Vec<_>>(),
    });
    Ok(show::line(&told.to_string())?)
}

fn tell(played: &[Outcome], faults: &[Fault]) -> Result<()> {
    faults.iter().try_for_each(|fault| show::line(&fault.line()))?;
    if played.is_empty() {
        return Ok(());
    }
    show::line(&table(
        &["result", "case", "calls", "where"],
        played.iter().map(Outcome::row).collect(),
    ))?;
    for case in played.iter().filter(|case| !case.passed()) {
        show::line(&format!("\n{}:", show::harmless(&case.name)))?;
        let rows = case.calls.iter().enumerate().filter(|(_, call)| !call.passed());
        let rows = rows.map(|(n, call)| call.row(n + 1)).collect();
        show::line(&table(&["call", "what", "expected", "got", "determined by"], rows))?;
    }
    Ok(())
}
