//! The last entries this node has verified, as files of slots; a ring by files.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::Error;
use crate::log::{embedded::make_dir, place, slot};

/// How many bytes of entries are kept at least, once there are so many.
pub(crate) const KEPT_BYTES: u64 = 64 << 20;
/// How big one file becomes before the next is begun.
const FILE_BYTES: u64 = 8 << 20;

/// The kept entries, open for more.
#[derive(Debug)]
pub(crate) struct Kept {
    dir: PathBuf,
    /// Oldest first; the last one is `open`'s, where that is.
    files: VecDeque<(PathBuf, u64)>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    next: u64,
    slot: Vec<u8>,
}

impl Kept {
    /// Opens what is kept in `dir`; the last file is gone on with from its last whole entry.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        make_dir(dir)?;
        let mut files = VecDeque::new();
        for path in paths(dir)? {
            let bytes = fs::metadata(&path).map_err(Error::file("read", &path))?.len();
            files.push_back((path, bytes));
        }
        let mut kept = Self { dir: dir.to_owned(), files, open: None };
        kept.reopen_last()?;
        Ok(kept)
    }

    fn reopen_last(&mut self) -> Result<(), Error> {
        let Some((path, size)) = self.files.back_mut() else { return Ok(()) };
        let bytes = fs::read(&*path).map_err(Error::file("read", path))?;
        let (mut whole, mut last) = (0, None);
        for entry in slots(&bytes) {
            whole += (slot::HEADER + entry.len()) as u64;
            last = place(entry).map(|place| place.number);
        }
        let Some(last) = last else { return Ok(()) };
        let mut file =
            File::options().write(true).open(&*path).map_err(Error::file("open", path))?;
        file.set_len(whole)
            .and_then(|()| io::Seek::seek(&mut file, io::SeekFrom::End(0)))
            .map_err(Error::file("write", path))?;
        *size = whole;
        self.open = Some(Open { file, path: path.clone(), next: last + 1, slot: Vec::new() });
        Ok(())
    }

    /// Adds entry `number`; it is durable after [`Kept::sync`]. One that does not follow the last
    /// begins a file of its own.
    pub(crate) fn add(&mut self, number: u64, entry: &[u8]) -> Result<(), Error> {
        let full = self.files.back().is_some_and(|(_, bytes)| *bytes >= FILE_BYTES);
        if full {
            // What was added so far has to be durable before the file is left.
            self.sync()?;
        }
        let mut open = match self.open.take().filter(|open| open.next == number && !full) {
            Some(open) => open,
            None => self.begin(number)?,
        };
        open.slot.clear();
        slot::encode(entry, &mut open.slot);
        // On failure the file stays closed: what it holds now is unknown, so another is begun.
        open.file.write_all(&open.slot).map_err(Error::file("write", &open.path))?;
        open.next = number + 1;
        if let Some((_, bytes)) = self.files.back_mut() {
            *bytes += open.slot.len() as u64;
        }
        self.open = Some(open);
        self.forget()
    }

    /// Makes everything added durable.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        let Some(open) = self.open.take() else { return Ok(()) };
        open.file.sync_data().map_err(Error::file("sync", &open.path))?;
        self.open = Some(open);
        Ok(())
    }

    fn begin(&mut self, number: u64) -> Result<Open, Error> {
        let path = self.dir.join(format!("{number:020}.kept"));
        let file = File::create(&path).map_err(Error::file("create", &path))?;
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(Error::file("sync", &self.dir))?;
        self.files.retain(|(old, _)| *old != path);
        self.files.push_back((path.clone(), 0));
        Ok(Open { file, path, next: number, slot: Vec::new() })
    }

    /// Removes the oldest files as long as the rest holds enough.
    fn forget(&mut self) -> Result<(), Error> {
        let mut total: u64 = self.files.iter().map(|(_, bytes)| bytes).sum();
        while let Some((path, bytes)) = self.files.front() {
            if total - bytes < KEPT_BYTES {
                break;
            }
            total -= bytes;
            fs::remove_file(path).map_err(Error::file("remove", path))?;
            self.files.pop_front();
        }
        Ok(())
    }
}

/// Every whole entry kept in `dir`, by number. Where two files have one, the later begun wins.
pub(crate) fn load(dir: &Path) -> Result<BTreeMap<u64, Bytes>, Error> {
    let mut entries = BTreeMap::new();
    if !dir.is_dir() {
        return Ok(entries);
    }
    for path in paths(dir)? {
        let bytes = Bytes::from(fs::read(&path).map_err(Error::file("read", &path))?);
        for entry in slots(&bytes) {
            if let Some(place) = place(entry) {
                entries.insert(place.number, bytes.slice_ref(entry));
            }
        }
    }
    Ok(entries)
}

/// The whole entries at the start of `bytes`.
fn slots(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let entry = slot::decode(rest)?;
        rest = &rest[slot::HEADER + entry.len()..];
        Some(entry)
    })
}

/// The files in `dir`, by first number.
fn paths(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for found in fs::read_dir(dir).map_err(Error::file("read", dir))? {
        let path = found.map_err(Error::file("read", dir))?.path();
        if path.extension().is_some_and(|extension| extension == "kept") {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use bailiwick_core::record::LedgerId;

    use super::*;
    use crate::log::suite;

    fn entry(number: u64, bytes: usize) -> Bytes {
        suite::entry(LedgerId([1; 16]), number, bytes, 7)
    }

    #[test]
    fn entries_are_kept_over_a_restart_and_a_torn_end() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let mut kept = Kept::open(dir.path()).unwrap();
            for number in round * 5 + 1..=round * 5 + 5 {
                kept.add(number, &entry(number, 500)).unwrap();
            }
            kept.sync().unwrap();
            let (path, _) = kept.files.back().unwrap().clone();
            drop(kept);
            File::options().append(true).open(path).unwrap().write_all(b"torn").unwrap();
        }
        let kept = load(dir.path()).unwrap();
        assert_eq!(kept.keys().copied().collect::<Vec<_>>(), (1..=15).collect::<Vec<_>>());
        assert_eq!(kept[&15], entry(15, 500));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_gap_begins_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = Kept::open(dir.path()).unwrap();
        for number in [1, 2, 7, 8] {
            kept.add(number, &entry(number, 500)).unwrap();
        }
        assert_eq!(kept.files.len(), 2);
        assert_eq!(load(dir.path()).unwrap().into_keys().collect::<Vec<_>>(), [1, 2, 7, 8]);
    }

    #[test]
    fn the_oldest_are_forgotten_and_enough_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = Kept::open(dir.path()).unwrap();
        for number in 1..=90 {
            kept.add(number, &entry(number, 1_000_000)).unwrap();
        }
        let total: u64 = kept.files.iter().map(|(_, bytes)| bytes).sum();
        assert!((KEPT_BYTES..KEPT_BYTES + 2 * FILE_BYTES).contains(&total), "{total}");
        let numbers: Vec<_> = load(dir.path()).unwrap().into_keys().collect();
        assert_eq!(numbers, (numbers[0]..=90).collect::<Vec<_>>());
        assert!(numbers[0] > 1);
    }
}
