//! The desk: people and programs come in over HTTP
