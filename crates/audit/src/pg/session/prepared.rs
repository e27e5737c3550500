//! Prepared statements and portals: what is known of a question before its answer begins.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use datafusion::common::ScalarValue;
use pgwire::api::Type;
use pgwire::messages::PgWireBackendMessage as Backend;
use pgwire::messages::data::{
    DataRow, FieldDescription, NoData, ParameterDescription, RowDescription,
};
use ring::digest;

use super::answer::{Running, described};
use super::{Session, Stop};
use crate::pg::ask::Described;
use crate::pg::fault::Fault;
use crate::pg::parameter;
use crate::pg::statement::{Command, What};
use crate::pg::value::{Format, wire_type};
use crate::pg::wire::{Bind, PARAMETERS_MAX};

/// A statement that may be answered again and again.
#[derive(Clone)]
pub(super) struct Prepared {
    /// None for a text without a statement.
    what: Option<Arc<What>>,
    pub(super) sql_digest: [u8; 32],
    pub(super) sql_bytes: usize,
    /// The types that the client gives its parameters; 0 where it leaves that to us.
    given: Vec<u32>,
    known: Option<Arc<Known>>,
}

/// What planning tells of a statement.
struct Known {
    parameters: Vec<Type>,
    described: Described,
}

impl Prepared {
    pub(super) fn new(what: What, sql: &str, given: Vec<u32>) -> Self {
        let hash = digest::digest(&digest::SHA256, sql.as_bytes());
        let sql_digest = std::array::from_fn(|at| hash.as_ref()[at]);
        let sql_bytes = sql.len();
        Self { what: Some(Arc::new(what)), sql_digest, sql_bytes, given, known: None }
    }

    pub(super) const fn empty() -> Self {
        Self { what: None, sql_digest: [0; 32], sql_bytes: 0, given: Vec::new(), known: None }
    }

    pub(super) fn what(&self) -> Option<&What> {
        self.what.as_deref()
    }

    /// A parameter's type: as the client gives it, or as the statement uses it, or text.
    fn type_of(&self, at: usize) -> Type {
        let given = self.given.get(at).filter(|oid| **oid != 0);
        let given = given.and_then(|oid| Type::from_oid(*oid)).filter(|t| *t != Type::UNKNOWN);
        let known = || self.known.as_ref()?.parameters.get(at).cloned();
        given.or_else(known).unwrap_or(Type::TEXT)
    }

    /// The values of a statement's parameters.
    pub(super) fn values(&self, bind: &Bind) -> Result<Vec<ScalarValue>, Fault> {
        let wanted = self.known.as_ref().map_or(0, |known| known.parameters.len());
        let count = bind.values.len();
        if count < wanted || (count > wanted && wanted < self.given.len().min(count)) {
            let message = format!("the statement has {wanted} parameters, and {count} came");
            return Err(Fault::protocol(message));
        }
        let formats = formats(&bind.formats, count)?;
        let value = |(at, value): (usize, &Option<bytes::Bytes>)| {
            let kind = self.type_of(at);
            parameter::scalar(&kind, formats[at], value.as_ref())
                .map_err(|why| Fault::parameter(format!("parameter ${}: {why}", at + 1)))
        };
        bind.values.iter().enumerate().map(value).collect()
    }
}

/// Each value's format: none for text, one for all, or one each.
fn formats(codes: &[i16], count: usize) -> Result<Vec<Format>, Fault> {
    let format = |code: &i16| match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        other => Err(Fault::protocol(format!("there is no format {other}"))),
    };
    match codes {
        [] => Ok(vec![Format::Text; count]),
        [one] => Ok(vec![format(one)?; count]),
        each if each.len() == count => each.iter().map(format).collect(),
        each => {
            let message = format!("{} formats came for {count} values", each.len());
            Err(Fault::protocol(message))
        }
    }
}

/// A statement with its values, whose answer may be taken piece by piece.
pub(super) struct Portal {
    pub(super) prepared: Prepared,
    pub(super) values: Vec<ScalarValue>,
    /// The answer's formats as they were asked for: none, one, or one for each column.
    pub(super) formats: Vec<Format>,
    pub(super) running: Option<Running>,
    /// Whether its answer was given to the end.
    pub(super) done: bool,
}

impl Portal {
    pub(super) fn new(
        prepared: Prepared,
        values: Vec<ScalarValue>,
        results: &[i16],
    ) -> Result<Self, Fault> {
        let formats = formats(results, results.len())?;
        Ok(Self { prepared, values, formats, running: None, done: false })
    }

    pub(super) fn is_question(&self) -> bool {
        matches!(self.prepared.what(), Some(What::Question(_) | What::Catalog(_)))
    }

    /// The answer's columns, once it has begun.
    pub(super) fn described(&self) -> Backend {
        match (&self.running, self.prepared.what()) {
            (Some(running), _) => running.described(&self.formats),
            (None, Some(What::Command(Command::Show(name)))) => text_column(name),
            (None, _) => Backend::NoData(NoData::new()),
        }
    }
}

impl Session {
    /// Plans a statement, if that was not done yet, to know its parameters and columns.
    pub(super) async fn know(&mut self, name: &str) -> Result<(), Stop> {
        let prepared = self.statement(name)?;
        if prepared.known.is_some() {
            return Ok(());
        }
        let Some((statement, place)) = prepared.what().and_then(|what| self.placed(what)) else {
            return Ok(());
        };
        let cast = parameter::cast_types(&statement);
        let mut given: HashMap<_, _> = cast
            .iter()
            .filter_map(|(name, kind)| Some((name.clone(), parameter::data_type(kind)?)))
            .collect();
        given.extend(prepared.given.iter().enumerate().filter_map(|(at, oid)| {
            let kind = Type::from_oid(*oid).filter(|kind| *kind != Type::UNKNOWN)?;
            Some((format!("${}", at + 1), parameter::data_type(&kind)?))
        }));
        let limits = self.limits();
        let audit = Arc::clone(&self.shared.audit);
        self.cancelled.begin();
        let described = tokio::select! {
            biased;
            () = self.cancelled.cancelled() => return Err(Fault::cancelled().into()),
            () = self.connection.gone() => return Err(Stop::Gone),
            described = audit.describe(statement, place, given, &limits) => described?,
        };
        let Some(prepared) = self.statements.get_mut(name) else { return Ok(()) };
        let number = |name: &String| name.trim_start_matches('$').parse::<usize>().ok();
        let count = described.parameters.keys().filter_map(number).max().unwrap_or(0);
        let count = count.max(prepared.given.len());
        if count > PARAMETERS_MAX {
            let message = format!("a statement has at most {PARAMETERS_MAX} parameters");
            return Err(Fault::parameter(message).into());
        }
        let parameter = |at: usize| {
            let name = format!("${}", at + 1);
            let inferred = || described.parameters.get(&name).cloned().flatten();
            let cast = cast.get(&name).cloned();
            cast.or_else(|| Some(wire_type(&inferred()?))).unwrap_or(Type::TEXT)
        };
        let parameters = (0..count).map(parameter).collect();
        prepared.known = Some(Arc::new(Known { parameters, described }));
        Ok(())
    }

    pub(super) async fn describe_statement(&mut self, name: &str) -> Result<(), Stop> {
        self.standing(None)?;
        self.know(name).await?;
        let prepared = self.statement(name)?;
        let count = prepared.known.as_ref().map_or(0, |known| known.parameters.len());
        let types = (0..count).map(|at| prepared.type_of(at).oid()).collect();
        let row = match (&prepared.known, prepared.what()) {
            (Some(known), _) => described(&known.described.schema, &[]),
            (None, Some(What::Command(Command::Show(name)))) => text_column(name),
            (None, _) => Backend::NoData(NoData::new()),
        };
        self.connection.put(Backend::ParameterDescription(ParameterDescription::new(types)));
        self.connection.put(row);
        Ok(())
    }
}

/// The columns of an answer of one text.
pub(super) fn text_column(name: &str) -> Backend {
    let field = FieldDescription::new(name.to_owned(), 0, 0, Type::TEXT.oid(), -1, -1, 0);
    Backend::RowDescription(RowDescription::new(vec![field]))
}

/// The row of an answer of one text.
pub(super) fn text_row(text: &str) -> Backend {
    let mut data = BytesMut::new();
    data.put_i32(i32::try_from(text.len()).unwrap_or(i32::MAX));
    data.put_slice(text.as_bytes());
    Backend::DataRow(DataRow::new(data, 1))
}
