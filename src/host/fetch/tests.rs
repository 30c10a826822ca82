//! A server of a few lines on a port of its own, and what the fetcher makes of its answers.

use super::*;
use crate::error::Exit;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

/// Answers one connection after the other, and hands back the requests.
struct Server {
    url: String,
    thread: std::thread::JoinHandle<Vec<String>>,
}

fn serve(answers: &[&str]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    let answers: Vec<String> = answers.iter().map(|answer| answer.replace("SELF", &url)).collect();
    let thread = std::thread::spawn(move || {
        let mut held = Vec::new();
        let answer_one = |answer: &String| {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(std::io::Result::ok);
            let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            match answer.as_str() {
                "hang" => held.push(stream),
                answer => stream.write_all(answer.as_bytes()).unwrap(),
            }
            request.join("\n").to_lowercase()
        };
        answers.iter().map(answer_one).collect()
    });
    Server { url, thread }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
}

fn fetcher() -> Fetcher {
    Fetcher { pauses: [Duration::ZERO; 2], stall: Duration::from_millis(300), ..Fetcher::new() }
}

#[test]
fn a_body_is_fetched_once_and_again_only_when_asked() {
    let server = serve(&[&ok("one"), &ok("two")]);
    let fetcher = fetcher();
    assert_eq!(fetcher.fetch(&server.url, 10).unwrap(), b"one");
    assert_eq!(fetcher.fetch(&server.url, 10).unwrap(), b"one");
    assert_eq!(fetcher.fetch_again(&server.url, 10).unwrap(), b"two");
    assert_eq!(fetcher.fetch(&server.url, 10).unwrap(), b"two");
    let requests = server.thread.join().unwrap();
    assert!(requests[0].contains(concat!("user-agent: rprov/", env!("CARGO_PKG_VERSION"))));
    assert!(!requests[0].contains("no-cache"));
    assert!(requests[1].contains("cache-control: no-cache"));
}

#[test]
fn what_is_not_there_is_told_apart_and_not_tried_again() {
    for line in ["404 Not Found", "410 Gone"] {
        let server = serve(&[&status(line)]);
        assert!(fetcher().fetch(&server.url, 10).unwrap_err().absent);
        assert_eq!(server.thread.join().unwrap().len(), 1);
    }
}

#[test]
fn what_is_forbidden_is_said_and_not_tried_again() {
    for (line, word) in
        [("401 Unauthorized", "password"), ("403 Forbidden", "forbids"), ("407 Proxy", "proxy wants")]
    {
        let server = serve(&[&status(line)]);
        let error = fetcher().fetch(&server.url, 10).unwrap_err();
        assert_eq!(error.exit, Exit::Failed);
        assert!(error.to_string().contains(word), "{error}");
        assert!(!error.absent);
    }
}

#[test]
fn a_server_in_trouble_is_asked_three_times() {
    let down = status("503 Service Unavailable");
    let server = serve(&[&down, &status("429 Too Many Requests"), &ok("body")]);
    assert_eq!(fetcher().fetch(&server.url, 10).unwrap(), b"body");
    let server = serve(&[&down, &down, &down]);
    let error = fetcher().fetch(&server.url, 10).unwrap_err();
    assert_eq!(error.exit, Exit::TryAgain);
    assert!(error.to_string().contains("503"), "{error}");
}

#[test]
fn a_body_that_is_cut_off_is_fetched_again_and_never_taken() {
    let cut = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhalf";
    let server = serve(&[cut, &ok("the whole")]);
    assert_eq!(fetcher().fetch(&server.url, 10).unwrap(), b"the whole");
    let server = serve(&[cut, cut, cut]);
    let error = fetcher().fetch(&server.url, 10).unwrap_err();
    assert_eq!(error.exit, Exit::TryAgain);
    assert!(error.to_string().contains("after 4 bytes"), "{error}");
}

#[test]
fn a_server_that_hangs_is_left() {
    let server = serve(&["hang", &ok("body")]);
    assert_eq!(fetcher().fetch(&server.url, 10).unwrap(), b"body");
}

#[test]
fn a_closed_port_is_worth_another_try() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://user:secret@{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = fetcher().fetch(&url, 10).unwrap_err();
    assert_eq!(error.exit, Exit::TryAgain);
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn a_body_over_the_limit_is_refused_whether_promised_or_not() {
    let endless = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n12345678901";
    for answer in [ok("12345678901").as_str(), endless] {
        let server = serve(&[answer]);
        assert_eq!(fetcher().fetch(&server.url, 10).unwrap_err().exit, Exit::Refused);
        server.thread.join().unwrap();
    }
    let server = serve(&["HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n1234567890"]);
    assert_eq!(fetcher().fetch(&server.url, 10).unwrap(), b"1234567890");
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let server = serve(&["HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: /there\r\n\r\n", &ok("body")]);
    assert_eq!(fetcher().fetch(&server.url, 10).unwrap(), b"body");
    assert!(server.thread.join().unwrap()[1].starts_with("get /there"));
    let round = "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: SELF\r\n\r\n";
    let server = serve(&[round; REDIRECTS + 1]);
    let error = fetcher().fetch(&server.url, 10).unwrap_err();
    assert!(error.to_string().contains("redirects too often"), "{error}");
}

#[test]
fn a_name_is_looked_up_by_the_host() {
    let server = serve(&[&ok("body")]);
    let url = server.url.replace("127.0.0.1", "localhost");
    assert_eq!(fetcher().fetch(&url, 10).unwrap(), b"body");
    let error = fetcher().fetch("http://nowhere.invalid/", 10).unwrap_err();
    assert_eq!(error.exit, Exit::TryAgain);
    assert!(error.to_string().contains("cannot look up `nowhere.invalid`"), "{error}");
}

#[test]
fn each_address_of_getent_counts_once_in_its_order() {
    let output = "2600:9000::1   STREAM d.example\n2600:9000::1   DGRAM  \n18.66.0.1       STREAM \nfe80::1%eth0 STREAM\n18.66.0.1 RAW\n";
    let found: Vec<String> = parse_ahosts(output).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["2600:9000::1", "18.66.0.1"]);
    assert_eq!(parse_ahosts(""), Vec::<IpAddr>::new());
}

#[test]
fn no_password_of_a_url_is_shown() {
    for (text, shown) in [
        ("https://user:p@ss@mirror/path?a@b", "https://***@mirror/path?a@b"),
        ("https://token@mirror", "https://***@mirror"),
        ("https://mirror/a@b", "https://mirror/a@b"),
        ("Get:1 http://u:p@a/x then 'socks5h://u:p@b'", "Get:1 http://***@a/x then 'socks5h://***@b'"),
        ("no url: a@b", "no url: a@b"),
    ] {
        assert_eq!(mask(text), shown);
    }
}

#[test]
fn a_server_may_ask_for_a_wait_in_seconds() {
    let headers = |value: &str| HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
    assert_eq!(retry_after(&headers("7")), Duration::from_secs(7));
    assert_eq!(retry_after(&headers("Thu, 01 Jan 2026 12:00:00 GMT")), Duration::ZERO);
    assert_eq!(retry_after(&HeaderMap::new()), Duration::ZERO);
}

#[test]
fn a_certificate_from_the_future_waits_for_the_clock_and_an_unknown_one_is_refused() {
    let judge = |flaw: CertificateError| {
        let error = std::io::Error::other(rustls::Error::InvalidCertificate(flaw));
        bad_certificate("cannot".to_owned(), causes(&error).find_map(certificate_flaw).unwrap())
    };
    let early = judge(CertificateError::NotValidYet);
    assert_eq!((early.exit, early.waits_for), (Exit::TryAgain, Some("the clock")));
    for flaw in
        [CertificateError::UnknownIssuer, CertificateError::Expired, CertificateError::NotValidForName]
    {
        assert_eq!(judge(flaw).exit, Exit::Refused);
    }
    assert!(judge(CertificateError::UnknownIssuer).next().unwrap().contains("update-ca-certificates"));
}

#[test]
fn a_proxy_that_the_package_manager_is_told_to_use_is_used_with_its_password_and_its_refusal_names_it_masked()
{
    let server = serve(&[&ok("by proxy"), &status("407 Proxy Authentication Required")]);
    let address = server.url.trim_start_matches("http://").trim_end_matches("/file").to_owned();
    let dump = format!("Acquire::http::Proxy \"http://al%69ce:s%3Acret@{address}/\";\n");
    let fetcher = fetcher();
    fetcher.through(|| Proxies::of_apt(&dump));
    assert_eq!(fetcher.fetch("http://mirror.invalid/index", 10).unwrap(), b"by proxy");
    let error = fetcher.fetch("http://mirror.invalid/more", 10).unwrap_err().to_string();
    assert!(error.contains("the proxy wants a user name and a password"), "{error}");
    assert!(error.contains(&format!("by the proxy `http://***@{address}/`")), "{error}");
    assert!(!error.contains("cret"), "{error}");
    let requests = server.thread.join().unwrap();
    assert!(requests[0].starts_with("get http://mirror.invalid/index"), "{}", requests[0]);
    // `alice:s:cret`, in small letters as all that the server hands back.
    assert!(requests[0].contains("proxy-authorization: basic ywxpy2u6czpjcmv0"), "{}", requests[0]);
}
