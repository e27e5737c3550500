//! What can go wrong between a question and its answer, each with a stable code.

use std::fmt;
use std::time::Duration;

use datafusion::common::DataFusionError;

use crate::archive::Fault;

/// Why a question was refused or could not be answered: a closed list of stable codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The text has more bytes than are allowed.
    TooLong,
    /// The text nests or chains more than is allowed.
    TooDeep,
    /// The text is not SQL.
    Syntax,
    /// The text holds no statement or more than one.
    ManyStatements,
    /// The statement does something other than read.
    NotARead,
    /// The statement reads with a clause that is not offered.
    ClauseRefused,
    /// The statement names a table that does not exist here.
    TableUnknown,
    /// The statement calls a function that is not on the list.
    FunctionRefused,
    /// A parameter is missing or has no SQL type.
    Parameter,
    /// A named question has no parameter of that name.
    ParameterUnknown,
    /// The value for a named question's parameter is not of its type.
    ParameterType,
    /// The statement is well formed and means nothing: an unknown column, types that do not fit.
    Invalid,
    /// Too many questions wait already.
    Busy,
    /// The time for the answer ran out.
    Timeout,
    /// The answer needs more memory than a question may take.
    Memory,
    /// The answer needs more room on disk than there is for questions.
    Disk,
    /// The statement sorts for more rows than an answer may have.
    LimitTooLarge,
    /// The answer has more rows than are allowed.
    TooManyRows,
    /// The answer has more bytes than are allowed.
    TooLarge,
    /// The answer broke off: a value that cannot be cast, a division by zero.
    Failed,
}

impl Code {
    /// The code as it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "sql_too_long",
            Self::TooDeep => "sql_too_deep",
            Self::Syntax => "sql_syntax",
            Self::ManyStatements => "sql_many_statements",
            Self::NotARead => "sql_not_a_read",
            Self::ClauseRefused => "sql_clause_refused",
            Self::TableUnknown => "sql_table_unknown",
            Self::FunctionRefused => "sql_function_refused",
            Self::Parameter => "sql_parameter",
            Self::ParameterUnknown => "sql_parameter_unknown",
            Self::ParameterType => "sql_parameter_type",
            Self::Invalid => "sql_invalid",
            Self::Busy => "sql_busy",
            Self::Timeout => "sql_timeout",
            Self::Memory => "sql_memory",
            Self::Disk => "sql_disk",
            Self::LimitTooLarge => "sql_limit_too_large",
            Self::TooManyRows => "sql_too_many_rows",
            Self::TooLarge => "sql_too_large",
            Self::Failed => "sql_failed",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What can go wrong in this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A question was refused, or its answer broke a limit.
    #[error("{message}")]
    Refused {
        /// Which rule.
        code: Code,
        /// Words for people.
        message: String,
    },
    /// Events arrived that do not follow the last one.
    #[error("event {found} arrived where {expected} was expected")]
    Gap {
        /// The index that was to come next.
        expected: u64,
        /// The index that came.
        found: u64,
    },
    /// The tables did not reach an event in time.
    #[error("event {index} did not reach the tables within {} ms", waited.as_millis())]
    Behind {
        /// The event that was waited for.
        index: u64,
        /// How long.
        waited: Duration,
    },
    /// An earlier fault left the tables without a known content, so nothing is read from them.
    #[error("the tables are broken and have to be built anew from the ledger")]
    Broken,
    /// The PostgreSQL wire cannot be served.
    #[error("the PostgreSQL wire cannot be served: {why}")]
    Wire {
        /// Why not, and what to do.
        why: String,
    },
    /// The archive is not what it should be, or cannot be written.
    #[error("{message}")]
    Archive {
        /// `archive_altered`, `archive_missing` …
        code: &'static str,
        /// Words for people.
        message: String,
    },
    /// The threads that answer questions cannot be started.
    #[error("the threads for questions do not start: {why}")]
    Threads {
        /// What the system said.
        why: String,
    },
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let code = match fault {
            Fault::Altered { .. } | Fault::Unverified { .. } => "archive_altered",
            Fault::Missing { .. } => "archive_missing",
            Fault::OtherLedger { .. } | Fault::Differs { .. } => "archive_differs",
            Fault::Overtaken => "archive_overtaken",
            Fault::Place { .. } | Fault::Store { .. } => "archive_unavailable",
            Fault::Format { .. } => "archive_format",
        };
        Self::Archive { code, message: fault.to_string() }
    }
}

impl Error {
    /// The stable code, as it stands in problem documents.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { code, .. } => code.as_str(),
            Self::Gap { .. } | Self::Broken | Self::Threads { .. } => "audit_broken",
            Self::Wire { .. } => "audit_wire",
            Self::Archive { code, .. } => code,
            Self::Behind { .. } => "audit_behind",
        }
    }

    /// What is wrong with the archive, if `error` came of that.
    fn of_archive(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        Fault::behind(error).map(|fault| fault.clone().into())
    }

    /// The same, as the engine passes it on.
    pub(crate) fn within(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }

    /// The error of ours that led to `error`, if one did.
    pub(crate) fn behind(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(ours) = error.downcast_ref::<Self>() {
                return Some(ours.clone());
            }
            next = error.source();
        }
        Self::of_archive(error)
    }

    pub(crate) fn refused(code: Code, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }
}
