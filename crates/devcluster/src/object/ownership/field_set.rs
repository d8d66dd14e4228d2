//! A set of fields of one object, as a trie.

use std::collections::BTreeMap;

/// A set of fields. Each step of a path is a text in the form of FieldsV1 (see [`super::fields_v1`]).
///
/// A container can be a member itself (somebody owns that it exists), have members below it, or both. Invariant: no
/// child is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    member: bool,
    children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    /// The set of just the path that ends here.
    pub(super) fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    /// The set of just this path.
    pub(super) fn of_path(steps: &[String]) -> Self {
        steps.iter().rev().fold(Self::leaf(), |below, step| {
            let mut parent = Self::default();
            parent.insert(step.clone(), below);
            parent
        })
    }

    /// Puts a subset below a step; an empty one leaves no trace.
    pub(super) fn insert(&mut self, step: String, below: Self) {
        if !below.is_empty() {
            self.children.insert(step, below);
        }
    }

    /// Makes the path that ends here a member, or not.
    pub(super) fn set_member(&mut self, member: bool) {
        self.member = member;
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Whether the path that ends here is in the set.
    pub(super) fn is_member(&self) -> bool {
        self.member
    }

    pub(super) fn child(&self, step: &str) -> Option<&Self> {
        self.children.get(step)
    }

    pub(super) fn children(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.children.iter().map(|(step, child)| (step.as_str(), child))
    }

    pub(super) fn into_parts(self) -> (bool, BTreeMap<String, Self>) {
        (self.member, self.children)
    }

    /// Takes a step and what is below it out of the set.
    pub(super) fn remove(&mut self, step: &str) {
        self.children.remove(step);
    }

    /// Changes what is below a step.
    pub(super) fn edit(&mut self, step: &str, edit: impl FnOnce(&mut Self)) {
        if let Some(child) = self.children.get_mut(step) {
            edit(child);
            if child.is_empty() {
                self.children.remove(step);
            }
        }
    }

    /// Adds all paths of `other`.
    pub(super) fn union_with(&mut self, other: &Self) {
        self.member |= other.member;
        for (step, child) in &other.children {
            match self.children.get_mut(step) {
                Some(own) => own.union_with(child),
                None => {
                    self.children.insert(step.clone(), child.clone());
                }
            }
        }
    }

    /// Takes out all paths of `other`; paths below a path of `other` stay.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        self.below(other, Self::subtract);
    }

    /// Takes out all paths of `other` and everything below them: for fields that are gone from the object.
    pub(super) fn subtract_trees(&mut self, other: &Self) {
        if other.member {
            *self = Self::default();
        } else {
            self.below(other, Self::subtract_trees);
        }
    }

    fn below(&mut self, other: &Self, change: impl Fn(&mut Self, &Self)) {
        for (step, theirs) in &other.children {
            self.edit(step, |own| change(own, theirs));
        }
    }

    /// The paths in both sets.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let mut out = Self { member: self.member && other.member, children: BTreeMap::new() };
        for (step, child) in &self.children {
            if let Some(theirs) = other.children.get(step) {
                out.insert(step.clone(), child.intersection(theirs));
            }
        }
        out
    }

    /// Visits the steps of every path of the set, parents before children.
    pub(super) fn for_each_path<'a>(&'a self, visit: &mut impl FnMut(&[&'a str])) {
        fn walk<'a>(set: &'a FieldSet, path: &mut Vec<&'a str>, visit: &mut impl FnMut(&[&'a str])) {
            if set.member {
                visit(path);
            }
            for (step, child) in &set.children {
                path.push(step);
                walk(child, path, visit);
                path.pop();
            }
        }
        walk(self, &mut Vec::new(), visit);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    impl FieldSet {
        pub(in super::super) fn paths(&self) -> Vec<Vec<String>> {
            let mut out = Vec::new();
            self.for_each_path(&mut |path| out.push(path.iter().map(|&s| s.to_owned()).collect()));
            out
        }

        fn of(paths: &[Vec<String>]) -> Self {
            let mut set = Self::default();
            for path in paths {
                set.union_with(&Self::of_path(path));
            }
            set
        }
    }

    pub(in super::super) fn sets() -> impl Strategy<Value = FieldSet> {
        let step = prop_oneof!["f:[a-c]", "v:\"[a-b]\"", "k:\\{\"n\":[0-1]\\}"];
        let path = prop::collection::vec(step, 1..4);
        prop::collection::vec(path, 0..6).prop_map(|paths| FieldSet::of(&paths))
    }

    proptest! {
        #[test]
        fn algebra(a in sets(), b in sets()) {
            let mut union = a.clone();
            union.union_with(&b);
            let mut only_a = a.clone();
            only_a.subtract(&b);
            let both = a.intersection(&b);
            for path in union.paths() {
                let (in_a, in_b) = (a.paths().contains(&path), b.paths().contains(&path));
                prop_assert!(in_a || in_b);
                prop_assert_eq!(only_a.paths().contains(&path), in_a && !in_b);
                prop_assert_eq!(both.paths().contains(&path), in_a && in_b);
            }
            only_a.union_with(&both);
            prop_assert_eq!(only_a, a);
        }

        #[test]
        fn trees_are_gone(a in sets(), b in sets()) {
            let mut left = a.clone();
            left.subtract_trees(&b);
            let gone = b.paths();
            for path in a.paths() {
                let below = gone.iter().any(|g| path.starts_with(g));
                prop_assert_eq!(left.paths().contains(&path), !below);
            }
        }
    }
}
