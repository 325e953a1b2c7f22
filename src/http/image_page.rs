//! `DATASET/IMAGE/`: a slice that can be moved through, with scale bar, contrast and labels, and links to viewers.

use std::fmt::Write as _;
use std::sync::Arc;

use hyper::Response;

use super::body::Body;
use super::describe::describe;
use super::dimension::AXES;
use super::documents::{Described, DescribedLevel};
use super::failure::Failure;
use super::markup::{escape, html, part};
use super::page_place::PagePlace;
use super::picture::PictureView;
use super::query::Query;
use super::site::Site;
use super::viewers::{Link, Viewer};

/// The store that the page of an image shows, where there is one of that name; `None` where the name is none.
pub(super) async fn store(site: &Arc<Site>, dataset: &str, image: &str) -> Option<Result<String, Failure>> {
    let store = format!("{image}.zarr");
    match site.names().find(&[dataset.to_owned(), store.clone()]).await {
        Ok(_) => Some(Ok(store)),
        Err(Failure::NotFound(_)) => None,
        Err(failure) => Some(Err(failure)),
    }
}

/// The page. `base` is the address of the server.
pub(super) async fn respond(
    site: &Arc<Site>,
    dataset: &str,
    store: &str,
    query: &Query,
    base: &str,
) -> Result<Response<Body>, Failure> {
    let described = describe(site, dataset, store, "").await?;
    let PagePlace { query, fields } = PagePlace::of(&described, query)?;
    let view = PictureView::of(&described, &query)?;
    let Some(level) = described.levels.get(view.level) else { return Err(Failure::NotFound(store.to_owned())) };
    let image = store.strip_suffix(".zarr").unwrap_or(store);
    let title = format!("{dataset} {image}");
    let mut text = format!("<p><a href=\"../../\">All datasets</a> · <a href=\"../\">{}</a></p>", escape(dataset));
    let _ = write!(text, "<h1>{}</h1>", escape(&title));
    text.push_str(&picture(&described, &view, level, &title));
    text.push_str(&form(&described, &view, level, &fields));
    text.push_str(&facts(&described));
    text.push_str(&links(&described, base));
    text.push_str(&files(site, &described).await);
    text.push_str(SCRIPT);
    Ok(html(&title, &text))
}

/// Links to the files of what is shown, of which there may be no TIFF file.
async fn files(site: &Arc<Site>, described: &Described) -> String {
    let mut links = Vec::new();
    for (name, told) in described.files() {
        let found = site.names().find(&[described.dataset.clone(), name.clone()]).await;
        if !matches!(found, Err(Failure::NotFound(_))) {
            let slash = if name.ends_with(".zarr") { "/" } else { "" };
            links.push(format!("<a href=\"../{}{slash}\">{}</a>{told}", part(&name), escape(&name)));
        }
    }
    format!("<p>Files: {}</p>", links.join(", "))
}

/// Moves the picture with the slider; without it, the button does. Whoever comes back finds chosen what the page shows.
const SCRIPT: &str = "<script>\
const f=document.querySelector('form'),p=document.querySelector('.picture img');\
f.z.addEventListener('input',()=>{document.querySelector('output').value=f.z.value});\
f.z.addEventListener('change',()=>{const q=new URLSearchParams(new FormData(f));p.src='slice.png?'+q;history.replaceState(null,'','?'+q)});\
for(const s of [f.level,f.axis]){s.addEventListener('change',()=>f.submit());\
addEventListener('pageshow',()=>{for(const o of s.options)if(o.defaultSelected)s.value=o.value})}\
</script>";

fn picture(described: &Described, view: &PictureView, level: &DescribedLevel, title: &str) -> String {
    let [down, right] = view.cut.across();
    let axis = AXES.get(view.cut.axis).copied().unwrap_or_default();
    let mut address = format!(
        "slice.png?level={}&amp;axis={axis}&amp;z={}&amp;lo={}&amp;hi={}",
        part(&level.path),
        view.cut.index,
        view.window.0,
        view.window.1
    );
    if let Some(labels) = &view.labels {
        let _ = write!(address, "&amp;labels={}", part(labels));
    }
    let length = |axis: usize| level.grid.shape.0[axis] as f64 * level.scale[axis];
    let (height, width) = (length(down), length(right));
    let bar = described.is_calibrated().then(|| {
        let nanometres = round_length(width / 5.0);
        format!(
            "<div class=\"bar\" style=\"width:{:.3}%\">{}</div>",
            nanometres / width * 100.0,
            length_text(nanometres)
        )
    });
    format!(
        "<div class=\"picture\" style=\"max-width:min(100%,{:.3}vh)\"><img src=\"{address}\" alt=\"{}\" style=\"aspect-ratio:{width:.3}/{height:.3}\">{}</div>\n",
        // So that it can be seen as a whole.
        85.0 * width / height,
        escape(&format!("Slice {axis} {} of {title}", view.cut.index)),
        bar.unwrap_or_default()
    )
}

/// The largest of 1, 2, 5, 10, … that is no more.
pub(super) fn round_length(length: f64) -> f64 {
    let power = 10f64.powf(length.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|factor| factor * power).find(|round| *round <= length).unwrap_or(power)
}

fn length_text(nanometres: f64) -> String {
    match nanometres {
        long if long >= 1e6 => format!("{} mm", long / 1e6),
        long if long >= 1e3 => format!("{} µm", long / 1e3),
        short => format!("{short} nm"),
    }
}

fn form(
    described: &Described,
    view: &PictureView,
    level: &DescribedLevel,
    fields: &[(&'static str, String)],
) -> String {
    let axis = view.cut.axis;
    let options = |values: &mut dyn Iterator<Item = (String, String)>, chosen: &str| {
        values.fold(String::new(), |mut text, (value, shown)| {
            let selected = if value == chosen { " selected" } else { "" };
            let _ = write!(text, "<option value=\"{}\"{selected}>{}</option>", escape(&value), escape(&shown));
            text
        })
    };
    let mut levels =
        described.levels.iter().map(|level| (level.path.clone(), format!("{} ({})", level.path, level.grid.shape)));
    let levels = options(&mut levels, &level.path);
    let axes = options(&mut AXES.iter().map(|axis| ((*axis).to_owned(), (*axis).to_owned())), AXES[axis]);
    let mut text = format!(
        "<form method=\"get\" autocomplete=\"off\"><label>slice <output>{index}</output><input type=\"range\" name=\"z\" min=\"0\" max=\"{last}\" \
         value=\"{index}\"></label><label>level<select name=\"level\">{levels}</select></label>\
         <label>across<select name=\"axis\">{axes}</select></label>\
         <label>black<input type=\"number\" step=\"any\" name=\"lo\" value=\"{black}\"></label>\
         <label>white<input type=\"number\" step=\"any\" name=\"hi\" value=\"{white}\"></label>",
        index = view.cut.index,
        last = level.grid.shape.0[axis].saturating_sub(1),
        black = view.window.0,
        white = view.window.1,
    );
    if !described.labels.is_empty() {
        let none = std::iter::once((String::new(), "none".to_owned()));
        let mut labels = none.chain(described.labels.iter().map(|name| (name.clone(), name.clone())));
        let chosen = view.labels.as_deref().unwrap_or_default();
        let _ = write!(text, "<label>labels<select name=\"labels\">{}</select></label>", options(&mut labels, chosen));
    }
    for (name, value) in fields {
        let _ = write!(text, "<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(value));
    }
    text + "<button>Show</button></form>\n"
}

/// Size and voxel size.
pub(super) fn facts(described: &Described) -> String {
    let Some(finest) = described.finest() else { return String::new() };
    let size = match described.is_calibrated() {
        true => finest.scale.map(|length| length.to_string()).join(" × ") + " nm",
        false => "not known along all axes".to_owned(),
    };
    format!(
        "<dl><dt>Size (z × y × x)</dt><dd>{} voxels, {}, {}</dd><dt>Voxel</dt><dd>{size}</dd></dl>\n",
        finest.grid.shape,
        finest.dtype.name(),
        if described.levels.len() == 1 { "one level".to_owned() } else { format!("{} levels", described.levels.len()) }
    )
}

/// Links to viewers, and what to type in others.
fn links(described: &Described, base: &str) -> String {
    let link = Link { server: base, image: described, at: None, page: None };
    let mut text = "<h2>Open in</h2><dl>".to_owned();
    for viewer in Viewer::ALL {
        let found = escape(&link.to(viewer));
        let name = viewer.title();
        let _ = match viewer.is_page() {
            true => write!(text, "<dt>{name}</dt><dd><a href=\"{found}\">{name} with this image</a></dd>"),
            false => write!(text, "<dt>{name}</dt><dd><code>{found}</code></dd>"),
        };
    }
    text + "</dl>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_bar_has_a_round_length() {
        for (length, expected) in [(123.0, 100.0), (99.0, 50.0), (50.0, 50.0), (4.9, 2.0), (1.0, 1.0), (0.3, 0.2)] {
            assert!((round_length(length) - expected).abs() < 1e-9, "{length}");
        }
        assert_eq!(
            (length_text(500.0), length_text(2e4), length_text(1e6)),
            ("500 nm".into(), "20 µm".into(), "1 mm".into())
        );
    }
}
