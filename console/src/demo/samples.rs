//! Pictures for a demo without pictures: twelve painted by formula, the same on every machine, and a broken one.

use std::{
    f32::consts::{PI, TAU},
    fs, io,
    path::{Path, PathBuf},
};

use image::{DynamicImage, ImageError, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage, codecs::jpeg::JpegEncoder};

/// File name of the picture that cannot be read.
pub const BROKEN: &str = "torn-in-transit.png";

const JPEG_QUALITY: u8 = 90;

/// Channels from 0 to 1; what goes beyond is cut.
type Colour = [f32; 3];

/// The colour at a point: `x` from 0 to 1, `y` from 0 to 1 downwards.
type Painting = fn(f32, f32) -> Colour;

/// The pictures without transparency.
const PAINTINGS: [(&str, u32, u32, Painting); 11] = [
    ("sunset-over-hills.jpg", 1400, 900, sunset),
    ("morning-mist.jpg", 1100, 700, mist),
    ("night-sky.png", 750, 500, night),
    ("aurora.jpg", 1000, 640, aurora),
    ("ripples.webp", 560, 560, ripples),
    ("dunes.jpg", 1200, 800, dunes),
    ("plaid.png", 480, 480, plaid),
    ("mosaic.webp", 600, 400, mosaic),
    ("colour-wheel.png", 500, 500, wheel),
    ("portrait-of-a-lighthouse.jpg", 600, 900, lighthouse),
    ("panorama.jpg", 1800, 450, sunset),
];

/// Writes twelve pictures and a broken one into `dir`, which must exist. Gives their paths in the order of names.
///
/// # Errors
/// When a file cannot be written.
pub fn write_to(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (name, width, height, painting) in PAINTINGS {
        files.push((name, encode(&paint(width, height, painting), name)?));
    }
    let badge = encode(&badge(512).into(), "badge.png")?;
    files.push((BROKEN, badge[..badge.len() / 2].to_vec()));
    files.push(("badge.png", badge));
    files.sort();
    files
        .into_iter()
        .map(|(name, bytes)| {
            let path = dir.join(name);
            fs::write(&path, bytes)?;
            Ok(path)
        })
        .collect()
}

fn encode(picture: &DynamicImage, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = io::Cursor::new(Vec::new());
    let format = ImageFormat::from_path(name).map_err(unwritable)?;
    if format == ImageFormat::Jpeg {
        JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(picture).map_err(unwritable)?;
    } else {
        picture.write_to(&mut bytes, format).map_err(unwritable)?;
    }
    Ok(bytes.into_inner())
}

fn unwritable(error: ImageError) -> io::Error {
    match error {
        ImageError::IoError(error) => error,
        error => io::Error::other(error),
    }
}

fn paint(width: u32, height: u32, painting: Painting) -> DynamicImage {
    let (across, down) = (width as f32, height as f32);
    RgbImage::from_fn(width, height, |x, y| Rgb(painting((x as f32 + 0.5) / across, (y as f32 + 0.5) / down).map(byte)))
        .into()
}

fn byte(channel: f32) -> u8 {
    // Casting cuts at both ends.
    (channel * 255.0 + 0.5) as u8
}

fn mix(a: Colour, b: Colour, share: f32) -> Colour {
    let share = share.clamp(0.0, 1.0);
    std::array::from_fn(|channel| a[channel] + (b[channel] - a[channel]) * share)
}

/// A colour of the rainbow, from 0 to 1 and round again.
fn hue(turn: f32) -> Colour {
    [0.0, 1.0 / 3.0, 2.0 / 3.0].map(|phase| 0.5 + 0.5 * (TAU * (turn + phase)).cos())
}

/// A number from 0 to 1 that looks random, the same for the same cell.
fn scatter(x: u32, y: u32) -> f32 {
    let mut bits = x.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca77);
    bits = (bits ^ (bits >> 15)).wrapping_mul(0x2c1b_3c6d);
    bits = (bits ^ (bits >> 12)).wrapping_mul(0x297a_2d39);
    (bits ^ (bits >> 15)) as f32 / u32::MAX as f32
}

/// Height of a line of hills at `x`; `seed` tells the lines apart.
fn hills(x: f32, seed: f32) -> f32 {
    (x * 7.0 + seed).sin() * 0.05 + (x * 17.0 + seed * 3.0).sin() * 0.02 + (x * 3.0 + seed * 7.0).sin() * 0.04
}

fn sunset(x: f32, y: f32) -> Colour {
    let sky = mix([0.20, 0.12, 0.35], [1.0, 0.62, 0.28], y * 1.5);
    let sun = (x - 0.62).hypot((y - 0.52) * 0.7);
    let mut colour = mix([1.0, 0.95, 0.75], sky, (sun - 0.05) * 14.0);
    for (line, shade) in [(0.62, [0.45, 0.22, 0.32]), (0.74, [0.26, 0.13, 0.24]), (0.86, [0.10, 0.06, 0.13])] {
        if y > line + hills(x, line * 20.0) {
            colour = shade;
        }
    }
    colour
}

fn mist(x: f32, y: f32) -> Colour {
    let mut colour = mix([0.75, 0.85, 0.92], [0.97, 0.94, 0.88], y * 1.6);
    for layer in 0..6_u8 {
        let near = f32::from(layer) / 6.0;
        let line = 0.35 + near * 0.55 + hills(x, 5.0 + near * 31.0);
        if y > line {
            colour = mix(mix([0.68, 0.78, 0.82], [0.10, 0.27, 0.27], near), [0.93, 0.94, 0.92], (y - line) * 2.5);
        }
    }
    colour
}

fn night(x: f32, y: f32) -> Colour {
    let (cells_x, cells_y) = (x * 90.0, y * 60.0);
    let sky = mix([0.01, 0.02, 0.08], [0.10, 0.12, 0.30], y);
    let chance = scatter(cells_x as u32, cells_y as u32);
    let off_middle = (cells_x.fract() - 0.5).hypot(cells_y.fract() - 0.5);
    let star = if chance > 0.93 { 1.0 - off_middle * 3.0 } else { 0.0 };
    let moon = (x - 0.78).hypot((y - 0.24) * 0.67);
    let shadow = (x - 0.75).hypot((y - 0.22) * 0.67);
    if moon < 0.07 && shadow > 0.06 { [0.96, 0.94, 0.82] } else { mix(sky, [1.0, 1.0, 0.92], star * chance) }
}

fn aurora(x: f32, y: f32) -> Colour {
    let mut colour = mix([0.01, 0.03, 0.10], [0.03, 0.09, 0.16], y);
    for curtain in 0..4_u8 {
        let phase = f32::from(curtain) * 1.7;
        let edge = 0.30 + 0.10 * (x * 6.0 + phase).sin() + 0.06 * (x * 13.0 + phase * 2.0).sin();
        let fall = y - edge;
        let glow = if fall > 0.0 { (-fall * 9.0).exp() } else { (fall * 40.0).exp() };
        let stripes = 0.6 + 0.4 * (x * 90.0 + phase * 11.0 + (x * 31.0).sin() * 3.0).sin();
        colour = mix(colour, mix([0.15, 0.95, 0.55], [0.55, 0.25, 0.85], phase / 5.0), glow * stripes * 0.6);
    }
    if y > 0.86 + hills(x, 2.0) * 0.6 { [0.01, 0.02, 0.03] } else { colour }
}

fn ripples(x: f32, y: f32) -> Colour {
    let wave = |cx: f32, cy: f32, pitch: f32| ((x - cx).hypot(y - cy) * pitch).sin();
    let height = wave(0.3, 0.35, 70.0) + wave(0.75, 0.6, 55.0) * 0.8;
    mix([0.02, 0.20, 0.38], [0.62, 0.90, 0.93], 0.5 + height * 0.28)
}

fn dunes(x: f32, y: f32) -> Colour {
    let mut colour = mix([0.36, 0.62, 0.86], [0.95, 0.88, 0.74], y * 2.2);
    for dune in 0..5_u8 {
        let near = f32::from(dune) / 5.0;
        let line = 0.42 + near * 0.48 + hills(x * (1.3 - near * 0.5), near * 23.0) * 1.3;
        if y > line {
            let ripple = ((y - line) * 160.0 + (x * 25.0 + near * 9.0).sin() * 2.0).sin() * 0.03;
            let lit = 0.5 + 0.5 * (x * 5.0 + near * 17.0).cos();
            colour = mix([0.55, 0.32, 0.16], [0.93, 0.70, 0.42], lit - (y - line)).map(|channel| channel + ripple);
        }
    }
    colour
}

fn plaid(x: f32, y: f32) -> Colour {
    let band = |at: f32| {
        let at = (at * 5.0).fract();
        if at < 0.28 {
            1.0
        } else if (0.48..0.52).contains(&at) || (0.76..0.80).contains(&at) {
            0.6
        } else {
            0.0
        }
    };
    let cloth = mix([0.72, 0.12, 0.16], [0.10, 0.18, 0.33], band(x) * 0.5 + band(y) * 0.5);
    let weave = ((x + y) * 800.0).sin() * 0.04;
    cloth.map(|channel| channel + weave)
}

fn mosaic(x: f32, y: f32) -> Colour {
    let (cells_x, cells_y) = (x * 24.0, y * 16.0);
    let (fx, fy) = (cells_x.fract(), cells_y.fract());
    if fx.min(fy) < 0.07 {
        return [0.90, 0.88, 0.84];
    }
    let chance = scatter(cells_x as u32, cells_y as u32);
    let tone = mix([0.05, 0.35, 0.50], [0.95, 0.75, 0.35], (x + y) / 2.0 + (chance - 0.5) * 0.5);
    tone.map(|channel| channel * (0.85 + 0.2 * (1.0 - fy)))
}

fn wheel(x: f32, y: f32) -> Colour {
    let (dx, dy) = (x - 0.5, y - 0.5);
    let (radius, turn) = (dx.hypot(dy), dy.atan2(dx) / TAU);
    let ring = mix([1.0; 3], hue(turn), radius * 2.6);
    mix(ring, [0.96, 0.96, 0.94], (radius - 0.46) * 200.0)
}

fn lighthouse(x: f32, y: f32) -> Colour {
    let tower = 0.07 + (y - 0.25) * 0.06;
    if (0.25..0.85).contains(&y) && (x - 0.5).abs() < tower {
        let shade = 1.0 - (x - 0.5 + tower) * 2.0;
        let paint =
            if (((y - 0.25) * 10.0) as u32).is_multiple_of(2) { [0.85, 0.16, 0.16] } else { [0.97, 0.96, 0.93] };
        return paint.map(|channel| channel * shade);
    }
    if (0.18..0.25).contains(&y) && (x - 0.5).abs() < 0.05 {
        return [1.0, 0.93, 0.55];
    }
    if y < 0.18 && (x - 0.5).abs() < (y - 0.12) {
        return [0.25, 0.10, 0.12];
    }
    if y > 0.83 + (x * PI).sin() * -0.05 {
        return mix([0.30, 0.36, 0.24], [0.16, 0.22, 0.16], (y - 0.8) * 5.0);
    }
    if y > 0.62 {
        let glint = ((y - 0.62) * 260.0 + (x * 40.0).sin() * 2.0).sin() * 0.05;
        return mix([0.36, 0.60, 0.72], [0.08, 0.28, 0.44], (y - 0.62) * 3.5).map(|channel| channel + glint);
    }
    mix([0.28, 0.52, 0.82], [0.92, 0.88, 0.82], y * 1.6)
}

/// A ring with a star in it, transparent around both.
fn badge(side: u32) -> RgbaImage {
    RgbaImage::from_fn(side, side, |x, y| {
        let point = |at: u32| (at as f32 + 0.5) / side as f32 * 2.0 - 1.0;
        let (dx, dy) = (point(x), point(y));
        let (radius, turn) = (dx.hypot(dy), dx.atan2(-dy));
        let star = 0.42 + 0.18 * (turn * 5.0).cos();
        let soft = |inside: f32| (inside * side as f32 / 4.0).clamp(0.0, 1.0);
        let (ring, star) = (soft(0.09 - (radius - 0.86).abs()), soft(star - radius));
        let [r, g, b] = if ring > star { [0.12, 0.32, 0.45] } else { [0.95, 0.68, 0.15] };
        Rgba([r, g, b, ring.max(star)].map(byte))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::demo::images::{ImageProblem, metadata, renditions};

    #[test]
    fn twelve_good_pictures_and_a_broken_one() {
        let dir = tempfile::tempdir().unwrap();
        let paths = write_to(dir.path()).unwrap();
        assert_eq!(paths.len(), 13);
        assert!(paths.is_sorted());
        let mut formats = BTreeSet::new();
        for path in &paths {
            let bytes = fs::read(path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let made = renditions(&bytes, name);
            if name == BROKEN {
                assert!(matches!(made, Err(ImageProblem::Broken { format: "png", .. })), "{made:?}");
            } else {
                assert_eq!(made.unwrap().len(), 3, "{name}");
                formats.insert(metadata(&bytes).unwrap().format);
            }
        }
        assert_eq!(formats.into_iter().collect::<Vec<_>>(), ["jpeg", "png", "webp"]);
    }

    #[test]
    fn every_painting_is_a_picture_and_not_a_blank() {
        for (name, _, _, painting) in PAINTINGS {
            let small = paint(64, 64, painting).into_rgb8();
            let colours: BTreeSet<[u8; 3]> = small.pixels().map(|pixel| pixel.0).collect();
            assert!(colours.len() > 8, "{name} has {} colours", colours.len());
            assert_eq!(small, paint(64, 64, painting).into_rgb8(), "{name} differs from itself");
        }
    }

    #[test]
    fn the_badge_is_transparent_around_its_star() {
        let badge = badge(128);
        assert_eq!(badge.get_pixel(0, 0).0[3], 0);
        assert_eq!(badge.get_pixel(64, 64).0, [242, 173, 38, 255]);
    }
}
