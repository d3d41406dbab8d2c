//! PURE: what a `multistatus` (RFC 4918 §14.16) says of principals, homes and calendars. The body is a
//! stranger's: namespaces are obeyed, document types refused, and size, nodes and namespaces bounded.

use roxmltree::Node;

use super::xml::{self, child, children, text};
use super::{CALDAV, DAV};

/// The most nodes that a body may have.
const NODES_MAX: u32 = 50_000;
/// The longest name of a calendar that is kept, in characters.
const NAME_LEN_MAX: usize = 200;
/// The longest sync token that is kept, in bytes.
const SYNC_TOKEN_LEN_MAX: usize = 2_000;

/// What one `response` says; what it does not say with a 200 is not there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    /// As it stands there.
    pub(super) href: String,
    /// The status of the resource as a whole, if one is given; properties have their own.
    pub(super) status: Option<u16>,
    /// `current-user-principal` (RFC 5397).
    pub(super) principal: Option<Principal>,
    /// `calendar-home-set` (RFC 4791 §6.2.1), hrefs as they stand there.
    pub(super) homes: Vec<String>,
    /// `displayname`.
    pub(super) name: Option<String>,
    /// Whether `resourcetype` has CalDAV's `calendar`.
    pub(super) is_calendar: bool,
    /// Whether events can be put there. Where nothing is said of components, all are welcome
    /// (RFC 4791 §5.2.3).
    pub(super) takes_events: bool,
    /// `current-user-privilege-set`.
    pub(super) access: Access,
    /// Whether `supported-report-set` has `sync-collection` (RFC 6578).
    pub(super) syncs: bool,
    /// `sync-token`.
    pub(super) sync_token: Option<String>,
}

/// Who is asking.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Principal {
    /// Whom this names.
    Href(String),
    /// Nobody that the server knows.
    Unauthenticated,
}

/// What may be done to a calendar.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Events can be made, changed and removed.
    Writable,
    /// They can only be read.
    ReadOnly,
    /// The server does not say.
    #[default]
    NotSaid,
}

/// All responses of a multistatus, in order. `None`: the body is no multistatus, or exceeds a bound.
pub(super) fn read(body: &[u8]) -> Option<Vec<Member>> {
    let document = xml::multistatus(body, NODES_MAX)?;
    Some(xml::responses(&document).map(member).collect())
}

fn member(response: Node<'_, '_>) -> Member {
    let href = child(response, DAV, "href").map(text).unwrap_or_default();
    let status = xml::status(response);
    let mut member = Member { href, status, takes_events: true, ..Member::default() };
    for property in xml::properties(response) {
        member.take(property);
    }
    member
}

impl Member {
    fn take(&mut self, property: Node<'_, '_>) {
        let name = property.tag_name();
        match (name.namespace(), name.name()) {
            (Some(DAV), "current-user-principal") => self.principal = principal(property),
            (Some(CALDAV), "calendar-home-set") => {
                self.homes = children(property, DAV, "href").map(text).collect();
            }
            (Some(DAV), "displayname") => {
                let name: String = text(property).chars().take(NAME_LEN_MAX).collect();
                self.name = (!name.is_empty()).then_some(name);
            }
            (Some(DAV), "resourcetype") => {
                self.is_calendar = child(property, CALDAV, "calendar").is_some();
            }
            (Some(CALDAV), "supported-calendar-component-set") => {
                self.takes_events = children(property, CALDAV, "comp").any(|component| {
                    component.attribute("name").is_some_and(|it| it.eq_ignore_ascii_case("VEVENT"))
                });
            }
            (Some(DAV), "current-user-privilege-set") => self.access = access(property),
            (Some(DAV), "supported-report-set") => {
                self.syncs =
                    property.descendants().any(|node| node.has_tag_name((DAV, "sync-collection")));
            }
            (Some(DAV), "sync-token") => {
                let token = text(property);
                let fits = (1..=SYNC_TOKEN_LEN_MAX).contains(&token.len());
                self.sync_token = fits.then_some(token);
            }
            _ => {}
        }
    }
}

fn principal(property: Node<'_, '_>) -> Option<Principal> {
    if child(property, DAV, "unauthenticated").is_some() {
        return Some(Principal::Unauthenticated);
    }
    child(property, DAV, "href").map(text).map(Principal::Href)
}

/// To make, change and remove a member takes three privileges of a collection (RFC 3744 §§3.3, 3.9,
/// 3.10); `write` has all of them in it, `all` has `write`.
fn access(property: Node<'_, '_>) -> Access {
    let granted: Vec<&str> = children(property, DAV, "privilege")
        .flat_map(|privilege| privilege.children())
        .filter(|node| node.tag_name().namespace() == Some(DAV))
        .map(|node| node.tag_name().name())
        .collect();
    let has = |name: &&str| granted.contains(name);
    if ["all", "write"].iter().any(has) || ["write-content", "bind", "unbind"].iter().all(has) {
        Access::Writable
    } else {
        Access::ReadOnly
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(properties: &str) -> Member {
        let body = format!(
            "<d:multistatus xmlns:d='DAV:' xmlns:c='urn:ietf:params:xml:ns:caldav'><d:response>\
             <d:href>/a/</d:href><d:propstat><d:prop>{properties}</d:prop>\
             <d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>"
        );
        let mut members = read(body.as_bytes()).expect("a multistatus");
        assert_eq!(members.len(), 1);
        members.remove(0)
    }

    #[test]
    fn a_calendar_says_what_it_is() {
        let member = of("<d:displayname>Work &amp; <!-- x --><![CDATA[<play>]]></d:displayname>\
             <d:resourcetype><d:collection/><c:calendar/></d:resourcetype>\
             <c:supported-calendar-component-set><c:comp name='VTODO'/><c:comp name='vevent'/>\
             </c:supported-calendar-component-set>\
             <d:current-user-privilege-set><d:privilege><d:read/></d:privilege>\
             <d:privilege><d:write/></d:privilege></d:current-user-privilege-set>\
             <d:supported-report-set><d:supported-report><d:report><d:sync-collection/></d:report>\
             </d:supported-report></d:supported-report-set>\
             <d:sync-token>http://h/ns/sync/7</d:sync-token>");
        let expected = Member {
            href: "/a/".to_owned(),
            name: Some("Work & <play>".to_owned()),
            is_calendar: true,
            takes_events: true,
            access: Access::Writable,
            syncs: true,
            sync_token: Some("http://h/ns/sync/7".to_owned()),
            ..Member::default()
        };
        assert_eq!(member, expected);
    }

    #[test]
    fn what_is_not_said_is_not_assumed_but_for_the_components() {
        let silent = Member { href: "/a/".to_owned(), takes_events: true, ..Member::default() };
        assert_eq!(of(""), silent);
        assert!(!of("<c:supported-calendar-component-set/>").takes_events);
        assert_eq!(of("<d:displayname> </d:displayname>").name, None);
    }

    #[test]
    fn writing_takes_every_privilege_that_it_needs() {
        let granting = |names: &[&str]| {
            let privilege = |name: &&str| format!("<d:privilege><{name}/></d:privilege>");
            let privileges = names.iter().map(privilege).collect::<Vec<_>>().concat();
            of(&format!(
                "<d:current-user-privilege-set>{privileges}</d:current-user-privilege-set>"
            ))
            .access
        };
        assert_eq!(granting(&["d:all"]), Access::Writable);
        assert_eq!(granting(&["d:write-content", "d:bind", "d:unbind"]), Access::Writable);
        for short in [
            &[][..],
            &["d:read"],
            &["d:write-properties"],
            &["d:write-content", "d:bind"],
            &["c:write"],
        ] {
            assert_eq!(granting(short), Access::ReadOnly, "{short:?}");
        }
    }

    #[test]
    fn a_property_counts_only_with_its_own_200() {
        let body = br#"<multistatus xmlns="DAV:"><response><href>/a/</href>
            <propstat><prop><displayname>No</displayname></prop><status>HTTP/1.1 403 No 200</status>
            </propstat>
            <propstat><prop><sync-token>none</sync-token></prop></propstat>
            <propstat><prop><current-user-principal><href> /p/ </href></current-user-principal></prop>
            <status>HTTP/1.1 200 OK</status></propstat></response></multistatus>"#;
        let members = read(body).expect("a multistatus");
        let principal = Some(Principal::Href("/p/".to_owned()));
        let expected =
            Member { href: "/a/".to_owned(), principal, takes_events: true, ..Member::default() };
        assert_eq!(members, [expected]);
    }

    #[test]
    fn a_resource_can_have_a_status_of_its_own() {
        let body = b"<m:multistatus xmlns:m='DAV:'><m:response><m:href>/a/</m:href>\
            <m:status>HTTP/1.1 404 Not Found</m:status></m:response></m:multistatus>";
        assert_eq!(read(body).expect("a multistatus")[0].status, Some(404));
        assert_eq!(of("").status, None);
    }

    #[test]
    fn another_namespaces_names_are_other_names() {
        let body = br#"<multistatus xmlns="DAV:" xmlns:x="urn:x"><x:response/><response>
            <href>/a/</href><propstat><status>HTTP/1.1 200 OK</status><prop>
            <x:displayname>No</x:displayname><resourcetype><calendar/><x:calendar/></resourcetype>
            </prop></propstat></response></multistatus>"#;
        let members = read(body).expect("a multistatus");
        assert_eq!(members.len(), 1);
        assert_eq!((&members[0].name, members[0].is_calendar), (&None, false));
        assert_eq!(read(b"<multistatus/>"), None);
        assert_eq!(read(b"<multistatus xmlns='urn:x'/>"), None);
    }

    #[test]
    fn hostile_bodies_are_no_multistatus() {
        let around = |inner: &str| format!("<multistatus xmlns='DAV:'>{inner}</multistatus>");
        let deep = around(&"<a>".repeat(200_000));
        let closed = around(&format!("{}{}", "<a>".repeat(49_000), "</a>".repeat(49_000)));
        let many = around(&"<a/>".repeat(60_000));
        let names: Vec<_> = (0..5_000).map(|number| format!("<a xmlns:n{number}='u'>")).collect();
        let names = names.concat();
        let inherited = around(&format!("{names}{}", "</a>".repeat(5_000)));
        let entity = "<!DOCTYPE m [<!ENTITY e 'x'>]><multistatus xmlns='DAV:'>&e;</multistatus>";
        let outside =
            "<!DOCTYPE m SYSTEM 'http://127.0.0.1:1/'><multistatus xmlns='DAV:'></multistatus>";
        let cut = "<multistatus xmlns='DAV:'><response><href>/a/</hre";
        for body in ["", "Hello", &deep, &many, &inherited, entity, outside, cut, "<html/>"] {
            assert_eq!(read(body.as_bytes()), None, "{body:.80}");
        }
        assert_eq!(read(&[0xff, 0xfe]), None);
        // As deep as the bound allows: no stack ends by it.
        assert_eq!(read(closed.as_bytes()), Some(Vec::new()));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let member = of(&format!(
            "<d:displayname>{}</d:displayname><d:sync-token>{}</d:sync-token>",
            "ä".repeat(NAME_LEN_MAX + 1),
            "x".repeat(SYNC_TOKEN_LEN_MAX + 1)
        ));
        assert_eq!(member.name, Some("ä".repeat(NAME_LEN_MAX)));
        assert_eq!(member.sync_token, None);
    }
}
