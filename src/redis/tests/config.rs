use super::*;
use crate::redis::config::{Config, Options, ReadFrom, SentinelOptions, Settings, Target};
use crate::redis::credentials::Credentials;
use crate::redis::tls::TlsOptions;

pub fn options() -> Options {
    Options {
        cluster: None,
        url: None,
        host: None,
        port: None,
        path: None,
        username: None,
        password: None,
        db: None,
        tls: None,
        use_tls: None,
        sentinel: None,
        settings: Settings {
            read_from: ReadFrom::default(),
            provided: None,
            protocol: None,
            client_name: None,
            retry_delay: None,
            connect_timeout: TIMEOUT,
            limits: Limits {
                timeout: TIMEOUT,
                max_queue: 1,
                queue_timeout: QUEUE_TIMEOUT,
                max_retries: None,
                max_reply: 1 << 30,
            },
        },
    }
}

fn by_url(url: &str) -> Config {
    let url = Some(url.to_owned());
    Config::new(Options { url, ..options() }).unwrap_or_else(|error| panic!("{}", error.message))
}

#[test]
fn urls_say_where_and_who() {
    for (url, place, username, password, db, tls) in [
        ("redis://localhost", "localhost:6379", None, None, 0, false),
        ("redis://h:1/2", "h:1", None, None, 2, false),
        ("valkey://u:p@h", "h:6379", Some("u"), Some("p"), 0, false),
        ("redis://:p%40s%3A%2F@h", "h:6379", None, Some("p@s:/"), 0, false),
        ("rediss://h:2", "h:2", None, None, 0, true),
        ("valkeys://h", "h:6379", None, None, 0, true),
        ("redis://[::1]:3", "[::1]:3", None, None, 0, false),
        // A host beyond ASCII is taken without Unicode's tables.
        (
            "redis://xn--bcher-kva.example:4",
            "xn--bcher-kva.example:4",
            None,
            None,
            0,
            false,
        ),
        ("redis://b\u{fc}cher", "b%C3%BCcher:6379", None, None, 0, false),
        // If the query is ignored, these use database 0.
        ("redis://h?db=3", "h:6379", None, None, 3, false),
        ("rediss://h/?db=3", "h:6379", None, None, 3, true),
        ("valkey://h/3?db=3", "h:6379", None, None, 3, false),
        ("redis://default@h", "h:6379", Some("default"), None, 0, false),
    ] {
        let config = by_url(url);
        assert_eq!(config.target.to_string(), place, "{url}");
        assert_eq!(config.credentials.username.as_deref(), username, "{url}");
        assert_eq!(config.credentials.password.as_deref(), password, "{url}");
        assert_eq!((config.db, config.tls.is_some()), (db, tls), "{url}");
    }
}

// A URL is refused with redis-rs's text, with a full stop before ours, and a path only when the store connects.
#[test]
fn a_unix_socket_is_taken_where_the_system_has_them() {
    let by_url = Options {
        url: Some("unix:///tmp/redis.sock?db=3&user=u&pass=p".to_owned()),
        ..options()
    };
    let by_path = Options {
        path: Some("/tmp/redis.sock".to_owned()),
        ..options()
    };
    for options in [by_url, by_path] {
        let db = options.url.as_ref().map_or(0, |_| 3);
        match Config::new(options) {
            Ok(config) if cfg!(unix) => {
                assert_eq!(config.target.to_string(), "/tmp/redis.sock");
                assert_eq!(config.db, db);
                assert_eq!(config.credentials.password.is_some(), db == 3);
            }
            Err(error) if cfg!(not(unix)) => {
                assert_eq!(error.tag(), "UNSUPPORTED unix-socket");
                assert_eq!(error.message, "this system has no unix sockets");
            }
            Ok(_) => panic!("it was taken"),
            Err(error) => panic!("{}", error.message),
        }
    }
}

#[test]
fn urls_of_sentinels_say_who_and_where() {
    let sentinels = |config: &Config| match &config.target {
        Target::Master(sentinels) => sentinels.clone(),
        other => panic!("{other}"),
    };
    for (url, name, nodes, user, of_sentinels, db, tls) in [
        ("redis+sentinel://h/m", "m", "h:26379", None, None, 0, false),
        (
            "redis+sentinel://u:p%40@h:1,[::1]:2,i/m%2F+1/3",
            "m/+1",
            "h:1 [::1]:2 i:26379",
            Some(("u", "p@")),
            None,
            3,
            false,
        ),
        (
            "rediss+sentinel://:p@h,h:26379/m?db=4&sentinelUsername=%75&sentinelPassword=a%26b%2Bc",
            "m",
            "h:26379",
            Some(("", "p")),
            Some(("u", "a&b+c")),
            4,
            true,
        ),
        ("valkeys+sentinel://h,/m", "", "", None, None, 0, true),
        ("redis+sentinel://h:0/m", "", "", None, None, 0, false),
        ("VALKEY+SENTINEL://h/m/", "m", "h:26379", None, None, 0, false),
    ] {
        let options = Options {
            url: Some(url.to_owned()),
            ..options()
        };
        if name.is_empty() {
            expect_refusal(options, "redis.url: the address of a Sentinel is none");
            continue;
        }
        let config = Config::new(options).unwrap_or_else(|error| panic!("{}", error.message));
        let sentinels = sentinels(&config);
        let places: Vec<_> = sentinels.nodes.iter().map(ToString::to_string).collect();
        assert_eq!((&*sentinels.name, &*places.join(" ")), (name, nodes), "{url}");
        let who = |credentials: &Credentials| {
            let username = credentials.username.clone().unwrap_or_default();
            credentials.password.clone().map(|password| (username, password))
        };
        let expected = |given: Option<(&str, &str)>| {
            given.map(|(user, password)| (user.to_owned(), password.to_owned()))
        };
        assert_eq!(who(&config.credentials), expected(user), "{url}");
        assert_eq!(
            who(&sentinels.config.credentials),
            expected(of_sentinels),
            "{url}"
        );
        let have_tls = (config.tls.is_some(), sentinels.config.tls.is_some());
        assert_eq!(
            (config.db, sentinels.config.db, have_tls),
            (db, 0, (tls, tls)),
            "{url}"
        );
    }
}

#[test]
fn tls_of_sentinels_is_the_masters_unless_they_have_their_own() {
    let have_tls = |use_tls: Option<bool>, of_sentinels: Option<bool>| {
        let sentinel = SentinelOptions {
            name: "m".to_owned(),
            nodes: vec![("h".to_owned(), 1)],
            username: None,
            password: None,
            provided: None,
            tls: None,
            use_tls: of_sentinels,
        };
        let config = Config::new(Options {
            use_tls,
            sentinel: Some(sentinel),
            ..options()
        });
        let config = config.unwrap_or_else(|error| panic!("{}", error.message));
        let Target::Master(sentinels) = &config.target else {
            panic!("{}", config.target)
        };
        (config.tls.is_some(), sentinels.config.tls.is_some())
    };
    assert_eq!(have_tls(None, None), (false, false));
    assert_eq!(have_tls(Some(true), None), (true, true));
    assert_eq!(have_tls(Some(true), Some(false)), (true, false));
    assert_eq!(have_tls(None, Some(true)), (false, true));
}

#[test]
fn what_is_given_beside_a_url_wins() {
    let config = Config::new(Options {
        url: Some("rediss://u:p@h:1/2".to_owned()),
        port: Some(7),
        username: Some("v".to_owned()),
        db: Some(5),
        use_tls: Some(false),
        ..options()
    });
    let config = config.unwrap_or_else(|error| panic!("{}", error.message));
    assert_eq!((config.target.to_string().as_str(), config.db), ("h:7", 5));
    assert_eq!(
        (
            config.credentials.username.as_deref(),
            config.credentials.password.as_deref()
        ),
        (Some("v"), Some("p"))
    );
    assert!(config.tls.is_none());
}

/// Each store that differs in what only its commands use, or in the order of the Sentinels, has a watcher of its own: a connection more to each
/// of them.
#[test]
fn what_a_watcher_does_not_use_makes_no_other_sentinels() {
    let watched = |change: fn(&mut Settings)| {
        let mut options = Options {
            url: Some("redis+sentinel://h/m".to_owned()),
            ..options()
        };
        change(&mut options.settings);
        match Config::new(options).map(|config| config.target) {
            Ok(Target::Master(sentinels)) => sentinels,
            _ => panic!("it is no master of Sentinels"),
        }
    };
    let plain = watched(|_| {});
    let given = |url: &str| {
        let url = Some(url.to_owned());
        Config::new(Options { url, ..options() }).unwrap().target
    };
    assert!(given("redis+sentinel://a,b:1/m") == given("redis+sentinel://b:1,a/m"));
    assert!(given("redis+sentinel://a,b:1/m") != given("redis+sentinel://b:1,a:1/m"));
    assert!(given("redis+sentinel://a,b:1/m") != given("redis+sentinel://a/m"));
    let same: [fn(&mut Settings); 6] = [
        |settings| settings.limits.timeout *= 2,
        |settings| settings.limits.queue_timeout *= 2,
        |settings| settings.limits.max_queue += 1,
        |settings| settings.limits.max_reply += 1,
        |settings| settings.limits.max_retries = Some(7),
        |settings| settings.retry_delay = Some(TIMEOUT),
    ];
    for change in same {
        assert!(watched(change) == plain);
    }
    let others: [fn(&mut Settings); 2] = [
        |settings| settings.connect_timeout *= 2,
        |settings| settings.client_name = Some("x".to_owned()),
    ];
    for change in others {
        assert!(watched(change) != plain);
    }
}

/// Fails unless the options are refused, with a message that begins with `part` and holds no password.
fn expect_refusal(options: Options, part: &str) {
    let Err(error) = Config::new(options) else {
        panic!("{part} was taken")
    };
    assert_eq!(error.code, "CONFIG");
    assert!(error.message.starts_with(part), "{}", error.message);
    assert!(!error.message.contains("secret"), "{}", error.message);
}

#[test]
fn what_is_wrong_with_a_url_is_said_without_a_password() {
    let url = |url: &str| Options {
        url: Some(url.to_owned()),
        ..options()
    };
    for (options, part) in [
        (url("http://:secret@h"), "redis.url"),
        (url("redis://:secret@h/x"), "redis.url"),
        (url("redis://:secret@h/-1"), "redis.url"),
        (url("secret"), "redis.url"),
        (url("redis://h?db=x"), "redis.url"),
        (url("redis://h/1?db=2"), "redis.url: it names two databases"),
        (url("redis://h?db=1&db=2"), "redis.url: it names two databases"),
        (url("redis://h?db=-1"), "redis.url"),
        (url("redis://h#secret"), "redis.url"),
        (url("redis://h:0"), "redis.url: there is no port 0"),
        (url("rediss://h#insecure"), "redis.url"),
        (
            url("redis://h?timeout=secret"),
            "redis.url: the parameter timeout is not known",
        ),
        (
            url("redis://h?pass=secret"),
            "redis.url: the parameter pass is not known",
        ),
        (
            url("unix:///s?protocol=resp3"),
            "redis.url: the parameter protocol is not known",
        ),
        // The password is not encoded, so the part before its question mark is read as a port.
        (
            url("redis://u:12?secret=1@h"),
            "redis.url: its query has a parameter",
        ),
        (url("unix://u:secret@localhost/s"), "redis.url: the user"),
        // An & in a password that is not encoded begins a parameter, whose name is a part of the password.
        (
            url("redis+sentinel://h/m?sentinelPassword=ab&secret"),
            "redis.url: its query has a parameter",
        ),
        (
            url("redis+sentinel://h/m?db=1&sentinelPassword=ab&secret=1"),
            "redis.url: its query has a parameter",
        ),
        (
            url("unix:///s?user=u&pass=ab&secret=1"),
            "redis.url: its query has a parameter",
        ),
        (url("redis://h?secret"), "redis.url: its query has a parameter"),
        // The server took each of these for its default user.
        (url("redis://u@h"), "redis.username"),
        (url("redis://u:@h"), "redis.username"),
    ] {
        expect_refusal(options, part);
    }
    // On other systems the socket itself is refused.
    if cfg!(unix) {
        expect_refusal(url("unix:///s?user=u&pass="), "redis.username");
    }
}

#[test]
fn what_is_wrong_with_an_option_is_said_without_a_password() {
    let tls = |tls| Options {
        tls: Some(tls),
        ..options()
    };
    for (options, part) in [
        (
            Options {
                username: Some("u".to_owned()),
                ..options()
            },
            "redis.username",
        ),
        (
            tls(TlsOptions {
                ca: Some("secret".to_owned()),
                ..TlsOptions::default()
            }),
            "redis.tls.ca",
        ),
        (
            tls(TlsOptions {
                cert: Some("secret".to_owned()),
                ..TlsOptions::default()
            }),
            "redis.tls",
        ),
    ] {
        expect_refusal(options, part);
    }
}
