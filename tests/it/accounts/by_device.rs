//! `connections connect microsoft --device-code`: for a machine without a browser (RFC 8628).

use std::process::Child;
use std::time::Duration;

use calendar_sync::emulator::{Consent, OauthSwitches, Person};

use super::connecting::{ANNA, CLIENT_SECRET, MICROSOFT, Scene, TENANT, ended, told_by};
use crate::end_to_end::world::until;

impl Scene {
    /// Starts the program, once it may ask so often and a code is good so long.
    fn begin(&self, interval: Duration, lifetime: Duration) -> Child {
        let switches = self.graph.oauth_switches();
        self.graph.set_oauth_switches(OauthSwitches {
            device_interval: interval,
            device_lifetime: lifetime,
            ..switches
        });
        self.start(&[&MICROSOFT[..], &["--device-code"]].concat(), CLIENT_SECRET)
    }

    async fn enter(&self, consent: Consent) {
        until("a code is shown", async || !self.graph.user_codes().is_empty()).await;
        let code = self.graph.user_codes().remove(0);
        let person = Person::new(ANNA).saying(consent).of(TENANT);
        assert!(self.graph.enter_user_code(&code, &person));
    }
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_somebody_types_connects_her_account() {
    let scene = Scene::new("a_code_that_somebody_types_connects_her_account").await;
    let mut child = scene.begin(SECOND, HOUR);
    let told = told_by(&mut child);
    scene.enter(Consent::All).await;
    let ended = ended(child, told);
    assert_eq!(ended.status, Some(0), "{}", ended.said);
    assert!(ended.said.contains("and type the code"), "{}", ended.said);
    assert_eq!(scene.rows().await[0].subject, scene.graph.subject_of(ANNA));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_is_declined_or_too_old_connects_nobody() {
    let scene = Scene::new("a_code_that_is_declined_or_too_old_connects_nobody").await;
    let mut child = scene.begin(SECOND, HOUR);
    let told = told_by(&mut child);
    scene.enter(Consent::Refused).await;
    let declined = ended(child, told);
    assert_eq!(declined.status, Some(1), "{}", declined.said);
    assert!(declined.said.contains("did not agree"), "{}", declined.said);
    let mut child = scene.begin(SECOND, 2 * SECOND);
    let told = told_by(&mut child);
    let old = ended(child, told);
    assert_eq!(old.status, Some(1), "{}", old.said);
    assert!(old.said.contains("nobody agreed in the time"), "{}", old.said);
    assert!(scene.rows().await.is_empty());
    scene.end().await;
}
