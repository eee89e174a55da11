use super::media::{World, say};
use super::terminals::text;
use super::*;

/// The recording as a page is told of it, when it is as wanted.
async fn recording(socket: &mut Socket, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let told = text(socket, "recording").await;
        if wanted(&told["recording"]) {
            return told;
        }
    }
}

#[tokio::test]
async fn a_host_has_the_call_recorded_and_everybody_is_told_and_asked() {
    let w = World::new().await;
    let bo = w.f.session("Bo").await;
    let path = |rest: &str| format!("/api/v1/rooms/{}/media/recordings{rest}", w.room);
    let (mut ada_page, mut bo_page) = (w.attach(&w.ada).await, w.attach(&bo).await);
    recording(&mut bo_page, Value::is_null).await;
    say(&mut ada_page, json!({"type": "join"})).await;
    let ada = text(&mut ada_page, "joined").await["participant"].clone();
    say(&mut bo_page, json!({"type": "join"})).await;
    let bo_in = text(&mut bo_page, "joined").await["participant"].clone();
    say(&mut bo_page, json!({"type": "record", "on": true})).await;
    let refused = text(&mut bo_page, "refused").await;
    assert_eq!(refused["message"], "somebody with the role editor may not record the call");

    say(&mut ada_page, json!({"type": "record", "on": true})).await;
    let told = recording(&mut bo_page, Value::is_object).await;
    assert_eq!((&told["recording"]["by"]["name"], &told["recording"]["agreed"]), (&json!("Ada"), &json!([ada])));
    // Also who only comes to look.
    let mut late = w.attach(&bo).await;
    recording(&mut late, Value::is_object).await;
    let began = told["recording"]["started_at"].clone();
    say(&mut bo_page, json!({"type": "agree", "on": true, "recording": began})).await;
    let agreed = |seen: &Value| seen["agreed"].as_array().is_some_and(|agreed| agreed.contains(&bo_in));
    recording(&mut ada_page, agreed).await;
    let (_, list) = w.f.call("GET", &path(""), Some(&bo), None).await;
    assert_eq!((&list[0]["state"], &list[0]["started_by_name"]), (&json!("recording"), &json!("Ada")));
    let one = path(&format!("/{}", list[0]["id"].as_str().expect("an id")));
    let (status, body) = w.f.call("DELETE", &one, Some(&w.ada), None).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::CONFLICT, &json!("still_recorded")));

    say(&mut ada_page, json!({"type": "record", "on": false})).await;
    assert_eq!(recording(&mut bo_page, Value::is_null).await["failed"], Value::Null);
    while w.f.call("GET", &path(""), Some(&bo), None).await.1[0]["state"] != "stopped" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for file in ["1", "0", "x", "%2e%2e"] {
        let (status, body) = w.f.call("GET", &format!("{one}/files/{file}"), Some(&bo), None).await;
        assert_eq!((status, &body["error"]["code"]), (StatusCode::NOT_FOUND, &json!("no_such_recording")), "{file}");
    }
    assert_eq!(w.f.call("GET", &path(""), None, None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(w.f.call("DELETE", &one, Some(&bo), None).await.0, StatusCode::FORBIDDEN, "an editor may not");
    assert_eq!(w.f.call("DELETE", &one, Some(&w.ada), None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(w.f.call("DELETE", &one, Some(&w.ada), None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(w.f.call("GET", &path(""), Some(&bo), None).await.1, json!([]));
}

#[tokio::test]
async fn players_ask_for_parts_of_a_file() {
    let w = World::new().await;
    let (id, by) = (buildspaces_kernel::ids::RecordingId::random(), buildspaces_kernel::ids::PrincipalId::random());
    let folder = w.f.recordings.path().join(&w.room).join(id.as_str());
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = format!(
        "number = 1\nperson = \"{by}\"\nperson_name = \"Ada\"\nsource = \"camera\"\ncodec = \"vp8\"\noffset = 0\nduration = 9\nbytes = 10"
    );
    let note = format!(
        "id = \"{id}\"\nroom = \"{}\"\nstarted_by = \"{by}\"\nstarted_by_name = \"Ada\"\nstarted_at = 5\nended_at = 14\n\
         duration = 9\nstate = \"complete\"\n\n[[files]]\n{file}\n",
        w.room
    );
    std::fs::write(folder.join("recording.toml"), note).expect("written");
    std::fs::write(folder.join("1-camera.webm"), b"0123456789").expect("written");

    let settings = format!("/api/v1/rooms/{}/media/settings", w.room);
    let kept = json!({ "recordings": 1, "most_recordings": 200, "bytes": 10, "most_bytes": 16_u64 << 30 });
    assert_eq!(w.f.call("GET", &settings, Some(&w.ada), None).await.1["kept"], kept);
    let path = format!("/api/v1/rooms/{}/media/recordings/{id}/files/1", w.room);
    let ask = async |range: Option<&str>| {
        let request = Request::get(&path).header("host", "localhost:8080");
        let request = request.header("authorization", format!("Bearer {}", w.ada));
        // As browsers do, who would get what was compressed otherwise.
        let mut request = request.header("accept-encoding", "gzip").body(Body::empty()).expect("a request");
        if let Some(range) = range {
            request.headers_mut().insert("range", range.parse().expect("a header"));
        }
        let response = w.f.router.clone().oneshot(request).await.expect("an answer");
        let text = |name| response.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
        let told = (response.status().as_u16(), text("content-range"), text("content-length"), text("content-type"));
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 10).await.expect("a body");
        (told, String::from_utf8(bytes.to_vec()).expect("UTF-8"))
    };
    let some = |text: &str| Some(text.to_owned());
    let video = || some("video/webm");
    assert_eq!(ask(None).await, ((200, None, some("10"), video()), "0123456789".to_owned()));
    assert_eq!(ask(Some("bytes=2-4")).await, ((206, some("bytes 2-4/10"), some("3"), video()), "234".to_owned()));
    assert_eq!(ask(Some("bytes=-2")).await, ((206, some("bytes 8-9/10"), some("2"), video()), "89".to_owned()));
    assert_eq!(
        ask(Some("bytes=0-")).await,
        ((206, some("bytes 0-9/10"), some("10"), video()), "0123456789".to_owned())
    );
    let ((status, range, _, kind), body) = ask(Some("bytes=10-")).await;
    assert_eq!((status, range, kind), (416, some("bytes */10"), some("application/json")));
    assert!(body.contains("no_such_range"), "{body}");
}
