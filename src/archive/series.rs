//! Files that are numbered: which of a folder's names are one series, in which order, and which are missing.

use std::collections::BTreeMap;

/// Names that are looked at.
const MOST_NAMES: usize = 1 << 15;
/// Numbers in one name.
const MOST_NUMBERS: usize = 16;

/// Files of one naming, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Series {
    before: String,
    after: String,
    /// Digits of the shortest number.
    digits: usize,
    names: BTreeMap<u64, String>,
    /// Files that are not of the series though they have its ending.
    pub(super) strangers: Vec<String>,
}

/// A name between whose texts numbers stand.
struct Numbered<'a> {
    name: &'a str,
    texts: Vec<&'a str>,
    numbers: Vec<(&'a str, u64)>,
}

impl<'a> Numbered<'a> {
    /// Splits the name before its ending; `None` where it has more numbers than names for people have.
    fn split(name: &'a str) -> Option<Self> {
        let stem = name.rfind('.').unwrap_or(name.len());
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        let (mut text, mut at) = (0, 0);
        while at < stem {
            let digits = name.get(at..stem).unwrap_or_default().bytes().take_while(u8::is_ascii_digit).count();
            // Longer ones are no counts.
            if let Some(number) = name.get(at..at + digits).and_then(|digits| digits.parse::<u64>().ok()) {
                if numbers.len() == MOST_NUMBERS {
                    return None;
                }
                texts.push(name.get(text..at).unwrap_or_default());
                numbers.push((name.get(at..at + digits).unwrap_or_default(), number));
                text = at + digits;
            }
            at += digits.max(1);
        }
        texts.push(name.get(text..).unwrap_or_default());
        Some(Numbered { name, texts, numbers })
    }
}

impl Series {
    /// Finds the series in names of files: those that differ in one number only. Of several the one with `promised` files
    /// is taken, else the longest. The error says why there is none.
    pub(super) fn find(names: &[String], promised: Option<u64>) -> Result<Series, String> {
        if names.len() > MOST_NAMES {
            return Err(format!("{} names, more than the {MOST_NAMES} that are looked at", names.len()));
        }
        let mut groups: BTreeMap<Vec<&str>, Vec<Numbered<'_>>> = BTreeMap::new();
        let mut strangers = Vec::new();
        for name in names {
            match Numbered::split(name) {
                Some(numbered) => groups.entry(numbered.texts.clone()).or_default().push(numbered),
                None => strangers.push(name.clone()),
            }
        }
        if groups.is_empty() && !strangers.is_empty() {
            return Err(format!("all names have more than {MOST_NUMBERS} numbers"));
        }
        let as_promised = |group: &[Numbered<'_>]| promised == Some(group.len() as u64);
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse((as_promised(group), group.len())));
        let mut groups = groups.into_iter();
        let series = groups.next().ok_or("there are none")?;
        let others: Vec<_> = groups.collect();
        if let Some(rival) = others.first().and_then(|group| group.first())
            && others.first().map(Vec::len) == Some(series.len())
        {
            let name = series.first().map_or("", |numbered| numbered.name);
            return Err(format!("{name:?} and {:?} are not of one numbered series", rival.name));
        }
        strangers.extend(others.iter().flatten().map(|numbered| numbered.name.to_owned()));
        Self::of_group(&series, strangers)
    }

    fn of_group(group: &[Numbered<'_>], strangers: Vec<String>) -> Result<Series, String> {
        let first = group.first().ok_or("there are none")?;
        let varying: Vec<usize> = (0..first.numbers.len())
            .filter(|&place| group.iter().any(|other| other.numbers.get(place) != first.numbers.get(place)))
            .collect();
        let place = match varying.as_slice() {
            [] => first.numbers.len().checked_sub(1),
            [place] => Some(*place),
            _ => return Err(format!("files as {:?} are numbered in several places", first.name)),
        };
        let Some((place, start)) = place.and_then(|place| Some((place, first.start(place)?))) else {
            let names = BTreeMap::from([(0, first.name.to_owned())]);
            let series = Series { before: first.name.to_owned(), after: String::new(), digits: 0, names, strangers };
            return Ok(series);
        };
        let mut names = BTreeMap::new();
        let mut digits = usize::MAX;
        for numbered in group {
            let Some((text, number)) = numbered.numbers.get(place) else { continue };
            digits = digits.min(text.len());
            if let Some(other) = names.insert(*number, numbered.name.to_owned())
                && other != numbered.name
            {
                return Err(format!("{other:?} and {:?} have the same number", numbered.name));
            }
        }
        let end = start + first.numbers.get(place).map_or(0, |(text, _)| text.len());
        let part = |range: Option<&str>| range.unwrap_or_default().to_owned();
        let (before, after) = (part(first.name.get(..start)), part(first.name.get(end..)));
        Ok(Series { before, after, digits, names, strangers })
    }

    /// Number of files.
    pub(super) fn len(&self) -> u64 {
        self.names.len() as u64
    }

    /// How many numbers between the first and the last have no file.
    pub(super) fn gaps(&self) -> u64 {
        match (self.names.first_key_value(), self.names.last_key_value()) {
            (Some((first, _)), Some((last, _))) => (last - first).saturating_add(1).saturating_sub(self.len()),
            _ => 0,
        }
    }

    /// Numbers between the first and the last that have no file, in order.
    pub(super) fn missing(&self) -> impl Iterator<Item = u64> {
        let numbers = self.names.keys();
        numbers.clone().zip(numbers.skip(1)).flat_map(|(a, b)| a + 1..*b)
    }

    /// The numbers before the first and after the last file.
    pub(super) fn neighbours(&self) -> [Option<u64>; 2] {
        let (first, last) = (self.names.first_key_value(), self.names.last_key_value());
        let named = |number: Option<u64>| number.filter(|_| self.digits > 0);
        [
            named(last.and_then(|(last, _)| last.checked_add(1))),
            named(first.and_then(|(first, _)| first.checked_sub(1))),
        ]
    }

    /// What a file of this number would be called.
    pub(super) fn name(&self, number: u64) -> String {
        format!("{}{number:0width$}{}", self.before, self.after, width = self.digits)
    }

    /// Adds the file of this number.
    pub(super) fn add(&mut self, number: u64) {
        self.names.insert(number, self.name(number));
    }

    /// The names in the order of their numbers; the error names the first gap.
    pub(super) fn names(&self) -> Result<Vec<String>, String> {
        match self.missing().next() {
            None => Ok(self.names.values().cloned().collect()),
            Some(first) => {
                let others = self.gaps() - 1;
                let others = if others > 0 { format!(" and {others} more") } else { String::new() };
                Err(format!("{:?}{others} of the series is missing", self.name(first)))
            }
        }
    }
}

impl Numbered<'_> {
    /// Where a number begins in the name.
    fn start(&self, place: usize) -> Option<usize> {
        let texts: usize = self.texts.get(..=place)?.iter().map(|text| text.len()).sum();
        let numbers: usize = self.numbers.get(..place)?.iter().map(|(text, _)| text.len()).sum();
        Some(texts + numbers)
    }
}

#[cfg(test)]
mod tests;
