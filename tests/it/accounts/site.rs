//! The service's pages, as a host's browser and the booking application meet them.

use std::sync::Arc;

use calendar_sync::connection::connecting::Connecting;
use calendar_sync::consumer::Status;
use calendar_sync::emulator::Person;
use calendar_sync::ops::connect::{Addresses, Connect};
use calendar_sync::ops::health::Health;
use calendar_sync::ops::metrics::Metrics;
use calendar_sync::ops::{self, Ops};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::granted::{CLIENT, set_up};
use crate::end_to_end::host::Host;
use crate::end_to_end::story::provider;
use crate::end_to_end::world::{Connected, World, client, sealer};

/// What opens the administrator's endpoints.
const TOKEN: &str = "the-token-of-the-booking-application";
/// Where the booking application is.
pub(super) const APPLICATION: &str = "https://bookings.example/calendars?tab=1";

/// The service's port, where hosts connect their calendars.
pub(super) struct Site {
    pub(super) url: Url,
    kind: &'static str,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Site {
    /// Opens it, as a client of the world's provider.
    pub(super) async fn open(world: &mut World) -> Self {
        set_up(world);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let url: Url = url.parse().expect("it is a URL");
        let back = format!("{url}connect/{}/callback", world.host.kind().name());
        let oauth = &mut world.oauth;
        match &world.host {
            Host::Google(google) => {
                google.add_redirect(CLIENT, &back);
                oauth.google_authorize_url = google.auth_url().parse().expect("it is a URL");
                oauth.google_api_url = google.base_url().parse().expect("it is a URL");
            }
            Host::Microsoft(graph) => {
                graph.add_redirect(CLIENT, &back);
                let api = format!("{}/me", graph.base_url());
                oauth.microsoft_api_url = api.parse().expect("it is a URL");
            }
            Host::Caldav(_) => unreachable!("nobody grants anything there"),
        }
        let token = world.surroundings.dice.token();
        let installation = world.store.open(None, token).await.expect("the store answers");
        let surroundings = world.surroundings.clone();
        let connecting =
            Connecting::new(client(&surroundings), world.oauth.clone(), surroundings.clone());
        let return_origins = vec!["https://bookings.example".parse().expect("it is a URL")];
        let connect = Connect::new(
            connecting,
            sealer(),
            (installation, world.rules.horizon),
            Addresses { public_url: url.clone(), return_origins },
            surroundings.clone(),
        );
        let status = Arc::<Status>::default();
        let ops = Ops {
            store: Arc::clone(&world.store),
            metrics: Arc::new(Metrics::default()),
            health: Arc::new(Health::new(surroundings.clone(), Arc::clone(&status))),
            status,
            surroundings,
            gate: world.emit.gate.clone(),
            admin_token: Some(Arc::new(TOKEN.into())),
            connect: Some(Arc::new(connect)),
            wake: Arc::new(Notify::new()),
        };
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(ops::serve(listener, ops::router(ops), stop.clone()));
        Self { url, kind: world.host.kind().name(), stop, tasks }
    }

    pub(super) async fn close(mut self) {
        self.stop.cancel();
        self.tasks.join_next().await.expect("it served").expect("it did not panic");
    }

    /// What the booking application is answered that asks for a link, with these fields beside.
    pub(super) async fn ask(&self, token: Option<&str>, beside: Value) -> (u16, Value) {
        let mut body = json!({
            "provider_id": provider(1).0,
            "calendar_provider": self.kind,
            "return_url": APPLICATION,
        });
        for (name, value) in beside.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let url = self.url.join("api/calendar/connections/links").expect("it is a URL");
        let mut request = browser().request(Method::POST, url).body(body.to_string());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = sent(request).await;
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// A link, with these fields beside.
    pub(super) async fn link(&self, beside: Value) -> Url {
        let (status, body) = self.ask(Some(TOKEN), beside).await;
        assert_eq!(status, 201, "{body}");
        let expires_at = body["expires_at"].as_str().expect("a text");
        chrono::DateTime::parse_from_rfc3339(expires_at).expect("a moment");
        body["url"].as_str().expect("a text").parse().expect("it is a URL")
    }

    /// A refusal of a link.
    pub(super) async fn refusal(&self, beside: Value) -> (u16, String) {
        let (status, body) = self.ask(Some(TOKEN), beside).await;
        (status, body.to_string())
    }
}

pub(super) fn browser() -> reqwest::Client {
    let none = reqwest::redirect::Policy::none();
    reqwest::Client::builder().no_proxy().redirect(none).build().expect("a client")
}

/// Sends what a browser, or the booking application, sends.
#[expect(clippy::disallowed_methods, reason = "this is not the service's own call")]
pub(super) async fn sent(request: reqwest::RequestBuilder) -> Response {
    request.send().await.expect("it answers")
}

/// A host's browser, with the one cookie that it was given.
#[derive(Default, Clone)]
pub(super) struct Browser {
    cookie: Option<String>,
}

/// What it shows, or where it is sent.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) status: u16,
    pub(super) to: Option<Url>,
    pub(super) text: String,
}

impl Shown {
    pub(super) fn sent_to(&self) -> Url {
        self.to.clone().unwrap_or_else(|| panic!("{}: {}", self.status, self.text))
    }

    /// A pair of the address that it is sent to.
    pub(super) fn told(&self, name: &str) -> Option<String> {
        let to = self.sent_to();
        to.query_pairs().find(|(it, _)| it == name).map(|(_, value)| value.into_owned())
    }

    /// The value of a hidden field, and where the form goes.
    pub(super) fn form(&self) -> (Url, String) {
        let after = |start: &str| {
            let (_, rest) = self.text.split_once(start).unwrap_or_else(|| panic!("{self:?}"));
            rest.split_once('"').expect("it is quoted").0.to_owned()
        };
        (after("action=\"").parse().expect("it is a URL"), after("name=\"pass\" value=\""))
    }

    /// The calendars that it offers.
    pub(super) fn offered(&self) -> Vec<String> {
        let choices = self.text.split("name=\"calendar\" required value=\"").skip(1);
        choices.map(|rest| rest.split_once('"').expect("it is quoted").0.to_owned()).collect()
    }
}

impl Browser {
    async fn shown(&mut self, answer: Response) -> Shown {
        let header = |name| answer.headers().get(name).and_then(|it| it.to_str().ok());
        if let Some(cookie) = header(SET_COOKIE) {
            self.cookie = cookie.split(';').next().map(ToOwned::to_owned);
        }
        let to = header(LOCATION).and_then(|it| Url::parse(it).ok());
        let status = answer.status().as_u16();
        Shown { status, to, text: answer.text().await.expect("a text") }
    }

    pub(super) async fn get(&mut self, url: &Url) -> Shown {
        let cookie = self.cookie.clone().unwrap_or_default();
        let answer = sent(browser().get(url.clone()).header(COOKIE, cookie)).await;
        self.shown(answer).await
    }

    /// The cookie that it was given.
    pub(super) fn cookie(&self) -> &str {
        self.cookie.as_deref().expect("it was given one")
    }

    pub(super) async fn choose(&mut self, page: &Shown, calendar: &str) -> Shown {
        let (action, pass) = page.form();
        self.choose_at(action, &pass, calendar).await
    }

    pub(super) async fn choose_at(&mut self, action: Url, pass: &str, calendar: &str) -> Shown {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let form = form.append_pair("pass", pass).append_pair("calendar", calendar).finish();
        let cookie = self.cookie.clone().unwrap_or_default();
        let answer = sent(browser().post(action).header(COOKIE, cookie).body(form)).await;
        self.shown(answer).await
    }

    /// Follows a link to the provider and back: the address at which it comes back.
    pub(super) async fn go(&mut self, link: &Url) -> Url {
        let to_provider = self.get(link).await;
        assert_eq!(to_provider.status, 303, "{}", to_provider.text);
        let there = self.clone().get(&to_provider.sent_to()).await;
        there.sent_to()
    }

    /// The same, and what is shown then.
    pub(super) async fn come_back(&mut self, link: &Url) -> Shown {
        let back = self.go(link).await;
        self.get(&back).await
    }
}

/// This person sits at the browser.
pub(super) fn seat(world: &World, person: Person) {
    match &world.host {
        Host::Google(google) => {
            google.set_subject(&person.account, &person.account);
            google.seat(Some(person));
        }
        Host::Microsoft(graph) => {
            graph.set_subject(&person.account, &person.account);
            graph.seat(Some(person));
        }
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    }
}

/// Provider 1's host, with an empty calendar that is not connected.
pub(super) async fn host(world: &World) -> (Connected, Person) {
    let host = world.prepare(1).await;
    let person = Person::new(&host.place.subject);
    seat(world, person.clone());
    (host, person)
}
