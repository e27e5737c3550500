//! A small family of policies, each as Cedar's text and as a plain function that says the same, so
//! that Cedar, its slicing and what it is given are not trusted either.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_core::arguments::Argument;
use bailiwick_core::command::Authorize;
use bailiwick_core::event::Effect;
use bailiwick_core::id::GroupId;
use bailiwick_core::properties::Properties;
use bailiwick_core::time::Time;

/// Properties in plain texts.
pub(super) type Tags = BTreeMap<String, BTreeSet<String>>;

pub(super) fn tags(properties: &Properties) -> Tags {
    let plain = |values: &BTreeSet<_>| values.iter().map(ToString::to_string).collect();
    properties.iter().map(|(name, values)| (name.to_string(), plain(values))).collect()
}

/// One question: may this principal make this call?
pub(super) struct Situation<'a> {
    pub(super) is_agent: bool,
    pub(super) id: &'a str,
    pub(super) groups: &'a BTreeSet<GroupId>,
    /// Of an agent.
    pub(super) purpose: Option<&'a str>,
    pub(super) tags: Tags,
    /// Of the agent that calls, if one does.
    pub(super) agent_tags: Option<&'a Tags>,
    pub(super) owner: &'a str,
    pub(super) resource_tags: &'a Tags,
    pub(super) action_tags: &'a Tags,
    pub(super) before: Before,
    pub(super) ask: &'a Authorize,
    pub(super) now: Time,
}

/// What came before a call, of an agent that makes it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Before {
    /// With the same tool, this second and in the 60 before it.
    pub(super) allowed_with_tool: usize,
    /// This minute and in the 60 before it.
    pub(super) denied: usize,
    pub(super) risk: u8,
}

impl Situation<'_> {
    /// A whole number among the arguments; none at all when there are no arguments.
    fn number(&self, name: &str) -> Option<Option<i64>> {
        let arguments = self.ask.args.as_ref()?;
        let found = arguments.iter().find(|(known, _)| *known == name);
        Some(found.and_then(|(_, argument)| match argument {
            Argument::Integer(number) => Some(*number),
            _ => None,
        }))
    }

    fn does(&self, actions: &[&str]) -> bool {
        actions.contains(&self.ask.action.as_str())
    }

    fn on(&self, resource: &str) -> bool {
        self.ask.resource.as_str() == resource
    }

    fn within(&self, prefix: &str) -> bool {
        lies_within(self.ask.resource.as_str(), prefix)
    }

    fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|known| known.as_str() == group)
    }

    fn hour(&self) -> u64 {
        self.now.0 / 3_600_000_000_000 % 24
    }

    /// From 1 for Monday.
    fn weekday(&self) -> u64 {
        [4, 5, 6, 7, 1, 2, 3][(self.now.0 / 86_400_000_000_000 % 7) as usize]
    }
}

/// By whole segments: the prefix's segments are the first of the resource's. One that ends with a
/// slash is only for what comes after that slash.
pub(super) fn lies_within(resource: &str, prefix: &str) -> bool {
    let of_resource: Vec<&str> = resource.split('/').collect();
    let mut of_prefix: Vec<&str> = prefix.split('/').collect();
    let below = of_prefix.len() > 1 && of_prefix.last() == Some(&"");
    if below {
        of_prefix.pop();
    }
    of_resource.starts_with(&of_prefix) && (!below || of_resource.len() > of_prefix.len())
}

fn says(tags: &Tags, name: &str, value: &str) -> bool {
    tags.get(name).is_some_and(|values| values.contains(value))
}

/// What a policy comes to: it holds or does not, or has no value.
pub(super) type Outcome = Option<bool>;

/// One policy of the family.
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) forbids: bool,
    pub(super) shadow: bool,
    pub(super) holds: fn(&Situation<'_>) -> Outcome,
    /// In milliseconds.
    pub(super) ttl: Option<u64>,
    pub(super) uses: Option<u32>,
    pub(super) just_in_time: bool,
    pub(super) breakglass: bool,
    pub(super) approval: Option<&'static str>,
    pub(super) reason: Option<&'static str>,
}

const fn permit(
    name: &'static str,
    holds: fn(&Situation<'_>) -> Outcome,
    text: &'static str,
) -> Rule {
    Rule {
        name,
        text,
        forbids: false,
        shadow: false,
        holds,
        ttl: None,
        uses: None,
        just_in_time: false,
        breakglass: false,
        approval: None,
        reason: None,
    }
}

const fn forbid(
    name: &'static str,
    holds: fn(&Situation<'_>) -> Outcome,
    text: &'static str,
) -> Rule {
    Rule { forbids: true, ..permit(name, holds, text) }
}

impl Rule {
    const fn just_in_time(self) -> Self {
        Self { just_in_time: true, ..self }
    }

    const fn breakglass(self) -> Self {
        Self { breakglass: true, ..self }
    }

    const fn ttl(self, milliseconds: u64) -> Self {
        Self { ttl: Some(milliseconds), ..self }
    }

    const fn uses(self, uses: u32) -> Self {
        Self { uses: Some(uses), ..self }
    }

    const fn approval(self, rule: &'static str) -> Self {
        Self { approval: Some(rule), ..self }
    }

    const fn reason(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }
}

/// All of them. What none of them says is denied.
pub(super) const FAMILY: &[Rule] = &[
    permit("anyone", |_| Some(true), "permit (principal, action, resource);"),
    permit(
        "owners",
        |s| Some(!s.is_agent),
        r#"@jit("true") permit (principal is Owner, action, resource);"#,
    )
    .just_in_time(),
    permit(
        "read_cases",
        |s| Some(s.is_agent && s.does(&["crm/read"]) && s.within("crm://case")),
        r#"@jit("true") @ttl("5m") @max_uses("3") permit (principal is Agent,
           action == Action::"crm/read", resource in Resource::"crm://case");"#,
    )
    .just_in_time()
    .ttl(300_000)
    .uses(3),
    permit(
        "agents",
        |s| Some(s.is_agent),
        r#"@jit("true") @max_uses("4") permit (principal is Agent, action, resource);"#,
    )
    .just_in_time()
    .uses(4),
    permit(
        "sent_once",
        |s| Some(s.is_agent && s.ask.effect == Effect::External),
        r#"@ttl("10s") @max_uses("1") permit (principal is Agent, action, resource)
           when { context.effect == "external" };"#,
    )
    .ttl(10_000)
    .uses(1),
    permit(
        "sessions_ask",
        |s| Some(!s.is_agent && s.ask.session.is_some()),
        r#"@approval("group:staff") permit (principal is Owner, action, resource)
           when { context has session };"#,
    )
    .approval("group:staff"),
    permit(
        "crm_owners",
        |s| Some(!s.is_agent && s.within("crm://")),
        r#"permit (principal is Owner, action, resource in Resource::"crm://");"#,
    ),
    permit(
        "office_hours",
        |s| Some(s.is_in("oncall") && (8..18).contains(&s.hour())),
        r#"@jit("true") @ttl("2s") @max_uses("1")
           permit (principal in Group::"oncall", action, resource)
           when { context.time.hour >= 8 && context.time.hour < 18 };"#,
    )
    .just_in_time()
    .ttl(2_000)
    .uses(1),
    permit(
        "with_words",
        |s| {
            let does = s.does(&["crm/read", "crm/write"]);
            Some(s.is_agent && does && s.ask.justification.is_some())
        },
        r#"@jit("true") permit (principal is Agent,
           action in [Action::"crm/read", Action::"crm/write"], resource)
           when { context has justification };"#,
    )
    .just_in_time(),
    permit(
        "approved_payments",
        |s| Some(s.is_agent && s.does(&["pay/send"]) && s.within("pay://bank")),
        r#"@approval("owner") @jit("true") permit (principal is Agent,
           action == Action::"pay/send", resource in Resource::"pay://bank");"#,
    )
    .just_in_time()
    .approval("owner"),
    permit(
        "approved_gold",
        |s| Some(!s.is_agent && s.does(&["crm/write"]) && says(s.resource_tags, "tier", "gold")),
        r#"@approval("2 of group:staff")
           permit (principal is Owner, action == Action::"crm/write", resource)
           when { resource.hasTag("tier") && resource.getTag("tier").contains("gold") };"#,
    )
    .approval("2 of group:staff"),
    permit(
        "a1_pays",
        |s| Some(s.is_agent && s.id == "a1" && s.does(&["pay/send"])),
        r#"permit (principal == Agent::"a1", action == Action::"pay/send", resource);"#,
    ),
    permit(
        "ann_twice",
        |s| Some(!s.is_agent && s.id == "ann" && s.on("pay://bank/a")),
        r#"@max_uses("2") permit (principal == Owner::"ann", action,
           resource == Resource::"pay://bank/a");"#,
    )
    .uses(2),
    permit(
        "files",
        |s| Some(s.is_agent && s.does(&["file/get"]) && s.within("file:///srv/")),
        r#"@ttl("30s") permit (principal is Agent, action == Action::"file/get",
           resource in Resource::"file:///srv/");"#,
    )
    .ttl(30_000),
    permit(
        "admins",
        |s| Some(s.is_agent && says(&s.tags, "role", "admin")),
        r#"@jit("true") @ttl("1h") @max_uses("5") permit (principal is Agent, action, resource)
           when { principal.hasTag("role") && principal.getTag("role").contains("admin") };"#,
    )
    .just_in_time()
    .ttl(3_600_000)
    .uses(5),
    permit(
        "tools_of_ben",
        |s| {
            let of_crm = s.ask.tool.as_ref().is_some_and(|t| t.as_str().starts_with("crm/"));
            Some(s.is_agent && s.owner == "ben" && of_crm)
        },
        r#"@jit("true") permit (principal is Agent, action, resource)
           when { principal.owner == Owner::"ben" && context has tool
                  && context.tool.server == "crm" };"#,
    )
    .just_in_time(),
    permit(
        "plenty",
        |s| Some(s.is_agent && s.within("crm:")),
        r#"@jit("true") @ttl("30d") @max_uses("2000000")
           permit (principal is Agent, action, resource in Resource::"crm:");"#,
    )
    .just_in_time()
    .ttl(2_592_000_000)
    .uses(2_000_000),
    permit(
        "staff_agents",
        |s| Some(s.is_agent && s.is_in("staff")),
        r#"permit (principal is Agent in Group::"staff", action, resource);"#,
    ),
    permit(
        "trusted_agents",
        |s| Some(!s.is_agent && s.agent_tags.is_some_and(|tags| tags.contains_key("trusted"))),
        r#"permit (principal is Owner, action, resource)
           when { context has agent && context.agent.hasTag("trusted") };"#,
    ),
    permit(
        "broken_permit",
        |s| {
            let looks = s.is_agent && s.does(&["file/get"]) && (12..16).contains(&s.hour());
            if looks { None } else { Some(false) }
        },
        r#"permit (principal is Agent, action == Action::"file/get", resource)
           when { context.time.hour >= 12 && context.time.hour < 16
                  && context.time.unix + 9223372036854775807 > 0 };"#,
    ),
    forbid(
        "broken_forbid",
        |s| {
            let looks = s.does(&["crm/write"]) && (2..7).contains(&s.hour());
            if looks { None } else { Some(false) }
        },
        r#"@reason("broken before dawn") forbid (principal, action == Action::"crm/write", resource)
           when { context.time.hour >= 2 && context.time.hour < 7
                  && context.time.unix * 9223372036854775807 > 0 };"#,
    )
    .reason("broken before dawn"),
    forbid(
        "no_payments_at_night",
        |s| Some(s.does(&["pay/send"]) && !(6..22).contains(&s.hour())),
        r#"@reason("no payments at night") forbid (principal, action == Action::"pay/send", resource)
           when { context.time.hour < 6 || context.time.hour >= 22 };"#,
    )
    .reason("no payments at night"),
    forbid(
        "weekend",
        |s| Some(s.is_agent && s.does(&["crm/write"]) && s.weekday() >= 6),
        r#"forbid (principal is Agent, action == Action::"crm/write", resource)
           when { context.time.weekday >= 6 };"#,
    ),
    forbid(
        "archived",
        |s| Some(says(s.resource_tags, "status", "archived")),
        r#"@reason("archived") forbid (principal, action, resource)
           when { resource.hasTag("status") && resource.getTag("status").contains("archived") };"#,
    )
    .reason("archived"),
    forbid(
        "contractors",
        |s| Some(s.is_in("ext") && s.ask.effect != Effect::Read),
        r#"@reason("contractors only read") forbid (principal in Group::"ext", action, resource)
           unless { context.effect == "read" };"#,
    )
    .reason("contractors only read"),
    forbid(
        "notes_need_a_task",
        |s| Some(s.is_agent && s.within("crm://case/1/notes") && s.ask.task.is_none()),
        r#"forbid (principal is Agent, action, resource in Resource::"crm://case/1/notes")
           unless { context has task };"#,
    ),
    forbid(
        "case_one",
        |s| Some(!s.is_agent && s.does(&["crm/read"]) && s.within("crm://case/1")),
        r#"forbid (principal is Owner, action == Action::"crm/read", resource)
           when { resource in Resource::"crm://case/1" };"#,
    ),
    forbid(
        "risky",
        |s| Some(s.is_agent && says(s.action_tags, "risk", "high")),
        r#"forbid (principal is Agent, action, resource)
           when { context.action.hasTag("risk") && context.action.getTag("risk").contains("high") };"#,
    ),
    forbid(
        "frozen",
        |s| Some(!s.is_agent && s.tags.contains_key("frozen")),
        r#"@reason("frozen") forbid (principal is Owner, action, resource)
           when { principal.hasTag("frozen") };"#,
    )
    .reason("frozen"),
    forbid(
        "paths",
        |s| {
            let path = s.ask.resource.as_str().split_once("://").map_or("", |(_, path)| path);
            let notes = path.strip_prefix("case/").is_some_and(|rest| rest.contains("/notes"));
            Some(s.is_agent && s.does(&["crm/write"]) && notes && s.purpose != Some("notes"))
        },
        r#"forbid (principal is Agent, action == Action::"crm/write", resource)
           when { resource.path like "case/*/notes*" && principal.purpose != "notes" };"#,
    ),
    permit(
        "emergency",
        |s| Some(s.is_agent && s.does(&["crm/write", "file/get"])),
        r#"@breakglass("true") @ttl("10m") @max_uses("4") @reason("emergency")
           permit (principal is Agent, action in [Action::"crm/write", Action::"file/get"], resource);"#,
    )
    .breakglass()
    .ttl(600_000)
    .uses(4)
    .reason("emergency"),
    forbid(
        "paced",
        |s| Some(s.is_agent && s.before.allowed_with_tool >= 2),
        r#"@reason("too fast") forbid (principal is Agent, action, resource)
           when { context.history.tool.calls.minute >= 2 };"#,
    )
    .reason("too fast"),
    forbid(
        "probed",
        |s| Some(s.is_agent && s.does(&["pay/send"]) && s.before.denied > 5),
        r#"forbid (principal is Agent, action == Action::"pay/send", resource)
           when { context.history.agent.denials.hour > 5 };"#,
    ),
    forbid(
        "feared",
        |s| Some(s.is_agent && s.before.risk > 50),
        r#"@reason("feared") forbid (principal is Agent, action, resource)
           when { context.risk > 50 };"#,
    )
    .reason("feared"),
    forbid(
        "production_is_read",
        |s| {
            let production = s.ask.environment.as_ref().is_some_and(|e| e.as_str() == "production");
            Some(production && s.ask.effect != Effect::Read)
        },
        r#"forbid (principal, action, resource)
           when { context has environment && context.environment == "production" }
           unless { context.effect == "read" };"#,
    ),
    forbid(
        "large_amounts",
        |s| {
            if !s.is_agent || !s.does(&["pay/send"]) {
                return Some(false);
            }
            s.number("amount").map(|amount| amount.is_some_and(|amount| amount > 100))
        },
        r#"@reason("too much") forbid (principal is Agent, action == Action::"pay/send", resource)
           when { context.args has amount && context.args.amount > 100 };"#,
    )
    .reason("too much"),
    Rule {
        shadow: true,
        ..forbid(
            "shadowed",
            |_| Some(true),
            r#"@shadow("true") @reason("shadow") forbid (principal, action, resource);"#,
        )
        .reason("shadow")
    },
];

/// Policies that ledgers begin with, by name.
pub(super) const FIRST: [&[&str]; 5] = [
    &[
        "agents",
        "anyone",
        "approved_payments",
        "archived",
        "contractors",
        "frozen",
        "no_payments_at_night",
        "sent_once",
    ],
    &[
        "a1_pays",
        "agents",
        "case_one",
        "files",
        "notes_need_a_task",
        "owners",
        "plenty",
        "read_cases",
        "shadowed",
        "staff_agents",
    ],
    &[
        "admins",
        "approved_gold",
        "crm_owners",
        "office_hours",
        "plenty",
        "risky",
        "sessions_ask",
        "staff_agents",
        "trusted_agents",
    ],
    &[
        "anyone",
        "ann_twice",
        "broken_forbid",
        "broken_permit",
        "paths",
        "tools_of_ben",
        "weekend",
        "with_words",
    ],
    &[
        "a1_pays",
        "emergency",
        "feared",
        "large_amounts",
        "owners",
        "paced",
        "probed",
        "production_is_read",
        "read_cases",
        "sent_once",
    ],
];

pub(super) fn named(name: &str) -> &'static Rule {
    FAMILY.iter().find(|rule| rule.name == name).unwrap()
}
