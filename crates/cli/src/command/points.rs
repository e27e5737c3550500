//! `bailiwick points`.

use anyhow::Result;

use super::online::Desk;
use crate::show::json::Column;

const POINTS: [Column; 4] = [
    ("point", "/point"),
    ("applied up to", "/applied"),
    ("answered ms ago", "/answered_ms_ago"),
    ("may act", "/live"),
];

pub(super) async fn run(desk: Desk) -> Result<()> {
    desk.list("/v1/enforcement-points", &[], &POINTS).await
}
