use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::super::kept::Tenant;
use super::*;

fn microsoft() -> Issuer {
    Issuer::Microsoft(Tenant::parse("common").unwrap())
}

fn told(status: u16, body: &[u8]) -> Told<'_> {
    Told { status, retry_after: Some(Duration::from_secs(9)), body }
}

fn of_error(issuer: &Issuer, error: &str, codes: &[u32]) -> ConnectError {
    let body = json!({
        "error": error, "error_codes": codes, "error_description": "anna@example.com: s3cret",
    });
    let error = exchanged(issuer, told(400, body.to_string().as_bytes())).unwrap_err();
    assert!(!error.to_string().contains("s3cret"), "{error}");
    error
}

/// Its name, for the table.
fn name(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::Declined { .. } => "declined",
        ConnectError::Barred { .. } => "barred",
        ConnectError::Code { .. } => "code",
        ConnectError::Expired => "expired",
        ConnectError::Misconfigured { .. } => "misconfigured",
        ConnectError::Later { .. } => "later",
        ConnectError::NotUnderstood { .. } => "not understood",
        ConnectError::State
        | ConnectError::Stopped
        | ConnectError::Scopes { .. }
        | ConnectError::NoRefreshToken { .. }
        | ConnectError::Identity { .. }
        | ConnectError::OtherAccount { .. }
        | ConnectError::List(_) => "none of the endpoint's",
    }
}

#[test]
fn a_person_is_told_what_stands_in_the_way() {
    let google = Issuer::Google;
    for (issuer, error, codes, expected) in [
        (&google, "invalid_grant", &[][..], "code"),
        (&google, "access_denied", &[], "declined"),
        (&google, "admin_policy_enforced", &[], "barred"),
        (&google, "redirect_uri_mismatch", &[], "misconfigured"),
        (&google, "invalid_client", &[], "misconfigured"),
        (&google, "unauthorized_client", &[], "misconfigured"),
        (&google, "something_new", &[], "later"),
        (&microsoft(), "invalid_grant", &[70_008], "code"),
        (&microsoft(), "invalid_grant", &[54_005], "code"),
        (&microsoft(), "invalid_grant", &[700_016], "misconfigured"),
        (&microsoft(), "invalid_client", &[7_000_215], "misconfigured"),
        (&microsoft(), "interaction_required", &[50_076], "barred"),
        (&microsoft(), "consent_required", &[65_001], "barred"),
        (&microsoft(), "authorization_declined", &[], "declined"),
        (&microsoft(), "expired_token", &[], "expired"),
        (&microsoft(), "bad_verification_code", &[], "code"),
        (&microsoft(), "temporarily_unavailable", &[], "later"),
    ] {
        assert_eq!(name(&of_error(issuer, error, codes)), expected, "{error} {codes:?}");
    }
}

#[test]
fn what_is_no_answer_is_none() {
    let of = |status, body: &[u8]| exchanged(&Issuer::Google, told(status, body)).unwrap_err();
    assert_eq!(name(&of(200, b"<html>")), "not understood");
    assert_eq!(name(&of(200, br#"{"access_token":"a","token_type":"mac"}"#)), "not understood");
    assert_eq!(name(&of(400, b"<html>")), "not understood");
    assert_eq!(name(&of(404, b"{}")), "not understood");
    assert_eq!(name(&of(302, b"")), "misconfigured");
    let after = Some(Duration::from_secs(9));
    assert!(matches!(of(503, b""), ConnectError::Later { after: told, .. } if told == after));
    assert!(matches!(of(429, b""), ConnectError::Later { after: told, .. } if told == after));
}

#[test]
fn a_poll_waits_until_somebody_has_decided() {
    let of = |error: &str| {
        let body = json!({ "error": error }).to_string();
        polled(&microsoft(), told(400, body.as_bytes()))
    };
    assert!(matches!(of("authorization_pending"), Ok(Polled::Pending)));
    assert!(matches!(of("slow_down"), Ok(Polled::SlowDown)));
    assert!(matches!(of("access_denied"), Err(ConnectError::Declined { .. })));
    let body = br#"{"access_token":"a","token_type":"Bearer","id_token":"x.y.z"}"#;
    let Ok(Polled::Granted(granted)) = polled(&microsoft(), told(200, body)) else {
        panic!("it is granted");
    };
    assert_eq!(granted.id_token.unwrap().expose_secret(), "x.y.z");
}

fn device(name: &str, value: Value) -> Result<Codes, ConnectError> {
    let mut answer = json!({
        "device_code": "DAQ", "user_code": "ABCD-EFGH", "expires_in": 900, "interval": 5,
        "verification_uri": "https://microsoft.com/devicelogin", "message": "To sign in, …",
    });
    answer[name] = value;
    begun(&microsoft(), told(200, answer.to_string().as_bytes()))
}

#[test]
fn a_device_is_told_two_codes_and_an_address() {
    let codes = device("interval", json!(null)).unwrap();
    assert_eq!(codes.interval, INTERVAL);
    assert_eq!(codes.device_code.expose_secret(), "DAQ");
    assert_eq!((codes.user_code.as_str(), codes.good_for.as_secs()), ("ABCD-EFGH", 900));
    assert_eq!(device("interval", json!(0)).unwrap().interval, INTERVALS[0]);
    assert_eq!(device("interval", json!(3_600)).unwrap().interval, INTERVALS[1]);
}

#[test]
fn what_a_person_could_not_use_is_no_answer() {
    for (field, value) in [
        ("user_code", json!("")),
        ("user_code", json!("a\u{1b}[1m")),
        ("user_code", json!("x".repeat(USER_CODE_LEN_MAX + 1))),
        ("verification_uri", json!("javascript:alert(1)")),
        ("verification_uri", json!("microsoft.com/devicelogin")),
        ("device_code", json!("")),
        ("expires_in", json!("soon")),
    ] {
        let error = device(field, value.clone()).unwrap_err();
        assert_eq!(name(&error), "not understood", "{field} {value}");
    }
    let refused = br#"{"error":"invalid_client","error_codes":[7000218]}"#;
    let error = begun(&microsoft(), told(401, refused)).unwrap_err();
    assert_eq!(name(&error), "misconfigured");
}
