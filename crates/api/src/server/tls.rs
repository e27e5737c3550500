//! TLS for listeners that are not on loopback. The handshake runs within the connection's own task,
//! on its first read or write, so that a slow peer holds up nobody else.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};
use tokio_rustls::{Accept, TlsAcceptor, server::TlsStream};

use crate::Error;

/// What is needed to answer handshakes.
pub(super) type Tls = TlsAcceptor;

/// Reads a certificate chain and its key from PEM files.
pub(super) fn load(cert: &Path, key: &Path) -> Result<Tls, Error> {
    let refused = |path: &Path, why: String| Error::Tls { path: path.to_owned(), why };
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|e| refused(cert, e.to_string()))?;
    if chain.is_empty() {
        return Err(refused(cert, "it holds no certificate".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| refused(key, e.to_string()))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|e| refused(cert, e.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A connection, in the clear or under TLS.
pub(super) enum Stream<S> {
    Plain(S),
    Handshake(Box<Accept<S>>),
    Secure(Box<TlsStream<S>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    pub(super) fn new(inner: S, tls: Option<&Tls>) -> Self {
        match tls {
            Some(tls) => Self::Handshake(Box::new(tls.accept(inner))),
            None => Self::Plain(inner),
        }
    }

    /// Drives the handshake to its end, if there is one.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Handshake(accept) = self {
            let stream = ready!(Pin::new(accept.as_mut()).poll(cx))?;
            *self = Self::Secure(Box::new(stream));
        }
        Poll::Ready(Ok(()))
    }
}

/// Why a stream is not ready although its handshake has ended: it never is.
fn unready() -> io::Error {
    io::Error::other("the TLS handshake has not ended")
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_ready(cx))?;
        match &mut *self {
            Self::Plain(inner) => Pin::new(inner).poll_read(cx, to),
            Self::Secure(inner) => Pin::new(inner.as_mut()).poll_read(cx, to),
            Self::Handshake(_) => Poll::Ready(Err(unready())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(cx))?;
        match &mut *self {
            Self::Plain(inner) => Pin::new(inner).poll_write(cx, bytes),
            Self::Secure(inner) => Pin::new(inner.as_mut()).poll_write(cx, bytes),
            Self::Handshake(_) => Poll::Ready(Err(unready())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(cx))?;
        match &mut *self {
            Self::Plain(inner) => Pin::new(inner).poll_write_vectored(cx, parts),
            Self::Secure(inner) => Pin::new(inner.as_mut()).poll_write_vectored(cx, parts),
            Self::Handshake(_) => Poll::Ready(Err(unready())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(inner) => inner.is_write_vectored(),
            Self::Handshake(_) | Self::Secure(_) => true,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(inner) => Pin::new(inner).poll_flush(cx),
            Self::Secure(inner) => Pin::new(inner.as_mut()).poll_flush(cx),
            // Nothing was written that could be flushed.
            Self::Handshake(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(inner) => Pin::new(inner).poll_shutdown(cx),
            Self::Secure(inner) => Pin::new(inner.as_mut()).poll_shutdown(cx),
            Self::Handshake(_) => Poll::Ready(Ok(())),
        }
    }
}
