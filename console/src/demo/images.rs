//! What a worker of the demo does with a picture: reads its facts and makes three renditions of it.
//!
//! | Rendition | Size | Format |
//! |---|---|---|
//! | `web` | at most 1280 x 1280 | JPEG, on white |
//! | `thumbnail` | at most 140 x 100 | PNG |
//! | `icon` | exactly 48 x 48, cropped to the middle | WebP, lossless |
//!
//! Nothing is enlarged; what is smaller than an icon is put in the middle of a transparent one. Pictures are turned
//! the way their camera says. Both functions work on memory only and keep a processor busy: call them where blocking
//! is allowed. A picture can be hostile, so that it is judged by its header before anything is decoded.

use std::io::Cursor;

use image::{
    DynamicImage, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage, Rgba, RgbaImage,
    codecs::jpeg::JpegEncoder, imageops, imageops::FilterType, metadata::Orientation,
};
use serde::{Deserialize, Serialize};

/// Most pixels of a picture. Decoding takes up to 9 bytes for each (progressive JPEG).
pub const MOST_PIXELS: u64 = 40_000_000;
/// Most bytes that a decoded picture takes; 16 bits a channel reach this before [`MOST_PIXELS`].
const MOST_BYTES: u64 = 256 * 1024 * 1024;

const WEB: u32 = 1280;
const WEB_QUALITY: u8 = 85;
const THUMBNAIL: (u32, u32) = (140, 100);
const ICON: u32 = 48;

/// A picture made from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// File name: that of the original without its extension, `-web.jpg`, `-thumbnail.png` or `-icon.webp`.
    pub name: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The encoded file.
    pub bytes: Vec<u8>,
}

/// Facts about a picture, from its header alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// `jpeg`, `png` or `webp`.
    pub format: String,
    /// Pixels, as it is to be shown.
    pub width: u32,
    /// Pixels, as it is to be shown.
    pub height: u32,
    /// Channels and bits of each, such as `rgb8`.
    pub colour: String,
    /// Whether it can be transparent.
    pub alpha: bool,
    /// How it is to be turned for showing, as in Exif: 1 (not at all) to 8.
    pub orientation: u8,
    /// Whether it carries a colour profile.
    pub profile: bool,
    /// Size of the file.
    pub bytes: u64,
}

/// Why a picture could not be used. All but [`ImageProblem::Unwritable`] are the picture's own fault: trying again is
/// pointless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageProblem {
    /// The content is of another kind.
    #[error("not a picture that can be read; JPEG, PNG and WebP can")]
    Unrecognised,
    /// It would take too much memory.
    #[error("{width} x {height} pixels are too many; at most {} million can be read", MOST_PIXELS / 1_000_000)]
    TooLarge {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// It begins like a picture but is damaged.
    #[error("broken {format} file: {reason}")]
    Broken {
        /// What it begins like.
        format: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// A rendition could not be encoded.
    #[error("cannot write {name}: {reason}")]
    Unwritable {
        /// The rendition.
        name: String,
        /// What the encoder says.
        reason: String,
    },
}

/// Reads the facts of a picture.
///
/// # Errors
/// When its header cannot be read or promises too large a picture.
pub fn metadata(bytes: &[u8]) -> Result<Metadata, ImageProblem> {
    let mut header = Header::read(bytes)?;
    let (width, height) = header.decoder.dimensions();
    let (width, height) = if swaps_sides(header.orientation) { (height, width) } else { (width, height) };
    let colour = header.decoder.color_type();
    Ok(Metadata {
        format: header.format.to_owned(),
        width,
        height,
        colour: format!("{colour:?}").to_lowercase(),
        alpha: colour.has_alpha(),
        orientation: header.orientation.to_exif(),
        profile: matches!(header.decoder.icc_profile(), Ok(Some(_))),
        bytes: bytes.len() as u64,
    })
}

/// Makes the three renditions of the picture in a file of this name: web, thumbnail and icon.
///
/// # Errors
/// When the picture is broken, too large, or of a kind that is not known.
pub fn renditions(bytes: &[u8], file_name: &str) -> Result<Vec<Rendition>, ImageProblem> {
    let Header { format, decoder, orientation } = Header::read(bytes)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| broken(format, &error))?;
    picture.apply_orientation(orientation);
    // The small ones are made from the middle one, which is much cheaper and looks the same.
    let web = shrunk(eight_bits(picture), (WEB, WEB));
    let thumbnail = shrunk(web.clone(), THUMBNAIL);
    let icon = square(&web);
    let web = on_white(&web);
    let stem =
        std::path::Path::new(file_name).file_stem().map_or_else(|| "picture".into(), |stem| stem.to_string_lossy());
    Ok(vec![
        encode(format!("{stem}-web.jpg"), (web.width(), web.height()), |to| {
            JpegEncoder::new_with_quality(to, WEB_QUALITY).encode_image(&web)
        })?,
        encode(format!("{stem}-thumbnail.png"), (thumbnail.width(), thumbnail.height()), |to| {
            thumbnail.write_to(&mut Cursor::new(to), ImageFormat::Png)
        })?,
        encode(format!("{stem}-icon.webp"), icon.dimensions(), |to| {
            let encoder = image::codecs::webp::WebPEncoder::new_lossless(to);
            encoder.write_image(&icon, ICON, ICON, image::ExtendedColorType::Rgba8)
        })?,
    ])
}

/// A picture whose header was read and found bearable.
struct Header<D> {
    format: &'static str,
    decoder: D,
    orientation: Orientation,
}

impl Header<()> {
    fn read(bytes: &[u8]) -> Result<Header<impl ImageDecoder + '_>, ImageProblem> {
        let format = match image::guess_format(bytes) {
            Ok(ImageFormat::Jpeg) => "jpeg",
            Ok(ImageFormat::Png) => "png",
            Ok(ImageFormat::WebP) => "webp",
            Ok(_) | Err(_) => return Err(ImageProblem::Unrecognised),
        };
        let mut reader = ImageReader::new(Cursor::new(bytes));
        reader = reader.with_guessed_format().map_err(|_| ImageProblem::Unrecognised)?;
        let mut limits = Limits::default();
        limits.max_alloc = Some(MOST_BYTES);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(|error| broken(format, &error))?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > MOST_PIXELS || decoder.total_bytes() > MOST_BYTES {
            return Err(ImageProblem::TooLarge { width, height });
        }
        // An unreadable Exif block does not make a picture unreadable.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        Ok(Header { format, decoder, orientation })
    }
}

fn broken(format: &'static str, error: &ImageError) -> ImageProblem {
    ImageProblem::Broken { format, reason: error.to_string() }
}

fn swaps_sides(orientation: Orientation) -> bool {
    orientation.to_exif() >= 5
}

fn eight_bits(picture: DynamicImage) -> DynamicImage {
    if picture.color().has_alpha() { picture.into_rgba8().into() } else { picture.into_rgb8().into() }
}

/// Fits a picture into a box, keeping its proportions and never enlarging it.
fn shrunk(picture: DynamicImage, (width, height): (u32, u32)) -> DynamicImage {
    if picture.width() <= width && picture.height() <= height {
        return picture;
    }
    picture.resize(width, height, FilterType::CatmullRom)
}

fn square(picture: &DynamicImage) -> RgbaImage {
    if picture.width() >= ICON && picture.height() >= ICON {
        return picture.resize_to_fill(ICON, ICON, FilterType::CatmullRom).into_rgba8();
    }
    let small = shrunk(picture.clone(), (ICON, ICON)).into_rgba8();
    let mut icon = RgbaImage::from_pixel(ICON, ICON, Rgba([0; 4]));
    let middle = |side: u32| i64::from((ICON - side) / 2);
    imageops::replace(&mut icon, &small, middle(small.width()), middle(small.height()));
    icon
}

/// JPEG has no transparency; what is transparent becomes white, not the black that is usually behind it.
fn on_white(picture: &DynamicImage) -> RgbImage {
    let DynamicImage::ImageRgba8(picture) = picture else { return picture.to_rgb8() };
    let mut white = RgbaImage::from_pixel(picture.width(), picture.height(), Rgba([255; 4]));
    imageops::overlay(&mut white, picture, 0, 0);
    DynamicImage::from(white).into_rgb8()
}

fn encode(
    name: String,
    (width, height): (u32, u32),
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), ImageError>,
) -> Result<Rendition, ImageProblem> {
    let mut bytes = Vec::new();
    match write(&mut bytes) {
        Ok(()) => Ok(Rendition { name, width, height, bytes }),
        Err(error) => Err(ImageProblem::Unwritable { name, reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use image::{GenericImageView, ImageBuffer, Luma, Rgb};

    use super::*;

    fn file(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn plain(width: u32, height: u32) -> DynamicImage {
        RgbImage::from_pixel(width, height, Rgb([200, 40, 40])).into()
    }

    /// Name, size and decoded content of each rendition.
    fn made(bytes: &[u8], name: &str) -> Vec<(String, (u32, u32), DynamicImage)> {
        let made = renditions(bytes, name).unwrap();
        made.into_iter()
            .map(|rendition| {
                let picture = image::load_from_memory(&rendition.bytes).unwrap();
                assert_eq!(picture.dimensions(), (rendition.width, rendition.height), "{}", rendition.name);
                (rendition.name, picture.dimensions(), picture)
            })
            .collect()
    }

    fn sizes(picture: &DynamicImage) -> Vec<(u32, u32)> {
        made(&file(picture, ImageFormat::Png), "x.png").into_iter().map(|(_, size, _)| size).collect()
    }

    #[test]
    fn three_renditions_in_three_formats() {
        let made = renditions(&file(&plain(300, 200), ImageFormat::Jpeg), "holiday/beach.2024.jpeg").unwrap();
        let names: Vec<&str> = made.iter().map(|rendition| rendition.name.as_str()).collect();
        assert_eq!(names, ["beach.2024-web.jpg", "beach.2024-thumbnail.png", "beach.2024-icon.webp"]);
        let formats = made.iter().map(|rendition| image::guess_format(&rendition.bytes).unwrap());
        assert_eq!(formats.collect::<Vec<_>>(), [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP]);
    }

    #[test]
    fn proportions_are_kept_and_nothing_is_enlarged() {
        assert_eq!(sizes(&plain(2560, 640)), [(1280, 320), (140, 35), (48, 48)]);
        assert_eq!(sizes(&plain(300, 600)), [(300, 600), (50, 100), (48, 48)]);
        assert_eq!(sizes(&plain(30, 20)), [(30, 20), (30, 20), (48, 48)]);
        assert_eq!(sizes(&plain(1, 1)), [(1, 1), (1, 1), (48, 48)]);
        assert_eq!(sizes(&plain(4000, 1)), [(1280, 1), (140, 1), (48, 48)]);
    }

    #[test]
    fn a_small_picture_is_put_in_the_middle_of_its_icon() {
        let icon = &made(&file(&plain(30, 20), ImageFormat::Png), "x")[2].2;
        assert_eq!(icon.get_pixel(24, 24), Rgba([200, 40, 40, 255]));
        assert_eq!(icon.get_pixel(8, 24).0[3], 0);
        assert_eq!(icon.get_pixel(24, 13).0[3], 0);
    }

    #[test]
    fn transparency_is_kept_but_white_in_jpeg() {
        let clear = DynamicImage::from(RgbaImage::from_pixel(60, 60, Rgba([0, 0, 0, 0])));
        let made = made(&file(&clear, ImageFormat::WebP), "x.webp");
        assert_eq!(made[0].2.get_pixel(30, 30), Rgba([255; 4]));
        assert_eq!(made[1].2.get_pixel(30, 30).0[3], 0);
        assert_eq!(made[2].2.get_pixel(30, 30).0[3], 0);
    }

    #[test]
    fn sixteen_bits_and_grey_are_fine() {
        let grey: DynamicImage = ImageBuffer::<Luma<u16>, _>::from_pixel(100, 50, Luma([40_000_u16])).into();
        let bytes = file(&grey, ImageFormat::Png);
        assert_eq!(metadata(&bytes).unwrap().colour, "l16");
        assert_eq!(made(&bytes, "x")[0].1, (100, 50));
    }

    #[test]
    fn facts() {
        let bytes = file(&plain(31, 17), ImageFormat::WebP);
        let expect = Metadata {
            format: "webp".into(),
            width: 31,
            height: 17,
            colour: "rgb8".into(),
            alpha: false,
            orientation: 1,
            profile: false,
            bytes: bytes.len() as u64,
        };
        assert_eq!(metadata(&bytes), Ok(expect));
        assert_eq!(metadata(&file(&plain(3, 3), ImageFormat::Jpeg)).unwrap().format, "jpeg");
        let clear = DynamicImage::new_rgba8(2, 2);
        assert!(metadata(&file(&clear, ImageFormat::Png)).unwrap().alpha);
    }

    #[test]
    fn a_picture_is_turned_as_its_camera_says() {
        // Exif, big endian, one entry: orientation (0x0112), a short, 6: turn by 90 degrees.
        let exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new(&mut bytes);
        encoder.set_exif_metadata(exif).unwrap();
        encoder.encode_image(&plain(64, 32)).unwrap();
        let facts = metadata(&bytes).unwrap();
        assert_eq!((facts.width, facts.height, facts.orientation), (32, 64, 6));
        assert_eq!(made(&bytes, "x")[0].1, (32, 64));
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        for bytes in [&b""[..], b"hello", b"GIF89a...............", b"\xff\xd8"] {
            assert_eq!(renditions(bytes, "x"), Err(ImageProblem::Unrecognised), "{bytes:?}");
            assert_eq!(metadata(bytes), Err(ImageProblem::Unrecognised), "{bytes:?}");
        }
    }

    #[test]
    fn a_damaged_picture_is_told_as_such() {
        for format in [ImageFormat::Png, ImageFormat::WebP] {
            let whole = file(&plain(300, 300), format);
            let problem = renditions(&whole[..whole.len() / 2], "x").unwrap_err();
            assert!(matches!(problem, ImageProblem::Broken { .. }), "{format:?}: {problem}");
        }
        let whole = file(&plain(300, 300), ImageFormat::Jpeg);
        assert!(matches!(renditions(&whole[..40], "x"), Err(ImageProblem::Broken { format: "jpeg", .. })));
    }

    /// Files of a few bytes that promise more than a machine has.
    #[test]
    fn a_hostile_picture_is_refused_by_its_header() {
        let mut png = file(&plain(1, 1), ImageFormat::Png);
        png[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let crc = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&crc.to_be_bytes());
        let too_large = ImageProblem::TooLarge { width: 65_536, height: 65_536 };
        assert_eq!(metadata(&png), Err(too_large.clone()));
        assert_eq!(renditions(&png, "x"), Err(too_large));

        let mut jpeg = file(&plain(8, 8), ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
        assert_eq!(renditions(&jpeg, "x"), Err(ImageProblem::TooLarge { width: 65_535, height: 65_535 }));
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
        })
    }
}
