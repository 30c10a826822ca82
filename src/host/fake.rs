//! A host made of maps, for tests: files, links and scripted answers; it panics on a question that was not scripted.

use super::{Kind, Look, Output, Question, Room, Stat};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// A host that holds what a test put there, and nothing else.
#[derive(Clone, Debug, Default)]
pub struct FakeHost {
    nodes: BTreeMap<PathBuf, Node>,
    answers: BTreeMap<Question, Output>,
    bodies: BTreeMap<String, Vec<u8>>,
    attributes: BTreeMap<(PathBuf, String), Vec<u8>>,
    rooms: BTreeMap<PathBuf, Room>,
    sizes: BTreeMap<PathBuf, u64>,
    times: BTreeMap<PathBuf, i64>,
    now: i64,
}

#[derive(Clone, Debug)]
struct Node {
    content: Content,
    mode: u32,
    uid: u32,
    gid: u32,
}

#[derive(Clone, Debug)]
enum Content {
    File(Vec<u8>),
    Directory,
    Link(PathBuf),
    Socket,
}

impl FakeHost {
    pub fn new() -> Self {
        FakeHost::default().directory("/")
    }
    /// A file of root's, mode 0644, and the directories above it.
    pub fn file(self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Self {
        self.node(path.as_ref(), Content::File(bytes.as_ref().to_vec()), 0o644)
    }
    /// A directory of root's, mode 0755, and those above it.
    pub fn directory(self, path: impl AsRef<Path>) -> Self {
        self.node(path.as_ref(), Content::Directory, 0o755)
    }
    /// A symbolic link of root's.
    pub fn link(self, path: impl AsRef<Path>, target: impl AsRef<Path>) -> Self {
        self.node(path.as_ref(), Content::Link(target.as_ref().to_owned()), 0o777)
    }
    /// A socket of root's, mode 0660.
    pub fn socket(self, path: impl AsRef<Path>) -> Self {
        self.node(path.as_ref(), Content::Socket, 0o660)
    }
    /// Sets owner, group and mode of a path that is there.
    pub fn held(mut self, path: impl AsRef<Path>, uid: u32, gid: u32, mode: u32) -> Self {
        let path = path.as_ref();
        let node = self.nodes.get_mut(path).unwrap_or_else(|| panic!("no `{}` to hold", path.display()));
        (node.uid, node.gid, node.mode) = (uid, gid, mode);
        self
    }
    /// An extended attribute.
    pub fn attribute(mut self, path: impl AsRef<Path>, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.attributes.insert((path.as_ref().to_owned(), name.to_owned()), bytes.as_ref().to_vec());
        self
    }
    /// A file that is as large as this, without its bytes.
    pub fn large(mut self, path: impl AsRef<Path>, size: u64) -> Self {
        self.sizes.insert(path.as_ref().to_owned(), size);
        self.file(path, "")
    }
    /// A file that was written at this time; the others are as old as now.
    pub fn written(mut self, path: impl AsRef<Path>, at: i64) -> Self {
        self.times.insert(path.as_ref().to_owned(), at);
        self.file(path, "")
    }
    /// The file system that everything below a path lies on.
    pub fn room(mut self, path: impl AsRef<Path>, room: Room) -> Self {
        self.rooms.insert(path.as_ref().to_owned(), room);
        self
    }
    /// Gives a path that is there to somebody, with this mode.
    pub fn owned(mut self, path: impl AsRef<Path>, uid: u32, mode: u32) -> Self {
        let path = path.as_ref();
        let node = self.nodes.get_mut(path).unwrap_or_else(|| panic!("no `{}` to own", path.display()));
        (node.uid, node.gid, node.mode) = (uid, uid, mode);
        self
    }
    /// Takes a path away, and what is below it.
    pub fn without(mut self, path: impl AsRef<Path>) -> Self {
        self.nodes.retain(|known, _| !known.starts_with(path.as_ref()));
        self
    }
    /// Scripts the answer to a question: standard output of a command that succeeded.
    pub fn answer(self, question: Question, stdout: &str) -> Self {
        self.answer_whole(question, Output { stdout: stdout.to_owned(), ..Output::default() })
    }
    /// Scripts the whole answer to a question.
    pub fn answer_whole(mut self, question: Question, output: Output) -> Self {
        self.answers.insert(question, output);
        self
    }
    /// Scripts what a URL holds.
    pub fn body(mut self, url: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.bodies.insert(url.to_owned(), bytes.as_ref().to_vec());
        self
    }
    /// Sets the clock.
    pub fn at(mut self, now: i64) -> Self {
        self.now = now;
        self
    }

    fn node(mut self, path: &Path, content: Content, mode: u32) -> Self {
        assert!(path.is_absolute(), "`{}` is not absolute", path.display());
        for above in path.ancestors().skip(1) {
            self.nodes.entry(above.to_owned()).or_insert(Node {
                content: Content::Directory,
                mode: 0o755,
                uid: 0,
                gid: 0,
            });
        }
        self.nodes.insert(path.to_owned(), Node { content, mode, uid: 0, gid: 0 });
        self
    }

    /// The path with the links above it followed, and the last one too if wanted.
    fn resolve(&self, path: &Path, follow_last: bool) -> PathBuf {
        let mut real = PathBuf::new();
        let parts: Vec<Component> = path.components().collect();
        for (index, part) in parts.iter().enumerate() {
            match part {
                Component::ParentDir => {
                    real.pop();
                }
                other => real.push(other),
            }
            let last = index + 1 == parts.len();
            if let Some(Node { content: Content::Link(target), .. }) = self.nodes.get(&real)
                && (!last || follow_last)
            {
                let joined = real.parent().unwrap_or(Path::new("/")).join(target);
                real = self.resolve(&joined, true);
            }
        }
        real
    }
}

impl Look for FakeHost {
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        match self.nodes.get(&self.resolve(path, true)).map(|n| &n.content) {
            None | Some(Content::Link(_)) => Ok(None),
            Some(Content::Socket) => {
                Err(Error::failed(format!("cannot read `{}`", path.display())).because("it is a socket"))
            }
            Some(Content::File(bytes)) => Ok(Some(bytes.clone())),
            Some(Content::Directory) => {
                Err(Error::failed(format!("cannot read `{}`", path.display())).because("it is a directory"))
            }
        }
    }
    fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        Ok(self.nodes.get(&self.resolve(path, false)).map(|node| {
            let (kind, size) = match &node.content {
                Content::File(bytes) => (Kind::File, bytes.len() as u64),
                Content::Directory => (Kind::Directory, 0),
                Content::Link(_) => (Kind::Link, 0),
                Content::Socket => (Kind::Socket, 0),
            };
            let size = self.sizes.get(path).copied().unwrap_or(size);
            let modified = self.times.get(path).copied().unwrap_or(self.now);
            Stat { kind, mode: node.mode, uid: node.uid, gid: node.gid, size, modified }
        }))
    }
    fn link(&self, path: &Path) -> Result<Option<PathBuf>> {
        Ok(match self.nodes.get(&self.resolve(path, false)).map(|n| &n.content) {
            Some(Content::Link(target)) => Some(target.clone()),
            _ => None,
        })
    }
    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let real = self.resolve(path, true);
        Ok(self
            .nodes
            .keys()
            .filter(|known| known.parent() == Some(real.as_path()))
            .filter_map(|known| known.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect())
    }
    fn read_plain(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        let through_a_link = path.ancestors().any(|part| self.link(part).is_ok_and(|link| link.is_some()));
        match self.read(path)? {
            Some(_) if through_a_link => Err(Error::refused("a link is in the way")),
            Some(bytes) if bytes.len() as u64 > limit => Err(Error::refused("it is too large")),
            other => Ok(other),
        }
    }
    fn room(&self, path: &Path) -> Result<Option<Room>> {
        let known = path.ancestors().find_map(|part| self.rooms.get(part));
        Ok(known.copied().filter(|_| self.nodes.contains_key(&self.resolve(path, true))))
    }
    fn attribute(&self, path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.attributes.get(&(path.to_owned(), name.to_owned())).cloned())
    }
    fn query(&self, question: &Question) -> Result<Output> {
        match self.answers.get(question) {
            Some(output) => Ok(output.clone()),
            None => panic!("nothing was scripted for {question:?}"),
        }
    }
    fn fetch(&self, url: &str, _limit: u64) -> Result<Vec<u8>> {
        match self.bodies.get(url) {
            Some(bytes) => Ok(bytes.clone()),
            None => panic!("nothing was scripted for `{url}`"),
        }
    }
    fn fetch_again(&self, url: &str, limit: u64) -> Result<Vec<u8>> {
        self.fetch(url, limit)
    }
    fn now(&self) -> i64 {
        self.now
    }
}
