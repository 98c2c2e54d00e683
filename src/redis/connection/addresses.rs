//! Chooses among the addresses of a name: Happy Eyeballs, <https://www.rfc-editor.org/rfc/rfc8305>.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How long an attempt may take before the next one begins beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to one of the addresses. The next is tried when the last has failed, or is slow. An error for each if none will do.
pub async fn connect(
    addresses: impl IntoIterator<Item = SocketAddr>,
    timeout: Duration,
) -> Result<TcpStream, Vec<(SocketAddr, io::Error)>> {
    let mut addresses = interleaved(addresses).into_iter();
    // All are tried while there is time for the last, however many there are.
    let stagger = STAGGER.min(timeout / (addresses.len() as u32 + 1));
    let mut attempts = JoinSet::new();
    // By their addresses. There are few, and the standard library's sort would add 10 KB of code.
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    let mut begins_next = true;
    loop {
        if begins_next && let Some(address) = addresses.next() {
            attempts.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        begins_next = tokio::select! {
            attempt = attempts.join_next() => match attempt {
                Some(Ok((_, Ok(stream)))) => return Ok(stream),
                Some(Ok((address, Err(error)))) => {
                    let place = failures.partition_point(|(other, _)| *other < address);
                    failures.insert(place, (address, error));
                    true
                }
                Some(Err(_)) => true,
                None => return Err(failures),
            },
            () = sleep(stagger), if addresses.len() > 0 => true,
        };
    }
}

/// Alternates the families, as one of them may be unreachable. Otherwise keeps the resolver's order.
fn interleaved(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = Vec::new();
    for address in addresses {
        if !seen.contains(&address) {
            seen.push(address);
        }
    }
    let is_v6 = seen.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = seen.iter().partition(|address| address.is_ipv6() == is_v6);
    let mut ordered = Vec::with_capacity(seen.len());
    for index in 0..first.len().max(second.len()) {
        ordered.extend(first.get(index));
        ordered.extend(second.get(index));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Instant;

    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn at(last: u8, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), port)
    }

    /// A listener at each of 127.0.0.1 to 127.0.0.8, all on one port.
    async fn listeners() -> Vec<TcpListener> {
        'port: loop {
            let first = TcpListener::bind(at(1, 0)).await.unwrap();
            let port = first.local_addr().unwrap().port();
            let mut all = vec![first];
            for last in 2..=8 {
                match TcpListener::bind(at(last, port)).await {
                    Ok(listener) => all.push(listener),
                    Err(_) => continue 'port,
                }
            }
            return all;
        }
    }

    /// Takes no connections, and refuses none: its backlog is full.
    struct Silent(Socket, Vec<Socket>);

    impl Silent {
        fn new() -> Self {
            let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            listener.bind(&at(1, 0).into()).unwrap();
            listener.listen(0).unwrap();
            let mut silent = Self(listener, Vec::new());
            for _ in 0..4 {
                let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                client.set_nonblocking(true).unwrap();
                // It is under way.
                let _ = client.connect(&silent.address().into());
                silent.1.push(client);
            }
            silent
        }

        fn address(&self) -> SocketAddr {
            self.0.local_addr().unwrap().as_socket().unwrap()
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.unwrap().block_on(test);
    }

    // A name with 8 addresses opens 8 connections at an attempt, of which 7 are dropped. Each costs the server a client, and its log two
    // lines.
    #[test]
    fn a_name_with_eight_addresses_opens_one_connection() {
        run(async {
            let listeners = listeners().await;
            let addresses: Vec<_> = listeners.iter().map(|one| one.local_addr().unwrap()).collect();
            let stream = connect(addresses.clone(), TIMEOUT).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), addresses[0]);
            let (accepted, _) = listeners[0].accept().await.unwrap();
            assert_eq!(accepted.peer_addr().unwrap(), stream.local_addr().unwrap());
            for other in &listeners {
                let next = tokio::time::timeout(Duration::from_millis(20), other.accept()).await;
                assert!(next.is_err(), "{:?} was connected to", other.local_addr());
            }
        });
    }

    #[test]
    fn the_next_address_is_tried_at_once_when_one_refuses() {
        run(async {
            let mut listeners = listeners().await;
            let addresses: Vec<_> = listeners.iter().map(|one| one.local_addr().unwrap()).collect();
            let last = listeners.pop().unwrap();
            drop(listeners);
            let begun = Instant::now();
            let stream = connect(addresses, TIMEOUT).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), last.local_addr().unwrap());
            assert!(begun.elapsed() < STAGGER, "{:?}", begun.elapsed());
        });
    }

    #[test]
    fn the_next_address_is_tried_after_250_ms_when_one_is_silent() {
        run(async {
            let (silent, listener) = (Silent::new(), TcpListener::bind(at(2, 0)).await.unwrap());
            let begun = Instant::now();
            let stream = connect([silent.address(), listener.local_addr().unwrap()], TIMEOUT).await;
            let stream = stream.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
            assert!(begun.elapsed() >= STAGGER, "{:?}", begun.elapsed());
        });
    }

    #[test]
    fn all_addresses_are_tried_within_the_time_that_there_is() {
        run(async {
            let (silent, listener) = (Silent::new(), TcpListener::bind(at(2, 0)).await.unwrap());
            let begun = Instant::now();
            let timeout = Duration::from_millis(200);
            let stream = connect([silent.address(), listener.local_addr().unwrap()], timeout).await;
            assert!(
                stream.is_ok() && begun.elapsed() < timeout,
                "{:?}",
                begun.elapsed()
            );
        });
    }

    #[test]
    fn why_none_will_do_is_told_for_each() {
        run(async {
            let closed = listeners().await;
            let addresses: Vec<_> = closed.iter().map(|one| one.local_addr().unwrap()).collect();
            drop(closed);
            let failures = connect(addresses.clone(), TIMEOUT).await.unwrap_err();
            let failed: Vec<_> = failures.iter().map(|(address, _)| *address).collect();
            assert_eq!(failed, addresses);
        });
    }

    #[test]
    fn the_families_take_turns() {
        let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1", "[::1]:1"];
        let ordered = interleaved(addresses.map(|text| text.parse().unwrap()));
        let ordered: Vec<_> = ordered.iter().map(SocketAddr::to_string).collect();
        assert_eq!(ordered, ["[::1]:1", "127.0.0.1:1", "[::2]:1", "[::3]:1"]);
    }
}
