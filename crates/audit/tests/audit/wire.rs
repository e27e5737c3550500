//! The PostgreSQL wire, spoken by hand: steps of the extended protocol, what is malformed, TLS, and
//! what whoever serves hears of it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bailiwick_audit::pg::{
    Asked, Config, Doorkeeper, Refused, SESSIONS_MAX, Server, Tls, Verifier,
};
use bailiwick_audit::{Limits, pg};

use crate::story::Story;

#[path = "wire/client.rs"]
mod client;

use client::{Client, KEY, SALT};

/// Lets in `reader`, knows `agent`, and keeps what was asked.
#[derive(Debug, Default)]
struct Door {
    asked: Mutex<Vec<(String, Asked)>>,
    turned_away: Mutex<Vec<(String, &'static str)>>,
    closed: Mutex<bool>,
}

impl Doorkeeper for Door {
    fn verifier(&self, user: &str) -> Result<Verifier, Refused> {
        match user {
            "reader" | "agent" => Ok(client::verifier()),
            "old" => Err(Refused::NoVerifier),
            _ => Err(Refused::Unknown),
        }
    }

    fn may_read(&self, user: &str) -> Result<(), Refused> {
        match (user, *self.closed.lock().unwrap()) {
            ("reader", false) => Ok(()),
            ("agent", _) => Err(Refused::NotPermitted { role: "agent".to_owned() }),
            _ => Err(Refused::Unknown),
        }
    }

    fn head(&self) -> Option<u64> {
        None
    }

    fn turned_away(&self, user: &str, code: &'static str) {
        self.turned_away.lock().unwrap().push((user.to_owned(), code));
    }

    fn asked(&self, user: &str, asked: &Asked) {
        self.asked.lock().unwrap().push((user.to_owned(), asked.clone()));
    }
}

fn config() -> Config {
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: None,
        allow_plain: false,
        limits: Limits::INTERACTIVE,
    }
}

fn serve_with(config: &Config) -> (Server, Arc<Door>) {
    let door = Arc::new(Door::default());
    let audit = Arc::new(Story::begin().audit());
    (pg::serve(config, audit, Arc::clone(&door) as _).unwrap(), door)
}

fn served() -> (Server, Arc<Door>, Client) {
    let (server, door) = serve_with(&config());
    let client = Client::login(&server, "reader", KEY).unwrap();
    (server, door, client)
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../api/tests/fixtures")).join(name)
}

#[test]
fn only_a_proof_of_the_key_lets_in() {
    let (server, door) = serve_with(&config());
    assert!(Client::login(&server, "reader", KEY).is_ok());
    assert_eq!(*door.turned_away.lock().unwrap(), []);
    for (user, key, state) in [
        ("reader", "another", "28P01"),
        ("nobody", KEY, "28P01"),
        ("agent", "another", "28P01"),
        ("agent", KEY, "42501"),
        ("old", KEY, "28000"),
    ] {
        let refused = Client::login(&server, user, key).unwrap_err();
        assert_eq!(refused.state, state, "{user} {refused:?}");
    }
    let turned_away = std::mem::take(&mut *door.turned_away.lock().unwrap());
    let codes: Vec<_> = turned_away.iter().map(|(user, code)| (user.as_str(), *code)).collect();
    let wrong = "credential_invalid";
    let old = "pg_credential_without_verifier";
    assert_eq!(
        codes,
        [
            ("reader", wrong),
            ("nobody", wrong),
            ("agent", wrong),
            ("agent", "not_permitted"),
            ("old", old),
        ]
    );
    // Whoever has no key cannot tell a name that is known from one that is not.
    let salt = |user: &str| Client::salt(&server, user);
    assert_eq!(salt("reader"), SALT);
    assert_eq!((salt("nobody").len(), salt("nobody")), (SALT.len(), salt("nobody")));
    assert_ne!(salt("nobody"), salt("somebody"));
}

#[test]
fn steps_of_the_extended_protocol() {
    let (_server, _, mut client) = served();
    client.parse("s", "select seq, kind from events where seq < $1 order by seq", &[]);
    client.describe(b'S', "s");
    client.bind("p", "s", &[Some("100")]);
    client.describe(b'P', "p");
    client.execute("p", 2);
    client.execute("p", 1);
    client.execute("p", 0);
    let said = client.sync();
    let kinds: String = said.iter().map(|(kind, _)| char::from(*kind)).collect();
    // Parsed, parameters and columns, bound, columns, two rows and a pause, no more and the tag.
    assert_eq!(kinds, "1tT2TDDsDSCCZ", "{said:?}");
    assert_eq!(said[1].1, [0, 1, 0, 0, 0, 20], "one parameter, an int8");
    let tags: Vec<_> = said.iter().filter(|(kind, _)| *kind == b'C').collect();
    assert_eq!(tags[0].1, b"SELECT 3\0");
    assert_eq!(tags[1].1, b"SELECT 0\0");
}

#[test]
fn after_an_error_everything_is_passed_over_until_the_client_takes_note() {
    let (_server, _, mut client) = served();
    for (send, state) in [
        ((|c: &mut Client| c.execute("none", 0)) as fn(&mut Client), "34000"),
        (|c| c.bind("", "none", &[]), "26000"),
        (|c| c.describe(b'P', "none"), "34000"),
        (|c| c.parse("", "select * from nothing", &[]), "42P01"),
        (|c| c.parse("", "begin; commit", &[]), "42601"),
        (
            |c| {
                c.parse("", "select $1::int8", &[]);
                c.bind("", "", &[]);
                c.execute("", 0);
            },
            "22P02",
        ),
        (
            |c| {
                c.parse("", "select $1::int8", &[20]);
                c.bind("", "", &[Some("x")]);
            },
            "22P02",
        ),
        (
            |c| {
                c.parse("", "select $1", &[600]);
                c.bind("", "", &[Some("(1,2)")]);
            },
            "22P02",
        ),
        (
            |c| {
                c.parse("twice", "select 1", &[]);
                c.parse("twice", "select 1", &[]);
            },
            "42P05",
        ),
        (|c| c.send(b'F', &[0; 8]), "08P01"),
    ] {
        send(&mut client);
        client.parse("", "select 1", &[]);
        client.bind("", "", &[]);
        client.execute("", 0);
        let said = client.sync();
        let errors: Vec<_> = said.iter().filter(|(kind, _)| *kind == b'E').collect();
        assert_eq!(errors.len(), 1, "{said:?}");
        assert_eq!(client::fault(&errors[0].1).state, state);
        assert!(!said.iter().any(|(kind, _)| *kind == b'D'), "{said:?}");
        assert_eq!(client.texts("select 1"), [["1"]]);
    }
}

#[test]
fn values_come_in_the_form_that_was_asked_for() {
    let (_server, _, mut client) = served();
    client.parse("", "select seq, kind from events order by seq limit 1", &[]);
    client.bind_as("", "", &[], &[1]);
    client.execute("", 0);
    let said = client.sync();
    let row = said.iter().find(|(kind, _)| *kind == b'D').unwrap();
    let expected = [&[0, 2, 0, 0, 0, 8][..], &[0; 8], &[0, 0, 0, 14], b"ledger.created"].concat();
    assert_eq!(row.1, expected);
    for formats in [&[2][..], &[0, 0, 0]] {
        client.bind_as("", "", &[], formats);
        client.execute("", 0);
        let said = client.sync();
        let error = said.iter().find(|(kind, _)| *kind == b'E').unwrap();
        assert_eq!(client::fault(&error.1).state, "08P01", "{formats:?}");
    }
}

#[test]
fn what_a_session_may_hold_is_bounded() {
    let (_server, _, mut client) = served();
    for number in 0..300 {
        client.parse(&format!("s{number}"), "select 1", &[]);
    }
    let said = client.sync();
    let error = said.iter().find(|(kind, _)| *kind == b'E').unwrap();
    assert_eq!(client::fault(&error.1).state, "53400");
    assert_eq!(client.texts("deallocate all"), Vec::<Vec<String>>::new());
    client.query("begin");
    for number in 0..40 {
        client.bind(&format!("p{number}"), "", &[]);
    }
    client.parse("", "select 1", &[]);
    let said = client.sync();
    assert_eq!(client::fault(&said[0].1).state, "26000", "statements are gone: {said:?}");
    client.query("rollback");
    client.parse("", "select 1", &[]);
    for number in 0..40 {
        client.bind(&format!("p{number}"), "", &[]);
    }
    let said = client.sync();
    let error = said.iter().find(|(kind, _)| *kind == b'E').unwrap();
    assert_eq!(client::fault(&error.1).state, "53400");
}

#[test]
fn malformed_and_oversized_messages_end_the_session_and_nobody_elses() {
    let (server, _, mut other) = served();
    for bytes in [
        vec![b'Q', 127, 255, 255, 255],
        vec![b'Q', 0, 0, 0, 3],
        vec![b'Q', 255, 255, 255, 255],
        vec![b'P', 0, 0, 0, 6, 0, 0],
        vec![b'B', 0, 0, 0, 12, 0, 0, 0, 0, 255, 255, 0, 0],
        vec![b'?', 0, 0, 0, 4],
    ] {
        let mut client = Client::login(&server, "reader", KEY).unwrap();
        client.raw(&bytes);
        let (kind, body) = client.receive().unwrap();
        assert_eq!((kind, client::fault(&body).state.as_str()), (b'E', "08P01"), "{bytes:?}");
        assert!(client.receive().is_none(), "{bytes:?}");
    }
    let long = format!("select '{}'", "x".repeat(100_000));
    assert_eq!(other.refused(&long).state, "54000");
    assert_eq!(other.texts("select 1"), [["1"]]);
}

#[test]
fn questions_about_the_session_and_the_schema_are_answered_without_a_table() {
    let (_server, _, mut client) = served();
    for (sql, answer) in [
        ("select current_schema", "public"),
        ("select current_schema()", "public"),
        ("select current_user", "reader"),
        ("select current_database()", "bailiwick"),
        ("select 'events'::regclass::oid = 'public.events'::regclass::oid", "t"),
        ("select oid::regclass::text from pg_class where relname = 'events'", "events"),
        ("select 'bigint'::regtype::oid", "20"),
        ("select format_type(1184, null)", "timestamp with time zone"),
        ("select pg_typeof(1)", "bigint"),
        ("select has_table_privilege('events', 'select')", "t"),
        ("select has_table_privilege('events', 'insert')", "f"),
        ("select quote_ident('Up')", "\"Up\""),
        ("select current_setting('timezone')", "UTC"),
        ("show bailiwick.as_of_seq", ""),
        ("select count(*) from pg_index", "0"),
        (
            "select count(*) from pg_catalog.pg_attribute where attrelid = 'events'::regclass and attname = 'seq'",
            "1",
        ),
        ("select exists (select 1 from pg_index)", "f"),
        (
            "select nspname from pg_namespace where nspname not like 'pg/_%' escape '/' and nspname <> 'information_schema'",
            "public",
        ),
    ] {
        assert_eq!(client.texts(sql), [[answer]], "{sql}");
    }
}

/// Quotes in quotes double with each call, and so does what is put in the place of a letter.
#[test]
fn what_questions_about_the_schema_make_is_bounded_too() {
    let (_server, _, mut client) = served();
    let made = |begin: &str, each: &str| {
        let first = format!("with q0 as (select relname || '{begin}' as x from pg_class)");
        let names = (1..=38)
            .fold(first, |sql, n| format!("{sql}, q{n} as (select {each} as x from q{})", n - 1));
        format!("{names} select x from q38")
    };
    for (begin, each) in [
        ("''", "quote_literal(x)"),
        ("\"", "quote_ident(x)"),
        ("a", "replace(x, 'a', 'aaaaaaaaaaaaaaaaaaaaaaaa')"),
        ("a", "concat(x, quote_literal(x))"),
    ] {
        let refused = client.refused(&made(begin, each));
        assert_eq!(refused.detail, "code: sql_memory", "{each}");
    }
    let written = "select quote_literal('it''s') || quote_ident('A')";
    assert_eq!(client.texts(written), [["'it''s'\"A\""]]);
    let named = "select count(*) from pg_class where replace(relname, 'a', 'b') = 'cblls'";
    assert_eq!(client.texts(named), [["1"]]);
    // A long text on each of a few rows, more than once in a batch.
    let text = "t".repeat(60_000);
    let rows = client.texts(&format!("select seq, '{text}' from events limit 3"));
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row[1].len() == 60_000));
}

/// As long and as deep as they may be, about the schema too, they are answered or refused, on the
/// stack that there is.
#[test]
fn the_longest_questions_about_the_schema_end() {
    let (_server, _, mut client) = served();
    let chains = [
        format!("select version(){}", " || 'a'".repeat(398)),
        format!("select oid from pg_class where oid = 1{}", " or oid = 1".repeat(198)),
        format!("select current_user{}", "::text".repeat(390)),
        format!("select 1 from pg_class{}", " union all select 1 from pg_class".repeat(190)),
        format!("select {}version(){}", "(".repeat(25), ")".repeat(25)),
    ];
    for sql in chains {
        let said = client.query(&sql);
        assert!(said.iter().any(|(kind, _)| *kind == b'T'), "{} {said:?}", &sql[..50]);
        assert_eq!(client.texts("select 1"), [["1"]]);
    }
    let longer = format!("select version(){}", " || 'a'".repeat(500));
    assert_eq!(client.refused(&longer).detail, "code: sql_too_deep");
    let mut nested = "select oid from pg_class".to_owned();
    for _ in 0..30 {
        nested = format!("select max(oid) from pg_class where oid in ({nested})");
    }
    client.query(&nested);
    assert_eq!(client.texts("select 1"), [["1"]]);
}

#[test]
fn sessions_are_counted_and_there_is_room_again() {
    let (server, _) = serve_with(&config());
    let mut sessions: Vec<Client> =
        (0..SESSIONS_MAX).map(|_| Client::login(&server, "reader", KEY).unwrap()).collect();
    assert_eq!(Client::login(&server, "reader", KEY).unwrap_err().state, "53300");
    sessions.pop().unwrap().end();
    let began = std::time::Instant::now();
    while Client::login(&server, "reader", KEY).is_err() {
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "there is no room again");
    }
    assert_eq!(sessions[0].texts("select 1"), [["1"]]);
}

#[test]
fn whoever_serves_hears_of_each_question_to_the_tables() {
    let (_server, door, mut client) = served();
    client.texts("select seq from events order by seq");
    client.texts("select version()");
    client.texts("show timezone");
    client.refused("select * from nothing");
    client.refused("select 1 / (seq - seq) from events");
    let asked = door.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2, "{asked:?}");
    let (user, first) = &asked[0];
    assert_eq!((user.as_str(), first.rows, first.failed), ("reader", 3, None));
    assert_eq!(first.as_of_seq, Some(2));
    assert!(first.bytes > 0);
    assert_eq!(first.sql_digest, client::digest("select seq from events order by seq"));
    assert_eq!((asked[1].1.rows, asked[1].1.failed), (0, Some("sql_failed")));
}

#[test]
fn a_session_is_answered_only_as_long_as_its_user_may_read() {
    let (_server, door, mut client) = served();
    client.parse("s", "select 1", &[]);
    client.sync();
    *door.closed.lock().unwrap() = true;
    assert_eq!(client.refused("select 1").state, "28P01");
    assert_eq!(client.refused("show timezone").state, "28P01");
    client.bind("", "s", &[]);
    client.execute("", 0);
    let said = client.sync();
    assert!(said.iter().any(|(kind, _)| *kind == b'E'), "{said:?}");
    assert!(!said.iter().any(|(kind, _)| *kind == b'D'), "{said:?}");
}

#[test]
fn a_stop_tells_those_who_are_silent() {
    let (server, _, mut client) = served();
    let address = server.local_addr();
    server.stop();
    // The address is free at once.
    drop(std::net::TcpListener::bind(address).unwrap());
    let (kind, body) = client.receive().unwrap();
    assert_eq!((kind, client::fault(&body).state.as_str()), (b'E', "57P01"));
    assert!(client.receive().is_none());
}

#[test]
fn other_machines_are_served_under_tls_or_by_an_explicit_word_only() {
    let everywhere = ([0, 0, 0, 0], 0).into();
    let audit = Arc::new(Story::begin().audit());
    let door: Arc<dyn Doorkeeper> = Arc::new(Door::default());
    let exposed = Config { listen: everywhere, ..config() };
    let refused = pg::serve(&exposed, Arc::clone(&audit), Arc::clone(&door)).unwrap_err();
    assert_eq!(refused.code(), "audit_wire");
    assert!(refused.to_string().contains("in the clear"), "{refused}");
    let tls = Some(Tls { cert: fixture("localhost.crt"), key: fixture("localhost.key") });
    for allowed in [
        Config { listen: everywhere, allow_plain: true, ..config() },
        Config { listen: everywhere, tls, ..config() },
    ] {
        pg::serve(&allowed, Arc::clone(&audit), Arc::clone(&door)).unwrap().stop();
    }
    for (cert, key) in [("missing.crt", "localhost.key"), ("localhost.crt", "localhost.crt")] {
        let tls = Some(Tls { cert: fixture(cert), key: fixture(key) });
        let refused = pg::serve(&Config { tls, ..config() }, Arc::clone(&audit), Arc::clone(&door));
        assert!(refused.unwrap_err().to_string().contains("cannot be used for TLS"));
    }
}

#[test]
fn with_a_certificate_nothing_is_served_in_the_clear() {
    let tls = Tls { cert: fixture("localhost.crt"), key: fixture("localhost.key") };
    let (server, _) = serve_with(&Config { tls: Some(tls), ..config() });
    let refused = Client::login(&server, "reader", KEY).unwrap_err();
    assert_eq!(
        (refused.state.as_str(), refused.detail.as_str()),
        ("28000", "code: pg_tls_required")
    );
    for direct in [false, true] {
        let root = fixture("localhost.crt");
        let mut client = Client::login_under_tls(&server, &root, direct, "reader", KEY).unwrap();
        assert_eq!(client.texts("select 1"), [["1"]], "direct: {direct}");
    }
    // What is sent along with the wish for TLS was never under it.
    let mut early = Client::connect(&server);
    early.raw(&[&[0, 0, 0, 8, 4, 210, 22, 47][..], &[0, 0, 0, 9, 0, 3, 0, 0, 0]].concat());
    assert_eq!(early.byte(), Some(b'S'));
    assert_eq!(early.byte(), None);
}
