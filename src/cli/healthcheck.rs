//! `healthcheck`: asks the worker on this machine how it is, for whoever watches over it and has no client
//! of their own: a container without a shell, a service manager, a person.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::http::Method;
use clap::Args;
use serde_json::Value;

use super::UsageError;
use super::out::Out;
use crate::calendar::http::{Exchanged, Http, HttpOptions, Reach, Request};
use crate::clock::Surroundings;
use crate::config::OpsSettings;

/// The longest that is waited for an answer; longer than the worker itself waits for its database.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// The longest that is waited for a connection: it is the same machine.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// The longest answer that is read, in bytes.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// Ask the worker on this machine whether it is ready: exit code 0 if it is, else 1, and why
///
/// Asks at `ops.listen`, which is all that it needs to be told.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// Ask only whether it is alive
    #[arg(long)]
    live: bool,
}

/// Asks, and says what it was told.
pub async fn run(
    args: &HealthcheckArgs,
    ops: &OpsSettings,
    surroundings: &Surroundings,
    out: &mut Out<impl Write>,
) -> anyhow::Result<()> {
    let address = on_this_machine(ops.listen);
    if address.port() == 0 {
        let problem = "ops.listen (OPS_LISTEN) takes any free port: nobody knows which to ask";
        return Err(UsageError(problem.to_owned()).into());
    }
    let path = if args.live { "livez" } else { "readyz" };
    let url = format!("http://{address}/{path}").parse().context("the address is none")?;
    let http = Http::new(HttpOptions {
        call_timeout: ANSWER_MAX,
        connect_timeout: CONNECT_MAX,
        proxy_from_environment: false,
        // The address is a setting.
        reach: Reach::Anywhere,
        clock: Arc::clone(&surroundings.clock),
    })
    .context("cannot build the HTTP client")?;
    let request =
        Request { method: Method::GET, url, credentials: None, headers: Vec::new(), body: &[] };
    let word = if args.live { "alive" } else { "ready" };
    match http.exchange_up_to(request, ANSWER_LEN_MAX).await {
        Exchanged::Answered(answer) if answer.status == 200 => {
            writeln!(out, "the worker at {address} is {word}")?;
            Ok(())
        }
        Exchanged::Answered(answer) => {
            let why = reasons(&answer.body)
                .unwrap_or_else(|| format!("it answers {}, as no worker does", answer.status));
            bail!("the worker at {address} is not {word}: {why}")
        }
        Exchanged::Lost { message, .. } => {
            bail!("no worker answers at {address}: {message}")
        }
    }
}

/// Where a worker that listens on every address of its machine is asked.
fn on_this_machine(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, listen.port())
}

/// The conditions that are not met, on one line. `None`: that is no answer of ours.
fn reasons(body: &[u8]) -> Option<String> {
    let told: Value = serde_json::from_slice(body).ok()?;
    let unmet = told.get("conditions")?.as_object()?.iter().filter_map(|(condition, it)| {
        let why = it.get("why")?.as_str()?;
        (it.get("met")? == false).then(|| format!("{condition}: {why}"))
    });
    Some(unmet.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("127.0.0.2:9", "127.0.0.2:9"),
            ("192.0.2.7:9", "192.0.2.7:9"),
        ] {
            assert_eq!(on_this_machine(listen.parse().unwrap()).to_string(), asked);
        }
    }

    #[test]
    fn what_is_not_met_is_told_and_nothing_else() {
        let body = br#"{"ready":false,"conditions":{
            "consumer":{"met":true,"why":"partitions assigned: 3"},
            "database":{"met":false,"why":"it is being opened"}}}"#;
        assert_eq!(reasons(body).as_deref(), Some("database: it is being opened"));
        assert_eq!(reasons(b"<html>"), None);
    }
}
