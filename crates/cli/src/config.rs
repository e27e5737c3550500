//! What is to be done, complete and checked: flags over the environment over `bailiwick.toml` over
//! defaults. Defaults stand here and nowhere else.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bailiwick_client::discover::Sources;
use bailiwick_core::time::Span;
use bailiwick_ledger::log::jetstream;
use bailiwick_ledger::{Config as LedgerConfig, Store};
use serde::Deserialize;

use crate::args;
use crate::exit::usage;

mod archive;
mod issuers;
mod sql;

pub(crate) use archive::Archive;
pub(crate) use sql::Sql;

const DATA: &str = "bailiwick-data";
const LISTEN: &str = "127.0.0.1:7420";
const NAME: &str = "default";
const REPLICAS: usize = 1;
/// How often the tree is signed.
const CHECKPOINT_EVERY: Duration = Duration::from_mins(10);
const FILE: &str = "bailiwick.toml";
/// How long the engine waits, under load only, for more commands to share an entry.
const LINGER: Duration = Duration::from_millis(1);

/// `bailiwick.toml`, as it is written. Paths in it count from its own directory.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    url: Option<String>,
    listen: Option<String>,
    pg_listen: Option<String>,
    name: Option<String>,
    nats: Option<String>,
    replicas: Option<usize>,
    nats_creds: Option<PathBuf>,
    nats_ca: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    allow_plain: Option<bool>,
    public_url: Option<String>,
    checkpoint_every: Option<String>,
    #[serde(default)]
    issuers: Vec<issuers::Written>,
    #[serde(default)]
    archive: archive::Written,
    #[serde(default)]
    sql: sql::Written,
}

/// What was said outside of the command line.
pub(crate) struct Surroundings<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    file: File,
}

/// How to serve.
#[derive(Debug)]
pub(crate) struct Serve {
    pub(crate) ledger: LedgerConfig,
    pub(crate) listen: SocketAddr,
    /// Where `PostgreSQL` clients are listened for, if anywhere.
    pub(crate) pg_listen: Option<SocketAddr>,
    pub(crate) tls: Option<bailiwick_api::server::Tls>,
    pub(crate) allow_plain: bool,
    pub(crate) public_url: Option<String>,
    /// Whose access tokens are taken beside API keys.
    pub(crate) issuers: Vec<bailiwick_api::token::Issuer>,
    /// Where older rows are kept; without it, all are in memory.
    pub(crate) archive: Option<Archive>,
    /// What questions may take.
    pub(crate) sql: Sql,
    /// How often the tree is signed, if ever.
    pub(crate) checkpoint_every: Option<Duration>,
    /// Offer the hello-world that `bench decide` measures beside decisions.
    pub(crate) bench: bool,
}

/// The process's own variables; an empty one counts as none.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl<'a> Surroundings<'a> {
    /// Reads the file that was named, or `bailiwick.toml` in this directory if there is one.
    pub(crate) fn read(
        named: Option<&Path>,
        env: &'a dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let named = named.map(Path::to_owned).or_else(|| env("BAILIWICK_CONFIG").map(Into::into));
        let path = named.clone().unwrap_or_else(|| FILE.into());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && named.is_none() => String::new(),
            Err(e) => {
                return Err(e).with_context(|| format!("cannot read `{}`", path.display()));
            }
        };
        let mut file: File = toml::from_str(&text).map_err(|e| {
            usage(format!("`{}` is no configuration: {}", path.display(), e.to_string().trim_end()))
        })?;
        let dir = path.parent().unwrap_or(Path::new(""));
        for path in [
            &mut file.data,
            &mut file.nats_creds,
            &mut file.nats_ca,
            &mut file.tls_cert,
            &mut file.tls_key,
        ] {
            *path = path.take().map(|path| dir.join(path));
        }
        Ok(Self { env, file })
    }

    fn path(
        &self,
        flag: Option<&PathBuf>,
        variable: &str,
        file: Option<&PathBuf>,
    ) -> Option<PathBuf> {
        flag.cloned().or_else(|| (self.env)(variable).map(Into::into)).or_else(|| file.cloned())
    }

    fn text(&self, flag: Option<&String>, variable: &str, file: Option<&String>) -> Option<String> {
        flag.cloned().or_else(|| (self.env)(variable)).or_else(|| file.cloned())
    }

    fn is_set(&self, flag: bool, variable: &str, file: Option<bool>) -> Result<bool> {
        match (self.env)(variable).as_deref() {
            _ if flag => Ok(true),
            Some("1" | "true") => Ok(true),
            Some("0" | "false") => Ok(false),
            Some(other) => Err(usage(format!("{variable} is `{other}`, not `true` or `false`"))),
            None => Ok(file.unwrap_or(false)),
        }
    }

    /// The data directory.
    pub(crate) fn data(&self, flag: Option<&PathBuf>) -> PathBuf {
        let data = self.path(flag, "BAILIWICK_DATA", self.file.data.as_ref());
        data.unwrap_or_else(|| DATA.into())
    }

    /// The stream of a ledger, where it is on NATS.
    fn stream(
        &self,
        nats: Option<&String>,
        name: Option<&String>,
        replicas: Option<&String>,
        creds: Option<&PathBuf>,
        ca: Option<&PathBuf>,
    ) -> Result<Option<jetstream::Config>> {
        let file = &self.file;
        let Some(url) = self.text(nats, "BAILIWICK_NATS", file.nats.as_ref()) else {
            return Ok(None);
        };
        let replicas = match self.text(replicas, "BAILIWICK_REPLICAS", None) {
            Some(text) => parsed("the number of replicas", &text)?,
            None => file.replicas.unwrap_or(REPLICAS),
        };
        if ![1, 3, 5].contains(&replicas) {
            return Err(usage(format!("`{replicas}` copies of a stream: 1, 3 or 5 are allowed")));
        }
        Ok(Some(jetstream::Config {
            url,
            name: self.name(name)?,
            replicas,
            credentials: self.path(creds, "BAILIWICK_NATS_CREDS", file.nats_creds.as_ref()),
            root_certificates: self.path(ca, "BAILIWICK_NATS_CA", file.nats_ca.as_ref()),
        }))
    }

    fn name(&self, flag: Option<&String>) -> Result<jetstream::Name> {
        let name = self.text(flag, "BAILIWICK_NAME", self.file.name.as_ref());
        name.as_deref()
            .unwrap_or(NAME)
            .parse()
            .map_err(|e: bailiwick_ledger::Error| usage(e.to_string()))
    }

    /// The stream of a ledger that no server has open.
    pub(crate) fn offline_stream(
        &self,
        nats: Option<&String>,
        name: Option<&String>,
    ) -> Result<Option<jetstream::Config>> {
        self.stream(nats, name, None, None, None)
    }

    /// How to serve.
    pub(crate) fn serve(&self, args: &args::Serve) -> Result<Serve> {
        let file = &self.file;
        let listen = self.text(args.listen.as_ref(), "BAILIWICK_LISTEN", file.listen.as_ref());
        let pg = self.text(args.pg_listen.as_ref(), "BAILIWICK_PG_LISTEN", file.pg_listen.as_ref());
        let cert = self.path(args.tls_cert.as_ref(), "BAILIWICK_TLS_CERT", file.tls_cert.as_ref());
        let key = self.path(args.tls_key.as_ref(), "BAILIWICK_TLS_KEY", file.tls_key.as_ref());
        let tls = match (cert, key) {
            (Some(cert), Some(key)) => Some(bailiwick_api::server::Tls { cert, key }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(usage("TLS needs both a certificate and its key"));
            }
        };
        let stream = self.stream(
            args.nats.as_ref(),
            args.name.as_ref(),
            args.replicas.as_ref(),
            args.nats_creds.as_ref(),
            args.nats_ca.as_ref(),
        )?;
        let allow_plain =
            self.is_set(args.allow_plain, "BAILIWICK_ALLOW_PLAIN", file.allow_plain)?;
        let public =
            self.text(args.public_url.as_ref(), "BAILIWICK_PUBLIC_URL", file.public_url.as_ref());
        Ok(Serve {
            ledger: LedgerConfig {
                home: self.data(args.data.as_ref()),
                store: stream.map_or(Store::Embedded, Store::JetStream),
                name: self.name(args.name.as_ref())?,
                trust_head: args.trust_head,
                trust_clock: args.trust_clock,
                linger: LINGER,
            },
            listen: parsed("the address", listen.as_deref().unwrap_or(LISTEN))?,
            pg_listen: pg.map(|text| parsed("the address", &text)).transpose()?,
            tls,
            allow_plain,
            public_url: public.map(|url| url.trim_end_matches('/').to_owned()),
            issuers: file.issuers.iter().map(issuers::Written::issuer).collect::<Result<_>>()?,
            archive: self.archive(args.data.as_ref(), &args.archive)?,
            sql: self.sql(args.data.as_ref(), &args.sql)?,
            checkpoint_every: self.checkpoint_every(args.checkpoint_every.as_ref())?,
            bench: false,
        })
    }

    fn checkpoint_every(&self, flag: Option<&String>) -> Result<Option<Duration>> {
        let file = self.file.checkpoint_every.as_ref();
        match self.text(flag, "BAILIWICK_CHECKPOINT_EVERY", file).as_deref() {
            None => Ok(Some(CHECKPOINT_EVERY)),
            Some("never") => Ok(None),
            Some(text) => match parsed::<Span>("the time between checkpoints", text)? {
                Span(0) => Err(usage("checkpoints are some time apart; `never` is none at all")),
                every => Ok(Some(Duration::from_millis(every.0))),
            },
        }
    }

    /// Where a running server is.
    pub(crate) fn sources(&self, access: &args::Access) -> Sources {
        Sources {
            url: self.text(access.url.as_ref(), "BAILIWICK_URL", self.file.url.as_ref()),
            key: self.text(access.key.as_ref(), "BAILIWICK_KEY", None),
            data: self.data(access.data.as_ref()),
        }
    }
}

fn parsed<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T> {
    text.parse().map_err(|e| usage(format!("{what} `{text}`: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings<'a>(
        toml: &str,
        env: &'a dyn Fn(&str) -> Option<String>,
    ) -> Result<Surroundings<'a>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("b.toml");
        std::fs::write(&path, toml)?;
        Surroundings::read(Some(&path), env)
    }

    fn no_env(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn flags_are_stronger_than_the_environment_and_that_is_stronger_than_the_file() {
        let env = |name: &str| match name {
            "BAILIWICK_NAME" => Some("env".to_owned()),
            "BAILIWICK_LISTEN" => Some("127.0.0.1:2".to_owned()),
            _ => None,
        };
        let toml = "name = \"file\"\nlisten = \"127.0.0.1:1\"\nnats = \"nats://n:1\"\nreplicas = 3";
        let around = surroundings(toml, &env).unwrap();
        let flags = args::Serve { name: Some("flag".to_owned()), ..args::Serve::default() };
        let serve = around.serve(&flags).unwrap();
        assert_eq!((serve.ledger.name.as_str(), serve.listen.port()), ("flag", 2));
        let Store::JetStream(stream) = serve.ledger.store else { panic!("not on NATS") };
        assert_eq!((stream.url.as_str(), stream.replicas), ("nats://n:1", 3));
    }

    #[test]
    fn without_a_word_it_is_the_embedded_log_on_loopback() {
        let serve = surroundings("", &no_env).unwrap().serve(&args::Serve::default()).unwrap();
        assert_eq!(serve.listen.to_string(), LISTEN);
        assert_eq!(serve.pg_listen, None);
        assert!(matches!(serve.ledger.store, Store::Embedded) && !serve.allow_plain);
        assert_eq!((serve.ledger.home, serve.ledger.name.as_str()), (DATA.into(), NAME));
    }

    #[test]
    fn paths_in_a_file_count_from_its_directory() {
        let around = surroundings("data = \"d\"", &no_env).unwrap();
        assert!(around.data(None).is_absolute() && around.data(None).ends_with("d"));
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for toml in [
            "listen = \"here\"",
            "pg_listen = \"5433\"",
            "name = \"a.b\"",
            "nats = \"nats://n\"\nreplicas = 2",
            "tls_cert = \"c\"",
            "unknown = 1",
            "[[issuers]]\nissuer = \"https://a\"\nalgorithms = [\"HS256\"]",
            "[[issuers]]\naudience = \"a\"",
            "name = ",
        ] {
            let serve = surroundings(toml, &no_env)
                .and_then(|around| around.serve(&args::Serve::default()).map(|_| ()));
            let error = serve.unwrap_err();
            assert_eq!(crate::exit::exit_code(&error), 2, "{toml}: {error}");
        }
    }
}
