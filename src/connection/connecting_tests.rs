use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest as _, Sha256};

use super::super::kept::Tenant;
use super::*;
use crate::calendar::http::{HttpOptions, Reach};
use crate::config::{Given, Settings};

fn microsoft() -> Issuer {
    Issuer::Microsoft(Tenant::parse("common").unwrap())
}

fn connecting() -> Connecting {
    let environment = [
        ("DATABASE_URL", "postgres://127.0.0.1/x"),
        ("OAUTH_GOOGLE_CLIENT_ID", "us"),
        ("OAUTH_GOOGLE_CLIENT_SECRET", "s3cret"),
        ("OAUTH_MICROSOFT_CLIENT_ID", "them"),
    ];
    let owned = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let given = Given::of(None, owned);
    let settings = Settings::parse(&given).unwrap();
    let surroundings = Surroundings::real();
    let options = HttpOptions {
        call_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        proxy_from_environment: false,
        reach: Reach::Anywhere,
        clock: Arc::clone(&surroundings.clock),
    };
    Connecting::new(Http::new(options).unwrap(), settings.oauth, surroundings)
}

fn asked(issuer: &Issuer, redirect: &str) -> (Begun, BTreeMap<String, String>) {
    let begun = connecting().begin(issuer, &redirect.parse().unwrap(), "state-1").unwrap();
    let pairs: Vec<_> = begun.url.query_pairs().into_owned().collect();
    let asked: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(asked.len(), pairs.len(), "nothing is asked twice");
    (begun, asked)
}

fn of<'a>(asked: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    asked.get(name).map_or("", String::as_str)
}

#[test]
fn google_is_asked_for_consent_and_for_what_renews_it() {
    let (begun, asked) = asked(&Issuer::Google, "https://cal.example/oauth/google/callback");
    assert!(begun.url.as_str().starts_with("https://accounts.google.com/o/oauth2/v2/auth?"));
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "us"),
        ("redirect_uri", "https://cal.example/oauth/google/callback"),
        ("state", "state-1"),
        ("scope", scopes::asked(&Issuer::Google)),
        ("access_type", "offline"),
        ("prompt", "consent"),
        ("code_challenge_method", "S256"),
        ("nonce", &begun.nonce),
    ] {
        assert_eq!(of(&asked, name), value, "{name}");
    }
    assert_eq!(asked.len(), 10, "{asked:?}");
    assert!(!begun.url.as_str().contains("s3cret"));
}

/// RFC 7636 §4: the challenge is the verifier's hash, and the verifier stays here.
#[test]
fn the_verifier_stays_here_and_is_another_each_time() {
    let (one, sent) = asked(&microsoft(), "http://localhost:1");
    let (two, _) = asked(&microsoft(), "http://localhost:1");
    let verifier = one.verifier.expose_secret();
    assert!((43..=128).contains(&verifier.len()));
    let hash = BASE64URL_NOPAD.encode(&Sha256::digest(verifier));
    assert_eq!(of(&sent, "code_challenge"), hash);
    assert!(!one.url.as_str().contains(verifier));
    assert_ne!(two.verifier.expose_secret(), verifier);
    assert_ne!(one.nonce, two.nonce);
}

#[test]
fn microsoft_is_asked_at_the_tenants_own_address() {
    let (begun, asked) = asked(&microsoft(), "http://localhost:1234");
    let address = "https://login.microsoftonline.com/common/oauth2/v2.0/authorize?";
    assert!(begun.url.as_str().starts_with(address), "{}", begun.url);
    assert_eq!(of(&asked, "redirect_uri"), "http://localhost:1234");
    assert_eq!(of(&asked, "scope"), "openid profile offline_access Calendars.ReadWrite");
    assert_eq!(of(&asked, "prompt"), "select_account");
    assert_eq!(of(&asked, "client_id"), "them");
}

#[test]
fn only_a_bare_address_of_this_machine_loses_its_slash() {
    for (redirect, sent) in [
        ("http://127.0.0.1:1/", "http://127.0.0.1:1"),
        ("http://127.0.0.1:1/back/", "http://127.0.0.1:1/back/"),
        ("https://cal.example/", "https://cal.example/"),
    ] {
        let (_, asked) = asked(&Issuer::Google, redirect);
        assert_eq!(of(&asked, "redirect_uri"), sent);
    }
}

#[test]
fn nobody_is_asked_as_nobody() {
    let mut connecting = connecting();
    connecting.settings.google = None;
    let redirect = "http://127.0.0.1:1".parse().unwrap();
    let error = connecting.begin(&Issuer::Google, &redirect, "s").unwrap_err();
    assert!(error.to_string().contains("oauth.google.client_id is not set"), "{error}");
}

fn granted(scopes: &str, refresh_token: Option<&str>) -> Granted {
    Granted {
        access_token: SecretString::from("a"),
        good_for: None,
        refresh_token: refresh_token.map(SecretString::from),
        scopes: Some(scopes.to_owned()),
        id_token: None,
    }
}

/// What the owner can mend is told before what she cannot.
#[test]
fn a_grant_that_will_not_do_is_none() {
    let connecting = connecting();
    let judged = |scopes: &str, refresh_token| {
        let granted = granted(scopes, refresh_token);
        connecting.connected(&microsoft(), granted, None, Some("n")).unwrap_err()
    };
    let error = judged("Calendars.Read", None);
    assert!(error.to_string().contains("(Calendars.Read) lets us read"), "{error}");
    let error = judged("Calendars.ReadWrite", None);
    assert!(matches!(error, ConnectError::NoRefreshToken { issuer: "Microsoft", .. }), "{error}");
    let error = judged("Calendars.ReadWrite", Some("r"));
    assert!(matches!(error, ConnectError::Identity { problem: "is none", .. }), "{error}");
}

/// R17.
#[test]
fn only_the_same_account_is_reconnected() {
    let connected = Connected {
        issuer: Issuer::Google,
        subject: "1137622".to_owned(),
        name: Some("new-name@example.com".to_owned()),
        grant: Grant {
            issuer: Issuer::Google,
            client: None,
            refresh_token: SecretString::from("r3fresh"),
            access: None,
            scopes: None,
        },
    };
    let account = connected.account();
    judge_reconnecting((CalendarKind::Google, "1137622"), account).unwrap();
    for (kind, subject) in [(CalendarKind::Google, "2"), (CalendarKind::Microsoft, "1137622")] {
        let error = judge_reconnecting((kind, subject), account).unwrap_err().to_string();
        assert!(error.contains("the account 1137622 of Google"), "{error}");
        assert!(error.contains(subject) && !error.contains("r3fresh"), "{error}");
    }
}
