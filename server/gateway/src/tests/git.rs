//! Git and uploads through REST, with a git that the test plays.

use std::io::Write;

use buildspaces_plans::ports::{Availability, CommandEnd, CommandOutput, SandboxError};

use super::*;

const STATUS: &str = "# branch.oid (initial)\0# branch.head main\0? a.py\0";

fn answer(code: i32, output: &str, errors: &str) -> CommandOutput {
    CommandOutput { end: CommandEnd::Exited(code), output: output.as_bytes().to_vec(), errors: errors.to_owned() }
}

#[tokio::test]
async fn what_git_says_has_one_shape_and_its_refusals_a_code() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let git = format!("/api/v1/rooms/{}/git", f.room(&ada).await);
    let check = async |method: &str, path: &str, body: Option<Value>, status: u16, code: &str| {
        let (was, answer) = f.call(method, &format!("{git}{path}"), Some(&ada), body).await;
        assert_eq!((was.as_u16(), &answer["error"]["code"]), (status, &json!(code)), "{method} {path}: {answer}");
    };
    check("GET", "", None, 409, "no_git").await;
    f.sandboxes.play_commands(|_| answer(128, "", "fatal: not a git repository\n"));
    let (status, body) = f.call("GET", &git, Some(&ada), None).await;
    assert_eq!((status, &body["state"], &body["changes"]), (StatusCode::OK, &json!("none"), &json!([])));
    check("GET", "/commits", None, 409, "no_repository").await;
    check("POST", "/commits", Some(json!({ "message": " " })), 400, "bad_message").await;
    check("POST", "/commits", Some(json!({ "text": "x" })), 400, "bad_body").await;
    check("POST", "/branches", Some(json!({ "name": "-d" })), 400, "bad_branch").await;
    check("GET", "/diff?path=..%2Fx", None, 404, "no_such_file").await;
    check("GET", "/diff?commit=HEAD", None, 404, "no_such_commit").await;
    check("POST", "", Some(json!({ "repository": { "url": "git@example.org:a" } })), 400, "bad_url").await;

    f.sandboxes.play_commands(|_| answer(0, STATUS, ""));
    let (_, body) = f.call("GET", &git, Some(&ada), None).await;
    let change = json!({ "path": "a.py", "from": null, "kind": "untracked", "staged": false });
    assert_eq!((&body["state"], &body["branch"], &body["changes"][0]), (&json!("ready"), &json!("main"), &change));
    check("POST", "", Some(json!({})), 409, "is_repository").await;
    let (status, _) = f.call("GET", &git, None, None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_room_begins_with_a_template_or_a_repository_and_only_where_that_can_arrive() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let create = async |body: Value| f.call("POST", "/api/v1/rooms", Some(&ada), Some(body)).await;
    let origin = json!({ "url": "https://git.example.org/team/project.git", "branch": "main" });
    let (status, body) = create(json!({})).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("no_such_template")));
    let (status, body) = create(json!({ "template": "python", "repository": origin })).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("two_beginnings")));
    let (status, room) = create(json!({ "repository": origin })).await;
    assert_eq!(
        (status, &room["title"], &room["template"]),
        (StatusCode::CREATED, &json!("project"), &json!("repository"))
    );
    f.sandboxes.set_availability(Availability::Off { message: "no engine".to_owned(), hint: "start it".to_owned() });
    let (status, body) = create(json!({ "repository": origin })).await;
    let expected = (&json!("runs_off"), &json!("start it"));
    assert_eq!((status, (&body["error"]["code"], &body["error"]["hint"])), (StatusCode::SERVICE_UNAVAILABLE, expected));
}

#[tokio::test]
async fn a_project_that_is_sent_becomes_a_room() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let send = async |token: Option<&str>, bytes: Vec<u8>| {
        let mut request = Request::post("/api/v1/rooms/upload?title=Mine").header("host", "localhost:8080");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = f.router.clone().oneshot(request.body(Body::from(bytes)).expect("request")).await.expect("answer");
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("body");
        (status, serde_json::from_slice::<Value>(&bytes).unwrap_or(Value::Null))
    };
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, text) in [("project/a.py", "x = 1\n"), ("project/.git/HEAD", "ref: refs/heads/main\n")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes()).expect("in memory");
    }
    let mut packed = tar.into_inner().expect("in memory");
    packed.flush().expect("in memory");
    let packed = packed.finish().expect("in memory");
    let (status, room) = send(Some(&ada), packed.clone()).await;
    assert_eq!((status, &room["title"], &room["template"]), (StatusCode::CREATED, &json!("Mine"), &json!("upload")));
    assert!(f.sandboxes.journal().contains(&"fill a.py .git/HEAD".to_owned()), "{:?}", f.sandboxes.journal());
    let (status, body) = send(Some(&ada), b"hello".to_vec()).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("bad_upload")));
    f.sandboxes.refuse(Some(SandboxError::Failed("its rooms take too much (organisations.acme.disk_mib)".to_owned())));
    let (status, body) = send(Some(&ada), packed.clone()).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::INSUFFICIENT_STORAGE, &json!("organisation_full")));
    let asked = f.sandboxes.journal().into_iter().filter(|what| what.starts_with("fill")).count();
    assert_eq!(asked, 1, "nothing was put anywhere");
    f.sandboxes.refuse(None);
    assert_eq!(send(None, packed).await.0, StatusCode::UNAUTHORIZED);
}
