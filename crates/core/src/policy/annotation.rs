//! What a policy asks for beside permitting: its annotations, read strictly.

use super::{BREAKGLASS_TTL_MAX, BREAKGLASS_USES_MAX, Fault, TTL_MAX};
use crate::event::{ApprovalRule, ApprovalRuleError};
use crate::id::{PolicyId, Text, canonical_number};
use crate::time::Span;

/// What permits ask for, combined: the narrowest wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// The longest a grant may live, `@ttl`.
    pub ttl: Option<Span>,
    /// The most uses of a grant, `@max_uses`.
    pub max_uses: Option<u32>,
    /// Whether a permit allows a grant to be issued on the spot, `@jit`.
    pub jit: bool,
    /// Whether they count only because something is broken, `@breakglass`: then a grant is issued on
    /// the spot, and everyone hears of it.
    pub breakglass: bool,
    /// Whose approval is needed, `@approval`: every one of these rules must be met. Sorted, and with
    /// at most one rule a group.
    pub approvals: Vec<ApprovalRule>,
    /// What to tell people, `@reason`, of the first policy that has one.
    pub reason: Option<Text>,
}

impl Restrictions {
    /// The restrictions of the agent's verdict (`self`) together with those of its owner's. Only
    /// `jit` is not shared: it counts when the agent's own permits say so.
    #[must_use]
    pub fn combine(mut self, owner: &Self) -> Self {
        let jit = self.jit;
        self.narrow(owner);
        self.jit = jit;
        self
    }

    /// Adds what another determining policy of the same verdict asks for.
    pub(super) fn narrow(&mut self, other: &Self) {
        self.ttl = least(self.ttl, other.ttl);
        self.max_uses = least(self.max_uses, other.max_uses);
        self.jit |= other.jit;
        self.breakglass |= other.breakglass;
        for rule in &other.approvals {
            self.demand(rule);
        }
        if self.reason.is_none() {
            self.reason.clone_from(&other.reason);
        }
    }

    fn demand(&mut self, rule: &ApprovalRule) {
        for known in &mut self.approvals {
            match (known, rule) {
                (ApprovalRule::Owner, ApprovalRule::Owner) => return,
                (
                    ApprovalRule::Group { group: known, count },
                    ApprovalRule::Group { group, count: other },
                ) if known == group => {
                    *count = (*count).max(*other);
                    return;
                }
                (ApprovalRule::Owner | ApprovalRule::Group { .. }, _) => {}
            }
        }
        self.approvals.push(rule.clone());
        self.approvals.sort();
    }
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// One annotation as it stands in the text.
pub(super) struct Annotation<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) offset: usize,
}

/// What the annotations of one policy say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) restrictions: Restrictions,
    pub(super) shadow: bool,
}

/// Reads annotations; every one that is unknown, malformed or out of place is a fault.
pub(super) fn read<'a>(
    id: &PolicyId,
    forbids: bool,
    annotations: impl IntoIterator<Item = Annotation<'a>>,
) -> (Terms, Vec<Fault>) {
    let mut terms = Terms::default();
    let mut faults = Vec::new();
    let mut breakglass = None;
    for annotation in annotations {
        let Annotation { name, value, offset } = annotation;
        let done = if forbids && OF_GRANTS.contains(&name) {
            Err("says how to grant, which a `forbid` never does".to_owned())
        } else {
            read_one(&mut terms, id, name, value)
        };
        if let Err(why) = done {
            let value: String = value.chars().take(80).collect();
            faults.push(Fault::new(offset, format!("annotation `@{name}(\"{value}\")` {why}")));
        }
        if name == "breakglass" {
            breakglass = Some(offset);
        }
    }
    if let Some(offset) = breakglass
        && faults.is_empty()
    {
        let wanting = wanting(&terms.restrictions);
        faults.extend(wanting.map(|why| Fault::new(offset, format!("`@breakglass` {why}"))));
    }
    (terms, faults)
}

/// What a policy that breaks the glass must say and does not.
fn wanting(restrictions: &Restrictions) -> impl Iterator<Item = String> {
    let short = restrictions.ttl.is_some_and(|ttl| ttl <= BREAKGLASS_TTL_MAX);
    let few = restrictions.max_uses.is_some_and(|uses| uses <= BREAKGLASS_USES_MAX);
    let wanting = [
        (!short).then(|| format!("needs a `@ttl` of at most `{BREAKGLASS_TTL_MAX}`")),
        (!few).then(|| format!("needs `@max_uses` of at most `{BREAKGLASS_USES_MAX}`")),
        restrictions.reason.is_none().then(|| "needs a `@reason`".to_owned()),
    ];
    wanting.into_iter().flatten()
}

/// Annotations that speak of grants, which only a `permit` leads to.
const OF_GRANTS: [&str; 5] = ["ttl", "max_uses", "approval", "jit", "breakglass"];

fn read_one(terms: &mut Terms, id: &PolicyId, name: &str, value: &str) -> Result<(), String> {
    let restrictions = &mut terms.restrictions;
    match name {
        "ttl" => restrictions.ttl = Some(ttl(value)?),
        "max_uses" => {
            let uses = number(value).ok_or("is not a number of uses from 1 on, such as `1`")?;
            restrictions.max_uses = Some(uses);
        }
        "approval" => {
            let rule: ApprovalRule = value.parse().map_err(|e: ApprovalRuleError| e.to_string())?;
            restrictions.approvals.push(rule);
        }
        "jit" => restrictions.jit = truth(value)?,
        "shadow" => terms.shadow = truth(value)?,
        "reason" => restrictions.reason = Some(Text::new(value).map_err(|e| e.to_string())?),
        "id" if value == id.as_str() => {}
        "id" => return Err(format!("is not the id the policy is put under, `{id}`")),
        "breakglass" => restrictions.breakglass = truth(value)?,
        _ => {
            let known = "`@ttl`, `@max_uses`, `@approval`, `@jit`, `@breakglass`, `@reason`, `@shadow`, `@id`";
            return Err(format!("is not known; {known} are"));
        }
    }
    Ok(())
}

fn ttl(value: &str) -> Result<Span, String> {
    let span: Span = value.parse().map_err(|e: crate::time::SpanError| e.to_string())?;
    if span == Span(0) {
        return Err("lets a grant live for no time at all".to_owned());
    }
    if span > TTL_MAX {
        return Err(format!("is longer than `{TTL_MAX}`, the most that is allowed"));
    }
    Ok(span)
}

fn truth(value: &str) -> Result<bool, String> {
    if value == "true" { Ok(true) } else { Err("can only be `true`".to_owned()) }
}

/// A count from 1 on, in its one spelling.
fn number(digits: &str) -> Option<u32> {
    canonical_number(digits).filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(forbids: bool, name: &str, value: &str) -> Result<Terms, String> {
        let id = PolicyId::new("p").unwrap();
        let (terms, faults) = read(&id, forbids, [Annotation { name, value, offset: 3 }]);
        match faults.first() {
            None => Ok(terms),
            Some(fault) => Err(fault.message.clone()),
        }
    }

    #[test]
    fn well_formed_annotations_are_read() {
        let good = [
            ("ttl", "5m"),
            ("ttl", "30d"),
            ("ttl", "1ms"),
            ("max_uses", "1"),
            ("max_uses", "4294967295"),
            ("approval", "owner"),
            ("approval", "group:sec"),
            ("approval", "2 of group:sec"),
            ("approval", "100 of group:sec"),
            ("jit", "true"),
            ("shadow", "true"),
            ("id", "p"),
            ("reason", "only while on call"),
        ];
        for (name, value) in good {
            let read = check(false, name, value);
            assert!(read.is_ok(), "@{name}({value}) {read:?}");
        }
    }

    #[test]
    fn malformed_annotations_are_refused() {
        let bad = [
            ("ttl", "5 minutes"),
            ("ttl", "5"),
            ("ttl", ""),
            ("ttl", "0s"),
            ("ttl", "-5m"),
            ("ttl", "30d1ms"),
            ("ttl", "31d"),
            ("ttl", "99999999999999999999d"),
            ("max_uses", "0"),
            ("max_uses", ""),
            ("max_uses", "-1"),
            ("max_uses", "+1"),
            ("max_uses", "01"),
            ("max_uses", "4294967296"),
            ("max_uses", "many"),
            ("approval", ""),
            ("approval", "Owner"),
            ("approval", "anyone"),
            ("approval", "group:"),
            ("approval", "group:a b"),
            ("approval", "0 of group:sec"),
            ("approval", "101 of group:sec"),
            ("approval", "2 of owner"),
            ("approval", "two of group:sec"),
            ("approval", "2 of sec"),
            ("approval", "2 of 2 of group:sec"),
            ("jit", "false"),
            ("jit", ""),
            ("jit", "TRUE"),
            ("shadow", "yes"),
            ("shadow", ""),
            ("reason", ""),
            ("reason", "\u{7}"),
            ("id", "q"),
            ("id", ""),
            ("Ttl", "5m"),
            ("tll", "5m"),
            ("", ""),
        ];
        for (name, value) in bad {
            assert!(check(false, name, value).is_err(), "@{name}({value})");
        }
    }

    #[test]
    fn a_policy_that_breaks_the_glass_says_how_long_how_often_and_why() {
        let read = |with: &[(&'static str, &'static str)]| {
            let all = [("breakglass", "true")].iter().chain(with);
            let annotations = all.map(|&(name, value)| Annotation { name, value, offset: 7 });
            read(&PolicyId::new("p").unwrap(), false, annotations)
        };
        let (terms, faults) = read(&[("ttl", "1h"), ("max_uses", "10"), ("reason", "on call")]);
        assert!(terms.restrictions.breakglass && faults.is_empty(), "{faults:?}");
        for (missing, rest) in [
            ("@ttl", [("max_uses", "1"), ("reason", "x"), ("jit", "true")]),
            ("@ttl", [("ttl", "61m"), ("max_uses", "1"), ("reason", "x")]),
            ("@max_uses", [("ttl", "1m"), ("jit", "true"), ("reason", "x")]),
            ("@max_uses", [("ttl", "1m"), ("max_uses", "11"), ("reason", "x")]),
            ("@reason", [("ttl", "1m"), ("max_uses", "1"), ("jit", "true")]),
        ] {
            let (_, faults) = read(&rest);
            let [fault] = &faults[..] else { panic!("{faults:?}") };
            assert!(fault.message.contains(missing) && fault.offset == 7, "{fault:?}");
        }
        assert!(check(false, "breakglass", "false").is_err());
        assert!(check(true, "breakglass", "true").is_err(), "a forbid has no glass to break");
    }

    #[test]
    fn a_forbid_takes_no_annotations_of_grants() {
        for (name, value) in
            [("ttl", "5m"), ("max_uses", "1"), ("approval", "owner"), ("jit", "true")]
        {
            assert!(check(false, name, value).is_ok());
            assert!(check(true, name, value).is_err(), "@{name}");
        }
        for (name, value) in [("reason", "no"), ("shadow", "true"), ("id", "p")] {
            assert!(check(true, name, value).is_ok(), "@{name}");
        }
    }

    #[test]
    fn the_narrowest_wins_and_every_approval_is_demanded() {
        let rule = |text: &str| text.parse::<ApprovalRule>().unwrap();
        let agent = Restrictions {
            ttl: Some(Span::minutes(5)),
            approvals: vec![rule("2 of group:sec")],
            ..Restrictions::default()
        };
        let owner = Restrictions {
            ttl: Some(Span::hours(1)),
            max_uses: Some(3),
            jit: true,
            approvals: vec![rule("owner"), rule("group:sec")],
            breakglass: false,
            reason: Some(Text::new("because").unwrap()),
        };
        let both = agent.clone().combine(&owner);
        assert_eq!(both.ttl, Some(Span::minutes(5)));
        assert_eq!(both.max_uses, Some(3));
        assert_eq!(both.approvals, [rule("owner"), rule("2 of group:sec")]);
        assert!(!both.jit, "an owner's permit does not let an agent have grants on the spot");
        assert!(owner.combine(&agent).jit);
    }
}
