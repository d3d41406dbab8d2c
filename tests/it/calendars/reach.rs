//! Where calls go, and where not: with real servers on this machine's many addresses, and a look-up
//! that says what a fact wants it to say.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use calendar_sync::calendar::caldav::discovery::{DiscoveryError, discover};
use calendar_sync::calendar::http::{Exchanged, Guard, Http, HttpOptions, Lookup, Networks, Reach};
use tokio::net::TcpListener;

use super::stub::{Reply, Seen, Stub};
use super::{SECRET, Still, bearer};
use crate::settings::{KEY, ON_THIS_MACHINE, PROVIDER, program, text};

/// Where servers may be, in these facts.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where none may.
const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Says one thing after the other, and the last one for ever.
struct Told(Mutex<VecDeque<Vec<IpAddr>>>);

#[async_trait]
impl Lookup for Told {
    async fn addresses(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().expect("no panic holds it");
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Ok(answer.unwrap_or_default())
    }
}

/// A client to which only [`HERE`] is open, and that looks names up like this.
fn client(answers: &[&[IpAddr]]) -> Http {
    let nets = || vec!["127.0.0.1/32".parse().expect("a network")];
    let networks = Networks { allowed: nets(), plain: nets() };
    let answers = answers.iter().map(|answer| answer.to_vec()).collect();
    let lookup = Arc::new(Told(Mutex::new(answers)));
    let timeout = Duration::from_secs(20);
    let options = HttpOptions {
        call_timeout: timeout,
        connect_timeout: timeout,
        proxy_from_environment: false,
        reach: Reach::Guarded(Guard { lookup, ..Guard::of(networks) }),
        clock: Arc::new(Still),
    };
    Http::new(options).expect("these limits are sound")
}

/// One answer after the other.
type Answers<'a> = &'a [(u16, &'a str, &'a str)];

/// A server at [`HERE`] and one at [`INSIDE`], at the same port; a URL of both by name.
async fn both(here: Answers<'_>, inside: Answers<'_>) -> (Stub, Stub, String) {
    loop {
        let first = TcpListener::bind((HERE, 0)).await.expect("a free port");
        let port = first.local_addr().expect("an address").port();
        // Somebody else may have it there.
        let Ok(second) = TcpListener::bind((INSIDE, port)).await else { continue };
        let url = format!("http://dav.example.com:{port}");
        return (Stub::on(first, here), Stub::on(second, inside), url);
    }
}

async fn get(http: &Http, url: &str) -> Result<u16, String> {
    match super::get(http, url).await {
        Exchanged::Answered(response) => Ok(response.status),
        Exchanged::Lost { sent, message } => {
            assert!(!sent && !message.contains(SECRET), "{message}");
            Err(message)
        }
    }
}

const REFUSED: &str = "dav.example.com is not asked: its address 127.0.0.2 is this machine's own \
    (loopback, RFC 1122, RFC 4291); if it is meant, add it to http.allow_networks \
    (HTTP_ALLOW_NETWORKS)";

/// Fails with: `calendar/http/reach.rs`, `resolve`: `Ok(())` for `networks.admit(…)`.
#[tokio::test]
async fn a_name_that_leads_inside_is_not_asked_and_the_setting_is_named() {
    let (here, inside, url) = both(&[], &[(200, "", "")]).await;
    assert_eq!(get(&client(&[&[INSIDE]]), &url).await, Err(REFUSED.to_owned()));
    assert!(here.requests().is_empty() && inside.requests().is_empty());
}

/// A DNS change between check and use: there is no check but the use.
#[tokio::test]
async fn a_name_that_leads_inside_the_second_time_is_not_followed() {
    let (here, inside, url) = both(&[(200, "", "")], &[(200, "", "")]).await;
    let http = client(&[&[HERE], &[INSIDE]]);
    assert_eq!(get(&http, &url).await, Ok(200));
    assert_eq!(get(&http, &url).await, Err(REFUSED.to_owned()));
    assert_eq!((here.requests().len(), inside.requests().len()), (1, 0));
}

#[tokio::test]
async fn of_several_addresses_those_that_are_open_are_tried_alone() {
    let (here, inside, url) = both(&[(200, "", "")], &[(200, "", "")]).await;
    assert_eq!(get(&client(&[&[INSIDE, HERE, INSIDE]]), &url).await, Ok(200));
    assert_eq!((here.requests().len(), inside.requests().len()), (1, 0));
}

/// Fails with: `calendar/http/clients.rs`, `for_url`: without `networks.admit_url(url)?`.
#[tokio::test]
async fn an_address_in_a_url_is_judged_before_the_call_however_it_is_spelt() {
    let (_here, inside, url) = both(&[], &[(200, "", "")]).await;
    let port = url.rsplit_once(':').expect("a port").1;
    for host in ["127.0.0.2", "0x7f000002", "2130706434", "0177.2", "[::ffff:127.0.0.2]"] {
        let message = get(&client(&[&[HERE]]), &format!("http://{host}:{port}/")).await;
        let message = message.expect_err(host);
        assert!(message.contains("127.0.0.2") || message.contains("::ffff:7f00:2"), "{message}");
        assert!(message.contains("http.allow_networks"), "{message}");
    }
    assert!(inside.requests().is_empty());
}

/// Each hop is looked up and judged by itself.
#[tokio::test]
async fn a_redirect_to_a_name_that_leads_inside_by_now_is_not_followed() {
    let moved = [(301, "Location: /dav/\r\n", "")];
    let (here, inside, url) = both(&moved, &[(207, "", "")]).await;
    let found = discover(&client(&[&[HERE], &[INSIDE]]), &url, &bearer()).await;
    assert_eq!(found, Err(DiscoveryError::Lost { origin: url, message: REFUSED.to_owned() }));
    assert_eq!((here.requests().len(), inside.requests().len()), (1, 0));
}

/// Where the answer comes from inside, as from a redirect, credentials never go there: it is another
/// origin, whatever it resolves to.
#[tokio::test]
async fn a_redirect_inside_is_told_and_not_followed() {
    let (_here, inside, url) = both(&[], &[(207, "", "")]).await;
    let port = url.rsplit_once(':').expect("a port").1;
    let location = format!("Location: http://127.0.0.2:{port}/dav/\r\n");
    let (here, _inside, url) = both(&[(302, &location, "")], &[]).await;
    let found = discover(&client(&[&[HERE]]), &url, &bearer()).await;
    let origin = format!("http://127.0.0.2:{port}");
    assert_eq!(found, Err(DiscoveryError::OtherOrigin { origin }));
    assert_eq!((here.requests().len(), inside.requests().len()), (1, 0));
}

#[tokio::test]
async fn a_name_without_addresses_is_not_reached() {
    let message = get(&client(&[&[]]), "http://dav.example.com:1/").await;
    assert!(message.is_err(), "{message:?}");
}

/// What the program says to these arguments, with these settings.
async fn said(arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let owned = |text: &&str| (*text).to_owned();
    let arguments: Vec<_> = arguments.iter().map(owned).collect();
    let settings: Vec<_> =
        settings.iter().map(|(name, value)| (owned(name), owned(value))).collect();
    let run = move || {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", directory.path().join("state.db").display());
        let given = [("DATABASE_URL", url.as_str()), ("SECRETS_KEY", KEY), ("LOG_LEVEL", "off")];
        let settings = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let environment: Vec<_> = given.into_iter().chain(settings).collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let output = program(&arguments, &environment, SECRET);
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    tokio::task::spawn_blocking(run).await.expect("it ran")
}

async fn added(kind: &str, address: &str, settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let add = ["connections", "add", kind, "--provider-id", PROVIDER];
    let account: &[&str] = match kind {
        "caldav" => &["--calendar-url", address, "--username", "anna", "--password-stdin"],
        _ => &[
            "--base-url",
            address,
            "--calendar-id",
            "primary",
            "--subject",
            "4711",
            "--token-stdin",
        ],
    };
    said(&[&add, account].concat(), settings).await
}

#[tokio::test]
async fn an_address_that_is_not_open_is_refused_when_it_is_added() {
    for (kind, option) in
        [("caldav", "--calendar-url"), ("google", "--base-url"), ("microsoft", "--base-url")]
    {
        for (address, told) in [
            (
                "https://10.0.0.1/a/",
                "10.0.0.1 is not asked: its address 10.0.0.1 is a private address",
            ),
            ("https://169.254.169.254/a/", "is a cloud's metadata service"),
            ("https://localhost:8443/a/", "localhost is not asked: its address "),
            ("http://8.8.8.8/a/", "http.plain_networks (HTTP_PLAIN_NETWORKS)"),
            ("http://dav.example.com/a/", "dav.example.com is not asked by http://"),
        ] {
            let (code, said) = added(kind, address, &[]).await;
            assert_eq!(code, Some(2), "{kind} {address}: {said}");
            assert!(said.starts_with(&format!("error: {option}: ")), "{said}");
            assert!(said.contains(told) && !said.contains(SECRET), "`{told}` is not in: {said}");
        }
    }
    let ours = ("HTTP_ALLOW_NETWORKS", "10.0.0.0/24");
    let plain = ("HTTP_PLAIN_NETWORKS", "10.0.0.0/24");
    assert_eq!(added("caldav", "https://10.0.0.1/a/", &[ours]).await.0, Some(0));
    assert_eq!(added("caldav", "http://10.0.0.1/a/", &[ours]).await.0, Some(2));
    assert_eq!(added("caldav", "http://10.0.0.1/a/", &[plain]).await.0, Some(2));
    assert_eq!(added("caldav", "http://10.0.0.1/a/", &[ours, plain]).await.0, Some(0));
    assert_eq!(added("caldav", "http://10.0.1.1/a/", &[ours, plain]).await.0, Some(2));
    assert_eq!(added("caldav", "http://localhost:1/a/", &[ON_THIS_MACHINE]).await.0, Some(0));
}

async fn discovered(url: &str, settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let discover = ["connections", "discover", "caldav", "--url", url, "--username", "anna"];
    said(&[&discover[..], &["--password-stdin"]].concat(), settings).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_not_open_is_refused_when_its_calendars_are_looked_for() {
    let server = Stub::saying(&[(207, "", "")]).await;
    let (code, said) = discovered(&server.url, &[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("127.0.0.1 is not asked: its address 127.0.0.1 is this machine's own"),
        "{said}"
    );
    assert!(said.contains("http.allow_networks (HTTP_ALLOW_NETWORKS)"), "{said}");
    let (code, said) = discovered("http://dav.example.com/", &[ON_THIS_MACHINE]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("dav.example.com is not asked by http://"), "{said}");
    assert!(server.requests().is_empty());
}

/// The proxy looks names up; what a URL says by itself is judged here all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_proxy_names_are_the_proxys_and_addresses_are_judged_here() {
    let refuses = Reply::Bytes(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec());
    let server = Stub::replying(vec![refuses]).await;
    let port = server.url.rsplit_once(':').expect("a port").1;
    // By name, at an address that calendars may not be at.
    let proxy = format!("http://localhost:{port}");
    let proxied = [("HTTPS_PROXY", proxy.as_str())];
    for (url, told) in [
        ("https://169.254.169.254/", "is a cloud's metadata service"),
        ("https://127.0.0.1/", "is this machine's own"),
        ("https://dav.localhost/", "is this machine's own"),
        ("https://localhost/", "is this machine's own"),
        ("http://dav.example.com/", "dav.example.com is not asked by http://"),
    ] {
        let (code, said) = discovered(url, &proxied).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(told), "`{told}` is not in: {said}");
    }
    let itself = [("HTTPS_PROXY", "http://proxy.example.com:1")];
    let (_, said) = discovered("https://proxy.example.com/", &itself).await;
    assert!(said.contains("proxy.example.com is not asked: it is the proxy"), "{said}");
    let plain = [("HTTP_PROXY", proxy.as_str()), ("HTTP_PLAIN_NETWORKS", "10.0.0.0/8")];
    let (_, said) = discovered("http://dav.example.com/", &plain).await;
    assert!(
        said.contains("as the proxy of HTTP_PROXY would send everything unencrypted"),
        "{said}"
    );
    assert!(server.requests().is_empty());
    let (code, said) = discovered("https://dav.example.com/", &proxied).await;
    assert_eq!(code, Some(1), "{said}");
    let seen = server.requests();
    assert_eq!(seen.iter().map(Seen::line).collect::<Vec<_>>(), ["CONNECT dav.example.com:443"]);
    assert_eq!(seen[0].header("authorization"), None);
    let (_, said) = discovered("https://dav.example.com/", &[("ALL_PROXY", "socks5://h:1")]).await;
    assert!(said.contains("ALL_PROXY is not the http:// or https:// URL of a proxy"), "{said}");
}

#[tokio::test]
async fn settings_that_name_no_network_and_no_authority_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roots.pem");
    std::fs::write(&file, "none").unwrap();
    let file = file.to_str().unwrap();
    for (setting, told) in [
        (("HTTP_ALLOW_NETWORKS", "10.0.0.1/8"), "has 10.0.0.1/8 at place 1; is 10.0.0.0/8 meant?"),
        (
            ("HTTP_ALLOW_NETWORKS", "10.0.0.0/8,10.0.0.1"),
            "has an address without a length at place 2",
        ),
        (
            ("HTTP_PLAIN_NETWORKS", "home"),
            "http.plain_networks (from HTTP_PLAIN_NETWORKS) has no network at place 1",
        ),
        (
            ("HTTP_CA_FILE", "/no/such/file"),
            "http.ca_file (from HTTP_CA_FILE) cannot be read: No such file",
        ),
        (("HTTP_CA_FILE", file), "names a file that holds no certificate in PEM"),
    ] {
        let (code, said) = said(&["config", "check"], &[setting]).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(told), "`{told}` is not in: {said}");
    }
}
