use proptest::prelude::*;

use super::*;

const OURS: &str = "Please come\nfive minutes early.";

fn parts(shown: &str, form: Form) -> Parts {
    Parts::of(shown, form, Some(Run::of(Some(OURS))))
}

/// What the next update makes of it.
fn updated(shown: &str, form: Form, ours: Option<&str>) -> Option<String> {
    parts(shown, form).hers.map(|notes| notes.around(ours))
}

#[test]
fn a_run_is_read_as_it_was_written() {
    for text in [None, Some(""), Some(OURS), Some(" one ")] {
        let run = Run::of(text);
        assert_eq!(Run::parse(&run.to_string()), Some(run));
    }
    let digest = Run::of(None).digest;
    for none in ["", ":", "x", &format!("-1:{digest}"), &format!("100001:{digest}"), "1:ab"] {
        assert_eq!(Run::parse(none), None, "{none}");
    }
}

#[test]
fn our_text_alone_holds_nothing_of_hers() {
    for shown in
        [OURS, "Please come five\r\n minutes early.\n", "\u{a0}Please\tcome five minutes early."]
    {
        let parts = parts(shown, Form::Plain);
        assert_eq!(parts.hers, None, "{shown}");
        assert!(is_same(OURS, &parts.ours.unwrap()), "{shown}");
    }
}

#[test]
fn what_stands_before_and_after_our_words_is_hers_to_the_letter() {
    let new = Some("New.");
    for (shown, expected) in [
        ("Mine!  \n\nPlease come five minutes early.", "Mine!  \n\nNew."),
        ("Please come five minutes early.\n\n-  mine\n", "New.\n\n-  mine\n"),
        ("a Please come five minutes early. b", "a New. b"),
        // Twice: one is hers.
        (
            "Please come five minutes early. Please come five minutes early.",
            "New. Please come five minutes early.",
        ),
    ] {
        assert_eq!(updated(shown, Form::Plain, new).as_deref(), Some(expected));
        assert_eq!(updated(shown, Form::Either, new).as_deref(), Some(expected));
    }
    assert_eq!(updated("a Please come five minutes early. b", Form::Plain, None).unwrap(), "a  b");
}

#[test]
fn our_words_that_are_not_whole_are_an_edit_of_ours() {
    for shown in ["Please come ten minutes early.", "xPlease come five minutes early.", "mine", ""]
    {
        for form in [Form::Plain, Form::Either, Form::Page] {
            let parts = parts(shown, form);
            assert_eq!(parts.hers, None, "{shown}");
            assert_eq!(parts.ours.unwrap_or_default(), shown);
        }
    }
}

#[test]
fn where_we_wrote_none_all_of_it_is_hers_and_ours_comes_first() {
    let none = Some(Run::of(None));
    let notes = |shown, form| Parts::of(shown, form, none);
    assert_eq!(notes(" \n", Form::Plain), Parts { ours: None, hers: None });
    let mine = notes("mine", Form::Plain);
    assert_eq!(mine.ours, None);
    let text = mine.hers.unwrap();
    assert_eq!(text.around(Some(OURS)), format!("{OURS}\n\nmine"));
    assert_eq!(text.around(None), "mine");
    let page = notes("<html><body class=x><b>mine</b></body></html>", Form::Page).hers.unwrap();
    let around = page.around(Some("a & b"));
    assert_eq!(around, "<html><body class=x>a &amp; b<br>\r\n<br>\r\n<b>mine</b></body></html>");
    assert_eq!(page.around(None), "<html><body class=x><b>mine</b></body></html>");
}

/// What was written by another, or by an earlier version.
#[test]
fn without_a_run_all_of_it_counts_as_ours() {
    for form in [Form::Plain, Form::Either, Form::Page] {
        let parts = Parts::of("any text", form, None);
        assert_eq!(parts, Parts { ours: Some("any text".to_owned()), hers: None });
    }
}

#[test]
fn her_formatting_stays_and_tags_still_match() {
    let new = Some("New & <old>\nlines");
    let plain = "New &amp; &lt;old&gt;<br>\r\nlines";
    for (shown, expected) in [
        (
            "<p>Please come<br>five&nbsp;minutes early.</p><p style='x'>my <b>notes</b></p>",
            format!("<p>{plain}</p><p style='x'>my <b>notes</b></p>"),
        ),
        (
            "<div>Please come</div><div>five minutes <b>early</b>.</div><div>mine</div>",
            format!("<div>{plain}</div><div>mine</div>"),
        ),
        // A paragraph that begins among our words and ends after them.
        (
            "<p>Please come</p><p>five <i>minutes</i> early. mine</p>",
            format!("<p>{plain} mine</p>"),
        ),
        ("Please <u>come five minutes early. mine</u>", format!("{plain}<u> mine</u>")),
        (
            "<head><style>p { x }</style></head>Please come five minutes early.<!-- c --><br>mine",
            format!("<head><style>p {{ x }}</style></head>{plain}<!-- c --><br>mine"),
        ),
        (
            "Please<img src=\"x\"> come five minutes early. mine",
            format!("{plain}<img src=\"x\"> mine"),
        ),
    ] {
        assert_eq!(updated(shown, Form::Page, new), Some(expected.clone()), "{shown}");
        assert_eq!(updated(shown, Form::Either, new), Some(expected), "{shown}");
    }
}

/// What shows without a word is hers as well: we write words alone.
#[test]
fn a_picture_beside_our_words_is_hers() {
    let run = Some(Run::of(Some("Please come.")));
    let (map, rule) = ("<img src=\"cid:map\">", "<hr>");
    for (shown, expected) in [
        (format!("<p>Please come.</p>{map}"), format!("<p>Now go.</p>{map}")),
        (format!("{rule}Please come."), format!("{rule}Now go.")),
        (format!("Please {map} come."), format!("Now go.{map}")),
    ] {
        let hers = Parts::of(&shown, Form::Page, run).hers.expect("it shows more");
        assert_eq!(hers.around(Some("Now go.")), expected);
    }
    let none = Some(Run::of(None));
    assert!(Parts::of(&format!("<body>{map}</body>"), Form::Page, none).hers.is_some());
    for ours in ["<div>Please<br> <b>come</b>.</div>", "Please come.<!-- <img> -->"] {
        assert_eq!(Parts::of(ours, Form::Page, run).hers, None, "{ours}");
    }
}

#[test]
fn what_a_page_says_is_read_word_by_word() {
    for (html, said) in [
        ("a&amp;b &lt;i&gt; &#39;&#x41;&nbsp;c", "a&b <i> 'A c"),
        ("one<br>two<p>three</p>four", "one two three four"),
        ("wo<b>r</b>d", "word"),
        ("1 < 2 <3 &unknown; & <", "1 < 2 <3 &unknown; & <"),
        ("<title>no</title><SCRIPT>no</Script>yes<!-- no", "yes"),
        ("<style>no", ""),
        (
            "Gr&uuml;&szlig;e, caf&eacute;&hellip; &#252; &notit; &amp",
            "Grüße, café… ü &notit; &amp",
        ),
        ("<html><head><title>no</title><body>yes", "yes"),
    ] {
        assert_eq!(page::text(html), said, "{html}");
    }
    // Of work that grows with the square of it, this would take hours.
    page::text(&"<a".repeat(500_000));
    page::text(&"<style>".repeat(100_000));
    page::text(&"<!-- ".repeat(100_000));
}

#[test]
fn for_want_of_room_ours_is_cut_and_hers_is_not() {
    let notes = parts(&format!("{OURS}\n\nmine"), Form::Plain).hers.unwrap();
    let (whole, left) = notes.around_within(Some("0123456789"), 16);
    assert_eq!((whole.as_str(), left.as_deref()), ("0123456789\n\nmine", Some("0123456789")));
    let (cut, left) = notes.around_within(Some("0123456789"), 12);
    assert_eq!((cut.as_str(), left.as_deref()), ("01234…\n\nmine", Some("01234…")));
    assert!(is_same_or_cut("0123456789", "01234…") && !is_same_or_cut("0123456789", "x…"));
    assert!(!is_same("0123456789", "01234…"));
    assert_eq!(notes.around_within(Some("0"), 2), ("\n\nmine".to_owned(), None));
    assert_eq!(notes.around_within(None, 2).0, "\n\nmine");
}

proptest! {
    /// However often it is updated, hers stays to the letter; and what was updated twice is as if it
    /// had been updated once.
    #[test]
    fn notes_survive_any_updates(
        before in "([a-f<>&;]{0,3}[ \n]){0,4}",
        after in "([ \n][a-f<>&;]{0,3}){0,4}",
        texts in proptest::collection::vec("[A-F]{1,3}([ \n][A-F<&]{1,3}){0,4}|", 1..5),
    ) {
        let (first, later) = texts.split_first().unwrap();
        let mut last = first.clone();
        let mut shown = format!("{before}{last}{after}");
        let is_hers = !(before.trim().is_empty() && after.trim().is_empty());
        prop_assume!(!last.is_empty());
        for text in later {
            let parts = Parts::of(&shown, Form::Plain, Some(Run::of(Some(&last))));
            prop_assert_eq!(parts.hers.is_some(), is_hers);
            let Some(notes) = parts.hers else { break };
            shown = notes.around(Some(text));
            let again = Parts::of(&shown, Form::Plain, Some(Run::of(Some(text))));
            prop_assert_eq!(again.hers.unwrap().around(Some(text)), shown.as_str());
            for word in before.split_whitespace().chain(after.split_whitespace()) {
                prop_assert!(shown.split_whitespace().any(|it| it == word));
            }
            last.clone_from(text);
        }
    }

    /// It panics at none, and finds in each what was put there.
    #[test]
    fn any_page_keeps_hers_around_ours(
        before in "([<>&;/!#\" a-cé]|<b>|</b>|<p>|<br>|&amp;|<!--|<style>){0,12}",
        after in "([<>&;/!#\" a-cé]|<b>|</b>|<p>|<br>|&amp;|<!--|-->){0,12}",
    ) {
        let html = format!("{before}<p>{}</p>{after}", "OURS &amp; only");
        if let Some(parts) = page::parts(&html, Run::of(Some("OURS & only")))
            && let Some(notes) = parts.hers
        {
            prop_assert_eq!(notes.around(Some("OURS & only")), html.as_str());
            let next = notes.around(Some("NEXT"));
            let found = page::parts(&next, Run::of(Some("NEXT"))).expect("it was put there");
            prop_assert_eq!(found.hers.unwrap().around(Some("OURS & only")), html.as_str());
        }
    }
}
