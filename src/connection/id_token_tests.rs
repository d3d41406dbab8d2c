use serde_json::{Value, json};

use super::*;

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

fn now() -> DateTime<Utc> {
    "2026-11-28T10:00:00Z".parse().unwrap()
}

fn token(claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!("{}.{}.c2ln", part(&json!({"alg": "RS256"})), part(claims))
}

fn google() -> Value {
    json!({
        "iss": "https://accounts.google.com", "aud": "us", "azp": "us", "sub": "1137622",
        "email": "anna@example.com", "nonce": "n-1", "exp": now().timestamp() + 3_600,
    })
}

fn microsoft() -> Value {
    json!({
        "iss": format!("https://login.example/{TENANT}/v2.0"), "aud": "us", "sub": "pairwise",
        "oid": "48d31887", "tid": TENANT, "preferred_username": "anna@contoso.example",
        "nonce": "n-1", "exp": now().timestamp() + 3_600,
    })
}

fn of_google(claims: &Value) -> Result<Identity, &'static str> {
    let name = "https://accounts.google.com".parse().unwrap();
    let (issuer, nonce) = (&Issuer::Google, Some("n-1"));
    let expected = Expected { issuer, name: &name, client: "us", nonce, now: now() };
    identity(&token(claims), &expected)
}

fn of_microsoft(tenant: &str, claims: &Value) -> Result<Identity, &'static str> {
    let name = "https://login.example/".parse().unwrap();
    let issuer = Issuer::Microsoft(Tenant::parse(tenant).unwrap());
    let expected =
        Expected { issuer: &issuer, name: &name, client: "us", nonce: Some("n-1"), now: now() };
    identity(&token(claims), &expected)
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[test]
fn an_account_is_its_immutable_subject_and_not_its_address() {
    let found = of_google(&google()).unwrap();
    assert_eq!(found.subject, "1137622");
    assert_eq!(found.name.as_deref(), Some("anna@example.com"));
    let short = with(google(), "iss", json!("accounts.google.com"));
    assert_eq!(of_google(&short).unwrap(), found);
    let found = of_microsoft("common", &microsoft()).unwrap();
    assert_eq!(found.subject, "48d31887");
    assert_eq!(found.issuer, Issuer::Microsoft(Tenant::parse(TENANT).unwrap()));
    assert_eq!(found.name.as_deref(), Some("anna@contoso.example"));
}

#[test]
fn a_token_that_was_made_for_another_is_refused() {
    for (name, value) in [
        ("aud", json!("them")),
        ("aud", json!(["us", "them"])),
        ("aud", json!([])),
        ("azp", json!("them")),
        ("nonce", json!("n-2")),
        ("nonce", json!(null)),
        ("iss", json!("https://accounts.google.com.example")),
        ("iss", json!("http://accounts.google.com")),
        ("exp", json!(now().timestamp() - 301)),
        ("exp", json!("soon")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("sub", json!(null)),
        ("sub", json!("")),
        ("sub", json!("a b")),
        ("sub", json!("x".repeat(SUBJECT_LEN_MAX + 1))),
    ] {
        of_google(&with(google(), name, value.clone())).expect_err(&format!("{name} {value}"));
    }
    for (name, value) in [("exp", json!(now().timestamp() - 299)), ("aud", json!(["us"]))] {
        of_google(&with(google(), name, value)).unwrap();
    }
}

#[test]
fn a_tenant_speaks_for_its_own_users_alone() {
    let other = "9188040d-6c67-4c5b-b112-36a304b66dad";
    of_microsoft(TENANT, &microsoft()).unwrap();
    of_microsoft("contoso.example", &microsoft()).unwrap();
    of_microsoft(other, &microsoft()).unwrap_err();
    for (name, value) in [
        ("tid", json!(other)),
        ("tid", json!("contoso.example")),
        ("tid", json!("../common")),
        ("tid", json!(null)),
        ("iss", json!(format!("https://login.example/{other}/v2.0"))),
        ("iss", json!(format!("https://login.example/{TENANT}"))),
        ("oid", json!(null)),
    ] {
        of_microsoft("common", &with(microsoft(), name, value)).expect_err(name);
    }
}

#[test]
fn a_device_takes_no_nonce_along() {
    let name = "https://accounts.google.com".parse().unwrap();
    let issuer = &Issuer::Google;
    let expected = Expected { issuer, name: &name, client: "us", nonce: None, now: now() };
    identity(&token(&with(google(), "nonce", json!(null))), &expected).unwrap();
}

#[test]
fn what_is_no_token_is_none() {
    let name = "https://accounts.google.com".parse().unwrap();
    let issuer = &Issuer::Google;
    let expected = Expected { issuer, name: &name, client: "us", nonce: None, now: now() };
    let sound = token(&google());
    let (start, _) = sound.rsplit_once('.').unwrap();
    for text in ["", "..", "a.b.c", start, &format!("{sound}.x"), &sound.replace('.', "=.")] {
        assert_eq!(identity(text, &expected), Err("is none"), "{text}");
    }
}

#[test]
fn an_address_that_cannot_be_shown_is_left_out() {
    for name in ["", "a\u{1b}[1m", &"x".repeat(NAME_LEN_MAX + 1)] {
        let claims = with(google(), "email", json!(name));
        assert_eq!(of_google(&claims).unwrap().name, None);
    }
}
