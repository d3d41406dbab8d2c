//! PURE: what a `multistatus` (RFC 4918 §14.16) says of a collection and its members. An address is what
//! it means, and an answer that is not understood in all its parts is none.

use roxmltree::Node;
use url::Url;

use super::super::xml::{self, child, children, text};
use super::super::{CALDAV, DAV};

/// The most nodes that it may have.
const NODES_MAX: u32 = 300_000;
/// The longest token that is kept, in bytes.
const TOKEN_LEN_MAX: usize = 2_000;
/// The longest name of an event that is kept, in bytes.
const NAME_LEN_MAX: usize = 1_024;

/// What one `response` says of a member.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    /// The last segment of its href, as it is meant: without its percent-encoding.
    pub(super) name: String,
    /// Its href, as it stands there.
    pub(super) href: String,
    pub(super) etag: Option<String>,
    pub(super) data: Option<String>,
    /// The status of the whole of it.
    pub(super) status: Option<u16>,
    /// That of its properties, where none is told with a 200.
    pub(super) untold: Option<u16>,
}

impl Member {
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.status, Some(404 | 410))
    }

    /// Whether nothing was read of it because it is not there any more.
    pub(super) fn has_gone(&self) -> bool {
        self.is_gone() || (self.data.is_none() && matches!(self.untold, Some(404 | 410)))
    }
}

/// What a `multistatus` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) list: Vec<Member>,
    /// The status of the collection itself.
    pub(super) own: Option<u16>,
    pub(super) sync_token: Option<String>,
}

/// What a `multistatus` says of the collection and its members, or why that is not known.
pub(super) fn members(body: &[u8], collection: &Url) -> Result<Members, &'static str> {
    let document = xml::multistatus(body, NODES_MAX).ok_or("it cannot be read")?;
    let fits = |token: &String| (1..=TOKEN_LEN_MAX).contains(&token.len()) && !token.contains('\n');
    let sync_token = child(document.root_element(), DAV, "sync-token").map(text).filter(fits);
    let mut members = Members { sync_token, ..Members::default() };
    for response in xml::responses(&document) {
        let href = child(response, DAV, "href").map(text).ok_or("a response is about nothing")?;
        match target(collection, &href) {
            Target::Collection => members.own = xml::status(response).or(members.own),
            Target::Member(name) => members.list.push(member(response, name, href)),
            Target::Below => {}
            Target::Elsewhere => return Err("it tells of another collection"),
        }
    }
    Ok(members)
}

/// What an href is about.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Collection,
    /// A member of this name.
    Member(String),
    /// A collection in the collection, or what is in it; or a name that no event of ours has.
    Below,
    Elsewhere,
}

/// Addresses are compared by what they mean: `@` and `%40` are one (RFC 3986 §6.2.2), the host and a
/// slash at the end of a collection are what a server makes of them.
fn target(collection: &Url, href: &str) -> Target {
    let Ok(url) = collection.join(href) else {
        return Target::Elsewhere;
    };
    let segments = |url: &Url| -> Vec<String> {
        url.path().trim_start_matches('/').split('/').map(decoded).collect()
    };
    let mut home = segments(collection);
    if home.last().is_some_and(String::is_empty) {
        home.pop();
    }
    let path = segments(&url);
    let Some(rest) = path.strip_prefix(&home[..]) else {
        return Target::Elsewhere;
    };
    match rest {
        [] => Target::Collection,
        [name] if name.is_empty() => Target::Collection,
        [name] if name.len() <= NAME_LEN_MAX && !name.contains(char::is_control) => {
            Target::Member(name.clone())
        }
        _ => Target::Below,
    }
}

/// A segment without its percent-encoding (RFC 3986 §2.1); as it stands where that is no text.
fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => {
                hex(*high).zip(hex(*low)).map(|(high, low)| (high << 4) | low)
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| segment.to_owned())
}

fn member(response: Node<'_, '_>, name: String, href: String) -> Member {
    let mut member = Member { name, href, status: xml::status(response), ..Member::default() };
    let told = children(response, DAV, "propstat").filter_map(xml::status);
    let told: Vec<u16> = told.collect();
    member.untold = told.first().copied().filter(|_| !told.contains(&200));
    for property in xml::properties(response) {
        if property.has_tag_name((DAV, "getetag")) {
            member.etag = Some(text(property));
        } else if property.has_tag_name((CALDAV, "calendar-data")) {
            member.data = Some(text(property));
        }
    }
    member
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection() -> Url {
        "http://dav.example.com/anna/work/".parse().unwrap()
    }

    fn read(inner: &str) -> Result<Members, &'static str> {
        let body = format!(
            "<d:multistatus xmlns:d='DAV:' xmlns:c='urn:ietf:params:xml:ns:caldav'>{inner}\
             </d:multistatus>"
        );
        members(body.as_bytes(), &collection())
    }

    #[test]
    fn members_are_told_with_what_they_hold_and_what_is_gone() {
        let found = read(
            "<d:response><d:href>/anna/work/</d:href><d:status>HTTP/1.1 507 Enough</d:status>\
             </d:response><d:response><d:href>/anna/work/a.ics</d:href><d:propstat><d:prop>\
             <d:getetag>\"1\"</d:getetag><c:calendar-data>BEGIN:<![CDATA[V&]]></c:calendar-data>\
             </d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>\
             <d:response><d:href>http://dav.example.com/anna/work/b.ics</d:href>\
             <d:status>HTTP/1.1 404 Not Found</d:status></d:response>\
             <d:response><d:href>/anna/work/sub/c.ics</d:href></d:response>\
             <d:sync-token>http://x/7</d:sync-token>",
        )
        .unwrap();
        let of = |name: &str| found.list.iter().find(|member| member.name == name).unwrap();
        assert_eq!((found.list.len(), found.own), (2, Some(507)));
        assert_eq!(of("a.ics").etag.as_deref(), Some("\"1\""));
        assert_eq!(of("a.ics").data.as_deref(), Some("BEGIN:V&"));
        assert_eq!(of("b.ics").status, Some(404));
        assert_eq!(found.sync_token.as_deref(), Some("http://x/7"));
    }

    #[test]
    fn what_is_refused_is_not_told() {
        let found = read(
            "<d:response><d:href>a.ics</d:href><d:propstat><d:prop><d:getetag>\"1\"</d:getetag>\
             </d:prop><d:status>HTTP/1.1 403 No</d:status></d:propstat></d:response>\
             <d:sync-token/>",
        )
        .unwrap();
        assert_eq!((found.list.len(), &found.list[0].etag, found.sync_token), (1, &None, None));
    }

    #[test]
    fn an_address_means_the_same_however_it_is_written() {
        let work: Url = "http://dav.example.com/a@b/my%20work/".parse().unwrap();
        for href in ["/a@b/my%20work/", "/a%40b/my%20work", "http://other/%61%40b/my work/", "."] {
            assert_eq!(target(&work, href), Target::Collection, "{href}");
        }
        for (href, name) in [
            ("/a%40b/my%20work/x.ics", "x.ics"),
            ("x%7Ey%c3%a9.ics", "x~yé.ics"),
            ("x%zz%4", "x%zz%4"),
            ("%ff.ics", "%ff.ics"),
        ] {
            assert_eq!(target(&work, href), Target::Member(name.to_owned()), "{href}");
        }
        for href in ["sub/", "sub/x.ics", "x%00.ics", &"x".repeat(NAME_LEN_MAX + 1)] {
            assert_eq!(target(&work, href), Target::Below, "{href}");
        }
        for href in ["/", "/x.ics", "/a@b/x.ics", "/a@b/my%20works/x.ics", "http://["] {
            assert_eq!(target(&work, href), Target::Elsewhere, "{href}");
        }
    }

    #[test]
    fn what_is_told_of_another_collection_is_not_told_of_this_one() {
        for inner in [
            "<d:response><d:href>/anna/d.ics</d:href></d:response>",
            "<d:response><d:status>HTTP/1.1 200 OK</d:status></d:response>",
        ] {
            assert!(read(inner).is_err(), "{inner}");
        }
        assert_eq!(read(""), Ok(Members::default()));
    }

    #[test]
    fn hostile_bodies_are_no_multistatus() {
        let names: Vec<String> = (0..5_000).map(|n| format!("<a xmlns:n{n}='u'>")).collect();
        let inherited = format!("{}{}", names.concat(), "</a>".repeat(5_000));
        for inner in [&inherited, &"<a>".repeat(200_000), &"<a/>".repeat(400_000)] {
            assert_eq!(read(inner), Err("it cannot be read"), "{inner:.60}");
        }
        let entity = "<!DOCTYPE m [<!ENTITY e 'x'>]><multistatus xmlns='DAV:'>&e;</multistatus>";
        for body in ["", "<html/>", "<multistatus/>", entity] {
            let found = members(body.as_bytes(), &collection());
            assert_eq!(found, Err("it cannot be read"), "{body}");
        }
    }
}
