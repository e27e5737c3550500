//! A relay between a server and its log that can be made to pass nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the relay does with what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Passing {
    /// Everything passes.
    All,
    /// Connections stay open, or open, and nothing passes: what a dead link looks like.
    Nothing,
    /// Connections are closed, and new ones too: what a dead server looks like.
    Closed,
}

/// The relay, until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    address: SocketAddr,
    passing: watch::Sender<Passing>,
}

impl Relay {
    /// Stands in front of `server`, which is `host:port`.
    pub(super) async fn start(server: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("the relay")?;
        let address = listener.local_addr()?;
        let (passing, passes) = watch::channel(Passing::All);
        let server: Arc<str> = server.into();
        tokio::spawn(async move {
            let mut closing = passes.clone();
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    // Everyone who could open it again is gone.
                    () = closed(&mut closing) => return,
                };
                let Ok((client, _)) = accepted else { continue };
                tokio::spawn(relay(client, Arc::clone(&server), passes.clone()));
            }
        });
        Ok(Self { address, passing })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn pass(&self, passing: Passing) {
        self.passing.send_replace(passing);
    }
}

async fn closed(passes: &mut watch::Receiver<Passing>) {
    while passes.changed().await.is_ok() {}
}

/// One connection, as long as it lives.
async fn relay(client: TcpStream, server: Arc<str>, passes: watch::Receiver<Passing>) {
    let mut ends = passes.clone();
    let both = async {
        let mut opens = passes.clone();
        if opens.wait_for(|passing| *passing == Passing::All).await.is_err() {
            return;
        }
        let Ok(server) = TcpStream::connect(&*server).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            () = pass(from_client, to_server, passes.clone()) => {}
            () = pass(from_server, to_client, passes) => {}
        }
    };
    tokio::select! {
        () = both => {}
        _ = ends.wait_for(|passing| *passing == Passing::Closed) => {}
    }
}

/// One direction.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut passes: watch::Receiver<Passing>,
) {
    let mut buffer = vec![0; 64 * 1_024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if passes.wait_for(|passing| *passing == Passing::All).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_held_back_passes_later_and_what_is_closed_does_not() {
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = echo.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = echo.accept().await {
                let (mut from, mut to) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        let relay = Relay::start(&server).await.unwrap();
        let mut stream = TcpStream::connect(relay.address()).await.unwrap();
        let mut byte = [0];
        stream.write_all(b"a").await.unwrap();
        stream.read_exact(&mut byte).await.unwrap();
        relay.pass(Passing::Nothing);
        stream.write_all(b"b").await.unwrap();
        let waits = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut byte)).await;
        assert!(waits.is_err(), "it passed");
        relay.pass(Passing::All);
        stream.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, *b"b");
        relay.pass(Passing::Closed);
        assert_eq!(stream.read(&mut byte).await.unwrap(), 0);
    }
}
