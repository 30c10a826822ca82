//! The engine's package source, with a key of its own, and no other for the same address.

use super::Step;
use crate::error::Result;
use crate::resources::apt;
use crate::resources::file::Bytes;
use crate::resources::group::Presence;
use crate::resources::repository::{Files, Repository, Source};
use crate::resources::rpm_key::RpmKey;
use crate::resources::trace::Trace;
use crate::resources::want;
use crate::trust;
use crate::trust::repomd::Signed;
use std::path::Path;

pub const TITLE: &str = "the package source";

/// # Errors
/// The key file is not the pinned one.
pub fn step(title: &'static str, source: &Source) -> Result<Step> {
    let mut wants = vec![want(Repository::of(source), Files::right())];
    let mut traces = Vec::new();
    match source {
        Source::Apt(source) => {
            let lists = source.list_names().into_iter().map(|name| Path::new(apt::LISTS).join(name));
            // apt keeps what it fetched of a source when the source goes.
            traces.extend(lists.map(|path| Trace { path, data: false }));
        }
        // rpm checks packages by the certificates of its own database, and dnf would ask before it adds one.
        Source::Dnf(source) if source.index.signed == Signed::Packages => {
            for certificate in trust::certificates(&source.index.pin)? {
                let fingerprint = certificate.fingerprint().to_hex();
                wants.push(want(
                    RpmKey { fingerprint, bytes: Bytes(source.index.pin.key.clone()) },
                    Presence::Present,
                ));
            }
        }
        // dnf keeps the certificate of an index with what it fetched.
        Source::Dnf(_) => {}
    }
    Ok(Step { traces, ..Step::new(title, wants) })
}
