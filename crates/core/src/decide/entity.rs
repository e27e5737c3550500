//! What is known of owners, agents and resources, for policies to read.

use super::{Draft, refuse};
use crate::command::{Answer, RefusalCode};
use crate::event::{Entity, EntityPut, EntityRemoved, Fact};
use crate::properties::Properties;

/// The most entities with properties.
pub const ENTITIES_MAX: usize = 1_000_000;

/// Owners and agents have to be registered; resources are an open set.
pub(super) fn put(draft: &mut Draft<'_>, entity: &Entity, properties: &Properties) -> Answer {
    let state = draft.state;
    let exists = match entity {
        Entity::Owner(id) => state.owners().contains_key(id),
        Entity::Agent(id) => state.agents().contains_key(id),
        Entity::Resource(_) => true,
    };
    if !exists {
        return refuse(RefusalCode::NotFound, format!("{entity} is not registered"));
    }
    if !properties.is_within_limits() {
        return refuse(RefusalCode::OutOfRange, "there are too many or too long properties");
    }
    let entities = state.entities();
    if entities.len() >= ENTITIES_MAX && !entities.contains_key(entity) {
        return refuse(RefusalCode::OutOfRange, format!("at most {ENTITIES_MAX} entities"));
    }
    let (entity, properties) = (entity.clone(), properties.clone());
    draft.done(Fact::EntityPut(EntityPut { entity, properties }))
}

pub(super) fn remove(draft: &mut Draft<'_>, entity: &Entity) -> Answer {
    if !draft.state.entities().contains_key(entity) {
        return refuse(RefusalCode::NotFound, format!("nothing is known of {entity}"));
    }
    draft.done(Fact::EntityRemoved(EntityRemoved { entity: entity.clone() }))
}
