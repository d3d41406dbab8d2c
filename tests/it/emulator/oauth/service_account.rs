//! Google's service accounts on the emulator: an assertion is looked at as a whole, and signed for real.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};

use super::{Google, Got, client, send};
use crate::emulator::{ACCOUNT, at};

const ROBOT: &str = "robot@project.iam.gserviceaccount.com";
const EVENTS: &str = "https://www.googleapis.com/auth/calendar.events";
const LIST: &str = "https://www.googleapis.com/auth/calendar.calendarlist.readonly";

/// A service account's key, from its file.
struct Key {
    id: String,
    pair: RsaKeyPair,
}

impl Key {
    fn read(file: &str) -> Self {
        let file: Value = serde_json::from_str(file).expect("the file is JSON");
        assert_eq!(
            (&file["type"], &file["client_email"]),
            (&"service_account".into(), &ROBOT.into())
        );
        let pem = file["private_key"].as_str().expect("a key");
        let lines: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = BASE64.decode(lines.as_bytes()).expect("it is base64");
        let id = file["private_key_id"].as_str().expect("a name").to_owned();
        Self { id, pair: RsaKeyPair::from_pkcs8(&der).expect("it is PKCS #8") }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair
            .sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)
            .expect("it is signed");
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }

    /// With what is changed in the claims.
    fn assertion(&self, google: &Google, changed: &Value) -> String {
        let now = at(8).timestamp();
        let mut claims = json!({
            "iss": ROBOT,
            "sub": ACCOUNT,
            "scope": EVENTS,
            "aud": google.emulator.token_url(),
            "iat": now,
            "exp": now + 3_600,
        });
        for (name, value) in changed.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.id });
        self.sign(&header, &claims)
    }
}

async fn asserted(google: &Google, assertion: &str) -> Got {
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
    let body = format!("grant_type={kind}&assertion={assertion}");
    let form = "application/x-www-form-urlencoded";
    let url = google.emulator.token_url();
    send(client().post(url).header("content-type", form).body(body)).await
}

async fn google() -> (Google, Key) {
    let google = Google::start().await;
    let key = Key::read(&google.emulator.make_service_account_key(ROBOT));
    assert!(google.emulator.delegate(ROBOT, &[EVENTS, LIST]));
    (google, key)
}

#[tokio::test]
async fn a_service_account_opens_what_its_organisation_lets_it() {
    let (google, key) = google().await;
    let got = asserted(&google, &key.assertion(&google, &json!({}))).await;
    assert_eq!(got.status, 200, "{}", got.body);
    assert_eq!(got.body.get("refresh_token"), None);
    let token = got.text("access_token");
    let base = google.emulator.base_url();
    let status = async |path: &str| {
        send(client().get(format!("{base}{path}")).bearer_auth(&token)).await.status
    };
    assert_eq!(status("/calendars/primary/events").await, 200);
    assert_eq!(status("/users/me/calendarList").await, 403, "it was not asked for");
    let both = json!({ "scope": format!("{EVENTS} {LIST}") });
    assert_eq!(asserted(&google, &key.assertion(&google, &both)).await.status, 200);
}

#[tokio::test]
async fn an_assertion_that_is_wrong_anywhere_gives_nothing() {
    let (google, key) = google().await;
    let (now, hour) = (at(8).timestamp(), 3_600);
    for (changed, expected) in [
        (json!({ "iss": "other@project.iam.gserviceaccount.com" }), (400, "invalid_grant")),
        (json!({ "aud": "https://oauth2.googleapis.com/token" }), (400, "invalid_grant")),
        (json!({ "sub": "nobody@example.com" }), (400, "invalid_grant")),
        (json!({ "scope": "" }), (400, "invalid_scope")),
        (json!({ "scope": "calendar" }), (400, "invalid_scope")),
        (json!({ "scope": format!("{EVENTS} openid") }), (401, "unauthorized_client")),
        (json!({ "exp": now + hour + 1 }), (400, "invalid_grant")),
        (json!({ "iat": now - hour, "exp": now }), (400, "invalid_grant")),
        (json!({ "iat": now + 301, "exp": now + 400 }), (400, "invalid_grant")),
        (json!({ "exp": "soon" }), (400, "invalid_request")),
    ] {
        let got = asserted(&google, &key.assertion(&google, &changed)).await;
        assert_eq!(got.said(), expected, "{changed}: {}", got.body);
    }
    assert_eq!(asserted(&google, "a.b").await.said(), (400, "invalid_request"));
    let mut forged = key.assertion(&google, &json!({}));
    forged.replace_range(forged.len() - 8.., "AAAAAAAA");
    let got = asserted(&google, &forged).await;
    assert_eq!(got.text("error_description"), "Invalid JWT Signature.");
    assert!(google.emulator.delegate(ROBOT, &[]));
    let got = asserted(&google, &key.assertion(&google, &json!({}))).await;
    assert_eq!(got.said(), (401, "unauthorized_client"));
    assert!(google.emulator.delete_service_account_keys(ROBOT));
    let got = asserted(&google, &key.assertion(&google, &json!({}))).await;
    assert_eq!(got.text("error_description"), "Invalid JWT Signature.");
    let another = Key::read(&google.emulator.make_service_account_key(ROBOT));
    assert!(google.emulator.delegate(ROBOT, &[EVENTS]));
    assert_eq!(asserted(&google, &another.assertion(&google, &json!({}))).await.status, 200);
}
