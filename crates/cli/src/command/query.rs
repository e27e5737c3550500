//! `bailiwick query`.

use anyhow::Result;
use bailiwick_audit::named::{Named, Preset, Taken};
use bailiwick_audit::{Parameters, Question};
use serde_json::{Value, json};

use super::sql;
use crate::args::{self, QueryVerb};
use crate::exit::usage;
use crate::show;
use crate::show::json as shown;

const COLUMNS: [shown::Column; 3] =
    [("name", "/name"), ("question", "/question"), ("takes", "/takes")];

pub(super) fn run(args: args::Query) -> Result<()> {
    let json = args.wants_json();
    match args.verb {
        QueryVerb::List => {
            let items: Vec<Value> = Named::all().iter().map(listed).collect();
            shown::list(json, &items, &COLUMNS)
        }
        QueryVerb::Show { name } => show(find(&name)?, json),
        QueryVerb::Run { name, params, shown } => {
            let named = find(&name)?;
            let given = read(named, &params)?;
            let shown = sql::checked(&args.access, shown)?;
            sql::answer_one(&args.access, &Question::Named(named, &given), &shown)
        }
    }
}

pub(super) fn find(name: &str) -> Result<&'static Named> {
    Named::find(name).ok_or_else(|| {
        usage(format!("there is no named question `{name}`; `bailiwick query list` lists them"))
    })
}

fn listed(named: &Named) -> Value {
    let parameter = |taken: &Taken| match &taken.default {
        Some(default) => format!("[{}={}]", taken.name, default.text()),
        None => taken.name.clone(),
    };
    let takes: Vec<String> = named.parameters.iter().map(parameter).collect();
    json!({
        "name": named.name,
        "question": named.question,
        "takes": takes.join(" "),
        "controls": named.controls,
    })
}

fn show(named: &Named, json: bool) -> Result<()> {
    if !json {
        // The file says everything, in the words of whoever wrote it.
        return Ok(show::line(named.sql.trim_end())?);
    }
    let parameter = |taken: &Taken| {
        json!({
            "name": taken.name,
            "type": taken.kind.as_str(),
            "required": taken.default.is_none(),
            "default": taken.default.as_ref().map(Preset::text),
            "about": taken.about,
        })
    };
    let parameters: Vec<Value> = named.parameters.iter().map(parameter).collect();
    let told = json!({
        "name": named.name,
        "question": named.question,
        "parameters": parameters,
        "controls": named.controls,
        "sql": named.sql,
    });
    Ok(show::line(&told.to_string())?)
}

/// What is given on the command line, each value of its parameter's type.
pub(super) fn read(named: &Named, params: &[(String, String)]) -> Result<Parameters> {
    let mut given = Parameters::new();
    for (name, text) in params {
        let taken = named.taken(name).ok_or_else(|| {
            let takes: Vec<&str> =
                named.parameters.iter().map(|taken| taken.name.as_str()).collect();
            let takes = if takes.is_empty() { "none".to_owned() } else { takes.join(", ") };
            usage(format!("`{}` takes no parameter `{name}`, but {takes}", named.name))
        })?;
        let value = taken.kind.read(text).map_err(|wanted| {
            usage(format!("the parameter `{name}` of `{}` has to be {wanted}", named.name))
        })?;
        if given.insert(name.clone(), value).is_some() {
            return Err(usage(format!("the parameter `{name}` is given twice")));
        }
    }
    let missing = named
        .parameters
        .iter()
        .find(|taken| taken.default.is_none() && !given.contains_key(&taken.name));
    match missing {
        Some(taken) => {
            let (name, kind) = (&taken.name, taken.kind.as_str());
            let message = format!("`{}` needs `--param {name}=…` ({kind})", named.name);
            Err(usage(format!("{message}: {}", taken.about)))
        }
        None => Ok(given),
    }
}
