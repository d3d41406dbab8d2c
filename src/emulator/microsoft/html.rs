//! Bodies, as Exchange keeps them: whatever was sent, a page of HTML is stored.

/// How many letters of the text `bodyPreview` shows.
const PREVIEW_LEN_MAX: usize = 255;

/// The page that a text becomes.
pub(super) fn of_text(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut lines = String::with_capacity(text.len());
    for letter in text.replace("\r\n", "\n").chars() {
        match letter {
            '&' => lines.push_str("&amp;"),
            '<' => lines.push_str("&lt;"),
            '>' => lines.push_str("&gt;"),
            '"' => lines.push_str("&quot;"),
            '\n' => lines.push_str("<br>\r\n"),
            letter => lines.push(letter),
        }
    }
    format!(
        "<html><head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\">\
         <meta name=\"Generator\" content=\"Microsoft Exchange Server\">\r\n\
         <!-- converted from text --><style><!-- .EmailQuote {{ margin-left: 1pt; padding-left: \
         4pt; border-left: #800000 2px solid; }} --></style></head>\r\n<body>\r\n\
         <font size=\"2\"><span style=\"font-size:11pt;\"><div class=\"PlainText\">{lines}\
         </div></span></font>\r\n</body>\r\n</html>\r\n"
    )
}

/// What a page or a part of one becomes: whole, and without what could run.
pub(super) fn of_html(html: &str) -> String {
    if html.is_empty() {
        return String::new();
    }
    let safe = without(html, "<script", "</script>");
    if safe.to_ascii_lowercase().contains("<html") {
        return safe;
    }
    format!(
        "<html>\r\n<head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; \
         charset=utf-8\">\r\n</head>\r\n<body>\r\n{safe}\r\n</body>\r\n</html>\r\n"
    )
}

/// A page without the elements of a kind.
fn without(html: &str, open: &str, close: &str) -> String {
    // Lower-casing ASCII alone keeps every offset.
    let lower = html.to_ascii_lowercase();
    let mut kept = String::with_capacity(html.len());
    let mut at = 0;
    while let Some(found) = lower.get(at..).and_then(|rest| rest.find(open)) {
        kept.push_str(html.get(at..at + found).unwrap_or_default());
        let end = lower.get(at + found..).and_then(|rest| rest.find(close));
        at = end.map_or(html.len(), |end| at + found + end + close.len());
    }
    kept.push_str(html.get(at..).unwrap_or_default());
    kept
}

/// The text of a page.
pub(super) fn to_text(html: &str) -> String {
    let body = without(&without(html, "<head", "</head>"), "<!--", "-->");
    let mut text = String::with_capacity(body.len());
    let mut rest = body.as_str();
    while let Some((before, after)) = rest.split_once('<') {
        // A line's end in the page is no line's end in the text.
        text.push_str(&before.replace(['\r', '\n'], ""));
        let (tag, after) = after.split_once('>').unwrap_or((after, ""));
        let name = tag.split([' ', '/']).find(|name| !name.is_empty()).unwrap_or_default();
        let ends_line = name.eq_ignore_ascii_case("br")
            || (tag.starts_with('/')
                && ["p", "div"].iter().any(|it| name.eq_ignore_ascii_case(it)));
        if ends_line {
            text.push_str("\r\n");
        }
        rest = after;
    }
    text.push_str(&rest.replace(['\r', '\n'], ""));
    // The ampersand last: what it hides is no entity.
    let plain = text
        .replace("&nbsp;", " ")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&");
    plain.trim().to_owned()
}

/// `bodyPreview`.
pub(super) fn preview(html: &str) -> String {
    to_text(html).chars().take(PREVIEW_LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_a_page_and_reads_as_the_text() {
        for text in ["two\r\nlines", "a < b && \"c\" > 'd' &amp; &lt;", "שלום 🦀", ""] {
            assert_eq!(to_text(&of_text(text)), text);
        }
        assert!(of_text("x").starts_with("<html>"));
    }

    #[test]
    fn a_part_of_a_page_becomes_a_whole_one_without_scripts() {
        let page = of_html("<p>hi<SCRIPT>alert(1)</script> you</p>");
        assert!(page.starts_with("<html>") && page.ends_with("</html>\r\n"));
        assert_eq!(to_text(&page), "hi you");
        assert_eq!(of_html("<html><body>x</body></html>"), "<html><body>x</body></html>");
    }

    #[test]
    fn what_is_no_page_is_read_all_the_same() {
        for broken in ["<", "<script", "a<b", "<!--", "&", "<head>", "<é", ">"] {
            to_text(&of_html(broken));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_becomes_a_page_and_reads_as_itself(text in "[<>&;\"'a-zé🦀/!-]{0,40}") {
            proptest::prop_assert_eq!(to_text(&of_text(&text)), text.as_str());
            // It panics at none.
            to_text(&of_html(&text));
        }
    }

    #[test]
    fn a_preview_is_short() {
        assert_eq!(preview(&of_text(&"é".repeat(500))).chars().count(), 255);
    }
}
