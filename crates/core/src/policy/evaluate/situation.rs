//! The entities and the context of one question, as Cedar's evaluator takes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy_core::ast::{Entity, EntityUID, Value};
use smol_str::{SmolStr, format_smolstr};

use super::reads::Reads;
use super::values::{self, record};
use super::{Condition, PATH, SCHEME, TYPES, URI, entity, tags, uid};
use crate::policy::inputs::Inputs;
use crate::policy::{Question, resource};
use crate::time::Time;

/// The entities that are looked into.
pub(super) fn entities(
    question: &Question<'_>,
    reads: Reads,
    conditions: &[&Condition],
) -> Vec<Arc<Entity>> {
    let mut entities: Vec<Arc<Entity>> = Vec::new();
    let people = [
        (Reads::OF_PRINCIPAL, Some(question.principal)),
        (Reads::OF_OWNER, Some(question.context.owner)),
        (Reads::OF_AGENT, question.context.agent),
    ];
    for (read, principal) in people {
        if let Some(principal) = principal.filter(|_| reads.has(read)) {
            entities.push(Arc::clone(&principal.entity));
        }
    }
    if reads.has(Reads::OF_RESOURCE) {
        let uri = question.resource.as_str();
        let attributes = [
            (URI, Value::from(uri)),
            (SCHEME, Value::from(resource::scheme(uri))),
            (PATH, Value::from(resource::path(uri))),
        ];
        let named = conditions.iter().flat_map(|condition| &condition.resources);
        let parents = named.filter(|named| {
            let prefix: &str = named.eid().as_ref();
            prefix != uri && resource::covers(prefix, uri)
        });
        let known = question.context.of_resource.into_iter().flat_map(tags);
        let uid = uid(&TYPES.resource, uri);
        entities.push(Arc::new(entity(uid, attributes, parents.cloned(), known)));
    }
    if reads.has(Reads::OF_ACTION) {
        let told = question.context.of_action.into_iter().flat_map(tags);
        entities.push(Arc::new(entity(of_action(), [], std::iter::empty(), told)));
    }
    entities
}

/// The attributes of the context that are read. `inputs` types the arguments of the action.
pub(super) fn context(
    question: &Question<'_>,
    reads: Reads,
    inputs: Option<&Inputs>,
) -> BTreeMap<SmolStr, Value> {
    let context = question.context;
    let mut values = BTreeMap::new();
    let mut put = |read: Reads, name: &'static str, value: &dyn Fn() -> Option<Value>| {
        if let Some(value) = reads.has(read).then(value).flatten() {
            values.insert(SmolStr::new_static(name), value);
        }
    };
    put(Reads::TASK, "task", &|| context.task.map(|task| Value::from(format_smolstr!("{task}"))));
    put(Reads::SESSION, "session", &|| {
        context.session.map(|session| Value::from(session.as_str()))
    });
    put(Reads::JUSTIFICATION, "justification", &|| {
        context.justification.map(|why| Value::from(why.as_str()))
    });
    put(Reads::AGENT, "agent", &|| context.agent.map(|agent| Value::from(Arc::clone(&agent.uid))));
    put(Reads::OWNER, "owner", &|| Some(Value::from(Arc::clone(&context.owner.uid))));
    put(Reads::TOOL, "tool", &|| {
        let tool = context.tool?;
        Some(record([("server", Value::from(tool.server())), ("name", Value::from(tool.tool()))]))
    });
    put(Reads::ACTION, "action", &|| Some(Value::from(Arc::new(of_action()))));
    put(Reads::EFFECT, "effect", &|| Some(Value::from(context.effect)));
    put(Reads::TIME, "time", &|| {
        Some(record(clock(context.time).map(|(name, n)| (name, Value::from(n)))))
    });
    put(Reads::ENVIRONMENT, "environment", &|| {
        context.environment.map(|environment| Value::from(environment.as_str()))
    });
    put(Reads::ARGS, "args", &|| values::of_arguments(inputs?, context.args?));
    let live = context.live;
    put(Reads::HISTORY, "history", &|| Some(values::of_history(&(live?.history)())));
    put(Reads::RISK, "risk", &|| Some(Value::from(i64::from(live?.risk))));
    put(Reads::GRANT, "grant", &|| Some(values::of_grant((live?.grant)()?)));
    values
}

/// The one thing of its type: what the enforcement point says of the action.
fn of_action() -> EntityUID {
    uid(&TYPES.properties, "action")
}

/// `unix` in seconds, `hour` from 0, `weekday` from 1 for Monday, all in UTC.
fn clock(time: Time) -> [(&'static str, i64); 3] {
    // The largest time is below 2^35 seconds.
    let seconds = i64::try_from(time.0 / 1_000_000_000).unwrap_or(i64::MAX);
    let days = seconds / 86_400;
    // The first of January 1970 was a Thursday.
    [("unix", seconds), ("hour", seconds % 86_400 / 3_600), ("weekday", (days + 3) % 7 + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_utc_and_its_week_begins_on_monday() {
        let cases = [
            (0, 0, 4),
            (86_399, 23, 4),
            (86_400, 0, 5),
            (4 * 86_400, 0, 1),
            // 2026-11-23T13:37:00Z, a Monday.
            (1_795_441_020, 13, 1),
        ];
        for (unix, hour, weekday) in cases {
            let read = clock(Time(unix * 1_000_000_000 + 999_999_999));
            let unix = i64::try_from(unix).unwrap();
            assert_eq!(read, [("unix", unix), ("hour", hour), ("weekday", weekday)]);
        }
        assert_eq!(clock(Time(u64::MAX))[0], ("unix", 18_446_744_073));
    }
}
