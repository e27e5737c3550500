//! Where answers come from: a running server, or a stopped ledger.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bailiwick_audit::{Audit, Chain, Form, Question, Settings};
use bailiwick_client::Http;
use bailiwick_client::http::path;
use bailiwick_ledger::Committed;
use bailiwick_ledger::replay::learn;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::args::Access;
use crate::command::offline::{self, Stopped};
use crate::config::{Surroundings, variable};
use crate::service::cores;
use crate::show;
use crate::show::progress::{Progress, Unit};
use crate::verify::{self, Bodies, KeyRing, Walk};

/// Where answers come from.
pub(super) struct Source {
    from: From,
    /// It runs on while nobody waits, so that a question that was broken off is heard of.
    runtime: Runtime,
}

enum From {
    Server(Http),
    Tables(Box<Audit>),
}

impl Source {
    /// A stopped ledger's tables where a directory was named and no server; else a server.
    pub(super) fn open(access: &Access) -> Result<Self> {
        let from = if let (Some(dir), None) = (&access.data, &access.url) {
            From::Tables(Box::new(tables(&offline::open(dir, None)?)?))
        } else {
            let around = Surroundings::read(access.config.as_deref(), &variable)?;
            From::Server(bailiwick_client::discover::discover(&around.sources(access))?)
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { from, runtime })
    }

    /// Says so where nothing is recorded of what was asked.
    pub(super) fn say_what_was_read(&self) {
        if matches!(self.from, From::Tables(_)) {
            show::note(
                "read from the stopped ledger, chain verified; the question is not recorded",
            );
        }
    }

    /// From now on Ctrl-C ends no process, only the question that is asked meanwhile.
    pub(super) fn outlive_interrupts(&self) {
        // The handler is there once the signal was first waited for.
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => {}
                () = std::future::ready(()) => {}
            }
        });
    }

    /// The answer to a question, whole.
    pub(super) fn ask(&mut self, question: &Question<'_>, form: Form) -> Result<Vec<u8>> {
        self.runtime.block_on(answer(&self.from, question, form))
    }

    /// The same, or none when the person at the terminal breaks it off with Ctrl-C.
    pub(super) fn ask_until_interrupted(
        &mut self,
        question: &Question<'_>,
        form: Form,
    ) -> Result<Option<Vec<u8>>> {
        self.runtime.block_on(async {
            tokio::select! {
                answer = answer(&self.from, question, form) => answer.map(Some),
                pressed = tokio::signal::ctrl_c() => Ok(pressed.map(|()| None)?),
            }
        })
    }
}

async fn answer(from: &From, question: &Question<'_>, form: Form) -> Result<Vec<u8>> {
    match from {
        From::Server(http) => {
            let (path, body) = request(question);
            Ok(http.post_for(&path, &body, media(form)).await?)
        }
        From::Tables(audit) => {
            let answer =
                async { audit.answer(question, form, &audit.limits()).await?.collected().await };
            answer.await.map_err(|error| {
                let code = error.code();
                anyhow::Error::from(error).context(code)
            })
        }
    }
}

fn request(question: &Question<'_>) -> (String, Value) {
    match question {
        Question::Sql(sql, values) => ("/v1/sql".to_owned(), json!({"sql": sql, "params": values})),
        Question::Named(named, values) => {
            (path(["v1", "queries", named.name]), json!({"params": values}))
        }
    }
}

const fn media(form: Form) -> &'static str {
    match form {
        Form::Json => "application/json",
        Form::Csv => "text/csv",
        Form::Arrow => "application/vnd.apache.arrow.stream",
    }
}

/// Verifies a stopped ledger into tables.
fn tables(stopped: &Stopped) -> Result<Audit> {
    let threads = cores().get();
    let key = stopped.key(None)?;
    let keys = Arc::new(Mutex::new(KeyRing::new(&key.key)?));
    let ring = Arc::clone(&keys);
    let chain = Chain::new(stopped.created.ledger, Arc::clone(&stopped.reader), move || {
        ring.lock().unwrap_or_else(PoisonError::into_inner).clone()
    });
    let audit = Audit::new(Settings { threads, at_once: 1 })?.beside(chain)?;
    let mut progress = Progress::new("reading", Unit::Entries, Some(stopped.head));
    let walk = Walk::new(KeyRing::new(&key.key)?, Bodies::Present, threads);
    verify::log(stopped.reader.as_ref(), walk, |entries| {
        for bytes in entries {
            let entry = Committed::decode(bytes.clone())?;
            audit.ingest(entry.number, &entry.events)?;
            let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
            learn(&mut keys, &entry)?;
            progress.at(entry.number);
        }
        Ok(())
    })
    .map_err(crate::command::verify::told_of)?;
    Ok(audit)
}
