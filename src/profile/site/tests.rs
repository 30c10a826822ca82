//! What is asked of a daemon at real sites, on hosts that have something in the way.

use super::*;
use crate::error::Exit;
use crate::facts::gather;
use crate::host::Question;
use crate::host::fake::FakeHost;
use crate::profile::{Config, Flags, Json, Library};
use serde_json::json;

fn settings(daemon: Value, with: &[&str]) -> Settings {
    let library = Library::shipped().unwrap();
    let profile = library.get("ubuntu-24.04").unwrap().profile.clone();
    let config = Config {
        daemon: Json(daemon.as_object().unwrap().clone()),
        with: with.iter().map(|name| (*name).to_owned()).collect(),
        ..Config::default()
    };
    Settings::merge(Flags::default(), config, profile, &library).unwrap()
}

fn looked(daemon: Value, host: &FakeHost) -> (Settings, Vec<String>) {
    let mut settings = settings(daemon, &[]);
    let facts = gather(host).unwrap();
    let notes = settings.look_around(&facts, host).unwrap();
    (settings, notes)
}

#[test]
fn a_host_with_nothing_in_the_way_is_told_nothing() {
    let (settings, notes) = looked(json!({"log-driver": "local"}), &FakeHost::new());
    assert_eq!((settings.site, notes), (Site::default(), Vec::new()));
}

#[test]
fn a_data_root_takes_containerds_along_only_where_nothing_is_there() {
    let asked = json!({"data-root": "/srv/big/docker"});
    let (fresh, notes) = looked(asked.clone(), &FakeHost::new().directory("/srv"));
    assert_eq!(notes, [""; 0]);
    assert_eq!(fresh.site.containerd_root.as_deref(), Some(Path::new("/srv/big/docker/containerd-store")));
    assert_eq!(fresh.site.data.as_deref(), Some(Path::new("/srv/big/docker")));
    assert_eq!(fresh.site.made, [Path::new("/srv/big")]);

    let there = FakeHost::new().directory("/srv/big/docker").file("/usr/bin/dockerd", "");
    let (old, notes) = looked(asked, &there);
    assert_eq!(old.site, Site::default());
    assert!(notes[0].contains("/etc/containerd/config.toml"), "{notes:?}");
    assert!(notes[1].contains("/var/lib/docker stays there"), "{notes:?}");

    for wrong in ["relative", "/", "/srv/a b", "/srv/50%"] {
        let host = FakeHost::new();
        let error = settings(json!({"data-root": wrong}), &[])
            .look_around(&gather(&host).unwrap(), &host)
            .unwrap_err();
        assert_eq!(error.exit, Exit::Usage, "{wrong}");
    }
}

#[test]
fn pools_are_chosen_beside_the_routes_only_where_no_engine_was_and_nobody_names_any() {
    let office = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                  tun0\t000011AC\t0101A8C0\t0003\t0\t0\t0\t0000FFFF\n";
    let host = FakeHost::new().file("/proc/net/route", office);
    let (moved, notes) = looked(json!({}), &host);
    assert_eq!(moved.site.pools, Some(json!([{"base": "172.30.0.0/16", "size": 24}])));
    assert!(notes[0].contains("leads to 172.17.0.0/16"), "{notes:?}");
    assert_eq!(looked(json!({"bip": "10.9.0.1/16"}), &host).0.site.pools, None);
    let theirs = FakeHost::new().file("/proc/net/route", office).file(FILE, r#"{"bip": "10.9.0.1/16"}"#);
    assert_eq!(looked(json!({}), &theirs), (settings(json!({}), &[]), Vec::new()));
    assert_eq!(looked(json!({}), &host.file("/usr/bin/dockerd", "")).0.site.pools, None);
}

#[test]
fn what_dockerd_would_not_heed_and_what_others_could_reach_is_told() {
    let file = r#"{"insecure-registries": ["old.example"], "registry-mirror": ["x"]}"#;
    let version = "Docker version 29.7.2, build abc\n";
    let host = FakeHost::new()
        .file(FILE, file)
        .file("/usr/bin/dockerd", "")
        .answer(Question::DockerdVersion, version);
    let asked = json!({"insecure-registries": ["registry.example:5000"], "http-proxy": "http://p:1",
        "hosts": ["tcp://0.0.0.0:2375", "tcp://127.0.0.1:2375", "tcp://[::1]:2375"]});
    let (settings, notes) = looked(asked, &host);
    let notes = notes.join("\n");
    for told in [
        "`[daemon]`: `http-proxy` has no effect; dockerd reads `proxies`",
        "/etc/docker/daemon.json: `registry-mirror` has no effect",
        "whoever reaches `tcp://0.0.0.0:2375` is root here",
        "needs `127.0.0.0/8` in it",
    ] {
        assert!(notes.contains(told), "`{told}` is not in:\n{notes}");
    }
    assert_eq!(notes.matches("is root here").count(), 1, "{notes}");
    assert_eq!(settings.daemon_asked()["hosts"][0], "fd://");
}

#[test]
fn a_registry_needs_an_image_and_a_place_among_the_insecure_ones() {
    let host = FakeHost::new();
    let mut settings = settings(json!({"insecure-registries": ["r.example"]}), &["registry"]);
    let error = settings.look_around(&gather(&host).unwrap(), &host).unwrap_err();
    assert_eq!(error.exit, Exit::Usage);
    assert!(error.to_string().contains("--registry-image"), "{error}");
    assert_eq!(
        settings.daemon_asked()["insecure-registries"],
        json!(["r.example", "127.0.0.0/8", "::1/128"])
    );
}
