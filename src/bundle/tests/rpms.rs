//! Bundles of rpms, whose indexes nobody signs: each package is, and it has to be the one that is listed.

use super::*;
use crate::trust::repomd::{RpmSource, Signed};

/// `hello-2:1.0-3.el9.noarch`, built by rpmbuild and signed by rpmsign.
const HELLO: &[u8] = include_bytes!("../../../tests/fixtures/trust/hello.rpm");
const KEY: &[u8] = include_bytes!("../../../tests/fixtures/trust/rpms.asc");
const RPM: &str = "docker-ce-stable/Packages/hello.rpm";

fn source(key: Vec<u8>, signed: Signed) -> Origin {
    let url = "https://download.docker.com/linux/rhel/9/x86_64/stable".into();
    let index = RpmSource { url, pin: Pin::of_file(key).unwrap(), signed };
    Origin { directory: "docker-ce-stable".into(), index: Index::Rpm(index) }
}

/// The index, its list and the package, all agreeing; `version` is what the list says of it.
fn agreeing(package: &[u8], version: &str) -> Vec<(String, Vec<u8>)> {
    let list = format!(
        "<metadata><package type=\"rpm\"><name>hello</name><arch>noarch</arch>\
         <version epoch=\"2\" ver=\"{version}\" rel=\"3.el9\"/><checksum type=\"sha256\" pkgid=\"YES\">{}</checksum>\
         <size package=\"{}\"/><location href=\"Packages/hello.rpm\"/></package></metadata>",
        sha256(package),
        package.len()
    );
    let index = format!(
        "<repomd><data type=\"primary\"><checksum type=\"sha256\">{}</checksum>\
         <location href=\"repodata/primary.xml\"/></data></repomd>",
        sha256(list.as_bytes())
    );
    let files = [("repodata/repomd.xml", index.into_bytes()), ("repodata/primary.xml", list.into_bytes())];
    let mut files: Vec<_> =
        files.into_iter().map(|(path, bytes)| (format!("docker-ce-stable/{path}"), bytes)).collect();
    files.push((RPM.to_owned(), package.to_vec()));
    files
}

fn looked_at(place: &Place, files: &[(String, Vec<u8>)], origin: &Origin) -> Result<Checked> {
    let mut manifest = manifest(&Signer::new(), files);
    manifest.indexes = vec![origin.listed()];
    place.written(&manifest, files);
    check(&place.file(), |_, _| Ok(vec![origin.clone()]), &host())
}

fn is_refused(files: &[(String, Vec<u8>)], origin: &Origin, words: &[&str]) {
    let error = looked_at(&Place::new(), files, origin).expect_err("is refused");
    assert_eq!(error.exit, Exit::Refused, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "`{word}` is not in: {error}");
    }
}

#[test]
fn a_package_that_the_pinned_key_signed_is_taken_where_it_is_listed() {
    let origin = source(KEY.to_vec(), Signed::Packages);
    let checked = looked_at(&Place::new(), &agreeing(HELLO, "1.0"), &origin).expect("is right");
    assert_eq!(checked.packages, 1);
    assert_eq!(checked.rpms, [("docker-ce-stable".to_owned(), "hello-2:1.0-3.el9.noarch".to_owned())]);
}

#[test]
fn a_package_of_another_key_or_another_version_is_refused_whatever_the_index_says() {
    let ours = source(KEY.to_vec(), Signed::Packages);
    let other = source(Signer::new().public(), Signed::Packages);
    is_refused(&agreeing(HELLO, "1.0"), &other, &[RPM, "not that of the pinned key"]);
    is_refused(
        &agreeing(HELLO, "2.0"),
        &ours,
        &[RPM, "it is hello-2:1.0-3.el9", "hello-2:2.0-3.el9.noarch is listed"],
    );
    is_refused(&agreeing(b"no package", "1.0"), &ours, &[RPM, "it ends too early"]);
    let mut flipped = HELLO.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    is_refused(&agreeing(&flipped, "1.0"), &ours, &[RPM, "its payload is not the one"]);
    // Not what is listed.
    let mut swapped = agreeing(HELLO, "1.0");
    swapped[2].1 = flipped;
    is_refused(&swapped, &ours, &[RPM]);
    for path in ["docker-ce-stable/Packages/more.rpm", "images"] {
        let mut more = agreeing(HELLO, "1.0");
        more.push((path.into(), HELLO.to_vec()));
        is_refused(&more, &ours, &[path, "is listed in no index"]);
    }
}

#[test]
fn a_package_is_no_list_of_an_index_and_an_index_without_a_package_is_none() {
    let ours = source(KEY.to_vec(), Signed::Packages);
    let mut evil = agreeing(HELLO, "1.0");
    let text = String::from_utf8(evil[0].1.clone()).unwrap();
    let data = format!(
        "<data type=\"more\"><checksum type=\"sha256\">{}</checksum><location href=\"Packages/evil\"/></data></repomd>",
        sha256(b"evil")
    );
    evil[0].1 = text.replace("</repomd>", &data).into_bytes();
    evil.push(("docker-ce-stable/Packages/evil".into(), b"evil".to_vec()));
    is_refused(&evil, &ours, &["docker-ce-stable/Packages/evil", "is no list of an index"]);
    let mut without = agreeing(HELLO, "1.0");
    without.pop();
    is_refused(&without, &ours, &["an index of `docker-ce-stable` and no package of it"]);
}

#[test]
fn an_index_without_its_list_or_without_the_signature_that_it_has_to_have_is_refused() {
    let ours = source(KEY.to_vec(), Signed::Packages);
    let mut another = agreeing(HELLO, "1.0");
    another[1].1.push(b' ');
    is_refused(&another, &ours, &["repodata/primary.xml", "is not what its index says"]);
    let mut without = agreeing(HELLO, "1.0");
    without.remove(1);
    is_refused(&without, &ours, &["repodata/primary.xml", "is not there"]);
    let signed = source(KEY.to_vec(), Signed::Index);
    is_refused(&agreeing(HELLO, "1.0"), &signed, &["is not signed", "repomd.xml.asc"]);
}
