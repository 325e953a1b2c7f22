//! Files that are numbered: which of a folder's names are one series, in which order, and which are missing.
//!
//! A part of the files is never taken for all of them: where names are of several series, or something else than a series, it
//! is said which there are and which key of the configuration decides.

use std::collections::{BTreeMap, BTreeSet};

/// Names that are looked at.
pub(super) const MAX_NAMES: usize = 1 << 15;
/// Numbers in one name.
const MAX_NUMBERS: usize = 16;
/// Series that a message tells beside the largest.
const MAX_TOLD: usize = 5;

/// Files of one naming, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Series {
    before: String,
    after: String,
    /// Digits of the shortest number; 0 where it is not known what other files would be called.
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
                if numbers.len() == MAX_NUMBERS {
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

/// What the files of a folder are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FolderContent {
    /// One series.
    Series(Series),
    /// As many files of several series as somebody promised: they are all in the order of their names.
    All,
}

impl Series {
    /// Finds the series in names of files: those that differ in one number only. Of several the one with `promised` files
    /// is taken, or all of them where they are as many together. The error says why there is none.
    pub(super) fn find(names: &[String], promised: Option<u64>) -> Result<FolderContent, String> {
        if names.len() > MAX_NAMES {
            return Err(format!("{} names, more than the {MAX_NAMES} that are looked at", names.len()));
        }
        let mut groups: BTreeMap<Vec<String>, Vec<Numbered<'_>>> = BTreeMap::new();
        let mut strangers = Vec::new();
        for name in names {
            match Numbered::split(name) {
                Some(numbered) => groups.entry(numbered.key()).or_default().push(numbered),
                None => strangers.push(name.clone()),
            }
        }
        if groups.is_empty() && !strangers.is_empty() {
            return Err(format!("all names have more than {MAX_NUMBERS} numbers; {NATURAL}"));
        }
        let as_promised = |group: &[Numbered<'_>]| promised == Some(group.len() as u64);
        if groups.len() > 1 && promised == Some(names.len() as u64) {
            return Ok(FolderContent::All);
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse((as_promised(group), group.len())));
        let mut groups = groups.into_iter();
        let series = groups.next().ok_or("there are none")?;
        let others: Vec<_> = groups.collect();
        let chosen = Self::of_group(&series, Vec::new());
        let left_out = |group: &Vec<Numbered<'_>>| match (group.as_slice(), &chosen) {
            ([single], Ok(chosen)) => chosen.len() > 1 && !chosen.is_continued_by(single),
            _ => false,
        };
        if !as_promised(&series) && !others.iter().all(left_out) {
            let first =
                others.iter().flatten().find(|other| chosen.as_ref().is_ok_and(|of| of.is_begun_by(other.name)));
            return Err(match (first, &chosen) {
                (Some(first), Ok(chosen)) => chosen.without_number(first.name),
                _ => several(&series, &others),
            });
        }
        strangers.extend(others.iter().flatten().map(|numbered| numbered.name.to_owned()));
        Ok(FolderContent::Series(Series { strangers, ..chosen? }))
    }

    /// Files by the numbers that a pattern of the user's finds in their names.
    pub(super) fn numbered(files: Vec<(u64, String)>, strangers: Vec<String>) -> Result<Series, String> {
        let mut names: BTreeMap<u64, String> = BTreeMap::new();
        for (number, name) in files {
            if let Some(other) = names.get(&number) {
                return Err(format!("{other:?} and {name:?} have the same number {number} by `pattern`"));
            }
            names.insert(number, name);
        }
        if names.is_empty() {
            return Err("no name fits `pattern`".to_owned());
        }
        Ok(Series { before: String::new(), after: String::new(), digits: 0, names, strangers })
    }

    /// Whether a file that is named in another way has a number that would be the next one, or stands for one that is
    /// missing: it may be a section that was acquired again.
    fn is_continued_by(&self, other: &Numbered<'_>) -> bool {
        let (first, last) = (self.names.first_key_value(), self.names.last_key_value());
        let (Some((&first, _)), Some((&last, _))) = (first, last) else { return false };
        let edges = first.saturating_sub(1)..=last.saturating_add(1);
        other.numbers.iter().any(|(_, number)| edges.contains(number) && !self.names.contains_key(number))
            || self.is_begun_by(other.name)
            || (self.digits > 0 && !self.before.is_empty() && other.name.starts_with(&self.before) && {
                let rest = other.name.get(self.before.len()..).unwrap_or_default();
                rest.starts_with(|letter: char| letter.is_ascii_digit())
            })
    }

    /// Whether a file has the series' name without a number, as many programs call the first of a series.
    fn is_begun_by(&self, other: &str) -> bool {
        let is_between = |letter: char| !letter.is_alphanumeric();
        let (own, other) = (self.before.trim_end_matches(is_between), stem(other).trim_end_matches(is_between));
        self.digits > 0 && !own.is_empty() && own == other && stem(&self.after).chars().all(is_between)
    }

    /// Why such a file makes a folder ambiguous.
    fn without_number(&self, other: &str) -> String {
        let first = self.names.first_key_value().map_or("", |(_, name)| name);
        format!(
            "{other:?} has the name of the series of {first:?} without a number, so it may be the first one or none; give it a \
             number, name the files in their order by `urls`, or leave it out; {PATTERN}"
        )
    }

    /// The number of a file of another format that is named like those of the series.
    pub(super) fn number_but_for_ending(&self, other: &str) -> Option<u64> {
        let between = stem(other).strip_prefix(self.before.as_str())?.strip_suffix(stem(&self.after))?;
        let is_number = self.digits > 0 && between.bytes().all(|byte| byte.is_ascii_digit());
        between.parse().ok().filter(|_| is_number)
    }

    /// Whether there is a file of this number.
    pub(super) fn has(&self, number: u64) -> bool {
        self.names.contains_key(&number)
    }

    fn of_group(group: &[Numbered<'_>], strangers: Vec<String>) -> Result<Series, String> {
        let first = group.first().ok_or("there are none")?;
        let varying: Vec<usize> = (0..first.numbers.len())
            .filter(|&place| group.iter().any(|other| other.numbers.get(place) != first.numbers.get(place)))
            .collect();
        let place = match varying.as_slice() {
            [] => first.numbers.len().checked_sub(1),
            [place] => Some(*place),
            several => match counting(group, several) {
                Some(place) => Some(place),
                None => {
                    let name = first.name;
                    return Err(format!("files as {name:?} are numbered in several places; {PATTERN}, or {NATURAL}"));
                }
            },
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
                return Err(format!("{other:?} and {:?} have the same number; {NATURAL}", numbered.name));
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

    /// Whether it is known what other files would be called.
    pub(super) fn names_others(&self) -> bool {
        self.digits > 0
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
                let name = if self.digits > 0 { format!("{:?}", self.name(first)) } else { format!("number {first}") };
                Err(format!(
                    "{name}{others} of the series is missing; `gaps = \"blank\"` shows empty sections there, \
                     `order = \"natural\"` those that are there one after the other"
                ))
            }
        }
    }

    /// The names in the order of their numbers, none for each number of a gap.
    pub(super) fn with_gaps(self) -> Result<Vec<Option<String>>, String> {
        let all = self.len().saturating_add(self.gaps());
        let (Some((&first, _)), true) = (self.names.first_key_value(), all <= MAX_NAMES as u64) else {
            return Err(format!("{all} sections with those of gaps, more than {MAX_NAMES}"));
        };
        let mut names = self.names;
        Ok((first..).take(all as usize).map(|number| names.remove(&number)).collect())
    }
}

/// A name without its ending.
pub(super) fn stem(name: &str) -> &str {
    name.rfind('.').and_then(|dot| name.get(..dot)).unwrap_or(name)
}

/// The keys that decide what is no series by itself.
pub(super) const NATURAL: &str = "`order = \"natural\"` takes all files in the order of their names";
pub(super) const PATTERN: &str =
    "`pattern = '…(\\d+)…'` says which files are sections and, by its group, which number counts";

/// What groups of names there are, where no part of them is to be taken for all.
fn several(first: &[Numbered<'_>], others: &[Vec<Numbered<'_>>]) -> String {
    let told = |group: &[Numbered<'_>]| {
        let name = group.iter().map(|numbered| numbered.name).min().unwrap_or_default();
        format!("{} as {name:?}", group.len())
    };
    let more = others.len().saturating_sub(MAX_TOLD);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let groups: Vec<String> =
        std::iter::once(told(first)).chain(others.iter().take(MAX_TOLD).map(|group| told(group))).collect();
    format!("files of several numbered series: {}{more}; {NATURAL}, and {PATTERN}", groups.join(", "))
}

/// Of several places at which numbers differ the one that counts: all order the files in one way, and this one has no gap.
fn counting(group: &[Numbered<'_>], places: &[usize]) -> Option<usize> {
    let mut orders = Vec::new();
    let mut consecutive = None;
    for &place in places {
        let numbers: Option<Vec<u64>> = group.iter().map(|other| Some(other.numbers.get(place)?.1)).collect();
        let numbers = numbers?;
        let mut order: Vec<usize> = (0..numbers.len()).collect();
        order.sort_by_key(|&file| numbers.get(file).copied());
        let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
        if distinct.len() != numbers.len() {
            return None;
        }
        let span = distinct.last()?.checked_sub(*distinct.first()?)?;
        if consecutive.is_none() && span == numbers.len() as u64 - 1 {
            consecutive = Some(place);
        }
        orders.push(order);
    }
    if orders.windows(2).all(|pair| pair[0] == pair[1]) { consecutive } else { None }
}

impl Numbered<'_> {
    /// What names of one series have in common: all but the numbers, with endings of one meaning in one spelling.
    fn key(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.texts.iter().map(|text| (*text).to_owned()).collect();
        if let Some(last) = texts.last_mut()
            && let Some(dot) = last.rfind('.')
        {
            let ending = match last.get(dot..).unwrap_or_default().to_ascii_lowercase().as_str() {
                ".dm4" => ".dm3".to_owned(),
                ".tiff" => ".tif".to_owned(),
                other => other.to_owned(),
            };
            last.replace_range(dot.., &ending);
        }
        texts
    }

    /// Where a number begins in the name.
    fn start(&self, place: usize) -> Option<usize> {
        let texts: usize = self.texts.get(..=place)?.iter().map(|text| text.len()).sum();
        let numbers: usize = self.numbers.get(..place)?.iter().map(|(text, _)| text.len()).sum();
        Some(texts + numbers)
    }
}

#[cfg(test)]
mod tests;
