//! A connection from another node, as the server sees it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::PeerIdentity;

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct PeerInfo {
    /// The node that its certificate names; none of somebody who wants to become one.
    pub identity: Option<PeerIdentity>,
}

/// A connection whose other end is known. It ends with its listener: streams between nodes have no end of their own.
pub struct PeerStream {
    stream: TlsStream<TcpStream>,
    info: PeerInfo,
    listener_gone: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl PeerStream {
    pub(crate) fn new(
        stream: TlsStream<TcpStream>,
        info: PeerInfo,
        mut listener: watch::Receiver<()>,
    ) -> Self {
        let listener_gone = Box::pin(async move { while listener.changed().await.is_ok() {} });
        Self {
            stream,
            info,
            listener_gone,
        }
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
        if self.listener_gone.as_mut().poll(context).is_ready() {
            let text = "the listener has ended";
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
