//! JSON-RPC 2.0 frames as MCP sends them: one message, one line.
//!
//! The gate decides about a message and then passes on the very same bytes, so it has to see in
//! them what the server will see, whatever parser that server uses. Bytes on which parsers differ
//! are refused: a member twice in one object, a member that is another one in other letters (some
//! parsers ignore case), a carriage return inside the line (some readers end a line there), text
//! that is not UTF-8, a batch, and nesting or length beyond what anyone sends.

mod lines;
mod members;

use std::fmt;

use bailiwick_core::json::{self, Limits};
use serde_json::value::RawValue;

pub use lines::{Line, Lines};
pub(crate) use members::{Members, members, twin};

/// The most bytes of a message from the client.
pub const CLIENT_FRAME_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// The most bytes of a message from the server; results hold files and pictures.
pub const SERVER_FRAME_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// How large and how deep a client's message may be. Arguments have limits of their own, see
/// [`ARGUMENTS`].
pub const CLIENT_LIMITS: Limits = Limits { bytes: CLIENT_FRAME_BYTES_MAX, depth: 64 };
/// How large and how deep a call's arguments may be: what the ledger's door takes, less what
/// stands around them there.
pub const ARGUMENTS: Limits =
    Limits { bytes: json::LIMITS.bytes - 32 * 1_024, depth: json::LIMITS.depth - 4 };
/// The most bytes of a request's id; it is repeated in answers.
pub const ID_BYTES_MAX: usize = 256;

/// JSON-RPC: what was sent is no JSON.
pub const PARSE_ERROR: i32 = -32_700;
/// JSON-RPC: what was sent is no message.
pub const INVALID_REQUEST: i32 = -32_600;
/// JSON-RPC: nothing here answers to that method.
pub const METHOD_NOT_FOUND: i32 = -32_601;
/// JSON-RPC: the method does not take these parameters.
pub const INVALID_PARAMS: i32 = -32_602;
/// JSON-RPC: it cannot be done now. Also the answer when nobody can decide.
pub const INTERNAL_ERROR: i32 = -32_603;

/// The members of a message; a member that differs from one of them in case alone is refused.
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
/// The members of a tool call's parameters.
const CALL_MEMBERS: [&str; 4] = ["name", "arguments", "_meta", "task"];

/// A request's id: compared by what it says, repeated as it was written.
#[derive(Debug, Clone)]
pub struct Id {
    key: Key,
    text: Box<str>,
}

/// What an id says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A whole number.
    Number(i64),
    /// A string, unescaped.
    Text(String),
}

impl Id {
    /// Reads an id; none when it is neither a whole number nor a short string.
    pub(crate) fn parse(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        if text.len() > ID_BYTES_MAX {
            return None;
        }
        let key = if text.starts_with('"') {
            Key::Text(serde_json::from_str(text).ok()?)
        } else {
            Key::Number(serde_json::from_str(text).ok()?)
        };
        Some(Self { key, text: text.into() })
    }

    /// What to compare by.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The id as it was written, JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One message.
#[derive(Debug)]
pub enum Frame<'a> {
    /// Wants an answer.
    Request {
        /// Under this id.
        id: Id,
        /// What is wanted.
        method: String,
        /// With what.
        params: Option<&'a RawValue>,
    },
    /// Wants none.
    Notification {
        /// What is said.
        method: String,
        /// With what.
        params: Option<&'a RawValue>,
    },
    /// Is one.
    Response {
        /// To the request of this id.
        id: Id,
        /// What came of it.
        outcome: Reply<'a>,
    },
}

/// What a response says.
#[derive(Debug)]
pub enum Reply<'a> {
    /// The method's result.
    Result(&'a RawValue),
    /// A JSON-RPC error.
    Error(&'a RawValue),
}

/// A message that is none, with what to answer.
#[derive(Debug)]
pub struct Bad {
    /// The request's id, if it could be read and an answer is due.
    pub id: Option<Id>,
    /// JSON-RPC error code.
    pub code: i32,
    /// What is wrong.
    pub message: String,
}

impl Bad {
    fn new(id: Option<Id>, code: i32, message: impl Into<String>) -> Self {
        Self { id, code, message: message.into() }
    }
}

/// Reads a client's message strictly: what passes means the same to every parser.
///
/// # Errors
/// [`Bad`] with the answer that is due.
pub fn parse_strictly(line: &[u8]) -> Result<Frame<'_>, Bad> {
    let parse_error = |why: String| Bad::new(None, PARSE_ERROR, why);
    let text = str::from_utf8(line).map_err(|e| parse_error(format!("not UTF-8: {e}")))?;
    if text.trim_end_matches('\r').contains('\r') {
        return Err(parse_error("a carriage return inside a message".to_owned()));
    }
    if text.trim_start().starts_with('[') {
        return Err(Bad::new(None, INVALID_REQUEST, "batches are not supported"));
    }
    json::parse_strict(line, CLIENT_LIMITS).map_err(|e| parse_error(e.to_string()))?;
    let frame = parse(text)?;
    match &frame {
        Frame::Request { id, params: Some(params), .. } if !is_object_or_null(params) => {
            Err(Bad::new(Some(id.clone()), INVALID_PARAMS, "`params` is not an object"))
        }
        Frame::Request { .. } | Frame::Notification { .. } | Frame::Response { .. } => Ok(frame),
    }
}

/// Reads a message by its outermost members alone. For the server's messages, which are passed on
/// and not decided about.
///
/// # Errors
/// [`Bad`], whose code is of use to nobody: servers are not answered.
pub fn parse_lightly(line: &[u8]) -> Result<Frame<'_>, Bad> {
    let text = str::from_utf8(line).map_err(|e| Bad::new(None, PARSE_ERROR, e.to_string()))?;
    parse(text)
}

fn parse(text: &str) -> Result<Frame<'_>, Bad> {
    let members = members(text).map_err(|e| {
        let code = if e.is_data() { INVALID_REQUEST } else { PARSE_ERROR };
        Bad::new(None, code, format!("not a message: {e}"))
    })?;
    let invalid = |id, why: &str| Bad::new(id, INVALID_REQUEST, why);
    if let Some(twin) = twin(&members, &MEMBERS) {
        return Err(invalid(None, &format!("`{twin}` is a known member in other letters")));
    }
    let id = match members.get("id") {
        None => None,
        Some(raw) => match Id::parse(raw) {
            Some(id) => Some(id),
            None => return Err(invalid(None, "`id` is neither a short string nor a whole number")),
        },
    };
    if members.get("jsonrpc").is_none_or(|raw| raw.get() != "\"2.0\"") {
        return Err(invalid(id, "`jsonrpc` is not \"2.0\""));
    }
    let params = members.get("params").copied();
    let answers = (members.get("result").copied(), members.get("error").copied());
    let method = match members.get("method") {
        None => None,
        Some(raw) => match serde_json::from_str::<String>(raw.get()) {
            Ok(method) => Some(method),
            Err(_) => return Err(invalid(id, "`method` is not a string")),
        },
    };
    match (method, id, answers) {
        (Some(method), Some(id), (None, None)) => Ok(Frame::Request { id, method, params }),
        (Some(method), None, (None, None)) => Ok(Frame::Notification { method, params }),
        (None, Some(id), (Some(result), None)) => {
            Ok(Frame::Response { id, outcome: Reply::Result(result) })
        }
        (None, Some(id), (None, Some(error))) => {
            Ok(Frame::Response { id, outcome: Reply::Error(error) })
        }
        (_, id, _) => Err(invalid(id, "neither a request, a notification nor a response")),
    }
}

/// The parts of a tool call that the gate looks at.
#[derive(Debug)]
pub struct ToolCall<'a> {
    /// The tool's name at its server.
    pub name: String,
    /// The arguments, an object, as they stand on the wire.
    pub arguments: Option<&'a RawValue>,
    /// What the client says about the request, if anything.
    pub meta: Option<&'a RawValue>,
}

/// Reads the parameters of `tools/call`.
///
/// # Errors
/// What is wrong with them, in words; the answer is [`INVALID_PARAMS`].
pub fn parse_call(params: Option<&RawValue>) -> Result<ToolCall<'_>, String> {
    let params = params.ok_or("`params` is missing")?;
    let members = members(params.get()).map_err(|_| "`params` is not an object")?;
    if let Some(twin) = twin(&members, &CALL_MEMBERS) {
        return Err(format!("`{twin}` is a known member in other letters"));
    }
    if members.contains_key("task") {
        return Err(
            "a call as a task is not let through: it would outlive its permission".to_owned()
        );
    }
    let name = members.get("name").ok_or("`name` is missing")?;
    let name = serde_json::from_str(name.get()).map_err(|_| "`name` is not a string")?;
    let arguments = members.get("arguments").copied();
    match arguments {
        Some(raw) if !raw.get().starts_with('{') => Err("`arguments` is not an object".to_owned()),
        Some(raw) if json::parse_strict(raw.get().as_bytes(), ARGUMENTS).is_err() => {
            Err("`arguments` is too large or nested too deep".to_owned())
        }
        Some(_) | None => Ok(ToolCall { name, arguments, meta: members.get("_meta").copied() }),
    }
}

fn is_object_or_null(raw: &RawValue) -> bool {
    raw.get().starts_with('{') || raw.get() == "null"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &[u8]) -> (i32, Option<String>) {
        match parse_strictly(line) {
            Ok(frame) => panic!("{frame:?} was read from {}", line.escape_ascii()),
            Err(bad) => (bad.code, bad.id.map(|id| id.to_string())),
        }
    }

    #[test]
    fn requests_notifications_and_responses_are_told_apart() {
        let of = |text: &'static str| match parse_strictly(text.as_bytes()).unwrap() {
            Frame::Request { id, method, .. } => format!("request {id} {method}"),
            Frame::Notification { method, .. } => format!("notification {method}"),
            Frame::Response { id, outcome: Reply::Result(r) } => format!("result {id} {r}"),
            Frame::Response { id, outcome: Reply::Error(e) } => format!("error {id} {e}"),
        };
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), "request 1 ping");
        assert_eq!(of(r#"{"method":"x","id":"\u0061","jsonrpc":"2.0"}"#), r#"request "\u0061" x"#);
        assert_eq!(
            of(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#),
            "notification notifications/x"
        );
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":1,"result":{"a": 1}}"#), r#"result 1 {"a": 1}"#);
        assert_eq!(of("{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{}}\r"), "error 1 {}");
    }

    #[test]
    fn ids_are_compared_by_what_they_say() {
        let key = |text: &str| {
            Id::parse(&RawValue::from_string(text.to_owned()).unwrap()).map(|id| id.key)
        };
        assert_eq!(key(r#""a""#), key(r#""\u0061""#));
        assert_ne!(key("1"), key(r#""1""#));
        for bad in [
            "null",
            "1.5",
            "1e2",
            "true",
            "{}",
            "99999999999999999999",
            &format!("\"{}\"", "x".repeat(300)),
        ] {
            assert_eq!(key(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_json_gets_a_parse_error() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{}{}}}"#,
            "[".repeat(70),
            "]".repeat(70)
        );
        let cases: [&[u8]; 10] = [
            b"{",
            b"hello",
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}",
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"ping\"}",
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{\"a\":{\"b\":1,\"\\u0062\":2}}}",
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":\r{\"jsonrpc\":\"2.0\"}}",
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\"} {}",
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\\ud800\"}",
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\x00b\"}",
            deep.as_bytes(),
        ];
        for line in cases {
            assert_eq!(refused(line), (PARSE_ERROR, None), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_message_gets_invalid_request_under_its_id() {
        let cases = [
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, None),
            ("42", None),
            (r#"{"jsonrpc":"2.0"}"#, None),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, None),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, None),
            (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, Some("1")),
            (r#"{"id":1,"method":"ping"}"#, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{}}"#, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#, None),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","paramſ":{}}"#, None),
        ];
        for (line, id) in cases {
            assert_eq!(
                refused(line.as_bytes()),
                (INVALID_REQUEST, id.map(str::to_owned)),
                "{line}"
            );
        }
    }

    #[test]
    fn parameters_are_an_object() {
        let line = br#"{"jsonrpc":"2.0","id":"a","method":"ping","params":[1]}"#;
        assert_eq!(refused(line), (INVALID_PARAMS, Some("\"a\"".to_owned())));
    }

    #[test]
    fn a_call_is_read_without_touching_its_arguments() {
        let raw = RawValue::from_string(
            r#"{"name":"t","arguments":{ "a" : 1.0 },"_meta":{}}"#.to_owned(),
        )
        .unwrap();
        let call = parse_call(Some(&raw)).unwrap();
        assert_eq!((call.name.as_str(), call.arguments.unwrap().get()), ("t", r#"{ "a" : 1.0 }"#));
    }

    #[test]
    fn a_call_that_could_be_read_in_two_ways_is_refused() {
        for bad in [
            "null",
            "{}",
            r#"{"name":1}"#,
            r#"{"name":"t","arguments":[]}"#,
            r#"{"name":"t","arguments":null}"#,
            r#"{"name":"t","Arguments":{}}"#,
            r#"{"name":"t","argumentſ":{}}"#,
            r#"{"name":"t","task":{}}"#,
        ] {
            let raw = RawValue::from_string(bad.to_owned()).unwrap();
            assert!(parse_call(Some(&raw)).is_err(), "{bad}");
        }
        assert!(parse_call(None).is_err());
    }
}
