//! A provider's profiles as lines that fit the terminal, in routing order.

use auth_routing::{Exclusion, Plan, Why, unusable_until};
use auth_store::{Credential, Kind, Profile, ProviderId, Timestamp};

use crate::host::duration;
use crate::host::style::{Level, Style};
use crate::host::text::{columns, padded, printable, shown};
use crate::profiles::standing::{Ability, Access, Refresh, Standing};
use crate::profiles::view::View;

/// One line for each profile of `provider`, more on a narrow terminal: first the candidates,
/// numbered, then the others with the reason.
pub(crate) fn profile_lines(
    standing: &Standing,
    provider: &ProviderId,
    style: Style,
    width: usize,
) -> Vec<String> {
    let plan = standing.plan(provider).plan;
    let now = standing.view.now;
    let candidates = plan.candidates.iter().enumerate();
    let mut rows: Vec<Row<'_>> = candidates
        .filter_map(|(place, candidate)| {
            let profile = standing.profile(&candidate.id)?;
            let pause = match &candidate.why {
                Why::InCooldown { until, reason } => {
                    Some(in_cooldown(*until, reason.as_deref(), now))
                }
                _ => None,
            };
            let level = if pause.is_some() { Level::Soon } else { Level::Good };
            let (mark, notes) = ((place + 1).to_string(), pause.into_iter().collect());
            Some(Row { mark, profile, level, bar: None, notes })
        })
        .collect();
    for (id, reason) in &plan.excluded {
        if let Some(profile) = standing.profile(id).filter(|it| it.provider == *provider) {
            let is_passing =
                matches!(reason, Exclusion::Blocked(obstacle) if obstacle.is_passing());
            let level = if is_passing { Level::Soon } else { Level::Bad };
            let notes = vec![printable(&reason.to_string())];
            rows.push(Row { mark: "-".to_owned(), profile, level, bar: None, notes });
        }
    }

    let id_width = rows.iter().map(|row| columns(&printable(row.profile.id.as_str()))).max();
    let id_width = id_width.unwrap_or(0).min(width / 2);
    for row in &mut rows {
        let mut notes = Vec::new();
        row.bar = if width < NARROW { None } else { bar(&standing.view, row.profile, style) };
        if let Some(ability) = standing.ability(&row.profile.id) {
            let words = ability_words(ability, row.profile.expires, now);
            let bar = row.bar.as_ref().map(|bar| format!("{bar} ")).unwrap_or_default();
            notes.push(format!("{bar}{words}"));
            row.level = row.level.max(level(ability));
        }
        notes.append(&mut row.notes);
        for (model, usage) in standing.models.models(&row.profile.id) {
            if let Some(until) = unusable_until(&usage).filter(|end| now < *end) {
                notes.push(format!("{} {}", printable(&model), in_cooldown(until, None, now)));
            }
        }
        notes.extend(secret(&standing.view, row.profile));
        let holder = standing.holder(&row.profile.id);
        if *holder != standing.view.agent {
            notes.push(format!("shared by `{}`", holder.id));
        }
        row.notes = notes;
    }

    let all_notes = rows.iter().flat_map(|row| &row.notes);
    let longest = all_notes.map(|note| columns(note)).max().unwrap_or(0);
    let mut lines = Vec::new();
    for row in rows {
        let id = padded(&printable(row.profile.id.as_str()), id_width);
        let start = format!("{:>3}  {id}  {:7}  ", row.mark, row.profile.kind.as_str());
        let first = lines.len();
        fill(&start, &row.notes, longest, width, &mut lines);
        for line in &mut lines[first..] {
            if let Some(bar) = &row.bar {
                *line = line.replacen(bar.as_str(), &style.paint(row.level, bar), 1);
            }
        }
        if let Some((mark, rest)) = lines[first].split_at_checked(3) {
            lines[first] = format!("{}{rest}", style.paint(row.level, mark));
        }
    }
    lines
}

/// A bar for the remaining lifetime of an access token, if that is known.
fn bar(view: &View, profile: &Profile, style: Style) -> Option<String> {
    match view.document.credential(&profile.id)? {
        Credential::OAuth(login) => style.bar(login.obtained_at?, login.expires?, view.now),
        _ => None,
    }
}

fn level(ability: Ability) -> Level {
    match (ability.access, ability.refresh) {
        (Access::Static, _) | (_, Refresh::Yes) | (Access::Valid, Refresh::No) => Level::Good,
        (Access::Expired, _) => Level::Bad,
        (Access::Valid | Access::Expiring | Access::Unknown, _) => Level::Soon,
    }
}

/// Text wrapped to at most `width` columns; lines after the first are indented. A longer word is on
/// a line of its own.
pub(crate) fn wrapped(text: &str, indent: usize, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let words = text.trim_start();
    let mut line = text[..text.len() - words.len()].to_owned();
    for word in words.split(' ') {
        let is_empty = line.trim_start().is_empty();
        if !is_empty && columns(&line) + 1 + columns(word) > width {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
        } else if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// The plan's warnings for the user.
pub(crate) fn warnings(plan: &Plan, provider: &ProviderId) -> Vec<String> {
    plan.warnings.iter().map(|it| format!("warning: {provider}: {it} ({})", plan.source)).collect()
}

struct Row<'a> {
    mark: String,
    profile: &'a Profile,
    level: Level,
    bar: Option<String>,
    notes: Vec<String>,
}

/// The displayable form of a key or token; for an OAuth login, the account.
fn secret(view: &View, profile: &Profile) -> Option<String> {
    match profile.kind {
        Kind::OAuth => {
            let email = profile.email.as_deref().filter(|it| !profile.id.as_str().contains(it));
            email.map(printable)
        }
        Kind::Token | Kind::ApiKey => {
            view.document.credential(&profile.id).map(|it| printable(&shown(&it)))
        }
    }
}

fn in_cooldown(until: Timestamp, reason: Option<&str>, now: Timestamp) -> String {
    let left = duration::until(until, now);
    match reason {
        Some(reason) => format!("disabled ({}) for {left}", printable(reason)),
        None => format!("in cooldown for {left}"),
    }
}

/// What can be done with a credential, in words.
pub(crate) fn ability_words(
    ability: Ability,
    expires: Option<Timestamp>,
    now: Timestamp,
) -> String {
    let left = expires.map(|end| duration::until(end, now)).unwrap_or_default();
    match (ability.access, ability.refresh) {
        (Access::Static, _) => "does not expire".to_owned(),
        (Access::Unknown, _) => "expiry unknown".to_owned(),
        (Access::Expired, Refresh::Yes) => "expired, refreshes on next use".to_owned(),
        (Access::Expired, Refresh::No) => "expired".to_owned(),
        (Access::Expired, Refresh::NeedsLogin) => "expired, log in again".to_owned(),
        (_, Refresh::Yes) => format!("expires in {left}, refreshes automatically"),
        (_, Refresh::No) => format!("expires in {left}"),
        (_, Refresh::NeedsLogin) => format!("expires in {left}, then log in again"),
    }
}

/// Appends the notes to `start`. Notes that do not fit go to additional lines below the first note,
/// or to lines of their own if the longest of them does not fit there.
pub(crate) fn fill(
    start: &str,
    notes: &[String],
    longest: usize,
    width: usize,
    lines: &mut Vec<String>,
) {
    let length = columns;
    let (mut line, indent) = if length(start) + longest <= width {
        (start.to_owned(), length(start))
    } else {
        lines.push(start.trim_end().to_owned());
        (" ".repeat(INDENT), INDENT)
    };
    let mut is_first = true;
    for note in notes {
        if !is_first && length(&line) + 2 + length(note) > width {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
        } else if !is_first {
            line.push_str("; ");
        }
        line.push_str(note);
        is_first = false;
    }
    lines.push(line.trim_end().to_owned());
}

const INDENT: usize = 6;
/// On a terminal with fewer columns a bar takes too much space.
const NARROW: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_lines_fit_and_lose_no_word() {
        assert_eq!(wrapped("  a: one two three", 4, 9), ["  a: one", "    two", "    three"]);
        assert_eq!(wrapped("averylongword b", 2, 5), ["averylongword", "  b"]);
    }

    #[test]
    fn notes_that_do_not_fit_go_below_the_first() {
        let notes = ["one".to_owned(), "two".to_owned(), "three".to_owned()];
        let mut lines = Vec::new();
        fill("  1  id  ", &notes, 5, 20, &mut lines);
        assert_eq!(lines, ["  1  id  one; two", "         three"]);
        lines.clear();
        fill("  1  a.long.id  ", &notes, 5, 20, &mut lines);
        assert_eq!(lines, ["  1  a.long.id", "      one; two", "      three"]);
    }
}
