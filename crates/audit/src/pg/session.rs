//! A session: what a known client says, one message after another, and what it is answered.

use std::collections::HashMap;
use std::sync::Arc;

use pgwire::messages::PgWireBackendMessage as Backend;
use pgwire::messages::extendedquery::{
    BindComplete, CloseComplete, ParseComplete, PortalSuspended,
};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus,
};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::fault::Fault;
use super::settings::Settings;
use super::statement::{Command, What};
use super::wire::{Broken, Connection, GATHERED_BYTES, Message, Target};
use super::{IDLE_MAX, Shared, cancel, startup, statement};

mod answer;
mod prepared;

use answer::Running;
use prepared::{Portal, Prepared};

/// Prepared statements of a session.
const STATEMENTS_MAX: usize = 256;
/// Bytes of the text of a session's prepared statements: what is made of them is larger.
const STATEMENTS_BYTES_MAX: usize = 512 * 1_024;
/// Portals of a session.
const PORTALS_MAX: usize = 16;
/// Bytes of a statement's or a portal's name.
const NAME_BYTES_MAX: usize = 256;
/// Answers of a session that have begun and not ended. Each holds a turn that others wait for.
const RUNNING_MAX: usize = 2;

/// Why a message has no further answer.
pub(super) enum Stop {
    /// The client is told, and the session goes on.
    Fault(Fault),
    /// The client is gone.
    Gone,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<crate::Error> for Stop {
    fn from(error: crate::Error) -> Self {
        Self::Fault(error.into())
    }
}

impl From<Broken> for Stop {
    fn from(_: Broken) -> Self {
        Self::Gone
    }
}

/// One client's session.
pub(super) struct Session {
    connection: Connection,
    shared: Arc<Shared>,
    user: String,
    settings: Settings,
    cancelled: cancel::Listening,
    statements: HashMap<String, Prepared>,
    portals: HashMap<String, Portal>,
    transaction: TransactionStatus,
    /// Whether everything is passed over until the client says that it has taken note of an error.
    skipping: bool,
    /// What the client has heard that an answer took into account.
    as_of_told: Option<u64>,
    _place: OwnedSemaphorePermit,
}

/// A session from its begin to its end.
pub(super) async fn run(known: startup::Known, shared: &Arc<Shared>) {
    let startup::Known { connection, user, settings, cancelled, place } = known;
    let mut closing = shared.closing.clone();
    let mut session = Session {
        connection,
        shared: Arc::clone(shared),
        user,
        settings,
        cancelled,
        statements: HashMap::new(),
        portals: HashMap::new(),
        transaction: TransactionStatus::Idle,
        skipping: false,
        as_of_told: None,
        _place: place,
    };
    loop {
        match session.next(&mut closing).await {
            Ok(Some(message)) => {
                if session.take(message).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(last) => {
                session.connection.put(last.fatal());
                // A client that is gone needs no word.
                let _ = session.connection.flush().await;
                return;
            }
        }
    }
}

impl Session {
    /// The next message; none when the client is gone, and an error when the session is to end.
    async fn next(
        &mut self,
        closing: &mut watch::Receiver<bool>,
    ) -> Result<Option<Message>, Fault> {
        let message = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => {
                return Err(Fault::new("57P01", "pg_stopping", "the server stops"));
            }
            message = timeout(IDLE_MAX, self.connection.message()) => message,
        };
        match message {
            Ok(Ok(Message::Terminate) | Err(Broken::Gone)) => Ok(None),
            Ok(Ok(message)) => Ok(Some(message)),
            Ok(Err(Broken::Protocol(why))) => Err(Fault::protocol(why)),
            Err(_) => Err(Fault::new("57P05", "pg_idle", "the session was silent for too long")),
        }
    }

    /// Takes a message; an error means that the client is gone.
    async fn take(&mut self, message: Message) -> Result<(), Broken> {
        match message {
            Message::Sync => {
                self.skipping = false;
                if self.transaction == TransactionStatus::Idle {
                    self.portals.clear();
                }
                self.ready().await
            }
            Message::Query(sql) => {
                self.skipping = false;
                self.portals.remove("");
                match self.simple(&sql).await {
                    Ok(()) => {}
                    Err(Stop::Fault(fault)) => self.failed(&fault),
                    Err(Stop::Gone) => return Err(Broken::Gone),
                }
                self.ready().await
            }
            Message::Flush => self.connection.flush().await,
            message @ (Message::Parse { .. }
            | Message::Bind(_)
            | Message::Describe(_)
            | Message::Execute { .. }
            | Message::Close(_)
            | Message::NotOffered(_)
            | Message::Terminate) => match self.extended(message).await {
                // Who asks for more and more without waiting for any of it is made to take it.
                Ok(()) if self.connection.gathered() >= GATHERED_BYTES => {
                    self.connection.flush().await
                }
                Ok(()) => Ok(()),
                Err(Stop::Fault(fault)) => {
                    self.failed(&fault);
                    self.skipping = true;
                    self.connection.flush().await
                }
                Err(Stop::Gone) => Err(Broken::Gone),
            },
        }
    }

    fn failed(&mut self, fault: &Fault) {
        self.connection.put(fault.error());
        if self.transaction == TransactionStatus::Transaction {
            self.transaction = TransactionStatus::Error;
        }
    }

    async fn ready(&mut self) -> Result<(), Broken> {
        self.connection.put(Backend::ReadyForQuery(ReadyForQuery::new(self.transaction)));
        self.connection.flush().await
    }

    /// A text of statements without parameters, each answered at once.
    async fn simple(&mut self, sql: &str) -> Result<(), Stop> {
        let whats = self.read(sql)?;
        if whats.is_empty() {
            self.connection.put(Backend::EmptyQueryResponse(EmptyQueryResponse::new()));
        }
        for what in whats {
            self.standing(Some(&what))?;
            match what {
                What::Command(command) => self.command(&command, true)?,
                What::Question(_) | What::Catalog(_) => {
                    let prepared = Prepared::new(what, sql, Vec::new());
                    let mut running = self.start(&prepared, Vec::new()).await?;
                    let described = running.described(&[]);
                    self.connection.put(described);
                    self.rows(&mut running, &[], 0).await?;
                    self.complete(running);
                }
            }
        }
        Ok(())
    }

    /// A text of one statement, with or without parameters, in steps.
    async fn extended(&mut self, message: Message) -> Result<(), Stop> {
        if self.skipping {
            return Ok(());
        }
        match message {
            Message::Parse { name, sql, types } => self.parse(name, &sql, types),
            Message::Bind(bind) => self.bind(bind).await,
            Message::Describe(Target::Statement(name)) => self.describe_statement(&name).await,
            Message::Describe(Target::Portal(name)) => self.describe_portal(&name).await,
            Message::Execute { portal, rows_max } => self.execute(&portal, rows_max).await,
            Message::Close(target) => {
                match target {
                    Target::Statement(name) => drop(self.statements.remove(&name)),
                    Target::Portal(name) => drop(self.portals.remove(&name)),
                }
                self.connection.put(Backend::CloseComplete(CloseComplete::new()));
                Ok(())
            }
            Message::NotOffered(kind) => {
                let kind = char::from(kind);
                Err(Fault::protocol(format!("messages of type `{kind}` are not offered")).into())
            }
            Message::Query(_) | Message::Flush | Message::Sync | Message::Terminate => Ok(()),
        }
    }

    fn read(&self, sql: &str) -> Result<Vec<What>, Fault> {
        statement::read(sql)
    }

    /// Whether the session may still be answered: its credential works and, in a transaction that
    /// has failed, the client ends that first.
    fn standing(&self, what: Option<&What>) -> Result<(), Fault> {
        if let Err(refused) = self.shared.door.may_read(&self.user) {
            let fault = startup::fault(refused, &self.user);
            self.shared.door.turned_away(&self.user, fault.code);
            return Err(fault);
        }
        let ends = matches!(
            what,
            Some(What::Command(Command::Commit | Command::Rollback | Command::RollbackTo))
        );
        if self.transaction == TransactionStatus::Error && !ends {
            let message = "the transaction has failed; end it with `rollback`";
            return Err(Fault::new("25P02", "pg_transaction_failed", message));
        }
        Ok(())
    }

    fn parse(&mut self, name: String, sql: &str, types: Vec<u32>) -> Result<(), Stop> {
        named(&name)?;
        if self.statements.len() >= STATEMENTS_MAX && !self.statements.contains_key(&name) {
            let message = format!("a session may prepare {STATEMENTS_MAX} statements");
            return Err(Fault::new("53400", "pg_too_many_statements", message).into());
        }
        let others = self.statements.iter().filter(|(other, _)| **other != name);
        let bytes: usize = others.map(|(_, prepared)| prepared.sql_bytes).sum();
        if bytes + sql.len() > STATEMENTS_BYTES_MAX {
            let message = "the session's prepared statements are too long together";
            return Err(Fault::new("53400", "pg_too_many_statements", message).into());
        }
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("statement `{}` exists already", short(&name));
            return Err(Fault::new("42P05", "pg_statement_exists", message).into());
        }
        let mut whats = self.read(sql)?;
        let prepared = match (whats.pop(), whats.is_empty()) {
            (None, _) => Prepared::empty(),
            (Some(what), true) => Prepared::new(what, sql, types),
            (Some(_), false) => {
                let message = "one statement is prepared at a time";
                return Err(Fault::new("42601", "sql_many_statements", message).into());
            }
        };
        self.statements.insert(name, prepared);
        self.connection.put(Backend::ParseComplete(ParseComplete::new()));
        Ok(())
    }

    async fn bind(&mut self, bind: super::wire::Bind) -> Result<(), Stop> {
        named(&bind.portal)?;
        if self.portals.len() >= PORTALS_MAX && !self.portals.contains_key(&bind.portal) {
            let message = format!("a session may have {PORTALS_MAX} portals");
            return Err(Fault::new("53400", "pg_too_many_portals", message).into());
        }
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            let message = format!("portal `{}` exists already", short(&bind.portal));
            return Err(Fault::new("42P03", "pg_portal_exists", message).into());
        }
        if !bind.values.is_empty() {
            self.know(&bind.statement).await?;
        }
        let prepared = self.statement(&bind.statement)?;
        let values = prepared.values(&bind)?;
        let portal = Portal::new(prepared.clone(), values, &bind.results)?;
        self.portals.insert(bind.portal, portal);
        self.connection.put(Backend::BindComplete(BindComplete::new()));
        Ok(())
    }

    fn statement(&self, name: &str) -> Result<&Prepared, Fault> {
        self.statements.get(name).ok_or_else(|| {
            let message = format!("there is no prepared statement `{}`", short(name));
            Fault::new("26000", "pg_statement_unknown", message)
        })
    }

    async fn describe_portal(&mut self, name: &str) -> Result<(), Stop> {
        let mut portal = self.taken(name)?;
        let started = self.started(&mut portal).await;
        let described = portal.described();
        self.portals.insert(name.to_owned(), portal);
        started?;
        self.connection.put(described);
        Ok(())
    }

    fn taken(&mut self, name: &str) -> Result<Portal, Fault> {
        self.portals.remove(name).ok_or_else(|| {
            let message = format!("there is no portal `{}`", short(name));
            Fault::new("34000", "pg_portal_unknown", message)
        })
    }

    /// Starts a portal's question if it is one and does not run yet: its answer's columns are known
    /// from then on.
    async fn started(&mut self, portal: &mut Portal) -> Result<(), Stop> {
        if portal.is_question() && portal.running.is_none() && !portal.done {
            self.standing(portal.prepared.what())?;
            if self.portals.values().filter(|other| other.running.is_some()).count() >= RUNNING_MAX
            {
                let message = format!("a session may have {RUNNING_MAX} answers that have begun");
                return Err(Fault::new("53400", "pg_too_many_portals", message).into());
            }
            let values = std::mem::take(&mut portal.values);
            portal.running = Some(self.start(&portal.prepared, values).await?);
        }
        Ok(())
    }

    async fn execute(&mut self, name: &str, rows_max: usize) -> Result<(), Stop> {
        let mut portal = self.taken(name)?;
        self.standing(portal.prepared.what())?;
        match portal.prepared.what() {
            None => self.connection.put(Backend::EmptyQueryResponse(EmptyQueryResponse::new())),
            Some(What::Command(command)) => {
                let command = command.clone();
                self.command(&command, false)?;
            }
            Some(What::Question(_) | What::Catalog(_)) => {
                self.started(&mut portal).await?;
                if let Some(mut running) = portal.running.take() {
                    if self.rows(&mut running, &portal.formats, rows_max).await? {
                        portal.running = Some(running);
                        self.portals.insert(name.to_owned(), portal);
                        let suspended = PortalSuspended::new();
                        self.connection.put(Backend::PortalSuspended(suspended));
                        return Ok(());
                    }
                    self.complete(running);
                    portal.done = true;
                } else {
                    self.tag("SELECT 0".to_owned());
                }
            }
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    /// Says how many rows there were, and what they took into account.
    fn complete(&mut self, running: Running) {
        let (rows, as_of_seq) = (running.rows(), running.as_of_seq());
        if as_of_seq.is_some() && as_of_seq != self.as_of_told {
            let seq = as_of_seq.map(|seq| seq.to_string()).unwrap_or_default();
            self.connection.put(startup::status("bailiwick.as_of_seq", seq));
            self.as_of_told = as_of_seq;
        }
        running.end(None);
        self.tag(format!("SELECT {rows}"));
    }

    fn tag(&mut self, tag: String) {
        self.connection.put(Backend::CommandComplete(CommandComplete::new(tag)));
    }

    /// Answers a command. In the simple protocol an answer of rows says its columns first.
    fn command(&mut self, command: &Command, described: bool) -> Result<(), Fault> {
        use TransactionStatus::{Error, Idle, Transaction};
        let tag = match command {
            Command::Begin(tag) => {
                self.transaction = Transaction;
                tag
            }
            Command::Commit | Command::Rollback => {
                let failed = self.transaction == Error;
                self.transaction = Idle;
                self.portals.clear();
                if failed || *command == Command::Rollback { "ROLLBACK" } else { "COMMIT" }
            }
            Command::RollbackTo => {
                self.transaction = Transaction;
                "ROLLBACK"
            }
            Command::Quiet(tag) => tag,
            Command::Set(pairs) => {
                for (name, value) in pairs {
                    let told = self.settings.set(name, value)?;
                    self.tell(told);
                }
                "SET"
            }
            Command::Reset(name) => {
                let told = self.settings.reset(name.as_deref());
                self.tell(told);
                "RESET"
            }
            Command::Show(name) => {
                let row = self.shown(name)?;
                if described {
                    self.connection.put(prepared::text_column(name));
                }
                self.connection.put(prepared::text_row(&row));
                "SHOW"
            }
            Command::Discard => {
                let told = self.settings.reset(None);
                self.tell(told);
                self.statements.clear();
                self.portals.clear();
                "DISCARD ALL"
            }
            Command::Deallocate(name) => {
                match name {
                    Some(name) => drop(self.statements.remove(name)),
                    None => self.statements.clear(),
                }
                if name.is_some() { "DEALLOCATE" } else { "DEALLOCATE ALL" }
            }
        };
        self.tag((*tag).to_owned());
        Ok(())
    }

    fn shown(&self, name: &str) -> Result<String, Fault> {
        if name == "bailiwick.as_of_seq" {
            return Ok(self.as_of_told.map(|seq| seq.to_string()).unwrap_or_default());
        }
        self.settings.get(name)
    }

    fn tell(&mut self, told: impl IntoIterator<Item = (&'static str, String)>) {
        for (name, value) in told {
            self.connection.put(startup::status(name, value));
        }
    }
}

fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Names are kept and not counted, so they are short.
fn named(name: &str) -> Result<(), Fault> {
    if name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    let message = format!("a name has at most {NAME_BYTES_MAX} bytes");
    Err(Fault::new("42622", "pg_name_too_long", message))
}
