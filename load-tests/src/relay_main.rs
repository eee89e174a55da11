//! The relay of [`buildspaces_load_tests::relay`] as a program.

use std::net::SocketAddr;

use clap::Parser;

/// A broadcast relay without any CRDT: the limit to compare Yjs servers with.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "127.0.0.1:1234")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(Args::parse().listen)?;
    buildspaces_load_tests::relay::serve(socket.listen(4096)?).await
}
