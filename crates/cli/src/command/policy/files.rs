//! Policies as files: one a file, each called like its file without `.cedar`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bailiwick_core::id::{Action, IdError, PolicyId};
use bailiwick_core::policy::{InputSchemas, Inputs, POLICIES_MAX, POLICY_BYTES_MAX, PolicySet};
use serde_json::{Value, json};

use crate::exit::usage;
use crate::show;

/// How deep directories are looked into.
const DEPTH_MAX: usize = 16;

/// What is wrong with a file, and where.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) file: PathBuf,
    pub(super) policy: Option<PolicyId>,
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) message: String,
}

impl Fault {
    /// A fault of a file as a whole.
    pub(super) fn whole(file: &Path, message: impl Into<String>) -> Self {
        let (file, message) = (file.to_owned(), message.into());
        Self { file, policy: None, line: 1, column: 1, message }
    }

    /// A fault at a byte of a file's text.
    pub(super) fn at(file: &Path, text: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { line: count(line), column: count(column), ..Self::whole(file, message) }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "file": self.file.display().to_string(), "policy": self.policy, "line": self.line,
            "column": self.column, "message": self.message,
        })
    }

    /// `file:line:column: message`, as editors read it.
    pub(super) fn line(&self) -> String {
        let file = self.file.display().to_string();
        let (file, message) = (show::harmless(&file), show::harmless(&self.message));
        format!("{file}:{}:{}: {message}", self.line, self.column)
    }
}

/// The policies of files, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Policies {
    /// With the file of each.
    pub(super) texts: BTreeMap<PolicyId, (PathBuf, String)>,
    /// Input schemas that policies may read arguments by.
    pub(super) schemas: InputSchemas,
    pub(super) faults: Vec<Fault>,
}

impl Policies {
    /// Reads files, and of directories every `.cedar` file in and below them.
    ///
    /// # Errors
    /// When a file cannot be read, or a directory holds no policy. What is wrong with what was read
    /// is among the faults.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut policies = Self::default();
        for file in listed(paths)? {
            let taken = match id_of(&file) {
                Ok(id) => read(&file)?.map(|text| (id, text)),
                Err(why) => Err(format!("the file's name gives no policy id: {why}")),
            };
            match taken {
                Ok((id, text)) => policies.add(id, file, text),
                Err(why) => policies.faults.push(Fault::whole(&file, why)),
            }
        }
        Ok(policies)
    }

    /// Takes the input schemas of actions from files.
    ///
    /// # Errors
    /// When a file cannot be read. What is wrong with what was read is among the faults.
    pub(super) fn read_schemas<'a>(
        &mut self,
        files: impl IntoIterator<Item = (&'a Action, &'a Path)>,
    ) -> Result<()> {
        for (action, file) in files {
            let cannot = || format!("cannot read `{}`", file.display());
            let text = fs::read_to_string(file).with_context(cannot)?;
            match Inputs::of_json_schema(&text) {
                Ok(_) if self.schemas.contains_key(action) => {
                    let message = format!("action `{action}` has another schema already");
                    self.faults.push(Fault::whole(file, message));
                }
                Ok(_) => {
                    self.schemas.insert(action.clone(), text);
                }
                Err(error) => {
                    let message = format!("schema of `{action}`: {error}");
                    self.faults.push(Fault::whole(file, message));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, id: PolicyId, file: PathBuf, text: String) {
        if let Some((other, _)) = self.texts.get(&id) {
            let message = format!("`{}` is policy `{id}` already", other.display());
            self.faults.push(Fault { policy: Some(id), ..Fault::whole(&file, message) });
            return;
        }
        self.texts.insert(id, (file, text));
    }

    /// Compiles all of them together, as an activation would. What is wrong joins the faults.
    pub(super) fn compile(&mut self) -> Option<PolicySet> {
        if self.texts.len() > POLICIES_MAX {
            let file = self.texts.values().nth(POLICIES_MAX).map(|(file, _)| file.clone());
            let message = format!("more than {POLICIES_MAX} policies in one set");
            self.faults.push(Fault::whole(&file.unwrap_or_default(), message));
            return None;
        }
        let texts = self.texts.iter().map(|(id, (_, text))| (id, text.as_str()));
        match PolicySet::empty().recompile_with(&self.schemas, texts) {
            Ok(set) => Some(set),
            Err(errors) => {
                self.faults.extend(errors.iter().map(|error| Fault {
                    file: self.texts.get(&error.policy).map(|(f, _)| f.clone()).unwrap_or_default(),
                    policy: Some(error.policy.clone()),
                    line: error.line,
                    column: error.column,
                    message: error.message.clone(),
                }));
                None
            }
        }
    }
}

/// The files that paths stand for: files themselves, and of directories the `.cedar` files in them,
/// in the order of their names.
fn listed(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        walk(path, DEPTH_MAX, &mut files)?;
        if files.len() == before {
            return Err(usage(format!("`{}` holds no `.cedar` file", path.display())));
        }
    }
    Ok(files)
}

fn walk(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let cannot = || format!("cannot read `{}`", dir.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).with_context(cannot)? {
        entries.push(entry.with_context(cannot)?.path());
    }
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            if depth == 0 {
                let entry = entry.display();
                return Err(usage(format!("`{entry}` lies more than {DEPTH_MAX} levels deep")));
            }
            walk(&entry, depth - 1, files)?;
        } else if entry.extension().is_some_and(|extension| extension == "cedar") {
            files.push(entry);
        }
    }
    Ok(())
}

/// The id that a file's name gives.
pub(super) fn id_of(file: &Path) -> Result<PolicyId, IdError> {
    PolicyId::new(file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default())
}

/// The text of a policy's file, or why it is none.
pub(super) fn read(file: &Path) -> Result<Result<String, String>> {
    let cannot = || format!("cannot read `{}`", file.display());
    let bytes = fs::metadata(file).with_context(cannot)?.len();
    if bytes > POLICY_BYTES_MAX as u64 {
        let file = file.display();
        return Ok(Err(format!("`{file}` has {bytes} bytes, a policy at most {POLICY_BYTES_MAX}")));
    }
    let bytes = fs::read(file).with_context(cannot)?;
    Ok(String::from_utf8(bytes).map_err(|_| format!("`{}` is not UTF-8", file.display())))
}
