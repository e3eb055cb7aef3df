//! A provider's profiles in lines that fit the terminal, in the order in which they are tried.

use auth_routing::{Plan, Why, health, unusable_until};
use auth_store::{Kind, Profile, ProviderId, Timestamp};

use crate::text::{printable, shown};
use crate::view::{Abilities, Ability, Access, Refresh, View};

/// One line for each profile of `provider`, more where the terminal is narrow: first those that
/// are tried, numbered, then the others with the reason.
pub(crate) fn profile_lines(
    view: &View,
    provider: &ProviderId,
    abilities: &Abilities,
    width: usize,
) -> Vec<String> {
    let plan = view.plan(provider, None);
    let candidates = plan.candidates.iter().enumerate();
    let mut rows: Vec<Row<'_>> = candidates
        .filter_map(|(place, candidate)| {
            let profile = find(view, candidate.id.as_str())?;
            let rest = match &candidate.why {
                Why::Resting { until, reason } => Some(rest(*until, reason.as_deref(), view.now)),
                _ => None,
            };
            Some(Row { mark: (place + 1).to_string(), profile, notes: rest.into_iter().collect() })
        })
        .collect();
    for (id, reason) in &plan.excluded {
        if let Some(profile) = find(view, id.as_str()).filter(|it| it.provider == *provider) {
            rows.push(Row { mark: "-".to_owned(), profile, notes: vec![reason.to_string()] });
        }
    }

    let id_width = rows.iter().map(|row| row.profile.id.as_str().chars().count()).max();
    let id_width = id_width.unwrap_or(0).min(width / 2);
    let mut lines = Vec::new();
    let models = view.model_usage();
    for mut row in rows {
        let ability = abilities.get(&row.profile.id);
        for (model, usage) in models.models(&row.profile.id) {
            if let Some(until) = unusable_until(&usage).filter(|end| view.now < *end) {
                row.notes.push(format!("{} {}", printable(&model), rest(until, None, view.now)));
            }
        }
        let mut notes: Vec<_> = secret(view, row.profile).into_iter().collect();
        notes.extend(ability.map(|it| ability_words(*it, row.profile.expires, view.now)));
        notes.append(&mut row.notes);
        let holder = view.holder(&row.profile.id);
        if *holder != view.agent {
            notes.push(format!("shared by `{}`", holder.id));
        }
        let id = printable(row.profile.id.as_str());
        let start = format!("{:>3}  {id:id_width$}  {:7}  ", row.mark, row.profile.kind.as_str());
        fill(&start, &notes, width, &mut lines);
    }
    lines
}

/// What the plan's author should know.
pub(crate) fn warnings(plan: &Plan, provider: &ProviderId) -> Vec<String> {
    plan.warnings.iter().map(|it| format!("warning: {provider}: {it} ({})", plan.source)).collect()
}

struct Row<'a> {
    mark: String,
    profile: &'a Profile,
    notes: Vec<String>,
}

fn find<'a>(view: &'a View, id: &str) -> Option<&'a Profile> {
    view.profiles.iter().find(|profile| profile.id.as_str() == id)
}

/// What may be shown of a key or token; of an OAuth login it is the account.
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

fn rest(until: Timestamp, reason: Option<&str>, now: Timestamp) -> String {
    let left = match health::until_text(until, now) {
        soon if soon == "soon" => "a few seconds".to_owned(),
        left => left,
    };
    match reason {
        Some(reason) => format!("disabled ({reason}) for {left}"),
        None => format!("rests for {left}"),
    }
}

/// What can be done with a credential, in words.
pub(crate) fn ability_words(
    ability: Ability,
    expires: Option<Timestamp>,
    now: Timestamp,
) -> String {
    let ends = match expires.map(|end| health::until_text(end, now)) {
        Some(left) if left == "soon" => "ends soon".to_owned(),
        left => format!("ends in {}", left.unwrap_or_default()),
    };
    match (ability.access, ability.refresh) {
        (Access::Static, _) => "does not end".to_owned(),
        (Access::Expired, Refresh::Yes) => "expired, renewed on use".to_owned(),
        (Access::Expired, Refresh::No) => "expired".to_owned(),
        (Access::Expired, Refresh::NeedsLogin) => "expired: log in again".to_owned(),
        (_, Refresh::Yes) => format!("{ends}, renewed by itself"),
        (_, Refresh::No) => ends,
        (_, Refresh::NeedsLogin) => format!("{ends}, then log in again"),
    }
}

/// Puts the notes after `start`; those that do not fit go to further lines below the first note,
/// or, if one is too long even for that, all of them to lines of their own.
pub(crate) fn fill(start: &str, notes: &[String], width: usize, lines: &mut Vec<String>) {
    let length = |text: &str| text.chars().count();
    let longest = notes.iter().map(|note| length(note)).max().unwrap_or(0);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_that_do_not_fit_go_below_the_first() {
        let notes = ["one".to_owned(), "two".to_owned(), "three".to_owned()];
        let mut lines = Vec::new();
        fill("  1  id  ", &notes, 20, &mut lines);
        assert_eq!(lines, ["  1  id  one; two", "         three"]);
        lines.clear();
        fill("  1  a.long.id  ", &notes, 20, &mut lines);
        assert_eq!(lines, ["  1  a.long.id", "      one; two", "      three"]);
    }
}
