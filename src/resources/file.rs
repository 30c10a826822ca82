//! A path with what is at it: nothing, a file with its bytes, or a directory.

use super::Resource;
use crate::error::{Error, Result};
use crate::event::Line;
use crate::host::{Kind, Look, Owner, Touch};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A file or a directory of ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct File {
    pub path: PathBuf,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Node {
    Absent,
    File {
        bytes: Bytes,
        owner: Owner,
    },
    Directory {
        owner: Owner,
    },
    /// A socket, a pipe or a device, which others made and nobody makes anew.
    Other,
}

/// Bytes of a file: text where they are text, else base64, so that a receipt can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "StoredBytes", try_from = "StoredBytes")]
pub struct Bytes(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredBytes {
    Text(String),
    Base64(String),
}

impl From<Bytes> for StoredBytes {
    fn from(bytes: Bytes) -> Self {
        match String::from_utf8(bytes.0) {
            Ok(text) => StoredBytes::Text(text),
            Err(error) => StoredBytes::Base64(data_encoding::BASE64.encode(error.as_bytes())),
        }
    }
}

impl TryFrom<StoredBytes> for Bytes {
    type Error = data_encoding::DecodeError;
    fn try_from(stored: StoredBytes) -> std::result::Result<Self, Self::Error> {
        match stored {
            StoredBytes::Text(text) => Ok(Bytes(text.into_bytes())),
            StoredBytes::Base64(text) => data_encoding::BASE64.decode(text.as_bytes()).map(Bytes),
        }
    }
}

impl Node {
    pub fn file(bytes: impl Into<Vec<u8>>) -> Node {
        Node::File { bytes: Bytes(bytes.into()), owner: Owner::ROOT_0644 }
    }
    pub fn directory() -> Node {
        Node::Directory { owner: Owner::ROOT_0755 }
    }
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Node::File { bytes, .. } => Some(&bytes.0),
            _ => None,
        }
    }
    fn words(&self) -> String {
        match self {
            Node::Absent => "absent".into(),
            Node::File { bytes, .. } => format!("file, {} bytes", bytes.0.len()),
            Node::Directory { .. } => "directory".into(),
            Node::Other => "neither a file nor a directory".into(),
        }
    }
}

impl Resource for File {
    type State = Node;

    fn get(&self, host: &dyn Look) -> Result<Node> {
        let Some(stat) = host.stat(&self.path)? else { return Ok(Node::Absent) };
        let owner = Owner { uid: stat.uid, gid: stat.gid, mode: stat.mode };
        match stat.kind {
            Kind::Directory => Ok(Node::Directory { owner }),
            // A link is read through: its target is what programs see.
            Kind::File | Kind::Link => match host.read(&self.path)? {
                Some(bytes) => {
                    Ok(Node::File { bytes: Bytes(bytes), owner: owner_behind(host, self, owner)? })
                }
                None => Ok(Node::Absent),
            },
            Kind::Socket | Kind::Other => Ok(Node::Other),
        }
    }

    fn set(&self, state: &Node, host: &dyn Touch) -> Result<()> {
        let now = self.get(host)?;
        if now == *state {
            return Ok(());
        }
        if now == Node::Other {
            return Err(Error::refused(format!("cannot use `{}`", self.path.display()))
                .because("it is neither a file nor a directory"));
        }
        match state {
            Node::Absent => host.remove(&self.path),
            Node::File { bytes, owner } => host.write(&self.path, &bytes.0, *owner),
            Node::Directory { owner } => host.make_directory(&self.path, *owner),
            Node::Other => {
                Err(Error::refused(format!("cannot make `{}`", self.path.display()))
                    .because("it was no file"))
            }
        }
    }

    /// A directory that is there serves, whoever owns it; a file must have the bytes.
    fn meets(now: &Node, want: &Node) -> bool {
        match (now, want) {
            (Node::Directory { .. }, Node::Directory { .. }) => true,
            _ => now == want,
        }
    }

    fn describe(&self, before: &Node, after: &Node) -> Vec<Line> {
        let name = self.path.display().to_string();
        vec![match (before, after) {
            (Node::Absent, after) => Line::add("file", name, after.words()),
            (before, Node::Absent) => Line::remove("file", name, before.words()),
            (before, after) => Line::change("file", name, format!("{} → {}", before.words(), after.words())),
        }]
    }

    fn way_back(
        &self,
        change: &super::Change<Self>,
        host: &dyn Look,
        how: super::How,
    ) -> Result<super::WayBack<Node>> {
        use super::WayBack;
        let now = self.get(host)?;
        // A directory that we made goes when it is empty; what others put there stays with it.
        if let (Node::Directory { .. }, Node::Absent) = (&now, &change.before) {
            let names = host.list(&self.path)?;
            if let Some(first) = names.first() {
                return Ok(WayBack::Kept { why: format!("it is not empty: holds `{first}`") });
            }
            return Ok(WayBack::Restore { now, to: Node::Absent, told: Vec::new() });
        }
        Ok(if now == change.before {
            WayBack::AlreadyAsBefore
        } else if Self::still_ours(&now, &change.after) || how.force {
            WayBack::Restore { now, to: change.before.clone(), told: Vec::new() }
        } else {
            WayBack::ChangedSince { why: "it was edited since".into() }
        })
    }
}

/// The owner of what a link leads to, for a link's own mode says nothing.
fn owner_behind(host: &dyn Look, file: &File, own: Owner) -> Result<Owner> {
    let mut path = file.path.clone();
    for _ in 0..8 {
        let Some(target) = host.link(&path)? else { break };
        path = path.parent().map(|p| p.join(&target)).unwrap_or(target);
    }
    Ok(match host.stat(&path)? {
        Some(stat) if path != file.path => Owner { uid: stat.uid, gid: stat.gid, mode: stat.mode },
        _ => own,
    })
}
