//! Images that the engine does not have and fetches from a registry, here one on this machine, with one image.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use buildspaces_kernel::ids::RoomId;
use buildspaces_plans::ports::{Made, Phase, Progress, Start};
use buildspaces_sandbox::Containers;
use sha2::{Digest as _, Sha256};

use crate::world::World;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A registry, which lasts as long as the process.
struct Registry {
    address: SocketAddr,
    /// How often a layer was fetched.
    layers: Arc<AtomicU32>,
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

impl Registry {
    /// One that has an image of one file, which nobody has had before. `lacks_layer`: it has lost what is in it.
    fn start(content: &str, lacks_layer: bool) -> Self {
        let mut layer = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        layer.append_data(&mut header, "etc/second", content.as_bytes()).expect("in memory");
        let layer = layer.into_inner().expect("in memory");
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = serde_json::json!({
            "architecture": architecture, "os": "linux", "config": {}, "history": [{ "created_by": "a test" }],
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        });
        let config = config.to_string().into_bytes();
        let part = |kind: &str, bytes: &[u8]| {
            let kind = format!("application/vnd.docker.{kind}");
            serde_json::json!({ "mediaType": kind, "size": bytes.len(), "digest": digest(bytes) })
        };
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": part("container.image.v1+json", &config), "layers": [part("image.rootfs.diff.tar", &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let layer_path = format!("/v2/second/blobs/{}", digest(&layer));
        let mut files = HashMap::from([
            ("/v2/".to_owned(), b"{}".to_vec()),
            ("/v2/second/manifests/1".to_owned(), manifest.clone()),
            (format!("/v2/second/manifests/{}", digest(&manifest)), manifest),
            (format!("/v2/second/blobs/{}", digest(&config)), config),
        ]);
        if !lacks_layer {
            files.insert(layer_path.clone(), layer);
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (address, layers) = (listener.local_addr().expect("bound"), Arc::new(AtomicU32::new(0)));
        let fetched = Arc::clone(&layers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut lines = BufReader::new(stream.try_clone().expect("open")).lines().map_while(Result::ok);
                let Some(line) = lines.next() else { continue };
                let mut words = line.split(' ');
                let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let file = files.get(path);
                fetched.fetch_add(u32::from(path == layer_path && file.is_some()), Ordering::Relaxed);
                let (status, body) = file.map_or(("404 Not Found", &[][..]), |file| ("200 OK", file));
                let kind = if path.contains("manifests") { MANIFEST } else { "application/octet-stream" };
                let (len, of) = (body.len(), digest(body));
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {len}\r\ncontent-type: {kind}\r\ndocker-content-digest: {of}\r\nconnection: close\r\n\r\n"
                );
                let body = if method == "HEAD" { &[][..] } else { body };
                // Whoever asked may be gone.
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
            }
        });
        Self { address, layers }
    }

    fn image(&self) -> String {
        format!("{}/second:1", self.address)
    }
}

/// A sandbox of `room`, whose file asks for the image and something to set up, so that nothing but the agent runs in it.
async fn prepare(world: &World, containers: &Containers, room: &RoomId, image: &str) -> (Arc<Made>, Vec<Phase>) {
    let file = serde_json::json!({ "image": image, "onCreateCommand": "true" }).to_string();
    std::fs::write(world.workspace(room).join(".devcontainer.json"), file).expect("written");
    let progress = Progress::default();
    let made = containers.prepare(room, &world.files(room), progress.clone()).await.expect("answers");
    let Start { done, .. } = progress.now();
    (made.expect("there is something to set up"), done.iter().map(|done| done.phase).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_there_is_pulled_once_for_all_who_ask_for_it() {
    let mut world = world!();
    let registry = Registry::start(&world.instance, false);
    let image = registry.image();
    (world.images, world.pull) = (vec![image.clone()], true);
    let containers = world.open().await;
    let other = RoomId::random();
    let ((made, phases), (second, _)) =
        tokio::join!(prepare(&world, &containers, &world.room, &image), prepare(&world, &containers, &other, &image));
    assert_eq!(phases, [Phase::Files, Phase::PullingImage, Phase::CreatingContainer, Phase::Connecting]);
    for made in [&made, &second] {
        assert_eq!((made.devcontainer.image.as_ref(), made.devcontainer.notices.len()), (Some(&image), 0));
        let id = world.docker(&["inspect", "--format", "{{.Image}}", &made.sandbox]);
        assert_eq!(id, world.docker(&["image", "inspect", "--format", "{{.Id}}", &image]));
    }
    assert_eq!(registry.layers.load(Ordering::Relaxed), 1);
    containers.dispose(&world.room, "the next one").await;
    let (_, phases) = prepare(&world, &containers, &world.room, &image).await;
    assert_eq!(phases, [Phase::Files, Phase::CreatingContainer, Phase::Connecting], "it is there now");
    containers.shutdown().await;
    world.docker(&["rmi", "-f", &image]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_is_the_usual_one_and_the_notice_says_why() {
    let mut world = world!();
    let registry = Registry::start(&world.instance, true);
    let gone = format!("{}/third:1", registry.address);
    (world.images, world.pull) = (vec![registry.image(), gone.clone()], true);
    let containers = world.open().await;
    for image in [registry.image(), gone] {
        let (made, phases) = prepare(&world, &containers, &world.room, &image).await;
        assert_eq!(phases, [Phase::Files, Phase::PullingImage, Phase::CreatingContainer, Phase::Connecting]);
        assert_eq!(made.devcontainer.image, None);
        let notice = &made.devcontainer.notices[0];
        assert_eq!(notice.key.as_deref(), Some("image"));
        eprintln!("{}", notice.message);
        assert!(notice.message.contains("was not pulled (") && notice.message.contains(&image), "{}", notice.message);
        containers.dispose(&world.room, "the next one").await;
    }
    containers.shutdown().await;
}
