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
    say(&mut bo_page, json!({"type": "agree"})).await;
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
