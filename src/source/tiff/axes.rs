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

/// The pages that are the planes, of the `there` that the file has. The error is what the file has, and the remedy.
pub(super) fn choose(text: &Text, there: u64, choice: Choice) -> Result<Pages, String> {
    let all = Pages { first: 0, step: 1, count: there, warning: None };
    let axes = text.axes.as_slice();
    let wanted = choice.z.unwrap_or('z');
    if let [] | [_] = axes {
        if let Some(channel) = choice.channel.filter(|channel| *channel > 0) {
            let named = axes.first().is_some_and(|axis| axis.name == 'c' && wanted != 'c');
            return match axes.first().filter(|axis| named && channel < axis.extent && there == axis.extent) {
                Some(_) => Ok(Pages { first: channel, count: 1, ..all }),
                None => Err(format!("no channel {channel}, for which `channel` asks")),
            };
        }
        // A single long axis is z whatever it is called; without a name it is one anyway.
        let warning = axes.first().filter(|axis| axis.name != 'q' && axis.name != wanted).map(|axis| {
            let called = name(axis.name);
            let key = format!("`axes = \"{}yx\"`", axis.name);
            format!(
                "its {} {called} are shown as the planes along z; write {key} for that, without this line",
                axis.extent
            )
        });
        return Ok(Pages { warning, ..all });
    }
    let list = || axes.iter().map(|axis| format!("{} {}", axis.extent, name(axis.name))).collect::<Vec<_>>().join(", ");
    let product = axes.iter().map(|axis| axis.extent).fold(1, u64::saturating_mul);
    if product != there {
        return Err(format!("a file of {there} pages for {}", list()));
    }
    let Some(z) = axes.iter().position(|axis| axis.name == wanted) else {
        let first = axes.first().map_or('c', |axis| axis.name);
        return Err(format!("a file of {} without `axes = \"{first}yx\"` or the like, which says what z is", list()));
    };
    let (mut first, mut step, mut of_z) = (0u64, 1u64, 1u64);
    for (number, Long { name: axis, extent }) in axes.iter().enumerate() {
        match (number == z, axis, choice.channel) {
            (true, ..) => of_z = step,
            (false, 'c', Some(channel)) if channel < *extent => {
                first = first.saturating_add(channel.saturating_mul(step))
            }
            (false, 'c', Some(channel)) => return Err(format!("channel {channel} of {extent}")),
            (false, 'c', None) => {
                return Err(format!("a file of {} without `channel = N`, which says which one is shown,", list()));
            }
            (false, ..) => return Err(format!("a file of {}", list())),
        }
        step = step.saturating_mul(*extent);
    }
    let count = axes.get(z).map_or(1, |axis| axis.extent);
    Ok(Pages { first, step: of_z, count, warning: None })
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
