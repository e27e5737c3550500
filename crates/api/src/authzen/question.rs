//! What is asked: from an AuthZEN request to a command.

use std::collections::BTreeMap;

use bailiwick_core::arguments::Arguments;
use bailiwick_core::command::{Authorize, Subject, Told};
use bailiwick_core::decide;
use bailiwick_core::event::Effect;
use bailiwick_core::id::{
    Action, AgentId, OwnerId, RequestId, Resource, SessionId, TEXT_BYTES_MAX, Text, ToolId,
};
use bailiwick_core::json::JsonError;
use bailiwick_core::properties::Properties;
use bailiwick_core::record::Digest;
use serde_json::Value;
use utoipa::ToSchema;

use super::members::Members;
use crate::problem::{INVALID_BODY, INVALID_ID, OUT_OF_RANGE, Problem};

/// The most disclosed fields of a call: the other half of what is recorded is for properties.
pub(super) const DISCLOSED_MAX: usize = decide::DISCLOSED_MAX / 2;

/// An AuthZEN request for one decision. Members that are not named here are ignored.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub(super) struct Evaluation {
    /// Who wants to act: type `agent`, or a person.
    subject: Entity,
    /// To do what.
    action: Named,
    /// To what: an id with `://` is the URI itself, otherwise the URI is `<type>://<id>`.
    resource: Entity,
    /// Under which circumstances.
    context: Option<Context>,
}

/// A subject or resource.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub(super) struct Entity {
    /// Its type.
    r#type: String,
    /// Its id within the type.
    id: String,
    /// What the caller knows of it; it wins over what is stored. Not heard from agents.
    #[schema(value_type = Object)]
    properties: Option<Value>,
}

/// An action.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub(super) struct Named {
    /// Its name, such as `crm/read_case`.
    name: String,
    /// What the caller knows of it. Not heard from agents.
    #[schema(value_type = Object)]
    properties: Option<Value>,
}

/// The circumstances of a call.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub(super) struct Context {
    /// With a person as subject: the agent that acts for that person.
    agent: Option<String>,
    /// The task, such as `task_7`.
    task: Option<String>,
    /// The enforcement point's session.
    session: Option<String>,
    /// The call's arguments, an object, for policies and grants to read; only a keyed commitment to
    /// them is recorded. What nobody could decide about, such as a number of more than four decimals,
    /// is denied `invalid_arguments`.
    #[schema(value_type = Object)]
    arguments: Option<Value>,
    /// Arguments fit to be recorded, as texts.
    disclosed: Option<BTreeMap<String, String>>,
    /// Why, in the caller's words.
    justification: Option<String>,
    /// The caller's own id of this attempt, which makes a retry safe.
    call_id: Option<String>,
    /// The tool: `server`, `name`, `definition_hash`.
    #[schema(value_type = Object)]
    tool: Option<Value>,
    /// The authenticated human.
    on_behalf_of: Option<String>,
    /// `read`, `open`, `write`, `external` or `destructive`; `write` if not given.
    effect: Option<String>,
    /// Whether the outcome will be reported.
    reports_outcome: Option<bool>,
    /// Where the enforcement point stands, such as `production`. Not heard from agents.
    environment: Option<String>,
}

/// A request, understood.
#[derive(Debug)]
pub(super) enum Asked {
    /// A question for the ledger.
    Question(Question),
    /// About a subject of a type that nobody here has, which is a plain no.
    OfNobody(String),
}

/// A question for the ledger.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) authorize: Box<Authorize>,
    pub(super) call_id: Option<RequestId>,
}

/// How a request is read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    /// Subject types that are people.
    pub(super) person_types: &'a [String],
    /// Whether the caller is believed in what it says of subject, action and resource. An agent is
    /// not: what it says there is passed over, as AuthZEN lets a decision point do.
    pub(super) is_believed: bool,
    /// The caller's `X-Request-ID`.
    pub(super) request_id: Option<&'a str>,
}

/// Reads a request. `commit` makes the commitment to a call's arguments.
pub(super) fn read(
    mut body: Members,
    reading: Reading<'_>,
    commit: impl Fn(&Value) -> Result<Digest, JsonError>,
) -> Result<Asked, Problem> {
    let (subject_type, subject_id, of_subject) = entity(&mut body, "subject")?;
    let mut action = body.needed_object("action")?;
    let of_action = action.properties()?;
    let action = Action::new(&action.needed_text("name")?)?;
    let (resource_type, resource_id, of_resource) = entity(&mut body, "resource")?;
    let resource = resource(&resource_type, &resource_id)?;
    let told = Told { subject: of_subject, action: of_action, resource: of_resource };
    let told = Some(Box::new(told)).filter(|told| reading.is_believed && **told != Told::default());
    let mut context = match body.object("context", "context")? {
        Some(context) => context,
        None => Members::of_body(Value::Object(serde_json::Map::new()))?,
    };
    let Some((subject, on_behalf_of)) =
        subject(&subject_type, &subject_id, reading.person_types, &mut context)?
    else {
        return Ok(Asked::OfNobody(subject_type));
    };
    let (tool, tool_hash) = tool(&mut context)?;
    let id_of = |text: Option<String>| text.map(|text| RequestId::new(&text)).transpose();
    let call_id = id_of(context.text("call_id")?)?;
    let arguments = context.any("arguments");
    let environment = context.text("environment")?.filter(|_| reading.is_believed);
    let authorize = Box::new(Authorize {
        subject,
        on_behalf_of,
        task: context.text("task")?.map(|text| text.parse()).transpose()?,
        session: context.text("session")?.map(|text| SessionId::new(&text)).transpose()?,
        tool,
        tool_hash,
        action,
        resource,
        effect: effect(&mut context)?,
        arguments: arguments.as_ref().map(commit).transpose()?,
        disclosed: disclosed(&mut context)?,
        justification: context.text("justification")?.map(|t| Text::new(&t)).transpose()?,
        args: arguments.as_ref().map(|arguments| Box::new(Arguments::heard(arguments))),
        environment: environment.map(|text| Text::new(&text)).transpose()?,
        // It is the caller's to choose and changes nothing: what cannot be recorded is left out.
        correlation: reading.request_id.and_then(|id| Text::new(id).ok()),
        actors: Vec::new(),
        told,
        finishes: context.flag("reports_outcome")?,
        verdicts: None,
    });
    if !decide::is_recordable(&authorize) {
        let (fields, bytes) = (decide::DISCLOSED_MAX, decide::DISCLOSED_BYTES_MAX);
        let most = format!("at most {fields} of {bytes} bytes in all, each of {TEXT_BYTES_MAX}");
        return Err(OUT_OF_RANGE.with(format!("properties and disclosed fields: {most}")));
    }
    Ok(Asked::Question(Question { authorize, call_id }))
}

/// Type, id and properties of the subject or resource.
fn entity(body: &mut Members, name: &'static str) -> Result<(String, String, Properties), Problem> {
    let mut entity = body.needed_object(name)?;
    let properties = entity.properties()?;
    Ok((entity.needed_text("type")?, entity.needed_text("id")?, properties))
}

type Party = (Subject, Option<OwnerId>);

/// Who wants to act and for whom; none for a subject of an unknown type.
fn subject(
    kind: &str,
    id: &str,
    person_types: &[String],
    context: &mut Members,
) -> Result<Option<Party>, Problem> {
    let human = context.text("on_behalf_of")?.map(|text| OwnerId::new(&text)).transpose()?;
    if kind == "agent" {
        return Ok(Some((Subject::Agent(AgentId::new(id)?), human)));
    }
    if !person_types.iter().any(|person| person == kind) {
        return Ok(None);
    }
    let person = OwnerId::new(id)?;
    if human.is_some_and(|human| human != person) {
        return Err(INVALID_BODY.with("`context.on_behalf_of` is not the subject"));
    }
    Ok(Some(match context.text("agent")? {
        Some(agent) => (Subject::Agent(AgentId::new(&agent)?), Some(person)),
        None => (Subject::Person(person), None),
    }))
}

/// The URI of a resource.
pub(super) fn resource(kind: &str, id: &str) -> Result<Resource, Problem> {
    if id.contains("://") {
        return Ok(Resource::new(id)?);
    }
    // The type becomes the scheme: no other scheme, and no path, may be smuggled in with it.
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.');
    if !kind.chars().all(is_scheme) {
        let refused = "`resource.type` holds more than letters, digits, `_`, `-`, `+` and `.`";
        return Err(INVALID_ID.with(refused));
    }
    Ok(Resource::new(&format!("{kind}://{id}"))?)
}

fn tool(context: &mut Members) -> Result<(Option<ToolId>, Option<Digest>), Problem> {
    let Some(mut tool) = context.object("tool", "context.tool")? else { return Ok((None, None)) };
    let (server, name) = (tool.needed_text("server")?, tool.needed_text("name")?);
    if server.contains('/') {
        return Err(INVALID_ID.with("`context.tool.server` holds a slash"));
    }
    let hash = tool.text("definition_hash")?.map(|text| text.parse()).transpose()?;
    Ok((Some(ToolId::new(&format!("{server}/{name}"))?), hash))
}

fn effect(context: &mut Members) -> Result<Effect, Problem> {
    match context.text("effect")?.as_deref() {
        Some("read") => Ok(Effect::Read),
        Some("open") => Ok(Effect::Open),
        // What a call does to the world is unknown: it is not taken for harmless.
        Some("write") | None => Ok(Effect::Write),
        Some("external") => Ok(Effect::External),
        Some("destructive") => Ok(Effect::Destructive),
        Some(_) => Err(INVALID_BODY.with(
            "`context.effect` is none of `read`, `open`, `write`, `external`, `destructive`",
        )),
    }
}

fn disclosed(context: &mut Members) -> Result<BTreeMap<Text, Text>, Problem> {
    let Some(fields) = context.object("disclosed", "context.disclosed")? else {
        return Ok(BTreeMap::new());
    };
    let fields = fields.rest();
    let (mut taken, mut bytes) = (BTreeMap::new(), 0);
    for (name, value) in &fields {
        let Value::String(text) = value else {
            let refused = format!("`context.disclosed.{name}` is not a string");
            return Err(INVALID_BODY.with(refused));
        };
        bytes += name.len() + text.len();
        taken.insert(Text::new(name)?, Text::new(text)?);
    }
    if taken.len() > DISCLOSED_MAX || bytes > decide::DISCLOSED_BYTES_MAX {
        let bytes = decide::DISCLOSED_BYTES_MAX;
        let most = format!("at most {DISCLOSED_MAX} fields of {bytes} bytes in all");
        return Err(OUT_OF_RANGE.with(format!("`context.disclosed`: {most}")));
    }
    Ok(taken)
}

/// The caller's own id of the attempt, which may stand in the body or in a header.
pub(super) fn call_id(
    body: Option<RequestId>,
    header: Option<RequestId>,
) -> Result<Option<RequestId>, Problem> {
    match (body, header) {
        (Some(body), Some(header)) if body != header => {
            Err(INVALID_BODY.with("`context.call_id` and `Idempotency-Key` are two ids"))
        }
        (Some(id), _) | (None, Some(id)) => Ok(Some(id)),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
