//! Slices side by side as a PNG.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::slice::Slice;

/// Height that every slice is scaled to.
const HEIGHT: usize = 480;
/// White columns between slices.
const GAP: usize = 6;
/// Width of a slice at most, whatever its proportions.
const MAX_WIDTH: usize = 4 * HEIGHT;
const WHITE: u8 = 255;

/// Writes `slices` from left to right, each in its display window and scaled to the same height.
pub fn write(path: &Path, slices: &[Slice]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    encode(&mut file, slices)?;
    file.flush()
}

fn encode(out: impl Write, slices: &[Slice]) -> io::Result<()> {
    let tiles: Vec<Tile> = slices.iter().map(scale).collect();
    let width = tiles.iter().map(|tile| tile.width + GAP).sum::<usize>().saturating_sub(GAP);
    let mut pixels = vec![WHITE; width * HEIGHT];
    let mut left = 0;
    for tile in &tiles {
        for (row, line) in pixels.chunks_exact_mut(width).zip(tile.pixels.chunks_exact(tile.width)) {
            row[left..left + tile.width].copy_from_slice(line);
        }
        left += tile.width + GAP;
    }
    let mut encoder = png::Encoder::new(out, width as u32, HEIGHT as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    Ok(writer.finish()?)
}

/// A slice as it stands in the picture: `HEIGHT` rows of `width` grey values.
struct Tile {
    width: usize,
    pixels: Vec<u8>,
}

fn scale(slice: &Slice) -> Tile {
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
            pixels.push((255.0 * ((sum - low) / (high - low)).clamp(0.0, 1.0)).round() as u8);
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
            let last = ((centre + reach).ceil() as usize).min(from - 1);
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

    fn slice(width: usize, height: usize, value: impl Fn(usize, usize) -> f32) -> Slice {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (y, x))).map(|(y, x)| value(y, x)).collect();
        Slice { width, height, pixels, window: (10.0, 20.0), z: 0, files: 1, bytes: 1 }
    }

    fn decode(slices: &[Slice]) -> (usize, usize, Vec<u8>) {
        let mut file = Vec::new();
        encode(&mut file, slices).unwrap();
        let mut reader = png::Decoder::new(io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width as usize, info.height as usize, pixels)
    }

    #[test]
    fn slices_stand_side_by_side_in_their_windows() {
        let (width, height, pixels) = decode(&[slice(2, 1, |_, _| 15.0), slice(1500, 1000, |_, _| 99.0)]);
        assert_eq!((width, height), (960 + GAP + 720, HEIGHT));
        assert_eq!((pixels[0], pixels[959], pixels[960], pixels[width - 1]), (128, 128, WHITE, 255));
    }

    #[test]
    fn shrinking_takes_means_and_growing_interpolates() {
        let (_, _, checkered) = decode(&[slice(1920, 1920, |y, x| if (x + y) % 2 == 0 { 10.0 } else { 20.0 })]);
        assert!(checkered.iter().all(|grey| (126..=129).contains(grey)));
        let (width, _, ramp) = decode(&[slice(2, 2, |_, x| 10.0 + 10.0 * x as f32)]);
        assert!(ramp[..width].is_sorted() && ramp[0] == 0 && ramp[width - 1] == 255);
    }

    #[test]
    fn values_that_are_no_numbers_do_not_stop_the_picture() {
        let (_, _, pixels) = decode(&[slice(3, 3, |_, _| f32::NAN)]);
        assert_eq!(pixels[0], 0);
    }
}
