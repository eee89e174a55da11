//! What lies between a client and the server: a way that can be held in either direction, refused, or left half open.
//!
//! It moves bytes and knows nothing of frames. Held bytes wait where they are: at most one buffer here, the rest in the kernel's.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::plan::Way;

/// Bytes that are moved at once.
const BUFFER: usize = 16 << 10;

/// One client's way to the server.
#[derive(Debug)]
pub struct Proxy {
    /// Where the client connects.
    pub address: SocketAddr,
    shared: Rc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    up_is_held: Cell<bool>,
    down_is_held: Cell<bool>,
    refuses: Cell<bool>,
    changed: Notify,
    /// Rises when the connections so far are left half open.
    network: Cell<u64>,
    /// The server's ends of connections whose clients went without its knowing.
    half_open: RefCell<Vec<TcpStream>>,
}

impl Proxy {
    pub async fn start(server: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Rc::new(Shared {
            server,
            up_is_held: Cell::new(false),
            down_is_held: Cell::new(false),
            refuses: Cell::new(false),
            changed: Notify::new(),
            network: Cell::new(0),
            half_open: RefCell::default(),
        });
        let task = tokio::task::spawn_local(serve(listener, shared.clone()));
        Ok(Self { address, shared, task })
    }

    pub fn hold(&self, way: Way) {
        self.shared.up_is_held.set(self.shared.up_is_held.get() || way != Way::Down);
        self.shared.down_is_held.set(self.shared.down_is_held.get() || way != Way::Up);
    }

    pub fn release(&self) {
        self.shared.up_is_held.set(false);
        self.shared.down_is_held.set(false);
        self.shared.changed.notify_waiters();
    }

    pub fn is_held(&self) -> bool {
        self.shared.up_is_held.get() || self.shared.down_is_held.get()
    }

    /// Lets nobody in, as long as it is true.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.set(refuses);
    }

    /// The client's connections break, and the server is not told. What was under way is lost.
    pub fn change_network(&self) {
        self.release();
        self.shared.network.set(self.shared.network.get() + 1);
        self.shared.changed.notify_waiters();
    }

    /// Connections that the server has and nobody uses.
    pub fn half_open(&self) -> usize {
        self.shared.half_open.borrow().len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Rc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        if !shared.refuses.get() {
            tokio::task::spawn_local(carry(client, shared.clone()));
        }
    }
}

async fn carry(mut client: TcpStream, shared: Rc<Shared>) {
    let Ok(mut server) = TcpStream::connect(shared.server).await else { return };
    let network = shared.network.get();
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let is_lost = {
        let ((client_read, client_write), (server_read, server_write)) = (client.split(), server.split());
        let up = pump(client_read, server_write, &shared, |shared| shared.up_is_held.get());
        let down = pump(server_read, client_write, &shared, |shared| shared.down_is_held.get());
        tokio::select! {
            ((), ()) = async { tokio::join!(up, down) } => false,
            () = shared.until(|shared| shared.network.get() != network) => true,
        }
    };
    if is_lost {
        shared.half_open.borrow_mut().push(server);
    }
}

/// Moves bytes until one end is closed, and closes the other.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, shared: &Shared, is_held: impl Fn(&Shared) -> bool) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        shared.until(|shared| !is_held(shared)).await;
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    // An error means that the other end is closed already.
    let _ = to.shutdown().await;
}

impl Shared {
    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            if condition(self) {
                return;
            }
            changed.await;
        }
    }
}
