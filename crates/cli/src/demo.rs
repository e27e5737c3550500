//! `bailiwick demo`: the founding scenario with real parts, each step of which is checked.
//!
//! One process holds the ledger, its tables and its HTTP server; the gateways and the MCP servers
//! behind them are children, started from this same executable exactly as an MCP client would.
//! `stage` sets the scene, `session` is the MCP client, `acts` is what happens, `teller` tells it.

mod acts;
mod session;
mod stage;
mod teller;

use anyhow::{Context as _, Result};

use crate::{args, command, show};
use stage::Stage;
use teller::Teller;

/// Runs the demo. It is an error if any step does not go as it must.
pub(crate) fn run(args: &args::Demo) -> Result<()> {
    let mut teller = Teller::new(args.json);
    let stage = Stage::set(args).context("the demo cannot begin")?;
    teller.begins(&stage);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let played = runtime.block_on(acts::play(&stage, &mut teller));
    let struck = stage.strike(played.is_ok())?;
    played?;
    let (home, stream) = (&struck.home, &struck.stream);

    teller.act("The proof");
    teller.says("The server is stopped. The whole chain is read again, and nothing is believed:");
    let verified = command::proof(home, stream.as_ref())?;
    for line in verified.lines() {
        teller.says(&line);
    }
    teller.expect(verified.summary.events > 0, "the chain verifies")?;
    match (struck.kept, stream) {
        (true, None) => {
            teller.says(&format!("Do it yourself: bailiwick verify {}", home.display()))
        }
        (true, Some(stream)) => {
            let (home, url, name) = (home.display(), &stream.url, &stream.name);
            teller.says(&format!(
                "Do it yourself: bailiwick verify {home} --nats {url} --name {name}"
            ));
        }
        (false, _) => teller.says(
            "Do it yourself: bailiwick demo --data demo-ledger && bailiwick verify demo-ledger",
        ),
    }
    teller.ends(&verified.json())
}

/// Runs what must not be interrupted by a reader who has seen enough.
fn tell(line: &str) -> Result<()> {
    Ok(show::line(line)?)
}
