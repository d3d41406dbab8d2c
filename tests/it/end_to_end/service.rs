pub(super) async fn what_is_published_is_in_the_calendar_once(_: &mut super::world::World) {}
pub(super) async fn a_rebalance_neither_loses_nor_repeats_anything(_: &mut super::world::World) {}
pub(super) async fn a_topic_read_again_from_offset_0_makes_no_call(_: &mut super::world::World) {}
