//! Makes the next segment's file ready, off the answer path.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Error;

const NAME: &str = "next.tmp";
/// Zeros are written and synced in pieces, so that no append waits long behind them.
const PIECE: usize = 1 << 20;

/// A file full of zeros, durable, that has no name in the ledger yet.
#[derive(Debug)]
pub(crate) struct Blank {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) capacity: u64,
}

/// A blank file being written on a thread of its own.
#[derive(Debug)]
pub(crate) struct Preparing {
    result: Receiver<io::Result<Blank>>,
    thread: Option<JoinHandle<()>>,
}

/// Whether a blank is there.
pub(crate) enum Prepared {
    Ready(Blank),
    NotYet,
    Failed(io::Error),
}

/// Starts writing a blank of `capacity` bytes in `dir`.
pub(crate) fn start(dir: &Path, capacity: u64) -> Result<Preparing, Error> {
    let path = dir.join(NAME);
    let (sender, result) = sync_channel(1);
    let written_to = path.clone();
    let thread = std::thread::Builder::new()
        .name("bailiwick-segment".to_owned())
        .spawn(move || {
            // Nobody listens any more only when the log is being closed.
            let _ = sender.send(write(written_to, capacity));
        })
        .map_err(Error::file("start a thread for", &path))?;
    Ok(Preparing { result, thread: Some(thread) })
}

/// Removes what an earlier process left unfinished.
pub(crate) fn clear(dir: &Path) -> Result<(), Error> {
    let path = dir.join(NAME);
    match fs::remove_file(&path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::file("remove", &path)(e)),
    }
}

impl Preparing {
    /// Waits at most `limit` for the blank.
    pub(crate) fn wait(&self, limit: Duration) -> Prepared {
        match self.result.recv_timeout(limit) {
            Ok(Ok(blank)) => Prepared::Ready(blank),
            Ok(Err(e)) => Prepared::Failed(e),
            Err(RecvTimeoutError::Timeout) => Prepared::NotYet,
            Err(RecvTimeoutError::Disconnected) => {
                Prepared::Failed(io::Error::other("the thread that writes it has ended"))
            }
        }
    }
}

impl Drop for Preparing {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // It ended by panicking only if `write` did; what it left is cleared at the next open.
            let _ = thread.join();
        }
    }
}

fn write(path: PathBuf, capacity: u64) -> io::Result<Blank> {
    let written = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .and_then(|file| fill(&file, capacity).map(|()| file));
    match written {
        Ok(file) => Ok(Blank { path, file, capacity }),
        Err(e) => {
            // Gives back what little room there was; if this fails too, the first error says more.
            let _ = fs::remove_file(&path);
            Err(e)
        }
    }
}

fn fill(mut file: &File, capacity: u64) -> io::Result<()> {
    let zeros = vec![0; PIECE];
    let mut left = usize::try_from(capacity).map_err(io::Error::other)?;
    while left > 0 {
        let piece = left.min(PIECE);
        file.write_all(&zeros[..piece])?;
        file.sync_data()?;
        left -= piece;
    }
    file.sync_all()
}
