//! The registry of kinds. Numbers are forever.

/// Every kind that has a number, typed in this version or not.
pub const KINDS: &[(u16, &str)] = &[
    (1, "ledger.created"),
    (2, "writer.started"),
    (3, "key.rotated"),
    (4, "checkpoint.signed"),
    (5, "config.changed"),
    (6, "subject.erased"),
    (20, "owner.registered"),
    (21, "owner.updated"),
    (22, "owner.disabled"),
    (23, "owner.enabled"),
    (24, "delegate.added"),
    (25, "delegate.removed"),
    (30, "agent.registered"),
    (31, "agent.updated"),
    (32, "agent.suspended"),
    (33, "agent.reinstated"),
    (34, "agent.retired"),
    (35, "agent.reassigned"),
    (40, "entity.put"),
    (41, "entity.removed"),
    (42, "tool.pinned"),
    (43, "tool.unpinned"),
    (44, "tool.changed"),
    (50, "policy.put"),
    (51, "policy.removed"),
    (52, "schema.put"),
    (53, "policies.activated"),
    (60, "credential.issued"),
    (61, "credential.revoked"),
    (62, "credential.limited"),
    (70, "task.opened"),
    (71, "task.closed"),
    (80, "grant.requested"),
    (81, "grant.issued"),
    (82, "grant.denied"),
    (83, "grant.returned"),
    (84, "grant.expired"),
    (85, "grant.exhausted"),
    (86, "access.reviewed"),
    (87, "breakglass.used"),
    (100, "approval.requested"),
    (101, "approval.granted"),
    (102, "approval.denied"),
    (103, "approval.expired"),
    (104, "approval.withdrawn"),
    (110, "call.authorized"),
    (111, "call.denied"),
    (112, "call.finished"),
    (113, "denials.aggregated"),
    (120, "revocation.issued"),
    (121, "suspension.lifted"),
    (122, "revocation.enforced"),
    (130, "finding.raised"),
    (131, "finding.closed"),
    (132, "risk.changed"),
    (140, "query.run"),
    (141, "export.started"),
    (142, "export.finished"),
    (143, "export.failed"),
    (144, "segment.sealed"),
    (150, "signal.received"),
    (151, "signal.failed"),
];

/// The name of a kind, if the number is taken.
#[must_use]
pub fn name_of(kind: u16) -> Option<&'static str> {
    let at = KINDS.binary_search_by_key(&kind, |(number, _)| *number).ok()?;
    Some(KINDS[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_so_that_none_is_given_twice() {
        assert!(KINDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn typed_kinds_stand_in_the_registry_under_their_names() {
        for (kind, name) in crate::event::TYPED {
            assert_eq!(name_of(*kind), Some(*name));
        }
    }
}
