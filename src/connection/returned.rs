//! PURE: what an owner's browser brings back from an authorisation endpoint (RFC 6749 §4.1.2).

use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use super::connect_error::ConnectError;
use super::kept::Issuer;
use super::refresh::misconfigured;
use crate::calendar::http::reason;

/// The longest query that is read, in bytes. Codes are short; Microsoft's have some hundred bytes to two
/// thousand.
pub const QUERY_LEN_MAX: usize = 16 * 1024;

/// What a browser brings back.
#[derive(Debug)]
pub struct Returned {
    /// What we gave it to take along; whoever reads this compares it first ([`is_same_state`]).
    pub state: String,
    /// The code, or why there is none.
    pub code: Result<SecretString, ConnectError>,
}

/// Reads the query of a redirect. `None`: it is none, as it has no state, neither code nor error, or one
/// of them twice (RFC 6749 §3.1).
pub fn returned(issuer: &Issuer, query: &str) -> Option<Returned> {
    if query.len() > QUERY_LEN_MAX {
        return None;
    }
    let (mut state, mut code, mut error) = (None, None, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let place = match &*name {
            "state" => &mut state,
            "code" => &mut code,
            "error" => &mut error,
            _ => continue,
        };
        if place.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    let code = match (code, error) {
        (Some(code), None) if !code.is_empty() => Ok(SecretString::from(code)),
        (None, Some(error)) => Err(refused(issuer, &error)),
        _ => return None,
    };
    Some(Returned { state: state?, code })
}

/// Whether two states are one. Hashes are compared, so that the time it takes says nothing of ours.
pub fn is_same_state(given: &str, ours: &str) -> bool {
    Sha256::digest(given) == Sha256::digest(ours)
}

/// RFC 6749 §4.1.2.1, OIDC Core §3.1.2.6, and the words of both.
fn refused(issuer: &Issuer, error: &str) -> ConnectError {
    let name = issuer.name();
    let said = reason(error).unwrap_or_else(|| "an error without a name".to_owned());
    match error {
        "access_denied" | "authorization_declined" => ConnectError::Declined { issuer: name, said },
        "consent_required"
        | "interaction_required"
        | "login_required"
        | "account_selection_required"
        | "admin_policy_enforced"
        | "org_internal" => ConnectError::Barred { issuer: name, said },
        "invalid_client"
        | "invalid_request"
        | "invalid_resource"
        | "invalid_scope"
        | "redirect_uri_mismatch"
        | "unauthorized_client"
        | "unsupported_response_type" => {
            ConnectError::Misconfigured { reason: misconfigured(name, &said) }
        }
        "server_error" | "temporarily_unavailable" => {
            let reason = format!("{name} does not ask the account's owner now ({said})");
            ConnectError::Later { after: None, reason }
        }
        _ => {
            let reason = format!("{name} sent the account's owner back without a code ({said})");
            ConnectError::NotUnderstood { reason }
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn of(query: &str) -> Option<Result<String, ConnectError>> {
        let Returned { state, code } = returned(&Issuer::Google, query)?;
        assert_eq!(state, "s 1");
        Some(code.map(|code| code.expose_secret().to_owned()))
    }

    #[test]
    fn a_code_comes_with_its_state() {
        assert_eq!(of("code=4%2F0A&state=s+1&scope=email"), Some(Ok("4/0A".to_owned())));
        for none in [
            "",
            "code=a",
            "state=s+1",
            "code=&state=s+1",
            "code=a&error=b&state=s+1",
            "code=a&code=b&state=s+1",
            "code=a&state=s+1&state=s+1",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
        let long = format!("code=a&state=s+1&x={}", "x".repeat(QUERY_LEN_MAX));
        assert_eq!(of(&long), None);
    }

    #[test]
    fn each_refusal_is_told_apart() {
        let error = |word: &str| of(&format!("error={word}&state=s+1")).unwrap().unwrap_err();
        let said = "access_denied".to_owned();
        assert_eq!(error("access_denied"), ConnectError::Declined { issuer: "Google", said });
        for word in ["redirect_uri_mismatch", "invalid_scope", "unauthorized_client"] {
            let ConnectError::Misconfigured { reason } = error(word) else { panic!("{word}") };
            assert!(reason.contains(word) && reason.contains("oauth.google.client_id"), "{reason}");
        }
        assert!(matches!(error("temporarily_unavailable"), ConnectError::Later { .. }));
        let ConnectError::NotUnderstood { reason } = error("%3Cscript%3E") else { panic!("told") };
        assert!(!reason.contains("script"), "{reason}");
    }

    #[test]
    fn a_state_is_all_of_it() {
        assert!(is_same_state("abc", "abc"));
        assert!(!is_same_state("ab", "abc") && !is_same_state("", "abc"));
    }
}
