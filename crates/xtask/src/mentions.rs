//! Documents name only what exists: folders, packages, programs, commands and flags.

use std::collections::BTreeSet;

use crate::graph::Graph;
use crate::tree::Tree;

/// The folders whose contents documents name.
const FOLDERS: [&str; 5] = ["crates/", "bins/", "docs/", "benches/", "examples/"];

/// Every path, package, command or flag in a document's code that does not exist.
///
/// Documents are the README files and the book. Commands are those of the program `pactum`, as its sources declare them
/// for the argument parser, each command's own in the file that has its name; flags count where they follow one of the
/// workspace's programs.
pub fn check_mentions(graph: &Graph, tree: &Tree) -> Vec<String> {
    let fields = fields(tree);
    let mut breaches = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".md")) {
        for line in code(text) {
            let missing = missing_path(path, line, tree).or_else(|| missing_package(line, graph));
            let missing = missing.or_else(|| missing_command(line, tree)).or_else(|| missing_flag(line, &fields));
            breaches.extend(missing.map(|missing| format!("{path} names {missing}, which does not exist")));
        }
    }
    breaches
}

/// The lines of code blocks, and what stands between backticks elsewhere.
fn code(text: &str) -> Vec<&str> {
    let mut code = Vec::new();
    for (number, part) in text.split("```").enumerate() {
        match number % 2 {
            0 => code.extend(part.split('`').skip(1).step_by(2)),
            _ => code.extend(part.lines()),
        }
    }
    code
}

/// The first path that is found neither from the root nor from the document's own folder.
fn missing_path<'a>(document: &str, line: &'a str, tree: &Tree) -> Option<&'a str> {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let paths = line.split(|c: char| !(c.is_ascii_alphanumeric() || "/._-<>*".contains(c)));
    let ours = paths.filter(|path| FOLDERS.iter().any(|folder| path.starts_with(folder)));
    let exact = ours.filter(|path| !path.contains(['<', '*'])).map(|path| path.trim_end_matches('.'));
    exact.into_iter().find(|path| !tree.has(path) && !tree.has(&format!("{folder}/{path}")))
}

fn missing_package<'a>(line: &'a str, graph: &Graph) -> Option<&'a str> {
    let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '/'));
    let ours = words.filter(|word| word.starts_with("pactum-"));
    ours.into_iter().find(|word| !graph.members.contains_key(*word))
}

fn missing_command<'a>(line: &'a str, tree: &Tree) -> Option<&'a str> {
    let (_, arguments) = call(line).filter(|(program, _)| *program == "pactum")?;
    let mut words = arguments.split_whitespace();
    let mut source = "bins/pactum/src/main.rs".to_owned();
    loop {
        let command = words.next().filter(|word| word.chars().all(|letter| letter.is_ascii_lowercase()))?;
        let known = commands(tree.text(&source)?);
        if known.is_empty() {
            return None;
        }
        if !known.contains(command) {
            return Some(command);
        }
        source = format!("bins/pactum/src/{command}.rs");
    }
}

fn missing_flag<'a>(line: &'a str, fields: &BTreeSet<String>) -> Option<&'a str> {
    let (_, arguments) = call(line)?;
    let words = arguments.split(|c: char| c.is_whitespace() || matches!(c, '=' | '[' | ']'));
    let known = |flag: &str| matches!(flag, "" | "help" | "version") || fields.contains(&flag.replace('-', "_"));
    words.filter_map(|word| word.strip_prefix("--")).find(|flag| !known(flag))
}

/// The program of the workspace that a line calls, directly or through cargo, and what the program gets to see.
fn call(line: &str) -> Option<(&str, &str)> {
    let line = line.trim().trim_start_matches("$ ");
    let (program, arguments) = match line.strip_prefix("cargo ") {
        Some(cargo) => {
            let (options, arguments) = cargo.split_once(" -- ")?;
            (options.split_once("--bin ")?.1.split(' ').next()?, arguments)
        }
        None => line.split_once(' ')?,
    };
    (program == "pactum" || program.starts_with("pactum-")).then_some((program, arguments))
}

/// The commands that a source file declares, in the parser's spelling: the variants of enums that derive `Subcommand`.
fn commands(source: &str) -> BTreeSet<String> {
    let mut commands = BTreeSet::new();
    let mut lines = source.lines();
    while lines.any(|line| line.starts_with("#[derive(") && line.contains("Subcommand")) {
        let body = lines.by_ref().take_while(|line| *line != "}");
        let names =
            body.filter_map(|line| line.strip_prefix("    ")?.split(|c: char| !c.is_ascii_alphanumeric()).next());
        commands.extend(names.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase())).map(str::to_lowercase));
    }
    commands
}

/// Every word before a colon in the sources of the programs and of what they share: among them the fields that the
/// argument parser turns into flags.
fn fields(tree: &Tree) -> BTreeSet<String> {
    let sources = tree.texts().filter(|(path, _)| path.ends_with(".rs"));
    let programs =
        sources.filter(|(path, _)| ["bins/", "crates/cli/", "crates/node/"].iter().any(|at| path.starts_with(at)));
    let declared = programs.flat_map(|(_, text)| text.lines().filter_map(|line| line.split_once(": ")));
    declared.filter_map(|(before, _)| before.split_whitespace().last()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Package;

    const MAIN: &str = "
#[derive(Debug, Subcommand)]
enum Command {
    /// Shows
    Local(Local),
    #[command(subcommand)]
    Wallet(wallet::Args),
    Show {
        /// Where
        folder: PathBuf,
    },
}

struct Other {
    Field: u8,
    with_field: bool,
}
";

    const WALLET: &str = "
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Args {
    New(Target),
}
";

    fn check(document: &str, expected: &[&str]) {
        let members = ["pactum", "pactum-one"].map(|name| (name.to_owned(), Package::default()));
        let graph = Graph { members: members.into(), ..Graph::default() };
        let tree = Tree::of([
            ("bins/pactum/src/main.rs", MAIN),
            ("bins/pactum/src/wallet.rs", WALLET),
            ("docs/a.md", document),
            ("crates/one/x.rs", ""),
        ]);
        let expected: Vec<_> =
            expected.iter().map(|name| format!("docs/a.md names {name}, which does not exist")).collect();
        assert_eq!(check_mentions(&graph, &tree), expected);
    }

    #[test]
    fn what_exists_may_be_named() {
        check("`crates/one` `docs/a.md`, `crates/one/x.rs` `crates/<name>` `pactum-one` crates/prose", &[]);
        check(
            "`pactum local`, `pactum wallet new there`, `pactum show --folder x --with-field`\n```sh\ncargo run --bin pactum -- local\n```",
            &[],
        );
        check("`pactum --help` and `pactum <COMMAND>`, the pactum idea", &[]);
        check("`cargo run -p pactum-one --example one -- --any`, `cargo test --any`", &[]);
    }

    #[test]
    fn what_does_not_exist_is_named() {
        check("`crates/two`", &["crates/two"]);
        check("```\ncat docs/b.md\n```", &["docs/b.md"]);
        check("`pactum-two`", &["pactum-two"]);
        check("`pactum fly`", &["fly"]);
        check("`pactum wallet show`", &["show"]);
        check("```\ncargo run --bin pactum -- other\n```", &["other"]);
        check("`pactum local --wings 2`", &["wings"]);
        check("```\n$ cargo run --release --bin pactum-one -- --wings\n```", &["wings"]);
    }
}
