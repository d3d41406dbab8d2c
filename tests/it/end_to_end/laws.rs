pub(super) async fn any_order_repetition_and_batching_ends_in_the_same_calendar(
    _: &mut super::world::World,
) {
}
pub(super) async fn a_suffix_of_the_log_sent_again_changes_nothing(_: &mut super::world::World) {}
