//! Serves the mirror's variants over TLS and the archive over plain http, and remembers who asked for what.

use crate::keys::{Keys, NAMES};
use crate::mirror::Variant;
use crate::net::{self, Net};
use crate::process::Run;
use crate::sh;
use anyhow::{Context, Result, bail};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A request that a host made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The variant's name, or `archive`.
    pub server: String,
    pub method: String,
    pub host: String,
    pub path: String,
    pub status: u16,
}

const SILENT: &str = "127.0.0.1:7777";

/// What is served: Docker's mirror and the distributions' archives, each for apt and for dnf, and NVIDIA's.
pub struct Trees {
    pub mirror: PathBuf,
    pub mirror_rpm: PathBuf,
    pub nvidia: PathBuf,
    pub archive: PathBuf,
    pub archive_dnf: PathBuf,
}

/// Starts the servers of a run.
pub fn start(run: &Run, net: &Net, keys: &Keys, trees: &Trees) -> Result<()> {
    let dir = run.dir.join("nginx");
    let (cert, key) = keys.server();
    sh::write(&dir.join("nginx.conf"), config(&dir, &cert, &key, trees))?;
    let me = std::env::current_exe().context("finding this program")?;
    let silent = detached(net, &[&me.to_string_lossy(), "silent"])?;
    run.record(silent)?;
    let conf = dir.join("nginx.conf");
    let nginx = detached(net, &["nginx", "-p", &dir.to_string_lossy(), "-c", &conf.to_string_lossy()])?;
    run.record(nginx)?;
    for _ in 0..250 {
        if net.run(&["sh", "-c", "ss -Hltn sport = :80 | grep -q ."]).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("nginx does not listen: {}", sh::read(&dir.join("error.log")).unwrap_or_default())
}

/// A process of its own group, which a Ctrl-C at the terminal does not reach.
pub(crate) fn detached(net: &Net, argv: &[&str]) -> Result<u32> {
    use std::os::unix::process::CommandExt;
    let mut command = net.command(argv);
    command.process_group(0).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    Ok(command.spawn().with_context(|| format!("starting {}", argv[0]))?.id())
}

/// Accepts, and never answers. Runs in a process of its own.
pub fn silent() -> Result<()> {
    let listener = TcpListener::bind(SILENT).context("listening")?;
    let mut open = Vec::new();
    for stream in listener.incoming() {
        open.push(stream);
    }
    Ok(())
}

fn config(dir: &Path, cert: &Path, key: &Path, trees: &Trees) -> String {
    let at = dir.display();
    let mut text = format!(
        "daemon off;\nmaster_process off;\nuser root;\npid {at}/pid;\nerror_log {at}/error.log;\n\
         events {{ worker_connections 512; }}\nhttp {{\n\
         log_format lab '$remote_addr $request_method $host $status $request_uri';\n\
         access_log {at}/archive.log lab;\ntypes {{ }}\ndefault_type application/octet-stream;\n\
         client_body_temp_path {at}/t1;\nproxy_temp_path {at}/t2;\nfastcgi_temp_path {at}/t3;\n\
         uwsgi_temp_path {at}/t4;\nscgi_temp_path {at}/t5;\nsendfile on;\n\
         ssl_certificate {};\nssl_certificate_key {};\n\
         server {{ listen {}:80; root {}; location /rpm/ {{ root {}; }} location ~ ^/(whole|whole-dnf|foreign)/ {{ root {at}; }} location /forbidden/ {{ return 403; }} }}\n",
        cert.display(),
        key.display(),
        net::GATEWAY,
        trees.archive.display(),
        trees.archive_dnf.display()
    );
    for variant in Variant::ALL.into_iter().filter(|variant| *variant != Variant::Refused) {
        let (name, address) = (variant.name(), net::address(variant));
        let inside = match variant {
            Variant::NotFound => "return 404;".to_string(),
            Variant::Unavailable => "return 503;".to_string(),
            Variant::Hang => format!("location / {{ proxy_pass http://{SILENT}; proxy_read_timeout 1h; }}"),
            _ => format!(
                "root {}/{name}; location ~ ^/linux/(rhel|centos|fedora|rocky|alma)/ {{ root {}/{name}; }} \
                 location ~ ^/(libnvidia-container|nvidia-docker|nvidia-container-runtime|compute)/ {{ root {}/{name}; }}",
                trees.mirror.display(),
                trees.mirror_rpm.display(),
                trees.nvidia.display()
            ),
        };
        text += &format!(
            "server {{ listen {address}:443 ssl; listen {address}:80; server_name {}; access_log {at}/{name}.log lab; {inside} }}\n",
            NAMES[0]
        );
    }
    text + "}\n"
}

/// The requests that came from an address, in the order of each server's log.
pub fn requests(run: &Path, from: &str) -> Vec<Request> {
    let mut all = Vec::new();
    for server in Variant::ALL.iter().map(|variant| variant.name()).chain(["archive"]) {
        let text = sh::read(&run.join("nginx").join(format!("{server}.log"))).unwrap_or_default();
        for line in text.lines() {
            let fields: Vec<&str> = line.splitn(5, ' ').collect();
            if let [who, method, host, status, path] = fields[..]
                && who == from
            {
                all.push(Request {
                    server: server.to_string(),
                    method: method.to_string(),
                    host: host.to_string(),
                    path: path.to_string(),
                    status: status.parse().unwrap_or_default(),
                });
            }
        }
    }
    all
}
