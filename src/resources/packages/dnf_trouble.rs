//! Why dnf did not do it: another one holds its lock, repositories that cannot be read, what no repository has.

use crate::error::{Error, Result};
use crate::event::Event;
use crate::host::{DNF_REPOSITORIES, Look, Output, Touch};
use crate::resources::dnf::{self, Trouble};
use crate::resources::repository::dnf as repository;
use crate::trust::client_certificate;
use std::path::Path;

/// Why dnf finds no way, in words of what is missing and not of what dnf tried.
pub fn unresolved(answer: &Output, host: &dyn Look) -> Error {
    let text = format!("{}\n{}", answer.stdout, answer.stderr);
    let unread = dnf::unreadable(&text);
    match dnf::trouble(&text) {
        Trouble::Unreadable { repositories } => Error::try_again("cannot read the repositories of this host")
            .because(format!("dnf could not read {}", repositories.join(", ")))
            .because(why_unreadable(&text, &repositories, host))
            .tail(&errors_of(&text))
            .hint("dnf makecache  shows whether they can be read now"),
        Trouble::Missing { what } if unread.is_empty() => Error::refused("cannot resolve the packages")
            .because(format!("no enabled repository of this host has `{what}`"))
            .tail(&errors_of(&text))
            .hint(where_to_find(&what, host)),
        Trouble::Missing { what } => Error::try_again("cannot resolve the packages")
            .because(format!("none of the repositories that could be read has `{what}`"))
            .because(format!("dnf could not read {}", unread.join(", ")))
            .because(why_unreadable(&text, &unread, host))
            .tail(&errors_of(&text))
            .hint("dnf makecache  shows whether they can be read now"),
        _ => Error::failed("cannot resolve the packages").tail(&errors_of(&text)).hint("dnf check"),
    }
}

/// The repository that has it, where each distribution calls it something else; on RHEL there is none at all before
/// the machine is registered.
fn where_to_find(what: &str, host: &dyn Look) -> String {
    let has = |path: &str| host.exists(Path::new(path)).unwrap_or(false);
    if has(SUBSCRIPTION_MANAGER) && !has("/etc/pki/consumer/cert.pem") && !has("/etc/pki/rhui") {
        return "this system is not registered: subscription-manager register".into();
    }
    if what.starts_with("dkms") {
        return "`dkms` is in EPEL: dnf install epel-release, or on RHEL the package that docs.fedoraproject.org/en-US/epel names".into();
    }
    format!(
        "`{what}` is in AppStream (of Oracle Linux too; CentOS calls a part of it extras): `dnf repolist --all` shows \
         what it is called here, and `dnf config-manager --set-enabled ID` enables it"
    )
}

const SUBSCRIPTION_MANAGER: &str = "/usr/sbin/subscription-manager";

/// What stands behind it on the hosts of a cloud, where a certificate of the image opens the repositories.
fn why_unreadable(text: &str, unread: &[String], host: &dyn Look) -> String {
    if let Some(expired) = expired_certificate(unread, host).ok().flatten() {
        return expired;
    }
    let certificate =
        ["certificate has expired", "certificate expired", "Status code: 403", "SSL peer rejected"];
    let why = match certificate.iter().any(|words| text.contains(words)) {
        true => {
            "the certificate of this machine for them may have expired: its owner is the RHUI client package"
        }
        false => "the network is away, or they are",
    };
    why.to_owned()
}

/// The first of these repositories whose certificate for this machine is past its end, with who renews it.
fn expired_certificate(unread: &[String], host: &dyn Look) -> Result<Option<String>> {
    let directory = Path::new(DNF_REPOSITORIES);
    for name in host.list(directory)?.into_iter().filter(|name| name.ends_with(".repo")) {
        let file = directory.join(name);
        let text = host.read_text(&file)?.unwrap_or_default();
        let of_them =
            repository::parse(&file, &text).into_iter().filter(|section| unread.contains(&section.id));
        for section in of_them {
            for path in section.values.get("sslclientcert").into_iter().flatten() {
                let end = host.read_text(Path::new(path))?.as_deref().and_then(client_certificate::not_after);
                if let Some(end) = end.filter(|end| *end < host.now()) {
                    let day = jiff::Timestamp::from_second(end).map(|end| end.strftime("%F").to_string());
                    return Ok(Some(format!(
                        "the certificate of this machine for `{}`, {path}, has expired on {}: `rpm -qf {path}` names the \
                         package that renews it",
                        section.id,
                        day.unwrap_or_default()
                    )));
                }
            }
        }
    }
    Ok(None)
}

/// How often a fetch that came damaged is tried.
const TRIES: usize = 3;

/// Runs dnf until it is through: waits for locks, fetches what did not come again.
pub fn retrying(host: &dyn Touch, what: &str, run: impl Fn() -> Result<Output>) -> Result<()> {
    let mut tries = 0;
    loop {
        let output = run()?;
        if output.ok() {
            return Ok(());
        }
        match dnf::trouble(&output.stdout) {
            Trouble::Locked { holder } if !host.left().is_zero() => {
                host.pause(&format!("{holder}, which holds dnf's lock"))?;
            }
            Trouble::Locked { holder } => {
                return Err(Error::try_again(format!("cannot {what}"))
                    .because(format!("{holder} holds dnf's lock"))
                    .tail(&errors_of(&output.stdout))
                    .hint("wait for it, or give a longer --wait"));
            }
            Trouble::Fetch | Trouble::Unreadable { .. } if tries + 1 < TRIES => {
                tries += 1;
                host.tell(Event::Note { text: "what came is not whole: it is fetched again".into() });
            }
            trouble => return Err(ended(what, &trouble, &output)),
        }
    }
}

fn ended(what: &str, trouble: &Trouble, output: &Output) -> Error {
    let cannot = format!("cannot {what}");
    let errors = errors_of(&output.stdout);
    match trouble {
        Trouble::Fetch | Trouble::Unreadable { .. } => Error::try_again(cannot)
            .because("a repository could not be read, or a package in it is not what its index says")
            .tail(&errors)
            .hint("run the same command again"),
        Trouble::Signature => Error::refused(cannot)
            .because("a package is not signed by a key that this host knows")
            .tail(&errors)
            .hint("look at `gpgkey` of the repository that it is from"),
        _ => Error::failed(cannot).tail(&errors).hint("the log has the whole output"),
    }
}

/// dnf's own error lines, or the end of all that it wrote.
fn errors_of(output: &str) -> String {
    let mut lines =
        output.lines().skip_while(|line| !(line.starts_with("Error") || line.contains("rror:"))).peekable();
    match lines.peek() {
        Some(_) => lines.collect::<Vec<_>>().join("\n"),
        None => output.to_owned(),
    }
}
