//! Slices side by side as a PNG, each with its name, its axes and a scale bar.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use embedded_graphics::Drawable;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::{MonoTextStyle, iso_8859_1::FONT_9X18_BOLD};
use embedded_graphics::pixelcolor::{Gray8, GrayColor};
use embedded_graphics::primitives::{Line, Primitive, PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Baseline, Text};

use super::slice::PlaneSlice;

/// Height that every slice is scaled to.
const HEIGHT: usize = 480;
/// Rows above the slices, for their names.
const CAPTION: usize = 26;
/// White columns between slices.
const GAP: usize = 6;
/// Width of a slice at most, whatever its proportions.
const MAX_WIDTH: usize = 4 * HEIGHT;
/// How long the arrows of the axes are, and how far signs are from the edges of a slice.
const ARROW: i32 = 36;
const MARGIN: i32 = 10;
/// A scale bar takes about this part of a slice's width.
const BAR_PART: f64 = 0.25;

/// Writes `slices` with their names from left to right, each in its display window and scaled to the same height.
pub fn write(path: &Path, slices: &[(&str, PlaneSlice)]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    encode(&mut file, slices)?;
    file.flush()
}

fn encode(out: impl Write, slices: &[(&str, PlaneSlice)]) -> io::Result<()> {
    let tiles: Vec<Tile> = slices.iter().map(|(_, slice)| scale(slice)).collect();
    let width = tiles.iter().map(|tile| tile.width + GAP).sum::<usize>().saturating_sub(GAP);
    let mut canvas = Canvas { width, pixels: vec![Gray8::WHITE; width * (CAPTION + HEIGHT)] };
    let mut left = 0;
    for ((name, slice), tile) in slices.iter().zip(&tiles) {
        let rows = canvas.pixels.chunks_exact_mut(width.max(1)).skip(CAPTION);
        for (row, line) in rows.zip(tile.pixels.chunks_exact(tile.width)) {
            row[left..left + tile.width].copy_from_slice(line);
        }
        let Ok(()) = label(&mut canvas, left as i32, (name, slice), tile.width);
        left += tile.width + GAP;
    }
    let mut encoder = png::Encoder::new(out, width as u32, (CAPTION + HEIGHT) as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    let pixels: Vec<u8> = canvas.pixels.iter().map(GrayColor::luma).collect();
    writer.write_image_data(&pixels)?;
    Ok(writer.finish()?)
}

/// Rows of grey values that can be drawn on; what lies outside is left out.
struct Canvas {
    width: usize,
    pixels: Vec<Gray8>,
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width as u32, (CAPTION + HEIGHT) as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = Gray8;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Gray8>>>(&mut self, drawn: I) -> Result<(), Infallible> {
        for Pixel(Point { x, y }, grey) in drawn {
            if let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y))
                && x < self.width
                && let Some(pixel) = self.pixels.get_mut(y * self.width + x)
            {
                *pixel = grey;
            }
        }
        Ok(())
    }
}

/// Draws name, axes and scale bar of a slice that is `width` pixels wide in the picture and begins at column `left`.
fn label(canvas: &mut Canvas, left: i32, (name, slice): (&str, &PlaneSlice), width: usize) -> Result<(), Infallible> {
    text(canvas, Point::new(left, 4), name, Gray8::BLACK)?;
    let corner = Point::new(left + MARGIN, CAPTION as i32 + MARGIN);
    let field = Size::new_equal((ARROW + 24) as u32);
    canvas.fill_solid(&Rectangle::new(corner - Point::new_equal(4), field), Gray8::WHITE)?;
    let stroke = PrimitiveStyle::with_stroke(Gray8::BLACK, 2);
    for (tip, letter, place) in
        [(Point::new(ARROW, 0), "x", Point::new(ARROW + 4, -4)), (Point::new(0, ARROW), "y", Point::new(-2, ARROW - 2))]
    {
        Line::new(corner, corner + tip).into_styled(stroke).draw(canvas)?;
        for side in [-1, 1] {
            let barb = corner + tip - tip / 6 + Point::new(tip.y, tip.x) / 8 * side;
            Line::new(corner + tip, barb).into_styled(stroke).draw(canvas)?;
        }
        text(canvas, corner + place, letter, Gray8::BLACK)?;
    }
    let Some([_, x]) = slice.pixel_size else { return Ok(()) };
    let per_column = x * slice.width as f64 / width as f64;
    let Some(length) = round_length(BAR_PART * width as f64 * per_column) else { return Ok(()) };
    let words = if length < 1000.0 { format!("{length} nm") } else { format!("{} \u{b5}m", length / 1000.0) };
    let bar = Size::new(((length / per_column).round() as u32).max(1), 5);
    let bottom = Point::new(left + MARGIN, (CAPTION + HEIGHT) as i32 - MARGIN);
    let field = Size::new(bar.width.max(9 * words.chars().count() as u32) + 8, 32);
    canvas.fill_solid(&Rectangle::new(bottom - Point::new(4, 28), field), Gray8::WHITE)?;
    canvas.fill_solid(&Rectangle::new(bottom - Point::new(0, 5), bar), Gray8::BLACK)?;
    text(canvas, bottom - Point::new(0, 25), &words, Gray8::BLACK)
}

fn text(canvas: &mut Canvas, place: Point, words: &str, grey: Gray8) -> Result<(), Infallible> {
    let style = MonoTextStyle::new(&FONT_9X18_BOLD, grey);
    Text::with_baseline(words, place, style, Baseline::Top).draw(canvas).map(drop)
}

/// The largest of 1, 2 and 5 times a power of ten that is not above `most`.
fn round_length(most: f64) -> Option<f64> {
    let power = 10_f64.powf(most.log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|step| step * power);
    steps.into_iter().find(|length| length.is_finite() && *length > 0.0 && *length <= most)
}

/// A slice as it stands in the picture: `HEIGHT` rows of `width` grey values.
struct Tile {
    width: usize,
    pixels: Vec<Gray8>,
}

fn scale(slice: &PlaneSlice) -> Tile {
    let proportional = (slice.width as f64 * HEIGHT as f64 / slice.height.max(1) as f64).round() as usize;
    let width = proportional.clamp(1, MAX_WIDTH);
    let (columns, rows) = (weights(slice.width, width), weights(slice.height, HEIGHT));
    let (low, high) = slice.window;
    let mut pixels = Vec::with_capacity(width * HEIGHT);
    for row in &rows {
        for column in &columns {
            let mut sum = 0.0;
            for (y, down) in row {
                for (x, across) in column {
                    sum += down * across * slice.pixels[y * slice.width + x];
                }
            }
            // A window without extent, and values that are no number, are shown black.
            pixels.push(Gray8::new((255.0 * ((sum - low) / (high - low)).clamp(0.0, 1.0)).round() as u8));
        }
    }
    Tile { width, pixels }
}

/// For each of `to` samples the source samples, with weights of sum 1, that it is made of: the mean of what it covers
/// where the axis shrinks, linear interpolation where it grows.
fn weights(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let step = from as f64 / to as f64;
    let reach = step.max(1.0);
    (0..to)
        .map(|sample| {
            let centre = (sample as f64 + 0.5) * step - 0.5;
            let first = (centre - reach).floor().max(0.0) as usize;
            let last = ((centre + reach).ceil() as usize).min(from.saturating_sub(1));
            let raw: Vec<(usize, f64)> = (first..=last)
                .map(|n| (n, 1.0 - (n as f64 - centre).abs() / reach))
                .filter(|(_, weight)| *weight > 0.0)
                .collect();
            let sum: f64 = raw.iter().map(|(_, weight)| weight).sum();
            raw.into_iter().map(|(n, weight)| (n, (weight / sum) as f32)).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(width: usize, height: usize, value: impl Fn(usize, usize) -> f32) -> PlaneSlice {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (y, x))).map(|(y, x)| value(y, x)).collect();
        PlaneSlice { width, height, pixels, window: (10.0, 20.0), pixel_size: None, z: 0, files: 1, bytes: 1 }
    }

    /// The picture of slices, without the rows of their names.
    fn decode(slices: &[PlaneSlice]) -> (usize, usize, Vec<u8>) {
        let mut file = Vec::new();
        let named: Vec<_> = slices.iter().map(|slice| ("", slice.clone())).collect();
        encode(&mut file, &named).unwrap();
        let mut reader = png::Decoder::new(io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let body = pixels.split_off(CAPTION * info.width as usize);
        (info.width as usize, info.height as usize - CAPTION, body)
    }

    #[test]
    fn slices_stand_side_by_side_in_their_windows() {
        let (width, height, pixels) = decode(&[slice(2, 1, |_, _| 15.0), slice(1500, 1000, |_, _| 99.0)]);
        assert_eq!((width, height), (960 + GAP + 720, HEIGHT));
        assert_eq!((pixels[0], pixels[959], pixels[960], pixels[width - 1]), (128, 128, 255, 255));
    }

    #[test]
    fn shrinking_takes_means_and_growing_interpolates() {
        let (_, _, checkered) = decode(&[slice(1920, 1920, |y, x| if (x + y) % 2 == 0 { 10.0 } else { 20.0 })]);
        assert!(checkered[checkered.len() / 2..].iter().all(|grey| (126..=129).contains(grey)));
        let (width, _, ramp) = decode(&[slice(2, 2, |_, x| 10.0 + 10.0 * x as f32)]);
        assert!(ramp[..width].is_sorted() && ramp[0] == 0 && ramp[width - 1] == 255);
    }

    #[test]
    fn values_that_are_no_numbers_do_not_stop_the_picture() {
        let (_, _, pixels) = decode(&[slice(3, 3, |_, _| f32::NAN)]);
        assert_eq!(pixels[0], 0);
    }

    #[test]
    fn a_scale_bar_is_as_long_as_it_says() {
        let bright = PlaneSlice { pixel_size: Some([4.0, 4.0]), ..slice(480, 480, |_, _| 20.0) };
        let (width, _, pixels) = decode(&[bright]);
        let row = &pixels[(HEIGHT - MARGIN as usize - 2) * width..][..width];
        // A quarter of 1920 nm is 480 nm: the bar says 200 nm, which are 50 pixels.
        assert_eq!(row.iter().filter(|grey| **grey == 0).count(), 50);
        assert_eq!([480.0, 500.0, 1.99, 0.3].map(round_length), [200.0, 500.0, 1.0, 0.2].map(Some));
        assert_eq!(round_length(f64::NAN), None);
    }
}
