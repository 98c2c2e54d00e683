//! Where the next connection leads: to the master that its predecessor has named, or else to where the locator says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use crate::redis::config::{Config, Target};
use crate::redis::connection::connect::{Connector, Opened};
use crate::redis::connection::failure::Failure;
use crate::redis::connection::locator::Locator;
use crate::redis::connection::sentinel::POLL;
use crate::redis::connection::sentinel::board::NextMaster;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::in_flight::ServerRole;

/// How long a new master may take for a connection, and the old one for what it owes: both together, before the old connection is given up.
pub const HANDOVER: Duration = Duration::from_millis(200);
/// How long a gap lasts after a move: a publisher that asks the Sentinels every `POLL` and moves within `HANDOVER` publishes at the new master
/// by then (0.7 s). Functions of its application may hold it up for longer.
pub const FOLLOWED: Duration = POLL.saturating_add(HANDOVER);
/// How long the master may take that a predecessor has named: the configured address may lead to it by now.
const REDIRECTED: Duration = Duration::from_secs(2);
/// The pause before a new master is tried again.
const PAUSE: Duration = Duration::from_millis(20);

pub struct Opener {
    connector: Connector,
    pub locator: Locator,
    /// Where the last connection led, or the last attempt of who had none.
    tried: Mutex<Option<Endpoint>>,
    /// Where the master is, as its predecessor has said, for as long as that is so.
    redirect: Mutex<Option<Endpoint>>,
    /// Where the last connection led, and since when those to that place have.
    led_to: Mutex<Option<(Endpoint, Instant)>>,
}

impl Opener {
    pub fn new(config: &Arc<Config>, target: &Target, runtime: &Runtime) -> Self {
        Self {
            connector: Connector::of(config.clone(), target),
            locator: Locator::new(config, target, runtime),
            tried: Mutex::default(),
            redirect: Mutex::default(),
            led_to: Mutex::default(),
        }
    }

    /// Opens a connection. `redirect` is where the predecessor says that the master is, if it has just done so.
    pub async fn open(&self, redirect: Option<Endpoint>) -> Result<Opened, Failure> {
        let known = self.redirect.lock().clone();
        if let Some(master) = redirect.or(known)
            && let Some(opened) = self.open_redirected(master).await
        {
            return Ok(opened);
        }
        loop {
            let located = self.locator.locate().await;
            let tried = located.as_ref().ok().cloned();
            *self.tried.lock() = tried.or_else(|| self.locator.believed());
            let endpoint = located?;
            tokio::select! {
                opened = self.open_named(&endpoint) => {
                    if opened.as_ref().is_ok_and(is_master) {
                        *self.redirect.lock() = None;
                    }
                    return opened;
                }
                () = self.named_other_than(Some(&endpoint)) => {}
            }
        }
    }

    /// Opens a connection to where the master is said to be, if it is. One that does not answer may only have been restarted.
    async fn open_redirected(&self, master: Endpoint) -> Option<Opened> {
        let opened = timeout(REDIRECTED, self.connector.open(&master)).await;
        let opened = opened.ok().and_then(Result::ok);
        let found = opened.is_some();
        let opened = opened.filter(is_master);
        if opened.is_some() {
            *self.tried.lock() = Some(master.clone());
        }
        match &self.locator {
            Locator::Fixed(_) | Locator::Node(..) => {
                *self.redirect.lock() = (!found || opened.is_some()).then_some(master);
            }
            Locator::Watched(watcher) if opened.is_some() => watcher.promoted(&master),
            Locator::Watched(_) => {}
        }
        opened
    }

    async fn open_named(&self, endpoint: &Endpoint) -> Result<Opened, Failure> {
        let asked = Instant::now();
        let opened = self.connector.open(endpoint).await?;
        self.locator.check(&opened.1, asked)?;
        Ok(opened)
    }

    /// A connection leads to an endpoint from a moment on. Gives how long ago the one before was the master's for certain, if that was another,
    /// and publishers may still be there. What was missed before a connection to it was opened is told otherwise.
    pub fn left_master_for(&self, endpoint: &Endpoint, since: Instant) -> Option<Duration> {
        let mut led_to = self.led_to.lock();
        if led_to.as_ref().is_some_and(|(before, _)| before == endpoint) {
            return None;
        }
        match led_to.replace((endpoint.clone(), since)) {
            Some((before, opened)) => {
                let left_for = self.locator.certain(&before);
                left_for.map(|left_for| left_for.min(opened.elapsed()))
            }
            // It was left before this connection was wanted.
            None => self.locator.left_within(FOLLOWED),
        }
    }

    /// Returns once the master is said to be elsewhere than the last attempt to connect led.
    pub async fn named_other(&self) {
        let tried = self.tried.lock().clone();
        self.named_other_than(tried.as_ref()).await;
    }

    async fn named_other_than(&self, from: Option<&Endpoint>) {
        while let NextMaster::Promoting(_) = self.locator.next(from).await {
            sleep(PAUSE).await;
        }
    }

    /// Returns once the Sentinels name another master than at an endpoint, with a connection to it, if it can be had. Until a moment the old one
    /// may answer what it owes.
    pub async fn follow(&self, endpoint: &Endpoint) -> (Option<Opened>, Instant) {
        loop {
            let (NextMaster::Named(master) | NextMaster::Promoting(master)) =
                self.locator.next(Some(endpoint)).await;
            if let Some(moved) = self.move_to(&master, endpoint).await {
                return moved;
            }
        }
    }

    /// Tries for as long as it is to be the master. One that says that it is a replica is no reason to leave another: it is asked again later,
    /// if it is still named.
    async fn move_to(&self, master: &Endpoint, from: &Endpoint) -> Option<(Option<Opened>, Instant)> {
        // Once, and apart from the attempts: a function that takes longer than they may would never have given anything.
        let identity = self.connector.identify(master).await;
        let mut latest = None;
        loop {
            let next = self.locator.next_now(from)?;
            let is_named = match &next {
                NextMaster::Named(next) | NextMaster::Promoting(next) if next != master => return None,
                NextMaster::Named(_) => true,
                NextMaster::Promoting(_) => false,
            };
            let asked = Instant::now();
            // Of attempts at a replica that is being promoted only the last one counts, which may go on when that is named.
            let until = latest.filter(|until| is_named && asked < *until);
            let until = until.unwrap_or(asked + HANDOVER);
            latest = Some(until);
            let opened = match &identity {
                Ok(identity) => self.connector.open_as(identity, master, until - asked).await.ok(),
                Err(_) => None,
            };
            match opened {
                Some(opened) if is_named && self.locator.check(&opened.1, asked).is_err() => {
                    _ = timeout(POLL, self.named_other_than(Some(master))).await;
                    return None;
                }
                Some(opened) if is_named || is_master(&opened) => {
                    if !is_named {
                        self.locator.promoted(master);
                    }
                    *self.tried.lock() = Some(master.clone());
                    return Some((Some(opened), until));
                }
                None if is_named && Instant::now() + PAUSE >= until => return Some((None, until)),
                _ => sleep(PAUSE).await,
            }
        }
    }
}

fn is_master((_, established): &Opened) -> bool {
    established.server.role == ServerRole::Master
}
