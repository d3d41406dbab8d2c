//! The iCalendar text of an event.
