//! Links between pages, and the table of contents.

use std::collections::BTreeSet;

use crate::tree::Tree;

/// The book's table of contents.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Every link of a Markdown page that leads nowhere in the tree, and every page of the book that its contents leave out.
pub fn check_links(tree: &Tree) -> Vec<String> {
    let pages = || tree.texts().filter(|(path, _)| path.ends_with(".md"));
    let mut breaches = Vec::new();
    for (path, text) in pages() {
        let broken = links(text).filter(|link| !leads_somewhere(tree, path, link));
        breaches.extend(broken.map(|link| format!("{path}: {link} leads nowhere")));
    }
    let listed: BTreeSet<_> =
        tree.text(SUMMARY).into_iter().flat_map(links).map(|link| resolve(SUMMARY, link)).collect();
    let unlisted = pages().filter(|(path, _)| path.starts_with("docs/") && *path != SUMMARY && !listed.contains(*path));
    breaches.extend(unlisted.map(|(path, _)| format!("{path} is not in {SUMMARY}")));
    breaches
}

/// The targets of inline links, blocks of code left out.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split("](").skip(1)).filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
}

fn leads_somewhere(tree: &Tree, page: &str, link: &str) -> bool {
    if link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if target.is_empty() { page.to_owned() } else { resolve(page, target) };
    let heading = || tree.text(&target).is_some_and(|text| headings(text).any(|heading| heading == anchor));
    tree.has(&target) && (anchor.is_empty() || heading())
}

/// The path from the root of a path that is relative to a page.
fn resolve(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('#').next().unwrap_or(target).split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// The anchors that the headings of a page have.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let prose = text.split("```").step_by(2).flat_map(str::lines).filter(|line| line.starts_with('#'));
    prose.map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_')).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Big title: one\n\ntext\n```\n# no title\n[no link](nowhere.md)\n```\n";

    fn check(readme: &str, summary: &str, expected: &[&str]) {
        let tree =
            Tree::of([("README.md", readme), ("docs/page.md", PAGE), ("docs/SUMMARY.md", summary), ("crates/a/x", "")]);
        assert_eq!(check_links(&tree), expected);
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        let readme = "[a](docs/page.md) [b](docs/page.md#big-title-one) [c](crates/a/) [d](https://example.com/x)";
        check(readme, "[Page](page.md) [Up](../README.md) [Self](./page.md)", &[]);
    }

    #[test]
    fn links_that_lead_nowhere_are_named() {
        check("[a](docs/none.md)", "[Page](page.md)", &["README.md: docs/none.md leads nowhere"]);
        check("[a](docs/page.md#no-title)", "[Page](page.md)", &["README.md: docs/page.md#no-title leads nowhere"]);
        check("[a](#here)", "[Page](page.md)", &["README.md: #here leads nowhere"]);
    }

    #[test]
    fn a_page_outside_the_contents_is_named() {
        check("", "# Contents", &["docs/page.md is not in docs/SUMMARY.md"]);
    }
}
