//! One request over HTTP/1.0, whose answer ends with its connection: signalling needs no more.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub body: String,
}

impl Answer {
    /// Refused: with the status and what it says.
    pub fn expect(self, status: u16) -> anyhow::Result<Self> {
        anyhow::ensure!(self.status == status, "the server answered {}: {}", self.status, self.body.trim());
        Ok(self)
    }
}

/// Sends `body` as `kind`; an empty one is none, and so is an empty token.
pub async fn request(
    address: SocketAddr,
    (method, path): (&str, &str),
    token: &str,
    kind: &str,
    body: &str,
) -> anyhow::Result<Answer> {
    let len = body.len();
    let token = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\n{token}Content-Type: {kind}\r\nContent-Length: {len}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address).await.context("connecting for HTTP")?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    read(&String::from_utf8_lossy(&answer)).context("an answer over HTTP")
}

fn read(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.lines().next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |name: &str| {
        let value = |line: &str| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        head.lines().find_map(value)
    };
    Some(Answer { status, location: header("location"), body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer =
            read("HTTP/1.1 201 Created\r\nlocation: /media/a/whip/b\r\nx: y\r\n\r\nv=0\r\n").expect("an answer");
        assert_eq!((answer.status, &*answer.body), (201, "v=0\r\n"));
        assert_eq!(answer.location.as_deref(), Some("/media/a/whip/b"));
        assert_eq!(read("HTTP/1.1 200 OK"), None);
    }
}
