//! Repositories from elsewhere, over the way out: a room is made of one that a host on the internet has, and follows it.

use std::io;
use std::path::PathBuf;

use buildspaces_plans::git::{Error, Origin, Repository, Status};
use buildspaces_sandbox::Egress;
use buildspaces_sandbox::egress::{LogAudit, Pattern, Policy};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsAcceptor;

use crate::git::{Place, ann};
use crate::internet::{Internet, Plays, certified};
use crate::world::PATIENCE;

const URL: &str = "https://git.example.org/team/project.git";

/// A bare repository is served as files, with TLS.
#[derive(Clone)]
struct Host {
    tls: TlsAcceptor,
    repository: PathBuf,
}

impl Plays for Host {
    /// One connection: each request is for a file, as git's simplest protocol over HTTP has it.
    async fn serve(self, stream: DuplexStream) -> io::Result<()> {
        let mut stream = self.tls.accept(stream).await?;
        let mut asked = Vec::new();
        loop {
            while !asked.ends_with(b"\r\n\r\n") {
                let byte = stream.read_u8().await?;
                asked.push(byte);
            }
            let head = String::from_utf8_lossy(&asked).into_owned();
            asked.clear();
            let target = head.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
            let file = target.strip_prefix("/team/project.git/").filter(|path| !path.contains(".."));
            let (status, body) = match file.and_then(|path| std::fs::read(self.repository.join(path)).ok()) {
                Some(body) => ("200 OK", body),
                None => ("404 Not Found", Vec::new()),
            };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(answer.as_bytes()).await?;
            stream.write_all(&body).await?;
            stream.flush().await?;
        }
    }
}

pub(crate) async fn fetched(place: &Place, url: &str) -> Repository {
    let origin = Origin::parse(url, None).expect("valid");
    place.git.clone_from(place.room.id(), origin).await.expect("it begins");
    tokio::time::timeout(PATIENCE, async {
        loop {
            match place.git.repository(place.room.id()).await.expect("an answer") {
                Repository::Cloning { .. } => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                other => return other,
            }
        }
    })
    .await
    .expect("an end in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_made_of_a_repository_on_the_internet_and_follows_it() {
    let source = Place::new(world!(), &[("a.py", "x = 1\n"), ("src/b.py", "y = 1\n")]).await;
    let source_room = source.room.id().clone();
    source.git.init(&source_room).await.expect("a repository");
    source.commit(&ann(), "Begin", None).await.expect("a commit");
    source.runs("git clone -q --bare . /tmp/bare.git && cd /tmp/bare.git && git update-server-info && mkdir /workspace/target && cp -a . /workspace/target/bare.git").await;

    let (certificate, tls) = certified();
    let mut world = world!();
    let policy = Policy { allowed: vec![Pattern::parse("git.example.org").expect("valid")], max_bytes: 1 << 24 };
    let repository = source.folder().join("target/bare.git");
    world.egress = Some(Egress::new(policy, Internet(Host { tls, repository }), LogAudit));
    let place = Place::new(world, &[]).await;
    let room = place.room.id().clone();

    // Who is not listed is not reached, and whose certificate nobody vouches for is not believed.
    let Repository::NotCloned { message, .. } = fetched(&place, "https://other.example.org/a.git").await else {
        panic!("it was fetched")
    };
    assert_eq!(message, Error::NotListed("other.example.org".to_owned()).to_string());
    let Repository::NotCloned { message, .. } = fetched(&place, URL).await else { panic!("it was believed") };
    assert!(message.contains("certificate"), "{message}");
    let hex: String = certificate.iter().map(|byte| format!("{byte:02x}")).collect();
    place
        .runs(&format!(
            "python3 -c \"import ssl, os; open(os.path.expanduser('~/ca.pem'), 'w').write(ssl.DER_cert_to_PEM_cert(bytes.fromhex('{hex}')))\" \
             && git config --global http.sslCAInfo ~/ca.pem"
        ))
        .await;

    let Repository::Ready(Status { branch, changes, upstream, .. }) = fetched(&place, URL).await else {
        panic!("not fetched: {:?}", place.git.repository(&room).await)
    };
    assert_eq!((branch.as_deref(), changes), (Some("main"), Vec::new()));
    assert_eq!(upstream.map(|upstream| (upstream.name, upstream.behind)), Some(("origin/main".to_owned(), Some(0))));
    assert_eq!((place.text("a.py").await.as_str(), place.text("src/b.py").await.as_str()), ("x = 1\n", "y = 1\n"));
    assert_eq!(place.git.log(&room, 0, 10).await.expect("a log").0[0].subject, "Begin");
    let again = Origin::parse(URL, None).expect("valid");
    assert_eq!(place.git.clone_from(&room, again).await, Err(Error::NotEmpty));

    source.types("a.py", "x = 2\n", &ann()).await;
    source.commit(&ann(), "Two", None).await.expect("a commit");
    source.runs("git push -q target/bare.git main && cd target/bare.git && git update-server-info").await;
    place.git.pull(&room).await.expect("pulled");
    assert_eq!(place.text("a.py").await, "x = 2\n");
    source.end().await;
    place.end().await;
}
