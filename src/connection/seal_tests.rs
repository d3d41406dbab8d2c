use super::*;
use crate::clock::SystemDice;
use data_encoding::HEXLOWER;
use uuid::Uuid;

const EARLIER: &str = "010131000102030405060708090a0b0c0d0e0f1011121314151617d335c9e4897538871fbca3329587ddc23ebb5d352ed5561f9d7c95adb8bcf5e47049e01e91b664d26622900e448cacdea2027bfcb44177b5aa648d80d72412b264cbf33fc1469911043af1af19";

const ANNA: ConnectionId = ConnectionId(Uuid::from_u128(1));
const BEN: ConnectionId = ConnectionId(Uuid::from_u128(2));

fn sealer(key_id: &str, byte: u8) -> Sealer {
    Sealer::new(key_id, &key(byte))
}

fn key(byte: u8) -> SecretBox<[u8; 32]> {
    SecretBox::new(Box::new([byte; 32]))
}

fn basic() -> Kept {
    let password = "päss \"\u{1}word".into();
    Kept::Fixed(Credentials::Basic { username: "anna".to_owned(), password })
}

fn bearer() -> Kept {
    Kept::Fixed(Credentials::Bearer { token: "ya29.token".into() })
}

fn grant(issuer: Issuer, access: Option<Access>, scopes: Option<&str>) -> Grant {
    let scopes = scopes.map(ToOwned::to_owned);
    let client = access.as_ref().map(|_| "client.example".to_owned());
    Grant { issuer, client, refresh_token: "1//refresh".into(), access, scopes }
}

#[test]
fn what_was_sealed_opens_again() {
    let keeper = sealer("1", 7);
    let sealed = keeper.seal(ANNA, &basic(), &SystemDice).unwrap();
    let opened = keeper.open(ANNA, &sealed).unwrap();
    let Kept::Fixed(Credentials::Basic { username, password }) = opened else {
        panic!("basic credentials open as basic ones");
    };
    assert_eq!((username.as_str(), password.expose_secret()), ("anna", "päss \"\u{1}word"));

    let sealed = keeper.seal(ANNA, &bearer(), &SystemDice).unwrap();
    let Kept::Fixed(Credentials::Bearer { token }) = keeper.open(ANNA, &sealed).unwrap() else {
        panic!("a token opens as a token");
    };
    assert_eq!(token.expose_secret(), "ya29.token");
}

#[test]
fn a_grant_opens_as_it_was() {
    let keeper = sealer("1", 7);
    let at = |seconds| DateTime::<Utc>::from_timestamp_secs(seconds).unwrap();
    let lifetime = Lifetime { refresh_at: at(100), expires_at: at(400) };
    let access = |lifetime| Some(Access { token: "ya29.now".into(), lifetime });
    let tenant = || Issuer::Microsoft(Tenant::parse("contoso.example").unwrap());
    for given in [
        grant(Issuer::Google, None, None),
        grant(Issuer::Google, access(None), Some("a b")),
        grant(tenant(), access(Some(lifetime)), Some("Calendars.ReadWrite")),
    ] {
        let sealed = keeper.seal(ANNA, &Kept::Grant(given.clone()), &SystemDice).unwrap();
        let Kept::Grant(opened) = keeper.open(ANNA, &sealed).unwrap() else {
            panic!("a grant opens as a grant");
        };
        assert_eq!((&opened.issuer, &opened.scopes), (&given.issuer, &given.scopes));
        assert_eq!(opened.refresh_token.expose_secret(), "1//refresh");
        let parts = |access: Option<Access>| {
            access.map(|it| (it.token.expose_secret().to_owned(), it.lifetime))
        };
        assert_eq!(parts(opened.access), parts(given.access));
    }
}

#[test]
fn a_service_accounts_key_opens_as_it_was() {
    let keeper = sealer("1", 7);
    let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let key = ServiceKey {
        client_email: "robot@project.iam.gserviceaccount.com".to_owned(),
        client_id: "1137622".to_owned(),
        key_id: "abc".to_owned(),
        private_key: pem.into(),
    };
    let lifetime = Lifetime::of(
        DateTime::from_timestamp_secs(100).unwrap(),
        std::time::Duration::from_hours(1),
    );
    let access = Access { token: "ya29.now".into(), lifetime: Some(lifetime) };
    for access in [None, Some(access)] {
        let (user, scopes) = ("anna@example.com".to_owned(), "a b".to_owned());
        let given = Delegated { key: key.clone(), user, scopes, access };
        let kept = Kept::Delegated(Box::new(given.clone()));
        let sealed = keeper.seal(ANNA, &kept, &SystemDice).unwrap();
        let Kept::Delegated(opened) = keeper.open(ANNA, &sealed).unwrap() else {
            panic!("a key opens as a key");
        };
        assert_eq!(opened.key.private_key.expose_secret(), pem);
        let names = |it: &Delegated| {
            let ServiceKey { client_email, client_id, key_id, .. } = it.key.clone();
            (client_email, client_id, key_id, it.user.clone(), it.scopes.clone())
        };
        assert_eq!(names(&opened), names(&given));
        let access = |it: &Delegated| {
            it.access.as_ref().map(|it| (it.token.expose_secret().to_owned(), it.lifetime))
        };
        assert_eq!(access(&opened), access(&given));
    }
}

/// What an earlier version has sealed is in the databases: bytes of its making, with key 7.
#[test]
fn what_an_earlier_version_sealed_still_opens() {
    let sealed = HEXLOWER.decode(EARLIER.as_bytes()).unwrap();
    let Kept::Fixed(Credentials::Basic { username, password }) =
        sealer("1", 7).open(ANNA, &sealed).unwrap()
    else {
        panic!("basic credentials open as basic ones");
    };
    assert_eq!((username.as_str(), password.expose_secret()), ("anna", "päss \"\u{1}word"));
}

#[test]
fn an_old_key_opens_and_seals_no_more() {
    let sealed = sealer("old", 7).seal(ANNA, &bearer(), &SystemDice).unwrap();
    let both = sealer("new", 8).opening("old", &key(7));
    assert!(both.open(ANNA, &sealed).is_ok());
    let again = both.seal(ANNA, &bearer(), &SystemDice).unwrap();
    assert!(sealer("new", 8).open(ANNA, &again).is_ok(), "the new key alone opens it");
}

#[test]
fn what_is_sealed_anew_opens_with_the_new_key_alone_and_is_done_once() {
    let sealed = sealer("old", 7).seal(ANNA, &basic(), &SystemDice).unwrap();
    let both = sealer("new", 8).opening("old", &key(7));
    let anew = both.reseal(ANNA, &sealed, &SystemDice).unwrap().unwrap();
    let opened = sealer("new", 8).open(ANNA, &anew).unwrap();
    assert!(matches!(opened, Kept::Fixed(Credentials::Basic { .. })));
    assert_eq!(both.reseal(ANNA, &anew, &SystemDice).unwrap(), None);
    both.reseal(BEN, &sealed, &SystemDice).unwrap_err();
}

#[test]
fn sealed_bytes_show_nothing_and_never_repeat() {
    let keeper = sealer("1", 7);
    let one = keeper.seal(ANNA, &bearer(), &SystemDice).unwrap();
    let two = keeper.seal(ANNA, &bearer(), &SystemDice).unwrap();
    assert!(!one.windows(4).any(|bytes| bytes == b"ya29"));
    assert_ne!(one, two);
}

#[test]
fn another_key_is_named() {
    let sealed = sealer("old", 7).seal(ANNA, &basic(), &SystemDice).unwrap();
    assert_eq!(
        sealer("new", 8).open(ANNA, &sealed).unwrap_err(),
        SealError::OtherKey {
            connection: ANNA,
            sealed_with: "old".to_owned(),
            key_id: "new".to_owned()
        }
    );
    assert_eq!(
        sealer("old", 8).open(ANNA, &sealed).unwrap_err(),
        SealError::WrongKey { connection: ANNA, key_id: "old".to_owned() }
    );
}

#[test]
fn sealed_bytes_of_another_connection_do_not_open() {
    let keeper = sealer("1", 7);
    let sealed = keeper.seal(ANNA, &basic(), &SystemDice).unwrap();
    let error = keeper.open(BEN, &sealed).unwrap_err();
    assert_eq!(error, SealError::WrongKey { connection: BEN, key_id: "1".to_owned() });
}

#[test]
fn damaged_bytes_are_errors_at_every_place() {
    let keeper = sealer("1", 7);
    let sealed = keeper.seal(ANNA, &basic(), &SystemDice).unwrap();
    for len in 0..sealed.len() {
        keeper.open(ANNA, &sealed[..len]).unwrap_err();
    }
    for at in 0..sealed.len() {
        let mut other = sealed.clone();
        other[at] ^= 1;
        keeper.open(ANNA, &other).unwrap_err();
    }
    assert_eq!(keeper.open(ANNA, &[]).unwrap_err(), SealError::Empty { connection: ANNA });
}

#[test]
fn a_sealer_shows_no_key() {
    let shown = format!("{:?}", sealer("1", 7).opening("0", &key(8)));
    assert_eq!(shown, "Sealer { key_id: \"1\", old: [\"0\"], .. }");
}
