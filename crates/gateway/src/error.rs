//! What ends a gateway, or keeps it from starting. A denied call is not among it.

use std::io;
use std::path::PathBuf;

/// Why the gateway cannot run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tool mapping cannot be read.
    #[error("tool mapping `{}` cannot be read", path.display())]
    MappingFile {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The tool mapping says something that it cannot mean.
    #[error("tool mapping, line {line}: {why}")]
    Mapping {
        /// 1-based line.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// No command to run the server with.
    #[error("no command is given to start the server with")]
    NoCommand,
    /// A variable that the server may not have.
    #[error("`{name}` is not passed on: the server would act with the gateway's own key")]
    Environment {
        /// The variable.
        name: String,
    },
    /// The server cannot be started.
    #[error("`{program}` cannot be started")]
    Spawn {
        /// The program.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A name that cannot be one.
    #[error("the server cannot be called `{name}`: {why}")]
    ServerName {
        /// The name.
        name: String,
        /// Why not.
        why: String,
    },
    /// The process cannot be told to stop.
    #[error("signals cannot be listened to")]
    Signals {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The demo server ended badly.
    #[error("the demo server ended: {why}")]
    Demo {
        /// Why.
        why: String,
    },
}
