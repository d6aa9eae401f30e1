//! Connections of simulated hosts: turmoil's streams under tonic's channels and servers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
};
use tonic::transport::server::Connected;
use turmoil::net::{TcpListener, TcpStream};

/// Where nodes listen to each other.
pub(crate) const PEER_PORT: u16 = 7_000;

/// A connection that a server has accepted. It ends with its listener, as those between real nodes do.
pub(crate) struct Accepted {
    stream: TcpStream,
    from: IpAddr,
    listener_gone: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Which host is at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From(pub(crate) IpAddr);

impl Connected for Accepted {
    type ConnectInfo = From;

    fn connect_info(&self) -> From {
        From(self.from)
    }
}

/// Listens on all addresses of the host that asks.
pub(crate) async fn listen() -> io::Result<impl Stream<Item = io::Result<Accepted>>> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PEER_PORT)).await?;
    let (alive, listening) = watch::channel(());
    let state = (listener, alive, listening);
    Ok(stream::unfold(
        state,
        |(listener, alive, listening)| async {
            let accepted = listener.accept().await;
            let mut gone = listening.clone();
            let accepted = accepted.map(|(stream, from)| Accepted {
                stream,
                from: from.ip(),
                listener_gone: Box::pin(async move { while gone.changed().await.is_ok() {} }),
            });
            Some((accepted, (listener, alive, listening)))
        },
    ))
}

/// Connects to `host:port`.
pub(crate) async fn connect(address: &str) -> io::Result<TcpStream> {
    let host = address.split(':').next().unwrap_or_default();
    TcpStream::connect((host, PEER_PORT)).await
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.listener_gone.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
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
