//! One writer, or any number of offline readers, for one directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use crate::Error;

const NAME: &str = "lock";

/// The directory's lock; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    /// Whether the file names this process as the writer.
    noted: bool,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.noted {
            // A note that stays names a process that is gone, which misleads but harms nothing.
            let _ = self.file.set_len(0);
        }
    }
}

impl Lock {
    /// Takes the lock for the one writer and notes who that is.
    pub(crate) fn exclusive(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::file("open", &path))?;
        taken(dir, &mut file, File::try_lock)?;
        let note = format!("process {}", std::process::id());
        file.set_len(0)
            .and_then(|()| file.write_all(note.as_bytes()))
            .map_err(Error::file("write", &path))?;
        Ok(Self { file, noted: true })
    }

    /// Takes the lock for an offline reader: others may read too, nobody may write.
    pub(crate) fn shared(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(NAME);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoLedger { dir: dir.to_owned() });
            }
            Err(e) => return Err(Error::file("open", &path)(e)),
        };
        taken(dir, &mut file, File::try_lock_shared)?;
        Ok(Self { file, noted: false })
    }
}

fn taken(
    dir: &Path,
    file: &mut File,
    lock: fn(&File) -> Result<(), TryLockError>,
) -> Result<(), Error> {
    match lock(file) {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The note names the last writer; a reader that holds the lock leaves none.
            let read = file.take(64).read_to_string(&mut holder);
            if read.is_err() || holder.is_empty() {
                "another process".clone_into(&mut holder);
            }
            Err(Error::InUse { dir: dir.to_owned(), holder })
        }
        Err(TryLockError::Error(e)) => Err(Error::file("lock", &dir.join(NAME))(e)),
    }
}
