//! Takes our keys back out of a JSON file that others may have edited since.

use serde_json::{Map, Value};

use super::{Fault, KeyPath, edit, lookup, put_back, raw, read};

/// What taking our keys back comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakeBack {
    /// The file holds nothing but what we wrote: its former bytes, or its absence, come back.
    Restore(Option<Vec<u8>>),
    /// Others wrote too: the file without our keys. `changed_since` are those of our keys that others have changed;
    /// they stay as they are.
    Edited { text: Vec<u8>, changed_since: Vec<KeyPath> },
    /// Nothing of ours is left in it.
    AlreadyAsBefore,
    /// All that is left of ours has been changed by others: hands off.
    KeysChangedSince(Vec<KeyPath>),
}

/// How our `keys` leave the file: `before` is what we found, `after` what we wrote, `now` what is there. `None` is a
/// file that is absent.
///
/// A key goes back to its former value, as it was written, only if it still has the value that we gave it. Objects
/// that we made around our keys go too once they are empty, and so does the whole file if we made it.
///
/// # Errors
/// A [`Fault`] where one of the three is not JSON as dockerd reads it: with `now` the file is left alone and told.
pub fn take_back(
    now: Option<&[u8]>,
    before: Option<&[u8]>,
    after: &[u8],
    keys: &[KeyPath],
) -> Result<TakeBack, Fault> {
    if now == before {
        return Ok(TakeBack::AlreadyAsBefore);
    }
    if now == Some(after) {
        return Ok(TakeBack::Restore(before.map(<[u8]>::to_vec)));
    }
    let former = before.unwrap_or_default();
    let (ours, changed_since) = sort(&read(now.unwrap_or_default())?, &read(former)?, &read(after)?, keys);
    if ours.is_empty() {
        return Ok(match changed_since.is_empty() {
            true => TakeBack::AlreadyAsBefore,
            false => TakeBack::KeysChangedSince(changed_since),
        });
    }
    let mut text = now.unwrap_or_default().to_vec();
    for path in &ours {
        text = put_back(&text, path, raw(former, path)?)?;
        text = without_empty_parents(text, former, path)?;
    }
    if read(&text)?.is_empty() && read(former)?.is_empty() {
        return Ok(TakeBack::Restore(before.map(<[u8]>::to_vec)));
    }
    Ok(TakeBack::Edited { text, changed_since })
}

/// The keys that still have our value, and those to which others have given another since.
fn sort(
    now: &Map<String, Value>,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    keys: &[KeyPath],
) -> (Vec<KeyPath>, Vec<KeyPath>) {
    let (mut ours, mut changed) = (Vec::new(), Vec::new());
    for path in keys {
        let (now, before, after) = (lookup(now, path), lookup(before, path), lookup(after, path));
        if now == before || before == after {
            continue;
        }
        let list = if now == after { &mut ours } else { &mut changed };
        list.push(path.clone());
    }
    (ours, changed)
}

/// Objects around `path` that were not there before and are empty now, the innermost first.
fn without_empty_parents(mut text: Vec<u8>, former: &[u8], path: &[String]) -> Result<Vec<u8>, Fault> {
    for depth in (1..path.len()).rev() {
        let parent = &path[..depth];
        let ours = !matches!(lookup(&read(former)?, parent), Some(Value::Object(_)));
        let empty = lookup(&read(&text)?, parent) == Some(&Value::Object(Map::new()));
        if !(ours && empty) {
            break;
        }
        text = match raw(former, parent)? {
            Some(raw) => put_back(&text, parent, Some(raw))?,
            None => edit(&text, &[(parent.to_vec(), None)])?,
        };
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What rprov writes in these tests.
    fn wanted() -> Vec<(KeyPath, Option<Value>)> {
        let path = |dotted: &str| dotted.split('.').map(str::to_owned).collect();
        vec![
            (path("log-driver"), Some(json!("local"))),
            (path("log-opts.max-size"), Some(json!("10m"))),
            (path("runtimes.nvidia"), Some(json!({"path": "nvidia-container-runtime"}))),
        ]
    }

    fn keys() -> Vec<KeyPath> {
        wanted().into_iter().map(|(path, _)| path).collect()
    }

    fn written(before: &str) -> String {
        String::from_utf8(edit(before.as_bytes(), &wanted()).unwrap()).unwrap()
    }

    fn back(now: Option<&str>, before: Option<&str>) -> TakeBack {
        let after = written(before.unwrap_or_default());
        take_back(now.map(str::as_bytes), before.map(str::as_bytes), after.as_bytes(), &keys()).unwrap()
    }

    fn edited(text: &str, changed_since: &[&str]) -> TakeBack {
        let changed_since = changed_since.iter().map(|d| d.split('.').map(str::to_owned).collect()).collect();
        TakeBack::Edited { text: text.as_bytes().to_vec(), changed_since }
    }

    #[test]
    fn a_file_that_is_still_what_we_wrote_comes_back_byte_by_byte_or_goes() {
        for before in ["", "{ }", "{\r\n\t\"debug\" : true\r\n}", "\u{feff}{\"log-opts\":{ }}", "null"] {
            let after = written(before);
            assert_eq!(back(Some(&after), Some(before)), TakeBack::Restore(Some(before.as_bytes().to_vec())));
        }
        assert_eq!(back(Some(&written("")), None), TakeBack::Restore(None));
    }

    #[test]
    fn a_file_without_anything_of_ours_is_already_as_before() {
        let before = "{\"debug\": true}";
        assert_eq!(back(None, None), TakeBack::AlreadyAsBefore);
        assert_eq!(back(Some(before), Some(before)), TakeBack::AlreadyAsBefore);
        assert_eq!(back(Some("{\"debug\": false}"), Some(before)), TakeBack::AlreadyAsBefore);
        assert_eq!(back(None, Some(before)), TakeBack::AlreadyAsBefore);
    }

    #[test]
    fn what_others_added_stays_as_they_wrote_it() {
        let before = "{\n  \"debug\": true\n}\n";
        let now =
            written(before).replace("\"debug\": true,", "\"debug\":   true,\n  \"labels\": [ \"a=b\" ],");
        assert_eq!(
            back(Some(&now), Some(before)),
            edited("{\n  \"debug\":   true,\n  \"labels\": [ \"a=b\" ]\n}\n", &[])
        );
    }

    #[test]
    fn a_key_of_others_beside_ours_keeps_the_object_that_we_made() {
        let now = written("").replace("\"max-size\": \"10m\"", "\"max-size\": \"10m\",\n    \"tag\": \"x\"");
        assert_eq!(back(Some(&now), None), edited("{\n  \"log-opts\": {\n    \"tag\": \"x\"\n  }\n}\n", &[]));
    }

    #[test]
    fn a_key_of_ours_that_others_changed_stays_and_is_told() {
        let now = written("").replace("10m", "50m");
        assert_eq!(
            back(Some(&now), None),
            edited("{\n  \"log-opts\": {\n    \"max-size\": \"50m\"\n  }\n}\n", &["log-opts.max-size"])
        );
        let now = "{\"log-driver\": \"journald\"}";
        assert_eq!(back(Some(now), None), TakeBack::KeysChangedSince(vec![keys()[0].clone()]));
    }

    #[test]
    fn a_file_that_others_only_laid_out_anew_loses_our_keys_and_goes_if_we_made_it() {
        let compact = |text: &str| serde_json::from_str::<Value>(text).unwrap().to_string();
        assert_eq!(back(Some(&compact(&written(""))), None), TakeBack::Restore(None));
        let before = "{\n\t\"debug\": true\n}";
        let now = compact(&written(before));
        assert_eq!(back(Some(&now), Some(before)), edited("{\"debug\":true}", &[]));
    }

    #[test]
    fn a_former_value_comes_back_as_it_was_written() {
        let before =
            "{\n  \"log-opts\": {\"max-size\": 123456789012345678901234567890},\n  \"runtimes\": null\n}\n";
        let now = written(before).replace("  \"log-opts\"", "  \"debug\": true,\n  \"log-opts\"");
        let expected = before.replace("  \"log-opts\"", "  \"debug\": true,\n  \"log-opts\"");
        assert_eq!(back(Some(&now), Some(before)), edited(&expected, &[]));
    }

    #[test]
    fn objects_that_were_there_before_stay_even_if_empty() {
        let before = "{\n  \"runtimes\": {}\n}\n";
        let now = written(before).replacen('{', "{\n  \"debug\": true,", 1);
        assert_eq!(
            back(Some(&now), Some(before)),
            edited("{\n  \"debug\": true,\n  \"runtimes\": {}\n}\n", &[])
        );
    }

    #[test]
    fn a_key_that_had_our_value_already_is_not_ours_to_take() {
        let before = "{\"log-driver\": \"local\"}";
        let now = written(before).replace("\"local\"", "\"journald\"");
        assert_eq!(back(Some(&now), Some(before)), edited("{\"log-driver\": \"journald\"}", &[]));
    }

    #[test]
    fn a_file_that_others_broke_is_left_alone_with_the_place() {
        let fault = take_back(Some(b"{\"a\": 1,}"), None, b"{}", &keys()).unwrap_err();
        assert_eq!((fault.line, fault.column), (1, 9));
    }
}
