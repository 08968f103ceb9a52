//! What was asked for on the command line, as it may be kept and shown: without what can be secret.

use std::ffi::OsString;

/// Flags whose values are left out: addresses have passwords, and what jobs are about is theirs.
const HIDDEN: [&str; 6] = ["--broker", "--store", "--payload", "--result", "--body", "--input"];

/// The command line after the program's name. Values that look like nothing that is typed as it is are in quotes.
pub(crate) fn of(args: &[OsString]) -> String {
    let (mut words, mut hide) = (vec!["longshore".to_owned()], false);
    let mut complete = false;
    for arg in args.iter().skip(1).map(|arg| arg.to_string_lossy()) {
        let flag = arg.split('=').next().unwrap_or_default();
        if std::mem::take(&mut hide) {
            words.push("…".to_owned());
        } else if HIDDEN.contains(&flag) {
            hide = flag.len() == arg.len();
            words.push(if hide { flag.to_owned() } else { format!("{flag}=…") });
        } else if complete && !arg.starts_with('-') {
            // A token lets whoever has it end the attempt.
            complete = false;
            words.push("…".to_owned());
        } else {
            complete |= arg == "complete";
            let plain = !arg.is_empty() && !arg.contains(|c: char| c.is_whitespace() || "'\"".contains(c));
            words.push(if plain { arg.into_owned() } else { format!("{arg:?}") });
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &[&str]) -> String {
        of(&line.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_plan_has_filters_and_reasons_and_no_secrets() {
        let pause = ["longshore", "--store", "redis://:secret@host", "queue", "pause", "media", "--why", "disk full"];
        assert_eq!(asked(&pause), "longshore --store … queue pause media --why \"disk full\"");
        let remove = ["longshore", "--broker=amqp://u:secret@host", "job", "remove", "--where", "n>=3", "--yes"];
        assert_eq!(asked(&remove), "longshore --broker=… job remove --where n>=3 --yes");
        let complete = ["longshore", "job", "complete", "token", "--result", "{\"a\": 1}", "--output", "json"];
        assert_eq!(asked(&complete), "longshore job complete … --result … --output json");
        assert_eq!(asked(&["longshore", "job", "retry", "--payload", "-", "id"]), "longshore job retry --payload … id");
    }
}
