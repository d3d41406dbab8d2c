//! The clients themselves, and the bounds of each.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{redirect, retry};
use url::Url;

use super::HttpError;
use super::networks::{Barred, Networks};
use super::reach::{Guard, Guarded, Proxy, Reach, is_this_machine};

/// How every request names its sender.
pub const USER_AGENT: &str = concat!("calendar-sync/", env!("CARGO_PKG_VERSION"));
/// Idle connections kept for each host. Servers close idle ones at their own time, and a call on
/// a connection that is just being closed ends as unknown: few, and not for long.
const IDLE_CONNECTIONS_MAX: usize = 8;
/// How long an idle connection is kept.
const IDLE_CONNECTION_AGE_MAX: Duration = Duration::from_secs(15);

/// What a call may take.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) call_timeout: Duration,
    pub(super) connect_timeout: Duration,
}

/// What makes the calls.
#[derive(Clone)]
pub(super) enum Clients {
    Anywhere(reqwest::Client),
    Guarded { tls: Guarding, plain: Guarding, networks: Arc<Networks> },
}

/// What makes the calls of one scheme.
#[derive(Clone)]
pub(super) struct Guarding {
    client: reqwest::Client,
    has_proxy: bool,
    /// The proxy's host, if that is a name.
    proxy_host: Option<String>,
}

impl Clients {
    /// Clients within these bounds.
    pub(super) fn new(
        bounds: Bounds,
        reach: Reach,
        proxy_from_environment: bool,
    ) -> Result<Self, HttpError> {
        match reach {
            Reach::Anywhere => {
                let builder = builder(bounds);
                let builder = if proxy_from_environment { builder } else { builder.no_proxy() };
                builder.build().map(Self::Anywhere).map_err(HttpError::Build)
            }
            Reach::Guarded(Guard { networks, lookup, roots }) => {
                let networks = Arc::new(networks);
                let roots = roots.into_client().map_err(HttpError::Build)?;
                let guarding = |is_plain: bool, builder: reqwest::ClientBuilder| {
                    let guarded = Guarded {
                        networks: Arc::clone(&networks),
                        lookup: Arc::clone(&lookup),
                        is_plain,
                        proxy: None,
                    };
                    Guarding::new(builder, guarded, proxy_from_environment)
                };
                let tls = builder(bounds).https_only(true).tls_certs_merge(roots);
                // It makes no TLS, so it needs no authorities.
                let plain = builder(bounds).tls_certs_only([]);
                Ok(Self::Guarded {
                    tls: guarding(false, tls)?,
                    plain: guarding(true, plain)?,
                    networks,
                })
            }
        }
    }

    /// What asks at this address, if anything may.
    pub(super) fn for_url(&self, url: &Url) -> Result<&reqwest::Client, Barred> {
        match self {
            Self::Anywhere(client) => Ok(client),
            Self::Guarded { tls, plain, networks } => {
                networks.admit_url(url)?;
                let is_plain = url.scheme() != "https";
                let guarding = if is_plain { plain } else { tls };
                // Whose names mean this machine is judged already.
                if let Some(name) = url.domain().filter(|name| !is_this_machine(name)) {
                    let host = name.to_owned();
                    if is_plain && guarding.has_proxy {
                        return Err(Barred::PlainByProxy { host });
                    }
                    if guarding.proxy_host.as_deref() == Some(name) {
                        return Err(Barred::Proxy { host });
                    }
                }
                Ok(&guarding.client)
            }
        }
    }
}

impl Guarding {
    fn new(
        builder: reqwest::ClientBuilder,
        guarded: Guarded,
        proxy_from_environment: bool,
    ) -> Result<Self, HttpError> {
        let proxy = if proxy_from_environment {
            let named = Proxy::named(guarded.is_plain, crate::config::variable);
            named.map_err(|variable| HttpError::Proxy { variable })?
        } else {
            None
        };
        let proxy_host = proxy.as_ref().and_then(|proxy| proxy.host.clone());
        let has_proxy = proxy.is_some();
        let guarded = Guarded { proxy: proxy_host.clone(), ..guarded };
        let builder = builder.no_proxy().dns_resolver(guarded);
        let builder = match proxy.map(Proxy::into_client).transpose().map_err(HttpError::Build)? {
            Some(proxy) => builder.proxy(proxy),
            None => builder,
        };
        let client = builder.build().map_err(HttpError::Build)?;
        Ok(Self { client, has_proxy, proxy_host })
    }
}

fn builder(Bounds { call_timeout, connect_timeout }: Bounds) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        // A redirect would carry a write, and its credentials, to where nobody sent them.
        .redirect(redirect::Policy::none())
        // One attempt is one call: what is tried again is decided by the outcome table.
        .retry(retry::never())
        .referer(false)
        .timeout(call_timeout)
        .connect_timeout(connect_timeout)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .pool_idle_timeout(IDLE_CONNECTION_AGE_MAX)
}
