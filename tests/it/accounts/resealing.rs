//! `connections reseal`: the key is changed while workers go on, and every account stays connected.

use std::process::Output;

use calendar_sync::connection::{Kept, Sealer};
use calendar_sync::emulator::{Fault, Moment, Rule, Verb};
use calendar_sync::store::ConnectionState;
use data_encoding::BASE64;
use secrecy::{ExposeSecret as _, SecretBox};

use super::granted::{
    Good, REFRESH_TOKEN, access_token, granted, make_due, order, renewals, row, stories,
    tell_created,
};
use crate::end_to_end::story::hour;
use crate::end_to_end::world::{Connected, KEY, Parts, World};
use crate::settings::{program, text};
use booking::CalendarKind;

/// The key that comes.
const NEW: [u8; 32] = [9; 32];

fn new_key() -> SecretBox<[u8; 32]> {
    SecretBox::new(Box::new(NEW))
}

/// `connections reseal` with the new key, and these old ones.
fn reseal(world: &World, old_keys: &str) -> Output {
    let (url, key) = (world.url.as_deref().expect("others find it"), BASE64.encode(&NEW));
    let environment = [
        ("DATABASE_URL", url),
        ("SECRETS_KEY", key.as_str()),
        ("SECRETS_KEY_ID", "2"),
        ("SECRETS_OLD_KEYS", old_keys),
        ("LOG_LEVEL", "warn,sqlx=error"),
    ];
    program(&["connections", "reseal"], &environment, "")
}

/// A grant of provider 1's, and a token of provider 2's that nobody renews.
async fn two_accounts(fact: &'static str) -> Option<(World, Connected, Connected)> {
    let mut world = World::for_processes(Parts::Embedded, CalendarKind::Google, fact).await?;
    let one = granted(&mut world, Good::For(3_000, 3_300)).await;
    let two = world.connect(2).await;
    Some((world, one, two))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sealed_anew_is_opened_by_who_knows_both_keys() {
    let fact = "what_is_sealed_anew_is_opened_by_who_knows_both_keys";
    let Some((mut world, one, two)) = two_accounts(fact).await else { return };
    // First every worker knows both keys, and seals with the old one still.
    let (former, coming) = (SecretBox::new(Box::new([7; 32])), new_key());
    let workers = || Sealer::new("1", &former).opening("2", &coming);
    let old_keys = format!("1={KEY}");
    let said = reseal(&world, &old_keys);
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert_eq!(text(&said.stdout), "sealed anew with the key `2`: 2; sealed with it already: 0\n");
    for host in [&one, &two] {
        let sealed = row(&world, host).await.sealed;
        assert!(Sealer::new("2", &coming).open(host.id, &sealed).is_ok(), "the new key alone");
        assert!(Sealer::new("1", &former).open(host.id, &sealed).is_err(), "the old one no more");
    }
    let Kept::Grant(grant) =
        workers().open(one.id, &row(&world, &one).await.sealed).expect("it opens")
    else {
        panic!("it was a grant");
    };
    assert_eq!(grant.refresh_token.expose_secret(), REFRESH_TOKEN);
    let mut stories = stories(2);
    tell_created(&mut world, &mut stories).await;
    let worker = world.worker_that_opens_with(workers());
    crate::wait::until("nothing is owed", async || world.pending().await == 0).await;
    worker.stop().await;
    assert_eq!(world.starts(&one).await, [hour(9); 2]);
    let again = reseal(&world, &old_keys);
    assert_eq!(text(&again.stdout), "sealed anew with the key `2`: 0; sealed with it already: 2\n");
    world.end().await;
}

/// A worker goes on, and its access is being renewed when the command comes to the row: what it was renewed
/// to counts, and the next run seals it anew.
///
/// Fails with: `emit/access.rs`, `store_renewed`: `break` for `from = now.sealed` (renewed twice).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_renewed_while_it_is_sealed_anew_is_renewed_once() {
    let fact = "what_is_renewed_while_it_is_sealed_anew_is_renewed_once";
    let Some((mut world, one, _)) = two_accounts(fact).await else { return };
    let (former, coming) = (SecretBox::new(Box::new([7; 32])), new_key());
    make_due(&world, &one).await;
    let held = Rule::next(1, Fault::Hold(Moment::AfterApplying)).verb(Verb::Token);
    let held = order(&world, held);
    let mut stories = stories(1);
    tell_created(&mut world, &mut stories).await;
    let worker = world.worker_that_opens_with(Sealer::new("1", &former).opening("2", &coming));
    held.wait_held(1).await;
    let said = reseal(&world, &format!("1={KEY}"));
    assert!(said.status.success(), "{}", text(&said.stderr));
    held.withdraw();
    crate::wait::until("nothing is owed", async || world.pending().await == 0).await;
    worker.stop().await;
    assert_eq!(renewals(&world).len(), 1);
    // The worker seals with the key that it was told to; the command is run once more, and all is done.
    let said = reseal(&world, &format!("1={KEY}"));
    assert!(said.status.success(), "{}", text(&said.stderr));
    let sealed = row(&world, &one).await.sealed;
    let kept = Sealer::new("2", &coming).open(one.id, &sealed).expect("the new key alone");
    let Kept::Grant(grant) = kept else { panic!("it was a grant") };
    let access = grant.access.expect("it was renewed");
    assert_ne!(access.token.expose_secret(), access_token(&one));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_key_opens_is_named_and_the_others_are_sealed_anew() {
    let fact = "what_no_key_opens_is_named_and_the_others_are_sealed_anew";
    let Some((world, one, two)) = two_accounts(fact).await else { return };
    let lost = Sealer::new("lost", &SecretBox::new(Box::new([3; 32])));
    let kept = Kept::Fixed(two.place.credentials.clone());
    let sealed = lost.seal(two.id, &kept, world.surroundings.dice.as_ref()).expect("it is sealed");
    let former = row(&world, &two).await.sealed;
    let swapped = world.store.swap_credentials(two.id, &former, &sealed).await;
    assert!(swapped.expect("the store answers"));
    let said = reseal(&world, &format!("1={KEY}"));
    assert_eq!(said.status.code(), Some(1));
    let told = text(&said.stdout);
    assert!(
        told.starts_with("sealed anew with the key `2`: 1; sealed with it already: 0\n"),
        "{told}"
    );
    assert!(told.contains(&format!("not sealed anew: {}", two.id)) && told.contains("`lost`"));
    assert_eq!(row(&world, &two).await.sealed, sealed, "it is left as it is");
    let anew = row(&world, &one).await.sealed;
    assert!(Sealer::new("2", &new_key()).open(one.id, &anew).is_ok());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_connection_has_nothing_to_seal() {
    let fact = "a_removed_connection_has_nothing_to_seal";
    let Some((world, one, two)) = two_accounts(fact).await else { return };
    let removed = world.store.remove_connection(two.id, false).await;
    assert!(removed.expect("the store answers"));
    let said = reseal(&world, &format!("1={KEY}"));
    assert_eq!(text(&said.stdout), "sealed anew with the key `2`: 1; sealed with it already: 0\n");
    assert_eq!(world.state(&two).await, ConnectionState::Removed);
    assert_eq!(world.state(&one).await, ConnectionState::Active);
    world.end().await;
}
