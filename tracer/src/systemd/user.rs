//! A user of this host who may have a systemd of their own.

use std::path::PathBuf;

use nix::unistd::{self, Uid};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their number.
    pub uid: u32,
    /// Their home directory.
    pub home: PathBuf,
}

impl User {
    /// The user of this name or number; `None` if there is none.
    #[must_use]
    pub fn find(name_or_number: &str) -> Option<Self> {
        let by_number = || Self::numbered(name_or_number.parse().ok()?);
        unistd::User::from_name(name_or_number).ok().flatten().map(Self::from).or_else(by_number)
    }

    /// The user of this number.
    #[must_use]
    pub fn numbered(uid: u32) -> Option<Self> {
        unistd::User::from_uid(Uid::from_raw(uid)).ok().flatten().map(Self::from)
    }
}

impl From<unistd::User> for User {
    fn from(user: unistd::User) -> Self {
        Self { uid: user.uid.as_raw(), home: user.dir }
    }
}

/// A user's runtime directory, as logind makes it, from the root.
#[must_use]
pub fn runtime_directory(uid: u32) -> PathBuf {
    format!("run/user/{uid}").into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_user_is_found_by_name_or_number() {
        let root = User { uid: 0, home: unistd::User::from_uid(0.into()).unwrap().unwrap().dir };
        assert_eq!(User::find("root"), Some(root.clone()));
        assert_eq!((User::find("0"), User::numbered(0)), (Some(root.clone()), Some(root)));
        assert_eq!((User::find("nobody at all"), User::numbered(4_000_000_000)), (None, None));
        assert_eq!(runtime_directory(7), Path::new("run/user/7"));
    }
}
