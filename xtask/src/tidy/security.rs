//! The tables of pages whose every line names its tests: the checklist of `docs/security.md`, and what
//! comes from outside in `docs/reliability.md`. They are complete, and each test that they name is there.

use super::Tree;

const PAGE: &str = "docs/security.md";
/// The two lists, by letter and last number.
const ITEMS: [(char, usize); 2] = [('A', 56), ('B', 31)];

const OUTSIDE: &str = "docs/reliability.md";
/// The lines of its table, by chapter, each with the last number.
const KINDS: [(&str, &[usize]); 4] = [
    ("responses", &[1, 2, 3]),
    ("identity", &[1]),
    ("files", &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ("people", &[1, 2, 3, 4]),
];

/// Every item has one row that names a test or a torture stage, or says that there is none; every
/// test and stage on the page exists.
pub(super) fn security_is_tested(tree: &Tree) -> Vec<String> {
    let items = ITEMS
        .into_iter()
        .flat_map(|(letter, last)| (1..=last).map(move |number| format!("{letter}-{number:02}")));
    tables_are_tested(PAGE, items, tree)
}

/// The same for each kind of what comes from outside.
pub(super) fn outside_is_tested(tree: &Tree) -> Vec<String> {
    let kinds = KINDS.into_iter().flat_map(|(chapter, numbers)| {
        numbers.iter().map(move |number| format!("{chapter} {number}"))
    });
    tables_are_tested(OUTSIDE, kinds, tree)
}

fn tables_are_tested(path: &str, items: impl Iterator<Item = String>, tree: &Tree) -> Vec<String> {
    let Some(page) = tree.get(path) else { return vec![format!("{path} is missing")] };
    let mut complaints = Vec::new();
    for item in items {
        let start = format!("| {item} |");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with(&start)).collect();
        let [row] = rows[..] else {
            complaints.push(format!("{path}: {} rows for {item}", rows.len()));
            continue;
        };
        let says_so = row.contains("| not ");
        let mut held_by = names(row).chain(stages(row));
        if held_by.next().is_none() && !says_so {
            complaints.push(format!("{path}: {item} has no test"));
        }
    }
    let tables = page.lines().filter(|line| line.starts_with('|'));
    let mut missing: Vec<&str> =
        tables.flat_map(names).filter(|name| !is_test(name, tree)).collect();
    missing.sort_unstable();
    missing.dedup();
    complaints.extend(missing.iter().map(|name| format!("{path}: there is no test `{name}`")));
    let tables = page.lines().filter(|line| line.starts_with('|'));
    let missing = tables.flat_map(stages).filter(|name| !is_stage(name, tree));
    complaints.extend(missing.map(|name| format!("{path}: there is no stage `torture:{name}`")));
    complaints
}

/// The torture stages in a line: ``stage `torture:NAME` ``.
fn stages(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter_map(|text| text.strip_prefix("torture:"))
}

/// Whether the torture suite has that stage, and `ci` runs it.
fn is_stage(name: &str, tree: &Tree) -> bool {
    let has = |path: &str, text: &str| tree.get(path).is_some_and(|file| file.contains(text));
    has("tests/torture/main.rs", &format!("(\"{name}\", "))
        && has("xtask/src/ci.rs", "(\"torture --quick\", ")
}

/// The names of tests in a line: in backticks, with at least three words.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let is_name = |text: &&str| {
        text.matches('_').count() >= 2
            && text.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
    };
    line.split('`').skip(1).step_by(2).filter(is_name)
}

/// Whether there is a function of that name directly below an attribute that makes it a test, or in
/// `proptest!`, where that attribute is used too.
fn is_test(name: &str, tree: &Tree) -> bool {
    let start = format!("fn {name}(");
    tree.under("", ".rs").any(|(_, text)| {
        text.split_once(start.as_str()).is_some_and(|(before, _)| {
            // The part of its own line before it does not count.
            let above = before.rsplit('\n').skip(1).map(str::trim_start);
            let mut attributes =
                above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
            attributes.any(|line| line == "#[test]" || line.starts_with("#[tokio::test"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    /// A page in which every item has a test, with this change.
    fn page(change: impl Fn(&str) -> String) -> String {
        let items = ITEMS.into_iter().flat_map(|(letter, last)| {
            (1..=last).map(move |number| format!("| {letter}-{number:02} | x | `it_is_so` |"))
        });
        items.map(|row| change(&row)).collect::<Vec<_>>().join("\n")
    }

    fn complaints(page: &str) -> Vec<String> {
        let tests = "#[test]\nfn it_is_so() {}\n\nfn no_test_at_all() {}\n";
        let torture = ("tests/torture/main.rs", "    (\"errors\", errors::run),");
        let ci = ("xtask/src/ci.rs", "    (\"torture --quick\", run),");
        security_is_tested(&tree(&[(PAGE, page), ("a.rs", tests), torture, ci]))
    }

    #[test]
    fn a_checklist_is_whole_and_its_tests_exist() {
        assert!(complaints(&page(str::to_owned)).is_empty());
        let renamed = |to: &'static str| page(move |row| row.replace("A-07 | x | `it_is_so`", to));
        let only = |page: &str| match &complaints(page)[..] {
            [one] => one.clone(),
            others => panic!("{others:?}"),
        };
        assert!(only(&renamed("A-07 | x | `it_is_gone`")).contains("no test `it_is_gone`"));
        assert!(only(&renamed("A-07 | x | `no_test_at_all`")).contains("`no_test_at_all`"));
        assert!(only(&renamed("A-07 | x | somehow")).contains("A-07 has no test"));
        assert!(only(&renamed("A-77 | x | `it_is_so`")).contains("0 rows for A-07"));
        assert!(complaints(&renamed("A-07 | x | stage `torture:errors`")).is_empty());
        assert!(only(&renamed("A-07 | x | stage `torture:gone`")).contains("no stage"));
        assert!(complaints(&renamed("A-07 | x | not covered: because")).is_empty());
        assert_eq!(security_is_tested(&tree(&[])).len(), 1);
    }

    #[test]
    fn each_kind_of_what_comes_from_outside_has_its_row_and_its_tests() {
        let rows = KINDS.into_iter().flat_map(|(chapter, numbers)| {
            numbers.iter().map(move |number| format!("| {chapter} {number} | x | `it_is_so` |"))
        });
        let page = rows.collect::<Vec<_>>().join("\n");
        let tests = "#[test]\nfn it_is_so() {}\n";
        let complaints = |page: &str| outside_is_tested(&tree(&[(OUTSIDE, page), ("a.rs", tests)]));
        assert!(complaints(&page).is_empty());
        let without = page.replacen("| people 2 |", "| people 9 |", 1);
        assert_eq!(complaints(&without), ["docs/reliability.md: 0 rows for people 2"]);
        let renamed = page.replacen("`it_is_so`", "`it_is_gone`", 1);
        assert_eq!(complaints(&renamed), ["docs/reliability.md: there is no test `it_is_gone`"]);
        assert_eq!(outside_is_tested(&tree(&[])).len(), 1);
    }
}
