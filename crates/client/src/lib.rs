//! The cord: a Rust program's way to ask, act and follow revocations over HTTP
