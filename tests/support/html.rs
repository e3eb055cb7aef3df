//! Just enough HTML to fill in an authorization server's forms. It reads tags and attributes, and
//! is not a full parser.

/// A form on a page.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// Its id on the page, to which a button elsewhere may refer.
    pub id: Option<String>,
    /// Its target, as written (may be relative or empty).
    pub action: String,
    /// Whether it is sent with `POST`.
    pub post: bool,
    /// The fields with the values that would be sent.
    pub fields: Vec<Field>,
    /// The buttons that would submit it.
    pub buttons: Vec<Button>,
}

/// A named input with its current value.
#[derive(Clone, Debug)]
pub struct Field {
    /// The name it is sent under.
    pub name: String,
    /// `text`, `password`, `hidden`, …
    pub kind: String,
    /// Its value.
    pub value: String,
}

/// A button that submits its form.
#[derive(Clone, Debug, Default)]
pub struct Button {
    /// The name it is sent under, if any.
    pub name: Option<String>,
    /// The value sent under that name.
    pub value: String,
    /// The visible text.
    pub text: String,
}

/// The forms and the links of a page, in order.
pub fn read(page: &str) -> (Vec<Form>, Vec<String>) {
    let (mut forms, mut links) = (Vec::<Form>::new(), Vec::new());
    let (mut in_form, mut in_button) = (false, false);
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        if in_button && let Some(button) = forms.last_mut().and_then(|form| form.buttons.last_mut())
        {
            button.text.push_str(text);
        }
        let Some(end) = rest[start..].find('>') else { break };
        let tag = &rest[start + 1..start + end];
        rest = &rest[start + end + 1..];
        let name = tag.split_whitespace().next().unwrap_or_default().to_lowercase();
        match name.trim_end_matches('/') {
            "form" => {
                in_form = true;
                let post = attribute(tag, "method").is_some_and(|m| m.eq_ignore_ascii_case("post"));
                let action = attribute(tag, "action").unwrap_or_default();
                forms.push(Form { id: attribute(tag, "id"), action, post, ..Form::default() });
            }
            "/form" => in_form = false,
            "button" if !in_form => {
                let owner = attribute(tag, "form");
                let form = forms.iter_mut().find(|form| form.id.is_some() && form.id == owner);
                if let Some(form) = form {
                    let (name, value) = (attribute(tag, "name"), attribute(tag, "value"));
                    let value = value.unwrap_or_default();
                    let text = rest.split('<').next().unwrap_or_default().to_owned();
                    form.buttons.push(Button { name, value, text });
                }
            }
            "a" => links.extend(attribute(tag, "href")),
            word @ ("input" | "button") if in_form => {
                let form = forms.last_mut().expect("a form is open");
                let default = if word == "button" { "submit" } else { "text" };
                let kind = attribute(tag, "type").unwrap_or_else(|| default.to_owned());
                let field = attribute(tag, "name");
                let value = attribute(tag, "value").unwrap_or_default();
                let unchecked =
                    matches!(kind.as_str(), "checkbox" | "radio") && !tag.contains("checked");
                if kind == "submit" {
                    in_button = word == "button";
                    form.buttons.push(Button { name: field, value, text: String::new() });
                } else if let Some(name) = field
                    && !unchecked
                {
                    form.fields.push(Field { name, kind, value });
                }
            }
            "/button" => in_button = false,
            _ => {}
        }
    }
    (forms, links)
}

/// The value of an attribute in the text of a tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag;
    loop {
        let at = rest.find(name)?;
        let before = rest[..at].chars().next_back();
        let after = rest[at + name.len()..].trim_start();
        rest = &rest[at + name.len()..];
        if before.is_some_and(char::is_whitespace)
            && let Some(value) = after.strip_prefix('=')
        {
            let value = value.trim_start();
            let text = match value.chars().next()? {
                quote @ ('"' | '\'') => value[1..].split(quote).next()?,
                _ => value.split_whitespace().next()?,
            };
            return Some(unescape(text));
        }
    }
}

fn unescape(text: &str) -> String {
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#x2F;", "/")];
    let plain = entities.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    plain.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_with_its_fields_and_its_buttons() {
        let (forms, links) = read(
            r#"<a href="/abort?x=1&amp;y=2">[ Cancel ]</a><form method="post" action="/login">
            <input type="hidden" name="prompt" value="login"/><input required type="text" name="login">
            <input type="checkbox" name="remember"><button type="submit" name="go" value="1">Sign <b>in</b></button></form>"#,
        );
        assert_eq!(links, ["/abort?x=1&y=2"]);
        assert!(forms[0].post);
        assert_eq!(forms[0].action, "/login");
        let names: Vec<_> = forms[0].fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["prompt", "login"]);
        assert_eq!(forms[0].buttons[0].text, "Sign in");
    }

    #[test]
    fn a_button_may_stand_outside_of_its_form() {
        let page = r#"<form id="f" action="/x"><input name="a"></form>
            <button type="submit" form="f" name="go">Go on</button><button form="g">Not this</button>"#;
        let (forms, _) = read(page);
        assert_eq!(forms[0].buttons.len(), 1);
        assert_eq!(forms[0].buttons[0].text, "Go on");
    }
}
