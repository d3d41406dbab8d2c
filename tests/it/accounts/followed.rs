//! A link of the service's own program, followed to its end; and all on that way which nobody may keep.

use calendar_sync::emulator::{GoogleEmulator, Person};
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::granted::CLIENT;
use super::site::{Browser, browser, sent};
use crate::end_to_end::story::provider;

/// What opens the administrator's endpoints.
pub(super) const OPENER: &str = "opener-never-to-be-seen";
/// Where browsers are told to go. Nobody listens there: the port is known only once it is open.
pub(super) const PUBLIC: &str = "http://127.0.0.1:1";

/// Provider 3's host connects her calendar. Answers every pass, code and cookie of that.
pub(super) async fn follow(address: &str, google: &GoogleEmulator, account: &str) -> Vec<String> {
    google.add_redirect(CLIENT, &format!("{PUBLIC}/connect/google/callback"));
    google.add_account("token-of-nobody", account);
    google.set_subject(account, account);
    google.seat(Some(Person::new(account)));
    let here = |url: &Url| -> Url {
        let there = url.as_str().strip_prefix(PUBLIC).expect("an address of ours");
        format!("http://{address}{there}").parse().expect("it is a URL")
    };
    let link = ask(address).await;
    let mut hers = Browser::default();
    let to_google = hers.get(&here(&link)).await.sent_to();
    let back = Browser::default().get(&to_google).await.sent_to();
    let page = hers.get(&here(&back)).await;
    assert_eq!(page.offered(), [account], "{}", page.text);
    let (action, pass) = page.form();
    let done = hers.choose_at(here(&action), &pass, account).await;
    assert!(done.text.contains("is connected"), "{}", done.text);
    let in_query = |url: &Url, name: &str| {
        let value = url.query_pairs().find(|(it, _)| it == name).map(|(_, it)| it.into_owned());
        value.unwrap_or_else(|| panic!("{url} has no {name}"))
    };
    let (_, cookie) = hers.cookie().split_once('=').expect("it has a name");
    vec![
        in_query(&link, "link"),
        in_query(&to_google, "state"),
        in_query(&to_google, "nonce"),
        in_query(&back, "code"),
        pass,
        cookie.to_owned(),
    ]
}

/// A link, as the booking application gets it.
async fn ask(address: &str) -> Url {
    let body = json!({ "provider_id": provider(3).0, "calendar_provider": "google" });
    let url = format!("http://{address}/api/calendar/connections/links");
    let asking = browser().request(Method::POST, url).bearer_auth(OPENER).body(body.to_string());
    let answer: Value = sent(asking).await.json().await.expect("JSON");
    let url = answer["url"].as_str().unwrap_or_else(|| panic!("{answer}"));
    url.parse().expect("it is a URL")
}
