//! Templates: text with `{variable}` and an optional `[part]`, which stands only when its variables have values.
//!
//! Parsed once, when the configuration is read; a variable that nobody provides is an error there, not at the
//! first message.

use std::fmt;

/// A parsed template.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    source: Box<str>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Variable(Box<str>),
    Optional(Vec<Part>),
}

/// Why a template was refused or could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace or bracket without its partner, or an optional part inside another.
    #[error("template {template:?}: {problem}")]
    Syntax {
        /// The template's text.
        template: Box<str>,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A variable that has no value here.
    #[error("template {template:?}: there is no variable {{{variable}}} here; there are: {known}")]
    Unknown {
        /// The template's text.
        template: Box<str>,
        /// The variable that is not known.
        variable: Box<str>,
        /// Those that are.
        known: String,
    },
}

/// Where a template's variables get their values.
pub trait Scope {
    /// The value of a variable, if it has one here.
    fn value(&self, variable: &str) -> Option<&str>;
}

impl Template {
    /// Parses a template's text.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let syntax = |problem| TemplateError::Syntax {
            template: source.into(),
            problem,
        };
        let mut parts = Vec::new();
        let mut optional: Option<Vec<Part>> = None;
        let mut rest = source;
        while let Some(at) = rest.find(['{', '}', '[', ']']) {
            let target = optional.as_mut().unwrap_or(&mut parts);
            if at > 0 {
                target.push(Part::Text(rest[..at].into()));
            }
            let (mark, behind) = rest[at..].split_at(1);
            rest = behind;
            match mark {
                "{" => {
                    let (name, behind) = rest.split_once('}').ok_or(syntax("a '{' without '}'"))?;
                    let fits = name
                        .bytes()
                        .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
                    if name.is_empty() || !fits {
                        return Err(syntax("a variable's name consists of a-z, 0-9 and _"));
                    }
                    target.push(Part::Variable(name.into()));
                    rest = behind;
                }
                "[" if optional.is_none() => optional = Some(Vec::new()),
                "]" => match optional.take() {
                    Some(inner) if inner.iter().any(|p| matches!(p, Part::Variable(_))) => {
                        parts.push(Part::Optional(inner));
                    }
                    Some(_) => return Err(syntax("an optional part without a variable")),
                    None => return Err(syntax("a ']' without '['")),
                },
                "[" => return Err(syntax("an optional part inside another")),
                _ => return Err(syntax("a '}' without '{'")),
            }
        }
        if optional.is_some() {
            return Err(syntax("a '[' without ']'"));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self {
            source: source.into(),
            parts,
        })
    }

    /// The text it was parsed from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The variables it uses, optional ones included.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        fn walk<'a>(parts: &'a [Part], found: &mut Vec<&'a str>) {
            for part in parts {
                match part {
                    Part::Text(_) => {}
                    Part::Variable(name) => found.push(name),
                    Part::Optional(inner) => walk(inner, found),
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.parts, &mut found);
        found.into_iter()
    }

    /// Whether it uses this variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.variables().any(|v| v == variable)
    }

    /// Whether text that stands in it as it is contains one of these characters.
    pub fn text_contains(&self, characters: &[char]) -> bool {
        fn walk(parts: &[Part], characters: &[char]) -> bool {
            parts.iter().any(|part| match part {
                Part::Text(text) => text.contains(characters),
                Part::Variable(_) => false,
                Part::Optional(inner) => walk(inner, characters),
            })
        }
        walk(&self.parts, characters)
    }

    /// Refuses variables that are not among `known`.
    pub fn check(&self, known: &[&str]) -> Result<(), TemplateError> {
        match self.variables().find(|v| !known.contains(v)) {
            Some(variable) => Err(self.unknown(variable, known.join(", "))),
            None => Ok(()),
        }
    }

    /// The text with its variables' values. An optional part with a variable that has none is left out.
    pub fn render(&self, scope: &dyn Scope) -> Result<String, TemplateError> {
        let mut out = String::with_capacity(self.source.len() + 32);
        self.render_parts(&self.parts, scope, &mut out)?;
        Ok(out)
    }

    fn render_parts(
        &self,
        parts: &[Part],
        scope: &dyn Scope,
        out: &mut String,
    ) -> Result<(), TemplateError> {
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(name) => match scope.value(name) {
                    Some(value) => out.push_str(value),
                    None => return Err(self.unknown(name, "none with a value".to_owned())),
                },
                Part::Optional(inner) => {
                    let filled = |part: &Part| !matches!(part, Part::Variable(name) if scope.value(name).is_none());
                    if inner.iter().all(filled) {
                        self.render_parts(inner, scope, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The same template with every value that `scope` has filled in, so that only the rest is left to do per message.
    /// Values are text: a brace in one is not read as a variable.
    pub fn bind(&self, scope: &dyn Scope) -> Self {
        fn walk(parts: &[Part], scope: &dyn Scope) -> Vec<Part> {
            let mut bound: Vec<Part> = Vec::with_capacity(parts.len());
            for part in parts {
                let part = match part {
                    Part::Variable(name) => scope
                        .value(name)
                        .map_or_else(|| part.clone(), |v| Part::Text(v.into())),
                    Part::Optional(inner) => Part::Optional(walk(inner, scope)),
                    Part::Text(_) => part.clone(),
                };
                match (bound.last_mut(), part) {
                    (Some(Part::Text(before)), Part::Text(text)) => {
                        *before = [&**before, &*text].concat().into()
                    }
                    (_, part) => bound.push(part),
                }
            }
            bound
        }
        Self {
            source: self.source.clone(),
            parts: walk(&self.parts, scope),
        }
    }

    fn unknown(&self, variable: &str, known: String) -> TemplateError {
        TemplateError::Unknown {
            template: self.source.clone(),
            variable: variable.into(),
            known,
        }
    }
}

/// A bound template contains values, secrets among them: only its source is shown.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

impl<'de> serde::Deserialize<'de> for Template {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Pairs(&'static [(&'static str, &'static str)]);
    impl Scope for Pairs {
        fn value(&self, variable: &str) -> Option<&str> {
            self.0
                .iter()
                .find(|(name, _)| *name == variable)
                .map(|(_, value)| *value)
        }
    }

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    #[test]
    fn optional_parts_stand_with_their_variables() {
        let topic = template("/up/id/{device}[/{subtopic}]");
        assert_eq!(
            topic.render(&Pairs(&[("device", "a")])).unwrap(),
            "/up/id/a"
        );
        assert_eq!(
            topic
                .render(&Pairs(&[("device", "a"), ("subtopic", "b/c")]))
                .unwrap(),
            "/up/id/a/b/c"
        );
        assert!(topic.render(&Pairs(&[("subtopic", "b")])).is_err());
    }

    #[test]
    fn binding_leaves_only_what_changes() {
        let bound = template("/up/{secret}/{device}[/{subtopic}]")
            .bind(&Pairs(&[("secret", "{x}"), ("device", "a")]));
        assert_eq!(bound.variables().collect::<Vec<_>>(), ["subtopic"]);
        assert_eq!(bound.render(&Pairs(&[])).unwrap(), "/up/{x}/a");
        assert!(!format!("{bound:?}").contains("{x}"));
    }

    #[test]
    fn broken_templates_are_refused() {
        for bad in [
            "{", "}", "{}", "{A}", "[", "]", "[x]", "[[{a}]]", "{a", "a]",
        ] {
            assert!(Template::parse(bad).is_err(), "{bad:?} was taken");
        }
        let error = template("{devcie}")
            .check(&["device", "secret"])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "template \"{devcie}\": there is no variable {devcie} here; there are: device, secret"
        );
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused_and_plain_text_is_kept(text in "\\PC{0,40}") {
            if let Ok(parsed) = Template::parse(&text) && parsed.variables().next().is_none() {
                prop_assert_eq!(parsed.render(&Pairs(&[])).unwrap(), text);
            }
        }
    }
}
