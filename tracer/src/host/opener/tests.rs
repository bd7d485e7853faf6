use super::*;

#[test]
fn only_the_program_executed_anew_answers() {
    for arguments in [&["sigready"][..], &["sigready", "trace", MARK], &[]] {
        assert_eq!(serve(arguments.iter().map(OsString::from), &[]), None);
    }
}

#[test]
fn one_root_that_never_answers_does_not_keep_others_from_being_read() {
    let about = |root: usize| (PathBuf::from(format!("/proc/{root}/root")), None);
    let starts = |root, left: &[About]| may_start(&about(root), left.iter()).is_ok();
    let twice = vec![about(1); MAX_LEFT_OF_ONE];
    assert!(starts(1, &twice[1..]) && !starts(1, &twice) && starts(2, &twice));
    let of_user = (about(1).0, Some(7));
    assert!(may_start(&of_user, twice.iter()).is_ok());
    let many: Vec<About> = (0..MAX_LEFT).map(about).collect();
    assert!(starts(MAX_LEFT, &many[1..]) && !starts(MAX_LEFT, &many));
}

#[test]
fn descriptors_come_with_the_bytes_beside_them() {
    let (ours, theirs) = StdUnixStream::pair().unwrap();
    send(&theirs, b"+abc", 1);
    drop(theirs);
    let mut buffer = [0; 16];
    let (length, received) = receive(&ours, &mut buffer).unwrap();
    assert_eq!((&buffer[..length], received.len()), (&b"+abc"[..], 1));
    assert!(File::from(received.into_iter().next().unwrap()).metadata().is_ok());
    let (length, received) = receive(&ours, &mut buffer).unwrap();
    assert_eq!((length, received.len()), (0, 0));
}

/// Sends bytes, and so many descriptors with them.
fn send(stream: &StdUnixStream, bytes: &[u8], count: usize) {
    let sent = File::open("/dev/null").unwrap();
    let descriptors = vec![sent.as_raw_fd(); count];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let parts = [IoSlice::new(bytes)];
    sendmsg::<()>(stream.as_raw_fd(), &parts, &rights, MsgFlags::empty(), None).unwrap();
}

/// Runs a test whose time goes on only where nothing else can.
fn at_once<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    { runtime }.enable_time().start_paused(true).build().unwrap().block_on(test)
}

#[test]
fn who_says_nothing_is_waited_for_two_seconds_from_its_last_step_on() {
    at_once(async {
        let begun = tokio::time::Instant::now();
        let (ours, mut theirs) = StdUnixStream::pair().unwrap();
        let error = reply(&ours, PATIENCE).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "its file system did not answer within 2 s");
        assert_eq!(begun.elapsed(), PATIENCE);
        let steps = async {
            for _ in 0..10 {
                sleep(Duration::from_millis(1_900)).await;
                theirs.write_all(b"..").unwrap();
            }
        };
        let (read, ()) = tokio::join!(reply(&ours, PATIENCE), steps);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= 10 * PATIENCE, "{:?}", begun.elapsed());
    });
}

/// What is read of a reply of so many bytes, sent with so many descriptors.
fn read(reply_of: usize, descriptors: usize) -> Result<usize, String> {
    let (ours, theirs) = StdUnixStream::pair().unwrap();
    let sending = thread::spawn(move || {
        send(&theirs, b"...+", descriptors);
        // It may be read to its end or not.
        let _ = (&theirs).write_all(&vec![b'.'; reply_of - 1]);
    });
    let read = at_once(async {
        // Whoever sends is a thread, which no paused clock waits for.
        tokio::time::resume();
        reply(&ours, Duration::from_mins(1)).await
    });
    drop(ours);
    sending.join().unwrap();
    read.map(|(reply, _)| reply.len()).map_err(|error| error.to_string())
}

#[test]
fn no_more_is_read_than_a_reply_may_have() {
    let too_much = Err("there is too much of it".to_owned());
    assert_eq!(read(MAX_REPLY, 1), Ok(MAX_REPLY));
    assert_eq!(read(MAX_REPLY + 1, 1), too_much);
    assert_eq!(read(100 * MAX_REPLY, 0), too_much);
    assert_eq!(read(10, 2), too_much);
}

#[test]
fn no_more_is_copied_than_is_asked_for() {
    let mut copied = Vec::new();
    assert_eq!(copy(&mut io::repeat(7), &mut copied, 200_000).unwrap(), 200_000);
    assert_eq!(copied, vec![7; 200_000]);
    assert_eq!(copy(&mut io::empty(), &mut copied, 5).unwrap(), 0);
}

#[test]
fn a_file_in_memory_has_what_it_was_given_and_no_program_answers_for_it() {
    let memory = in_memory(b"text").unwrap();
    assert!(!has_a_program(&memory).unwrap());
    assert_eq!(io::read_to_string(File::from(memory)).unwrap(), "text");
}
