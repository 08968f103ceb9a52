//! Queues as TOML: one form for each, defaults left out, which [`crate::settings::read_queues`] reads back.

use super::{Keep, QueueConfig};
use crate::retry::Backoff;
use crate::span::show;
use std::fmt::Write as _;

/// Writes queues as `[[queues]]` of a settings file, in their order. Equal queues are written equally.
#[must_use]
pub fn write(queues: &[QueueConfig]) -> String {
    let mut text = String::new();
    for queue in queues {
        one(&mut text, queue);
    }
    text
}

fn one(text: &mut String, queue: &QueueConfig) {
    let default = QueueConfig::new("", Vec::new());
    let quoted = |value: &dyn std::fmt::Display| toml::Value::String(value.to_string()).to_string();
    let list = |values: Vec<String>| values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ");
    let mut fields = vec![("name", quoted(&queue.name))];
    if !queue.topics.is_empty() {
        fields.push(("topics", format!("[{}]", list(queue.topics.iter().map(ToString::to_string).collect()))));
    }
    if queue.kind != default.kind {
        fields.push(("kind", quoted(&queue.kind)));
    }
    if queue.max_parallel != default.max_parallel {
        fields.push(("max_parallel", queue.max_parallel.to_string()));
    }
    fields.extend(queue.max_in_fleet.map(|max| ("max_in_fleet", max.to_string())));
    fields.extend(queue.max_length.map(|max| ("max_length", max.to_string())));
    if queue.when_full != default.when_full {
        fields.push(("when_full", quoted(&queue.when_full.as_str())));
    }
    if queue.on_failure != default.on_failure {
        fields.push(("on_failure", quoted(&queue.on_failure.as_str())));
    }
    if !queue.limits.is_empty() {
        fields.push(("limits", format!("[{}]", list(queue.limits.iter().map(ToString::to_string).collect()))));
    }
    fields.extend(queue.turn.as_ref().map(|turn| ("turn", quoted(turn))));
    if queue.priority != default.priority {
        fields.push(("priority", quoted(&queue.priority)));
    }
    if queue.placement != default.placement {
        fields.push(("placement", quoted(&queue.placement)));
    }
    if queue.retries != default.retries {
        fields.push(("retries", queue.retries.to_string()));
    }
    if queue.retry_delay != default.retry_delay {
        fields.push(("retry_delay", quoted(&show(queue.retry_delay))));
    }
    if let Backoff::Exponential { factor, max } = queue.backoff {
        fields.push(("backoff", format!("{{ factor = {factor}, max = {} }}", quoted(&show(max)))));
    }
    for (name, span) in [
        ("timeout", queue.timeout),
        ("soft_timeout", queue.soft_timeout),
        ("stall_timeout", queue.stall_timeout),
        ("retry_for", queue.retry_for),
    ] {
        fields.extend(span.map(|span| (name, quoted(&show(span)))));
    }
    if !queue.retry_on.is_empty() {
        fields.push(("retry_on", format!("[{}]", list(queue.retry_on.texts()))));
    }
    if queue.keep != Keep::default() {
        let said = queue.keep.named().into_iter().filter_map(|(name, kept)| {
            let age = kept.age.map(|age| quoted(&show(age)));
            let value = match (age, kept.count) {
                (None, None) => return None,
                (Some(age), None) => age,
                (None, Some(count)) => format!("{{ count = {count} }}"),
                (Some(age), Some(count)) => format!("{{ age = {age}, count = {count} }}"),
            };
            Some(format!("{name} = {value}"))
        });
        fields.push(("keep", format!("{{ {} }}", said.collect::<Vec<_>>().join(", "))));
    }
    if !queue.index.is_empty() {
        fields.push(("index", format!("[{}]", list(queue.index.clone()))));
    }
    if queue.ranking != default.ranking {
        fields.push(("ranking", queue.ranking.to_string()));
    }
    text.push_str("[[queues]]\n");
    for (name, value) in fields {
        // Writing into a text cannot fail.
        let _ = writeln!(text, "{name} = {value}");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::read_queues;

    #[test]
    fn what_is_written_reads_back() {
        let text = "[[queues]]\nname = \"q-{0}\"\ntopics = [\"a/*\", \"b\"]\nkind = \"round_robin\"\nmax_parallel = 0.5\n\
                    max_in_fleet = 7\nmax_length = 1000\nwhen_full = \"drop_oldest\"\non_failure = \"halt\"\nlimits = [\"mail\", \"per=label:tenant\", \"user=payload:/user/id\"]\n\
                    turn = \"label:tenant\"\npriority = \"urgent\"\nplacement = \"prefer_label:zone=a\"\nretries = -1\nretry_delay = \"1m30s\"\n\
                    backoff = { factor = 3, max = \"1h\" }\ntimeout = \"10m\"\nsoft_timeout = \"9m\"\n\
                    stall_timeout = \"1m\"\nretry_for = \"1h\"\n\
                    retry_on = [\"busy=100,1s,x2,1m\", \"timeout=2\"]\nkeep = { succeeded = \"1h\", failed = { age = \"7d\", count = 100 }, dropped = { count = 0 } }\n\
                    index = [\"asset\", \"size.width\"]\nranking = 7\n\n[[queues]]\nname = \"main\"\n\n";
        let queues = read_queues("a file", text).unwrap();
        assert_eq!(write(&queues), text, "nothing is lost, and defaults are left out");
        assert_eq!(read_queues("again", &write(&queues)).unwrap(), queues);
        assert_eq!(write(&[]), "");
    }

    #[test]
    fn a_file_of_queues_holds_nothing_else() {
        let why = read_queues("f", "namespace = \"x\"\n[lease]\nbeat = \"1s\"").unwrap_err().to_string();
        assert!(why.contains("only [[queues]]"), "{why}");
    }
}
