//! Which server, and which key: what was said, else what a running `serve` left in its directory.

use std::path::{Path, PathBuf};

use crate::{Error, Http};

/// Where a running `serve` writes its URL, one line, inside its data directory.
pub const ENDPOINT_FILE: &str = "endpoint";
/// Where `serve` keeps the first admin key, inside its data directory, readable by its user alone.
pub const KEY_FILE: &str = "admin.key";
/// Environment variable that names the server.
pub const URL_VARIABLE: &str = "BAILIWICK_URL";
/// Environment variable that holds the key.
pub const KEY_VARIABLE: &str = "BAILIWICK_KEY";

/// The most bytes that either file may have.
const FILE_BYTES_MAX: u64 = 4_096;

/// What is known about the server before anything is looked up.
#[derive(Clone)]
pub struct Sources {
    /// Its URL, from a flag or [`URL_VARIABLE`].
    pub url: Option<String>,
    /// The key, from [`KEY_VARIABLE`].
    pub key: Option<String>,
    /// The data directory of a server on this machine.
    pub data: PathBuf,
}

impl Sources {
    /// What the environment says, and the data directory to look into where it is silent. An empty
    /// variable counts as none.
    #[must_use]
    pub fn from_environment(data: &Path) -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { url: variable(URL_VARIABLE), key: variable(KEY_VARIABLE), data: data.to_owned() }
    }
}

/// A client of the server that `from` leads to.
///
/// The key file of a data directory is for the server of that directory alone: with a URL of another
/// server it is not read, let alone sent.
///
/// # Errors
/// [`Error::NoServer`], [`Error::NoKey`], [`Error::File`], and those of [`Http::new`].
pub fn discover(from: &Sources) -> Result<Http, Error> {
    let local = endpoint(&from.data)?;
    let url = match (&from.url, &local) {
        (Some(url), _) | (None, Some(url)) => url.clone(),
        (None, None) => return Err(Error::NoServer { data: from.data.clone() }),
    };
    if let Some(key) = &from.key {
        return Http::new(&url, Some(key.trim()));
    }
    let plain = |url: &str| url.trim_end_matches('/').to_ascii_lowercase();
    if local.is_none_or(|local| plain(&local) != plain(&url)) {
        return Err(Error::NoKey { url });
    }
    match admin_key(&from.data)? {
        Some(key) => Http::new(&url, Some(&key)),
        None => Err(Error::NoKey { url }),
    }
}

fn endpoint(data: &Path) -> Result<Option<String>, Error> {
    read(&data.join(ENDPOINT_FILE))
}

fn admin_key(data: &Path) -> Result<Option<String>, Error> {
    let path = data.join(KEY_FILE);
    #[cfg(unix)]
    if let Ok(found) = std::fs::metadata(&path) {
        use std::os::unix::fs::PermissionsExt;
        if found.permissions().mode() & 0o077 != 0 {
            let why = "others than its owner may read it; `chmod 600` it".to_owned();
            return Err(Error::File { path, why });
        }
    }
    read(&path)
}

/// The file's only line; none when there is no such file.
fn read(path: &Path) -> Result<Option<String>, Error> {
    let unusable = |why: String| Error::File { path: path.to_owned(), why };
    match std::fs::metadata(path) {
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            return Err(unusable(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(error.to_string())),
    }
    let text = std::fs::read_to_string(path).map_err(|e| unusable(e.to_string()))?;
    let line = text.trim();
    if line.is_empty() || line.contains('\n') {
        return Err(unusable("it does not hold exactly one line".to_owned()));
    }
    Ok(Some(line.to_owned()))
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const HERE: &str = "http://127.0.0.1:7420";

    fn directory(name: &str, endpoint: Option<&str>, key: Option<(&str, u32)>) -> PathBuf {
        let data =
            std::env::temp_dir().join(format!("bailiwick-discover-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir_all(&data).unwrap();
        if let Some(endpoint) = endpoint {
            std::fs::write(data.join(ENDPOINT_FILE), format!("{endpoint}\n")).unwrap();
        }
        if let Some((key, mode)) = key {
            std::fs::write(data.join(KEY_FILE), key).unwrap();
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(data.join(KEY_FILE), mode).unwrap();
        }
        data
    }

    fn look(url: Option<&str>, key: Option<&str>, data: PathBuf) -> Result<String, String> {
        let from = Sources { url: url.map(str::to_owned), key: key.map(str::to_owned), data };
        let found = discover(&from);
        std::fs::remove_dir_all(&from.data).unwrap();
        found.map(|http| http.url().to_owned()).map_err(|error| error.code().to_owned())
    }

    #[test]
    fn a_running_server_is_found_by_its_directory() {
        let data = directory("found", Some(HERE), Some(("k", 0o600)));
        assert_eq!(look(None, None, data), Ok(HERE.to_owned()));
    }

    #[test]
    fn a_url_that_was_given_wins_but_never_gets_the_directorys_key() {
        let other = "https://bailiwick.example.com";
        let data = || directory("other", Some(HERE), Some(("k", 0o600)));
        assert_eq!(look(Some(other), None, data()), Err("no_key".to_owned()));
        assert_eq!(look(Some(other), Some("mine"), data()), Ok(other.to_owned()));
        assert_eq!(look(Some("http://127.0.0.1:7420/"), None, data()), Ok(HERE.to_owned()));
    }

    #[test]
    fn nothing_to_go_by_is_said_plainly() {
        assert_eq!(look(None, None, directory("empty", None, None)), Err("no_server".to_owned()));
        assert_eq!(
            look(None, None, directory("keyless", Some(HERE), None)),
            Err("no_key".to_owned())
        );
        assert_eq!(
            look(Some("nonsense"), Some("k"), directory("url", None, None)),
            Err("invalid_url".to_owned())
        );
    }

    #[test]
    fn a_key_that_others_may_read_is_not_used() {
        let data = directory("open", Some(HERE), Some(("k", 0o644)));
        assert_eq!(look(None, None, data), Err("file_unusable".to_owned()));
    }
}
