//! What becomes of a card, on hosts of many kinds.

use super::*;
use crate::facts::Family;
use crate::host::Question;
use crate::host::fake::FakeHost;
use crate::profile::Flags;
use crate::profile::Gpu::{Auto, Off, On, Toolkit};

fn map(value: Value) -> Map<String, Value> {
    value.as_object().expect("is an object").clone()
}

fn keys(file: Value, engine: Option<&str>, default_runtime: bool) -> Vec<String> {
    let keys = daemon_keys(&map(file), &Map::new(), engine, default_runtime);
    keys.into_iter().map(|(path, value)| format!("{}={value}", path.join("."))).collect()
}

#[test]
fn daemon_json_gets_the_runtime_and_keeps_one_of_the_same_name() {
    let runtime = r#"runtimes.nvidia={"path":"nvidia-container-runtime","args":[]}"#;
    let foreign = json!({"runtimes": {"nvidia": {"path": "/opt/nv/runtime"}}});
    let cases = [
        (json!({}), None, false, vec![runtime]),
        (json!({"runtimes": {"kata": {"path": "kata"}}}), Some("29.7.2"), false, vec![runtime]),
        (foreign.clone(), None, false, vec![]),
        (foreign, None, true, vec![r#"default-runtime="nvidia""#]),
        (json!({}), Some("28.5.2"), false, vec![runtime]),
        (json!({}), Some("27.5.1"), false, vec![runtime, "features.cdi=true"]),
        (json!({"features": {"buildkit": true}}), Some("25"), false, vec![runtime, "features.cdi=true"]),
        (json!({"features": {"cdi": false}}), Some("26.1.5"), false, vec![runtime]),
        (json!({}), Some("24.0.9"), false, vec![runtime]),
        (json!({}), Some("5:26.1.4-1~ubuntu.24.04~noble"), false, vec![runtime, "features.cdi=true"]),
    ];
    for (file, engine, default_runtime, expected) in cases {
        assert_eq!(keys(file.clone(), engine, default_runtime), expected, "{file} {engine:?}");
    }
}

/// A host of this distribution with these cards on its bus.
fn host(os_release: &str, cards: &[&str]) -> FakeHost {
    let mut host = FakeHost::new()
        .file("/etc/os-release", os_release)
        .file("/usr/bin/dpkg", "")
        .answer(Question::DpkgArchitecture, "amd64")
        .file("/proc/sys/kernel/osrelease", "6.8.0-45-generic\n");
    for (number, device) in cards.iter().enumerate() {
        let at = |field: &str| format!("/sys/bus/pci/devices/0000:0{number}:00.0/{field}");
        host = host
            .file(at("vendor"), "0x10de")
            .file(at("class"), "0x030200")
            .file(at("device"), format!("0x{device}"));
    }
    host
}

const NOBLE: &str = "ID=ubuntu\nVERSION_ID=24.04\nUBUNTU_CODENAME=noble\n";
const BOOKWORM: &str = "ID=debian\nVERSION_ID=12\nVERSION_CODENAME=bookworm\n";
const EL9: &str = "ID=rhel\nVERSION_ID=9.4\nPLATFORM_ID=platform:el9\n";
const EL10: &str = "ID=rhel\nVERSION_ID=10.0\nPLATFORM_ID=platform:el10\n";
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// What is decided for a host, with these words for `--gpu` and `--driver`.
fn decided(host: &FakeHost, gpu: crate::profile::Gpu, driver: &str) -> Result<Option<Decided>> {
    let facts = crate::facts::gather(host)?;
    let library = Library::shipped()?;
    let profile = crate::profile::choose(&facts, &library)?;
    let driver = if driver.is_empty() { None } else { Some(driver.parse().expect("is a choice")) };
    let flags = Flags { gpu: Some(gpu), driver, ..Flags::default() };
    let mut settings = Settings::merge(flags, Config::default(), profile, &library)?;
    settings.site.cuda_key = settings.fetched_key(&facts, host)?;
    settings.decide_gpu(&facts, false)
}

/// Branch and flavour that are decided.
fn driver_for(cards: &[&str], choice: &str) -> std::result::Result<String, String> {
    let decided = decided(&host(NOBLE, cards), On, choice).map_err(|error| error.to_string())?;
    let driver = decided.and_then(|decided| decided.driver).ok_or("none")?;
    Ok(format!("{} {:?}", driver.branch, driver.flavour))
}

#[test]
fn branch_and_modules_are_chosen_by_the_cards() {
    let cases: [(&str, &[&str], &str, &str); 12] = [
        ("L4", &["27b8"], "", "580 Open"),
        ("A100", &["20b0"], "", "580 Open"),
        ("H100", &["2330"], "", "580 Open"),
        ("B200", &["2901"], "", "580 Open"),
        ("GTX 1650", &["1f82"], "", "580 Open"),
        ("V100", &["1db6"], "", "580 Proprietary"),
        ("P100", &["15f8"], "", "580 Proprietary"),
        ("V100 and L4", &["1db6", "27b8"], "", "580 Proprietary"),
        ("L4, a newer branch", &["27b8"], "595", "595 Open"),
        ("L4, the other modules", &["27b8"], "proprietary", "580 Proprietary"),
        ("L4, both", &["27b8"], "595-proprietary", "595 Proprietary"),
        ("L4, no driver", &["27b8"], "none", "none"),
    ];
    for (name, cards, choice, expected) in cases {
        let found = driver_for(cards, choice).unwrap_or_else(|why| why);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn cards_that_no_driver_knows_together_are_refused_with_the_reason() {
    let cases: [(&[&str], &str, &str); 7] = [
        (&["102d"], "", "too old for every branch"),
        (&["102d", "27b8"], "", "10DE:102D) is too old for every branch"),
        (&["3300"], "", "newer than all drivers"),
        (&["1db6", "2901"], "", "no driver knows all of Tesla V100-PCIE-32GB"),
        (&["1db6"], "595", "needs another branch: `580`"),
        (&["2901"], "proprietary", "no proprietary modules know all of NVIDIA B200"),
        (&["27b8"], "470", "expected one of `580`"),
    ];
    for (cards, choice, reason) in cases {
        let why = driver_for(cards, choice).expect_err(reason);
        assert!(why.contains(reason), "{cards:?}: {why}");
    }
}

#[test]
fn a_card_is_required_only_by_on() {
    let none = host(NOBLE, &[]);
    let error = decided(&none, On, "").expect_err("there is no card");
    assert_eq!(error.exit, crate::error::Exit::Refused);
    assert!(error.next().is_some_and(|hint| hint.contains("--gpu=toolkit")), "{error}");
    assert_eq!(decided(&none, Auto, "").expect("is fine"), None);
    assert_eq!(decided(&none, Off, "").expect("is fine"), None);
    let toolkit = decided(&none, Toolkit, "").expect("is fine").expect("it comes");
    assert_eq!((toolkit.packages.len(), toolkit.driver), (4, None));
    let card = host(NOBLE, &["27b8"]);
    assert_eq!(decided(&card, Off, "").expect("is fine"), None);
    assert!(decided(&card, Auto, "").expect("is fine").is_some_and(|decided| decided.driver.is_some()));
    assert!(decided(&card, Toolkit, "").expect("is fine").is_some_and(|decided| decided.driver.is_none()));
}

#[test]
fn a_driver_that_works_is_left_alone() {
    let works = host(NOBLE, &["27b8"])
        .file("/sys/module/nvidia/version", "570.133.20\n")
        .file("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.570.133.20", "");
    assert_eq!(decided(&works, On, "").expect("is fine").expect("toolkit").driver, None);
}

#[test]
fn where_no_driver_could_work_none_is_begun() {
    let card = || host(NOBLE, &["27b8"]);
    let cases = [
        (card().file("/run/systemd/container", "lxc"), "this is a container (lxc)"),
        (
            card()
                .file("/sys/module/nvidia/version", "580.82.07")
                .file("/usr/lib64/libnvidia-ml.so.580.95.05", ""),
            "the loaded module is 580.82.07, and the library 580.95.05",
        ),
        (card().file("/usr/bin/nvidia-uninstall", ""), "`.run` file"),
        (host(BOOKWORM, &["27b8"]).file(SECURE_BOOT, "\u{6}\0\0\0\u{1}"), "Secure Boot is on"),
        (host(NOBLE, &["2901"]).file(SECURE_BOOT, "\u{6}\0\0\0\u{1}"), ""),
        (host(EL10, &["27b8"]), "no whole fingerprint is known"),
        (
            host("ID=debian\nVERSION_ID=11\nVERSION_CODENAME=bullseye\n", &["27b8"]),
            "NVIDIA has no repository",
        ),
    ];
    for (host, reason) in cases {
        match decided(&host, On, "") {
            Ok(_) => assert_eq!(reason, ""),
            Err(error) => {
                assert_eq!(error.exit, crate::error::Exit::Refused);
                assert!(!reason.is_empty() && error.to_string().contains(reason), "{reason}: {error}");
                assert!(error.next().is_some(), "{error}");
            }
        }
    }
}

#[test]
fn what_comes_fits_the_host() {
    let driver = |host: &FakeHost| {
        decided(host, On, "").expect("is fine").and_then(|decided| decided.driver).expect("a driver comes")
    };
    let names = |decided: &driver::Decided| decided.packages.keys().cloned().collect::<Vec<_>>();
    let noble = driver(&host(NOBLE, &["27b8"]));
    assert_eq!(names(&noble), ["linux-headers-6.8.0-45-generic", "nvidia-open"]);
    let Some(Source::Apt(source)) = &noble.source else { panic!("it is apt's") };
    assert_eq!(
        source.index.root,
        "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64"
    );
    assert_eq!(source.index.pin.fingerprints, ["EB693B3035CD5710E231E123A4B469963BF863CC"]);
    let signed = driver(&host(NOBLE, &["1db6"]).file(SECURE_BOOT, "\u{6}\0\0\0\u{1}"));
    assert_eq!(signed.source, None);
    assert!(
        names(&signed).contains(&"linux-modules-nvidia-580-server-6.8.0-45-generic".to_owned()),
        "{signed:?}"
    );
    let asked = decided(&host(NOBLE, &["27b8"]), On, "distribution").expect("is fine").expect("decides");
    let asked = asked.driver.expect("a driver comes");
    assert!(asked.source.is_none() && names(&asked).contains(&"nvidia-utils-580-server".to_owned()));
    let switched = host(NOBLE, &["2330"])
        .file("/sys/bus/pci/devices/0000:c1:00.0/vendor", "0x10de")
        .file("/sys/bus/pci/devices/0000:c1:00.0/device", "0x22a3")
        .file("/sys/bus/pci/devices/0000:c1:00.0/class", "0x068000");
    let switched = driver(&switched);
    assert!(switched.packages["nvidia-fabricmanager"].together, "it has the driver's version");
    assert!(switched.units.contains(&"nvidia-fabricmanager.service".to_owned()));
    assert!(driver(&host(NOBLE, &["27b8"]).directory("/sys/module/nouveau")).nouveau);
    let updated = host(NOBLE, &["27b8"]).directory("/lib/modules/6.8.0-99-generic");
    assert!(driver(&updated).stale_kernel && !noble.stale_kernel);
}

#[test]
fn a_key_of_which_only_the_fingerprint_ships_is_held_against_it() {
    let url = "https://developer.download.nvidia.com/compute/cuda/repos/rhel9/x86_64/D42D0685.pub";
    let other = include_bytes!("../../../profiles/keys/docker-rpm.asc");
    let host = FakeHost::new()
        .file("/etc/os-release", EL9)
        .file("/proc/sys/kernel/osrelease", "5.14.0-503.el9.x86_64\n")
        .file("/sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de")
        .file("/sys/bus/pci/devices/0000:01:00.0/device", "0x27b8")
        .file("/sys/bus/pci/devices/0000:01:00.0/class", "0x030200")
        .body(url, other);
    let error = decided(&host, On, "").expect_err("it is Docker's");
    assert_eq!(error.exit, crate::error::Exit::Refused);
    assert!(error.to_string().contains("610C7B14E068A878070DA4E99CD0A493D42D0685"), "{error}");
}

#[test]
fn the_image_of_cuda_is_the_newest_that_driver_and_cards_run() {
    let card = |device: &str| {
        let family = Family::of(u16::from_str_radix(device, 16).expect("is hexadecimal"));
        facts::Card { address: String::new(), device: device.to_owned(), name: None, family, driver: None }
    };
    let cases = [
        ("595.71.05", "27B8", Some("nvidia/cuda:13.2.1-base-ubuntu24.04")),
        ("580.95.05", "27B8", Some("nvidia/cuda:13.0.3-base-ubuntu24.04")),
        ("580.95.05", "1DB6", Some("nvidia/cuda:12.9.1-base-ubuntu24.04")),
        ("535.261.03", "27B8", Some("nvidia/cuda:12.9.1-base-ubuntu24.04")),
        ("470.82.01", "1DB6", None),
    ];
    for (driver, device, expected) in cases {
        assert_eq!(image_tag(driver, &[card(device)]), expected, "{driver} {device}");
    }
}
