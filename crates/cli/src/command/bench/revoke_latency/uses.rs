//! The uses that agents really made, read from the file that their servers write.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::super::upstream::USE_BYTES;

/// All uses so far, by agent.
#[derive(Debug)]
pub(super) struct Uses {
    file: File,
    /// The beginning of a record whose end has not been read.
    rest: Vec<u8>,
    /// INVARIANT: each agent's in the order of time: one process writes them, one at a time.
    times: Vec<Vec<u64>>,
}

impl Uses {
    /// The uses of so many agents in a file, which is made if there is none.
    pub(super) fn open(path: &Path, agents: usize) -> Result<Self> {
        let touched = File::options().append(true).create(true).open(path);
        let file = touched.and_then(|_| File::open(path));
        let file = file.with_context(|| format!("cannot open `{}`", path.display()))?;
        Ok(Self { file, rest: Vec::new(), times: vec![Vec::new(); agents] })
    }

    /// Reads what has been written since.
    pub(super) fn read_on(&mut self) -> Result<()> {
        self.file.read_to_end(&mut self.rest).context("the uses cannot be read")?;
        let whole = self.rest.len() - self.rest.len() % USE_BYTES;
        for record in self.rest.drain(..whole).collect::<Vec<u8>>().chunks_exact(USE_BYTES) {
            let (agent, at) = record.split_at(8);
            let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes);
            let agent = usize::try_from(number(agent)?)?;
            let times = self.times.get_mut(agent).context("a use of an agent that is not ours")?;
            times.push(number(at)?);
        }
        Ok(())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.times.iter().map(Vec::len).sum()
    }

    /// An agent's uses behind one moment and before another.
    pub(super) fn within(&self, agent: usize, from: u64, to: u64) -> &[u64] {
        let times = &self.times[agent];
        let first = times.partition_point(|at| *at <= from);
        let last = times.partition_point(|at| *at < to);
        &times[first..last.max(first)]
    }

    /// An agent's last use.
    pub(super) fn last(&self, agent: usize) -> Option<u64> {
        self.times[agent].last().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn uses_are_read_as_they_are_written_torn_records_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("uses");
        let mut uses = Uses::open(&path, 2).unwrap();
        uses.read_on().unwrap();
        assert_eq!((uses.count(), uses.last(1)), (0, None));
        let mut to = File::options().append(true).open(&path).unwrap();
        let mut bytes = Vec::new();
        for (agent, at) in [(1_u64, 10_u64), (0, 15), (1, 20), (1, 30)] {
            bytes.extend(agent.to_le_bytes());
            bytes.extend(at.to_le_bytes());
        }
        to.write_all(&bytes[..40]).unwrap();
        uses.read_on().unwrap();
        assert_eq!((uses.count(), uses.last(1)), (2, Some(10)));
        to.write_all(&bytes[40..]).unwrap();
        uses.read_on().unwrap();
        assert_eq!(uses.within(1, 10, 30), [20]);
        assert_eq!(uses.within(1, 9, 31), [10, 20, 30]);
        assert_eq!(uses.within(0, 15, 99), [0_u64; 0]);
    }
}
