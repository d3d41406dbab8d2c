use chrono::TimeDelta;
use secrecy::SecretBox;

use super::*;
use crate::calendar::Credentials;
use crate::clock::SystemDice;

fn sealer(name: &str, byte: u8) -> Sealer {
    Sealer::new(name, &SecretBox::new(Box::new([byte; 32])))
}

fn now() -> DateTime<Utc> {
    "2026-11-28T10:00:00Z".parse().unwrap()
}

fn link() -> Link {
    let tenant = Tenant::parse("contoso.example").unwrap();
    let connection = ConnectionId(Uuid::from_u128(2));
    Link {
        return_url: Some(Url::parse("https://bookings.example/done").unwrap()),
        ..Link::new(&Issuer::Microsoft(tenant), ProviderId(Uuid::from_u128(1)), Some(connection))
    }
}

#[test]
fn a_pass_comes_back_as_it_was_given_out() {
    let sealer = sealer("k", 1);
    let (text, until) = issue(&link(), &sealer, now(), &SystemDice);
    assert_eq!(until, now() + TimeDelta::minutes(15));
    assert_eq!(read::<Link>(&text, &sealer, now()), Ok(link()));
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    let google = Link::new(&Issuer::Google, ProviderId(Uuid::nil()), None);
    assert_eq!(google.issuer(), Issuer::Google);
    assert_eq!(link().kind(), CalendarKind::Microsoft);
}

#[test]
fn a_pass_is_good_for_its_time_and_no_longer() {
    let sealer = sealer("k", 1);
    let (text, until) = issue(&link(), &sealer, now(), &SystemDice);
    read::<Link>(&text, &sealer, until - TimeDelta::seconds(1)).unwrap();
    assert_eq!(read::<Link>(&text, &sealer, until), Err(PassError::Expired));
}

#[test]
fn a_pass_is_good_for_its_purpose_alone() {
    let sealer = sealer("k", 1);
    let browser = Browser::fresh(&SystemDice);
    let visit = Visit::new(link(), &browser, &"verifier".into(), "nonce".to_owned());
    let (visit, _) = issue(&visit, &sealer, now(), &SystemDice);
    assert_eq!(read::<Link>(&visit, &sealer, now()), Err(PassError::Foreign));
    let (link, _) = issue(&link(), &sealer, now(), &SystemDice);
    assert!(read::<Visit>(&link, &sealer, now()).is_err_and(|error| error == PassError::Foreign));
    let sealed = BASE64URL_NOPAD.decode(link.as_bytes()).unwrap();
    sealer.open(ConnectionId(Uuid::nil()), &sealed).unwrap_err();
}

#[test]
fn a_pass_of_another_key_and_a_changed_one_are_none() {
    let (ours, other) = (sealer("k", 1), sealer("k", 2));
    let (text, _) = issue(&link(), &other, now(), &SystemDice);
    assert_eq!(read::<Link>(&text, &ours, now()), Err(PassError::Foreign));
    let old = SecretBox::new(Box::new([2; 32]));
    let rotated = sealer("l", 1).opening("k", &old);
    assert_eq!(read::<Link>(&text, &rotated, now()), Ok(link()), "a key that only opens does");
    let (text, _) = issue(&link(), &ours, now(), &SystemDice);
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(read::<Link>(&changed, &ours, now()), Err(PassError::Foreign), "at {at}");
    }
    for text in ["", "a", "ä", &"A".repeat(PASS_LEN_MAX + 1)] {
        assert_eq!(read::<Link>(text, &ours, now()), Err(PassError::Foreign));
    }
}

#[test]
fn a_visit_is_of_the_browser_that_was_sent_and_keeps_its_verifier() {
    let sealer = sealer("k", 1);
    let [browser, other] = [(), ()].map(|()| Browser::fresh(&SystemDice));
    let visit = Visit::new(link(), &browser, &"verifier".into(), "nonce".to_owned());
    let (text, _) = issue(&visit, &sealer, now(), &SystemDice);
    let visit: Visit = read(&text, &sealer, now()).ok().unwrap();
    assert!(visit.is_of(&Browser::parse(browser.cookie()).unwrap()));
    assert!(!visit.is_of(&other));
    assert_eq!(visit.verifier().expose_secret(), "verifier");
    for cookie in ["", "short", &"A".repeat(44), "not base64 at all, but long enough for it!!"] {
        assert!(Browser::parse(cookie).is_none(), "{cookie}");
    }
}

#[test]
fn a_choice_carries_what_opens_the_account_sealed() {
    let sealer = sealer("k", 1);
    let browser = Browser::fresh(&SystemDice);
    let visit = Visit::new(link(), &browser, &"verifier".into(), "nonce".to_owned());
    let token = "a-token-that-nobody-sees";
    let kept = Kept::Fixed(Credentials::Bearer { token: token.into() });
    let choice = Choice::new(&visit, "subject".to_owned(), &kept, &sealer, &SystemDice).unwrap();
    let (text, _) = issue(&choice, &sealer, now(), &SystemDice);
    let plain = sealer.open_pass(Choice::PURPOSE, &text).unwrap();
    assert!(!String::from_utf8_lossy(&plain).contains(token), "sealed within the seal");
    let choice: Choice = read(&text, &sealer, now()).ok().unwrap();
    assert!(choice.is_of(&browser));
    let Kept::Fixed(Credentials::Bearer { token: kept }) = choice.kept(&sealer).unwrap() else {
        panic!("a token");
    };
    assert_eq!(kept.expose_secret(), token);
}
