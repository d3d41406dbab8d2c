//! PURE: the XML of `WebDAV`, as far as it is alike in all answers. A body is a stranger's: namespaces are
//! obeyed, document types refused, and nodes, namespaces and attributes bounded; who fetches it bounds
//! its size.

use roxmltree::{Document, Node, ParsingOptions};

use super::DAV;

/// The most namespaces that a body may declare: elements inherit each other's, so that what the parser
/// needs for them grows with the square of their number.
const NAMESPACES_MAX: usize = 4_096;

/// The most attributes that an element may have: the parser compares each with all others of its element.
const ATTRIBUTES_MAX: usize = 64;

/// A body that the parser can be given: text in which no element has too many attributes.
pub(super) fn bounded(body: &[u8]) -> Option<&str> {
    std::str::from_utf8(body).ok().filter(|text| attributes_max(text) <= ATTRIBUTES_MAX)
}

/// The most `=` outside of quotes in a tag. What is no tag ends where the parser has it end.
fn attributes_max(text: &str) -> usize {
    const OTHERS: [(&str, &str); 3] = [("<![CDATA[", "]]>"), ("<!--", "-->"), ("<?", "?>")];
    let mut most = 0;
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        if let Some((begin, end)) = OTHERS.iter().find(|(begin, _)| rest.starts_with(begin)) {
            let inside = &rest[begin.len()..];
            rest = inside.find(end).map_or("", |at| &inside[at + end.len()..]);
            continue;
        }
        let (mut quote, mut attributes) = (None, 0);
        let end = rest.bytes().position(|byte| {
            match (quote, byte) {
                (Some(open), _) if open == byte => quote = None,
                (None, b'"' | b'\'') => quote = Some(byte),
                (None, b'=') => attributes += 1,
                (Some(_) | None, _) => {}
            }
            quote.is_none() && byte == b'>'
        });
        most = most.max(attributes);
        rest = end.map_or("", |end| &rest[end + 1..]);
    }
    most
}

/// A `multistatus` (RFC 4918 §14.16) of at most `nodes_max` nodes, of which the parser needs some
/// hundred bytes for each. `None`: the body is none, or exceeds a bound.
pub(super) fn multistatus(body: &[u8], nodes_max: u32) -> Option<Document<'_>> {
    let text = bounded(body)?;
    if text.matches("xmlns").count() > NAMESPACES_MAX {
        return None;
    }
    let options = ParsingOptions { nodes_limit: nodes_max, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).ok()?;
    document.root_element().has_tag_name((DAV, "multistatus")).then_some(document)
}

/// Its responses, in order.
pub(super) fn responses<'a, 'input>(
    document: &'a Document<'input>,
) -> impl Iterator<Item = Node<'a, 'input>> {
    children(document.root_element(), DAV, "response")
}

/// The properties that a response tells with a 200; each `propstat` has a status of its own.
pub(super) fn properties<'a, 'input>(
    response: Node<'a, 'input>,
) -> impl Iterator<Item = Node<'a, 'input>> {
    children(response, DAV, "propstat")
        .filter(|propstat| status(*propstat) == Some(200))
        .flat_map(|propstat| children(propstat, DAV, "prop"))
        .flat_map(|prop| prop.children())
}

/// The status of a response, or of a `propstat`: `HTTP/1.1 200 OK`.
pub(super) fn status(node: Node<'_, '_>) -> Option<u16> {
    let line = child(node, DAV, "status").map(text)?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Its first child of a name.
pub(super) fn child<'a, 'input>(
    node: Node<'a, 'input>,
    namespace: &'static str,
    name: &'static str,
) -> Option<Node<'a, 'input>> {
    children(node, namespace, name).next()
}

/// Its children of a name.
pub(super) fn children<'a, 'input>(
    node: Node<'a, 'input>,
    namespace: &'static str,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.has_tag_name((namespace, name)))
}

/// All of an element's own text: a comment, or a section of character data, cuts it in pieces.
pub(super) fn text(node: Node<'_, '_>) -> String {
    let pieces = node.children().filter(Node::is_text).filter_map(|piece| piece.text());
    pieces.collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_attributes(count: usize) -> String {
        let attributes: Vec<String> = (0..count).map(|n| format!(" a{n} = '='")).collect();
        let attributes = attributes.concat();
        format!("<multistatus xmlns='DAV:'><response{attributes}/></multistatus>")
    }

    #[test]
    fn an_element_with_too_many_attributes_is_not_parsed() {
        let read = |count| multistatus(with_attributes(count).as_bytes(), 100).is_some();
        assert!(read(ATTRIBUTES_MAX));
        assert!(!read(ATTRIBUTES_MAX + 1));
        // Before it is even looked at whether it ends.
        assert_eq!(attributes_max("<a b='> c='"), 1);
        assert!(attributes_max(&format!("<a{}", " b=''".repeat(1_000_000))) > ATTRIBUTES_MAX);
    }

    #[test]
    fn only_attributes_count() {
        let many = "= ".repeat(ATTRIBUTES_MAX + 1);
        for text in [
            format!("<a>{many}</a>"),
            format!("<a><![CDATA[<b {many}]]></a>"),
            format!("<a><!-- <b {many} --></a>"),
            format!("<?x {many}?><a/>"),
            format!("<a b='{many}' c=\"> {many}\"/>"),
        ] {
            assert!(attributes_max(&text) <= 2, "{text:.40}");
        }
        // What begins after such a piece is looked at all the same.
        for before in ["<![CDATA[ > ]]>", "<!-- > -->", "<? > ?>"] {
            assert!(attributes_max(&format!("{before}<b {many}>")) > ATTRIBUTES_MAX, "{before}");
        }
    }
}
