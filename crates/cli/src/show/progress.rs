//! Progress of long work, on standard error, and only when it is long and a person looks on.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How long work may take before its progress is shown.
const QUIET: Duration = Duration::from_millis(400);

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Entries,
    Bytes,
    Things,
}

/// Progress of one piece of work; gone from the screen when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    unit: Unit,
    total: Option<u64>,
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Work that has begun, of `total` units where that is known.
    pub(crate) fn new(what: &'static str, unit: Unit, total: Option<u64>) -> Self {
        Self { what, unit, total, since: Instant::now(), bar: None }
    }

    /// So much is done.
    pub(crate) fn at(&mut self, done: u64) {
        if self.bar.is_none() && self.since.elapsed() >= QUIET {
            self.bar = Some(draw(self.what, self.unit, self.total));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar that is there from the start, counting to `total`.
pub(crate) fn bar(what: &'static str, total: u64) -> ProgressBar {
    draw(what, Unit::Things, Some(total))
}

fn draw(what: &'static str, unit: Unit, total: Option<u64>) -> ProgressBar {
    let template = match (unit, total) {
        (Unit::Entries, Some(_)) => "{msg} {wide_bar} {human_pos}/{human_len} entries, {eta} left",
        (Unit::Entries, None) => "{msg} {human_pos} entries, {per_sec}",
        (Unit::Things, Some(_)) => "{msg} {wide_bar} {human_pos}/{human_len}, {eta} left",
        (Unit::Things, None) => "{msg} {human_pos}",
        (Unit::Bytes, Some(_)) => "{msg} {wide_bar} {bytes}/{total_bytes}, {eta} left",
        (Unit::Bytes, None) => "{msg} {bytes}, {bytes_per_sec}",
    };
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_message(what)
}
