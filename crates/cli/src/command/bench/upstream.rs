//! `bailiwick bench upstream`: a small real MCP server that remembers when it was used.
//!
//! It stands where an agent's effect happens, behind the gateway: each `tools/call` is written to a
//! file before it is answered. What the file does not hold has not happened.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::clock;

/// Bytes of one use in the file: who, and when; both little-endian.
pub(super) const USE_BYTES: usize = 16;
const METHOD_NOT_FOUND: i32 = -32_601;

/// Arguments of `bench upstream`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// File that uses are appended to.
    #[arg(long, value_name = "FILE")]
    uses: PathBuf,
    /// Whose uses they are.
    #[arg(long)]
    agent: u64,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// Serves on standard streams until the client closes its side.
pub(super) fn run(args: &Args) -> Result<()> {
    let uses = OpenOptions::new().append(true).create(true).open(&args.uses);
    let mut uses = uses.with_context(|| format!("cannot open `{}`", args.uses.display()))?;
    let mut to = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let Ok(message) = serde_json::from_str::<Message<'_>>(&line) else { continue };
        let (Some(id), Some(method)) = (message.id, &message.method) else { continue };
        let answer = answer(method, message.params, args.agent, &mut uses)?;
        let text = match answer {
            Ok(result) => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n"),
            Err(error) => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}\n"),
        };
        to.write_all(text.as_bytes())?;
        to.flush()?;
    }
    Ok(())
}

/// The result, or the error, of one request.
fn answer(
    method: &str,
    params: Option<&RawValue>,
    agent: u64,
    uses: &mut File,
) -> Result<std::result::Result<Value, Value>> {
    Ok(Ok(match method {
        "initialize" => {
            let asked = params.and_then(|params| serde_json::from_str::<Value>(params.get()).ok());
            let version =
                asked.and_then(|mut params| params.get_mut("protocolVersion").map(Value::take));
            json!({
                "protocolVersion": version, "capabilities": {"tools": {}},
                "serverInfo": {"name": "bench", "version": env!("CARGO_PKG_VERSION")},
            })
        }
        "ping" => json!({}),
        "tools/list" => json!({"tools": [{
            "name": "use", "description": "Uses a case.",
            "inputSchema": {
                "type": "object", "properties": {"case": {"type": "string"}}, "required": ["case"],
            },
            "annotations": {"readOnlyHint": true},
        }]}),
        "tools/call" => {
            uses.write_all(&record(agent, clock::now())).context("a use cannot be written")?;
            json!({"content": [{"type": "text", "text": "used"}]})
        }
        _ => return Ok(Err(json!({"code": METHOD_NOT_FOUND, "message": "no such method"}))),
    }))
}

fn record(agent: u64, at: u64) -> [u8; USE_BYTES] {
    let mut record = [0; USE_BYTES];
    record[..8].copy_from_slice(&agent.to_le_bytes());
    record[8..].copy_from_slice(&at.to_le_bytes());
    record
}
