use super::*;
use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::cluster::topology::{ToldMap, Topology, TopologyMember};
use crate::redis::completions::CompletionQueue;
use crate::redis::protocol::decode;
use crate::redis::request::Route;
use crate::redis::subscriber::hearing;
use crate::redis::tests::cluster::unreachable;

const SLOT: Slot = 7;

fn request(id: u32) -> Request {
    Request {
        route: Route::Slot(SLOT),
        ..Request::repeatable(Some(id), &[b"GET", b"k"], Instant::now())
    }
}

/// A router whose only master cannot be reached.
fn router() -> (Arc<ClusterRouter>, Endpoint) {
    let config = unreachable(Duration::from_secs(10));
    let completions = Arc::new(CompletionQueue::new(|| true));
    let router = ClusterRouter::new(config.clone(), completions, hearing::listen).unwrap();
    let seed = Endpoint::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 1,
    };
    let slots = decode::parse(b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$0\r\n\r\n:1\r\n").unwrap();
    let (topology, _) = Topology::of(&config).unwrap();
    topology.take(ToldMap::by_unknown(SlotMap::parse(&slots, &seed).unwrap()));
    router.apply();
    (router, seed)
}

/// The node has refused a request, which the router has not taken yet.
fn refuse(router: &ClusterRouter, node: &Endpoint, request: Request) {
    let refusal = Refusal {
        kind: RefusalKind::NotYet,
        error: Error::reply("TRYAGAIN"),
    };
    let number = router.lock().nodes[node].number;
    router.inbox.put(NodeEvent::Returned {
        number,
        endpoint: node.clone(),
        returned: vec![Returned { request, refusal }],
    });
}

// JavaScript's thread reads the refusal, and sends the next command before the router's task has set the fence: it overtakes the first.
#[test]
fn what_is_sent_once_a_node_has_refused_waits_behind_that() {
    let (router, node) = router();
    refuse(&router, &node, request(1));
    router.send([request(2)], Instant::now());
    assert_eq!(router.lock().fences.held(), 1);
}

// A node refuses the last request of a slot while the router takes earlier events, and sets the slot's fence for another reason. The fence
// fell at once, and what waited behind it overtook the refused one.
#[test]
fn a_fence_stands_until_what_a_node_has_refused_is_behind_it() {
    let (router, node) = router();
    let now = Instant::now();
    refuse(&router, &node, request(1));
    let mut state = router.lock();
    state.fences.set(SLOT, || Fence::open(now));
    router.hold(&mut state, request(2), SLOT, OF_SLOTS, now);
    router.step(&mut state, now);
    assert_eq!(state.fences.held(), 1);
}
