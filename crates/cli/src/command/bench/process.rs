//! What the system says a process takes.

use anyhow::{Context as _, Result};
use rustix::process::Pid;

/// The unit in which Linux tells programs of processor time, on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process took so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// Memory now, and the most there was; kilobytes.
    pub(super) resident_kb: u64,
    pub(super) peak_kb: u64,
    /// Memory now without what is only a file's, such as its own code; kilobytes.
    pub(super) anonymous_kb: u64,
    /// Processor time, its own and the kernel's for it.
    pub(super) cpu_seconds: f64,
}

pub(super) fn usage(pid: Pid) -> Result<Usage> {
    let read = |name: &str| {
        let path = format!("/proc/{}/{name}", pid.as_raw_nonzero());
        std::fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))
    };
    let status = read("status")?;
    let ticks = ticks(&read("stat")?).context("the system tells processor time in another way")?;
    Ok(Usage {
        resident_kb: kilobytes(&status, "VmRSS:").context("the system tells no memory")?,
        peak_kb: kilobytes(&status, "VmHWM:").context("the system tells no peak of memory")?,
        anonymous_kb: kilobytes(&status, "RssAnon:").context("the system tells no memory")?,
        cpu_seconds: ticks as f64 / TICKS_PER_SECOND,
    })
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// `utime` and `stime`, the twelfth and thirteenth behind the name, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_something() {
        let own = usage(rustix::process::getpid()).unwrap();
        assert!(own.resident_kb > 100 && own.peak_kb >= own.resident_kb, "{own:?}");
        assert!((1..own.resident_kb).contains(&own.anonymous_kb), "{own:?}");
    }

    #[test]
    fn a_name_cannot_move_the_fields() {
        let stat = "7 (a) 1 2 (b) S 1 7 7 0 -1 4194304 103 0 0 0 12 34 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(46));
    }
}
