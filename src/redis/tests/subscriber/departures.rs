use super::*;

/// Listener 0 leaves news.
fn departure() -> Departure {
    Departure {
        listener: 0,
        topics: Arc::new(Mutex::new(Some([news()].into()))),
        node: "127.0.0.1:7000".into(),
        channel: Topic::new(TopicKind::Channel, "crossing".into()),
    }
}

/// With listeners 0 and 1 of news, the first of which is about to leave it.
fn departing(departure: &Departure) -> SharedSubscriber {
    let mut subscriber = SharedSubscriber::new();
    for number in [0, 1] {
        subscriber.with(|pipeline, now| pipeline.keep(number, &news(), Priority::First, Arc::default(), now));
    }
    subscriber.receive(&["subscribe", "news", "1"]);
    subscriber.heard();
    let written = subscriber.with(|pipeline, now| pipeline.begin_departure(departure, now));
    assert_eq!(written, sent(&[&["PUBLISH", "crossing", ""]]));
    subscriber
}

/// In a cluster a channel's home moves, and what the old one has published comes twice: from there, and by the bus from the new home.
#[test]
fn a_listener_departs_at_the_answer() {
    let mut subscriber = departing(&departure());
    let message = |text| sent(&[&["message", "news", text]]).replacen('*', ">", 1);
    // In one piece: what stands before the answer is its own, and nothing behind it.
    let received = [message("a"), ":0\r\n".to_owned(), message("b")].concat();
    subscriber.harness.receive(&received).unwrap();
    subscriber.harness.deliver();
    assert_eq!(
        subscriber.heard(),
        heard([&["a", "departed 0 s ago"], &["a", "b"], &[]])
    );
    // The other one still listens.
    assert_eq!(subscriber.harness.written(), "");
    let unsubscribed = subscriber.with(|pipeline, now| pipeline.unsubscribe(1, None, &news(), now));
    assert_eq!(unsubscribed, sent(&[&["UNSUBSCRIBE", "news"]]));
}

/// A frozen master wakes, and what waits at its sockets is delivered on a subscription that has been left.
#[test]
fn who_has_departed_without_an_answer_hears_nothing() {
    let departure = departure();
    let mut subscriber = departing(&departure);
    subscriber.harness.pass(Duration::from_secs(3));
    let until = SystemTime::now() - Duration::from_secs(3);
    subscriber.with(|pipeline, now| pipeline.depart(&departure, until, false, now));
    subscriber.receive(&["message", "news", "late"]);
    assert_eq!(subscriber.heard(), heard([&["departed 3 s ago"], &["late"], &[]]));
    // It has come back: the answer is not to take it away again.
    subscriber.with(|pipeline, now| pipeline.keep(0, &news(), Priority::First, Arc::default(), now));
    subscriber.harness.receive(":0\r\n").unwrap();
    subscriber.receive(&["message", "news", "new"]);
    assert_eq!(subscriber.heard(), heard([&["subscribed", "new"], &["new"], &[]]));
}

#[test]
fn a_departure_within_a_gap_begins_where_the_gap_does() {
    let departure = departure();
    let mut subscriber = departing(&departure);
    subscriber.harness.pass(Duration::from_secs(2));
    subscriber.lose();
    subscriber.connect();
    subscriber.with(|pipeline, now| pipeline.depart(&departure, SystemTime::now(), false, now));
    subscriber.receive(&["subscribe", "news", "1"]);
    assert_eq!(
        subscriber.heard(),
        heard([
            &["gap began", "departed 2 s ago"],
            &["gap began", "subscribed", "gap"],
            &[]
        ])
    );
}

#[test]
fn a_server_that_does_not_publish_for_the_user_is_left_all_the_same() {
    let mut subscriber = departing(&departure());
    subscriber.harness.receive("-NOPERM no\r\n").unwrap();
    subscriber.harness.deliver();
    assert_eq!(
        subscriber.heard(),
        heard([&["departed 0 s ago, refused"], &[], &[]])
    );
}

// The topic is unsubscribed and subscribed anew before the answer: its home has come back. Left at the answer, it would be heard nowhere.
#[test]
fn what_is_subscribed_anew_meanwhile_stays() {
    let departure = departure();
    let mut subscriber = departing(&departure);
    subscriber.with(|pipeline, now| pipeline.unsubscribe(0, None, &news(), now));
    take_out(&departure.topics, &news());
    subscriber.with(|pipeline, now| pipeline.keep(0, &news(), Priority::First, Arc::default(), now));
    subscriber.heard();
    subscriber.harness.receive(":0\r\n").unwrap();
    subscriber.receive(&["message", "news", "new"]);
    assert_eq!(
        subscriber.heard(),
        heard([&["departed 0 s ago", "new"], &["new"], &[]])
    );
}
