//! "Did you mean …": the known name that a mistyped one is nearest to.

/// The candidate that `word` is most likely a misspelling of; `None` when none is near.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let typed = word.to_ascii_lowercase();
    let scored = candidates.into_iter().map(|name| (strsim::damerau_levenshtein(&typed, name), name));
    // One slip for every three letters, two at least for words that are not tiny.
    let bound = (typed.chars().count() / 3).max(usize::from(typed.len() > 2) * 2);
    scored.filter(|(distance, _)| *distance <= bound).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// The end of a message about an unknown name: the nearest known one, else all of them.
pub fn advice<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str> + Clone) -> String {
    match nearest(word, candidates.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let names: Vec<_> = candidates.into_iter().map(|name| format!("`{name}`")).collect();
            format!("known are {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = ["retries", "retry_delay", "timeout", "topic"];
        for (word, name) in [
            ("retires", Some("retries")),
            ("retry-delay", Some("retry_delay")),
            ("Timeout", Some("timeout")),
            ("topics", Some("topic")),
            ("colour", None),
            ("x", None),
        ] {
            let found = nearest(word, known);
            assert_eq!(found, name, "{word}");
        }
        assert_eq!(advice("topics", known), "did you mean `topic`?");
        assert!(advice("colour", known).starts_with("known are `retries`, `retry_delay`"));
    }
}
