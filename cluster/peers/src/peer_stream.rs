//! A connection from another node, as the server sees it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, watch},
    time::sleep,
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::PeerIdentity;

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct PeerInfo {
    /// The node that its certificate names; none of somebody who wants to become one.
    pub identity: Option<PeerIdentity>,
    /// Where it calls from.
    pub from: SocketAddr,
    /// Where it called.
    pub at: SocketAddr,
}

impl PeerInfo {
    /// True when the other end is on another machine, as far as addresses tell.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        !self.from.ip().is_loopback() && self.from.ip() != self.at.ip()
    }
}

/// How long a connection may stay.
pub(crate) struct Stay(Pin<Box<dyn Future<Output = &'static str> + Send>>);

impl Stay {
    /// As long as the listener.
    pub(crate) fn with(mut listener: watch::Receiver<()>) -> Self {
        Self(Box::pin(async move {
            while listener.changed().await.is_ok() {}
            "the listener has ended"
        }))
    }

    /// And no longer than this, with a permit that is given back then.
    pub(crate) fn no_longer_than(self, longest: Duration, permit: OwnedSemaphorePermit) -> Self {
        Self(Box::pin(async move {
            let _permit = permit;
            tokio::select! {
                end = self.0 => end,
                () = sleep(longest) => "a connection without a certificate was open for too long",
            }
        }))
    }
}

/// A connection whose other end is known. It ends with its listener: streams between nodes have no end of their own.
pub struct PeerStream {
    stream: TlsStream<TcpStream>,
    info: PeerInfo,
    stay: Stay,
}

impl PeerStream {
    pub(crate) fn new(stream: TlsStream<TcpStream>, info: PeerInfo, stay: Stay) -> Self {
        Self { stream, info, stay }
    }
}

impl Connected for PeerStream {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.info
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(text) = self.stay.0.as_mut().poll(context) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, text)));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
