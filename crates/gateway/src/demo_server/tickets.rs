//! Download tickets: signed, short-lived, and good exactly once.
//!
//! A ticket is `<expiry>.<number>.<mac>`: Unix seconds, 16 random bytes and a keyed BLAKE3 over both and
//! the object's name, all but the first in hexadecimal.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// How long a ticket is good, in seconds.
pub(super) const TTL_SECONDS: u64 = 60;

const KEY_FILE: &str = "ticket.key";
const USED_DIRECTORY: &str = "used";

/// Signs tickets and takes each of them once.
#[derive(Debug)]
pub(super) struct Tickets {
    key: [u8; 32],
    used: Used,
}

#[derive(Debug)]
enum Used {
    /// Numbers of tickets used in this process.
    Here(Mutex<BTreeSet<String>>),
    /// A directory with one empty file a used ticket, shared with other processes.
    Shared(PathBuf),
}

impl Tickets {
    /// With a directory, its key and its used tickets; without, fresh ones.
    pub(super) fn open(directory: Option<PathBuf>) -> io::Result<Self> {
        let Some(directory) = directory else {
            return Ok(Self { key: rand::random(), used: Used::Here(Mutex::default()) });
        };
        let used = directory.join(USED_DIRECTORY);
        fs::create_dir_all(&used)?;
        Ok(Self { key: shared_key(&directory)?, used: Used::Shared(used) })
    }

    pub(super) fn sign(&self, object: &str) -> String {
        self.sign_until(object, now() + TTL_SECONDS)
    }

    fn sign_until(&self, object: &str, expiry: u64) -> String {
        let number = hex::encode(rand::random::<[u8; 16]>());
        format!("{expiry}.{number}.{}", self.mac(object, expiry, &number).to_hex())
    }

    /// Takes a ticket for `object`; it is used up from then on.
    pub(super) fn redeem(&self, object: &str, ticket: &str) -> Result<(), String> {
        let refused = || "the ticket is not for this object, or not ours".to_owned();
        let mut parts = ticket.split('.');
        let (Some(expiry), Some(number), Some(mac), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refused());
        };
        let expiry: u64 = expiry.parse().map_err(|_| refused())?;
        // The comparison takes the same time wherever the difference is.
        let given = blake3::Hash::from_hex(mac).map_err(|_| refused())?;
        if self.mac(object, expiry, number) != given {
            return Err(refused());
        }
        if expiry < now() {
            return Err("the ticket has run out".to_owned());
        }
        match self.used.insert(number) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the ticket has been used".to_owned()),
            Err(error) => Err(format!("the ticket cannot be marked as used: {error}")),
        }
    }

    fn mac(&self, object: &str, expiry: u64, number: &str) -> blake3::Hash {
        let text = format!("{expiry}.{number}.{object}");
        blake3::keyed_hash(&self.key, text.as_bytes())
    }
}

impl Used {
    /// Whether the number is new. INVARIANT: it is hexadecimal, since the ticket's mac was checked.
    fn insert(&self, number: &str) -> io::Result<bool> {
        match self {
            Self::Here(numbers) => {
                let mut numbers = numbers.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(numbers.insert(number.to_owned()))
            }
            Self::Shared(directory) => {
                match OpenOptions::new().write(true).create_new(true).open(directory.join(number)) {
                    Ok(_) => Ok(true),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

/// The directory's key, made by whichever process comes first.
fn shared_key(directory: &Path) -> io::Result<[u8; 32]> {
    let path = directory.join(KEY_FILE);
    if !path.exists() {
        let fresh = directory.join(format!("{KEY_FILE}.{:032x}", rand::random::<u128>()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&fresh)?.write_all(&rand::random::<[u8; 32]>())?;
        // A link to a name that exists already fails: the first key stays.
        let linked = fs::hard_link(&fresh, &path);
        fs::remove_file(&fresh)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    fs::read(&path)?.try_into().map_err(|_| io::Error::other("the ticket key has not 32 bytes"))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once_for_its_object() {
        let tickets = Tickets::open(None).unwrap();
        let ticket = tickets.sign("a");
        assert!(tickets.redeem("b", &ticket).is_err());
        assert_eq!(tickets.redeem("a", &ticket), Ok(()));
        assert_eq!(tickets.redeem("a", &ticket), Err("the ticket has been used".to_owned()));
    }

    #[test]
    fn a_ticket_that_ran_out_or_was_changed_is_refused() {
        let tickets = Tickets::open(None).unwrap();
        assert!(tickets.redeem("a", &tickets.sign_until("a", 1)).unwrap_err().contains("run out"));
        let ticket = tickets.sign("a");
        for at in 0..ticket.len() {
            let mut changed = ticket.clone().into_bytes();
            changed[at] = if changed[at] == b'1' { b'2' } else { b'1' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(tickets.redeem("a", &changed).is_err(), "{changed}");
        }
        for bad in ["", "..", "1.2", "x.y.z", "1.2.3.4"] {
            assert!(tickets.redeem("a", bad).is_err(), "{bad}");
        }
        assert_eq!(tickets.redeem("a", &ticket), Ok(()));
    }

    #[test]
    fn processes_that_share_a_directory_share_its_tickets() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Tickets::open(Some(directory.path().to_owned())).unwrap();
        let (one, other) = (open(), open());
        let ticket = one.sign("a");
        assert_eq!(other.redeem("a", &ticket), Ok(()));
        assert!(one.redeem("a", &ticket).is_err());
        assert!(Tickets::open(None).unwrap().redeem("a", &one.sign("a")).is_err());
    }
}
