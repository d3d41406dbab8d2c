//! Applications: how they prove themselves, and where people may be sent back to.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use url::Url;

use super::Dialect;
use super::form::{self, Form};
use super::words::Refused;

/// An application.
#[derive(Default)]
pub(super) struct Client {
    secret: Option<String>,
    redirects: BTreeSet<String>,
    /// Google's kind of client for a program on somebody's own machine.
    is_desktop: bool,
}

/// All of them, by their ids.
#[derive(Default)]
pub(in crate::emulator) struct Clients(BTreeMap<String, Client>);

impl Clients {
    /// Adds one, or says its secret anew.
    pub(in crate::emulator) fn set(&mut self, id: &str, secret: Option<&str>) {
        self.0.entry(id.to_owned()).or_default().secret = secret.map(ToOwned::to_owned);
    }

    /// People may be sent back there by it.
    pub(in crate::emulator) fn add_redirect(&mut self, id: &str, uri: &str) {
        self.0.entry(id.to_owned()).or_default().redirects.insert(uri.to_owned());
    }

    /// It is a program on somebody's own machine.
    pub(in crate::emulator) fn set_desktop(&mut self, id: &str) {
        self.0.entry(id.to_owned()).or_default().is_desktop = true;
    }

    pub(super) fn get(&self, id: &str) -> Option<&Client> {
        self.0.get(id)
    }

    /// Who asks, proven (RFC 6749 §2.3.1): in the form, or by Basic authentication.
    pub(super) fn prove(&self, headers: &HeaderMap, form: &Form) -> Result<String, Refused> {
        let basic = headers.get(AUTHORIZATION).map(form::basic).transpose()?;
        let (id, secret) = match basic {
            Some(_) if form.one("client_secret").is_some() => return Err(Refused::TwoProofs),
            Some((id, secret)) => (id, Some(secret)),
            None => {
                let id = form.one("client_id").ok_or(Refused::Missing { name: "client_id" })?;
                (id.to_owned(), form.one("client_secret").map(ToOwned::to_owned))
            }
        };
        let known = self.0.get(&id).ok_or_else(|| Refused::NoClient { id: id.clone() })?;
        match (&known.secret, secret) {
            (Some(_), None) => Err(Refused::NoSecret),
            (Some(known), Some(given)) if *known != given => Err(Refused::WrongSecret),
            (None, Some(_)) => Err(Refused::PublicClient),
            (Some(_), Some(_)) | (None, None) => Ok(id),
        }
    }
}

impl Client {
    /// Google gives it a refresh token each time.
    pub(super) fn is_desktop(&self) -> bool {
        self.is_desktop
    }

    /// Whether people may be sent back there: an address that was registered, letter by letter
    /// (RFC 6749 §3.1.2.3); on somebody's own machine any port (RFC 8252 §7.3).
    pub(super) fn admits(&self, dialect: Dialect, uri: &str) -> bool {
        if self.redirects.contains(uri) {
            return true;
        }
        let Some(local) = Local::parse(uri) else {
            return false;
        };
        match dialect {
            // "Loopback IP address": `http://127.0.0.1:port` or `http://[::1]:port` ("OAuth 2.0 for
            // Mobile & Desktop Apps").
            Dialect::Google => self.is_desktop && local.host != "localhost",
            // "The port is ignored when matching localhost redirect URIs" ("Redirect URI
            // restrictions and limitations").
            Dialect::Microsoft => self.redirects.iter().any(|registered| {
                Local::parse(registered).is_some_and(|registered| registered == local)
            }),
        }
    }
}

/// An address on somebody's own machine, but for its port.
#[derive(PartialEq, Eq)]
struct Local {
    host: String,
    path: String,
}

impl Local {
    fn parse(uri: &str) -> Option<Self> {
        let url = Url::parse(uri).ok()?;
        let host = url.host_str()?.to_owned();
        let is_plain = url.scheme() == "http"
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let is_local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
        (is_plain && is_local).then(|| Self { host, path: url.path().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn google_sends_back_to_what_is_registered_and_a_desktop_to_its_own_machine() {
        let mut clients = Clients::default();
        clients.add_redirect("web", "https://app.example/back");
        clients.set_desktop("desktop");
        let admits = |id: &str, uri: &str| clients.get(id).unwrap().admits(Dialect::Google, uri);
        assert!(admits("web", "https://app.example/back"));
        for uri in [
            "https://app.example/back/",
            "https://app.example/back?a=b",
            "https://App.example/back",
            "http://127.0.0.1:4000/",
            "/back",
        ] {
            assert!(!admits("web", uri), "{uri}");
        }
        for uri in ["http://127.0.0.1:4000/back", "http://[::1]:4000"] {
            assert!(admits("desktop", uri), "{uri}");
        }
        for uri in [
            "http://localhost:4000/",
            "https://127.0.0.1:4000/",
            "http://127.0.0.1.example/",
            "http://127.0.0.1@evil.example/",
            "http://127.0.0.1:4000/#a",
            "http://10.0.0.1:4000/",
        ] {
            assert!(!admits("desktop", uri), "{uri}");
        }
    }

    #[test]
    fn microsoft_leaves_out_the_port_of_what_is_registered_on_ones_own_machine() {
        let mut clients = Clients::default();
        clients.add_redirect("us", "http://localhost");
        clients.add_redirect("us", "https://app.example:8000/back");
        let admits = |uri: &str| clients.get("us").unwrap().admits(Dialect::Microsoft, uri);
        assert!(admits("http://localhost:4000") && admits("http://localhost:4000/"));
        assert!(admits("https://app.example:8000/back"));
        for uri in [
            "http://localhost:4000/other",
            "http://127.0.0.1:4000",
            "https://localhost:4000",
            "https://app.example:8001/back",
        ] {
            assert!(!admits(uri), "{uri}");
        }
    }
}
