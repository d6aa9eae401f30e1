//! Compiled rules, shared by all sites of the process that have the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use ringtail_analytics::{RuleSetError, Rules};

/// By the encoded rules. Compiling takes long and the result megabytes, while one rule file is often for many sites.
static KNOWN: Mutex<Option<HashMap<Vec<u8>, Weak<Rules>>>> = Mutex::new(None);

/// The compiled rules of encoded ones, for as long as anybody holds them; none for no bytes.
pub(crate) fn shared_rules(encoded: &[u8]) -> Result<Option<Arc<Rules>>, RuleSetError> {
    if encoded.is_empty() {
        return Ok(None);
    }
    let known = with_known(|known| known.get(encoded).and_then(Weak::upgrade));
    if known.is_some() {
        return Ok(known);
    }
    // Outside the lock: two sites may compile the same, and one of the results is used.
    let Some(rules) = Rules::decode(encoded)?.map(Arc::new) else {
        return Ok(None);
    };
    Ok(Some(with_known(|known| {
        known.retain(|_, rules| rules.strong_count() > 0);
        match known.get(encoded).and_then(Weak::upgrade) {
            Some(earlier) => earlier,
            None => {
                known.insert(encoded.to_vec(), Arc::downgrade(&rules));
                rules
            }
        }
    })))
}

fn with_known<T>(run: impl FnOnce(&mut HashMap<Vec<u8>, Weak<Rules>>) -> T) -> T {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    run(known.get_or_insert_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ringtail_analytics::{PageRewrite, RuleSet};

    use super::*;

    fn encoded(prefix: &str) -> Vec<u8> {
        let rules = RuleSet {
            pages: vec![PageRewrite::DropPrefix(prefix.to_owned())],
            ..RuleSet::default()
        };
        rules.encode().unwrap()
    }

    #[test]
    fn equal_rules_are_compiled_once_and_go_with_their_last_holder() {
        let first = shared_rules(&encoded("/one")).unwrap().unwrap();
        let again = shared_rules(&encoded("/one")).unwrap().unwrap();
        let other = shared_rules(&encoded("/other")).unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert!(!Arc::ptr_eq(&first, &other));
        let gone = Arc::downgrade(&first);
        drop((first, again));
        assert!(gone.upgrade().is_none());
        shared_rules(&encoded("/one")).unwrap().unwrap();
    }

    #[test]
    fn no_bytes_are_no_rules_and_broken_ones_an_error() {
        assert!(shared_rules(&[]).unwrap().is_none());
        assert!(shared_rules(&[1, 2, 3]).is_err());
        assert!(matches!(
            shared_rules(&[99]),
            Err(RuleSetError::Newer { found: 99, .. })
        ));
    }
}
