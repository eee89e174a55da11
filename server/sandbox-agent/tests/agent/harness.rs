//! An agent that runs, and the server's end of its connections.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use buildspaces_sandbox_agent::protocol::{
    Decoder, EGRESS_VARIABLE, Event, Exit, Frame, Key, Line, Output, PROTOCOL, Request, Secrets, TOKEN_VARIABLE,
    encode_control,
};

/// Nothing here takes that long; a test that hangs fails with the read's error.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Agent {
    process: Child,
    dir: tempfile::TempDir,
    listener: Option<UnixListener>,
    /// Connections that came while the other kind was waited for.
    waiting: RefCell<Vec<(Line, Server)>>,
}

impl Agent {
    pub(crate) fn new() -> Self {
        Self::with_egress(None)
    }

    /// One that listens on a port for programs that want to leave the sandbox.
    pub(crate) fn with_egress(port: Option<u16>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(dir.path().join("secrets")).expect("a folder");
        let listener = Some(UnixListener::bind(dir.path().join("agent.sock")).expect("a socket"));
        let process = Command::new(env!("CARGO_BIN_EXE_buildspaces-sandbox-agent"))
            .arg(dir.path().join("agent.sock"))
            .arg(dir.path().join("secrets"))
            .env(TOKEN_VARIABLE, "secret")
            .envs(port.map(|port| (EGRESS_VARIABLE, port.to_string())))
            .stdin(Stdio::null())
            .spawn()
            .expect("the agent starts");
        Self { process, dir, listener, waiting: RefCell::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The server's end of the agent's next connection, before any answer.
    pub(crate) fn accept(&self) -> Server {
        let (stream, _) = self.listener.as_ref().expect("the server is up").accept().expect("the agent dials");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Server { stream, decoder: Decoder::default() }
    }

    /// The connection for steps.
    pub(crate) fn connect(&self) -> Server {
        self.welcome(Line::Steps)
    }

    /// A connection that waits for a terminal.
    pub(crate) fn line(&self) -> Server {
        self.welcome(Line::Terminal)
    }

    pub(crate) fn welcome(&self, wanted: Line) -> Server {
        let known = self.waiting.borrow().iter().position(|(line, _)| *line == wanted);
        if let Some(at) = known {
            return self.waiting.borrow_mut().remove(at).1;
        }
        loop {
            let mut server = self.accept();
            let Frame::Control(Event::Hello { protocol, token, line, .. }) = server.next() else { panic!("no hello") };
            assert_eq!((protocol, token.as_str()), (PROTOCOL, "secret"));
            server.send(&Request::Welcome { protocol: PROTOCOL });
            if line == wanted {
                return server;
            }
            self.waiting.borrow_mut().push((line, server));
        }
    }

    pub(crate) fn server_goes_away(&mut self) {
        self.listener = None;
        self.waiting.borrow_mut().clear();
        std::fs::remove_file(self.path().join("agent.sock")).expect("the socket was there");
    }

    pub(crate) fn server_comes_back(&mut self) {
        self.listener = Some(UnixListener::bind(self.path().join("agent.sock")).expect("a socket"));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) struct Server {
    stream: UnixStream,
    decoder: Decoder,
}

impl Server {
    pub(crate) fn send(&mut self, request: &Request) {
        self.write(&encode_control(request).expect("short"));
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the agent listens");
    }

    /// The connection without frames, and what came of it already.
    pub(crate) fn into_parts(self) -> (UnixStream, Vec<u8>) {
        (self.stream, self.decoder.into_rest())
    }

    pub(crate) fn try_next(&mut self) -> Option<Frame<Event>> {
        let mut buffer = [0; 64 << 10];
        loop {
            if let Some(frame) = self.decoder.decode().expect("the agent speaks the protocol") {
                return Some(frame);
            }
            match self.stream.read(&mut buffer).expect("the agent answers in time") {
                0 => return None,
                n => self.decoder.push(&buffer[..n]),
            }
        }
    }

    pub(crate) fn next(&mut self) -> Frame<Event> {
        self.try_next().expect("the agent keeps the connection")
    }

    pub(crate) fn start(&mut self, name: &str, script: &str) {
        self.start_with(name, &["sh", "-c", script], Duration::from_secs(60));
        assert_eq!(self.next(), Frame::Control(Event::Started { key: key(name) }));
        self.send(&Request::Attach { key: key(name), from_offset: 0 });
    }

    pub(crate) fn start_with(&mut self, name: &str, argv: &[&str], timeout: Duration) {
        self.start_given(name, argv, timeout, Secrets::default());
    }

    pub(crate) fn start_given(&mut self, name: &str, argv: &[&str], timeout: Duration, secrets: Secrets) {
        self.send(&Request::Start {
            key: key(name),
            argv: argv.iter().map(|&s| s.to_owned()).collect(),
            cwd: "/".to_owned(),
            env: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
            timeout_ms: timeout.as_millis() as u64,
            secrets,
        });
    }

    /// All output of the step from here on, and its end.
    pub(crate) fn finish(&mut self) -> (String, Exit) {
        let mut text = Vec::new();
        loop {
            match self.next() {
                Frame::Output(Output { bytes, .. }) => text.extend(bytes),
                Frame::Control(Event::Exited { exit, .. }) => {
                    return (String::from_utf8(text).expect("text"), exit);
                }
                other => panic!("not expected: {other:?}"),
            }
        }
    }

    /// Reads output until it holds `text`.
    pub(crate) fn read_until(&mut self, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            let Frame::Output(output) = self.next() else { panic!("the step ended after {seen:?}") };
            seen += &String::from_utf8_lossy(&output.bytes);
        }
        seen
    }
}

pub(crate) fn key(name: &str) -> Key {
    Key::parse(name).expect("a valid key")
}

pub(crate) fn is_alive(pid: &str) -> bool {
    // A process that has been killed but not yet collected still has its folder.
    std::fs::read_to_string(PathBuf::from("/proc").join(pid).join("stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
