//! Sockets: one listener a thread on the same address, so that the kernel spreads connections and
//! no thread hands one to another.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::guarded::Guarded;
use super::tls::{Stream, Tls};

/// The most connections a server holds at once; more wait in the kernel's queue.
pub(super) const CONNECTIONS_MAX: usize = 8_192;
/// The most connections that wait in the kernel's queue of one listener.
const BACKLOG: i32 = 1_024;
/// How long to wait when the system has no more file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Opens `count` listeners on one address. Another server on that address is an error: sharing a
/// port is for the threads of this one.
pub(super) fn open(address: SocketAddr, count: usize) -> io::Result<Vec<StdListener>> {
    drop(socket(address, false)?);
    let first = socket(address, true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(socket(address, true)?);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts connections, each with a place in the count, deadlines, and TLS if configured.
pub(super) struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    tls: Option<Tls>,
}

impl Door {
    pub(super) fn new(
        listener: StdListener,
        places: Arc<Semaphore>,
        tls: Option<Tls>,
    ) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::from_std(listener)?, places, tls })
    }

    async fn connection(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(connection) => return connection,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted; trying on");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

/// Whether an error ends one connection only and says nothing about the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    [Kind::ConnectionRefused, Kind::ConnectionAborted, Kind::ConnectionReset]
        .contains(&error.kind())
}

impl Listener for Door {
    type Io = Stream<Guarded<TcpStream>>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            // The semaphore is never closed; should it be, nobody comes in.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                std::future::pending().await
            };
            let (stream, peer) = self.connection().await;
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection was gone before it began");
                continue;
            }
            return (Stream::new(Guarded::new(stream, place), self.tls.as_ref()), peer);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_a_port_and_strangers_do_not() {
        let listeners = open("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let address = listeners[0].local_addr().unwrap();
        assert!(listeners.iter().all(|one| one.local_addr().unwrap() == address));
        assert_eq!(open(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
