//! The report as one page that can be handed on: no script, nothing from elsewhere, no names and addresses unless asked.

mod timeline;
mod veil;

pub use veil::Veil;

use crate::doctor::Report;
use crate::event::{Class, Found, Severity};
use crate::facts::{Cgroup, Facts, Init, SeLinux, Virtualisation};
use crate::receipt::{Entry, Past};
use std::path::Path;

const TEMPLATE: &str = include_str!("../../templates/report.html");

/// What the page is made of.
pub struct Handed<'a> {
    pub report: &'a Report,
    pub facts: &'a Facts,
    /// Why there are none, where they cannot be read.
    pub receipts: Result<Vec<Past>, String>,
    /// What no longer holds of them.
    pub drifts: Vec<Found>,
    pub veil: Veil,
    /// When the host was looked at.
    pub at: jiff::Timestamp,
}

impl Handed<'_> {
    pub fn page(&self) -> String {
        let parts = [
            ("{{state}}", self.state().to_owned()),
            ("{{headline}}", self.headline()),
            ("{{system}}", self.shown(&self.facts.distribution.name)),
            ("{{at}}", minute(self.at)),
            ("{{whose}}", self.whose()),
            ("{{veiled}}", self.veiled().to_owned()),
            ("{{counts}}", self.counts()),
            ("{{found}}", self.findings()),
            ("{{drifts}}", self.drifted()),
            ("{{timeline}}", self.timeline()),
            ("{{receipts}}", self.receipts()),
            ("{{facts}}", self.facts()),
            ("{{unknown}}", self.unknown()),
            ("{{fine}}", self.fine()),
            ("{{version}}", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        // In one pass: what a host says may hold a mark of the template.
        let mut page = String::with_capacity(64 * 1024);
        let mut rest = TEMPLATE;
        while let Some(at) = rest.find("{{") {
            page.push_str(&rest[..at]);
            rest = &rest[at..];
            match parts.iter().find(|(mark, _)| rest.starts_with(mark)) {
                Some((mark, text)) => {
                    page.push_str(text);
                    rest = &rest[mark.len()..];
                }
                None => {
                    page.push_str("{{");
                    rest = &rest[2..];
                }
            }
        }
        page + rest
    }

    /// What comes from the host: veiled, and no mark-up.
    fn shown(&self, text: &str) -> String {
        escaped(&self.veil.over(text))
    }

    /// The same in a sentence: what stands in backticks is code.
    fn prose(&self, text: &str) -> String {
        let shown = self.shown(text);
        let mut html = String::with_capacity(shown.len() + 32);
        for (number, piece) in shown.split('`').enumerate() {
            let code = number % 2 == 1;
            html.push_str(&if code { format!("<code>{piece}</code>") } else { piece.to_owned() });
        }
        html
    }

    /// What is left out before the mark moves it.
    fn excerpt(&self, lines: &[String]) -> String {
        let mut shown: Vec<String> = lines.iter().map(|line| self.shown(line)).collect();
        if let ([.., line, mark], Some(last)) = (lines, shown.last_mut())
            && mark.trim_start() == "^"
        {
            let before: String = line.chars().take(mark.chars().count() - 1).collect();
            *last = format!("{}^", " ".repeat(self.veil.over(&before).chars().count()));
        }
        shown.join("\n")
    }

    fn worst(&self) -> Option<Severity> {
        self.report.findings.iter().map(|found| found.severity).max()
    }

    fn state(&self) -> &'static str {
        self.worst().filter(|worst| *worst > Severity::Info).map_or("fine", Severity::word)
    }

    fn headline(&self) -> String {
        let number = self.report.findings.iter().filter(|found| found.severity > Severity::Info).count();
        match (number, self.worst()) {
            (0, _) => "Healthy".into(),
            (1, Some(Severity::Block)) => "Docker cannot be used: one cause".into(),
            (n, Some(Severity::Block)) => format!("Docker cannot be used: {n} causes"),
            (1, Some(Severity::Degraded)) => "Docker works in part: one cause".into(),
            (n, Some(Severity::Degraded)) => format!("Docker works in part: {n} causes"),
            (1, _) => "Docker works: one warning".into(),
            (n, _) => format!("Docker works: {n} warnings"),
        }
    }

    fn whose(&self) -> String {
        let eyes = if self.report.subject.as_root { ", with root’s eyes" } else { "" };
        let (user, from) = (self.shown(&self.report.subject.user), &self.report.endpoint.from);
        match from.as_str() {
            "the default" => format!("looked at for {user}{eyes}"),
            _ => format!("looked at for {user}{eyes}, whose docker goes where {} leads", self.shown(from)),
        }
    }

    fn veiled(&self) -> &'static str {
        match self.veil.open() {
            true => "Names and addresses are in it as they were asked for; secrets are not.",
            false => {
                "Names, addresses and secrets are left out: USER, HOST, SITE and ADDRESS stand for them."
            }
        }
    }

    fn counts(&self) -> String {
        let of = |severity: Severity| self.report.findings.iter().filter(|f| f.severity == severity).count();
        let severities = [Severity::Block, Severity::Degraded, Severity::Warn, Severity::Info];
        let chip = |class: &str, number: usize| format!("<li class=\"{class}\"><b>{number}</b> {class}</li>");
        let mut chips: Vec<String> =
            severities.into_iter().filter(|s| of(*s) > 0).map(|s| chip(s.word(), of(s))).collect();
        chips.push(chip("fine", self.report.fine.len()));
        chips.extend((!self.report.unknown.is_empty()).then(|| chip("unknown", self.report.unknown.len())));
        chips.join("\n")
    }

    /// A note needs no more than its sentence until somebody asks.
    fn finding(&self, found: &Found) -> String {
        let (word, id) = (found.severity.word(), found.id);
        let cause = self.prose(&found.cause);
        let head = format!("<h3><span class=\"tag\">{word}</span> {cause}</h3>");
        let body = self.body(found);
        match found.severity {
            Severity::Info => format!(
                "<article class=\"{word}\" id=\"{id}\"><details><summary>{head}</summary>\n{body}</details></article>\n"
            ),
            _ => format!("<article class=\"{word}\" id=\"{id}\">\n{head}\n{body}</article>\n"),
        }
    }

    fn body(&self, found: &Found) -> String {
        let lines = |lines: &[String]| lines.iter().map(|line| self.shown(line)).collect::<Vec<_>>();
        let mut html = String::new();
        if !found.excerpt.is_empty() {
            html.push_str(&format!("<pre class=\"excerpt\">{}</pre>\n", self.excerpt(&found.excerpt)));
        }
        if !found.evidence.is_empty() {
            let seen: String =
                found.evidence.iter().map(|line| format!("<li>{}</li>", self.prose(line))).collect();
            html.push_str(&format!("<h4>Seen</h4><ul class=\"seen\">{seen}</ul>\n"));
        }
        let who = match found.fix.class {
            Class::Made => "<code>rprov doctor --fix</code> does it",
            Class::Asked => "<code>rprov doctor --fix</code> asks, and does it",
            Class::Told => "by hand",
        };
        html.push_str(&format!(
            "<h4>What mends it <span class=\"who\">{who}</span></h4><p>{}</p>\n",
            self.prose(&found.fix.text)
        ));
        if !found.fix.commands.is_empty() {
            html.push_str(&format!("<pre class=\"fix\">{}</pre>\n", lines(&found.fix.commands).join("\n")));
        }
        if !found.consequences.is_empty() {
            let ids: Vec<String> = found.consequences.iter().map(|id| format!("<code>{id}</code>")).collect();
            html.push_str(&format!("<h4>And so</h4><p class=\"ids\">{}</p>\n", ids.join(" ")));
        }
        let upstream = found.reference.map(|address| {
            format!(" · <a href=\"{0}\" rel=\"noreferrer\">where upstream speaks of it</a>", escaped(address))
        });
        html.push_str(&format!(
            "<footer><code>{}</code>{}</footer>\n",
            found.id,
            upstream.unwrap_or_default()
        ));
        html
    }

    fn findings(&self) -> String {
        if self.report.findings.is_empty() {
            return String::new();
        }
        let found: String = self.report.findings.iter().map(|found| self.finding(found)).collect();
        format!("<section><h2>What was found</h2>\n{found}</section>\n")
    }

    fn drifted(&self) -> String {
        if self.drifts.is_empty() {
            return String::new();
        }
        let drifts: String = self.drifts.iter().map(|found| self.finding(found)).collect();
        format!("<section><h2>No longer as it was made</h2>\n{drifts}</section>\n")
    }

    fn timeline(&self) -> String {
        let Ok(receipts) = &self.receipts else { return String::new() };
        let Some(past) = receipts.iter().rev().find(|past| past.verb == "install") else {
            return String::new();
        };
        let spans = timeline::of(past);
        let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return String::new() };
        let whole = last.to_us.saturating_sub(first.from_us).max(1) as f64;
        let percent = |us: u64| us as f64 * 100.0 / whole;
        let rows: String = spans
            .iter()
            .map(|span| {
                // Too short to be seen is shown all the same, and the last one within its row.
                let wide = percent(span.to_us - span.from_us).max(0.8);
                let left = percent(span.from_us - first.from_us).min(100.0 - wide);
                let lines = span.lines.iter().map(|line| {
                    format!("{} {}  {}", line.sign.glyph(), self.shown(&line.name), self.shown(&line.text))
                });
                let lines = lines.collect::<Vec<_>>().join("\n");
                let inside = if lines.is_empty() { String::new() } else { format!("<pre>{lines}</pre>") };
                format!(
                    "<li><details><summary><span class=\"title\">{}</span><span class=\"took\">{}</span>\
                     <span class=\"track\"><span class=\"bar\" style=\"margin-left:{left:.2}%;width:{wide:.2}%\"></span></span>\
                     </summary>{inside}</details></li>\n",
                    self.shown(&span.title),
                    seconds(span.to_us - span.from_us),
                )
            })
            .collect();
        format!(
            "<section><h2>The last install, step by step</h2>\n<p class=\"note\">{} · {} in all, downloads before it \
             not counted</p>\n<ol class=\"timeline\">\n{rows}</ol></section>\n",
            time_of(first.from_us),
            seconds(last.to_us - first.from_us)
        )
    }

    fn receipts(&self) -> String {
        let receipts = match &self.receipts {
            Ok(receipts) => receipts,
            Err(why) => return format!("<p class=\"note\">{}</p>", self.shown(why)),
        };
        if receipts.is_empty() {
            return "<p class=\"note\">rprov has changed nothing on this machine.</p>".into();
        }
        let rows: String = receipts.iter().map(|past| self.receipt(past)).collect();
        format!(
            "<div class=\"scroll\"><table><thead><tr><th>when</th><th>what was typed</th><th>changes</th>\
             <th>how it ended</th></tr></thead><tbody>\n{rows}</tbody></table></div>"
        )
    }

    fn receipt(&self, past: &Past) -> String {
        let (at_us, typed) = match past.entries.first() {
            Some(Entry::Header { at_us, arguments, .. }) => {
                (*at_us, format!("rprov {}", arguments.join(" ")))
            }
            _ => (0, past.verb.clone()),
        };
        let (class, ended) = match past.entries.last() {
            Some(Entry::Finished { exit: 0, .. }) => ("fine", "well".to_owned()),
            Some(Entry::Finished { exit: 6, .. }) => ("warn", "before a reboot".to_owned()),
            Some(Entry::Finished { exit, .. }) => ("block", format!("with exit {exit}")),
            _ => ("block", "cut off".to_owned()),
        };
        format!(
            "<tr><td>{}</td><td><code>{}</code></td><td>{}</td><td class=\"{class}\">{ended}</td></tr>\n",
            time_of(at_us),
            self.shown(&typed),
            past.made()
        )
    }

    fn facts(&self) -> String {
        let facts = self.facts;
        let words = |known: &str, text: &str| (known.to_owned(), self.shown(text));
        let mut rows = vec![
            words("Distribution", &facts.distribution.name),
            words("Version", facts.distribution.version_id.as_deref().unwrap_or("none is said")),
            words("Architecture", &facts.architecture),
            words("Kernel", &facts.kernel),
            words(
                "Runs in",
                &match &facts.virtualisation {
                    Virtualisation::None => "no virtual machine".into(),
                    Virtualisation::Vm(kind) => format!("a virtual machine ({kind})"),
                    Virtualisation::Container(kind) => format!("a container ({kind})"),
                    Virtualisation::Wsl1 => "WSL 1".into(),
                    Virtualisation::Wsl2 => "WSL 2".into(),
                },
            ),
            words(
                "Init",
                match facts.init {
                    Init::Systemd => "systemd",
                    Init::Chroot => "none: this is a chroot",
                    Init::Other => facts.first_process.as_str(),
                },
            ),
            words(
                "Control groups",
                match facts.cgroup {
                    Cgroup::V1 => "version 1",
                    Cgroup::V2 => "version 2",
                    Cgroup::Hybrid => "version 1, with an empty version 2",
                    Cgroup::None => "none",
                },
            ),
            words(
                "AppArmor",
                match (facts.apparmor.enabled, facts.apparmor.parser) {
                    (false, _) => "off",
                    (true, true) => "on",
                    (true, false) => "on, without its parser",
                },
            ),
            words(
                "SELinux",
                match facts.selinux {
                    SeLinux::Off => "off",
                    SeLinux::Permissive => "permissive",
                    SeLinux::Enforcing => "enforcing",
                },
            ),
            words("Engine", if facts.engine { "installed by packages" } else { "none of a package" }),
        ];
        if facts.snap_docker {
            rows.push(words("Snap", "an engine of a snap is there, too"));
        }
        if let Some(gpu) = &facts.gpu {
            rows.push(words("NVIDIA", &crate::profile::gpu::words(gpu)));
        }
        let rows: String = rows
            .iter()
            .map(|(known, text)| format!("<div><dt>{known}</dt><dd>{text}</dd></div>\n"))
            .collect();
        let whole = serde_json::to_string_pretty(facts).unwrap_or_default();
        format!(
            "<dl>\n{rows}</dl>\n<details><summary>All of it, as <code>rprov facts</code> tells it</summary>\
             <pre>{}</pre></details>",
            self.shown(&whole)
        )
    }

    fn unknown(&self) -> String {
        let unknown = &self.report.unknown;
        if unknown.is_empty() {
            return String::new();
        }
        let rows: String = unknown
            .iter()
            .map(|unknown| format!("<li><code>{}</code> {}</li>\n", unknown.id, self.shown(&unknown.why)))
            .collect();
        fold(&format!("{} could not be looked at", unknown.len()), &format!("<ul>\n{rows}</ul>"))
    }

    fn fine(&self) -> String {
        let ids: String = self.report.fine.iter().map(|id| format!("<code>{id}</code>\n")).collect();
        fold(&format!("{} are fine", self.report.fine.len()), &format!("<p class=\"chips\">{ids}</p>"))
    }
}

fn fold(summary: &str, inside: &str) -> String {
    format!("<details class=\"fold\"><summary>{summary}</summary>{inside}</details>\n")
}

/// The names of the people and of the machine, as far as its files and receipts tell them.
pub fn names_in(passwd: &str, receipts: &[Past], subject: &str) -> Vec<String> {
    let person = |line: &&str| {
        let uid = line.split(':').nth(2).and_then(|uid| uid.parse::<u32>().ok());
        uid.is_some_and(|uid| (1000..65534).contains(&uid))
    };
    let mut names = vec![subject.to_owned()];
    names.extend(passwd.lines().filter(person).filter_map(|line| line.split(':').next()).map(str::to_owned));
    for past in receipts {
        // Who is gone from the host may still stand in what was typed.
        if let Some(Entry::Header { arguments, .. }) = past.entries.first() {
            let after = arguments.windows(2).filter(|pair| pair[0] == "--user").map(|pair| pair[1].clone());
            names.extend(after);
            names.extend(arguments.iter().filter_map(|a| a.strip_prefix("--user=")).map(str::to_owned));
        }
    }
    names
}

/// Written beside it and moved into its place: a link that lies there is replaced and not followed.
///
/// # Errors
/// Something else than a file lies there, or it cannot be written.
pub fn write(path: &Path, page: &str, open: bool) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if path.symlink_metadata().is_ok_and(|there| !there.is_file() && !there.is_symlink()) {
        return Err(std::io::Error::other("something that is no file lies there"));
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    std::io::Write::write_all(&mut file, page.as_bytes())?;
    let mode = if open { 0o600 } else { 0o644 };
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn minute(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn time_of(us: u64) -> String {
    jiff::Timestamp::from_microsecond(i64::try_from(us).unwrap_or_default()).map(minute).unwrap_or_default()
}

fn seconds(us: u64) -> String {
    match us {
        0..1_000_000 => format!("{} ms", us / 1000),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}
