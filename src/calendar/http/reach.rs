//! Where the client goes. A name is judged by the addresses that the connection is really made to: the
//! client's own look-up leaves the others out, so that nothing can change between the question and its
//! use. An address that stands in a URL never comes to a look-up; it is judged before the call, each
//! time. Through a proxy it is the proxy that looks names up: then only what a URL itself says can be
//! judged here, and the rest is the proxy's. Without TLS no name goes through one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use super::networks::{Barred, Networks};
use super::roots::Roots;

/// Looks names up.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of a host.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// As this machine does it.
#[derive(Debug, Clone, Copy)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Where a client may go.
#[derive(Clone)]
pub enum Reach {
    /// Wherever it is sent: for addresses that are settings.
    Anywhere,
    /// To public servers with TLS, and where settings allow it: for addresses that somebody else has
    /// given.
    Guarded(Guard),
}

/// What is reached, and by what.
#[derive(Clone)]
pub struct Guard {
    /// What is allowed beside public servers.
    pub networks: Networks,
    /// What looks names up.
    pub lookup: Arc<dyn Lookup>,
    /// Whose word for a server is taken beside the system's authorities.
    pub roots: Roots,
}

impl Guard {
    /// These networks, as this machine looks names up, by the system's authorities.
    pub fn of(networks: Networks) -> Self {
        Self { networks, lookup: Arc::new(SystemLookup), roots: Roots::default() }
    }
}

impl Networks {
    /// Whether `url` may be asked, as far as it says so itself. A name is looked up when it is asked.
    pub fn admit_url(&self, url: &Url) -> Result<(), Barred> {
        let is_plain = url.scheme() != "https";
        match url.host() {
            Some(Host::Ipv4(address)) => self.admit(&address.to_string(), address.into(), is_plain),
            Some(Host::Ipv6(address)) => self.admit(&address.to_string(), address.into(), is_plain),
            Some(Host::Domain(name)) if is_this_machine(name) => {
                let admit = |address| self.admit(name, address, is_plain);
                admit(Ipv4Addr::LOCALHOST.into()).or_else(|_| admit(Ipv6Addr::LOCALHOST.into()))
            }
            Some(Host::Domain(name)) if is_plain && self.plain.is_empty() => {
                Err(Barred::Plain { host: name.to_owned() })
            }
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }
}

/// Names that mean this machine, whoever is asked (RFC 6761 §6.3).
pub(super) fn is_this_machine(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// A look-up that leaves out what may not be gone to.
pub(super) struct Guarded {
    pub(super) networks: Arc<Networks>,
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) is_plain: bool,
    /// The proxy that a setting of the machine's names: it may be anywhere.
    pub(super) proxy: Option<String>,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (networks, lookup) = (Arc::clone(&self.networks), Arc::clone(&self.lookup));
        let is_plain = self.is_plain;
        let is_proxy =
            self.proxy.as_deref().is_some_and(|proxy| proxy.eq_ignore_ascii_case(name.as_str()));
        Box::pin(async move {
            let name = name.as_str();
            let found = lookup.addresses(name).await?;
            let admit = |address| {
                if is_proxy { Ok(()) } else { networks.admit(name, address, is_plain) }
            };
            let mut admitted = Vec::with_capacity(found.len());
            let mut barred = None;
            for address in found {
                match admit(address) {
                    // The connector puts the URL's port in.
                    Ok(()) => admitted.push(SocketAddr::new(address, 0)),
                    Err(error) => barred = barred.or(Some(error)),
                }
            }
            match barred {
                Some(barred) if admitted.is_empty() => Err(barred.into()),
                _ => Ok(Box::new(admitted.into_iter()) as Addrs),
            }
        })
    }
}

/// A proxy that the environment names, and where it is not to be used.
pub(super) struct Proxy {
    is_plain: bool,
    url: SecretString,
    except: Option<SecretString>,
    /// Its host, if that is a name.
    pub(super) host: Option<String>,
}

impl Proxy {
    /// The one for `http://` (`is_plain`) or for `https://`, as `variable` tells it: `HTTP_PROXY` or
    /// `HTTPS_PROXY`, else `ALL_PROXY`; and `NO_PROXY`; or the same in small letters. An error names
    /// the variable.
    pub(super) fn named(
        is_plain: bool,
        variable: impl Fn(&str) -> Option<SecretString>,
    ) -> Result<Option<Self>, &'static str> {
        const PLAIN: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
        const TLS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
        const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];
        let names = if is_plain { PLAIN } else { TLS }.into_iter().chain(ALL);
        let mut named = names.filter_map(|name| Some((name, variable(name)?)));
        let named = named.next();
        let Some((name, url)) = named else {
            return Ok(None);
        };
        let except = variable("NO_PROXY").or_else(|| variable("no_proxy"));
        let text = url.expose_secret();
        // As curl has it: without a scheme it is http.
        let parsed = if text.contains("://") {
            Url::parse(text)
        } else {
            Url::parse(&format!("http://{text}"))
        };
        let parsed = parsed.ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let parsed = parsed.ok_or(name)?;
        let host = match parsed.host() {
            Some(Host::Domain(host)) => Some(host.to_owned()),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => None,
            None => return Err(name),
        };
        Ok(Some(Self { is_plain, url: String::from(parsed).into(), except, host }))
    }

    /// For the client.
    pub(super) fn into_client(self) -> reqwest::Result<reqwest::Proxy> {
        let except = self.except.as_ref().map(SecretString::expose_secret);
        let except = except.and_then(reqwest::NoProxy::from_string);
        let url = self.url.expose_secret();
        let proxy =
            if self.is_plain { reqwest::Proxy::http(url) } else { reqwest::Proxy::https(url) };
        Ok(proxy?.no_proxy(except))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(networks: &Networks, url: &str) -> Result<(), Barred> {
        networks.admit_url(&Url::parse(url).unwrap())
    }

    /// A browser's rules for hosts make one address of all of these.
    #[test]
    fn an_odd_spelling_of_an_address_is_that_address() {
        let none = Networks::default();
        for url in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://0x7f.1/",
            "https://127.0.0.1./",
            "https://１２７.０.０.１/",
            "https://%31%32%37.0.0.1/",
            "https://[::1]/",
            "https://[0:0:0:0:0:0:0:1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://dav.localhost/",
            "https://169.254.169.254/latest/meta-data/",
            "https://2852039166/",
            "https://[fd00:ec2::254]/",
            "https://0/",
            "https://10.1/",
        ] {
            let barred = admitted(&none, url);
            assert!(matches!(barred, Err(Barred::Reserved { .. })), "{url}: {barred:?}");
        }
        for url in ["https://8.8.8.8/", "https://localhost.example.com/", "https://nolocalhost/"] {
            assert_eq!(admitted(&none, url), Ok(()), "{url}");
        }
    }

    #[test]
    fn http_is_for_this_machine_and_for_networks_that_are_named() {
        let allowed = Networks::loopback();
        let local = Networks { allowed: allowed.clone(), plain: Vec::new() };
        for url in ["http://127.0.0.1:1/", "http://[::1]/", "http://localhost:5232/"] {
            assert_eq!(admitted(&local, url), Ok(()), "{url}");
        }
        for url in ["http://8.8.8.8/", "http://dav.example.com/"] {
            let host = Url::parse(url).unwrap().host_str().unwrap().to_owned();
            assert_eq!(admitted(&local, url), Err(Barred::Plain { host }), "{url}");
        }
        let named = Networks { allowed, plain: vec!["10.0.0.0/8".parse().unwrap()] };
        // Looked up, it may be in that network.
        assert_eq!(admitted(&named, "http://dav.example.com/"), Ok(()));
    }

    fn proxy(variables: &[(&str, &str)]) -> Result<Option<Proxy>, &'static str> {
        Proxy::named(false, |name| {
            let found = variables.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| SecretString::from(*value))
        })
    }

    #[test]
    fn the_environments_proxy_is_found_with_its_host() {
        assert!(proxy(&[("HTTP_PROXY", "http://p:1"), ("NO_PROXY", "*")]).unwrap().is_none());
        for (variables, host) in [
            (
                [("HTTPS_PROXY", "http://u:p@Proxy.corp:3128"), ("ALL_PROXY", "x")],
                Some("proxy.corp"),
            ),
            ([("https_proxy", "proxy.corp:3128"), ("NO_PROXY", "a,b")], Some("proxy.corp")),
            ([("all_proxy", "https://10.0.0.1:3128"), ("no_proxy", "a")], None),
        ] {
            let proxy = proxy(&variables).unwrap().unwrap();
            assert_eq!(proxy.host.as_deref(), host, "{variables:?}");
            proxy.into_client().unwrap();
        }
        for wrong in ["http://", "socks5://p:1080", "http://p:port"] {
            assert_eq!(proxy(&[("ALL_PROXY", wrong)]).err(), Some("ALL_PROXY"), "{wrong}");
        }
        let plain = Proxy::named(true, |name| (name == "http_proxy").then(|| "p:1".into()));
        assert_eq!(plain.unwrap().unwrap().host.as_deref(), Some("p"));
    }
}
