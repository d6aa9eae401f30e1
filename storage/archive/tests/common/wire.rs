//! A wire that breaks: between a client and a server, byte by byte.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// All goes through.
    Whole,
    /// Each request is answered 503 without reaching the server.
    Busy,
    /// It ends after so many bytes from the client.
    CutRequest(usize),
    /// It ends after so many bytes from the server.
    CutAnswer(usize),
    /// A kibibyte at a time, with a pause behind each.
    Slow(Duration),
    /// Nobody is there.
    Refused,
}

/// Passes connections on to a server, as broken as it is told.
pub struct Proxy {
    pub port: u16,
    /// For the next connections, one each; then all is whole.
    plan: Arc<Mutex<Vec<Wire>>>,
    always: Arc<Mutex<Wire>>,
    /// Changes when all connections are to end.
    epoch: watch::Sender<u64>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let plan: Arc<Mutex<Vec<Wire>>> = Arc::default();
        let always = Arc::new(Mutex::new(Wire::Whole));
        let mut tasks = JoinSet::new();
        let epoch = watch::Sender::new(0);
        let (planned, otherwise, ended) = (plan.clone(), always.clone(), epoch.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let wire = planned.lock().unwrap().pop();
                let wire = wire.unwrap_or(*otherwise.lock().unwrap());
                let mut ended = ended.subscribe();
                connections.spawn(async move {
                    tokio::select! {
                        () = pass(socket, server, wire) => {}
                        _ = ended.changed() => {}
                    }
                });
            }
        });
        Self {
            port,
            plan,
            always,
            epoch,
            _tasks: tasks,
        }
    }

    /// What becomes of the next connections, in turn; those that there are end.
    pub fn plan(&self, wires: &[Wire]) {
        *self.plan.lock().unwrap() = wires.iter().rev().copied().collect();
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// What becomes of those that no plan is for; those that there are end.
    pub fn always(&self, wire: Wire) {
        *self.always.lock().unwrap() = wire;
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// True once every planned connection was made.
    pub fn is_through(&self) -> bool {
        self.plan.lock().unwrap().is_empty()
    }
}

async fn pass(mut client: TcpStream, server: u16, wire: Wire) {
    match wire {
        Wire::Refused => return,
        Wire::Busy => {
            let mut head = [0; 8 << 10];
            let _ = client.read(&mut head).await;
            let answer = "HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = client.write_all(answer.as_bytes()).await;
            return;
        }
        _ => {}
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (pause, request_bytes, answer_bytes) = match wire {
        Wire::CutRequest(bytes) => (Duration::ZERO, bytes, usize::MAX),
        Wire::CutAnswer(bytes) => (Duration::ZERO, usize::MAX, bytes),
        Wire::Slow(pause) => (pause, usize::MAX, usize::MAX),
        _ => (Duration::ZERO, usize::MAX, usize::MAX),
    };
    // When one of the two ends, the connection does.
    tokio::select! {
        () = copy(from_client, to_server, request_bytes, pause) => {}
        () = copy(from_server, to_client, answer_bytes, pause) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut left: usize, pause: Duration) {
    let mut piece = [0; 1 << 10];
    while left > 0 {
        let read = match from.read(&mut piece).await {
            Ok(read) if read > 0 => read.min(left),
            _ => return,
        };
        left -= read;
        if to.write_all(&piece[..read]).await.is_err() {
            return;
        }
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
}
