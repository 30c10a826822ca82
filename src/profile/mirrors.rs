//! Mirrors by name: each stands for an address that the configuration could as well give.

use super::config::{Config, SourceName};
use super::settings::known;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::sync::LazyLock;

type Presets = BTreeMap<String, BTreeMap<SourceName, String>>;

static PRESETS: LazyLock<Presets> = LazyLock::new(|| {
    toml::from_str(include_str!("../../profiles/mirrors/presets.toml"))
        .expect("a test reads the presets that are compiled in")
});

/// The names that `--mirror` takes.
pub fn mirrors() -> impl Iterator<Item = &'static str> {
    PRESETS.keys().map(String::as_str)
}

/// The configuration with the addresses of the mirror that is named, on the command line or in it. A key of one's own
/// stays the pin: a mirror by name changes where something comes from, and never who is believed.
///
/// # Errors
/// A name that is none (exit 2); a configuration that names two places for one source (exit 2).
pub fn with_mirror(flag: Option<String>, mut config: Config) -> Result<Config> {
    let named_in_file = flag.is_none();
    let Some(name) = flag.or_else(|| config.mirror.clone()) else { return Ok(config) };
    known("mirror", &name, PRESETS.keys())?;
    for (source, address) in PRESETS.get(&name).into_iter().flatten() {
        let place = config.source.entry(*source).or_default();
        if let (true, Some(other)) = (named_in_file, &place.url) {
            return Err(Error::usage("the configuration names two places for one source")
                .because(format!("`mirror` is `{name}`, and `url` is `{other}`"))
                .hint("leave one of them out"));
        }
        place.url = Some(address.clone());
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::profile::Source;

    fn docker(config: &Config) -> Option<&str> {
        config.source.get(&SourceName::Docker)?.url.as_deref()
    }

    #[test]
    fn every_preset_is_an_address_with_tls_and_without_a_slash_at_its_end() {
        assert_eq!(Vec::from_iter(mirrors()), ["aliyun", "azure-china", "tuna", "ustc"]);
        for address in PRESETS.values().flat_map(BTreeMap::values) {
            assert!(address.starts_with("https://") && !address.ends_with('/'), "{address}");
        }
    }

    #[test]
    fn the_command_line_wins_over_an_address_and_two_places_in_one_file_are_a_mistake() {
        let own = Source { url: Some("https://mirror.example/ce".to_owned()), key: None };
        let source = BTreeMap::from([(SourceName::Docker, own)]);
        let by_flag =
            with_mirror(Some("tuna".into()), Config { source: source.clone(), ..Config::default() });
        assert_eq!(docker(&by_flag.unwrap()), Some("https://mirrors.tuna.tsinghua.edu.cn/docker-ce"));
        let twice = Config { source, mirror: Some("tuna".into()), ..Config::default() };
        assert_eq!(with_mirror(None, twice.clone()).unwrap_err().exit, Exit::Usage);
        let other = with_mirror(Some("ustc".into()), twice).unwrap();
        assert_eq!(docker(&other), Some("https://mirrors.ustc.edu.cn/docker-ce"));
        let in_file = Config { mirror: Some("aliyun".into()), ..Config::default() };
        assert_eq!(
            docker(&with_mirror(None, in_file).unwrap()),
            Some("https://mirrors.aliyun.com/docker-ce")
        );
        let error = with_mirror(Some("tuan".into()), Config::default()).unwrap_err();
        assert!(error.to_string().contains("did you mean `tuna`?"), "{error}");
    }
}
