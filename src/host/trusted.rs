//! Whether a file is the administrator's word: root's, with everything above it, and nobody else's to write.

use super::{Kind, Look};
use crate::error::{Error, Result};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// Refuses a path that somebody other than root could have written, and says which part of it is wrong.
///
/// Every directory from `/` down is looked at, and behind every link its target likewise. A part that is absent
/// ends the look: nobody but root could put something there.
pub fn trusted(host: &dyn Look, path: &Path) -> Result<()> {
    let refused = || Error::refused(format!("cannot trust `{}`", path.display()));
    if !path.is_absolute() {
        return Err(refused().because("it is not an absolute path"));
    }
    let mut links = 0;
    let mut real = PathBuf::new();
    let mut ahead = parts(path);
    while let Some(part) = ahead.pop() {
        if part == ".." {
            real.pop();
            continue;
        }
        real.push(&part);
        let Some(stat) = host.stat(&real)? else { return Ok(()) };
        if stat.uid != 0 {
            return Err(refused()
                .because(format!("`{}` belongs to user {}", real.display(), stat.uid))
                .hint(format!("chown root:root {}", real.display())));
        }
        if stat.kind == Kind::Link {
            links += 1;
            if links > MAX_LINKS {
                return Err(refused().because("it has too many links"));
            }
            let target = host.link(&real)?.unwrap_or_default();
            real.pop();
            ahead.extend(parts(&target));
        } else if stat.mode & 0o022 != 0 {
            return Err(refused()
                .because(format!("others than root can write `{}` (mode {:04o})", real.display(), stat.mode))
                .hint(format!("chmod go-w {}", real.display())));
        }
    }
    Ok(())
}

/// The parts of a path, the last first; a leading `/` is a part, which starts again from the root.
fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter(|part| *part != Component::CurDir)
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::host::fake::FakeHost;

    const FILE: &str = "/etc/rprov/config.toml";

    fn host() -> FakeHost {
        FakeHost::new().file(FILE, "")
    }

    #[test]
    fn what_is_roots_all_the_way_down_is_trusted() {
        let linked = FakeHost::new().file("/srv/site/c.toml", "").link(FILE, "../../srv/site/c.toml");
        for (name, host) in [("plain", host()), ("absent", FakeHost::new()), ("linked", linked)] {
            assert!(trusted(&host, Path::new(FILE)).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_somebody_else_could_write_is_refused_with_the_part_that_is_wrong() {
        let linked = || FakeHost::new().file("/srv/site/c.toml", "").link(FILE, "/srv/site/c.toml");
        let cases = [
            (host().owned(FILE, 1000, 0o644), "`/etc/rprov/config.toml` belongs to user 1000"),
            (host().owned(FILE, 0, 0o664), "can write `/etc/rprov/config.toml` (mode 0664)"),
            (host().owned("/etc/rprov", 0, 0o777), "can write `/etc/rprov` (mode 0777)"),
            (host().owned("/etc", 1000, 0o755), "`/etc` belongs to user 1000"),
            (linked().owned("/srv/site", 33, 0o755), "`/srv/site` belongs to user 33"),
            (linked().owned(FILE, 1000, 0o777), "`/etc/rprov/config.toml` belongs to user 1000"),
            (FakeHost::new().link(FILE, FILE), "it has too many links"),
        ];
        for (host, reason) in cases {
            let error = trusted(&host, Path::new(FILE)).expect_err(reason);
            assert_eq!(error.exit, Exit::Refused);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn a_relative_path_is_nobodys_word() {
        assert!(trusted(&host(), Path::new("config.toml")).is_err());
    }
}
