//! How a command is given a secret: from a file, from standard input, or by an environment
//! variable. Never as an argument.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use super::UsageError;
use super::connections::one_line;
use crate::calendar::Credentials;
use crate::connection::seal::SECRET_LEN_MAX;

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
        let what = self.what;
        if let Some(path) = self.file {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()));
            return read(file?).with_context(|| format!("no {what} in {}", path.display()));
        }
        if self.stdin {
            return read(std::io::stdin().lock())
                .with_context(|| format!("no {what} on standard input"));
        }
        crate::config::variable(self.variable).ok_or_else(|| {
            let variable = self.variable;
            let advice = format!(
                "the {what} is missing: give --{what}-file FILE, --{what}-stdin, or set {variable}"
            );
            UsageError(advice).into()
        })
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
    let token = SecretFrom { what: "token", file, stdin, variable: "CALENDAR_SYNC_TOKEN" };
    Ok(Credentials::Bearer { token: carried(token.read()?)? })
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
