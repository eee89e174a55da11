//! Repositories that not everybody may see: the room has a secret for them, and nothing in the sandbox does.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use buildspaces_plans::git::{Error, Repository};
use buildspaces_plans::secret::{GitCredential, Given};
use buildspaces_plans::secrets::NewSecret;
use buildspaces_sandbox::Egress;
use buildspaces_sandbox::egress::{LogAudit, Pattern, Policy};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsAcceptor;

use crate::git::{Place, ann};
use crate::git_clone::fetched;
use crate::internet::{Internet, Plays, certified};

const URL: &str = "https://git.example.org/team/project.git";
const TOKEN: &str = "s3cr3t-t0ken-value";
/// By coreutils' base64, of "git:" and the token.
const AUTHORIZATION: &str = "Authorization: Basic Z2l0OnMzY3IzdC10MGtlbi12YWx1ZQ==";

/// A server of repositories below `root`, by git's own program for that. Whoever does not say who they are is asked. Every request is noted.
#[derive(Clone)]
struct Host {
    tls: TlsAcceptor,
    root: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Plays for Host {
    async fn serve(self, stream: DuplexStream) -> io::Result<()> {
        let mut stream = self.tls.accept(stream).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let field = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
        };
        let length = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let is_known = head.lines().any(|line| line == AUTHORIZATION);
        self.asked.lock().expect("no panics").push(format!("{method} {target} {is_known}"));
        let answer = if is_known {
            let kind = field("content-type").unwrap_or_default();
            let answered =
                answer(&self.root, method, target, &kind, &field("content-encoding").unwrap_or_default(), &body)?;
            [b"HTTP/1.1 200 OK\r\nConnection: close\r\n", &answered[..]].concat()
        } else {
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
        };
        stream.write_all(&answer).await?;
        stream.shutdown().await
    }
}

/// What git's own program answers, from its first header on.
fn answer(root: &Path, method: &str, target: &str, kind: &str, encoding: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut child = Command::new("git")
        .args(["-c", "safe.directory=*", "http-backend"])
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "somebody")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", kind)
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", encoding)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().expect("piped").write_all(body)?;
    Ok(child.wait_with_output()?.stdout)
}

/// Trusts the certificate, and no other.
fn trusting(certificate: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.to_vec())).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(config.expect("versions").with_root_certificates(roots).with_no_client_auth())
}

fn git_in(folder: &Path, args: &[&str]) {
    let identity = ["-c", "user.name=Zoe", "-c", "user.email=zoe@example.org", "-c", "init.defaultBranch=main"];
    let done = Command::new("git").current_dir(folder).args(identity).args(args).status().expect("git is here");
    assert!(done.success(), "{args:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_pulls_and_pushes_with_a_secret_that_is_never_in_its_sandbox() {
    let (certificate, tls) = certified();
    let folder = tempfile::tempdir().expect("a folder");
    let bare = folder.path().join("team/project.git");
    std::fs::create_dir_all(&bare).expect("made");
    git_in(&bare, &["init", "--quiet", "--bare"]);
    git_in(folder.path(), &["clone", "--quiet", "team/project.git", "theirs"]);
    let theirs = folder.path().join("theirs");
    std::fs::write(theirs.join("a.py"), "x = 1\n").expect("written");
    git_in(&theirs, &["add", "."]);
    git_in(&theirs, &["commit", "--quiet", "-m", "Begin"]);
    git_in(&theirs, &["push", "--quiet", "origin", "HEAD:main"]);

    let mut world = world!();
    let policy = Policy { allowed: vec![Pattern::parse("git.example.org").expect("valid")], max_bytes: 1 << 24 };
    let host = Host { tls, root: folder.path().to_owned(), asked: Arc::default() };
    let asked = host.asked.clone();
    world.egress = Some(Egress::new(policy, Internet(host), LogAudit).trusting(trusting(&certificate)));
    let place = Place::new(world, &[]).await;
    let room = place.room.id().clone();
    let add = |name: &'static str, url: &'static str, value: &'static str| {
        let given = Given::Git(GitCredential::new(url, "git").expect("valid"));
        let (secrets, room) = (place.secrets.clone(), room.clone());
        async move {
            let new = NewSecret { value: value.to_owned(), given, skills: None };
            secrets.put(&room, &ann(), name, new, 1).await.expect("stored");
        }
    };

    add("OLD", "https://git.example.org", "a-former-value").await;
    let Repository::NotCloned { message, .. } = fetched(&place, URL).await else { panic!("it was given") };
    assert_eq!(message, Error::CredentialRefused("OLD".to_owned()).to_string());
    add("TOKEN", "https://git.example.org/team", TOKEN).await;
    let Repository::Ready(_) = fetched(&place, URL).await else { panic!("{:?}", place.git.repository(&room).await) };
    assert_eq!(place.text("a.py").await, "x = 1\n");
    assert_eq!(
        place.runs("git remote get-url origin").await,
        format!("{URL}\n"),
        "the address is the one that was meant"
    );

    place.types("a.py", "x = 2\n", &ann()).await;
    place.commit(&ann(), "Two", None).await.expect("a commit");
    place.git.push(&room).await.expect("pushed");
    git_in(&theirs, &["pull", "--quiet", "origin", "main"]);
    assert_eq!(std::fs::read_to_string(theirs.join("a.py")).expect("there"), "x = 2\n");
    std::fs::write(theirs.join("a.py"), "x = 3\n").expect("written");
    git_in(&theirs, &["commit", "--quiet", "-am", "Three"]);
    git_in(&theirs, &["push", "--quiet", "origin", "HEAD:main"]);
    place.git.pull(&room).await.expect("pulled");
    assert_eq!(place.text("a.py").await, "x = 3\n");

    // Between the two nobody has it, and nothing of it is left.
    let alone = "git -c protocol.http.allow=always ls-remote http://git.example.org/team/project.git 2>&1; \
                 grep -rIl t0ken /workspace /tmp ~ 2>/dev/null; tr '\\0' '\\n' </proc/self/environ | grep -c t0ken";
    let said = place.runs(alone).await;
    assert!(said.contains("405") && said.ends_with("\n0\n"), "{said}");
    let used = place.secrets.list(&room).await.expect("listed");
    assert!(used.iter().all(|secret| secret.used_at.is_some()), "{used:?}");
    let asked = asked.lock().expect("no panics").clone();
    assert!(asked.iter().any(|request| request == "POST /team/project.git/git-receive-pack true"), "{asked:?}");
    place.end().await;
}
