//! The Cedar schema, generated, and the checks that one policy text must pass.
//!
//! Actions are an open set, and Cedar's schema is a closed one. So every policy is validated against
//! a schema of the actions that it names itself; all actions apply alike, so nothing is lost, and a
//! set of thousands of policies never multiplies its policies by its actions.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::LazyLock;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{ActionConstraint, Policy, Schema, SchemaFragment, ValidationMode, Validator};

use super::annotation::{self, Terms};
use super::evaluate::{self, ArgumentRead, Condition, Literal};
use super::inputs::{Inputs, Look};
use super::slice::Scope;
use super::{ACTIONS_MAX, Fault, POLICY_BYTES_MAX, nesting};
use crate::id::{Action, AgentId, GroupId, OwnerId, PolicyId, Resource};

/// Entity types and the context of every action. The actions that have an input schema have `args`
/// beside these.
const TYPES: &str = r#"entity Group;
// Tags are properties: principal.hasTag("role") && principal.getTag("role").contains("admin").
entity Owner in [Group] { id: String } tags Set<String>;
entity Agent in [Group] { id: String, owner: Owner, purpose: String } tags Set<String>;
entity Tool;
// What the enforcement point says of the action.
entity Properties tags Set<String>;
// A URI. Its parents are its whole-segment prefixes: crm://case/1234 is in crm://case.
// `path` is what follows scheme://, without query and fragment.
entity Resource in [Resource] { uri: String, scheme: String, path: String } tags Set<String>;

type Situation = {
  task?: String,
  session?: String,
  justification?: String,
  agent?: Agent,
  owner: Owner,
  tool?: { server: String, name: String },
  action: Properties,
  effect: String,
  // UTC; weekday 1 is Monday.
  time: { unix: Long, hour: Long, weekday: Long },
  // Where the enforcement point says that it stands.
  environment?: String,
  // From the ledger: of whoever acts; of them in this task; of them with this tool.
  history: { agent: Counts, task: Counts, tool: Counts },
  // From 0, nothing is known, to 100.
  risk: Long,
  // The grant that would be used, if there is one.
  grant?: { uses: Long, uses_left: Long, age_seconds: Long, expires_in_seconds: Long },
};

type Counts = { calls: Lately, denials: Lately };
type Lately = { minute: Long, hour: Long, day: Long };

"#;

/// Actions that are always there: to list tools, to request a grant, to approve one.
const ACTIONS: [&str; 3] = ["list", "request", "approve"];

/// The Cedar schema with which a policy naming `actions` is validated, in Cedar's schema syntax.
#[must_use]
pub fn schema_text<'a>(actions: impl IntoIterator<Item = &'a Action>) -> String {
    let mut names: BTreeSet<&str> = ACTIONS.into_iter().collect();
    names.extend(actions.into_iter().map(Action::as_str));
    let mut text = TYPES.to_owned();
    for name in names {
        // An action holds neither quotes nor backslashes.
        let _ = writeln!(text, "action \"{name}\" {APPLIES};");
    }
    text
}

/// What every action applies to.
const APPLIES: &str =
    "appliesTo { principal: [Owner, Agent], resource: [Resource], context: Situation }";

/// The input schemas of actions, as JSON Schema.
pub type InputSchemas = BTreeMap<Action, String>;

/// The schema of [`schema_text`] for these actions, with `args` for those that have `inputs`. Cedar sets up a new lexer for every text
/// it reads and none for JSON: so the text is read once, and its actions are multiplied as JSON.
fn schema(
    actions: &BTreeSet<Action>,
    inputs: &BTreeMap<&Action, Inputs>,
) -> Result<Schema, Vec<Fault>> {
    Schema::from_json_value(schema_json(actions, inputs))
        .map_err(|error| faults_of(&DetailedError::from(&error)))
}

fn schema_json(
    actions: &BTreeSet<Action>,
    inputs: &BTreeMap<&Action, Inputs>,
) -> serde_json::Value {
    static PROTOTYPE: LazyLock<serde_json::Value> = LazyLock::new(|| {
        let (prototype, _) = SchemaFragment::from_cedarschema_str(&schema_text([]))
            .expect("our own schema is well formed");
        prototype.to_json_value().expect("a schema in Cedar's syntax has a JSON form")
    });
    let mut json = PROTOTYPE.clone();
    let situation = json[""]["commonTypes"]["Situation"].clone();
    if let Some(known) = json.get_mut("").and_then(|namespace| namespace.get_mut("actions")) {
        let like_every_other = known[ACTIONS[0]].clone();
        for action in actions {
            known[action.as_str()] = like_every_other.clone();
            if let Some(inputs) = inputs.get(action) {
                let mut context = situation.clone();
                context["attributes"]["args"] = inputs.cedar();
                known[action.as_str()]["appliesTo"]["context"] = context;
            }
        }
    }
    json
}

/// A policy that passed every check, compiled.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) forbids: bool,
    pub(super) scope: Scope,
    pub(super) condition: Option<Condition>,
    pub(super) terms: Terms,
    /// The actions whose input schemas it was validated with.
    pub(super) typed_by: BTreeSet<Action>,
}

/// Parses and validates one policy text.
pub(super) fn check(
    id: &PolicyId,
    text: &str,
    validators: &mut Validators<'_>,
) -> Result<Checked, Vec<Fault>> {
    if text.len() > POLICY_BYTES_MAX {
        let message =
            format!("the policy has {} bytes, at most {POLICY_BYTES_MAX} are allowed", text.len());
        return Err(vec![Fault::new(0, message)]);
    }
    nesting::check(text).map_err(|fault| vec![fault])?;
    let policy = Policy::parse(Some(cedar_policy::PolicyId::new(id.as_str())), text)
        .map_err(|errors| faults_of(&DetailedError::from(&errors)))?;
    let depth = evaluate::depth(&policy).map_err(|fault| vec![fault])?;

    let forbids = policy.effect() == cedar_policy::Effect::Forbid;
    let (terms, mut faults) = annotation::read(id, forbids, evaluate::annotations(&policy));
    let (actions, of_literals) = check_literals(&evaluate::literals(&policy));
    faults.extend(of_literals);
    if !faults.is_empty() {
        return Err(faults);
    }
    let reads = evaluate::argument_reads(&policy);
    let typed_by = match reads.first() {
        None => BTreeSet::new(),
        Some(first) => {
            validators.typing(&policy).map_err(|message| vec![Fault::new(first.offset, message)])?
        }
    };
    let unreadable = validators.unreadable(&actions, &typed_by, &reads)?;
    if !unreadable.is_empty() {
        return Err(unreadable);
    }
    validators.validate(&policy, actions, !typed_by.is_empty())?;
    let scope = Scope::of(&policy).map_err(|fault| vec![fault])?;
    let condition = Condition::compile(&policy, depth)?;
    Ok(Checked { forbids, scope, condition, terms, typed_by })
}

/// The actions that are named, and a fault for each literal that can never be met because it is no
/// id of its type (a `*` in an action, a control character in a resource).
fn check_literals(literals: &[Literal]) -> (BTreeSet<Action>, Vec<Fault>) {
    let mut actions = BTreeSet::new();
    let mut faults = Vec::new();
    for literal in literals {
        let id = literal.id.as_str();
        let checked = match literal.kind.as_str() {
            "Action" => Action::new(id).map(|action| {
                actions.insert(action);
            }),
            "Agent" => AgentId::new(id).map(drop),
            "Owner" => OwnerId::new(id).map(drop),
            "Group" => GroupId::new(id).map(drop),
            "Resource" => Resource::new(id).map(drop),
            // Whatever else there is, the validator knows whether it exists.
            _ => Ok(()),
        };
        if let Err(error) = checked {
            let shown: String = id.chars().take(80).collect();
            faults.push(Fault::new(
                literal.offset,
                format!("`{}::\"{shown}\"`: {error}", literal.kind),
            ));
        }
    }
    if actions.len() > ACTIONS_MAX {
        faults.push(Fault::new(0, format!("the policy names more than {ACTIONS_MAX} actions")));
    }
    (actions, faults)
}

/// Validators by the actions they know, and whether they know their arguments: most policies of a
/// set name the same few.
pub(super) struct Validators<'a> {
    schemas: &'a InputSchemas,
    known: BTreeMap<(BTreeSet<Action>, bool), Known<'a>>,
}

struct Known<'a> {
    validator: Validator,
    inputs: BTreeMap<&'a Action, Inputs>,
}

/// How many validators are kept at a time; each holds a schema of some kilobytes.
const VALIDATORS_MAX: usize = 512;

impl<'a> Validators<'a> {
    pub(super) fn new(schemas: &'a InputSchemas) -> Self {
        Self { schemas, known: BTreeMap::new() }
    }

    /// What is known of these actions; of their arguments only where a policy reads them.
    fn knowing(
        &mut self,
        actions: BTreeSet<Action>,
        typed: bool,
    ) -> Result<&Known<'a>, Vec<Fault>> {
        if self.known.len() >= VALIDATORS_MAX {
            self.known.clear();
        }
        match self.known.entry((actions, typed)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(vacant) => {
                let (actions, _) = vacant.key();
                let of = actions.iter().filter(|_| typed).filter_map(|action| {
                    let (action, schema) = self.schemas.get_key_value(action)?;
                    Some((action, Inputs::of_json_schema(schema).ok()?))
                });
                let inputs = of.collect();
                let validator = Validator::new(schema(actions, &inputs)?);
                Ok(vacant.insert(Known { validator, inputs }))
            }
        }
    }

    /// The actions whose arguments a policy reads: those of its scope, each of which must have a
    /// schema. Elsewhere `context has args` would be false for good, and a forbid would miss.
    fn typing(&self, policy: &Policy) -> Result<BTreeSet<Action>, String> {
        let named = match policy.action_constraint() {
            ActionConstraint::Any => Vec::new(),
            ActionConstraint::Eq(id) => vec![id],
            ActionConstraint::In(ids) => ids,
        };
        let named = named.iter().filter_map(|id| Action::new(id.id().unescaped()).ok());
        let named: BTreeSet<Action> = named.collect();
        if named.is_empty() {
            let message = "`context.args` differs from action to action: name the actions in the scope, as in `action == Action::\"crm/read_case\"`";
            return Err(message.to_owned());
        }
        let without = named.iter().filter(|action| !self.schemas.contains_key(*action));
        let without: Vec<_> = without.map(|action| format!("`{action}`")).collect();
        if without.is_empty() {
            return Ok(named);
        }
        let without = without.join(", ");
        Err(format!("`context.args` cannot be read: there is no input schema of {without}"))
    }

    /// A fault for each read of an argument that has no exact type, or that there is none of. Cedar
    /// would take `has` of such a one for false, and a forbid would miss.
    fn unreadable(
        &mut self,
        actions: &BTreeSet<Action>,
        typed_by: &BTreeSet<Action>,
        reads: &[ArgumentRead],
    ) -> Result<Vec<Fault>, Vec<Fault>> {
        let mut faults = Vec::new();
        if typed_by.is_empty() {
            return Ok(faults);
        }
        let known = self.knowing(actions.clone(), true)?;
        for read in reads {
            let path = read.path.join(".");
            let looks = typed_by
                .iter()
                .filter_map(|action| Some((action, known.inputs.get(action)?.look(&read.path))));
            let looks: Vec<_> = looks.collect();
            if looks.iter().all(|(_, look)| *look == Look::Nothing) {
                let message = format!("there is no argument `{path}`");
                faults.push(Fault::new(read.offset, message));
                continue;
            }
            for (action, look) in looks {
                if let Look::LeftOut(why) = look {
                    let message = format!("argument `{path}` of `{action}` cannot be read: {why}");
                    faults.push(Fault::new(read.offset, message));
                }
            }
        }
        Ok(faults)
    }

    fn validate(
        &mut self,
        policy: &Policy,
        actions: BTreeSet<Action>,
        typed: bool,
    ) -> Result<(), Vec<Fault>> {
        let known = self.knowing(actions, typed)?;
        let set = cedar_policy::PolicySet::from_policies([policy.clone()])
            .map_err(|error| faults_of(&DetailedError::from(&error)))?;
        let result = known.validator.validate(&set, ValidationMode::Strict);
        let mut faults = Vec::new();
        for error in result.validation_errors() {
            faults.extend(faults_of(&DetailedError::from(error)));
        }
        // A policy that can never apply, or whose letters are not what they look like, is a mistake
        // that nobody would see otherwise: a forbid that never forbids.
        for warning in result.validation_warnings() {
            faults.extend(faults_of(&DetailedError::from(warning)));
        }
        faults.sort_by_key(|fault| fault.offset);
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// What Cedar says, each with its place in the text.
fn faults_of(error: &DetailedError) -> Vec<Fault> {
    let mut faults = Vec::new();
    let offset = error.source_locations.first().map_or(0, |label| label.loc.start);
    let mut message = without_policy(&error.message).to_owned();
    let label = error.source_locations.first().and_then(|label| label.label.as_deref());
    for more in [label, error.help.as_deref()].into_iter().flatten() {
        let _ = write!(message, "; {more}");
    }
    faults.push(Fault { offset, message });
    for related in &error.related {
        faults.extend(faults_of(related));
    }
    faults
}

/// Cedar's message without its "for policy `x`, ", which the fault's own place already says.
fn without_policy(message: &str) -> &str {
    let rest = message.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, "));
    rest.map_or(message, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_holds_the_actions_named_and_the_three_of_every_ledger() {
        let action = Action::new("crm/read_case").unwrap();
        let (of_text, warnings) = Schema::from_cedarschema_str(&schema_text([&action])).unwrap();
        assert_eq!(warnings.count(), 0);
        let all = ["approve", "crm/read_case", "list", "request"];
        for schema in [of_text, schema(&BTreeSet::from([action]), &BTreeMap::new()).unwrap()] {
            let mut names: Vec<_> = schema.actions().map(ToString::to_string).collect();
            names.sort();
            assert_eq!(names, all.map(|name| format!("Action::\"{name}\"")));
        }
    }

    #[test]
    fn the_schema_as_text_and_the_one_that_validates_are_the_same() {
        let actions = ["a/b", "s3:GetObject"].map(|name| Action::new(name).unwrap());
        let json = |fragment: SchemaFragment| fragment.to_json_value().unwrap();
        let (text, _) = SchemaFragment::from_cedarschema_str(&schema_text(&actions)).unwrap();
        let built = schema_json(&BTreeSet::from(actions), &BTreeMap::new());
        assert_eq!(json(text), json(SchemaFragment::from_json_value(built).unwrap()));
    }

    #[test]
    fn any_action_that_is_an_id_stands_in_the_schema() {
        let all: String =
            (0..128_u8).map(char::from).filter(|c| Action::new(&c.to_string()).is_ok()).collect();
        let action = Action::new(&all).unwrap();
        let (schema, _) = Schema::from_cedarschema_str(&schema_text([&action])).unwrap();
        assert!(schema.actions().any(|known| known.id().unescaped() == all));
    }
}
