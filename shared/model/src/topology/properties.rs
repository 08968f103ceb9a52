//! Properties of an instance: names and values that an application provides while it runs (V05).
//!
//! Several providers may name the same property: the one with the highest ranking wins, among equals the one that came
//! first. A property lasts as long as its provider.

use crate::limits;
use std::collections::BTreeMap;

/// Checks a name and its value.
///
/// # Errors
/// A sentence that names the property, the grammar or the bound.
pub fn check_property(name: &str, value: &str) -> Result<(), String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > limits::INSTANCE_PROPERTY_NAME_BYTES || !name.bytes().all(legal) {
        return Err(format!(
            "`{}` is not the name of a property: use 1 to {} letters, digits, `.`, `_` and `-`",
            limits::cut(name, 80),
            limits::INSTANCE_PROPERTY_NAME_BYTES
        ));
    }
    if value.len() > limits::INSTANCE_PROPERTY_BYTES {
        return Err(format!(
            "property {name}: {} bytes are more than {}; shorten the value",
            value.len(),
            limits::INSTANCE_PROPERTY_BYTES
        ));
    }
    Ok(())
}

/// Reads labels as settings spell them: `zone=a,disk=ssd`.
///
/// # Errors
/// A sentence with every problem.
pub fn parse_labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let (mut labels, mut problems) = (BTreeMap::new(), Vec::new());
    for label in text.split(',').map(str::trim).filter(|label| !label.is_empty()) {
        let Some((name, value)) = label.split_once('=') else {
            problems.push(format!("`{}` is not name=value", limits::cut(label, 80)));
            continue;
        };
        problems.extend(check_property(name, value).err());
        labels.insert(name.to_owned(), value.to_owned());
    }
    if labels.len() > limits::INSTANCE_PROPERTIES {
        problems.push(format!("{} labels are more than {}", labels.len(), limits::INSTANCE_PROPERTIES));
    }
    if problems.is_empty() { Ok(labels) } else { Err(problems.join("; ")) }
}

/// Labels as settings spell them.
#[must_use]
pub fn write_labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

/// Reads endpoints as settings spell them: addresses, parted by commas. Everybody in the fleet sees them, so that none
/// may hold a password.
///
/// # Errors
/// A sentence with every problem.
pub fn parse_endpoints(text: &str) -> Result<Vec<String>, String> {
    let (mut endpoints, mut problems) = (Vec::new(), Vec::new());
    for (index, endpoint) in text.split(',').map(str::trim).filter(|text| !text.is_empty()).enumerate() {
        // What may be a secret is not repeated.
        if endpoint.contains('@') {
            problems.push(format!("endpoint {}: everybody sees it; leave out user and password", index + 1));
        } else if endpoint.len() > limits::INSTANCE_PROPERTY_BYTES || endpoint.contains(char::is_control) {
            let most = limits::INSTANCE_PROPERTY_BYTES;
            problems.push(format!("endpoint {}: use at most {most} bytes and no control characters", index + 1));
        } else if endpoint.split_once("://").is_none_or(|(scheme, rest)| scheme.is_empty() || rest.is_empty()) {
            problems.push(format!("endpoint {}: write it as scheme://host:port/path", index + 1));
        }
        endpoints.push(endpoint.to_owned());
    }
    if endpoints.len() > limits::ENDPOINTS {
        problems.push(format!("{} endpoints are more than {}", endpoints.len(), limits::ENDPOINTS));
    }
    if problems.is_empty() { Ok(endpoints) } else { Err(problems.join("; ")) }
}

/// What one provider says.
#[derive(Debug)]
struct Provider {
    ranking: i32,
    values: BTreeMap<String, String>,
}

/// The providers of one instance.
#[derive(Debug, Default)]
pub struct Providers {
    /// By the order in which they came.
    all: BTreeMap<u64, Provider>,
    next: u64,
}

impl Providers {
    /// Adds a provider, and answers the number under which it can be changed and taken away.
    ///
    /// # Errors
    /// A sentence for each property that breaks the grammar or a bound; nothing is added then.
    pub fn add(&mut self, ranking: i32, values: BTreeMap<String, String>) -> Result<u64, String> {
        self.check(None, &values)?;
        let number = self.next;
        self.next += 1;
        self.all.insert(number, Provider { ranking, values });
        Ok(number)
    }

    /// Exchanges what a provider says.
    ///
    /// # Errors
    /// As [`Self::add`]; it says what it said before then.
    pub fn update(&mut self, number: u64, values: BTreeMap<String, String>) -> Result<(), String> {
        self.check(Some(number), &values)?;
        if let Some(provider) = self.all.get_mut(&number) {
            provider.values = values;
        }
        Ok(())
    }

    /// Takes a provider away with all that it said.
    pub fn remove(&mut self, number: u64) {
        self.all.remove(&number);
    }

    /// What all of them say together.
    #[must_use]
    pub fn merged(&self) -> BTreeMap<String, String> {
        let mut ranked: Vec<&Provider> = self.all.values().rev().collect();
        // Stable: of equals the one that came first is last, and wins.
        ranked.sort_by_key(|provider| provider.ranking);
        let values = ranked.into_iter().flat_map(|provider| &provider.values);
        values.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn check(&self, but: Option<u64>, values: &BTreeMap<String, String>) -> Result<(), String> {
        let problems: Vec<String> =
            values.iter().filter_map(|(name, value)| check_property(name, value).err()).collect();
        if !problems.is_empty() {
            return Err(problems.join("; "));
        }
        let others = self.all.iter().filter(|(number, _)| Some(**number) != but);
        let count = values.len() + others.map(|(_, provider)| provider.values.len()).sum::<usize>();
        if count > limits::INSTANCE_PROPERTIES {
            return Err(format!(
                "properties: {count} are more than the {} of one instance; provide fewer",
                limits::INSTANCE_PROPERTIES
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn v05_dv_18_names_are_letters_digits_and_three_signs() {
        for name in ["", "jcr:x", "var/x", "@", "!", "a b", "ä", &"x".repeat(limits::INSTANCE_PROPERTY_NAME_BYTES + 1)]
        {
            assert!(check_property(name, "").unwrap_err().contains("is not the name"), "{name}");
        }
        for name in ["-", "_", ".", "a.b-c_1", &"x".repeat(limits::INSTANCE_PROPERTY_NAME_BYTES)] {
            check_property(name, &"v".repeat(limits::INSTANCE_PROPERTY_BYTES)).unwrap();
        }
        assert!(check_property("a", &"v".repeat(limits::INSTANCE_PROPERTY_BYTES + 1)).unwrap_err().contains("shorten"));
    }

    #[test]
    fn v05_labels_and_endpoints_are_read_as_they_are_written() {
        let labels = parse_labels("zone=a, disk=ssd,,empty=").unwrap();
        assert_eq!(labels, values(&[("zone", "a"), ("disk", "ssd"), ("empty", "")]));
        assert_eq!(write_labels(&labels), "disk=ssd,empty=,zone=a");
        let bad = parse_labels("zone, a b=c").unwrap_err();
        assert!(bad.contains("`zone` is not name=value") && bad.contains("`a b` is not the name"), "{bad}");
        assert_eq!(parse_endpoints("http://h:1, unix:///x").unwrap(), ["http://h:1", "unix:///x"]);
        let bad = parse_endpoints("http://me:secret@h,host:1").unwrap_err();
        assert!(
            bad.contains("endpoint 1") && !bad.contains("secret") && bad.contains("endpoint 2: write it as"),
            "{bad}"
        );
        assert!(parse_endpoints(&"http://h,".repeat(limits::ENDPOINTS + 1)).unwrap_err().contains("more than 8"));
    }

    #[test]
    fn v05_dv_19_the_highest_ranking_wins_and_a_property_goes_with_its_provider() {
        let mut providers = Providers::default();
        let first = providers.add(0, values(&[("a", "1"), ("b", "2")])).unwrap();
        let second = providers.add(0, values(&[("a", "no"), ("c", "3")])).unwrap();
        assert_eq!(providers.merged(), values(&[("a", "1"), ("b", "2"), ("c", "3")]));
        let high = providers.add(5, values(&[("a", "high")])).unwrap();
        providers.add(-5, values(&[("a", "low"), ("d", "4")])).unwrap();
        assert_eq!(providers.merged(), values(&[("a", "high"), ("b", "2"), ("c", "3"), ("d", "4")]));
        providers.update(high, values(&[("b", "high")])).unwrap();
        assert_eq!(providers.merged()["a"], "1");
        providers.remove(high);
        providers.remove(first);
        assert_eq!(providers.merged(), values(&[("a", "no"), ("c", "3"), ("d", "4")]));
        assert!(providers.update(second, values(&[("x y", "")])).is_err());
        assert_eq!(providers.merged()["c"], "3", "a refused change changes nothing");
    }

    #[test]
    fn v05_properties_are_bounded_over_all_providers() {
        let many = |from: usize, count: usize| {
            (from..from + count).map(|n| (format!("p{n}"), String::new())).collect::<BTreeMap<_, _>>()
        };
        let mut providers = Providers::default();
        let full = providers.add(0, many(0, limits::INSTANCE_PROPERTIES)).unwrap();
        assert!(providers.add(0, many(500, 1)).unwrap_err().contains("provide fewer"));
        providers.update(full, many(0, limits::INSTANCE_PROPERTIES - 1)).unwrap();
        providers.add(0, many(500, 1)).unwrap();
    }
}
