//! TLS from the same PEM files as the other listeners'.

use std::path::Path;
use std::sync::Arc;

use ring::digest;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

/// What is needed to answer handshakes.
pub(super) struct Loaded {
    pub(super) acceptor: TlsAcceptor,
    /// The certificate's hash, to which a client may bind its proof.
    pub(super) end_point: Option<Vec<u8>>,
}

/// Reads a certificate chain and its key.
///
/// # Errors
/// In words, with the file.
pub(super) fn load(cert: &Path, key: &Path) -> Result<Loaded, String> {
    let refused = |path: &Path, why: &dyn std::fmt::Display| {
        format!("`{}` cannot be used for TLS: {why}", path.display())
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|e| refused(cert, &e))?;
    if chain.is_empty() {
        return Err(refused(cert, &"it holds no certificate"));
    }
    let end_point = chain.first().and_then(|certificate| end_point(certificate));
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| refused(key, &e))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|e| refused(cert, &e))?;
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Loaded { acceptor: TlsAcceptor::from(Arc::new(config)), end_point })
}

/// Signature algorithms by their identifiers' bytes, and the hash that each is made with. RFC 5929
/// has a certificate hashed with that, but never with less than SHA-256.
static ALGORITHMS: &[(&[u8], &digest::Algorithm)] = &[
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12], &digest::SHA384),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13], &digest::SHA512),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], &digest::SHA384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4], &digest::SHA512),
];

/// The hash of a certificate (RFC 5929, `tls-server-end-point`); none where its signature has no
/// hash of its own, as Ed25519's.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (0x30, whole, _) = value(certificate)? else { return None };
    let (0x30, _, after) = value(whole)? else { return None };
    let (0x30, algorithm, _) = value(after)? else { return None };
    let (0x06, identifier, _) = value(algorithm)? else { return None };
    let (_, hash) = ALGORITHMS.iter().find(|(known, _)| *known == identifier)?;
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// The first value of a DER encoding: its tag, its bytes, and what comes after.
fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(*first & 0x7f))?;
        if bytes.len() > 4 {
            return None;
        }
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (value, after) = rest.split_at_checked(length)?;
    Some((*tag, value, after))
}
