//! The record: appends to one chain, follows it, snapshots
