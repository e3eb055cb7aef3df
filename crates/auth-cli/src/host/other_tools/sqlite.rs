//! A reader of `SQLite` databases (<https://www.sqlite.org/fileformat2.html>): the rows of a table.
//!
//! It works on the bytes of the file and of its write-ahead log. So nothing is locked, written or
//! created beside a database that another program has open.

use std::collections::{HashMap, HashSet};

/// A database at the end of its last complete transaction.
#[derive(Debug)]
pub(crate) struct Database {
    file: Vec<u8>,
    /// The pages that are newer in the write-ahead log.
    newer: HashMap<u32, Vec<u8>>,
    page_size: usize,
    /// The part of a page that holds content.
    usable: usize,
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Column {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// NULL, or what is of no use here.
    Other,
}

impl Column {
    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Why a file cannot be read as a database, as the end of a sentence about the file.
pub(crate) type Reason = String;

impl Database {
    /// Reads the database in `file`, with what its write-ahead log adds to it.
    pub(crate) fn read(file: Vec<u8>, log: &[u8]) -> Result<Self, Reason> {
        if !file.starts_with(MAGIC) {
            return Err("is no SQLite database".to_owned());
        }
        if file.len() < HEADER {
            return Err("is cut off".to_owned());
        }
        let page_size = match usize::from(u16::from_be_bytes([file[16], file[17]])) {
            1 => 65_536,
            size => size,
        };
        let usable = page_size.saturating_sub(usize::from(file[20]));
        if !page_size.is_power_of_two() || page_size < 512 || usable < 480 {
            return Err("is damaged: its pages have an impossible size".to_owned());
        }
        let newer = pages_of_log(log, page_size);
        let database = Self { file, newer, page_size, usable };
        let first = database.page(1)?;
        if let 2 | 3 = number(&first[56..60]) {
            return Err("is in UTF-16, which is not read here".to_owned());
        }
        let pages = number(&first[28..32]) as usize;
        // Other writers than today's leave the count as it was.
        let is_counted = first[24..28] == first[92..96];
        let there = database.file.len() / page_size;
        let last = database.newer.keys().max().map_or(0, |last| *last as usize);
        if is_counted && pages > there.max(last) {
            return Err("is cut off".to_owned());
        }
        Ok(database)
    }

    /// `PRAGMA user_version`.
    pub(crate) fn user_version(&self) -> u32 {
        self.page(1).map_or(0, |first| number(&first[60..64]))
    }

    /// These columns of all rows of a table; `None`: there is no such table.
    pub(crate) fn rows(
        &self,
        table: &str,
        wanted: &[&str],
    ) -> Result<Option<Vec<Vec<Column>>>, Reason> {
        let schema = self.records(1)?;
        let is_it = |record: &&Vec<Column>| {
            record.first().and_then(Column::text) == Some("table")
                && record.get(1).and_then(Column::text) == Some(table)
        };
        let Some(entry) = schema.iter().find(is_it) else { return Ok(None) };
        let (Some(Column::Integer(root)), Some(Column::Text(sql))) = (entry.get(3), entry.get(4))
        else {
            return Err(damaged("its schema cannot be read"));
        };
        let columns = columns(sql);
        let places: Option<Vec<_>> = wanted
            .iter()
            .map(|name| columns.iter().position(|known| known.eq_ignore_ascii_case(name)))
            .collect();
        let Some(places) = places else {
            return Err(format!("has a table `{table}` without the columns that are known here"));
        };
        let root = u32::try_from(*root).map_err(|_| damaged("its schema cannot be read"))?;
        let rows = self.records(root)?.into_iter().map(|record| {
            let at = |place: &usize| record.get(*place).cloned().unwrap_or(Column::Other);
            places.iter().map(at).collect()
        });
        Ok(Some(rows.collect()))
    }

    fn page(&self, number: u32) -> Result<&[u8], Reason> {
        if let Some(page) = self.newer.get(&number) {
            return Ok(page);
        }
        let start = (number as usize).checked_sub(1).and_then(|it| it.checked_mul(self.page_size));
        let page = start.and_then(|start| self.file.get(start..start + self.page_size));
        page.ok_or_else(|| damaged("a page of it is missing"))
    }

    /// The records of the tree at `root`, in order.
    fn records(&self, root: u32) -> Result<Vec<Vec<Column>>, Reason> {
        let mut records = Vec::new();
        self.walk(root, 0, &mut HashSet::new(), &mut records)?;
        Ok(records)
    }

    fn walk(
        &self,
        number_of_page: u32,
        depth: usize,
        seen: &mut HashSet<u32>,
        records: &mut Vec<Vec<Column>>,
    ) -> Result<(), Reason> {
        if !seen.insert(number_of_page) || depth > DEEPEST {
            return Err(damaged("its pages form a circle"));
        }
        let page = self.page(number_of_page)?;
        let head = if number_of_page == 1 { HEADER } else { 0 };
        let kind = page[head];
        let (is_leaf, is_table) = match kind {
            0x0d => (true, true),
            0x05 => (false, true),
            0x0a => (true, false),
            0x02 => (false, false),
            _ => return Err(damaged("a page of it is of an unknown kind")),
        };
        let count = usize::from(u16::from_be_bytes([page[head + 3], page[head + 4]]));
        let cells = head + if is_leaf { 8 } else { 12 };
        for index in 0..count {
            let place = page.get(cells + 2 * index..cells + 2 * index + 2);
            let place = place.map(|it| usize::from(u16::from_be_bytes([it[0], it[1]])));
            let cell = place.and_then(|place| page.get(place..self.usable));
            let mut cell = Reader { rest: cell.ok_or_else(|| damaged("a cell lies outside"))? };
            if !is_leaf {
                let child = number(cell.take(4)?);
                self.walk(child, depth + 1, seen, records)?;
                if is_table {
                    continue;
                }
            }
            let length = cell.length()?;
            if is_table {
                cell.varint()?;
            }
            records.push(record(&self.payload(&mut cell, length, is_table)?)?);
        }
        if !is_leaf {
            self.walk(number(&page[head + 8..head + 12]), depth + 1, seen, records)?;
        }
        Ok(())
    }

    /// What a cell holds, together with what went to other pages.
    fn payload(
        &self,
        cell: &mut Reader<'_>,
        length: usize,
        is_table: bool,
    ) -> Result<Vec<u8>, Reason> {
        let usable = self.usable;
        let shortest = (usable - 12) * 32 / 255 - 23;
        let longest = if is_table { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
        if length > self.file.len().saturating_add(self.newer.len() * self.page_size) {
            return Err(damaged("a row is longer than the file"));
        }
        if length <= longest {
            return Ok(cell.take(length)?.to_vec());
        }
        let local = shortest + (length - shortest) % (usable - 4);
        let local = if local <= longest { local } else { shortest };
        let mut payload = cell.take(local)?.to_vec();
        let mut next = number(cell.take(4)?);
        while payload.len() < length {
            let page = self.page(next)?;
            let part = (length - payload.len()).min(usable - 4);
            payload.extend_from_slice(&page[4..4 + part]);
            next = number(&page[..4]);
        }
        Ok(payload)
    }
}

/// The pages of the transactions in a write-ahead log that are complete.
fn pages_of_log(log: &[u8], page_size: usize) -> HashMap<u32, Vec<u8>> {
    let mut pages = HashMap::new();
    let Some(head) = log.get(..32) else { return pages };
    let is_big_endian = match number(&head[..4]) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return pages,
    };
    let mut sum = checksum((0, 0), &head[..24], is_big_endian);
    let is_sound = sum == (number(&head[24..28]), number(&head[28..32]));
    if !is_sound || number(&head[8..12]) as usize != page_size {
        return pages;
    }
    let mut open = Vec::new();
    for frame in log[32..].chunks_exact(24 + page_size) {
        let (about, page) = frame.split_at(24);
        sum = checksum(checksum(sum, &about[..8], is_big_endian), page, is_big_endian);
        let is_sound = sum == (number(&about[16..20]), number(&about[20..24]));
        if about[8..16] != head[16..24] || !is_sound {
            break;
        }
        open.push((number(&about[..4]), page));
        // The last frame of a transaction has the size of the database.
        if number(&about[4..8]) != 0 {
            pages.extend(open.drain(..).map(|(number, page)| (number, page.to_vec())));
        }
    }
    pages
}

fn checksum(start: (u32, u32), bytes: &[u8], is_big_endian: bool) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let word = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if is_big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    };
    bytes.chunks_exact(8).fold(start, |(first, second), pair| {
        let first = first.wrapping_add(word(&pair[..4])).wrapping_add(second);
        (first, second.wrapping_add(word(&pair[4..])).wrapping_add(first))
    })
}

/// The columns of a record.
fn record(bytes: &[u8]) -> Result<Vec<Column>, Reason> {
    let mut head = Reader { rest: bytes };
    let length = head.length()?;
    let used = bytes.len() - head.rest.len();
    let rest = length.checked_sub(used).ok_or_else(|| damaged("a row has no sound head"))?;
    let mut types = Reader { rest: head.take(rest)? };
    let mut values = head;
    let mut columns = Vec::new();
    while !types.rest.is_empty() {
        let kind = types.varint()?;
        let integer = |bytes: &[u8]| {
            let sign = if bytes.first().is_some_and(|first| *first >= 0x80) { -1 } else { 0 };
            Column::Integer(bytes.iter().fold(sign, |it, byte| it << 8 | i64::from(*byte)))
        };
        columns.push(match kind {
            1..=4 => integer(values.take(usize::try_from(kind).unwrap_or_default())?),
            5 => integer(values.take(6)?),
            6 => integer(values.take(8)?),
            7 => {
                values.take(8)?;
                Column::Other
            }
            8 => Column::Integer(0),
            9 => Column::Integer(1),
            12.. => {
                let length = usize::try_from((kind - 12) / 2).unwrap_or(usize::MAX);
                let bytes = values.take(length)?;
                match (kind % 2, std::str::from_utf8(bytes)) {
                    (1, Ok(text)) => Column::Text(text.to_owned()),
                    (1, Err(_)) => return Err(damaged("a text in it is no UTF-8")),
                    _ => Column::Other,
                }
            }
            _ => Column::Other,
        });
    }
    Ok(columns)
}

/// The names of a table's columns, in the order of its records.
fn columns(sql: &str) -> Vec<String> {
    let Some((_, body)) = sql.split_once('(') else { return Vec::new() };
    let mut parts = vec![String::new()];
    let (mut depth, mut quote) = (0_usize, None);
    let mut end = body.len();
    for (place, c) in body.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '[') => quote = Some(']'),
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => {
                end = place;
                break;
            }
            (None, ')') => depth -= 1,
            (None, ',') if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    let unquoted = |word: &str| word.trim_matches(['"', '`', '[', ']', '\'']).to_owned();
    let (mut names, mut keys) = (Vec::new(), Vec::new());
    for part in &parts {
        let upper = part.trim().to_ascii_uppercase();
        let constraints = ["PRIMARY KEY", "UNIQUE", "CHECK", "FOREIGN KEY", "CONSTRAINT"];
        if constraints.iter().any(|word| upper.starts_with(word)) {
            let listed = part.split_once('(').filter(|_| upper.contains("PRIMARY KEY"));
            let listed = listed.map_or("", |(_, list)| list.trim_end_matches([')', ' ', '\n']));
            keys.extend(listed.split(',').map(|name| unquoted(name.trim())));
            continue;
        }
        let name = unquoted(part.split_whitespace().next().unwrap_or_default());
        if upper.contains("PRIMARY KEY") {
            keys.push(name.clone());
        }
        names.push(name);
    }
    let tail = body[end..].to_ascii_uppercase();
    if tail.contains("WITHOUT") && tail.contains("ROWID") {
        // Such a table is an index over its key.
        names.sort_by_key(|name| keys.iter().position(|key| key == name).unwrap_or(usize::MAX));
    }
    names
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Reason> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| damaged("a row ends in the midst of a value"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Reason> {
        let mut value = 0_u64;
        for index in 0..9 {
            let byte = self.take(1)?[0];
            if index == 8 {
                return Ok(value << 8 | u64::from(byte));
            }
            value = value << 7 | u64::from(byte & 0x7f);
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }

    fn length(&mut self) -> Result<usize, Reason> {
        usize::try_from(self.varint()?).map_err(|_| damaged("a length in it is impossible"))
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn damaged(why: &str) -> Reason {
    format!("is damaged: {why}")
}

pub(crate) const MAGIC: &[u8] = b"SQLite format 3\0";
/// What stands before the first page's own head.
const HEADER: usize = 100;
/// No tree of as many pages as there can be is deeper.
const DEEPEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_in_the_order_of_the_records() {
        let of = |sql: &str| columns(sql).join(" ");
        assert_eq!(
            of("CREATE TABLE t(a TEXT PRIMARY KEY, b INT CHECK (b > 0, 1), \"c\" TEXT)"),
            "a b c"
        );
        assert_eq!(
            of("CREATE TABLE t(a INT, b TEXT, PRIMARY KEY (b)) WITHOUT ROWID, STRICT"),
            "b a"
        );
        assert_eq!(of("CREATE TABLE t(a INT, b TEXT, PRIMARY KEY (b)) STRICT"), "a b");
    }

    #[test]
    fn what_is_no_database_or_cut_is_said_to_be_so() {
        let why = |bytes: &[u8]| Database::read(bytes.to_vec(), &[]).unwrap_err();
        assert!(why(b"{}").contains("no SQLite database"));
        assert!(why(b"SQLite format 3\0").contains("cut off"));
        let mut bytes = b"SQLite format 3\0".to_vec();
        bytes.resize(4096, 0);
        assert!(why(&bytes).contains("impossible size"));
        bytes[16] = 16;
        bytes[31] = 9;
        assert!(why(&bytes).contains("cut off"));
    }
}
