//! The gate: agents' calls to tools
