//! What is a filter, and what is none.

use super::*;

const ID: &str = "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name own";

#[test]
fn a_property_is_asked_for_by_id_and_value() {
    let text =
        format!("singleValueExtendedProperties/Any(ep: ep/id eq '{ID}' and ep/value eq 'it''s')");
    let Filter::Property(id, Comparison::Is(value)) = Filter::parse(&text).unwrap() else {
        panic!("it is one");
    };
    assert_eq!((id.to_string().as_str(), value.as_str()), (ID, "it's"));
}

#[test]
fn values_compare_without_regard_to_case_and_names_with() {
    assert!(Comparison::Is("ÀB".to_owned()).holds(Some("àb")));
    assert!(!Comparison::Is("ab".to_owned()).holds(None));
    assert!(Comparison::IsNot("ab".to_owned()).holds(None));
    assert!(Comparison::StartsWith("A".to_owned()).holds(Some("ab")));
    assert!(Comparison::Contains("B".to_owned()).holds(Some("ab")));
}

#[test]
fn filters_join() {
    for text in [
        "subject eq 'x' and not (isAllDay eq true or start/dateTime ge '2026-11-23T09:00:00')",
        "start/dateTime ge 2026-11-23T09:00:00Z and end/dateTime lt 2026-11-24T09:00:00Z",
        "contains(subject,'a, b') or startswith(subject,'x')",
        "iCalUId ne 'x'",
    ] {
        Filter::parse(text).unwrap();
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_filter_or_refused(text in "[()':, a-zA-Z/é0-9-]{0,60}") {
        // It panics at none.
        drop(Filter::parse(&text));
        let begun = "singleValueExtendedProperties/Any(ep: ep/id eq '";
        drop(Filter::parse(&[begun, &text].concat()));
    }
}

#[test]
fn what_is_no_filter_is_refused() {
    let deep = format!("{}subject eq 'x'{}", "(".repeat(99), ")".repeat(99));
    let long = vec!["subject eq 'x'"; 999].join(" or ");
    let property = |inner: &str| format!("singleValueExtendedProperties/Any(ep: {inner})");
    for text in [
        String::new(),
        "subject".to_owned(),
        "subject eq".to_owned(),
        "subject eq 'x".to_owned(),
        "subject eq 'x' and".to_owned(),
        "subject eq 'x' subject eq 'x'".to_owned(),
        "subject gt 'x'".to_owned(),
        "isAllDay eq 'true'".to_owned(),
        "start/dateTime ge 'soon'".to_owned(),
        "transactionId eq 'x'".to_owned(),
        "title eq 'x'".to_owned(),
        "subject eq \"x\"".to_owned(),
        "(subject eq 'x'".to_owned(),
        "contains(subject)".to_owned(),
        property(""),
        property("ep/id eq 'x' and ep/value eq 'y'"),
        property(&format!("ep/id eq '{ID}'")),
        property(&format!("ep/value eq 'y' and ep/id eq '{ID}'")),
        property(&format!("ep/id eq '{ID}' and ep/value gt 'y'")),
        property(&format!("x/id eq '{ID}' and ep/value eq 'y'")),
        property(&format!("ep/id eq '{ID}' and ep/value eq 'it's'")),
        deep,
        long,
    ] {
        assert!(Filter::parse(&text).is_err(), "{text}");
    }
}
