//! Limits of the embedded store as they are set: who runs already is counted at once, so that a limit that was not there
//! holds from the first moment on (as `redis/lua/of_limit.lua`).

use super::core::Core;
use crate::store::QueueSet;
use longshore_model::gate::LimitPolicy;
use longshore_model::record::State;

impl Core {
    /// Answers whether there was room for it.
    pub(super) fn set_limit(&mut self, name: &str, policy: Option<&LimitPolicy>) -> bool {
        let now = self.now();
        let uncounted = self.uncounted(policy.map(|policy| (name, policy)).into_iter());
        let set = self.gates.set_limit(name, policy);
        if set {
            self.count_running(&uncounted);
            self.gates.look_again(name, now);
        }
        set
    }

    /// Answers what is there now, and whether it was applied.
    pub(super) fn set_queues(&mut self, set: QueueSet, policies: &[(String, LimitPolicy)]) -> (QueueSet, bool) {
        let uncounted = self.uncounted(policies.iter().map(|(name, policy)| (name.as_str(), policy)));
        let (set, applied) = self.gates.set_queues(set, policies);
        if applied {
            self.count_running(&uncounted);
            policies.iter().for_each(|(name, _)| self.gates.look_again(name, set.at));
        }
        (set, applied)
    }

    /// Limits that count who is there at once, and did not so far.
    fn uncounted<'p>(&self, policies: impl Iterator<Item = (&'p str, &'p LimitPolicy)>) -> Vec<String> {
        let new = |(name, policy): &(&str, &LimitPolicy)| policy.max.is_some() && !self.gates.counts(name);
        policies.filter(new).map(|(name, _)| name.to_owned()).collect()
    }

    fn count_running(&mut self, names: &[String]) {
        if names.is_empty() {
            return;
        }
        let now = self.now();
        for (_, id) in self.table.state(State::Active) {
            let Some(entry) = self.table.get(&id) else { continue };
            for gate in entry.record.gates.limits.iter().filter(|gate| names.iter().any(|name| name == gate.of())) {
                self.gates.count_running(gate, id, now);
            }
        }
    }
}
