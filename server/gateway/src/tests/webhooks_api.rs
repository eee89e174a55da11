use super::*;

#[tokio::test]
async fn a_rooms_webhooks_are_its_hosts_business() {
    let f = Fixture::new();
    let (ada, bo) = (f.session("Ada").await, f.session("Bo").await);
    let room = f.room(&ada).await;
    let path = format!("/api/v1/rooms/{room}/webhooks");
    let new = json!({ "url": "https://a.example/hook" });
    let (status, _) = f.call("POST", &path, Some(&bo), Some(new.clone())).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "Bo has the link and is no host");
    let (status, created) = f.call("POST", &path, Some(&ada), Some(new)).await;
    assert_eq!(status, StatusCode::CREATED, "{created}");
    assert!(created["secret"].as_str().expect("once").starts_with("whsec_"));
    assert_eq!(created["events"], json!(["document.changed", "document.deleted"]));
    let (_, listed) = f.call("GET", &path, Some(&ada), None).await;
    assert_eq!((&listed[0]["id"], &listed[0]["secret"]), (&created["id"], &Value::Null));

    let own = format!("{path}/{}", created["id"].as_str().expect("an id"));
    for (method, path) in [("GET", path.clone()), ("DELETE", own.clone()), ("GET", format!("{own}/deliveries"))] {
        assert_eq!(f.call(method, &path, Some(&bo), None).await.0, StatusCode::FORBIDDEN, "{method} {path}");
    }
    let (status, delivery) = f.call("POST", &format!("{own}/test"), Some(&ada), None).await;
    assert_eq!((status, &delivery["state"]), (StatusCode::ACCEPTED, &json!("waiting")));
    let (_, deliveries) = f.call("GET", &format!("{own}/deliveries"), Some(&ada), None).await;
    assert_eq!((&deliveries[0]["id"], &deliveries[0]["type"]), (&delivery["id"], &json!("webhook.test")));

    let (_, off) = f.call("PATCH", &own, Some(&ada), Some(json!({ "enabled": false }))).await;
    assert_eq!((&off["enabled"], &off["off_reason"]), (&json!(false), &json!("somebody switched it off")));
    let (status, refused) = f.call("POST", &format!("{own}/test"), Some(&ada), None).await;
    assert_eq!((status, &refused["error"]["code"]), (StatusCode::CONFLICT, &json!("webhook_off")));
    let (_, on) = f.call("PATCH", &own, Some(&ada), Some(json!({ "enabled": true }))).await;
    assert_eq!((&on["enabled"], &on["off_reason"]), (&json!(true), &Value::Null));
    assert_eq!(f.call("DELETE", &own, Some(&ada), None).await.0, StatusCode::NO_CONTENT);
    let (status, gone) = f.call("DELETE", &own, Some(&ada), None).await;
    assert_eq!((status, &gone["error"]["code"]), (StatusCode::NOT_FOUND, &json!("no_such_webhook")));
}

#[tokio::test]
async fn a_webhook_that_cannot_be_made_is_refused_with_the_reason() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let path = format!("/api/v1/rooms/{}/webhooks", f.room(&ada).await);
    for new in
        [json!({ "url": "http://a.example/" }), json!({ "url": "https://a.example/", "events": ["room.created"] })]
    {
        let (status, refused) = f.call("POST", &path, Some(&ada), Some(new)).await;
        assert_eq!((status, &refused["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("bad_webhook")), "{refused}");
    }
}
