//! A docker archive with this program as its only file: every generation's `docker load` knows the form.

use crate::error::{OrFail, Result};
use crate::host::local;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

const SELF: &str = "/proc/self/exe";

/// Writes the archive: `manifest.json`, a configuration and one layer.
pub fn write(path: &Path, tag: &str) -> Result<()> {
    let cannot = || "cannot make the image of the smoke test".to_owned();
    let layer = layer()?;
    let digest = hex(&layer);
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Entrypoint": ["/rprov"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    })
    .to_string();
    let config_name = format!("{}.json", hex(config.as_bytes()));
    let layer_name = format!("{digest}/layer.tar");
    let manifest = json!([{ "Config": config_name, "RepoTags": [tag], "Layers": [layer_name] }]).to_string();
    let mut archive = tar::Builder::new(fs::File::create(path).or_fail(cannot)?);
    for (name, bytes) in [
        (config_name.as_str(), config.as_bytes()),
        (&layer_name, &layer),
        ("manifest.json", manifest.as_bytes()),
    ] {
        add(&mut archive, name, bytes, 0o644)?;
    }
    archive.into_inner().and_then(|mut file| file.flush()).or_fail(cannot)
}

/// The program, and where it is not static the libraries that it needs at their own paths.
fn layer() -> Result<Vec<u8>> {
    let cannot = || "cannot make the layer of the smoke test".to_owned();
    let mut layer = tar::Builder::new(Vec::new());
    add(&mut layer, "rprov", &fs::read(SELF).or_fail(cannot)?, 0o755)?;
    // NVIDIA's hooks make links and a cache of libraries in there.
    for directory in ["etc/", "tmp/", "usr/", "usr/lib/"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(if directory == "tmp/" { 0o1777 } else { 0o755 });
        header.set_mtime(0);
        layer.append_data(&mut header, directory, std::io::empty()).or_fail(cannot)?;
    }
    for library in libraries()? {
        let name = library.strip_prefix("/").unwrap_or(&library).display().to_string();
        add(&mut layer, &name, &fs::read(&library).or_fail(cannot)?, 0o755)?;
    }
    layer.into_inner().or_fail(cannot)
}

fn add<W: Write>(archive: &mut tar::Builder<W>, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    archive.append_data(&mut header, name, bytes).or_fail(|| "cannot make the image of the smoke test".into())
}

/// By `ldd`; a static program has none.
fn libraries() -> Result<Vec<PathBuf>> {
    if cfg!(target_feature = "crt-static") {
        return Ok(Vec::new());
    }
    let program = fs::read_link(SELF).or_fail(|| "cannot find this program".into())?;
    let output = local::ask_program(&["ldd", &program.display().to_string()])?;
    Ok(parse_ldd(&output.stdout))
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn parse_ldd(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let words = line.split_once("=> ").map_or(line, |(_, rest)| rest);
        words.split_whitespace().next().filter(|word| word.starts_with('/')).map(PathBuf::from)
    };
    text.lines().filter_map(path).collect()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    #[test]
    fn libraries_are_read_from_ldd() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let found = super::parse_ldd(text);
        assert_eq!(
            found.iter().map(|p| p.display().to_string()).collect::<Vec<_>>(),
            ["/lib/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
    }
}
