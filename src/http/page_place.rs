//! The place that the page of an image shows: it stays when another level or axis is chosen.
//!
//! A form sends along with its slider's number `from`, the level and the axis whose voxels this counts, and `at`, the place of
//! the whole picture in nanometres. Whoever sends `level`, `axis` and `z` alone means voxels of that level, as for a picture.

use super::dimension::{AXES, axis_named};
use super::documents::{Described, DescribedLevel};
use super::failure::Failure;
use super::picture::{asked_index, axis_and_level, level_of_name};
use super::query::Query;

/// What a page is to show.
pub(super) struct PagePlace {
    /// The query for it: of a level that does not reach so far, it is for the last slice.
    pub query: Query,
    /// What the form sends along.
    pub fields: [(&'static str, String); 2],
}

impl PagePlace {
    pub fn of(described: &Described, query: &Query) -> Result<PagePlace, Failure> {
        let (axis, number) = axis_and_level(described, query)?;
        let level = described.levels.get(number).ok_or_else(|| Failure::NotFound("level".to_owned()))?;
        let asked = asked_index(query, axis)?;
        let place = match query.get("from") {
            None => {
                let mut place = middle(level);
                if let Some(index) = asked {
                    place[axis] = along(level, axis, index);
                }
                place
            }
            Some(from) => before(described, query, from, asked)?,
        };
        let index = index_of(level, axis, place[axis]);
        let fields =
            [("from", format!("{}:{}", level.path, AXES[axis])), ("at", place.map(|at| at.to_string()).join(","))];
        Ok(PagePlace { query: query.with("z", index.to_string()), fields })
    }
}

/// The place that the form was at, which may have been moved by its slider.
fn before(described: &Described, query: &Query, from: &str, asked: Option<u64>) -> Result<[f64; 3], Failure> {
    let unread = |name: &str| Failure::Request(format!("`{name}` is none of this page; leave it out"));
    let (name, axis) = from.split_once(':').ok_or_else(|| unread("from"))?;
    let axis = axis_named(axis).ok_or_else(|| unread("from"))?;
    let level = level_of_name(described, name).and_then(|number| described.levels.get(number));
    let level = level.ok_or_else(|| unread("from"))?;
    let mut place = match query.get("at") {
        None => middle(level),
        Some(text) => {
            let numbers = text.split(',').map(|number| number.parse::<f64>().ok().filter(|number| number.is_finite()));
            let numbers = numbers.collect::<Option<Vec<f64>>>().and_then(|numbers| numbers.try_into().ok());
            numbers.ok_or_else(|| unread("at"))?
        }
    };
    // Where the slider was not moved, the place is that of a finer level, which may be chosen again.
    if let Some(index) = asked.filter(|index| *index != index_of(level, axis, place[axis])) {
        place[axis] = along(level, axis, index);
    }
    Ok(place)
}

/// The place of a voxel along an axis; that of the last one for those behind it.
fn along(level: &DescribedLevel, axis: usize, index: u64) -> f64 {
    let index = index.min(level.grid.shape.0[axis].saturating_sub(1));
    level.translation[axis] + index as f64 * level.scale[axis]
}

/// The voxel that is next to a place along an axis.
fn index_of(level: &DescribedLevel, axis: usize, place: f64) -> u64 {
    let index = ((place - level.translation[axis]) / level.scale[axis]).round();
    // A float cast saturates.
    (index as u64).min(level.grid.shape.0[axis].saturating_sub(1))
}

fn middle(level: &DescribedLevel) -> [f64; 3] {
    std::array::from_fn(|axis| along(level, axis, level.grid.shape.0[axis] / 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DataType;
    use crate::geometry::{Grid, Shape};

    /// An image of two levels, the coarser one with voxels of twice the size.
    fn image() -> Described {
        let level = |path: &str, shape, factor: f64| DescribedLevel {
            path: path.to_owned(),
            grid: Grid { shape: Shape(shape), cell: Shape([64; 3]) },
            dtype: DataType::U8,
            scale: [16.0, 8.0, 4.0].map(|size| size * factor),
            translation: [16.0, 8.0, 4.0].map(|size| size * (factor - 1.0) / 2.0),
        };
        Described {
            dataset: "d".to_owned(),
            store: "em.zarr".to_owned(),
            levels: vec![level("s0", [200, 100, 50], 1.0), level("s1", [100, 50, 25], 2.0)],
            window: None,
            labels: Vec::new(),
            is_planes: false,
            calibrated: [true; 3],
        }
    }

    /// The slice that a page of this query shows, and the query that its form sends with other values in it.
    fn shown(query: &str) -> Result<(u64, String), Failure> {
        let place = PagePlace::of(&image(), &Query::parse(Some(query)))?;
        let index = place.query.number("z")?.unwrap_or_default();
        Ok((index, place.fields.map(|(name, value)| format!("&{name}={value}")).concat()))
    }

    fn index(query: &str) -> u64 {
        shown(query).unwrap().0
    }

    #[test]
    fn another_level_or_axis_shows_the_same_place() {
        let (z, form) = shown("level=s0&axis=z&z=150").unwrap();
        assert_eq!(z, 150);
        assert_eq!(index(&format!("level=s0&axis=z&z=150{form}")), 150);
        let (z, coarse) = shown(&format!("level=s1&axis=z&z=150{form}")).unwrap();
        assert_eq!(z, 75, "of a slice beyond those of the level, the place is shown");
        assert_eq!(index(&format!("level=s0&axis=z&z=75{coarse}")), 150, "and back");
        assert_eq!(index(&format!("level=s0&axis=z&z=10{coarse}")), 21, "the slider was moved at the coarser level");
        let (y, across) = shown(&format!("level=1&axis=y&z=150{form}")).unwrap();
        assert_eq!(y, 25);
        assert_eq!(index(&format!("level=s0&axis=z&z=25{across}")), 150, "the slice of the other axis is not lost");
        let (x, across) = shown(&format!("level=s0&axis=x&z=12{across}")).unwrap();
        assert_eq!(x, 25);
        assert_eq!(index(&format!("level=s1&axis=y&z=3{across}")), 12, "where the slider of y was");
    }

    #[test]
    fn a_slice_behind_the_last_is_the_last() {
        for (query, expected) in [
            ("level=s1&z=150", 99),
            ("level=s1&z=100", 99),
            ("level=s1&z=18446744073709551615", 99),
            ("level=s1&axis=x&x=25", 24),
            ("level=s1&z=99", 99),
            ("level=s1", 50),
            ("level=s1&z=3&from=s0:z&at=1e300,0,0", 1),
            ("level=s1&axis=y&from=s0:z&at=0,1e300,0", 49),
            ("level=s1&axis=y&from=s0:z&at=0,-1e300,0", 0),
        ] {
            assert_eq!(index(query), expected, "{query}");
        }
        for query in ["from=s9:z", "from=s0", "from=s0:t", "from=s0:z&at=1,2", "from=s0:z&at=nan,1,2", "z=-1", "axis=t"]
        {
            assert!(matches!(shown(query), Err(Failure::Request(_))), "{query}");
        }
    }
}
