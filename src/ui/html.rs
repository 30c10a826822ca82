//! The report as one page that can be handed on: no script, nothing from elsewhere, no names and addresses unless asked.

use crate::doctor::Report;
use crate::facts::Facts;

const TEMPLATE: &str = include_str!("../../templates/report.html");

pub fn page(report: &Report, facts: &Facts, with_names: bool) -> String {
    let mut findings = String::new();
    for found in &report.findings {
        let shown = |lines: &[String]| lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n");
        findings.push_str(&format!(
            "<section class=\"{0}\"><h2><b>{0}</b> {1}</h2><pre>{2}\n{3}</pre><p>{4}</p><pre class=\"fix\">{5}</pre>\
             <p class=\"id\">{6}{7}</p></section>\n",
            found.severity.word(),
            escaped(&found.cause),
            shown(&found.excerpt),
            shown(&found.evidence),
            escaped(&found.fix.text),
            shown(&found.fix.commands),
            found.id,
            if found.consequences.is_empty() { String::new() } else { format!(", and so {}", found.consequences.join(", ")) },
        ));
    }
    if report.findings.is_empty() {
        findings.push_str("<section class=\"fine\"><h2>healthy</h2></section>\n");
    }
    let unknown: String = report
        .unknown
        .iter()
        .map(|unknown| format!("<li>{}: {}</li>\n", unknown.id, escaped(&unknown.why)))
        .collect();
    let facts = serde_json::to_string_pretty(facts).unwrap_or_default();
    let page = TEMPLATE
        .replace("{{findings}}", &findings)
        .replace("{{unknown}}", &unknown)
        .replace("{{fine}}", &report.fine.join(", "))
        .replace("{{facts}}", &escaped(&facts))
        .replace("{{version}}", env!("CARGO_PKG_VERSION"));
    if with_names { page } else { anonymous(&page, report) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Without the user's name, what lies in homes, and addresses of machines.
fn anonymous(page: &str, report: &Report) -> String {
    let mut text = page.to_owned();
    let user = &report.subject.user;
    if user != "root" && !user.is_empty() {
        text = words_replaced(&text, user, "USER");
    }
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(|c: char| !(c.is_ascii_digit() || c == '.')) {
        let (number, rest) = match piece.char_indices().last() {
            Some((at, c)) if !(c.is_ascii_digit() || c == '.') => piece.split_at(at),
            _ => (piece, ""),
        };
        let parts: Vec<&str> = number.split('.').collect();
        let address = parts.len() == 4 && parts.iter().all(|part| part.parse::<u8>().is_ok());
        let own = number.starts_with("127.") || number == "0.0.0.0" || number == "8.8.8.8";
        out.push_str(if address && !own { "ADDRESS" } else { number });
        out.push_str(rest);
    }
    out
}

/// Whole words only: a user `a` is in many words.
fn words_replaced(text: &str, word: &str, by: &str) -> String {
    let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, from) = rest.split_at(at);
        let after = &from[word.len()..];
        let whole =
            !before.chars().next_back().is_some_and(inside) && !after.chars().next().is_some_and(inside);
        out.push_str(before);
        out.push_str(if whole { by } else { word });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_goes_as_a_whole_word_only() {
        assert_eq!(super::words_replaced("ali alice /home/ali/x", "ali", "USER"), "USER alice /home/USER/x");
    }
}
