//! The laws that hold for every kind of resource, proved on a machine in memory by one generic function, and the ways
//! back on machines that others have changed since.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod model;

use model::{Cut, Model, Runs, State, differences, mirror_key};
use rprov::host::{Look, Owner};
use rprov::resources::file::{File, Node};
use rprov::resources::group::{Group, Presence};
use rprov::resources::hold::{Held, Hold};
use rprov::resources::image::{Image, Loaded};
use rprov::resources::json_keys::{Defaults, Engine, JsonKeys};
use rprov::resources::member::Member;
use rprov::resources::module::{Loaded as InKernel, Module};
use rprov::resources::packages::{Manager, Package, Packages, Versions};
use rprov::resources::repository::{Files, Repository, Source, apt, dnf};
use rprov::resources::rpm_key::RpmKey;
use rprov::resources::trace::{Seen, Trace};
use rprov::resources::unit::{Unit, UnitState};
use rprov::resources::{Change, How, Resource, Want, WayBack};
use rprov::trust::Pin;
use rprov::trust::apt::AptSource;
use rprov::trust::repomd::{RpmSource, Signed};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const NOBLE: &str = "ubuntu-24.04";
const DAEMON_JSON: &str = "/etc/docker/daemon.json";
const NOTHING: Vec<String> = Vec::new();

/// What the software makes by itself is the business of the traces.
fn without_traces(mut state: State) -> State {
    let made = [
        "/opt/containerd",
        "/var/lib/docker",
        "/var/lib/containerd",
        "/etc/systemd/system/sockets.target.wants",
    ];
    state.nodes.retain(|path, _| !made.iter().any(|trace| path.starts_with(trace)));
    state
}

/// The laws, for one want on one host that does not meet it yet.
fn laws_hold<R: Resource>(case: &str, host: &Model, resource: R, state: R::State) {
    let want = Want { resource, state };
    let fresh = host.state();
    let change = want.plan(host).unwrap().unwrap_or_else(|| panic!("{case}: nothing is wanted here"));
    assert_eq!(differences(&fresh, &host.state()), NOTHING, "{case}: a plan changes nothing");
    assert_eq!(host.commands(), NOTHING, "{case}: a plan runs nothing");

    laws_of_the_change_hold(case, host, &change, || ());

    change.make(host).unwrap();
    assert!(R::meets(&want.resource.get(host).unwrap(), &want.state), "{case}: set, then get meets");
    assert_eq!(want.plan(host).unwrap(), None, "{case}: what is met wants nothing");
    host.commands();
}

/// The laws of a change, with what the software does by itself after it is made. The host is as before afterwards.
fn laws_of_the_change_hold<R: Resource>(case: &str, host: &Model, change: &Change<R>, then: impl Fn()) {
    let before = host.state();
    // A receipt holds the change as text, and no more than the text is there to undo it by.
    let told: Change<R> = serde_json::from_str(&serde_json::to_string(change).unwrap()).unwrap();

    let back = told.resource.way_back(&told, host, How::default()).unwrap();
    take(case, host, &told.resource, back);
    assert_eq!(differences(&before, &host.state()), NOTHING, "{case}: what was not made is not taken back");

    change.make(host).unwrap();
    then();
    assert!(R::meets(&change.resource.get(host).unwrap(), &change.after), "{case}: set, then get meets");
    assert_eq!(
        told.resource.drifted(&told.after, host).unwrap(),
        None,
        "{case}: what was just made has not drifted"
    );

    let (after, _) = (host.state(), host.commands());
    change.resource.set(&change.resource.get(host).unwrap(), host).unwrap();
    assert_eq!(differences(&after, &host.state()), NOTHING, "{case}: setting what is there moves nothing");
    assert_eq!(host.commands(), NOTHING, "{case}: setting what is there runs nothing");

    let back = told.resource.way_back(&told, host, How::default()).unwrap();
    assert!(matches!(back, WayBack::Restore { .. }), "{case}: what was made is taken back, not {back:?}");
    take(case, host, &told.resource, back);
    let (before, now) = (without_traces(before), without_traces(host.state()));
    assert_eq!(differences(&before, &now), NOTHING, "{case}: the way back leads back");

    let again = told.resource.way_back(&told, host, How::default()).unwrap();
    assert_eq!(again, WayBack::AlreadyAsBefore, "{case}: back is back");
    host.commands();
}

/// Goes the way back, if there is one.
fn take<R: Resource>(case: &str, host: &Model, resource: &R, back: WayBack<R::State>) {
    if let WayBack::Restore { to, told, .. } = back {
        assert_eq!(told, NOTHING, "{case}: all of it comes back");
        resource.set(&to, host).unwrap();
        assert!(R::meets(&resource.get(host).unwrap(), &to), "{case}: the way back is made whole");
    }
}

#[test]
fn the_laws_hold_for_files() {
    let file = |path: &str| File { path: path.into() };
    let host = Model::fresh(NOBLE);
    host.put_owned("/etc/theirs", "old", Owner { uid: 1000, gid: 1000, mode: 0o600 });
    host.put("/srv/behind", "old");
    host.put_link("/etc/link", "/srv/behind");
    let binary = Node::File { bytes: rprov::resources::file::Bytes(vec![0xff, 0]), owner: Owner::ROOT_0755 };
    let table = [
        ("a file where there was none", "/etc/new", Node::file("new")),
        ("bytes that are no text", "/etc/new", binary),
        ("a file in the place of another's", "/etc/theirs", Node::file("new")),
        ("a file behind a link", "/etc/link", Node::file("new")),
        ("a file that has to go", "/etc/theirs", Node::Absent),
        ("a directory", "/etc/docker", Node::directory()),
    ];
    for (case, path, state) in table {
        let before = host.state();
        laws_hold(case, &host, file(path), state);
        host.restore(&before);
    }
}

fn keys(values: &[(&str, serde_json::Value)]) -> (JsonKeys, rprov::resources::json_keys::Keys) {
    let path = |dotted: &str| dotted.split('.').map(str::to_owned).collect::<Vec<_>>();
    let values: Vec<_> = values.iter().map(|(key, value)| (path(key), value.clone())).collect();
    let engine = Engine {
        unit: "docker.service".into(),
        defaults: vec![Defaults {
            keys: vec![(path("log-driver"), json!("json-file")), (path("log-opts.max-file"), json!("3"))],
            unless_named: vec!["log-driver".into(), "log-opts".into()],
        }],
        flags: None,
        version: None,
        to_come: false,
    };
    let resource = JsonKeys {
        path: DAEMON_JSON.into(),
        keys: values.iter().map(|(key, _)| key.clone()).collect(),
        engine,
    };
    (resource, JsonKeys::want(values))
}

#[test]
fn the_laws_hold_for_keys_in_json() {
    let table = [
        ("no file", None),
        ("an empty object", Some("{}")),
        ("an empty file", Some("")),
        ("foreign keys, in their order and with tabs", Some("{\n\t\"mtu\": 1400,\n\t\"debug\": true\n}\n")),
        ("one line", Some("{\"mtu\":1400,\"features\":{\"cdi\":false,\"buildkit\":true}}")),
        ("a byte order mark and CRLF", Some("\u{feff}{\r\n  \"mtu\": 1400\r\n}\r\n")),
        ("a driver of their own", Some("{ \"log-driver\": \"journald\" }")),
        ("a key of ours with another value", Some("{ \"features\": { \"cdi\": false }, \"mtu\": 1400 }")),
    ];
    for (case, text) in table {
        let host = Model::fresh(NOBLE);
        host.put_directory("/etc/docker");
        if let Some(text) = text {
            host.put(DAEMON_JSON, text);
        }
        let (resource, want) = keys(&[("features.cdi", json!(true)), ("bip", json!("10.9.0.1/16"))]);
        laws_hold(case, &host, resource, want);
        let ours = text.is_none_or(|text| !text.contains("log-driver"));
        assert_eq!(
            host.text(DAEMON_JSON).contains("json-file"),
            ours,
            "{case}: defaults where none is named"
        );
    }
}

fn source() -> Source {
    let root = "https://download.docker.com/linux/ubuntu";
    Source::Apt(apt::Source {
        index: AptSource {
            root: root.into(),
            suite: "noble".into(),
            component: "stable".into(),
            architecture: "amd64".into(),
            pin: Pin::of_file(mirror_key()).unwrap(),
        },
        fallbacks: Vec::new(),
        original: root.into(),
        others: Vec::new(),
        file: "/etc/apt/sources.list.d/docker.sources".into(),
        key_file: "/etc/apt/keyrings/docker.asc".into(),
    })
}

#[test]
fn the_laws_hold_for_a_package_source() {
    const ADDRESS: &str = "https://download.docker.com/linux/ubuntu";
    let others = "deb http://ubuntu.example/ubuntu noble main\n";
    let table: [(&str, &[(&str, String)]); 5] = [
        ("no source", &[]),
        (
            "an older guide's, with a key of another name",
            &[
                (
                    "/etc/apt/sources.list.d/docker.list",
                    format!("deb [signed-by=/etc/apt/keyrings/docker.gpg] {ADDRESS} jammy stable\n"),
                ),
                ("/etc/apt/keyrings/docker.gpg", "another key".into()),
            ],
        ),
        (
            "one in sources.list, among others",
            &[("/etc/apt/sources.list", format!("{others}deb {ADDRESS} noble stable\n# end\n"))],
        ),
        (
            "one that contradicts ours in a file shared with another",
            &[(
                "/etc/apt/sources.list.d/third-party.sources",
                format!(
                    "Types: deb\nURIs: https://other.example/\nSuites: x\nComponents: y\n\nTypes: deb\nURIs: {ADDRESS}\nSuites: noble\nComponents: test\nEnabled: yes\n"
                ),
            )],
        ),
        (
            "our own with other bytes",
            &[(
                "/etc/apt/sources.list.d/docker.sources",
                format!("Types: deb\nURIs: {ADDRESS}\nSuites: jammy\nComponents: stable\n"),
            )],
        ),
    ];
    for (case, files) in table {
        for release in ["ubuntu-24.04", "debian-11"] {
            // On the one the directory for keys is there, on the other it is not.
            let host = Model::fresh(release);
            files.iter().for_each(|(path, text)| host.put(path, text));
            laws_hold(case, &host, Repository::of(&source()), Files::right());
            let text = host.text("/etc/apt/sources.list.d/docker.sources");
            assert!(text.contains("Suites: noble"), "{case}: {text}");
        }
    }
}

/// The same source for dnf, on RHEL 9.
fn rpm_source() -> dnf::Source {
    dnf::Source {
        id: "docker-ce-stable".into(),
        index: RpmSource {
            url: "https://download.docker.com/linux/rhel/9/x86_64/stable".into(),
            pin: Pin::of_file(mirror_key()).unwrap(),
            signed: Signed::Packages,
        },
        addresses: vec!["https://download.docker.com/linux".into()],
        without: Vec::new(),
        file: "/etc/yum.repos.d/docker-ce.repo".into(),
        key_file: "/etc/pki/rpm-gpg/RPM-GPG-KEY-docker-ce".into(),
    }
}

#[test]
fn the_laws_hold_for_a_source_of_dnf_and_its_key_in_rpms_database() {
    let upstreams = "[docker-ce-stable]\nbaseurl=https://download.docker.com/linux/centos/$releasever/$basearch/stable\n\
        gpgcheck=1\ngpgkey=https://download.docker.com/linux/centos/gpg\n";
    let mixed = "# theirs\n[theirs]\nbaseurl=https://elsewhere.example/x\n\n[d]\n\
        baseurl=http://download.docker.com/linux/rhel/8/x86_64/stable\n";
    let table: [(&str, &[(&str, &str)]); 4] = [
        ("nothing is there", &[]),
        ("upstream's own file", &[("/etc/yum.repos.d/docker-ce.repo", upstreams)]),
        ("another release's beside somebody's own", &[("/etc/yum.repos.d/mixed.repo", mixed)]),
        ("both", &[("/etc/yum.repos.d/a.repo", upstreams), ("/etc/yum.repos.d/mixed.repo", mixed)]),
    ];
    for (case, files) in table {
        let host = Model::fresh("rhel-9");
        files.iter().for_each(|(path, text)| host.put(path, text));
        laws_hold(case, &host, Repository::of(&Source::Dnf(rpm_source())), Files::right());
        let text = host.text("/etc/yum.repos.d/docker-ce.repo");
        assert!(text.contains("/linux/rhel/9/x86_64/stable\n"), "{case}: {text}");
    }
    let host = Model::fresh("rhel-9");
    let [fingerprint] = &rpm_source().index.pin.fingerprints[..] else { panic!("it is one certificate") };
    let key = RpmKey { fingerprint: fingerprint.clone(), bytes: rprov::resources::file::Bytes(mirror_key()) };
    laws_hold("a key", &host, key, Presence::Present);
}

#[test]
fn a_right_source_of_dnf_under_another_name_is_met_and_one_whose_key_would_be_fetched_is_not() {
    let host = Model::fresh("rhel-9");
    host.put("/etc/pki/rpm-gpg/mine", mirror_key());
    let section = |key: &str| {
        format!(
            "[mine]\nbaseurl=https://download.docker.com/linux/rhel/9/$basearch/stable/\ngpgcheck=1\ngpgkey={key}\n"
        )
    };
    let want = Want { resource: Repository::of(&Source::Dnf(rpm_source())), state: Files::right() };
    host.put("/etc/yum.repos.d/mine.repo", section("file:///etc/pki/rpm-gpg/mine"));
    assert_eq!(want.plan(&host).unwrap(), None);
    host.put("/etc/yum.repos.d/mine.repo", section("https://download.docker.com/linux/rhel/gpg"));
    assert!(want.plan(&host).unwrap().is_some());
}

#[test]
fn the_laws_hold_for_packages_of_dnf() {
    let old = ["dnf", "-y", "install", "docker-ce-3:28.5.2-1.el9", "docker-ce-cli-1:28.5.2-1.el9"];
    let newer = Versions { prefix: Some("29".into()), ..Versions::default() };
    let table: [(&str, &[&[&str]], Versions); 3] = [
        ("nothing is there", &[], Versions::default()),
        ("an older version is asked for", &[], Versions { prefix: Some("28".into()), ..Versions::default() }),
        ("an older engine is there, and a newer one is asked for", &[&old], newer),
    ];
    for (case, by_hand, versions) in table {
        let host = Model::fresh("rhel-9");
        let source = Source::Dnf(rpm_source());
        let want = Want { resource: Repository::of(&source), state: Files::right() };
        want.plan(&host).unwrap().unwrap().make(&host).unwrap();
        by_hand.iter().for_each(|argv| host.be(argv));
        // No package owns it: a trace of the step takes it away.
        host.put_directory("/usr/libexec/docker/cli-plugins");
        let wanted = |name: &str| {
            let versioned = name.starts_with("docker-ce");
            let versions =
                if versioned { versions.clone() } else { Versions { prefix: None, ..versions.clone() } };
            (name.to_owned(), Package::Wanted(versions))
        };
        let state: BTreeMap<_, _> = ENGINE.into_iter().map(wanted).collect();
        let resource =
            Packages { sources: vec![source], ..Packages::of(Manager::Dnf, state.keys().cloned().collect()) };
        laws_hold(case, &host, resource, state);
    }
}

#[test]
fn a_right_source_under_another_name_is_met_and_stays_others() {
    let host = Model::fresh("debian-11");
    host.put("/usr/share/keyrings/d.asc", mirror_key());
    let line = "deb [arch=amd64 signed-by=/usr/share/keyrings/d.asc] https://download.docker.com/linux/ubuntu noble stable\n";
    host.put("/etc/apt/sources.list.d/mine.list", line);
    let want = Want { resource: Repository::of(&source()), state: Files::right() };
    assert_eq!(want.plan(&host).unwrap(), None);
}

#[test]
fn the_laws_hold_for_holds() {
    let held = |manager, names: &[&str]| {
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let state = names.iter().map(|name| (name.clone(), Held::HERE)).collect();
        (Hold { manager, names, ours: BTreeSet::new() }, state)
    };
    let apt = Model::fresh(NOBLE);
    apt.be(&["apt-mark", "hold", "apparmor"]);
    let (hold, state) = held(Manager::Apt, &["apparmor", "ca-certificates"]);
    laws_hold("one is held by others", &apt, hold, state);

    let theirs = "# theirs\nkernel-0:5.14.0-1.el9.*\n!runc-4:1.2.4-1.el9.*";
    for (case, before) in [("an empty list of dnf", ""), ("a list with locks of others", theirs)] {
        let host = Model::fresh("rhel-9");
        let (hold, state) = held(Manager::Dnf, &["ca-certificates"]);
        let want = Want { resource: hold, state };
        let error = want.plan(&host).unwrap_err().to_string();
        assert!(error.contains("dnf install python3-dnf-plugin-versionlock"), "{error}");
        host.put_directory("/etc/dnf/plugins");
        host.put(
            "/etc/dnf/plugins/versionlock.conf",
            "[main]\nenabled = 1\nlocklist = /etc/dnf/plugins/versionlock.list\n",
        );
        host.put("/etc/dnf/plugins/versionlock.list", before);
        laws_hold(case, &host, want.resource, want.state);
    }
    let five = Model::fresh("fedora-44");
    five.put_directory("/etc/dnf");
    five.put("/etc/dnf/versionlock.toml", "version = \"1.0\"\n");
    five.put_link("/usr/bin/dnf", "dnf5");
    let (hold, state) = held(Manager::Dnf, &["ca-certificates"]);
    laws_hold("the list of dnf 5", &five, hold, state);
}

/// A host with the source in place and its lists fetched: what the packages find.
fn with_source(host: &Model) {
    let want = Want { resource: Repository::of(&source()), state: Files::right() };
    want.plan(host).unwrap().unwrap().make(host).unwrap();
    host.be(&["apt-get", "update"]);
    host.be(&["groupadd", "--system", "docker"]);
}

const ENGINE: [&str; 5] =
    ["docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"];

fn engine(versions: &Versions) -> (Packages, BTreeMap<String, Package>) {
    let wanted = |name: &str| {
        let versioned = name.starts_with("docker-ce");
        let versions =
            if versioned { versions.clone() } else { Versions { prefix: None, ..versions.clone() } };
        (name.to_owned(), Package::Wanted(versions))
    };
    let gone =
        ["docker.io", "docker-cli", "containerd", "runc"].map(|name| (name.to_owned(), Package::Removed));
    let state: BTreeMap<_, _> = ENGINE.into_iter().map(wanted).chain(gone).collect();
    let resource =
        Packages { sources: vec![source()], ..Packages::of(Manager::Apt, state.keys().cloned().collect()) };
    (resource, state)
}

#[test]
fn the_laws_hold_for_packages() {
    let any = Versions::default;
    let old = [
        "apt-get",
        "install",
        "docker-ce=5:28.5.2-1~ubuntu.24.04~noble",
        "docker-ce-cli=5:28.5.2-1~ubuntu.24.04~noble",
        "docker-buildx-plugin",
        "docker-compose-plugin",
        "containerd.io=1.7.29-1~ubuntu.24.04~noble",
    ];
    let table: [(&str, &[&[&str]], Versions); 7] = [
        ("nothing is there", &[], any()),
        ("an older version is asked for", &[], Versions { prefix: Some("28".into()), ..any() }),
        ("part of what comes along is there, by hand", &[&["apt-get", "install", "nftables"]], any()),
        (
            "part of the engine came along with something",
            &[&["apt-get", "install", "docker-ce-cli"], &["apt-mark", "auto", "docker-ce-cli"]],
            any(),
        ),
        ("the distribution's engine is replaced", &[&["apt-get", "install", "docker.io"]], any()),
        (
            "an engine that was removed has left its files",
            &[
                &["apt-get", "install", "docker.io"],
                // Links of enabled units would outlive their package, and go when ours of the same name is purged.
                &["systemctl", "disable", "--now", "docker.service"],
                &["systemctl", "disable", "--now", "containerd.service"],
                &["apt-get", "install", "docker.io-", "containerd-", "runc-"],
            ],
            any(),
        ),
        ("an older one goes to the newest", &[&old], Versions { newest: true, ..any() }),
    ];
    for (case, by_hand, versions) in table {
        let host = Model::fresh(NOBLE);
        with_source(&host);
        by_hand.iter().for_each(|argv| host.be(argv));
        let newest = versions.newest;
        let (resource, mut state) = engine(&versions);
        if !newest {
            laws_hold(case, &host, resource, state);
            continue;
        }
        // "The newest" is never met by looking at the host alone: the plan asks the index, and finds nothing more.
        state.retain(|_, package| *package != Package::Removed);
        let want = Want { resource, state };
        let change = want.plan(&host).unwrap().unwrap();
        laws_of_the_change_hold(case, &host, &change, || ());
        change.make(&host).unwrap();
        assert_eq!(want.plan(&host).unwrap(), None, "{case}: the newest is there");
    }
}

#[test]
fn the_laws_hold_for_a_group_and_its_members() {
    let host = Model::fresh(NOBLE);
    laws_hold("a group", &host, Group { name: "docker".into() }, Presence::Present);
    for user in ["alice", "bob"] {
        let member = Member { user: user.into(), group: "docker".into() };
        laws_hold("a member", &host, member, Presence::Present);
    }
    assert!(host.text("/etc/group").ends_with("docker:x:999:alice,bob\n"));
}

#[test]
fn the_laws_hold_for_units() {
    let unit = || Unit { name: "docker.service".into() };
    let table: [(&str, &[&[&str]]); 5] = [
        (
            "disabled and masked, and running all the same",
            &[&["systemctl", "disable", "docker.service"], &["systemctl", "mask", "docker.service"]],
        ),
        ("stopped", &[&["systemctl", "stop", "docker.service"]]),
        ("disabled", &[&["systemctl", "disable", "docker.service"]]),
        ("disabled and stopped", &[&["systemctl", "disable", "--now", "docker.service"]]),
        (
            "masked",
            &[&["systemctl", "disable", "--now", "docker.service"], &["systemctl", "mask", "docker.service"]],
        ),
    ];
    for (case, by_hand) in table {
        let host = Model::fresh(NOBLE);
        host.be(&["apt-get", "install", "docker.io"]);
        by_hand.iter().for_each(|argv| host.be(argv));
        laws_hold(case, &host, unit(), UnitState::RUNNING);
    }
}

#[test]
fn the_laws_hold_for_images() {
    let host = Model::fresh(NOBLE);
    host.put("/srv/registry.tar", "registry:3");
    let image =
        Image { reference: "registry:3".into(), more: Vec::new(), archive: "/srv/registry.tar".into() };
    laws_hold("an image from an archive", &host, image, Loaded::Present);
    let host = Model::fresh(NOBLE);
    laws_hold("several images from an archive", &host, several(&host), Loaded::Present);
    let host = Model::fresh(NOBLE);
    host.put("/opt/image-b:2", "another image of that name");
    laws_hold("a name is there already", &host, several(&host), Loaded::Present);
}

fn several(host: &Model) -> Image {
    host.put("/srv/several.tar", "a:1\nb:2\nc:3\n");
    let more = vec!["b:2".into(), "c:3".into()];
    Image { reference: "a:1".into(), more, archive: "/srv/several.tar".into() }
}

fn names(names: &[&str]) -> Loaded {
    Loaded::Partly { only: names.iter().map(|name| (*name).to_owned()).collect() }
}

#[test]
fn of_the_images_of_an_archive_those_stay_that_containers_use_and_those_that_were_there() {
    let host = Model::fresh(NOBLE);
    host.put("/opt/image-b:2", "theirs");
    let image = several(&host);
    let change = Want { resource: image, state: Loaded::Present }.plan(&host).unwrap().unwrap();
    assert_eq!(change.before, names(&["b:2"]));
    let lines: Vec<String> =
        change.resource.describe(&change.before, &change.after).into_iter().map(|line| line.name).collect();
    assert_eq!(lines, ["a:1", "c:3"]);
    change.make(&host).unwrap();
    assert_eq!(host.text("/opt/image-b:2"), "theirs", "a name still stands for what it stood for");

    host.put("/opt/container-of-c:3", "web\n");
    let WayBack::Restore { to, told, .. } = way_back(&change, &host, How::default()) else { panic!() };
    assert_eq!((to, told.len()), (names(&["b:2", "c:3"]), 1));
    assert!(told[0].contains("`web` is made of `c:3`"), "{told:?}");
    host.put("/opt/container-of-a:1", "web\n");
    assert!(matches!(way_back(&change, &host, How::default()), WayBack::Kept { .. }));
    // Our own container goes with its unit.
    host.put("/opt/container-of-a:1", "rprov-registry\n");
    assert!(matches!(way_back(&change, &host, How::default()), WayBack::Restore { .. }));
}

#[test]
fn two_archives_that_begin_with_the_same_image_are_one_change_of_all_names() {
    let host = Model::fresh(NOBLE);
    host.put("/srv/first.tar", "a:1\nold:1\n");
    let first =
        Image { reference: "a:1".into(), more: vec!["old:1".into()], archive: "/srv/first.tar".into() };
    let first = Want { resource: first, state: Loaded::Present }.plan(&host).unwrap().unwrap();
    let fresh = host.state();
    first.make(&host).unwrap();
    let later = Want { resource: several(&host), state: Loaded::Present }.plan(&host).unwrap().unwrap();
    later.make(&host).unwrap();
    assert!(first.resource.same(&later.resource));
    let joined = Image::join(first, later);
    assert_eq!((&joined.before, &joined.after), (&Loaded::Absent, &Loaded::Present));
    let back = way_back(&joined, &host, How::default());
    take("both archives", &host, &joined.resource, back);
    host.take_away("/srv/several.tar");
    assert_eq!(differences(&fresh, &host.state()), NOTHING);
}

#[test]
fn the_laws_hold_for_traces() {
    let host = Model::fresh(NOBLE);
    let trace = Trace { path: "/opt/made".into(), data: false };
    assert_eq!(Want { resource: trace.clone(), state: Seen::Anything }.plan(&host).unwrap(), None);
    let change = Change { resource: trace, before: Seen::Absent, after: Seen::Anything };
    laws_of_the_change_hold("a directory", &host, &change, || host.put_directory("/opt/made/by/itself"));
}

// The ways back where others have been at work since.

fn way_back<R: Resource>(change: &Change<R>, host: &Model, how: How) -> WayBack<R::State> {
    let told: Change<R> = serde_json::from_str(&serde_json::to_string(change).unwrap()).unwrap();
    told.resource.way_back(&told, host, how).unwrap()
}

#[test]
fn a_file_that_was_edited_since_is_left_alone_unless_somebody_insists() {
    let host = Model::fresh(NOBLE);
    let want = Want { resource: File { path: "/etc/new".into() }, state: Node::file("ours") };
    let change = want.plan(&host).unwrap().unwrap();
    change.make(&host).unwrap();
    host.put("/etc/new", "theirs");
    assert!(matches!(way_back(&change, &host, How::default()), WayBack::ChangedSince { .. }));
    let insisted = way_back(&change, &host, How { force: true, ..How::default() });
    assert!(matches!(insisted, WayBack::Restore { to: Node::Absent, .. }));
}

#[test]
fn a_directory_that_is_not_empty_on_the_way_back_stays_also_by_force() {
    let host = Model::fresh(NOBLE);
    let want = Want { resource: File { path: "/etc/docker".into() }, state: Node::directory() };
    let change = want.plan(&host).unwrap().unwrap();
    change.make(&host).unwrap();
    host.put("/etc/docker/certs.d/mirror/ca.crt", "theirs");
    for force in [false, true] {
        let WayBack::Kept { why } = way_back(&change, &host, How { force, ..How::default() }) else {
            panic!()
        };
        assert_eq!(why, "it is not empty: holds `certs.d`");
    }
}

#[test]
fn a_directory_for_keys_that_others_use_by_now_stays_and_our_files_go() {
    let host = Model::fresh("debian-11");
    let want = Want { resource: Repository::of(&source()), state: Files::right() };
    let change = want.plan(&host).unwrap().unwrap();
    change.make(&host).unwrap();
    host.put("/etc/apt/keyrings/other.asc", "theirs");
    let WayBack::Restore { to, told, .. } = way_back(&change, &host, How::default()) else { panic!() };
    assert_eq!(told, ["`/etc/apt/keyrings` stays: it holds `other.asc`"]);
    change.resource.set(&to, &host).unwrap();
    assert_eq!(host.list(Path::new("/etc/apt/keyrings")).unwrap(), ["other.asc"]);
    assert_eq!(host.list(Path::new("/etc/apt/sources.list.d")).unwrap(), NOTHING);
    let WayBack::Kept { why } = way_back(&change, &host, How::default()) else { panic!() };
    assert_eq!(why, "`/etc/apt/keyrings` stays: it holds `other.asc`");
}

#[test]
fn what_others_wrote_into_daemon_json_since_stays_and_ours_goes() {
    let host = Model::fresh(NOBLE);
    host.put(DAEMON_JSON, "{\n  \"mtu\": 1400\n}\n");
    let (resource, state) = keys(&[("bip", json!("10.9.0.1/16"))]);
    let change = Want { resource, state }.plan(&host).unwrap().unwrap();
    change.make(&host).unwrap();
    let edited = host.text(DAEMON_JSON).replace("1400", "1200").replace("\"json-file\"", "\"local\"");
    host.put(DAEMON_JSON, edited);
    let WayBack::Restore { to, told, .. } = way_back(&change, &host, How::default()) else { panic!() };
    assert_eq!(told, ["what others wrote in it since stays", "`log-driver` was changed since and stays"]);
    change.resource.set(&to, &host).unwrap();
    assert_eq!(host.text(DAEMON_JSON), "{\n  \"mtu\": 1200,\n  \"log-driver\": \"local\"\n}\n");

    let insisted = way_back(&change, &host, How { force: true, ..How::default() });
    let WayBack::Restore { to, .. } = insisted else { panic!("{insisted:?}") };
    change.resource.set(&to, &host).unwrap();
    assert_eq!(host.text(DAEMON_JSON), "{\n  \"mtu\": 1400\n}\n");
}

#[test]
fn a_daemon_json_that_can_no_longer_be_read_is_left_alone() {
    let host = Model::fresh(NOBLE);
    host.put_directory("/etc/docker");
    let (resource, state) = keys(&[("bip", json!("10.9.0.1/16"))]);
    let change = Want { resource, state }.plan(&host).unwrap().unwrap();
    change.make(&host).unwrap();
    host.put(DAEMON_JSON, "{ broken");
    let WayBack::ChangedSince { why } = way_back(&change, &host, How::default()) else { panic!() };
    assert!(why.contains("can no longer be read"), "{why}");
    let insisted = way_back(&change, &host, How { force: true, ..How::default() });
    let WayBack::Restore { to, .. } = insisted else { panic!("{insisted:?}") };
    assert_eq!(to.file, Some(Node::Absent));
}

#[test]
fn where_a_suite_is_not_published_the_next_older_one_that_works_is_taken_and_stays() {
    let host = Model::fresh(NOBLE);
    let Source::Apt(mut source) = source() else { panic!("it is for apt") };
    source.index.suite = "questing".into();
    source.fallbacks = vec!["noble".into()];
    let want = Want { resource: Repository::of(&Source::Apt(source)), state: Files::right() };
    want.plan(&host).unwrap().unwrap().make(&host).unwrap();
    let written = host.text("/etc/apt/sources.list.d/docker.sources");
    assert!(written.contains("Suites: noble\n"), "{written}");
    assert_eq!(want.plan(&host).unwrap(), None);
}

#[test]
fn a_source_that_was_edited_since_stays_with_its_key_unless_somebody_insists() {
    let host = Model::fresh(NOBLE);
    let fresh = host.state();
    let want = Want { resource: Repository::of(&source()), state: Files::right() };
    let change = want.plan(&host).unwrap().unwrap();
    change.make(&host).unwrap();
    host.put("/etc/apt/sources.list.d/docker.sources", "# mine now\n");
    let WayBack::ChangedSince { why } = way_back(&change, &host, How::default()) else { panic!() };
    assert_eq!(why, "`/etc/apt/sources.list.d/docker.sources` was edited since");
    let insisted = way_back(&change, &host, How { force: true, ..How::default() });
    let WayBack::Restore { to, .. } = insisted else { panic!("{insisted:?}") };
    change.resource.set(&to, &host).unwrap();
    assert_eq!(differences(&fresh, &host.state()), NOTHING);
}

/// A host on which the engine was just installed, with the change.
fn with_engine(by_hand: &[&[&str]]) -> (Model, Change<Packages>) {
    let host = Model::fresh(NOBLE);
    with_source(&host);
    by_hand.iter().for_each(|argv| host.be(argv));
    let (resource, state) = engine(&Versions::default());
    let change = Want { resource, state }.plan(&host).unwrap().unwrap();
    change.make(&host).unwrap();
    (host, change)
}

#[test]
fn what_came_along_and_is_needed_by_something_else_now_stays_and_is_named() {
    let (host, change) = with_engine(&[]);
    host.be(&["apt-get", "install", "ufw"]);
    let WayBack::Restore { to, told, .. } = way_back(&change, &host, How::default()) else { panic!() };
    assert_eq!(told[0], "`iptables` stays: ufw needs it now");
    change.resource.set(&to, &host).unwrap();
    let state = host.state();
    for stays in ["ufw", "iptables", "libip4tc2", "libip6tc2", "libxtables12"] {
        assert!(state.packages.contains_key(stays), "{stays}");
    }
    for goes in ["docker-ce", "containerd.io", "nftables", "libnftables1"] {
        assert!(!state.packages.contains_key(goes), "{goes}");
    }
    assert!(matches!(way_back(&change, &host, How::default()), WayBack::Kept { .. }));
}

#[test]
fn a_version_that_the_archive_has_no_more_comes_back_as_the_nearest_and_it_is_said() {
    const OLD: &str = "28.2.2-0ubuntu1~24.04.1";
    let (host, change) = with_engine(&[&["apt-get", "install", "docker.io"]]);
    host.drop_from_mirrors(OLD);
    let WayBack::Restore { to, told, .. } = way_back(&change, &host, How::default()) else { panic!() };
    assert_eq!(told, [format!("`docker.io` {OLD} cannot come back: no source of this host has it")]);
    assert!(matches!(to["docker.io"], Package::Removed), "its files stay as they are");

    let list = "/var/lib/apt/lists/ubuntu.example_ubuntu_dists_noble_main_binary-amd64_Packages";
    host.put(list, host.text(list).replace(OLD, "28.2.3-0ubuntu1"));
    let WayBack::Restore { to, told, .. } = way_back(&change, &host, How::default()) else { panic!() };
    assert_eq!(
        told,
        [format!("`docker.io` {OLD} is not to be had any more: 28.2.3-0ubuntu1 comes back instead")]
    );
    change.resource.set(&to, &host).unwrap();
    assert_eq!(host.state().packages["docker.io"].version, "28.2.3-0ubuntu1");
    assert!(!host.state().packages.contains_key("docker-ce"));
}

/// Of `^` dpkg and rpm think differently.
#[test]
fn which_version_is_newer_is_told_by_the_hosts_own_package_manager() {
    let host = Model::fresh("rhel-9");
    let names: BTreeSet<String> = ["ca-certificates".to_owned()].into();
    let packages = Packages::of(Manager::Dnf, names);
    let drifts = |version: &str| {
        let made = Package::Installed { version: version.into(), auto: false, hold: false };
        packages.drifted(&[("ca-certificates".to_owned(), made)].into(), &host).unwrap().is_some()
    };
    // It has 2025.2.80-1.el9.
    assert!(!drifts("2025.2^git1-1.el9"), "what is there is newer by rpm, and by dpkg it were not");
    assert!(drifts("2025.2.80^git1-1.el9"), "what is there is older");
}

#[test]
fn a_newer_version_by_the_hosts_own_tool_is_still_ours_to_take_back() {
    let host = Model::fresh(NOBLE);
    with_source(&host);
    let before = without_traces(host.state());
    let (resource, state) = engine(&Versions { prefix: Some("28".into()), ..Versions::default() });
    let change = Want { resource, state }.plan(&host).unwrap().unwrap();
    change.make(&host).unwrap();
    host.be(&["apt-get", "install", "docker-ce", "docker-ce-cli", "containerd.io"]);
    assert_eq!(change.resource.drifted(&change.after, &host).unwrap(), None);
    let WayBack::Restore { to, .. } = way_back(&change, &host, How::default()) else { panic!() };
    change.resource.set(&to, &host).unwrap();
    assert_eq!(differences(&before, &without_traces(host.state())), NOTHING);
}

#[test]
fn a_unit_that_was_masked_by_hand_since_is_left_alone() {
    let host = Model::fresh(NOBLE);
    host.be(&["apt-get", "install", "docker.io"]);
    host.be(&["systemctl", "disable", "--now", "docker.service"]);
    let want = Want { resource: Unit { name: "docker.service".into() }, state: UnitState::RUNNING };
    let change = want.plan(&host).unwrap().unwrap();
    change.make(&host).unwrap();
    host.be(&["systemctl", "mask", "docker.service"]);
    let WayBack::ChangedSince { why } = way_back(&change, &host, How::default()) else { panic!() };
    assert_eq!(why, "it was masked since");
    host.be(&["systemctl", "unmask", "docker.service"]);
    host.be(&["systemctl", "stop", "docker.service"]);
    let stopped = way_back(&change, &host, How::default());
    assert!(matches!(stopped, WayBack::Restore { .. }), "stopped by hand is still ours to disable");
}

#[test]
fn data_goes_only_where_it_is_asked_for_and_older_data_only_by_force() {
    let host = Model::fresh(NOBLE);
    host.put("/var/lib/docker/volumes/theirs", "data");
    let data = |before| {
        let resource = Trace { path: "/var/lib/docker".into(), data: true };
        Change { resource, before, after: Seen::Anything }
    };
    let how = |purge_data, force| How { purge_data, force };
    let table = [
        (Seen::Absent, how(false, false), false),
        (Seen::Absent, how(false, true), false),
        (Seen::Absent, how(true, false), true),
        (Seen::Anything, how(false, true), false),
        (Seen::Anything, how(true, false), false),
        (Seen::Anything, how(true, true), true),
    ];
    for (before, how, goes) in table {
        let back = way_back(&data(before), &host, how);
        assert_eq!(matches!(back, WayBack::Restore { .. }), goes, "{before:?} {how:?}: {back:?}");
    }
}

#[test]
fn what_somebody_put_into_a_directory_of_the_software_keeps_it() {
    let host = Model::fresh(NOBLE);
    host.put("/opt/containerd/bin/mine", "x");
    let trace = Trace { path: "/opt/containerd".into(), data: false };
    let change = Change { resource: trace, before: Seen::Absent, after: Seen::Anything };
    let WayBack::Kept { why } = way_back(&change, &host, How::default()) else { panic!() };
    assert_eq!(why, "somebody put `/opt/containerd/bin/mine` there");
}

#[test]
fn two_runs_are_undone_as_one() {
    let host = Model::fresh(NOBLE);
    host.put(DAEMON_JSON, "{ \"mtu\": 1400 }\n");
    host.be(&["apt-get", "install", "docker.io"]);
    host.be(&["apt-mark", "auto", "docker.io"]);
    let before = host.state();
    let mut runs = Runs::on(&host).users(&["alice"]).version("28");
    runs.config.daemon.0.insert("bip".into(), json!("10.9.0.1/16"));
    runs.install().unwrap();
    assert!(host.state().packages["docker-ce"].version.starts_with("5:28"));
    let mut runs = runs.users(&["alice", "bob"]).version("29");
    runs.config.daemon.0.insert("bip".into(), json!("10.8.0.1/16"));
    runs.config.daemon.0.insert("live-restore".into(), json!(true));
    runs.upgrade().unwrap();
    assert!(host.state().packages["docker-ce"].version.starts_with("5:29"));
    assert_eq!(runs.receipts().len(), 2);

    let undone = runs.uninstall(How::default()).unwrap();
    assert_eq!(undone.left, 0);
    let (before, now) = (without_traces(before), without_traces(host.state()));
    assert_eq!(differences(&before, &now), NOTHING);
}

#[test]
fn a_daemon_reads_its_keys_again_at_a_signal_where_that_is_enough_and_restarts_where_it_is_not() {
    let host = Model::fresh(NOBLE);
    let mut runs = Runs::on(&host);
    runs.config.daemon.0.insert("log-driver".into(), json!("local"));
    runs.install().unwrap();
    host.commands();
    let asked = |host: &Model| -> Vec<String> {
        host.commands().into_iter().filter(|c| c.contains("reload") || c.contains("restart")).collect()
    };
    let shown =
        |runs: &Runs| runs.plan().unwrap().shown().into_iter().flat_map(|s| s.then).collect::<Vec<_>>();
    runs.config.daemon.0.insert("live-restore".into(), json!(true));
    assert_eq!(shown(&runs), ["docker.service reads its configuration again"]);
    assert!(!runs.plan().unwrap().stops_the_engine());
    runs.install().unwrap();
    assert_eq!(asked(&host), ["systemctl reload docker.service"]);
    runs.config.daemon.0.insert("log-driver".into(), json!("journald"));
    assert_eq!(shown(&runs), ["docker.service restarts"]);
    assert!(runs.plan().unwrap().stops_the_engine());
    runs.install().unwrap();
    assert_eq!(asked(&host), ["systemctl restart docker.service"]);
}

#[test]
fn data_elsewhere_and_addresses_of_ones_own_go_as_they_came() {
    let host = Model::fresh(NOBLE);
    host.put_directory("/srv");
    let before = host.state();
    let mut runs = Runs::on(&host);
    runs.config.daemon.0.insert("data-root".into(), json!("/srv/docker"));
    runs.config.daemon.0.insert("hosts".into(), json!(["tcp://127.0.0.1:2375"]));
    runs.install().unwrap();
    for (path, text) in [
        ("/etc/systemd/system/docker.service.d/rprov.conf", "ExecStart=/usr/bin/dockerd --containerd="),
        ("/etc/systemd/system/containerd.service.d/rprov.conf", "--root /srv/docker/containerd-store"),
        (DAEMON_JSON, "\"fd://\""),
    ] {
        assert!(host.text(path).contains(text), "{path}: {}", host.text(path));
    }
    assert!(runs.plan().unwrap().is_empty(), "{:#?}", runs.plan().unwrap().shown());
    host.put("/srv/docker/engine-id", "an id");
    runs.uninstall(How { purge_data: true, ..How::default() }).unwrap();
    assert_eq!(differences(&before, &host.state()), NOTHING);
}

#[test]
fn a_daemon_that_refuses_its_configuration_gets_the_former_one_back_and_the_run_fails() {
    let host = Model::fresh(NOBLE);
    let runs = Runs::on(&host);
    // dockerd is not there yet: nothing but its start can tell.
    host.dockerd_refuses.replace(Some("max-size".into()));
    let error = runs.install().unwrap_err();
    assert_eq!(error.exit, rprov::error::Exit::Failed);
    assert!(!host.exists(Path::new(DAEMON_JSON)).unwrap(), "what was refused is gone");
    assert!(host.notes().iter().any(|note| note.contains("is taken back")), "{:?}", host.notes());
}

#[test]
fn a_run_that_was_interrupted_is_completed_by_the_next_and_undone_whole() {
    let host = Model::fresh(NOBLE);
    let before = host.state();
    let runs = Runs::on(&host).users(&["alice"]);
    host.interrupted.set(true);
    let mut stops = 0;
    while let Err(error) = runs.install() {
        assert_eq!(error.exit, rprov::error::Exit::Interrupted, "{error}");
        stops += 1;
        assert!(stops < 20, "every run makes one change");
    }
    assert!(stops > 3, "{stops} stops");
    host.interrupted.set(false);
    assert!(runs.plan().unwrap().is_empty());
    let undone = runs.uninstall(How { purge_data: true, ..How::default() }).unwrap();
    assert_eq!(undone.left, 0);
    assert_eq!(differences(&before, &host.state()), NOTHING);
}

#[test]
fn a_unit_that_was_masked_before_the_install_is_masked_again_after_uninstall() {
    let host = Model::fresh(NOBLE);
    host.be(&["systemctl", "mask", "docker.service"]);
    let before = host.state();
    let runs = Runs::on(&host);
    runs.install().unwrap();
    assert!(host.state().active.contains("docker.service"));
    let undone = runs.uninstall(How { purge_data: true, ..How::default() }).unwrap();
    assert_eq!(undone.left, 0);
    assert_eq!(differences(&before, &host.state()), NOTHING);
}

#[test]
fn a_broken_daemon_json_does_not_stop_an_uninstall_by_force() {
    let host = Model::fresh(NOBLE);
    let before = host.state();
    let runs = Runs::on(&host);
    runs.install().unwrap();
    host.put(DAEMON_JSON, "{ broken");
    let gently = runs.uninstall(How { purge_data: true, ..How::default() }).unwrap();
    assert_eq!(gently.left, 1, "the file is left to who broke it");
    let undone = runs.uninstall(How { purge_data: true, force: true }).unwrap();
    assert_eq!(undone.left, 0);
    assert_eq!(differences(&before, &host.state()), NOTHING);
}

/// Every action at which the power may go, before and after it is done, until a run comes to its end.
fn wherever_the_power_goes(host: impl Fn() -> Model, then: impl Fn(&str, &Model, &Runs, &State)) {
    for cut in [Cut::Before, Cut::After] {
        let mut cuts = 0;
        loop {
            let host = host();
            let before = host.state();
            let runs = Runs::on(&host).users(&["alice"]);
            host.lose_power_at(cuts + 1, cut);
            let ended = runs.install();
            if !host.power_is_back() {
                ended.unwrap();
                break;
            }
            cuts += 1;
            then(&format!("{cut:?} action {cuts}"), &host, &runs, &before);
        }
        assert!(cuts > 5, "{cuts} actions are not an install");
    }
}

const HOSTS: [fn() -> Model; 4] = [
    || Model::fresh(NOBLE),
    || Model::fresh("rhel-9"),
    || Model::fresh("debian-11"),
    || {
        let host = Model::fresh(NOBLE);
        host.put(DAEMON_JSON, "{ \"mtu\": 1400 }\n");
        host.be(&["apt-get", "install", "docker.io"]);
        host
    },
];

#[test]
fn wherever_the_power_goes_the_next_install_completes_and_uninstall_restores() {
    for host in HOSTS {
        wherever_the_power_goes(host, |case, host, runs, before| {
            runs.install().unwrap_or_else(|error| panic!("{case}: {error}"));
            assert!(runs.plan().unwrap().is_empty(), "{case}");
            let undone = runs.uninstall(How { purge_data: true, ..How::default() }).unwrap();
            assert_eq!(undone.left, 0, "{case}");
            let (before, now) = (without_traces(before.clone()), without_traces(host.state()));
            assert_eq!(differences(&before, &now), NOTHING, "{case}");
        });
    }
}

#[test]
fn wherever_the_power_goes_an_uninstall_restores() {
    for host in HOSTS {
        wherever_the_power_goes(host, |case, host, runs, before| {
            let undone = runs.uninstall(How { purge_data: true, ..How::default() });
            let undone = undone.unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(undone.left, 0, "{case}");
            let (before, now) = (without_traces(before.clone()), without_traces(host.state()));
            assert_eq!(differences(&before, &now), NOTHING, "{case}");
        });
    }
}

#[test]
fn wherever_the_power_goes_in_an_uninstall_the_next_one_completes() {
    for host in HOSTS {
        let host = host();
        let before = without_traces(host.state());
        let runs = Runs::on(&host).users(&["alice"]);
        runs.install().unwrap();
        let (installed, receipts) = (host.state(), runs.receipts());
        for cut in [Cut::Before, Cut::After] {
            for action in 1.. {
                host.restore(&installed);
                runs.put_back(&receipts);
                host.lose_power_at(action, cut);
                let ended = runs.uninstall(How { purge_data: true, ..How::default() });
                if !host.power_is_back() {
                    ended.unwrap();
                    assert!(action > 5, "{action} actions are not an uninstall");
                    break;
                }
                let case = format!("{cut:?} action {action}");
                let again = runs.uninstall(How { purge_data: true, ..How::default() });
                assert_eq!(again.unwrap_or_else(|error| panic!("{case}: {error}")).left, 0, "{case}");
                assert_eq!(differences(&before, &without_traces(host.state())), NOTHING, "{case}");
            }
        }
    }
}

#[test]
fn lists_that_are_absent_or_a_day_old_are_all_refreshed_once_and_young_ones_are_not() {
    const LIST: &str = "/var/lib/apt/lists/ubuntu.example_ubuntu_dists_noble_main_binary-amd64_Packages";
    let table =
        [("young", 3600, None, false), ("old", 90_000, None, true), ("absent", 3600, Some(LIST), true)];
    for (case, age, gone, all) in table {
        let host = Model::fresh(NOBLE);
        host.age_of_lists.set(age);
        gone.into_iter().for_each(|path| host.take_away(path));
        Runs::on(&host).install().unwrap();
        let commands = host.commands();
        let updates: Vec<&String> = commands.iter().filter(|c| c.starts_with("apt-get update")).collect();
        // What was fetched for the plan is the host's then: one or the other, never both.
        assert_eq!(host.refreshed.get(), all, "{case}");
        assert_eq!(updates.len(), usize::from(!all), "{case}: {commands:#?}");
        assert!(updates.iter().all(|c| c.contains("Dir::Etc::sourcelist")), "{case}: {commands:#?}");
    }
}

#[test]
fn what_a_killed_write_has_left_beside_its_file_goes_with_the_next_run() {
    const LEFT: &str = "/etc/docker/.daemon.json.rprov-a1b2c3";
    let host = Model::fresh(NOBLE);
    let runs = Runs::on(&host);
    runs.install().unwrap();
    host.put(LEFT, "{");
    host.put("/etc/docker/.daemon.json.swp", "an editor's");
    let mut receipts = runs.receipts();
    rprov::receipt::sweep(&receipts, &host).unwrap();
    assert!(host.exists(Path::new(LEFT)).unwrap(), "a run that came to its end has left nothing");
    receipts[0].entries.pop();
    rprov::receipt::sweep(&receipts, &host).unwrap();
    assert!(!host.exists(Path::new(LEFT)).unwrap());
    assert!(host.exists(Path::new("/etc/docker/.daemon.json.swp")).unwrap(), "that is somebody else's");
}

#[test]
fn a_module_is_loaded_once_and_stays_until_the_next_boot() {
    let host = Model::fresh(NOBLE);
    let want = Want { resource: Module { name: "nvidia-uvm".into() }, state: InKernel::Loaded };
    let change = want.plan(&host).unwrap().unwrap();
    assert_eq!(change.resource.way_back(&change, &host, How::default()).unwrap(), WayBack::AlreadyAsBefore);
    assert_eq!(change.make(&host).unwrap(), InKernel::Loaded);
    assert_eq!(want.plan(&host).unwrap(), None);
    change.resource.set(&InKernel::Loaded, &host).unwrap();
    assert_eq!(host.commands(), ["modprobe nvidia-uvm"]);
    let WayBack::Kept { why } = change.resource.way_back(&change, &host, How::default()).unwrap() else {
        panic!("it would go from under its users")
    };
    assert!(why.contains("until the next boot"), "{why}");
}
