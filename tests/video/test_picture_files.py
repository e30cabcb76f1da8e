"""Pictures come out as what one sees in them, whatever they are stored as; or are refused."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from au_dist.core.errors import IngestError
from au_dist.corpora.recordings import Pictures, read
from au_dist.corpora.tree import Entry
from au_dist.video.orientation import EXIF, EXIF_TAG
from au_dist.video.pictures import read_picture
from au_dist.video.video import probe, read_frames


def drawn(height: int = 48, width: int = 64) -> np.ndarray:
    """Grey values from 0 to 255, different in every corner."""
    y, x = np.mgrid[:height, :width]
    return np.rint((x / (width - 1) + 2 * y / (height - 1)) / 3 * 255).astype(np.uint8)


def saved(values: np.ndarray, suffix: str) -> BytesIO:
    file = BytesIO()
    Image.fromarray(values).save(file, suffix)
    return file


def test_sixteen_bit_grey_is_what_eight_bits_are():
    grey = drawn()
    for suffix in ("png", "tiff"):
        notes: list[str] = []
        rgb = read_picture(saved(grey.astype(np.uint16) * 257, suffix), notes=notes)
        np.testing.assert_array_equal(rgb, np.repeat(grey[..., None], 3, axis=2))
        assert notes == ["grey values of more than 8 bits: 0 to 65535 became 0 to 255"]


@pytest.mark.parametrize(
    ("kind", "top", "words"),
    [
        (np.uint16, 255, "0 to 255"),
        (np.uint16, 1023, "0 to 1023"),
        (np.uint16, 4095, "0 to 4095"),
        (np.uint16, 16383, "0 to 16383"),
        (np.int32, 65535, "0 to 65535"),
        (np.int32, 2**31 - 1, "0 to 4294967295"),
        (np.float32, 1.0, "0 to 1"),
        (np.float32, 255.0, "0 to 255"),
        (np.float32, 9000.0, "their own range, 0 to 9000,"),
    ],
)
def test_deep_values_are_scaled_by_the_depth_that_is_used(kind, top, words):
    grey = drawn()
    notes: list[str] = []
    rgb = read_picture(saved((grey / 255 * top).astype(kind), "tiff"), notes=notes)
    expected = grey if top != 2**31 - 1 else grey / 2
    np.testing.assert_allclose(rgb[..., 0].astype(float), expected, atol=1)
    assert notes == [f"grey values of more than 8 bits: {words} became 0 to 255"]


@pytest.mark.parametrize(
    ("kind", "low", "high"), [(np.uint16, 29_000, 31_000), (np.float32, 20, 37), (np.int32, -9, 9)]
)
def test_infrared_with_little_contrast_is_scaled_by_its_own_range(kind, low, high):
    grey = drawn()
    values = (low + grey / 255 * (high - low)).astype(kind)
    rgb = read_picture(saved(values, "tiff"))
    np.testing.assert_allclose(rgb[..., 0].astype(float), grey, atol=255 / min(255, high - low) + 1)


@pytest.mark.parametrize("top", [1000, 40_000])
def test_deep_pictures_that_belong_together_are_scaled_alike(tmp_path, top):
    """Each by itself, a face that turns darker would become light again."""
    values = [(drawn() / 255 * share * top).astype(np.uint16) for share in (0.05, 0.5, 1.0)]
    first, *others = (Image.fromarray(page) for page in values)
    first.save(tmp_path / "pages.tiff", save_all=True, append_images=others)
    for number, page in enumerate(values):
        Image.fromarray(page).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_text("no picture")
    entries = tuple((number, Entry(f"{number}.png", tmp_path / f"{number}.png")) for number in range(4))
    absent = Entry("4.png", tmp_path / "4.png")
    span = 1023 if top == 1000 else 65535
    for frames in (read_frames(tmp_path / "pages.tiff"), read(Pictures((*entries, (4, absent)), 25.0), None)):
        for frame, page in zip(frames, values, strict=True):
            np.testing.assert_array_equal(frame.rgb_HWC[..., 0], np.rint(page / span * 255))


def test_a_broken_pixel_does_not_set_the_range(tmp_path):
    values = (drawn(480, 640) / 255 * 4095).astype(np.uint16)
    broken = values.copy()
    broken[7, 9] = 65535
    Image.fromarray(values).save(tmp_path / "0.png")
    Image.fromarray(broken).save(tmp_path / "1.png")
    entries = tuple((number, Entry(f"{number}.png", tmp_path / f"{number}.png")) for number in range(2))
    whole, dotted = (frame.rgb_HWC[..., 0].astype(int) for frame in read(Pictures(entries, 25.0), None))
    np.testing.assert_allclose(whole, drawn(480, 640), atol=1)
    assert dotted[7, 9] == 255
    assert (whole != dotted).sum() <= 1


def test_big_endian_and_sixteen_bit_colours():
    grey = drawn()
    file = BytesIO()
    Image.frombytes("I;16B", (64, 48), (grey.astype(">u2") * 257).tobytes()).save(file, "tiff")
    np.testing.assert_array_equal(read_picture(file)[..., 1], grey)


def test_what_has_no_numbers_or_no_contrast_is_refused(tmp_path):
    holes = drawn().astype(np.float32)
    holes[3, 4] = np.nan
    with pytest.raises(IngestError, match="not finite"):
        read_picture(saved(holes, "tiff"))
    for kind in (np.uint8, np.uint16, np.int32, np.float32):
        with pytest.raises(IngestError, match="all pixels are equal"):
            read_picture(saved(np.full((8, 8), 7, kind), "tiff"))
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    with pytest.raises(IngestError, match=r"a\.png.*all pixels are equal"):
        list(read_frames(tmp_path / "a.png"))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr"])
def test_kinds_of_pixels(mode):
    colours = np.stack([drawn(), drawn()[::-1], drawn()[:, ::-1]], axis=-1)
    if mode in ("1", "L", "LA"):
        colours = np.repeat(drawn()[..., None], 3, axis=2)
    if mode == "1":
        colours = np.where(colours > 127, 255, 0).astype(np.uint8)
    picture = Image.fromarray(colours).convert("RGB")
    file = BytesIO()
    if mode == "PA":
        picture.convert("P").convert("PA").convert("RGBA").save(file, "png")
    else:
        picture.convert(mode).save(file, {"CMYK": "tiff", "YCbCr": "jpeg"}.get(mode, "png"), quality=95)
    rgb = read_picture(file).astype(float)
    # The palette of the web has 216 colours.
    limit = 30 if mode in ("P", "PA") else 3
    assert np.abs(rgb - colours).mean() < limit
    assert rgb.shape == (48, 64, 3)


def test_adobes_four_colours_in_a_jpeg():
    file = BytesIO()
    Image.fromarray(drawn()).convert("CMYK").save(file, "jpeg", quality=95)
    assert np.abs(read_picture(file)[..., 0].astype(int) - drawn()).mean() < 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_transparent_pixels_are_white_whatever_lies_under_them(mode):
    grey = drawn()
    rubbish = np.random.default_rng(0).integers(0, 255, (48, 20), dtype=np.uint8)
    grey[:, :20] = rubbish if mode in ("RGBA", "LA") else 7
    grey[:, 20:][grey[:, 20:] == 7] = 8
    file = BytesIO()
    if mode in ("RGBA", "LA"):
        picture = Image.fromarray(grey).convert(mode)
        picture.putalpha(Image.fromarray(np.where(np.arange(64) < 20, 0, 255)[None].repeat(48, 0).astype(np.uint8)))
        picture.save(file, "png")
    else:
        picture = Image.fromarray(grey)
        if mode == "P":
            picture = picture.copy()
            picture.putpalette([level for level in range(256) for _ in range(3)])
        picture.convert(mode).save(file, "png", transparency=(7, 7, 7) if mode == "RGB" else 7)
    rgb = read_picture(file)
    assert (rgb[:, :20] == 255).all()
    np.testing.assert_array_equal(rgb[:, 20:, 0], grey[:, 20:])


@pytest.mark.parametrize("tag", EXIF)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_all_orientations_of_exif(tmp_path, tag, suffix):
    grey = drawn()
    # What Pillow does to show a stored picture, the other way round.
    undo = {
        2: "FLIP_LEFT_RIGHT",
        3: "ROTATE_180",
        4: "FLIP_TOP_BOTTOM",
        5: "TRANSPOSE",
        6: "ROTATE_90",
        7: "TRANSVERSE",
    }
    picture = Image.fromarray(grey).convert("RGB")
    stored = picture if tag == 1 else picture.transpose(Image.Transpose[undo.get(tag, "ROTATE_270")])
    exif = stored.getexif()
    exif[EXIF_TAG] = tag
    path = tmp_path / f"a.{suffix}"
    stored.save(path, exif=exif, quality=95)
    (frame,) = read_frames(path)
    np.testing.assert_allclose(frame.rgb_HWC[..., 0].astype(float), grey, atol=12)
    np.testing.assert_array_equal(frame.rgb_HWC, read_picture(path))
    assert frame.orientation == EXIF[tag]
    info = probe(path)
    assert (info.width, info.height, info.frames) == (64, 48, 1)


def moving(count: int = 6) -> list[Image.Image]:
    return [Image.fromarray(np.roll(drawn(), 9 * i, axis=1)).convert("RGB") for i in range(count)]


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("gif", {"duration": 40}),
        ("png", {"duration": 40}),
        ("apng", {"duration": 40, "format": "png"}),
        ("webp", {"duration": 40, "lossless": True}),
        ("tif", {"compression": "tiff_deflate"}),
    ],
)
def test_all_pictures_of_a_file_come_out_in_their_time(tmp_path, suffix, options):
    pictures = moving()
    path = tmp_path / f"a.{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)
    notes: list[str] = []
    frames = list(read_frames(path, notes=notes))
    assert [frame.number for frame in frames] == list(range(6))
    np.testing.assert_allclose([frame.time for frame in frames], [0.04 * i for i in range(6)], atol=1e-9)
    for frame, picture in zip(frames, pictures, strict=True):
        assert np.abs(frame.rgb_HWC.astype(int) - np.asarray(picture)).mean() < 3
    assert probe(path).frames == 6
    assert notes == (["pages have no times: taken as 25 a second"] if suffix == "tif" else [])
    np.testing.assert_array_equal(read_picture(path), frames[0].rgb_HWC)


def test_uneven_times_and_times_too_short_to_be_meant(tmp_path):
    pictures = moving(5)
    for suffix in ("gif", "webp", "png"):
        path = tmp_path / f"a.{suffix}"
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[40, 100, 0, 70, 40])
        times = [frame.time for frame in read_frames(path)]
        np.testing.assert_allclose(times, [0, 0.04, 0.14, 0.24, 0.31], atol=1e-9)


def test_a_picture_for_programs_that_know_no_animation_is_no_frame(tmp_path):
    still, *pictures = moving(4)
    path = tmp_path / "a.png"
    still.save(path, save_all=True, append_images=pictures, duration=40, default_image=True)
    frames = list(read_frames(path))
    assert len(frames) == probe(path).frames == 3
    np.testing.assert_array_equal(frames[0].rgb_HWC, np.asarray(pictures[0]))


@pytest.mark.filterwarnings("ignore:Image appears to be a malformed MPO file")
def test_depth_maps_in_a_jpeg_are_no_frames(tmp_path):
    pictures = moving(3)
    pictures[0].save(tmp_path / "a.jpg", "mpo", save_all=True, append_images=pictures[1:])
    with Image.open(tmp_path / "a.jpg") as picture:
        if picture.format != "MPO":
            pytest.skip("this Pillow writes none")
    assert len(list(read_frames(tmp_path / "a.jpg"))) == probe(tmp_path / "a.jpg").frames == 1


def test_smaller_copies_in_a_tiff_are_no_frames(tmp_path):
    pictures = moving(1)
    small = pictures[0].resize((16, 12))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    pictures[0].save(tmp_path / "a.tif", save_all=True, append_images=[small])
    with Image.open(tmp_path / "a.tif") as picture:
        picture.seek(1)
        if picture.tag_v2.get(254) != 1:
            pytest.skip("this Pillow writes no kind of page")
    (frame,) = read_frames(tmp_path / "a.tif")
    assert frame.rgb_HWC.shape == (48, 64, 3)


def test_pages_of_sixteen_bits_and_black_frames_of_an_animation(tmp_path):
    pages = [Image.fromarray(np.roll(drawn(), 9 * i, axis=1).astype(np.uint16) * 257) for i in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    frames = list(read_frames(tmp_path / "a.tif"))
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.rgb_HWC[..., 2], np.roll(drawn(), 9 * i, axis=1))
    pictures = [Image.new("RGB", (64, 48)), *moving(2)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=40)
    assert len(list(read_frames(tmp_path / "a.gif"))) == 3


def test_avif_is_read_where_pillow_reads_it(tmp_path):
    path = tmp_path / "a.avif"
    try:
        Image.fromarray(drawn()).convert("RGB").save(path, quality=95)
    except (KeyError, ValueError, OSError):
        pytest.skip("this Pillow knows no AVIF")
    (frame,) = read_frames(path)
    assert np.abs(frame.rgb_HWC[..., 0].astype(int) - drawn()).mean() < 4
