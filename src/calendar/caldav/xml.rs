//! PURE: the XML of `WebDAV`, as far as it is alike in all answers. A body is a stranger's: namespaces are
//! obeyed, document types refused, and nodes and namespaces bounded; who fetches it bounds its size.

use roxmltree::{Document, Node, ParsingOptions};

use super::DAV;

/// The most namespaces that a body may declare: elements inherit each other's, so that what the parser
/// needs for them grows with the square of their number.
const NAMESPACES_MAX: usize = 4_096;

/// A `multistatus` (RFC 4918 §14.16) of at most `nodes_max` nodes, of which the parser needs some
/// hundred bytes for each. `None`: the body is none, or exceeds a bound.
pub(super) fn multistatus(body: &[u8], nodes_max: u32) -> Option<Document<'_>> {
    let text = std::str::from_utf8(body).ok()?;
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
