//! Makes the lab's keys once: of Docker's mirror and NVIDIA's, an expired and a rogue one, of the archive, and a TLS
//! authority.

use crate::{cache, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The lab's stand-in for Docker's key: it certifies, and a subkey of it signs.
    Docker,
    /// The stand-in for Docker's key for rpms: as upstream's, it has no subkey and signs by itself.
    DockerRpm,
    /// Valid for the year 2020 only, and so are its signatures.
    Expired,
    /// Somebody else's, with the same name on it.
    Rogue,
    /// Of the distribution's archive.
    Archive,
    /// The stand-in for the key of NVIDIA's container toolkit. As with all of NVIDIA's, the primary key signs.
    Toolkit,
    /// Of the CUDA repositories that have a key of this decade.
    Cuda,
    /// Of the older CUDA repositories: what binds its certificate together is SHA-1, as in upstream's of 2022.
    CudaSha1,
}

impl Key {
    pub const ALL: [Key; 8] = [
        Key::Docker,
        Key::DockerRpm,
        Key::Expired,
        Key::Rogue,
        Key::Archive,
        Key::Toolkit,
        Key::Cuda,
        Key::CudaSha1,
    ];

    fn name(self) -> &'static str {
        match self {
            Key::Docker => "docker",
            Key::DockerRpm => "docker-rpm",
            Key::Expired => "expired",
            Key::Rogue => "rogue",
            Key::Archive => "archive",
            Key::Toolkit => "toolkit",
            Key::Cuda => "cuda",
            Key::CudaSha1 => "cuda-sha1",
        }
    }

    /// Whether the primary key signs by itself.
    fn alone(self) -> bool {
        matches!(self, Key::DockerRpm | Key::Toolkit | Key::Cuda | Key::CudaSha1)
    }

    /// What gpg is told of the time, to sign with a key of the past.
    pub(crate) fn clock(self) -> Option<&'static str> {
        (self == Key::Expired).then_some("--faked-system-time=20200601T000000!")
    }
}

/// The names that the mirror's certificate answers to.
pub const NAMES: [&str; 3] = ["download.docker.com", "nvidia.github.io", "developer.download.nvidia.com"];

pub struct Keys {
    dir: PathBuf,
}

impl Keys {
    pub fn ensure() -> Result<Keys> {
        let dir = cache::ensure("keys", &[include_str!("keys.rs")], |dir| {
            for key in Key::ALL {
                make(dir, key)?;
            }
            authority(dir)
        })?;
        Ok(Keys { dir })
    }

    /// The public certificate, armored.
    pub fn public(&self, key: Key) -> PathBuf {
        self.dir.join(format!("{}.asc", key.name()))
    }

    /// The authority that hosts trust for TLS.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// The mirror's TLS certificate and its key.
    pub fn server(&self) -> (PathBuf, PathBuf) {
        (self.dir.join("server.crt"), self.dir.join("server.key"))
    }

    /// What caches that hold signatures depend on.
    pub fn hash(&self) -> Result<String> {
        let all: Result<Vec<String>> = Key::ALL.iter().map(|key| sh::read(&self.public(*key))).collect();
        Ok(cache::sha256(all?.concat().as_bytes()))
    }

    /// A signer; it has a home of its own below /tmp, for gpg's agent needs a short path.
    pub fn signer(&self) -> Result<Signer> {
        let signer = Signer::new()?;
        for key in Key::ALL {
            let secret = self.dir.join(format!("{}.secret", key.name()));
            signer.gpg(&["--import", &secret.to_string_lossy()])?;
        }
        Ok(signer)
    }
}

pub struct Signer {
    home: PathBuf,
}

impl Signer {
    fn new() -> Result<Signer> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let home = PathBuf::from(format!("/tmp/rprov-lab-gpg-{}-{n}", std::process::id()));
        sh::remove_tree(&home)?;
        fs::create_dir(&home).context("making a home for gpg")?;
        sh::run(&["chmod", "700", &home.to_string_lossy()])?;
        Ok(Signer { home })
    }

    /// The directory with the secret keys.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    fn gpg(&self, argv: &[&str]) -> Result<String> {
        let home = self.home.to_string_lossy();
        let mut all =
            vec!["gpg", "--homedir", &home, "--batch", "--quiet", "--yes", "--no-permission-warning"];
        all.extend(["--pinentry-mode", "loopback", "--passphrase", "", "--digest-algo", "SHA512"]);
        all.extend(argv);
        sh::run(&all)
    }

    /// Signs a Release file: InRelease and Release.gpg beside it.
    pub fn sign(&self, keys: &[Key], release: &Path) -> Result<()> {
        self.write("--clearsign", keys, release, &release.with_file_name("InRelease"))?;
        self.detached(keys, release, &release.with_file_name("Release.gpg"))
    }

    /// Signs a file, in a file of its own.
    pub fn detached(&self, keys: &[Key], file: &Path, signature: &Path) -> Result<()> {
        self.write("--detach-sign", keys, file, signature)
    }

    fn write(&self, how: &str, keys: &[Key], file: &Path, out: &Path) -> Result<()> {
        let (file, out) = (file.to_string_lossy(), out.to_string_lossy());
        let who: Vec<String> = keys.iter().map(|key| mail(*key)).collect();
        let mut argv: Vec<&str> = keys.iter().filter_map(|key| key.clock()).collect();
        argv.extend(who.iter().flat_map(|mail| ["--local-user", mail.as_str()]));
        argv.extend(["--armor", "--output", &out, how, &file]);
        self.gpg(&argv).map(drop)
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let home = self.home.to_string_lossy();
        let _ = sh::run(&["gpgconf", "--homedir", &home, "--kill", "all"]);
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// How a key is named to gpg, its fingerprint not being known beforehand.
pub(crate) fn mail(key: Key) -> String {
    format!("<{}@lab.invalid>", key.name())
}

fn make(dir: &Path, key: Key) -> Result<()> {
    let signer = Signer::new()?;
    let who = match key {
        Key::Docker | Key::Rogue => "Docker Release (CE deb)",
        Key::DockerRpm => "Docker Release (CE rpm)",
        Key::Expired => "Docker Release (expired)",
        Key::Archive => "Lab Archive",
        Key::Toolkit => "NVIDIA CORPORATION (Open Source Projects)",
        Key::Cuda | Key::CudaSha1 => "cudatools",
    };
    let uid = format!("{who} {}", mail(key));
    let clock = key.clock().map(|_| "--faked-system-time=20200101T000000!");
    let call = |argv: &[&str]| {
        let mut all: Vec<&str> = clock.into_iter().collect();
        if key == Key::CudaSha1 {
            all.extend(["--cert-digest-algo", "SHA1"]);
        }
        all.extend(argv);
        signer.gpg(&all)
    };
    let life = if key == Key::Expired { "1y" } else { "never" };
    let usage = if key.alone() { "sign,cert" } else { "cert" };
    call(&["--quick-generate-key", &uid, "rsa3072", usage, life])?;
    let listed = signer.gpg(&["--with-colons", "--list-keys"])?;
    let finger = listed.lines().find(|line| line.starts_with("fpr:")).and_then(|line| line.split(':').nth(9));
    let finger = finger.context("gpg names no fingerprint")?;
    if !key.alone() {
        call(&["--quick-add-key", finger, "rsa3072", "sign", life])?;
    }
    let secret = dir.join(format!("{}.secret", key.name()));
    let public = dir.join(format!("{}.asc", key.name()));
    signer.gpg(&["--armor", "--output", &secret.to_string_lossy(), "--export-secret-keys", finger])?;
    signer.gpg(&["--armor", "--output", &public.to_string_lossy(), "--export", finger])?;
    sh::run(&["chmod", "600", &secret.to_string_lossy()]).map(drop)
}

fn authority(dir: &Path) -> Result<()> {
    let names: Vec<String> = NAMES.iter().map(|name| format!("DNS:{name}")).collect();
    sh::write(
        &dir.join("server.ext"),
        format!(
            "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName={}\n",
            names.join(",")
        ),
    )?;
    let script = "set -e
openssl ecparam -genkey -name prime256v1 -noout -out ca.key
openssl req -x509 -new -key ca.key -days 3650 -subj '/CN=Lab authority' -out ca.crt \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
openssl ecparam -genkey -name prime256v1 -noout -out server.key
openssl req -new -key server.key -subj '/CN=lab mirror' -out server.csr
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile server.ext -out server.crt
chmod 600 ca.key server.key";
    sh::run_in(dir, &["sh", "-c", script]).map(drop)
}
