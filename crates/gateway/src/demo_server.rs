//! A small real MCP server to stand in front of: support cases, tickets, signed downloads, mail.
//!
//! It does what such servers do in earnest, on data of its own: a case can be read, a ticket written,
//! an object signed for exactly one download within a minute, a mail sent, a case deleted. One case
//! holds a prompt injection, as real ones may. It checks nothing about who calls: that is the gate's.
//!
//! [`TOOLS`] is the mapping that goes with it; it names four servers' worth of actions:
//! `crm/list_cases`, `crm/read_case`, `crm/delete_case`, `tickets/write_ticket`,
//! `tickets/close_ticket`, `objects/sign`, `objects/download`, `mail/send`.

mod data;
mod tickets;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock, Implementation, ServerCapabilities, ServerConfig};
use rmcp::{ServerHandler, ServiceExt, tool, tool_handler, tool_router};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Error;
use data::{Data, OBJECTS};
use tickets::Tickets;

/// The mapping that goes with the demo server, as `tools.toml`.
pub const TOOLS: &str = include_str!("demo_server/tools.toml");

/// Serves on standard streams until the client closes its side.
///
/// With a `directory`, download tickets are good across processes, each still for one download: it
/// holds the signing key and the numbers of used tickets. All else is in memory and starts anew.
///
/// # Errors
/// [`Error::Demo`].
pub async fn run(directory: Option<PathBuf>) -> Result<(), Error> {
    let (from, to) = crate::stdio::streams();
    serve(directory, from, to).await
}

/// The same on any two streams.
///
/// # Errors
/// [`Error::Demo`].
pub async fn serve(
    directory: Option<PathBuf>,
    from: impl AsyncRead + Send + Unpin + 'static,
    to: impl AsyncWrite + Send + Unpin + 'static,
) -> Result<(), Error> {
    let failed = |why: String| Error::Demo { why };
    let tickets = Tickets::open(directory).map_err(|e| failed(e.to_string()))?;
    let server = Demo {
        data: Arc::new(Mutex::new(Data::new())),
        tickets: Arc::new(tickets),
        tool_router: Demo::tool_router(),
    };
    let running = server.serve((from, to)).await.map_err(|e| failed(e.to_string()))?;
    running.waiting().await.map_err(|e| failed(e.to_string()))?;
    Ok(())
}

#[derive(Clone)]
struct Demo {
    data: Arc<Mutex<Data>>,
    tickets: Arc<Tickets>,
    tool_router: ToolRouter<Self>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct CaseArguments {
    /// Number of the case, for instance `1234`.
    case_id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct TicketArguments {
    /// Number of the case, for instance `1234`.
    case_id: String,
    /// What the ticket says.
    text: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct CloseArguments {
    /// Number of the case, for instance `1234`.
    case_id: String,
    /// Number of the ticket within the case, for instance `1`.
    ticket: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct ObjectArguments {
    /// Name of the object, for instance `invoice-1234.txt`.
    object: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct DownloadArguments {
    /// Name of the object, for instance `invoice-1234.txt`.
    object: String,
    /// The ticket that `sign_object` gave for it.
    ticket: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct MailArguments {
    /// Whom to write to.
    to: String,
    /// What to write.
    body: String,
}

#[tool_router]
impl Demo {
    #[tool(
        description = "Lists the open support cases by number and subject.",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    async fn list_cases(&self) -> CallToolResult {
        done(self.data().list())
    }

    #[tool(
        description = "Reads one support case in full.",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    async fn read_case(&self, Parameters(call): Parameters<CaseArguments>) -> CallToolResult {
        answer(self.data().read(&call.case_id))
    }

    #[tool(
        description = "Deletes one support case for good.",
        annotations(read_only_hint = false, destructive_hint = true, open_world_hint = false)
    )]
    async fn delete_case(&self, Parameters(call): Parameters<CaseArguments>) -> CallToolResult {
        answer(self.data().delete(&call.case_id))
    }

    #[tool(
        description = "Writes a ticket on a support case.",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn write_ticket(&self, Parameters(call): Parameters<TicketArguments>) -> CallToolResult {
        answer(self.data().write_ticket(&call.case_id, call.text))
    }

    #[tool(
        description = "Closes a ticket of a support case.",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn close_ticket(&self, Parameters(call): Parameters<CloseArguments>) -> CallToolResult {
        answer(self.data().close_ticket(&call.case_id, call.ticket))
    }

    #[tool(
        description = "Signs a ticket that is good for one download of an object within a minute.",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn sign_object(&self, Parameters(call): Parameters<ObjectArguments>) -> CallToolResult {
        answer(match OBJECTS.iter().find(|(name, _)| *name == call.object) {
            Some((name, _)) => Ok(self.tickets.sign(name)),
            None => Err(format!("there is no object `{}`", call.object)),
        })
    }

    #[tool(
        description = "Downloads an object with a ticket that sign_object gave. A ticket is good once.",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn download_object(
        &self,
        Parameters(call): Parameters<DownloadArguments>,
    ) -> CallToolResult {
        answer(match OBJECTS.iter().find(|(name, _)| *name == call.object) {
            Some((name, content)) => {
                self.tickets.redeem(name, &call.ticket).map(|()| (*content).to_owned())
            }
            None => Err(format!("there is no object `{}`", call.object)),
        })
    }

    #[tool(
        description = "Sends a mail to anyone.",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = true
        )
    )]
    async fn send_mail(&self, Parameters(call): Parameters<MailArguments>) -> CallToolResult {
        answer(self.data().send_mail(&call.to, call.body))
    }

    fn data(&self) -> std::sync::MutexGuard<'_, Data> {
        // A panic half way leaves lists that are still lists.
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Demo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("bailiwick-demo", env!("CARGO_PKG_VERSION")))
            .with_instructions("A support desk: cases, tickets, signed downloads, mail.")
    }
}

fn answer(result: Result<String, String>) -> CallToolResult {
    match result {
        Ok(text) => done(text),
        Err(text) => CallToolResult::error(vec![ContentBlock::text(text)]),
    }
}

fn done(text: String) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::value::RawValue;

    use super::*;
    use crate::catalog::Hints;
    use crate::mapping::Mapping;

    #[test]
    fn every_tool_is_mapped_to_what_it_acts_on() {
        let mapping = Mapping::parse(TOOLS, None, Path::new("/")).unwrap();
        let arguments = r#"{"case_id":"1234","text":"t","ticket":1,"object":"invoice-1234.txt","to":"a@b.example","body":"b"}"#;
        let arguments = RawValue::from_string(arguments.to_owned()).unwrap();
        let mapped: Vec<_> = Demo::tool_router()
            .list_all()
            .iter()
            .map(|tool| {
                let mapped =
                    mapping.resolve(&tool.name, Some(&arguments), Hints::default()).unwrap();
                format!("{} {} {}", mapped.action, mapped.resource, mapped.effect.as_str())
            })
            .collect();
        for expected in [
            "crm/list_cases crm://case read",
            "crm/read_case crm://case/1234 read",
            "crm/delete_case crm://case/1234 destructive",
            "tickets/write_ticket tickets://case/1234 write",
            "tickets/close_ticket tickets://case/1234/1 write",
            "objects/sign objects://invoice-1234.txt write",
            "objects/download objects://invoice-1234.txt read",
            "mail/send mail://a@b.example external",
        ] {
            assert!(mapped.iter().any(|found| found == expected), "{expected}: {mapped:#?}");
        }
        assert_eq!(mapped.len(), 8);
    }
}
