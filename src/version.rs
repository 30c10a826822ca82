//! Versions, of deb and of rpm: which is newer, what upstream calls it, and whether it is within what was asked.

use std::cmp::Ordering;

/// Which of two versions is newer, by the rules of deb-version(7), as dpkg sorts them.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a_epoch, a_upstream, a_revision) = parts(a);
    let (b_epoch, b_upstream, b_revision) = parts(b);
    numbers(a_epoch, b_epoch)
        .then_with(|| texts(a_upstream, b_upstream))
        .then_with(|| texts(a_revision, b_revision))
}

/// Which of two versions is newer, by rpm's rules (rpm-version(7)): epoch, version, release, each by its segments.
pub fn compare_rpm(a: &str, b: &str) -> Ordering {
    let (a_epoch, a_version, a_release) = parts(a);
    let (b_epoch, b_version, b_release) = parts(b);
    numbers(a_epoch, b_epoch)
        .then_with(|| segments(a_version, b_version))
        .then_with(|| segments(a_release, b_release))
}

/// Segments of digits or of letters, whatever stands between them; `~` sorts before the end, `^` after it, but before
/// a further segment.
fn segments(mut a: &str, mut b: &str) -> Ordering {
    let separates = |c: char| !(c.is_ascii_alphanumeric() || c == '~' || c == '^');
    loop {
        (a, b) = (a.trim_start_matches(separates), b.trim_start_matches(separates));
        match (a.strip_prefix('~'), b.strip_prefix('~')) {
            (Some(a_rest), Some(b_rest)) => {
                (a, b) = (a_rest, b_rest);
                continue;
            }
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => {}
        }
        match (a.strip_prefix('^'), b.strip_prefix('^')) {
            (Some(a_rest), Some(b_rest)) => {
                (a, b) = (a_rest, b_rest);
                continue;
            }
            (Some(_), None) => return if b.is_empty() { Ordering::Greater } else { Ordering::Less },
            (None, Some(_)) => return if a.is_empty() { Ordering::Less } else { Ordering::Greater },
            (None, None) => {}
        }
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let digits = a.starts_with(|c: char| c.is_ascii_digit());
        let kind = |c: char| if digits { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
        let (a_segment, a_rest) = split(a, kind);
        let (b_segment, b_rest) = split(b, kind);
        if b_segment.is_empty() {
            // Digits are newer than letters.
            return if digits { Ordering::Greater } else { Ordering::Less };
        }
        let order = if digits { numbers(a_segment, b_segment) } else { a_segment.cmp(b_segment) };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (a_rest, b_rest);
    }
}

/// What upstream calls a version: `5:29.7.2-1~ubuntu.24.04~noble` is `29.7.2`, `5:29.0.0~rc.1-1~…` is `29.0.0~rc.1`.
///
/// Docker's older packages carry a build number, `5:20.10.24~3-0~ubuntu-jammy`: it is no part of `20.10.24`.
pub fn upstream(version: &str) -> &str {
    let rest = without_epoch(version);
    // At the first hyphen, not the last: Docker's revisions hold hyphens, its upstream versions do not.
    let rest = rest.split_once('-').map_or(rest, |(upstream, _)| upstream);
    match rest.rsplit_once('~') {
        Some((head, build)) if build.bytes().all(|b| b.is_ascii_digit()) => head,
        _ => rest,
    }
}

/// Whether a package's version is the one asked for, or within it: asked for whole, as `5:28.5.1-1~ubuntu.24.04~noble`
/// with or without the epoch, or by upstream's version or the front of it.
///
/// Epochs do not count: of one release docker-ce may have another than docker-ce-cli (on rpm 3 and 1).
pub fn is_within(version: &str, asked: &str) -> bool {
    without_epoch(version) == without_epoch(asked) || has_prefix(upstream(version), asked)
}

fn without_epoch(version: &str) -> &str {
    version.split_once(':').map_or(version, |(_, rest)| rest)
}

/// Whether an upstream version is the one asked for, or within it: `28.5.1` is within `28`, `28.5` and `28.5.1`.
///
/// Whole components are compared, so `22.1` and `2.10` are not within `2.1`. Release candidates may be written as
/// `docker --version` does, `29.0.0-rc.1`; they are within `29` and `29.0`, not `29.0.0`.
pub fn has_prefix(upstream: &str, prefix: &str) -> bool {
    let prefix = prefix.replace('-', "~");
    let mut have = upstream.split('.');
    prefix.split('.').all(|want| have.next() == Some(want))
}

/// Epoch, upstream version and revision.
fn parts(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Compares stretches of non-digits and of digits in turn.
fn texts(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (a_word, a_rest) = split(a, |c| !c.is_ascii_digit());
        let (b_word, b_rest) = split(b, |c| !c.is_ascii_digit());
        let (a_number, a_rest) = split(a_rest, |c| c.is_ascii_digit());
        let (b_number, b_rest) = split(b_rest, |c| c.is_ascii_digit());
        let order = words(a_word, b_word).then_with(|| numbers(a_number, b_number));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (a_rest, b_rest);
    }
    Ordering::Equal
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// Compares non-digits: a tilde before the end, the end before letters, letters before the rest.
fn words(a: &str, b: &str) -> Ordering {
    let weigh = |c: u8| match c {
        b'~' => -1,
        c if c.is_ascii_alphabetic() => i32::from(c),
        c => i32::from(c) + 256,
    };
    let at = |word: &str, i: usize| word.as_bytes().get(i).map_or(0, |c| weigh(*c));
    let differs = (0..a.len().max(b.len())).map(|i| at(a, i).cmp(&at(b, i)));
    differs.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Compares numbers of any length; none counts as zero.
fn numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_may_be_asked_for_whole_or_by_its_front() {
        let found = "5:28.5.1-1~ubuntu.24.04~noble";
        for asked in [found, "28.5.1-1~ubuntu.24.04~noble", "28.5.1", "28.5", "28"] {
            assert!(is_within(found, asked), "{asked}");
        }
        for asked in ["5:28.5.1-2~ubuntu.24.04~noble", "5:28.5.1", "28.5.10", "2", "29"] {
            assert!(!is_within(found, asked), "{asked}");
        }
        assert!(is_within("1:29.7.2-1.el9", "3:29.7.2-1.el9"), "the client has another epoch on rpm");
    }

    #[test]
    fn versions_sort_as_dpkg_sorts_them() {
        let rising = [
            ["1.0~~", "1.0~"],
            ["1.0~rc1", "1.0"],
            ["1.0-0~1", "1.0"],
            ["1.0", "1.0a"],
            ["1.0a", "1.0+dfsg"],
            ["1.2", "1.10"],
            ["1.0-1", "1.0-1ubuntu1"],
            ["1.0-9", "1.0-10"],
            ["9.0", "1:0.1"],
            ["2:1", "10:1"],
            ["18446744073709551616", "18446744073709551617"],
            ["5:20.10.24~3-0~ubuntu-jammy", "5:23.0.0-1~ubuntu.22.04~jammy"],
            ["5:28.5.2-1~ubuntu.24.04~noble", "5:29.0.0~rc.1-1~ubuntu.24.04~noble"],
            ["5:29.0.0~rc.1-1~ubuntu.24.04~noble", "5:29.0.0-1~ubuntu.24.04~noble"],
            ["5:29.7.2-1~ubuntu.24.04~noble", "5:29.10.0-1~ubuntu.24.04~noble"],
            ["1.7.28-1~ubuntu.24.04~noble", "1.7.28-2~ubuntu.24.04~noble"],
            ["20.10.24+dfsg1-1+b3", "5:18.09.1~3-0~debian-buster"],
        ];
        for [older, newer] in rising {
            assert_eq!(compare(older, newer), Ordering::Less, "{older} {newer}");
            assert_eq!(compare(newer, older), Ordering::Greater, "{newer} {older}");
            assert_eq!(compare(older, older), Ordering::Equal, "{older}");
        }
    }

    #[test]
    fn versions_sort_as_rpm_sorts_them() {
        let rising = [
            ["1.0~rc1", "1.0"],
            ["1.0~rc1", "1.0~rc1^git1"],
            ["1.0", "1.0^git1"],
            ["1.0^git1", "1.0.1"],
            ["1.0^20160101", "1.0^20160102"],
            ["1.0", "1.0.a"],
            ["1.a", "1.0"],
            ["1.2", "1.10"],
            ["2.0", "2.0.1"],
            ["2.0.1", "2.0.1a"],
            ["xyz.4", "8"],
            ["5.5p9", "5.5p10"],
            ["9.0", "1:0.1"],
            ["3:28.5.2-1.el9", "3:29.7.2-1.el9"],
            ["3:29.7.2-1.el9", "3:29.10.0-1.el9"],
            ["3:29.0.0~rc.1-1.el9", "3:29.0.0-1.el9"],
            ["1.7.28-1.el9", "1.7.28-2.el9"],
            ["4:1.2.4-1.el9", "4:1.2.4-1.el9_6"],
        ];
        for [older, newer] in rising {
            assert_eq!(compare_rpm(older, newer), Ordering::Less, "{older} {newer}");
            assert_eq!(compare_rpm(newer, older), Ordering::Greater, "{newer} {older}");
            assert_eq!(compare_rpm(older, older), Ordering::Equal, "{older}");
        }
        for (a, b) in [("1.0", "1_0"), ("1.0", "0:1.0"), ("2a", "2.a"), ("1.01", "1.1")] {
            assert_eq!(compare_rpm(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn different_spellings_of_one_version_are_equal() {
        for (a, b) in [("1.0", "0:1.0"), ("1.0", "1.0-0"), ("1.01", "1.1"), ("1.", "1.0")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn upstreams_version_has_neither_epoch_nor_revision_nor_build() {
        for (version, expected) in [
            ("5:29.7.2-1~ubuntu.24.04~noble", "29.7.2"),
            ("5:20.10.24~3-0~ubuntu-jammy", "20.10.24"),
            ("3:29.7.2-1.el9", "29.7.2"),
            ("5:29.0.0~rc.1-1~debian.12~bookworm", "29.0.0~rc.1"),
            ("1.7.28-1~ubuntu.24.04~noble", "1.7.28"),
            ("20.10.24+dfsg1-1+b3", "20.10.24+dfsg1"),
            ("29.7.2", "29.7.2"),
        ] {
            assert_eq!(upstream(version), expected);
        }
    }

    #[test]
    fn a_prefix_is_compared_by_whole_components() {
        for prefix in ["28", "28.5", "28.5.1"] {
            assert!(has_prefix("28.5.1", prefix), "{prefix}");
        }
        for (upstream, prefix) in [
            ("22.1", "2.1"),
            ("2.10", "2.1"),
            ("28.5", "28.5.1"),
            ("28.5.1", ""),
            ("28.5.1", "28."),
            ("29.0.0~rc.1", "29.0.0"),
        ] {
            assert!(!has_prefix(upstream, prefix), "{upstream} {prefix}");
        }
        assert!(has_prefix("29.0.0~rc.1", "29.0.0-rc.1"));
        assert!(has_prefix("29.0.0~rc.1", "29"));
    }
}
