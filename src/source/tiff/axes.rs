//! Which pages are the planes of the volume where a file has more axes than z.

use super::text::{Long, Text};

/// What the configuration says of the axes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice {
    /// The axis that is z.
    pub z: Option<char>,
    /// The number along an axis of channels.
    pub channel: Option<u64>,
}

/// Pages of a file: `count` of them, the first and every `step`-th after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pages {
    pub(super) first: u64,
    pub(super) step: u64,
    pub(super) count: u64,
    /// What people should know of the choice.
    pub(super) warning: Option<String>,
}

impl Pages {
    /// The first page alone.
    pub(super) const ONE: Pages = Pages { first: 0, step: 1, count: 1, warning: None };

    /// The numbers of the pages.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        let (first, step) = (self.first, self.step);
        (0..self.count).map(move |number| first.saturating_add(number.saturating_mul(step)))
    }
}

/// The pages that are the planes, of the `there` that the file has. The error is what the file has, and the remedy.
pub(super) fn choose(text: &Text, there: u64, choice: Choice) -> Result<Pages, String> {
    let all = Pages { first: 0, step: 1, count: there, warning: None };
    let axes = text.axes.as_slice();
    let wanted = choice.z.unwrap_or('z');
    if let [] | [_] = axes {
        return one_axis(axes.first().copied(), all, wanted, choice.channel);
    }
    let list = told(axes);
    let product = axes.iter().map(|axis| axis.extent).fold(1, u64::saturating_mul);
    if product != there {
        // ImageJ's lines contradict each other, and one of them is right.
        if text.pages == Some(there) && choice.channel.is_none() {
            let warning = format!(
                "its description speaks of {there} pages and of {list}; the {there} are shown as the planes along z"
            );
            return Ok(Pages { warning: Some(warning), ..all });
        }
        let remedy = match text.pages == Some(there) {
            true => "without `channel` all pages are shown",
            false => "all pages are shown if `tiffset -s 270 \"\" FILE.tif` of libtiff removes what it says",
        };
        return Err(format!("a file of {there} pages for {list} ({remedy})"));
    }
    let Some(z) = axes.iter().position(|axis| axis.name == wanted) else {
        let mut others = axes.iter().map(|axis| axis.name).filter(|axis| *axis != 'c');
        let first = others.next().unwrap_or('c');
        if let Some(other) = others.next() {
            return Err(format!("a file of {list} ({})", remedy(other, choice)));
        }
        return Err(format!("a file of {list} without `axes = \"{first}yx\"` or the like, which says what z is"));
    };
    // No choice of a channel helps with these.
    if let Some((_, other)) = axes.iter().enumerate().find(|(number, axis)| *number != z && axis.name != 'c') {
        return Err(format!("a file of {list} ({})", remedy(other.name, choice)));
    }
    let (mut first, mut step, mut of_z) = (0u64, 1u64, 1u64);
    for (number, Long { extent, .. }) in axes.iter().enumerate() {
        match (number == z, choice.channel) {
            (true, _) => of_z = step,
            (false, Some(channel)) if channel < *extent => first = first.saturating_add(channel.saturating_mul(step)),
            (false, Some(channel)) => {
                return Err(format!("channel {channel} of {extent}, which are counted from 0,"));
            }
            (false, None) => {
                return Err(format!("a file of {list} without `channel = N`, which says which one is shown,"));
            }
        }
        step = step.saturating_mul(*extent);
    }
    let count = axes.get(z).map_or(1, |axis| axis.extent);
    Ok(Pages { first, step: of_z, count, warning: None })
}

/// The pages that are the planes where no more than one axis has several.
fn one_axis(axis: Option<Long>, all: Pages, wanted: char, channel: Option<u64>) -> Result<Pages, String> {
    let channels = axis.filter(|axis| axis.name == 'c' && wanted != 'c' && axis.extent == all.count);
    if let (Some(channel), Some(axis)) = (channel, channels) {
        return match channel < axis.extent {
            true => Ok(Pages { first: channel, count: 1, ..all }),
            false => Err(format!("channel {channel} of {}, which are counted from 0,", axis.extent)),
        };
    }
    if let Some(channel) = channel.filter(|channel| *channel > 0) {
        return Err(format!("no channel {channel}, for which `channel` asks (without it the file is shown),"));
    }
    // A single long axis is z whatever it is called; without a name it is one anyway.
    let warning = axis.filter(|axis| axis.name != 'q' && axis.name != wanted).map(|axis| {
        let (called, there) = (name(axis.name), all.count);
        if axis.extent != there {
            let said = axis.extent;
            return format!(
                "its description speaks of {said} {called}; all {there} pages are shown as the planes along z"
            );
        }
        let key = format!("`axes = \"{}yx\"`", axis.name);
        format!("its {there} {called} are shown as the planes along z; write {key} for that, without this line")
    });
    Ok(Pages { warning, ..all })
}

/// What to do with a file that has more than one page along another axis than those of channels and slices.
fn remedy(axis: char, choice: Choice) -> &'static str {
    match axis {
        'z' if choice.z == Some('c') => "leave out `axes`, which makes z of the channels",
        't' => {
            "write the time point that is wanted to a file of its own, by `bfconvert -timepoint 0 IN OUT.ome.tif` of \
             Bio-Formats or in ImageJ by Image › Hyperstacks › Make Subset"
        }
        _ => "write the pages that are wanted to a file of their own, for example by `tifffile` of Python",
    }
}

/// Axes and how long they are, as in `3 slices, 2 channels`.
pub(super) fn told(axes: &[Long]) -> String {
    axes.iter().map(|axis| format!("{} {}", axis.extent, name(axis.name))).collect::<Vec<_>>().join(", ")
}

fn name(axis: char) -> String {
    match axis {
        'z' => "slices".to_owned(),
        'c' => "channels".to_owned(),
        't' => "time points".to_owned(),
        'q' => "pages of an axis without a name".to_owned(),
        other => format!("pages along `{other}`"),
    }
}
