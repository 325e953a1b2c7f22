//! Links that open an image in a viewer, and lines to type in programs that have none.

use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::documents::{Described, DescribedLevel};
pub use super::seen::{Seen, SeenLayer};
use super::vizarr;

/// What has to be escaped in a state behind `#!`.
const STATE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'\'');

/// What stands as it is in a value behind `?`.
const VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b':');

/// Pixels of the screen that the longer side of an image is to take, where one panel fills the window and where four do.
const ONE_PANEL: f64 = 700.0;
const FOUR_PANELS: f64 = 350.0;

/// Where an image can be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Viewer {
    Neuroglancer,
    Vizarr,
    Validator,
    Napari,
    Fiji,
    Webknossos,
    Python,
}

impl FromStr for Viewer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Viewer::ALL.map(Viewer::name).join(", ");
        Viewer::ALL
            .into_iter()
            .find(|viewer| viewer.name() == name)
            .ok_or_else(|| format!("the viewers are {}", names()))
    }
}

impl Viewer {
    /// All of them.
    pub const ALL: [Viewer; 7] = [
        Viewer::Neuroglancer,
        Viewer::Vizarr,
        Viewer::Validator,
        Viewer::Napari,
        Viewer::Fiji,
        Viewer::Webknossos,
        Viewer::Python,
    ];

    /// What commands call it.
    pub fn name(self) -> &'static str {
        match self {
            Viewer::Neuroglancer => "neuroglancer",
            Viewer::Vizarr => "vizarr",
            Viewer::Validator => "validator",
            Viewer::Napari => "napari",
            Viewer::Fiji => "fiji",
            Viewer::Webknossos => "webknossos",
            Viewer::Python => "python",
        }
    }

    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Viewer::Neuroglancer => "neuroglancer",
            Viewer::Vizarr => "vizarr",
            Viewer::Validator => "OME-NGFF validator",
            Viewer::Napari => "napari",
            Viewer::Fiji => "Fiji",
            Viewer::Webknossos => "WEBKNOSSOS",
            Viewer::Python => "Python",
        }
    }

    /// Whether it is a page, which a browser opens.
    pub fn is_page(self) -> bool {
        self.page().is_some()
    }

    /// The address of that page.
    fn page(self) -> Option<&'static str> {
        match self {
            Viewer::Neuroglancer => Some("https://neuroglancer-demo.appspot.com/"),
            Viewer::Vizarr => Some("https://hms-dbmi.github.io/vizarr/"),
            Viewer::Validator => Some("https://ome.github.io/ome-ngff-validator/"),
            Viewer::Napari | Viewer::Fiji | Viewer::Webknossos | Viewer::Python => None,
        }
    }
}

/// What a link leads to.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// Address of the server, with a token where it needs one.
    pub server: &'a str,
    /// The image.
    pub image: &'a Described,
    /// The voxel of the finest level (z, y, x) to look at; the middle where none is named.
    pub at: Option<[u64; 3]>,
    /// Another copy of the viewer's page.
    pub page: Option<&'a str>,
}

impl Link<'_> {
    /// The address to open, or the line to type.
    pub fn to(&self, viewer: Viewer) -> String {
        let store = self.store();
        // What stands behind `#` is a state of the page's own.
        let page = self.page.or(viewer.page()).and_then(|page| page.split('#').next()).unwrap_or_default();
        let joint = match page.split_once('?') {
            None => "?",
            Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
            Some(_) => "&",
        };
        let source = || format!("{page}{joint}source={}", utf8_percent_encode(&store, VALUE));
        match viewer {
            Viewer::Neuroglancer => {
                let state = self.state().to_string();
                format!("{page}#!{}", utf8_percent_encode(&state, STATE))
            }
            Viewer::Vizarr => {
                let parameters = self.image.finest().map(|finest| vizarr::parameters(finest, self.at));
                parameters.into_iter().flatten().fold(source(), |link, (name, value)| {
                    format!("{link}&{name}={}", utf8_percent_encode(&value.to_string(), VALUE))
                })
            }
            Viewer::Validator => source(),
            Viewer::Napari => format!("napari --plugin napari-ome-zarr '{store}'"),
            Viewer::Fiji => {
                let server = self.server.trim_end_matches('/');
                format!("fiji -eval 'open(\"{server}/{}/{}\");'", self.image.dataset, self.image.tiff())
            }
            Viewer::Webknossos => store,
            Viewer::Python => {
                let at = self.at.unwrap_or_else(|| self.middle());
                let level = self.image.finest().map(|level| level.path.as_str()).unwrap_or_default();
                format!(
                    "python -c \"import zarr; print(zarr.open('{store}', mode='r')['{level}'][{}, {}, {}])\"",
                    at[0], at[1], at[2]
                )
            }
        }
    }

    fn store(&self) -> String {
        format!("{}/{}/{}", self.server.trim_end_matches('/'), self.image.dataset, self.image.store)
    }

    fn middle(&self) -> [u64; 3] {
        self.image.finest().map(|level| level.grid.shape.0.map(|extent| extent / 2)).unwrap_or_default()
    }

    /// The state of neuroglancer. Its order is x, y, z, and its lengths are metres.
    fn state(&self) -> Value {
        let Some(finest) = self.image.finest() else { return Value::Null };
        let at = self.at.unwrap_or_else(|| self.middle());
        let mut dimensions = Map::new();
        for (axis, name) in [(2, "x"), (1, "y"), (0, "z")] {
            let (scale, unit) = match self.image.calibrated[axis] {
                true => (finest.scale[axis] * 1e-9, "m"),
                false => (finest.scale[axis], ""),
            };
            dimensions.insert(name.to_owned(), json!([scale, unit]));
        }
        let position = [2, 1, 0].map(|axis| position(finest, axis, at[axis]));
        let layout = if self.image.is_planes { "xy" } else { "4panel" };
        let name = &self.image.dataset;
        let image = self.image.store.strip_suffix(".zarr").unwrap_or(&self.image.store);
        let title = if image == "em" { name.clone() } else { format!("{name} {image}") };
        let store = self.store();
        let (black, white) = self.image.window.unwrap_or((0.0, 255.0));
        let mut layers = vec![json!({
            "type": "image",
            "source": format!("zarr2://{store}"),
            "tab": "rendering",
            "name": title,
            "shader": "#uicontrol invlerp contrast\nvoid main() {\n  emitGrayscale(contrast());\n}\n",
            "shaderControls": {"contrast": {"range": [black, white]}},
        })];
        // Of Zarr v2 neuroglancer (2.41) draws no uint64: it takes the missing fill value for a number of another type.
        let of_v3 = store.strip_suffix(".zarr").map_or_else(|| store.clone(), |start| format!("{start}.v3.zarr"));
        layers.extend(self.image.labels.iter().enumerate().map(|(number, label)| {
            let source = format!("zarr3://{of_v3}/labels/{label}");
            // One of them, or they would hide the image and each other.
            let is_visible = number == 0;
            json!({"type": "segmentation", "source": source, "name": label, "tab": "segments", "visible": is_visible})
        }));
        let size = |axis: usize| finest.grid.shape.0[axis] as f64 * finest.scale[axis];
        let least = finest.scale.iter().copied().fold(f64::INFINITY, f64::min);
        let pixels = if self.image.is_planes { ONE_PANEL } else { FOUR_PANELS };
        let fits = size(1).max(size(2)) / least / pixels;
        json!({
            "dimensions": dimensions,
            "position": position,
            // Voxels per pixel: what was asked for voxel by voxel, else all of the plane.
            "crossSectionScale": if self.at.is_some() { 1.0 } else { fits },
            "projectionScale": size(0).max(size(1)).max(size(2)) / least * 1.5,
            "layers": layers,
            "selectedLayer": {"visible": false, "layer": title},
            "layout": layout,
        })
    }
}

/// The place of the centre of a voxel, in voxels.
fn position(finest: &DescribedLevel, axis: usize, index: u64) -> f64 {
    let place = finest.translation[axis] / finest.scale[axis] + index as f64;
    // Without the noise of binary fractions.
    (place * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DataType;
    use crate::geometry::{Grid, Shape};

    fn image(is_planes: bool) -> Described {
        let grid = Grid { shape: Shape([100, 700, 1400]), cell: Shape([64; 3]) };
        let level = DescribedLevel {
            path: "s0".to_owned(),
            grid,
            dtype: DataType::U8,
            scale: [16.0, 8.0, 8.0],
            translation: [0.0, 8.0, -4.0],
        };
        Described {
            dataset: "d".to_owned(),
            store: "em.zarr".to_owned(),
            levels: vec![level],
            window: Some((10.0, 20.0)),
            labels: vec!["m".to_owned()],
            is_planes,
            calibrated: [true; 3],
        }
    }

    fn state(link: &str) -> Value {
        let state = link.strip_prefix("https://neuroglancer-demo.appspot.com/#!").unwrap();
        assert!(!state.contains(['"', ' ', '{', '|']), "{state}");
        serde_json::from_str(&percent_encoding::percent_decode_str(state).decode_utf8().unwrap()).unwrap()
    }

    #[test]
    fn a_link_to_neuroglancer_says_window_units_position_zoom_labels_and_layout() {
        let image = image(true);
        let link = Link { server: "http://h:1/t/", image: &image, at: None, page: None };
        let state = state(&link.to(Viewer::Neuroglancer));
        assert_eq!(state["dimensions"], json!({"x": [8e-9, "m"], "y": [8e-9, "m"], "z": [1.6e-8, "m"]}));
        assert_eq!(state["position"], json!([699.5, 351.0, 50.0]));
        assert_eq!((&state["crossSectionScale"], &state["layout"]), (&json!(2.0), &json!("xy")));
        assert_eq!(state["layers"][0]["source"], "zarr2://http://h:1/t/d/em.zarr");
        assert_eq!(state["layers"][0]["shaderControls"]["contrast"]["range"], json!([10.0, 20.0]));
        assert_eq!((&state["layers"][0]["name"], &state["layers"][1]["type"]), (&json!("d"), &json!("segmentation")));
        assert_eq!(state["layers"][1]["source"], "zarr3://http://h:1/t/d/em.v3.zarr/labels/m");
    }

    #[test]
    fn the_way_back_finds_the_voxel() {
        let image = image(false);
        let link = Link { server: "http://h:1", image: &image, at: Some([3, 40, 500]), page: Some("http://n/") };
        let link = link.to(Viewer::Neuroglancer);
        assert!(link.starts_with("http://n/#!"));
        let seen = Seen::parse(&link).unwrap();
        let layer = &seen.layers[0];
        assert_eq!((layer.dataset.as_str(), layer.store.as_str()), ("d", "em.zarr"));
        let finest = &image.levels[0];
        let place = seen.place(layer, finest.scale, image.calibrated).unwrap();
        let voxel: [f64; 3] =
            std::array::from_fn(|axis| ((place[axis] - finest.translation[axis]) / finest.scale[axis]).round());
        assert_eq!(voxel, [3.0, 40.0, 500.0]);
        for wrong in ["", "http://n/#!{}", "{\"position\":[1],\"dimensions\":{\"x\":[1,\"s\"]}}"] {
            assert!(Seen::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn vizarr_is_told_where_planes_lie_that_it_would_not_see_and_where_to_look() {
        let mut image = image(false);
        image.levels[0].translation[0] = 160.0;
        let link = |image: &Described, at| {
            let link = Link { server: "http://h:1/", image, at, page: None }.to(Viewer::Vizarr);
            percent_encoding::percent_decode_str(&link).decode_utf8().unwrap().into_owned()
        };
        let source = "https://hms-dbmi.github.io/vizarr/?source=http://h:1/d/em.zarr";
        let matrix = "[8.0,0.0,0.0,-4.0,0.0,8.0,0.0,8.0,0.0,0.0,16.0,0.0,0.0,0.0,0.0,1.0]";
        assert_eq!(link(&image, None), format!("{source}&model_matrix={matrix}"));
        image.levels[0].translation[0] = 0.0;
        let seen = r#"{"target":[4000.0,332.0],"zoom":-3.0}"#;
        assert_eq!(link(&image, Some([3, 40, 500])), format!("{source}&viewState={seen}"));
    }

    #[test]
    fn other_viewers_get_the_store() {
        let image = image(false);
        let link = Link { server: "http://h:1/", image: &image, at: None, page: None };
        assert_eq!(link.to(Viewer::Vizarr), "https://hms-dbmi.github.io/vizarr/?source=http://h:1/d/em.zarr");
        assert_eq!(link.to(Viewer::Validator), "https://ome.github.io/ome-ngff-validator/?source=http://h:1/d/em.zarr");
        assert_eq!(link.to(Viewer::Webknossos), "http://h:1/d/em.zarr");
        assert!(link.to(Viewer::Python).contains("['s0'][50, 350, 700]"));
        assert_eq!(link.to(Viewer::Fiji), "fiji -eval 'open(\"http://h:1/d/em.tif\");'");
        assert_eq!("fiji".parse(), Ok(Viewer::Fiji));
        for (page, start) in [
            ("http://n/v/", "http://n/v/?source="),
            ("http://n/?", "http://n/?source="),
            ("http://n/?y=1", "http://n/?y=1&source="),
            ("http://n/?y=1&", "http://n/?y=1&source="),
            ("http://n/?y=1#x", "http://n/?y=1&source="),
        ] {
            let found = Link { page: Some(page), ..link }.to(Viewer::Vizarr);
            assert_eq!(found, format!("{start}http://h:1/d/em.zarr"));
        }
        let found = Link { page: Some("http://n/v/?a=b#x"), ..link }.to(Viewer::Neuroglancer);
        assert!(found.starts_with("http://n/v/?a=b#!"), "{found}");
        assert!("other".parse::<Viewer>().is_err());
    }
}
