//! Who a Google account is: `userinfo` (`OpenID` Connect Core §5.3).

use reqwest::Method;
use serde::Deserialize;
use url::Url;

use crate::calendar::Credentials;
use crate::calendar::http::{Exchanged, Http, Request};

/// Google's address of it, as its discovery document says.
pub const USER_INFO: &str = "https://openidconnect.googleapis.com/v1/userinfo";

/// The scope that it takes at least.
pub const SCOPE: &str = "openid";

/// The longest answer that is read, in bytes.
const ANSWER_LEN_MAX: usize = 64 * 1024;
/// The longest subject, in bytes (Core §2).
const SUBJECT_LEN_MAX: usize = 255;

/// Why nobody knows who it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No whole answer came.
    #[error("Google's userinfo does not answer: {message}")]
    Lost {
        /// What happened.
        message: String,
    },
    /// It says no.
    #[error("Google's userinfo does not say who the user is ({status})")]
    Refused {
        /// The status code.
        status: u16,
    },
    /// It says something else.
    #[error("Google's userinfo gave an answer that names no user")]
    NotUser,
}

#[derive(Deserialize)]
struct User {
    sub: String,
}

/// The account's immutable subject.
pub async fn subject(
    http: &Http,
    url: Url,
    credentials: &Credentials,
) -> Result<String, UserError> {
    let credentials = Some(credentials);
    let request = Request { method: Method::GET, url, credentials, headers: vec![], body: &[] };
    let response = match http.exchange_up_to(request, ANSWER_LEN_MAX).await {
        Exchanged::Answered(response) => response,
        Exchanged::Lost { message, .. } => return Err(UserError::Lost { message }),
    };
    if response.status != 200 {
        return Err(UserError::Refused { status: response.status });
    }
    let user = serde_json::from_slice::<User>(&response.body).map_err(|_| UserError::NotUser)?;
    let is_subject = (1..=SUBJECT_LEN_MAX).contains(&user.sub.len())
        && user.sub.bytes().all(|byte| byte.is_ascii_graphic());
    if is_subject { Ok(user.sub) } else { Err(UserError::NotUser) }
}
