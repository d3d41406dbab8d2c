//! How a command is given a secret: from a file, from standard input, or by an environment
//! variable. Never as an argument.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use super::UsageError;
use super::connections::one_line;
use crate::calendar::Credentials;
use crate::connection::kept::{Access, Lifetime, REFRESH_MARGIN};
use crate::connection::scopes::judge_writing;
use crate::connection::seal::SECRET_LEN_MAX;
use crate::connection::{Grant, Issuer, Kept};

/// Where a secret comes from.
pub(super) struct SecretFrom<'a> {
    /// `password` or `token`: the options are `--password-file` and `--password-stdin`.
    pub(super) what: &'static str,
    /// The file, if one is named.
    pub(super) file: Option<&'a Path>,
    /// Whether standard input is meant.
    pub(super) stdin: bool,
    /// The variable that is read otherwise.
    pub(super) variable: &'static str,
}

impl SecretFrom<'_> {
    /// The secret: all of the file or input but one line break at its end.
    pub(super) fn read(&self) -> anyhow::Result<SecretString> {
        self.read_if_given()?.ok_or_else(|| {
            let Self { what, variable, .. } = self;
            let advice = format!(
                "the {what} is missing: give --{what}-file FILE, --{what}-stdin, or set {variable}"
            );
            UsageError(advice).into()
        })
    }

    /// The same; `None` where nobody gives one.
    fn read_if_given(&self) -> anyhow::Result<Option<SecretString>> {
        let what = self.what;
        if let Some(path) = self.file {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()));
            let secret = read(file?).with_context(|| format!("no {what} in {}", path.display()));
            return secret.map(Some);
        }
        if self.stdin {
            let secret = read(std::io::stdin().lock());
            return secret.with_context(|| format!("no {what} on standard input")).map(Some);
        }
        Ok(crate::config::variable(self.variable))
    }
}

/// Where an access token comes from.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[arg(long, value_name = "FILE")]
    #[arg(help = "A file that holds the access token; else CALENDAR_SYNC_TOKEN is read")]
    token_file: Option<PathBuf>,
    /// Read the access token from standard input
    #[arg(long, conflicts_with = "token_file")]
    token_stdin: bool,
}

impl TokenArgs {
    /// RFC 6750.
    pub(super) fn read(&self) -> anyhow::Result<Credentials> {
        bearer(self.token_file.as_deref(), self.token_stdin)
    }
}

fn bearer(file: Option<&Path>, stdin: bool) -> anyhow::Result<Credentials> {
    Ok(Credentials::Bearer { token: carried(access_token(file, stdin).read()?)? })
}

fn access_token(file: Option<&Path>, stdin: bool) -> SecretFrom<'_> {
    SecretFrom { what: "token", file, stdin, variable: "CALENDAR_SYNC_TOKEN" }
}

/// Where the tokens of an account come from that an application has been granted.
#[derive(Debug, Args)]
pub(super) struct GrantArgs {
    #[command(flatten)]
    access: TokenArgs,
    #[arg(long, value_name = "FILE")]
    #[arg(
        help = "A file that holds the refresh token, which renews the access token for ever (then \
                that need not be given); else CALENDAR_SYNC_REFRESH_TOKEN is read"
    )]
    refresh_token_file: Option<PathBuf>,
    /// Read the refresh token from standard input
    #[arg(long, conflicts_with_all = ["refresh_token_file", "token_stdin"])]
    refresh_token_stdin: bool,
    #[arg(long, value_name = "MOMENT")]
    #[arg(
        help = "When the access token expires (RFC 3339); without it, it is used until it is refused"
    )]
    token_expires_at: Option<DateTime<Utc>>,
    #[arg(long, value_name = "SCOPES")]
    #[arg(help = "What was granted, with blanks between, as the token endpoint said it")]
    scopes: Option<String>,
}

/// The longest list of scopes, in bytes.
const SCOPES_LEN_MAX: usize = 4_000;

impl GrantArgs {
    /// An access token alone, which nobody renews; or a grant.
    pub(super) fn read(&self, issuer: Issuer) -> anyhow::Result<Kept> {
        let TokenArgs { token_file, token_stdin } = &self.access;
        let refresh_token = SecretFrom {
            what: "refresh-token",
            file: self.refresh_token_file.as_deref(),
            stdin: self.refresh_token_stdin,
            variable: "CALENDAR_SYNC_REFRESH_TOKEN",
        };
        let Some(refresh_token) = refresh_token.read_if_given()? else {
            let given = [self.token_expires_at.is_some(), self.scopes.is_some()];
            if given.contains(&true) {
                let advice = "--token-expires-at and --scopes belong to a refresh token, and none \
                              is given";
                return Err(UsageError(advice.to_owned()).into());
            }
            return self.access.read().map(Kept::Fixed);
        };
        let token = access_token(token_file.as_deref(), *token_stdin).read_if_given()?;
        let lifetime = self.token_expires_at.map(|expires_at| Lifetime {
            refresh_at: expires_at.checked_sub_signed(margin()).unwrap_or(expires_at),
            expires_at,
        });
        let access = match token {
            Some(token) => Some(Access { token: carried(token)?, lifetime }),
            None => None,
        };
        let scopes = self.scopes.as_deref().map(|text| scopes(&issuer, text)).transpose()?;
        let refresh_token = carried(refresh_token)?;
        Ok(Kept::Grant(Grant { issuer, client: None, refresh_token, access, scopes }))
    }
}

fn margin() -> chrono::TimeDelta {
    chrono::TimeDelta::from_std(REFRESH_MARGIN).expect("it is some minutes")
}

/// RFC 6749 §3.3: visible ASCII, with blanks between. What only reads is refused (L28).
fn scopes(issuer: &Issuer, text: &str) -> Result<String, UsageError> {
    let is_one =
        |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && !matches!(byte, b'"' | b'\\');
    match text.trim() {
        "" => Err(UsageError("--scopes is empty".to_owned())),
        text if text.len() > SCOPES_LEN_MAX || !text.bytes().all(is_one) => {
            Err(UsageError(format!(
                "--scopes is no list of scopes: visible ASCII with blanks between, at most \
             {SCOPES_LEN_MAX} bytes"
            )))
        }
        text => match judge_writing(issuer, text) {
            Ok(()) => Ok(text.to_owned()),
            Err(error) => Err(UsageError(format!("--scopes: {error}"))),
        },
    }
}

/// An account that a password opens, or a token.
#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// The account
    #[arg(long, value_name = "NAME")]
    username: String,
    #[arg(long, value_name = "FILE")]
    #[arg(help = "A file that holds the (app) password; else CALENDAR_SYNC_PASSWORD is read")]
    password_file: Option<PathBuf>,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "password_file")]
    password_stdin: bool,
    #[arg(long, value_name = "FILE", conflicts_with_all = ["password_file", "password_stdin"])]
    #[arg(help = "A file that holds an access token, for servers that take one (RFC 6750)")]
    token_file: Option<PathBuf>,
    /// Read an access token from standard input
    #[arg(long, conflicts_with_all = ["token_file", "password_file", "password_stdin"])]
    token_stdin: bool,
}

impl LoginArgs {
    /// The account's name, and what opens it.
    pub(super) fn read(&self) -> anyhow::Result<(String, Credentials)> {
        let username = one_line("--username", &self.username)?;
        if self.token_stdin || self.token_file.is_some() {
            return Ok((username, bearer(self.token_file.as_deref(), self.token_stdin)?));
        }
        let password = SecretFrom {
            what: "password",
            file: self.password_file.as_deref(),
            stdin: self.password_stdin,
            variable: "CALENDAR_SYNC_PASSWORD",
        };
        let password = password.read()?;
        Ok((username.clone(), Credentials::Basic { username, password }))
    }
}

/// A token that a header can carry: sent as it is, it would fail each call before it was sent.
/// (A password travels in Base64, whatever it holds.)
fn carried(token: SecretString) -> anyhow::Result<SecretString> {
    let stray = token.expose_secret().chars().position(|letter| !letter.is_ascii_graphic());
    if let Some(at) = stray {
        bail!(
            "the token cannot be sent: its character {} is none of visible ASCII; was something \
             pasted along with it, a quotation mark or a space?",
            at + 1
        );
    }
    Ok(token)
}

fn read(input: impl Read) -> anyhow::Result<SecretString> {
    let len_max = u64::try_from(SECRET_LEN_MAX).unwrap_or(u64::MAX);
    // One more than allowed, and a line break of two: the buffer never grows, and leaves no copy.
    let mut text = Zeroizing::new(String::with_capacity(SECRET_LEN_MAX + 3));
    input.take(len_max + 3).read_to_string(&mut text)?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    match secret.len() {
        0 => bail!("it is empty"),
        len if len > SECRET_LEN_MAX => bail!("it has more than {SECRET_LEN_MAX} bytes"),
        _ if secret.chars().any(char::is_control) => {
            bail!("it holds a control character or several lines")
        }
        _ => Ok(SecretString::from(secret)),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_secret_is_one_line() {
        for text in ["pass word", "pass word\n", "pass word\r\n"] {
            assert_eq!(read(text.as_bytes()).unwrap().expose_secret(), "pass word");
        }
        for text in ["", "\n", "a\nb\n", "a\n\n", "\u{1b}"] {
            read(text.as_bytes()).unwrap_err();
        }
        read("x".repeat(SECRET_LEN_MAX + 1).as_bytes()).unwrap_err();
        read("x".repeat(SECRET_LEN_MAX).as_bytes()).unwrap();
        read([0xff_u8].as_slice()).unwrap_err();
    }
}
