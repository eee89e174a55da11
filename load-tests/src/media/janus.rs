//! Janus beside ours: its configuration, and as much of its HTTP interface as its video rooms need.
//!
//! Source: <https://janus.conf.meetecho.com/docs/rest> and `/docs/videoroom`.

use std::cell::Cell;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

use super::http;

/// Where Debian's package has it.
pub const PROGRAM: &str = "/usr/bin/janus";

const JSON: &str = "application/json";

/// This machine's address for its neighbours: Janus takes no loopback address for media. What goes to it does not leave the machine.
pub fn media_address() -> std::io::Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // Nothing is sent by this; the address is one of those kept for documentation.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
    Ok(socket.local_addr()?.ip())
}

/// Writes the configuration of a Janus that listens for HTTP at an address and has video rooms, and nothing else. Two event loops:
/// with a thread for each connection, which is the default, it costs twice as much.
pub fn configure(folder: &Path, listen: SocketAddr) -> std::io::Result<()> {
    let (ip, port, media, folder_text) = (listen.ip(), listen.port(), media_address()?, folder.display());
    let files = [
        (
            "janus.jcfg",
            format!(
                "general: {{\n configs_folder = \"{folder_text}\"\n event_loops = 2\n session_timeout = 0\n debug_level = 2\n \
                 hide_dependencies = true\n}}\nnat: {{\n ice_lite = true\n ice_enforce_list = \"{media}\"\n}}\n\
                 media: {{\n rtp_port_range = \"20000-60000\"\n}}\n\
                 plugins: {{\n disable = \"{}\"\n}}\ntransports: {{\n disable = \"{}\"\n}}\n",
                "libjanus_audiobridge.so,libjanus_echotest.so,libjanus_lua.so,libjanus_nosip.so,libjanus_recordplay.so,\
                 libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_voicemail.so,\
                 libjanus_duktape.so",
                "libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so,libjanus_websockets.so"
            ),
        ),
        (
            "janus.transport.http.jcfg",
            format!(
                "general: {{\n http = true\n port = {port}\n ip = \"{ip}\"\n https = false\n}}\nadmin: {{\n admin_http = false\n}}\n"
            ),
        ),
        ("janus.plugin.videoroom.jcfg", "general: {\n}\n".to_owned()),
    ];
    for (name, text) in files {
        std::fs::File::create(folder.join(name))?.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// A handle of the plugin in a session of its own.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    session: u64,
    handle: u64,
    transactions: Cell<u64>,
}

impl Handle {
    pub async fn attach(address: SocketAddr) -> anyhow::Result<Self> {
        let created = post(address, "/janus", json!({"janus": "create", "transaction": "create"})).await?;
        let session = created["data"]["id"].as_u64().with_context(|| format!("no session: {created}"))?;
        let attach = json!({"janus": "attach", "plugin": "janus.plugin.videoroom", "transaction": "attach"});
        let attached = post(address, &format!("/janus/{session}"), attach).await?;
        let handle = attached["data"]["id"].as_u64().with_context(|| format!("no handle: {attached}"))?;
        Ok(Self { address, session, handle, transactions: Cell::new(0) })
    }

    /// Says something to the plugin and waits for its answer: the data in it, and the description if there is one.
    pub async fn say(&self, body: Value, description: Option<(&str, &str)>) -> anyhow::Result<(Value, Option<String>)> {
        let number = self.transactions.get() + 1;
        self.transactions.set(number);
        let transaction = number.to_string();
        let mut message = json!({"janus": "message", "transaction": transaction, "body": body});
        if let Some((kind, sdp)) = description {
            message["jsep"] = json!({"type": kind, "sdp": sdp});
        }
        let events = format!("/janus/{}", self.session);
        let path = format!("{events}/{}", self.handle);
        let mut answer = post(self.address, &path, message).await?;
        while answer["transaction"] != *transaction || answer["janus"] == "ack" {
            let answers = http::request(self.address, ("GET", &events), "", JSON, "").await?;
            answer = serde_json::from_str(&answers.expect(200)?.body)?;
        }
        let data = answer["plugindata"]["data"].clone();
        let refused = data["error"].as_str().or(answer["error"]["reason"].as_str());
        anyhow::ensure!(refused.is_none(), "Janus refused: {}", refused.unwrap_or_default());
        Ok((data, answer["jsep"]["sdp"].as_str().map(ToOwned::to_owned)))
    }

    /// Ends the session and what is in it.
    pub async fn destroy(&self) -> anyhow::Result<()> {
        let destroy = json!({"janus": "destroy", "transaction": "destroy"});
        post(self.address, &format!("/janus/{}", self.session), destroy).await.map(drop)
    }
}

async fn post(address: SocketAddr, path: &str, message: Value) -> anyhow::Result<Value> {
    let answer = http::request(address, ("POST", path), "", JSON, &message.to_string()).await?.expect(200)?;
    Ok(serde_json::from_str(&answer.body)?)
}
