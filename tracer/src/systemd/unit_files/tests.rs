//! Unit files as they are found below a root.

use std::{
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
};

use tempfile::TempDir;

use super::*;
use crate::model::signal::Signal;

/// A system with these files.
fn system(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let file = root.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    root
}

fn read(root: &TempDir, name: &str) -> Found {
    UnitFiles::of_system(root.path()).unwrap().read(name)
}

fn unit(root: &TempDir, name: &str) -> UnitFacts {
    match read(root, name) {
        Found::Unit { facts, .. } => *facts,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_unit_without_settings_has_systemds_defaults() {
    let root = system(&[("lib/systemd/system/a.service", "[Service]\nExecStart=/bin/a\n")]);
    let facts = unit(&root, "a.service");
    assert_eq!(facts.service_type.as_deref(), Some("simple"));
    assert_eq!(facts.notify_access.as_deref(), Some("none"));
    assert_eq!(facts.restart.as_deref(), Some("no"));
    assert_eq!((facts.reload_signal, facts.exec_reload), (None, Some(Vec::new())));
}

#[test]
fn drop_ins_add_and_reset_in_the_order_of_their_names() {
    let root = system(&[
        (
            "usr/lib/systemd/system/a.service",
            "[Unit]\nType=none\n[Service]\nType=notify\nExecStart=/bin/a\n\
             ExecReload=/bin/a check\nExecReload=/bin/kill -USR2 \\\n  # why\n  $MAINPID\n",
        ),
        ("etc/systemd/system/a.service.d/20.conf", "[Service]\nRestart=always\n"),
        ("usr/lib/systemd/system/a.service.d/20.conf", "[Service]\nRestart=no\n"),
        ("run/systemd/system/service.d/10.conf", "[Service]\nRestart=on-abort\nExecReload=\n"),
        ("etc/systemd/system/a.service.d/30.conf", "[Service]\nExecReload=kill -HUP $MAINPID"),
    ]);
    let facts = unit(&root, "a.service");
    assert_eq!(facts.restart.as_deref(), Some("always"));
    assert_eq!(facts.notify_access.as_deref(), Some("main"));
    assert_eq!(facts.exec_reload, Some(vec!["kill -HUP $MAINPID".to_owned()]));
    assert_eq!(facts.reload_signal, Some(Signal::HUP));
}

#[test]
fn an_instance_takes_its_templates_file_and_its_own_name() {
    let root = system(&[
        (
            "lib/systemd/system/pg@.service",
            "[Service]\nType=forking\nExecStart=-/bin/pg %I\nExecReload=/bin/pg reload %i %n %p\n",
        ),
        ("etc/systemd/system/pg@.service.d/a.conf", "[Service]\nRestart=on-failure\n"),
    ]);
    let facts = unit(&root, r"pg@15-ma\x2din.service");
    assert_eq!(
        facts.exec_reload.unwrap(),
        [r"/bin/pg reload 15-ma\x2din pg@15-ma\x2din.service pg"]
    );
    assert_eq!(facts.ignores_failure, Some(true));
    assert_eq!(facts.restart.as_deref(), Some("on-failure"));
}

#[test]
fn an_alias_is_the_unit_it_names_and_a_mask_hides_it() {
    let root = system(&[("lib/systemd/system/mariadb.service", "[Service]\nExecStart=/bin/m\n")]);
    let etc = root.path().join("etc/systemd/system");
    fs::create_dir_all(&etc).unwrap();
    symlink("/lib/systemd/system/mariadb.service", etc.join("mysql.service")).unwrap();
    symlink("/dev/null", etc.join("gone.service")).unwrap();
    match read(&root, "mysql.service") {
        Found::Unit { name, .. } => assert_eq!(name, "mariadb.service"),
        other => panic!("{other:?}"),
    }
    assert_eq!(read(&root, "gone.service"), Found::Masked);
    assert_eq!(read(&root, "never.service"), Found::Nothing);
}

#[test]
fn a_link_to_a_file_elsewhere_is_followed_inside_the_root() {
    let root = system(&[("opt/a/a.service", "[Service]\nType=exec\nExecStart=/bin/a\n")]);
    let etc = root.path().join("etc/systemd/system");
    fs::create_dir_all(&etc).unwrap();
    symlink("/opt/a/a.service", etc.join("a.service")).unwrap();
    // On the host, and not below this root.
    symlink("/etc/passwd", etc.join("b.service")).unwrap();
    assert_eq!(unit(&root, "a.service").service_type.as_deref(), Some("exec"));
    assert_eq!(read(&root, "b.service"), Found::Nothing);
}

#[test]
fn a_user_has_unit_files_of_their_own() {
    let home = system(&[
        (".config/systemd/user/a.service", "[Service]\nExecStart=/bin/a %t %S\n"),
        (".config/systemd/user/a.service.d/b.conf", "[Service]\nRestart=always\n"),
    ]);
    let user = User { uid: 4_000_000_000, home: home.path().to_owned() };
    let files = UnitFiles::of_user(&user).unwrap();
    assert!(files.services().contains("a.service"));
    let Found::Unit { facts, files, .. } = files.read("a.service") else {
        panic!("not found");
    };
    assert_eq!(facts.restart.as_deref(), Some("always"));
    // Where state is kept depends on the user's environment.
    assert_eq!(facts.exec_start.unwrap(), ["/bin/a /run/user/4000000000 %S"]);
    assert_eq!(files[0], home.path().join(".config/systemd/user/a.service"));
}

#[test]
fn names_with_dashes_take_the_drop_ins_of_their_prefixes() {
    assert_eq!(
        drop_in_names("foo-bar-baz@x.service"),
        [
            "foo-bar-baz@x.service",
            "foo-bar-baz@.service",
            "foo-bar-.service",
            "foo-.service",
            "service"
        ]
    );
}

#[test]
fn a_file_without_a_service_section_is_no_service() {
    assert_eq!(parse("a.service", "[Unit]\nDescription=x\n"), None);
    assert_eq!(parse("a.service", "\0\u{1b}[Service"), None);
    assert!(parse("a.service", "[Service]\n=\n===\nType\n[\n").is_some());
}

#[test]
fn a_loop_of_aliases_is_no_unit() {
    let root = system(&[]);
    let etc = root.path().join("etc/systemd/system");
    fs::create_dir_all(&etc).unwrap();
    symlink("b.service", etc.join("a.service")).unwrap();
    symlink("a.service", etc.join("b.service")).unwrap();
    assert_eq!(read(&root, "a.service"), Found::Nothing);
}

#[test]
fn where_unit_files_are_is_told_in_words() {
    let root = system(&[("etc/systemd/system/a.service", "")]);
    let files = UnitFiles::of_system(root.path()).unwrap();
    assert_eq!(files.place(), format!("below {}", root.path().join("").display()));
    assert_eq!(files.own_directory(), root.path().join("etc/systemd/system"));
    let user = User { uid: 7, home: "/home/ada".into() };
    let files = UnitFiles::of_user(&user).unwrap();
    assert_eq!(files.place(), "of user 7");
    assert_eq!(files.own_directory(), Path::new("/home/ada/.config/systemd/user"));
}

#[test]
fn of_the_directories_the_strongest_has_the_unit() {
    for (strong, weak) in OF_SYSTEM.iter().zip(&OF_SYSTEM[1..]) {
        let text = |restart: &str| format!("[Service]\nExecStart=/bin/a\nRestart={restart}\n");
        let root = system(&[
            (&format!("{strong}/a.service"), &text("always")),
            (&format!("{weak}/a.service"), &text("no")),
        ]);
        assert_eq!(unit(&root, "a.service").restart.as_deref(), Some("always"), "{strong}");
    }
}

#[test]
fn an_empty_file_masks_and_one_that_is_too_large_is_none() {
    let padded = |length: usize| {
        let text = "[Service]\nExecStart=/bin/a\n";
        format!("{text}{}", "#".repeat(length - text.len()))
    };
    let most = MAX_SIZE as usize;
    let root = system(&[
        ("etc/systemd/system/empty.service", ""),
        ("etc/systemd/system/most.service", &padded(most)),
        ("etc/systemd/system/more.service", &padded(most + 1)),
        ("etc/systemd/system/most.service.d/a.conf", ""),
        ("etc/systemd/system/most.service.d/b.txt", "[Service]\nRestart=always\n"),
    ]);
    assert_eq!(read(&root, "empty.service"), Found::Masked);
    assert_eq!(unit(&root, "most.service").restart.as_deref(), Some("no"));
    assert_eq!(read(&root, "more.service"), Found::Nothing);
    nix::unistd::mkfifo(
        &root.path().join("etc/systemd/system/fifo.service"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();
    assert_eq!(read(&root, "fifo.service"), Found::Nothing);
}

#[test]
fn a_chain_of_aliases_is_followed_so_far() {
    let chain = |length: usize| {
        let root = system(&[("etc/systemd/system/a0.service", "[Service]\nExecStart=/bin/a\n")]);
        let etc = root.path().join("etc/systemd/system");
        for link in 1..=length {
            symlink(format!("a{}.service", link - 1), etc.join(format!("a{link}.service")))
                .unwrap();
        }
        read(&root, &format!("a{length}.service")) != Found::Nothing
    };
    assert!(chain(MAX_ALIASES - 1));
    assert!(!chain(MAX_ALIASES));
}

#[test]
fn a_drop_in_whose_name_is_not_utf_8_counts() {
    let root = system(&[("etc/systemd/system/a.service", "[Service]\nExecStart=/bin/a\n")]);
    let directory = root.path().join("etc/systemd/system/a.service.d");
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join(OsStr::from_bytes(b"caf\xe9.conf"));
    fs::write(file, "[Service]\nType=notify\n").unwrap();
    assert_eq!(unit(&root, "a.service").service_type.as_deref(), Some("notify"));
}

#[test]
fn so_many_drop_ins_are_read_and_those_after_them_are_not() {
    let with = |drop_ins: usize| {
        let root = system(&[("etc/systemd/system/a.service", "[Service]\nExecStart=/bin/a\n")]);
        let directory = root.path().join("etc/systemd/system/a.service.d");
        fs::create_dir_all(&directory).unwrap();
        for number in 1..drop_ins {
            fs::write(directory.join(format!("{number:06}.conf")), "[Service]\n").unwrap();
        }
        fs::write(directory.join("last.conf"), "[Service]\nType=notify\n").unwrap();
        match read(&root, "a.service") {
            Found::Unit { facts, .. } => facts.service_type,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(with(MAX_DROP_INS).as_deref(), Some("notify"));
    assert_ne!(with(MAX_DROP_INS + 1).as_deref(), Some("notify"));
}

#[test]
fn an_alias_of_a_template_names_an_instance_of_it() {
    let root = system(&[("lib/systemd/system/pg@.service", "[Service]\nExecStart=/bin/pg %i\n")]);
    let etc = root.path().join("etc/systemd/system");
    fs::create_dir_all(&etc).unwrap();
    symlink("/lib/systemd/system/pg@.service", etc.join("db@.service")).unwrap();
    match read(&root, "db@15.service") {
        Found::Unit { name, facts, .. } => {
            assert_eq!(name, "pg@15.service");
            assert_eq!(facts.exec_start.unwrap(), ["/bin/pg 15"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(template("pg@.service"), None);
}

#[test]
fn the_type_that_is_not_said_follows_from_bus_name_and_command() {
    let of = |lines: &str| parse("a.service", lines).unwrap().0.service_type.unwrap();
    assert_eq!(of("[Service]\nExecStart=/bin/a\n"), "simple");
    assert_eq!(of("[Service]\nExecStart=/bin/a\nBusName=org.a\n"), "dbus");
    assert_eq!(of("[Service]\nExecStop=/bin/a\n"), "oneshot");
    assert_eq!(of("[Service]\nBusName=org.a\nType=exec\n"), "exec");
}

#[test]
fn a_byte_order_mark_and_other_ends_of_lines_are_no_obstacle() {
    let text =
        "[Service]\nExecStart=/bin/a\nExecReload=/bin/kill \\\n -USR1 $MAINPID\nRestart=always\n";
    let expected = parse("a.service", text).unwrap();
    for end in ["\r\n", "\r", "\0", "\n\r", "\r\n\0"] {
        for mark in ["", "\u{feff}"] {
            let other = format!("{mark}{}", text.replace('\n', end));
            let read = parse("a.service", &other).unwrap_or_else(|| panic!("{other:?}"));
            assert_eq!(read.0, expected.0, "{other:?}");
            let root = system(&[("lib/systemd/system/a.service", &other)]);
            assert_eq!(unit(&root, "a.service").reload_signal, "USR1".parse().ok(), "{other:?}");
        }
    }
    let two = format!("\u{feff}\u{feff}{text}");
    assert!(parse("a.service", &two).is_none(), "only one mark is");
}
