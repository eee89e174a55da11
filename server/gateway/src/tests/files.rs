//! Files as bytes through REST, with a workspace that the test plays.

use super::*;

#[tokio::test]
async fn a_file_that_is_sent_comes_into_the_workspace() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let room = f.room(&ada).await;
    let send = async |query: &str| {
        let request = Request::post(format!("/api/v1/rooms/{room}/files?{query}")).header("host", "localhost:8080");
        let request = request.header("authorization", format!("Bearer {ada}"));
        let request = request.body(Body::from(vec![0, 1, 2])).expect("request");
        let answer = f.router.clone().oneshot(request).await.expect("answer");
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("body");
        let body: Value = serde_json::from_slice(&bytes).expect("JSON");
        (status, body["error"]["code"].clone())
    };
    let path = format!("/api/v1/rooms/{room}/nodes");
    let (_, folder) = f.call("POST", &path, Some(&ada), Some(json!({ "name": "img", "kind": "folder" }))).await;
    let folder = folder["id"].as_str().expect("id");
    // What the workspace of this test gets, no tree shows.
    let in_folder = send(&format!("name=a.png&parent={folder}")).await;
    assert_eq!(in_folder, (StatusCode::CONFLICT, json!("left_out")));
    assert!(f.sandboxes.journal().contains(&"fill img/a.png".to_owned()), "{:?}", f.sandboxes.journal());
    assert_eq!(send("name=IMG").await, (StatusCode::CONFLICT, json!("name_taken")));
    assert_eq!(send("name=..").await, (StatusCode::BAD_REQUEST, json!("bad_name")));
    assert_eq!(send("name=a&parent=nowhere").await, (StatusCode::NOT_FOUND, json!("no_such_node")));
    assert_eq!(send("name=").await, (StatusCode::BAD_REQUEST, json!("bad_name")));
    assert_eq!(f.sandboxes.journal().iter().filter(|what| what.starts_with("fill")).count(), 1);
}

#[tokio::test]
async fn what_the_tree_does_not_show_is_listed_on_demand() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let room = f.room(&ada).await;
    let list = async |token: &str, query: &str| {
        f.call("GET", &format!("/api/v1/rooms/{room}/unshared{query}"), Some(token), None).await
    };
    let files = json!([{ "path": "made", "folder": true, "size": 0 }, { "path": "log", "folder": false, "size": 7 }]);
    assert_eq!(list(&ada, "").await, (StatusCode::OK, json!({ "files": files, "more": 0 })));
    let (status, below) = list(&ada, "?folder=a%2Fb").await;
    assert_eq!((status, &below["files"][1]["path"]), (StatusCode::OK, &json!("a/b/log")));
}
