//! Secrets over REST: who may, what is told, and what never is.

use super::*;

const VALUE: &str = "s3cr3t-t0ken-value";

#[tokio::test]
async fn a_value_goes_in_and_never_comes_out() {
    let f = Fixture::new();
    let (ada, bo) = (f.session("Ada").await, f.session("Bo").await);
    let room = f.room(&ada).await;
    let path = format!("/api/v1/rooms/{room}/secrets");
    let own = format!("{path}/API_TOKEN");
    let env = json!({ "value": VALUE, "given": { "kind": "env" } });
    for (method, path, body) in [("PUT", &own, Some(env.clone())), ("GET", &path, None), ("DELETE", &own, None)] {
        let (status, refused) = f.call(method, path, Some(&bo), body).await;
        assert_eq!((status, &refused["error"]["code"]), (StatusCode::FORBIDDEN, &json!("denied")), "{method}");
    }
    assert_eq!(f.call("GET", &path, Some(&ada), None).await, (StatusCode::OK, json!([])));
    let (status, created) = f.call("PUT", &own, Some(&ada), Some(env.clone())).await;
    assert_eq!(status, StatusCode::CREATED, "{created}");
    assert_eq!((&created["name"], &created["given"]), (&json!("API_TOKEN"), &json!({ "kind": "env" })));
    assert_eq!((&created["skills"], &created["used_at"]), (&json!(["test.run"]), &Value::Null));
    assert_eq!(created["set_by_name"], "Ada");
    let header =
        json!({ "kind": "header", "host": "API.example.com", "header": "Authorization", "template": "Bearer {}" });
    let (status, replaced) = f.call("PUT", &own, Some(&ada), Some(json!({ "value": VALUE, "given": header }))).await;
    assert_eq!((status, &replaced["given"]["host"]), (StatusCode::OK, &json!("api.example.com")), "{replaced}");
    let (_, listed) = f.call("GET", &path, Some(&ada), None).await;
    assert_eq!(listed, json!([replaced]));
    for told in [&created, &replaced, &listed] {
        assert!(!told.to_string().contains(VALUE) && told.get("value").is_none(), "{told}");
    }
    assert_eq!(f.call("DELETE", &own, Some(&ada), None).await.0, StatusCode::NO_CONTENT);
    let (status, gone) = f.call("DELETE", &own, Some(&ada), None).await;
    assert_eq!((status, &gone["error"]["code"]), (StatusCode::NOT_FOUND, &json!("no_such_secret")));
}

#[tokio::test]
async fn what_cannot_be_a_secret_is_refused_without_repeating_it() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let path = format!("/api/v1/rooms/{}/secrets", f.room(&ada).await);
    let env = json!({ "kind": "env" });
    for (name, body, code) in [
        ("A-B", json!({ "value": VALUE, "given": env }), "invalid_secret"),
        ("PATH", json!({ "value": VALUE, "given": env }), "invalid_secret"),
        ("A", json!({ "value": "s3cr3t", "given": env }), "invalid_secret"),
        ("A", json!({ "value": VALUE, "given": env, "skills": ["no.such"] }), "invalid_secret"),
        (
            "A",
            json!({ "value": VALUE, "given": { "kind": "header", "host": "*.a.example", "header": "X" } }),
            "invalid_secret",
        ),
        ("A", json!({ "value": VALUE, "given": { "kind": "argv" } }), "bad_body"),
        ("A", json!({ "value": VALUE, "given": { "kind": "file", "path": "/tmp/x" } }), "bad_body"),
        ("A", json!({ "value": VALUE }), "bad_body"),
        ("A", json!({ "value": { "s3cr3t": 1 }, "given": env }), "bad_body"),
    ] {
        let (status, refused) = f.call("PUT", &format!("{path}/{name}"), Some(&ada), Some(body)).await;
        assert_eq!((status, &refused["error"]["code"]), (StatusCode::BAD_REQUEST, &json!(code)), "{refused}");
        assert!(!refused.to_string().contains("s3cr3t"), "{refused}");
    }
    for number in 0..32 {
        let body = json!({ "value": VALUE, "given": env });
        assert_eq!(f.call("PUT", &format!("{path}/A{number}"), Some(&ada), Some(body)).await.0, StatusCode::CREATED);
    }
    let one_more = json!({ "value": VALUE, "given": env });
    let (status, refused) = f.call("PUT", &format!("{path}/A32"), Some(&ada), Some(one_more.clone())).await;
    assert_eq!((status, &refused["error"]["code"]), (StatusCode::CONFLICT, &json!("too_many_secrets")));
    assert_eq!(f.call("PUT", &format!("{path}/A31"), Some(&ada), Some(one_more)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_rule_names_what_its_steps_get() {
    let f = Fixture::new();
    let (ada, bo) = (f.session("Ada").await, f.session("Bo").await);
    let room = f.room(&ada).await;
    let (_, rules) = f.call("GET", &format!("/api/v1/rooms/{room}/rules"), Some(&ada), None).await;
    assert_eq!(rules[0]["secrets"], json!([]));
    let rule = format!("/api/v1/rooms/{room}/rules/{}", rules[0]["id"].as_str().expect("an id"));
    let named = json!({ "secrets": ["TOKEN"] });
    assert_eq!(f.call("PATCH", &rule, Some(&bo), Some(named.clone())).await.0, StatusCode::FORBIDDEN);
    let (status, refused) = f.call("PATCH", &rule, Some(&ada), Some(named.clone())).await;
    assert_eq!((status, &refused["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("unknown_secret")), "{refused}");
    let token = format!("/api/v1/rooms/{room}/secrets/TOKEN");
    let env = json!({ "value": VALUE, "given": { "kind": "env" } });
    f.call("PUT", &token, Some(&ada), Some(env)).await;
    let (status, changed) = f.call("PATCH", &rule, Some(&ada), Some(named)).await;
    assert_eq!((status, &changed["secrets"]), (StatusCode::OK, &json!(["TOKEN"])));
    let (_, rules) = f.call("GET", &format!("/api/v1/rooms/{room}/rules"), Some(&bo), None).await;
    assert_eq!(rules[0], changed);
    let (status, _) = f.call("PATCH", &rule, Some(&ada), Some(json!({ "secrets": [] }))).await;
    assert_eq!(status, StatusCode::OK);
    let missing = format!("/api/v1/rooms/{room}/rules/nosuch");
    assert_eq!(f.call("PATCH", &missing, Some(&ada), Some(json!({ "secrets": [] }))).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn without_a_key_the_setting_to_make_is_named() {
    let f = Fixture::with_key(Config::default(), None);
    let ada = f.session("Ada").await;
    let path = format!("/api/v1/rooms/{}/secrets", f.room(&ada).await);
    let env = json!({ "value": VALUE, "given": { "kind": "env" } });
    for (method, path, body) in
        [("GET", path.clone(), None), ("PUT", format!("{path}/A"), Some(env)), ("DELETE", format!("{path}/A"), None)]
    {
        let (status, off) = f.call(method, &path, Some(&ada), body).await;
        assert_eq!((status, &off["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("secrets_off")));
        assert!(off["error"]["hint"].as_str().expect("a hint").contains("secrets.key_file"), "{off}");
    }
}
