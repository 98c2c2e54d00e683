use super::*;

/// Who keeps a shard channel of which the server is not the home has it asked for again, if nobody else is left to do so. Told nothing, it
/// hears nothing, and no gap of the home ends.
#[test]
fn who_comes_while_a_channel_is_displaced_is_told() {
    let mut subscriber = SharedSubscriber::new();
    let topic = Topic::new(TopicKind::Shard, "news".into());
    let keep = |subscriber: &mut SharedSubscriber, number| {
        subscriber.with(|pipeline, now| pipeline.keep(number, &topic, Priority::First, Arc::default(), now))
    };
    keep(&mut subscriber, 0);
    subscriber.receive(&["ssubscribe", "news", "1"]);
    subscriber.receive(&["sunsubscribe", "news", "0"]);
    keep(&mut subscriber, 1);
    assert_eq!(
        subscriber.heard(),
        heard([&["subscribed", "gap began", "displaced"], &["displaced"], &[]])
    );
    subscriber.with(|pipeline, now| pipeline.unsubscribe(0, None, &topic, now));
    let asked = subscriber.with(Pipeline::ask_displaced);
    assert_eq!(asked, sent(&[&["SSUBSCRIBE", "news"]]));
    subscriber.receive(&["ssubscribe", "news", "1"]);
    assert_eq!(subscriber.heard(), heard([&[], &["subscribed"], &[]]));
}
