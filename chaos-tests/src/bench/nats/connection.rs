//! One connection to a NATS server, as much of the protocol as a publisher needs: it publishes with a reply subject and
//! reads the acknowledgements. Pings are not answered, so it lives for the four minutes that a server waits for two.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};
use uuid::Uuid;

/// Longer than any answer to a question about a stream.
const ANSWER_AFTER_MAX: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The half that publishes.
pub(super) struct Publisher {
    writer: BufWriter<OwnedWriteHalf>,
    inbox: String,
}

/// The half that hears what became of it.
pub(super) struct Replies {
    reader: BufReader<OwnedReadHalf>,
    line: String,
}

/// An answer to the message of this number.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) number: u64,
    /// None when nobody listens at the subject: the stream has no leader now.
    pub(super) body: Option<Vec<u8>>,
}

/// Connects and subscribes to the answers.
pub(super) async fn connect(address: &str) -> anyhow::Result<(Publisher, Replies)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let mut publisher = Publisher {
        writer: BufWriter::with_capacity(1 << 16, writer),
        inbox: format!("_INBOX.{}", Uuid::new_v4().simple()),
    };
    let mut replies = Replies {
        reader: BufReader::with_capacity(1 << 16, reader),
        line: String::new(),
    };
    let options = r#"{"verbose":false,"pedantic":false,"headers":true,"no_responders":true}"#;
    let hello = format!(
        "CONNECT {options}\r\nSUB {}.* 1\r\nPING\r\n",
        publisher.inbox
    );
    publisher.writer.write_all(hello.as_bytes()).await?;
    publisher.writer.flush().await?;
    timeout(ANSWER_AFTER_MAX, replies.until_pong()).await??;
    Ok((publisher, replies))
}

/// Asks one question over a connection of its own.
pub(super) async fn ask(address: &str, subject: &str, question: &str) -> anyhow::Result<Value> {
    let (mut publisher, mut replies) = connect(address).await?;
    publisher.publish(subject, 0, question.as_bytes()).await?;
    publisher.flush().await?;
    let reply = timeout(ANSWER_AFTER_MAX, replies.next()).await??;
    let body = reply.body.context("nobody answers")?;
    let answer: Value = serde_json::from_slice(&body)?;
    if let Some(error) = answer.get("error") {
        bail!("{subject}: {error}");
    }
    Ok(answer)
}

impl Publisher {
    /// Writes a message whose answer will carry this number; it leaves with the buffer or with [`Self::flush`].
    pub(super) async fn publish(
        &mut self,
        subject: &str,
        number: u64,
        payload: &[u8],
    ) -> anyhow::Result<()> {
        let head = format!(
            "PUB {subject} {}.{number} {}\r\n",
            self.inbox,
            payload.len()
        );
        self.writer.write_all(head.as_bytes()).await?;
        self.writer.write_all(payload).await?;
        self.writer.write_all(b"\r\n").await?;
        Ok(())
    }

    /// Sends what is buffered.
    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.writer.flush().await?)
    }
}

impl Replies {
    async fn read_line(&mut self) -> anyhow::Result<()> {
        self.line.clear();
        let read = self.reader.read_line(&mut self.line).await?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }

    async fn until_pong(&mut self) -> anyhow::Result<()> {
        loop {
            self.read_line().await?;
            match self.line.split_whitespace().next() {
                Some("PONG") => return Ok(()),
                Some("-ERR") => bail!("{}", self.line.trim()),
                _ => {}
            }
        }
    }

    /// The next answer.
    pub(super) async fn next(&mut self) -> anyhow::Result<Reply> {
        loop {
            self.read_line().await?;
            let has_headers = match self.line.split_whitespace().next() {
                Some("MSG") => false,
                Some("HMSG") => true,
                Some("-ERR") => bail!("{}", self.line.trim()),
                _ => continue,
            };
            let (number, bytes) = head(&self.line).context("a malformed message")?;
            ensure!(bytes <= ANSWER_BYTES_MAX, "an answer of {bytes} bytes");
            let mut body = vec![0; bytes + 2];
            self.reader.read_exact(&mut body).await?;
            body.truncate(bytes);
            // Only the notice that nobody listens comes with headers.
            let body = (!has_headers).then_some(body);
            return Ok(Reply { number, body });
        }
    }
}

/// Number and length of `MSG INBOX.NUMBER SID LENGTH` or `HMSG INBOX.NUMBER SID HEADERS LENGTH`.
fn head(line: &str) -> Option<(u64, usize)> {
    let number = line.split_whitespace().nth(1)?.rsplit('.').next()?;
    let length = line.split_whitespace().last()?;
    Some((number.parse().ok()?, length.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_messages_tell_number_and_length() {
        assert_eq!(head("MSG _INBOX.a.17 1 42\r\n"), Some((17, 42)));
        assert_eq!(head("HMSG _INBOX.a.3 1 16 16\r\n"), Some((3, 16)));
        assert_eq!(head("MSG _INBOX.a 1\r\n"), None);
    }

    #[tokio::test]
    async fn answers_and_silence_are_told_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream
                .write_all(b"INFO {}\r\nPONG\r\nPING\r\nMSG _INBOX.x.1 1 2\r\n{}\r\n")
                .await
                .unwrap();
            stream
                .write_all(b"HMSG _INBOX.x.2 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n")
                .await
                .unwrap();
            stream
        });
        let (_publisher, mut replies) = connect(&address).await.unwrap();
        let first = replies.next().await.unwrap();
        assert_eq!((first.number, first.body), (1, Some(b"{}".to_vec())));
        let second = replies.next().await.unwrap();
        assert_eq!((second.number, second.body), (2, None));
        drop(server);
    }
}
