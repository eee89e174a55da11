//! Recordings of terminals through REST, with a shell that the test plays.

use axum::http::header;

use super::*;

async fn settings(f: &Fixture, room: &str, token: &str, record: bool) -> (StatusCode, Value) {
    f.call("PUT", &format!("/api/v1/rooms/{room}/terminals/settings"), Some(token), Some(json!({ "record": record })))
        .await
}

/// What a download answers: its type, how it is to be saved, and the file.
async fn download(f: &Fixture, path: &str, token: &str) -> (String, String, String) {
    let request =
        Request::get(path).header("host", "localhost:8080").header("authorization", format!("Bearer {token}"));
    let response = f.router.clone().oneshot(request.body(Body::empty()).expect("request")).await.expect("answer");
    let text = |name| response.headers()[name].to_str().expect("text").to_owned();
    let (kind, disposition) = (text(header::CONTENT_TYPE), text(header::CONTENT_DISPOSITION));
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("body");
    (kind, disposition, String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

#[tokio::test(start_paused = true)]
async fn a_host_has_terminals_recorded_and_everybody_reads_them() {
    let f = Fixture::new();
    let (ada, bo) = (f.session("Ada").await, f.session("Bo").await);
    let room = f.room(&ada).await;
    let path = |rest: &str| format!("/api/v1/rooms/{room}/{rest}");
    let (_, off) = f.call("GET", &path("terminals/settings"), Some(&bo), None).await;
    let kept = json!({ "recordings": 0, "most_recordings": 200, "bytes": 0, "most_bytes": 838_860_800 });
    let expected = json!({ "record": false, "set_by": null, "set_by_name": null, "set_at": null, "kept": kept });
    assert_eq!(off, expected);
    let (status, body) = settings(&f, &room, &bo, true).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::FORBIDDEN, &json!("denied")), "an editor may not");

    let (status, on) = settings(&f, &room, &ada, true).await;
    assert_eq!((status, &on["record"], &on["set_by_name"]), (StatusCode::OK, &json!(true), &json!("Ada")));
    assert_eq!(settings(&f, &room, &ada, true).await.1, on, "it is on since then");
    assert_eq!(f.call("GET", &path("terminals/settings"), Some(&bo), None).await.1, on);

    let (status, terminal) = f.call("POST", &path("terminals"), Some(&bo), Some(json!({}))).await;
    assert_eq!((status, &terminal["recorded"]), (StatusCode::CREATED, &json!(true)), "and whoever opens one is told");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let shell = f.sandboxes.opened_terminal().expect("a shell was asked for");
    shell.print(b"hello\r\n").await;
    tokio::time::sleep(Duration::from_secs(2)).await;

    let (_, list) = f.call("GET", &path("recordings"), Some(&bo), None).await;
    let id = list[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        (&list[0]["state"], &list[0]["number"], &list[0]["opened_by_name"]),
        (&json!("recording"), &json!(1), &json!("Bo"))
    );
    let one = path(&format!("recordings/{id}"));
    let (kind, disposition, cast) = download(&f, &one, &bo).await;
    assert_eq!(kind, "application/x-asciicast");
    assert_eq!(disposition, format!("attachment; filename=\"terminal-1-{id}.cast\""));
    let lines: Vec<Value> = cast.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["version"], &lines[0]["width"], &lines[0]["height"]), (&json!(2), &json!(80), &json!(24)));
    assert_eq!((&lines[1][1], &lines[1][2]), (&json!("o"), &json!("hello\r\n")));
    assert_eq!(list[0]["bytes"], cast.len());
    let (_, now) = f.call("GET", &path("terminals/settings"), Some(&bo), None).await;
    assert_eq!((&now["kept"]["recordings"], &now["kept"]["bytes"]), (&json!(1), &json!(cast.len())));

    let (status, body) = f.call("DELETE", &one, Some(&ada), None).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::CONFLICT, &json!("still_recorded")));
    assert_eq!(settings(&f, &room, &ada, false).await.1["record"], json!(false));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (_, list) = f.call("GET", &path("recordings"), Some(&bo), None).await;
    assert_eq!((&list[0]["state"], &list[0]["message"]), (&json!("stopped"), &json!("Recording was turned off.")));
    assert_eq!(f.call("GET", &path("terminals"), Some(&bo), None).await.1[0]["recorded"], json!(false));

    assert_eq!(f.call("DELETE", &one, Some(&bo), None).await.0, StatusCode::FORBIDDEN, "an editor may not");
    assert_eq!(f.call("DELETE", &one, Some(&ada), None).await.0, StatusCode::NO_CONTENT);
    for (method, path) in [("DELETE", &one), ("GET", &one), ("GET", &path("recordings/%2e%2e"))] {
        let (status, body) = f.call(method, path, Some(&ada), None).await;
        assert_eq!((status, &body["error"]["code"]), (StatusCode::NOT_FOUND, &json!("no_such_recording")));
    }
    for path in [path("recordings"), path("terminals/settings")] {
        assert_eq!(f.call("GET", &path, None, None).await.0, StatusCode::UNAUTHORIZED);
    }
}
