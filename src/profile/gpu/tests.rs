//! What becomes of a card, on hosts of many kinds.

use super::*;

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
