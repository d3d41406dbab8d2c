//! How calendars list their events.

use super::super::switches::Listing;
use super::super::{ListAsk, ListSaid};
use super::*;

fn holding(kind: Kind, set: impl FnOnce(&mut Listing)) -> Desk {
    Desk::holding(kind, |switches| {
        switches.listing.tells_changes = kind != Kind::Microsoft;
        set(&mut switches.listing);
    })
}

fn list(desk: &mut Desk, since: Option<&str>, page: Option<&str>) -> ListSaid {
    let own = |text: Option<&str>| text.map(ToOwned::to_owned);
    desk.calendar.list(desk.now, &ListAsk { since: own(since), page: own(page) })
}

/// Ids of live events with whether they differ, ids of deleted ones, the next page, the token.
type Told = (Vec<(String, Option<bool>)>, Vec<String>, Option<String>, Option<String>);

#[track_caller]
fn told(said: ListSaid) -> Told {
    let ListSaid::Page { events, deleted, next, since } = said else { panic!("{said:?}") };
    let id = |(event, differs): (Event, Option<bool>)| (event.id().to_owned(), differs);
    (events.into_iter().map(id).collect(), deleted, next, since)
}

#[test]
fn all_is_listed_a_page_at_a_time_and_as_it_was_at_the_first_one() {
    for kind in [Kind::Google, Kind::Microsoft, Kind::Caldav] {
        let mut desk = holding(kind, |it| it.page_len = 1);
        desk.host(&Deed::Add);
        let (first, _, next, since) = told(list(&mut desk, None, None));
        assert_eq!((first.len(), &since), (1, &None));
        desk.host(&Deed::Add);
        let (second, _, last, since) = told(list(&mut desk, None, next.as_deref()));
        assert_eq!((second.len(), &last), (1, &None));
        assert_ne!(first, second);
        assert_eq!(since.is_some(), kind != Kind::Microsoft);
    }
}

#[test]
fn a_token_brings_what_has_changed_since_the_first_page() {
    for kind in [Kind::Google, Kind::Caldav] {
        let mut desk = holding(kind, |_| {});
        let (_, _, _, since) = told(list(&mut desk, None, None));
        assert!(told(list(&mut desk, since.as_deref(), None)).0.is_empty());
        desk.host(&Deed::Edit { name: name(kind), title: true, time: false });
        let (changed, _, _, later) = told(list(&mut desk, since.as_deref(), None));
        assert_eq!(changed, [(name(kind), Some(true))]);
        desk.host(&Deed::Delete { name: name(kind) });
        let (changed, deleted, ..) = told(list(&mut desk, later.as_deref(), None));
        assert_eq!((changed, deleted), (vec![], vec![name(kind)]));
    }
}

#[test]
fn what_was_written_over_differs_no_more() {
    for kind in [Kind::Google, Kind::Microsoft, Kind::Caldav] {
        let mut desk = holding(kind, |_| {});
        let differs = |desk: &mut Desk| told(list(desk, None, None)).0[0].1;
        desk.host(&Deed::Edit { name: name(kind), title: true, time: false });
        assert_eq!(differs(&mut desk), Some(true));
        desk.update(1, None);
        assert_eq!(differs(&mut desk), Some(false));
    }
}

#[test]
fn a_listing_lags_behind_and_loses_nothing_by_it() {
    let mut desk = holding(Kind::Google, |it| it.lags = MINUTE);
    desk.wait(ALMOST_A_MINUTE);
    let (none, _, _, since) = told(list(&mut desk, None, None));
    assert!(none.is_empty());
    desk.wait(SECOND);
    let (some, ..) = told(list(&mut desk, since.as_deref(), None));
    assert_eq!(some, [(name(Kind::Google), Some(false))]);
}

#[test]
fn a_token_is_good_for_its_time_and_none_for_another_calendar() {
    let mut desk = holding(Kind::Google, |it| it.tokens_kept_for = Some(HOUR));
    let (_, _, _, since) = told(list(&mut desk, None, None));
    desk.wait(HOUR);
    assert!(matches!(list(&mut desk, since.as_deref(), None), ListSaid::Page { .. }));
    desk.wait(SECOND);
    assert_eq!(list(&mut desk, since.as_deref(), None), ListSaid::Expired);
    assert_eq!(list(&mut desk, Some("of another"), None), ListSaid::Expired);
    assert_eq!(list(&mut desk, None, Some("of another")), ListSaid::Expired);
    let mut graph = holding(Kind::Microsoft, |_| {});
    assert_eq!(list(&mut graph, since.as_deref(), None), ListSaid::Expired);
}

#[test]
fn not_every_calendar_can_be_asked() {
    let mut desk = holding(Kind::Caldav, |it| it.is_supported = false);
    assert!(!desk.calendar.is_listed());
    assert_eq!(list(&mut desk, None, None), ListSaid::Unsupported);
}

/// Graph makes its ids itself.
#[test]
fn an_event_of_graphs_is_found_by_its_id_at_once_and_a_copy_by_no_name() {
    let set = |it: &mut Switches| it.microsoft.lookup_lags = MINUTE;
    let mut desk = Desk::holding(Kind::Microsoft, set);
    let id = desk.only().id().to_owned();
    assert_ne!(id, name(Kind::Microsoft));
    let by_id = Ask::Read { name: id.clone() };
    assert!(matches!(desk.ask(&by_id), Said::Live { .. }));
    assert_eq!(desk.read(), Said::Absent);
    desk.host(&Deed::Copy { name: name(Kind::Microsoft) });
    desk.wait(MINUTE);
    let found = |said: Said| {
        let Said::Live { event, .. } = said else { panic!("it is not there") };
        event.id().to_owned()
    };
    assert_eq!(found(desk.read()), id);
    assert_eq!(done(&desk.ask(&Ask::Delete { name: id, if_match: None })), 204);
    assert_eq!(desk.ask(&by_id), Said::Absent);
    assert_eq!(desk.read(), Said::Absent);
    assert_eq!(desk.calendar.live().len(), 1);
}
