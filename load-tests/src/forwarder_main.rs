//! The forwarder of [`buildspaces_load_tests::media::forwarder`] as a program.

use std::net::SocketAddr;

use clap::Parser;

/// A forwarder of media without any rule: the limit to compare media servers with.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "127.0.0.1:1234")]
    listen: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(Args::parse().listen)?;
    buildspaces_load_tests::media::forwarder::serve(socket.listen(1024)?).await
}
