//! A real browser without a window: what it makes of a page, and a picture of it for people to look at.

use crate::sh;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// Debian's package, as its program.
const PROGRAM: &str = "chromium";

/// Where pages and pictures lie, and the browser's own files.
pub struct Browser {
    directory: PathBuf,
}

/// What a page came to on a screen.
#[derive(Debug)]
pub struct Seen {
    /// The text of it, as it is read.
    pub text: String,
    /// As wide as its widest part, beside the room that it had.
    pub width: u32,
    pub room: u32,
    /// What it fetched beside itself.
    pub fetched: u32,
    pub dark: bool,
}

/// Pages and pictures stay; the browser's own files are megabytes.
impl Drop for Browser {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(self.directory.join("profile"));
    }
}

impl Browser {
    /// None where there is none to be had; why not.
    pub fn open(directory: &Path) -> Result<std::result::Result<Browser, String>> {
        if !sh::has(PROGRAM)
            && let Err(why) = sh::install(&[PROGRAM, "fonts-dejavu-core"])
        {
            return Ok(Err(format!("{PROGRAM} cannot be had: {why:#}")));
        }
        fs::create_dir_all(directory).context("making the directory of the pages")?;
        Ok(Ok(Browser { directory: directory.to_owned() }))
    }

    fn run(&self, dark: bool, more: &[&str], page: &Path) -> Result<String> {
        let profile = format!("--user-data-dir={}", self.directory.join("profile").display());
        let address = format!("file://{}", page.display());
        // It is root's here, and nothing outside is to be reached.
        let mut argv =
            vec![PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", &profile];
        argv.extend(["--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files"]);
        argv.extend(dark.then_some("--blink-settings=preferredColorScheme=0"));
        argv.extend(more);
        argv.push(&address);
        sh::run(&argv)
    }

    fn keep(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// The page in a frame of this width: no window of the browser is as narrow as a phone.
    fn framed(&self, name: &str, width: u32, height: u32) -> Result<PathBuf> {
        let frame = format!(
            "<!doctype html><meta name=\"color-scheme\" content=\"light dark\"><title></title>\
             <style>html, body {{ margin: 0; }} iframe {{ border: 0; width: {width}px; height: {height}px; }}</style>\
             <script>onmessage = event => document.body.dataset.seen = event.data</script>\
             <iframe src=\"{name}\"></iframe>"
        );
        self.keep(&format!("frame-{name}"), &frame)
    }

    /// Looks at a page, and leaves `NAME.png` beside it.
    pub fn look(&self, name: &str, page: &str, width: u32, height: u32, dark: bool) -> Result<Seen> {
        self.keep(&format!("{name}.html"), page)?;
        let frame = self.framed(&format!("{name}.html"), width, height)?;
        let picture = format!("--screenshot={}", self.directory.join(format!("{name}.png")).display());
        let window = format!("--window-size={},{height}", width.max(500));
        self.run(dark, &[&picture, &window], &frame)?;
        // The page itself runs nothing: a copy of it is allowed one line that measures.
        let line = "parent.postMessage([document.documentElement.scrollWidth, innerWidth, \
                    performance.getEntriesByType('resource').length, \
                    matchMedia('(prefers-color-scheme: dark)').matches, document.body.innerText].join('|'), '*')";
        let policy = page.find("<meta http-equiv").context("the page has no policy")?;
        let end = page[policy..].find('>').context("the policy has no end")? + policy + 1;
        let measured = format!("{}{}", &page[..policy], &page[end..])
            .replace("</body>", &format!("<script>onload = () => {line}</script></body>"));
        self.keep("measured.html", &measured)?;
        let frame = self.framed("measured.html", width, height)?;
        let shown = self.run(dark, &[&window, "--virtual-time-budget=2000", "--dump-dom"], &frame)?;
        let seen = shown.split_once("data-seen=\"").and_then(|(_, rest)| rest.split_once("\">"));
        let (seen, _) = seen.with_context(|| format!("the browser measured nothing: {shown}"))?;
        let parts: Vec<&str> = seen.splitn(5, '|').collect();
        ensure!(parts.len() == 5, "the browser measured {seen}");
        Ok(Seen {
            width: parts[0].parse().context("no width")?,
            room: parts[1].parse().context("no room")?,
            fetched: parts[2].parse().context("no number")?,
            dark: parts[3] == "true",
            text: parts[4].to_owned(),
        })
    }
}
