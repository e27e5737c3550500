//! What must always hold of the rules, whatever is asked of them in whatever order: one binary,
//! a module for each family of laws. `UPDATE_EXPECT=1` rewrites the committed expectations.
#![expect(clippy::unwrap_used, reason = "a test may stop at what cannot happen")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a law looks at few of the many kinds")]

mod laws {
    mod chance;
    mod harness;
    mod history;
    mod oracle;
    mod samples;

    mod always;
    mod approvals;
    mod bodies;
    mod bounded;
    mod constraints;
    mod contexts;
    mod delegation;
    mod denials;
    mod detector;
    mod enforcement;
    mod feed_faults;
    mod naive;
    mod ownership;
    mod properties;
    mod recorded;
    mod refusals;
    mod retries;
    mod review;
    mod roles;
    mod schemas;
    mod tools;
    mod widening;
}
