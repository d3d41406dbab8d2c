use secrecy::ExposeSecret as _;
use serde_json::json;

use super::super::kept::Tenant;
use super::*;

fn microsoft() -> Issuer {
    Issuer::Microsoft(Tenant::parse("common").unwrap())
}

type Refreshed = Result<Granted, Denied>;

fn told(issuer: &Issuer, status: u16, body: &[u8]) -> Refreshed {
    refreshed(issuer, Told { status, retry_after: None, body })
}

fn of_error(issuer: &Issuer, status: u16, error: &str, codes: &[u32]) -> Refreshed {
    let body = json!({
        "error": error, "error_codes": codes, "error_description": "anna@example.com: s3cret",
    });
    told(issuer, status, body.to_string().as_bytes())
}

/// Its name, for the table.
fn name(refreshed: &Refreshed) -> &'static str {
    match refreshed {
        Ok(_) => "granted",
        Err(Denied::Refused { .. }) => "refused",
        Err(Denied::Misconfigured { .. }) => "misconfigured",
        Err(Denied::Later { .. }) => "later",
    }
}

/// L7, and the rows of PROVIDERS.md about both token endpoints.
#[test]
fn only_a_grant_that_is_no_good_asks_for_its_owner() {
    let google = Issuer::Google;
    for (issuer, status, error, codes, expected) in [
        (&google, 400, "invalid_grant", &[][..], "refused"),
        (&google, 401, "unauthorized_client", &[], "misconfigured"),
        (&google, 403, "access_denied", &[], "refused"),
        (&google, 400, "admin_policy_enforced", &[], "refused"),
        (&google, 401, "invalid_client", &[], "misconfigured"),
        (&google, 401, "deleted_client", &[], "misconfigured"),
        (&google, 400, "invalid_request", &[], "misconfigured"),
        (&google, 400, "unsupported_grant_type", &[], "misconfigured"),
        (&google, 400, "invalid_scope", &[], "misconfigured"),
        (&google, 403, "rate_limit_exceeded", &[], "later"),
        (&google, 400, "something_new", &[], "later"),
        (&microsoft(), 400, "invalid_grant", &[700_082], "refused"),
        (&microsoft(), 400, "invalid_grant", &[70_008], "refused"),
        (&microsoft(), 400, "invalid_grant", &[50_173], "refused"),
        (&microsoft(), 400, "interaction_required", &[50_076], "refused"),
        (&microsoft(), 400, "consent_required", &[65_001], "refused"),
        (&microsoft(), 400, "unauthorized_client", &[], "misconfigured"),
        (&microsoft(), 401, "invalid_client", &[7_000_215], "misconfigured"),
        (&microsoft(), 401, "invalid_client", &[7_000_222], "misconfigured"),
        // A slip in the settings is no reason to ask every owner.
        (&microsoft(), 400, "unauthorized_client", &[700_016], "misconfigured"),
        (&microsoft(), 400, "invalid_request", &[90_002], "misconfigured"),
        // A limit, in the words of a refusal.
        (&microsoft(), 400, "invalid_grant", &[50_196], "later"),
        (&microsoft(), 400, "temporarily_unavailable", &[], "later"),
        (&microsoft(), 503, "temporarily_unavailable", &[], "later"),
        (&microsoft(), 500, "invalid_grant", &[], "later"),
        (&microsoft(), 429, "invalid_grant", &[], "later"),
    ] {
        let found = of_error(issuer, status, error, codes);
        assert_eq!(name(&found), expected, "{status} {error} {codes:?}: {found:?}");
    }
}

#[test]
fn what_is_no_answer_of_a_token_endpoint_is_asked_for_again() {
    let bodies: [&[u8]; 7] = [
        b"<html>Bad Gateway</html>",
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b"{\"error\":{\"code\":400,\"message\":\"of another API\"}}",
        b"{\"access_token\":\"\",\"token_type\":\"Bearer\"}",
    ];
    for status in [200, 201, 204, 206, 400, 401, 403, 404, 405, 407, 408, 413, 418, 500, 502, 599] {
        for body in bodies {
            let found = told(&Issuer::Google, status, body);
            assert_eq!(name(&found), "later", "{status}: {found:?}");
        }
    }
    assert_eq!(name(&told(&Issuer::Google, 302, b"")), "misconfigured");
}

#[test]
fn every_status_and_every_word_means_something() {
    for status in 0..=999 {
        for error in ["invalid_grant", "invalid_client", "ü", "", "a b"] {
            let found = of_error(&microsoft(), status, error, &[50_173]);
            assert_ne!(name(&found), "granted", "{status}");
        }
    }
}

#[test]
fn a_pause_that_is_asked_for_is_handed_on() {
    let after = Some(Duration::from_secs(7));
    for status in [429, 503, 404] {
        let told = Told { status, retry_after: after, body: b"" };
        let Err(Denied::Later { after: found, .. }) = refreshed(&Issuer::Google, told) else {
            panic!("{status} is to be tried again");
        };
        assert_eq!(found, after);
    }
}

#[test]
fn a_reason_says_what_to_do_and_nothing_of_the_description() {
    let Err(Denied::Refused { reason }) =
        of_error(&microsoft(), 400, "invalid_grant", &[50_173, 1, 2, 3])
    else {
        panic!("it is refused");
    };
    assert_eq!(
        reason,
        "Microsoft does not renew our access any more (invalid_grant, AADSTS50173, AADSTS1, AADSTS2: \
         the password was changed, or all access was revoked); its owner has to connect the account \
         again"
    );
    let Err(Denied::Misconfigured { reason }) =
        of_error(&Issuer::Google, 401, "invalid_client", &[])
    else {
        panic!("it is ours to mend");
    };
    assert!(reason.contains("oauth.google.client_id"), "{reason}");
    let Err(Denied::Later { reason, .. }) = of_error(&Issuer::Google, 400, "Dinner with Ada", &[])
    else {
        panic!("nobody knows what that is");
    };
    assert!(!reason.contains("Ada"), "{reason}");
}

fn success(body: &serde_json::Value) -> Option<Granted> {
    told(&Issuer::Google, 200, body.to_string().as_bytes()).ok()
}

#[test]
fn new_access_is_taken_with_all_that_comes_with_it() {
    let granted = success(&json!({
        "access_token": "ya29.new", "expires_in": 3599, "refresh_token": "1//new",
        "scope": "a b", "token_type": "Bearer", "id_token": "e30.e30.", "ext_expires_in": 3599,
    }));
    let granted = granted.unwrap();
    assert_eq!(granted.access_token.expose_secret(), "ya29.new");
    assert_eq!(granted.good_for, Some(Duration::from_secs(3_599)));
    let renewed_by = granted.refresh_token.as_ref().map(secrecy::ExposeSecret::expose_secret);
    assert_eq!((renewed_by, granted.scopes.as_deref()), (Some("1//new"), Some("a b")));
    assert!(!format!("{granted:?}").contains("new"), "no token is shown");
    // As little as RFC 6749 §5.1 demands; and seconds as a text, as old endpoints write them.
    let least = success(&json!({"access_token": "t", "token_type": "bearer"})).unwrap();
    assert!(least.good_for.is_none() && least.refresh_token.is_none() && least.scopes.is_none());
    let text = json!({"access_token": "t", "token_type": "bearer", "expires_in": "60"});
    assert_eq!(success(&text).unwrap().good_for, Some(Duration::from_mins(1)));
}

#[test]
fn a_token_that_no_header_can_carry_is_none() {
    let long = "x".repeat(SECRET_LEN_MAX + 1);
    for body in [
        json!({"access_token": "a b", "token_type": "Bearer"}),
        json!({"access_token": "a\n", "token_type": "Bearer"}),
        json!({"access_token": long, "token_type": "Bearer"}),
        json!({"access_token": "t", "token_type": "mac"}),
        json!({"access_token": "t", "token_type": "Bearer", "refresh_token": "ü"}),
        json!({"access_token": "t", "token_type": "Bearer", "expires_in": "soon"}),
        json!({"access_token": "t", "token_type": "Bearer", "expires_in": -1}),
        json!({"access_token": 7, "token_type": "Bearer"}),
    ] {
        assert!(success(&body).is_none(), "{body}");
    }
}

/// Google, "JWT error codes": what an organisation, a person or we can mend is told apart.
#[test]
fn only_what_a_person_can_mend_of_a_delegation_asks_for_one() {
    let delegated = Delegated {
        key: ServiceKey {
            client_email: "robot@project.iam.gserviceaccount.com".to_owned(),
            client_id: "1137622".to_owned(),
            key_id: "key-7".to_owned(),
            private_key: "never to be seen".into(),
        },
        user: "anna@example.com".to_owned(),
        scopes: "scope.one scope.two".to_owned(),
        access: None,
    };
    let old = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
               timeframe. Check your iat and exp values in the JWT claim.";
    for (status, error, description, expected, says) in [
        (401, "unauthorized_client", "Client is unauthorized", "refused", "1137622"),
        (403, "access_denied", "", "refused", "scope.one,scope.two"),
        (400, "invalid_grant", "Invalid JWT Signature.", "refused", "key-7 was deleted"),
        (
            400,
            "invalid_grant",
            "Invalid grant: account not found",
            "refused",
            "service account was",
        ),
        (400, "invalid_grant", "Invalid email or User ID", "refused", "user is not there"),
        (400, "invalid_grant", "Not a valid email.", "refused", "user is not there"),
        (400, "invalid_grant", old, "misconfigured", "clock"),
        (400, "invalid_grant", "something new", "refused", "no good"),
        (401, "invalid_client", "", "refused", "another key"),
        (401, "disabled_client", "", "refused", "another key"),
        (400, "admin_policy_enforced", "", "refused", "policy"),
        (400, "invalid_scope", "", "misconfigured", "oauth.google.token_url"),
        (400, "something_new", "", "later", "something_new"),
    ] {
        let body = json!({ "error": error, "error_description": description }).to_string();
        let told = Told { status, retry_after: None, body: body.as_bytes() };
        let answer = asserted(&delegated, told);
        assert_eq!(name(&answer), expected, "{error} {description}");
        let Err(
            Denied::Refused { reason }
            | Denied::Misconfigured { reason }
            | Denied::Later { reason, .. },
        ) = answer
        else {
            panic!("{error} gives no access");
        };
        assert!(reason.contains(says), "{reason}");
        assert!(!reason.contains("anna@") && !reason.contains("never"), "{reason}");
    }
    let body = br#"{"error":"unauthorized_client","error_description":7}"#;
    let odd = asserted(&delegated, Told { status: 401, retry_after: None, body });
    assert_eq!(name(&odd), "refused");
    let body = br#"{"access_token":"ya29.a","token_type":"Bearer","expires_in":3599}"#;
    let good = asserted(&delegated, Told { status: 200, retry_after: None, body });
    assert_eq!(name(&good), "granted");
}
