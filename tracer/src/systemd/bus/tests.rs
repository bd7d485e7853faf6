use super::*;

#[test]
fn systemd_has_come_when_its_name_has_an_owner() {
    let told = |member, name, owner| {
        let signal = Message::signal("/org/freedesktop/DBus", BUS, member).unwrap();
        has_come(&signal.build(&(name, "", owner)).unwrap())
    };
    assert!(told("NameOwnerChanged", SYSTEMD, ":1.7"));
    assert!(!told("NameOwnerChanged", SYSTEMD, ""));
    assert!(!told("NameOwnerChanged", "org.freedesktop.login1", ":1.7"));
    assert!(!told("NameAcquired", SYSTEMD, ":1.7"));
}

#[test]
fn a_change_is_told_of_an_object_that_a_unit_may_have() {
    let told = |object: &str, member| {
        let signal = Message::signal(object, PROPERTIES, member).unwrap();
        let body = (UNIT, Properties::new(), Vec::<String>::new());
        changed(&signal.build(&body).unwrap())
    };
    let object = object("a.service");
    let (of, interface, properties) = told(&object, "PropertiesChanged").unwrap();
    assert_eq!((of, interface.as_str(), properties.len()), (object.clone(), UNIT, 0));
    assert!(told(&object, "PropertiesInvalidated").is_none());
    let long = |length: usize| format!("/{}", "a".repeat(length - 1));
    assert!(told(&long(LONGEST_OBJECT), "PropertiesChanged").is_some());
    assert!(told(&long(LONGEST_OBJECT + 1), "PropertiesChanged").is_none());
}

#[test]
fn a_call_is_lost_where_the_connection_broke() {
    let failed = |error: zbus::Error| anyhow::Error::from(Failure::from(error)).context("asked");
    let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    assert!(is_lost(&failed(zbus::Error::InputOutput(broken.into()))));
    assert!(!is_lost(&failed(zbus::Error::Failure("no".to_owned()))));
    assert!(!is_lost(&anyhow::anyhow!("no call")));
}

#[test]
fn an_address_is_one_of_a_socket_to_connect_to() {
    use std::os::unix::net::UnixListener;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connects = |address: &str| runtime.block_on(at(address)).map(drop);
    let name = format!("sigready-test-{}", std::process::id());
    let by_name = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
    let _by_name = UnixListener::bind_addr(&by_name).unwrap();
    assert!(connects(&format!("unix:abstract={name}")).is_ok());
    for (address, why) in [
        ("no address", "is not a D-Bus address"),
        ("tcp:host=localhost,port=1", "not the address of a Unix socket"),
        ("unix:dir=/tmp", "an address to listen at"),
    ] {
        let error = connects(address).unwrap_err().to_string();
        assert!(error.contains(why), "{address}: {error}");
    }
}

#[test]
fn a_failure_is_told_by_the_name_that_systemd_gives_it() {
    let call = Message::method_call("/", "Ping").unwrap().build(&()).unwrap();
    let no_such = "org.freedesktop.systemd1.NoSuchUnit";
    let reply = Message::error(&call.header(), no_such).unwrap();
    let reply = reply.build(&"Unit \x1b not loaded.").unwrap();
    let name = zbus::names::OwnedErrorName::try_from(no_such).unwrap();
    let text = Some("Unit \x1b not loaded.".to_owned());
    let failure = Failure::from(zbus::Error::MethodError(name, text, reply));
    let told = format!("{failure:#}");
    assert!(told.contains("not loaded") && !told.contains('\x1b'), "{told}");
    assert_eq!(failure.name.as_deref(), Some(no_such));
}

#[test]
fn the_end_of_a_job_is_told_by_its_object() {
    let told = |member| {
        let signal = Message::signal(ROOT, MANAGER, member).unwrap();
        let job = OwnedObjectPath::try_from("/job/1").unwrap();
        job_end(&signal.build(&(1_u32, job, "a.service", "don\x1be")).unwrap())
    };
    assert_eq!(told("JobRemoved").unwrap(), ("/job/1".to_owned(), Outside::new("don\x1be")));
    assert!(told("JobNew").is_none());
}

#[test]
fn a_units_object_has_its_name_escaped() {
    assert_eq!(object("foo.service"), "/org/freedesktop/systemd1/unit/foo_2eservice");
    assert_eq!(
        object(r"2foo\x2dbar@a-b.service"),
        "/org/freedesktop/systemd1/unit/_32foo_5cx2dbar_40a_2db_2eservice"
    );
}

/// Runs a test whose time goes on only where nothing else can: whoever waits in vain waits no
/// real time.
fn at_once(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(test);
}

/// A connection, and the other end of it, which does what a test has it do and nothing else.
async fn connected() -> (Bus, Connection) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = Builder::unix_stream(theirs).server(zbus::Guid::generate()).unwrap().p2p();
    let (bus, server) = tokio::join!(Bus::build(ours, false), server.build());
    (bus.unwrap(), server.unwrap())
}

#[test]
fn a_bus_that_says_nothing_is_waited_for_five_seconds() {
    at_once(async {
        let name = format!("sigready-silent-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let _silent = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
        let begun = tokio::time::Instant::now();
        let manager = Manager::Address(format!("unix:abstract={name}"));
        let Err(error) = Bus::connect(&manager).await else { panic!("it said nothing") };
        assert_eq!(error.to_string(), "systemd's D-Bus did not answer within 5 s");
        assert_eq!(begun.elapsed().as_secs(), 5);
    });
}

#[test]
fn an_answer_that_does_not_come_is_waited_for_five_seconds() {
    at_once(async {
        let (bus, _silent) = connected().await;
        let begun = tokio::time::Instant::now();
        let error = bus.version().await.unwrap_err();
        assert_eq!(error.to_string(), "no answer within 5 s");
        assert_eq!(begun.elapsed().as_secs(), 5);
    });
}

/// sd-bus, whose first message may lie in its buffer until more comes.
#[test]
fn a_private_socket_that_answers_only_what_comes_after_the_first_message_is_begun_with() {
    at_once(async {
        let (bus, server) = connected().await;
        let mut asked = MessageStream::from(&server);
        let systemd = async {
            let first = asked.next().await.unwrap().unwrap();
            let second = asked.next().await.unwrap().unwrap();
            for ping in [first, second] {
                server.reply(&ping.header(), &()).await.unwrap();
            }
            asked.next().await.unwrap().unwrap()
        };
        let client = async {
            bus.begin().await.unwrap();
            let _ = timeout(Duration::from_secs(1), bus.version()).await;
        };
        let (third, ()) = tokio::join!(systemd, client);
        assert_eq!(third.header().member().unwrap().as_str(), "Get", "no more is asked than that");
    });
}

/// Sends messages until so many are sent or nobody takes them. Gives the number of those that
/// were sent, once no more is.
async fn sent(server: Connection, message: Message, most: usize) -> usize {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&count);
    tokio::spawn(async move {
        for _ in 0..most {
            server.send(&message).await.unwrap();
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        // As long as it is there, what it sent can be read.
        std::future::pending::<()>().await;
    });
    tokio::time::sleep(Duration::from_mins(1)).await;
    count.load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn messages_that_nobody_takes_are_left_in_the_socket() {
    at_once(async {
        let (bus, server) = connected().await;
        let mut messages = bus.messages();
        // None of the size of these has room in the socket beside another.
        let text = "x".repeat(600 << 10);
        let signal = Message::signal(ROOT, MANAGER, "Said").unwrap().build(&text).unwrap();
        let taken = sent(server, signal, 3 * MAX_QUEUED).await;
        // Those that wait, the one that is put there, and the one that is read.
        assert!((MAX_QUEUED..=MAX_QUEUED + 2).contains(&taken), "{taken} were sent");
        for _ in 0..3 * MAX_QUEUED {
            assert!(messages.next().await.is_some_and(|message| message.is_ok()));
        }
    });
}

#[test]
fn ends_of_jobs_that_nobody_takes_are_left_in_the_socket_and_none_is_lost() {
    at_once(async {
        let (bus, server) = connected().await;
        let mut asked = MessageStream::from(&server);
        let (jobs, ()) = tokio::join!(Jobs::of(&bus), async {
            let subscribe = asked.next().await.unwrap().unwrap();
            server.reply(&subscribe.header(), &()).await.unwrap();
        });
        drop(asked);
        let job = OwnedObjectPath::try_from("/job/1").unwrap();
        let end = Message::signal(ROOT, MANAGER, "JobRemoved").unwrap();
        let end = end.build(&(1_u32, job, "a.service", "done")).unwrap();
        let most = 2 * MAX_JOBS;
        let taken = sent(server, end, most).await;
        assert!((MAX_JOBS..most).contains(&taken), "{taken} were sent");
        let mut jobs = jobs.unwrap();
        assert_eq!(jobs.0.len(), MAX_JOBS);
        for _ in 0..most {
            assert_eq!(jobs.next().await.unwrap(), ("/job/1".to_owned(), Outside::new("done")));
        }
    });
}

#[test]
fn an_address_is_one_of_a_unix_socket_to_connect_to() {
    for taken in [
        "unix:path=/run/x",
        "unix:abstract=x%00y",
        "unix:path=/run/x,guid=00000000000000000000000000000000",
    ] {
        assert_eq!(check_address(taken), Ok(()), "{taken}");
    }
    let long = format!("unix:path=/{}", "x".repeat(107));
    for refused in [
        "",
        "foo",
        "/run/dbus/system_bus_socket",
        "unix:",
        "unix:path=",
        "unix:path=%00",
        "unix:path=/run/x%00y",
        "unix:path=/run/%",
        "unix:path=/run/%2",
        "unix:path=/run/%+1",
        "unix:dir=/run",
        "tcp:host=127.0.0.1,port=1",
        &long,
        &"x".repeat(100_000),
    ] {
        let why = check_address(refused).expect_err(refused).to_string();
        assert!(why.chars().count() <= Outside::LONGEST, "{why}");
    }
    let longest = format!("/{}", "x".repeat(106));
    assert_eq!(socket_path(&format!("unix:path={longest}")), Some(longest.into()));
    assert_eq!(socket_path("unix:path=/run/x").as_deref(), Some(Path::new("/run/x")));
    let escaped = socket_path("unix:path=/run/a%20b%2cc%C3%BC");
    assert_eq!(escaped.as_deref(), Some(Path::new("/run/a b,cü")));
    assert_eq!(socket_path("unix:abstract=x"), None);
}
