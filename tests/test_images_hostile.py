"""Other people's pictures: what their pixels mean, and what files that mean harm may cost."""

import io
import itertools
import json
import logging
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from cbirkit import ImageCollection
from cbirkit.evaluation import survey
from cbirkit.images import ImageProblem, collection, files, read_image, read_thumbnail, to_rgb

RNG = np.random.default_rng(0)
PHOTO = np.asarray(
    Image.fromarray(RNG.integers(0, 256, (6, 8, 3), np.uint8)).resize(
        (64, 48), Image.Resampling.BICUBIC
    )
)
GREY = PHOTO[:, :, 1]
WIDE = GREY.astype(np.uint16) * 257
_D65, _SRGB = (0.3127, 0.329), (0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_ADOBE = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
DISPLAY_P3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
SPACES = {
    "P3": (_D65, DISPLAY_P3, None),
    "Adobe": (_D65, _ADOBE, 2.2),
    "linear": (_D65, _SRGB, 1.0),
}


def made_profile(white, primaries, gamma):
    """An ICC profile by its primaries (x, y of red, green, blue), white and gamma (None: the curve of sRGB)."""
    x, y = np.array([white, *zip(primaries[::2], primaries[1::2], strict=True)], float).T
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])  # (3, white and primaries)
    d50 = np.array([0.9642, 1, 0.8249])
    rgb = xyz[:, 1:] * np.linalg.solve(xyz[:, 1:], xyz[:, 0])
    scale = (_BRADFORD @ d50) / (_BRADFORD @ xyz[:, 0])
    rgb = np.linalg.solve(_BRADFORD, scale[:, None] * (_BRADFORD @ rgb))
    fixed = lambda values: b"".join(struct.pack(">i", round(v * 65536)) for v in values)
    if gamma is None:
        curve = b"para\0\0\0\0\0\3\0\0" + fixed((2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
    else:
        curve = b"para\0\0\0\0\0\0\0\0" + fixed((gamma,))
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(d50), b"desc": b"mluc\0\0\0\0\0\0\0\0\0\0\0\x0c"}
    for name, column in zip((b"r", b"g", b"b"), rgb.T, strict=True):
        tags |= {name + b"XYZ": b"XYZ \0\0\0\0" + fixed(column), name + b"TRC": curve}
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for sign, data in tags.items():
        table += sign + struct.pack(">II", start + len(body), len(data))
        body += data
    head = (
        struct.pack(">I", start + len(body))
        + b"\0\0\0\0\4\x30\0\0mntrRGB XYZ "
        + struct.pack(">6H", 2024, 1, 1, 0, 0, 0)
    )
    head += b"acsp" + bytes(28) + fixed(d50)
    return head.ljust(128, b"\0") + table + body


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def off(data, wanted, **options):
    """Largest and mean error in grey levels."""
    error = np.abs(
        read_image(data, **options).astype(int)
        - (wanted if np.ndim(wanted) == 3 else np.asarray(wanted)[..., None])
    )
    return error.max(), error.mean()


def in_space(pixels, profile):
    source, target = ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(profile))
    image = ImageCms.profileToProfile(Image.fromarray(pixels), source, target, renderingIntent=1)
    image.info.clear()  # Pillow saves the profile that it finds there
    return image


# ---------------------------------------------------------------------- colours


@pytest.mark.parametrize(
    "kind,options",
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("WEBP", {"lossless": True}),
        ("JPEG", {"quality": 98, "subsampling": 0}),
    ],
)
@pytest.mark.parametrize("space", SPACES)
def test_embedded_profiles_are_converted_in_every_format(tmp_path, kind, options, space):
    profile = made_profile(*SPACES[space])
    mild = (60 + PHOTO * 0.5).astype(np.uint8)  # inside every gamut
    (tmp_path / "a.x").write_bytes(
        data := saved(in_space(mild, profile), kind, icc_profile=profile, **options)
    )
    assert off(data, mild)[1] < 2 < off(saved(in_space(mild, profile), kind, **options), mild)[1]
    images = ImageCollection.from_folder(tmp_path)
    for seen in (images[0], images.thumbnail(0, 64), read_image(Image.open(io.BytesIO(data)))):
        assert np.array_equal(seen, read_image(data))


def test_profiles_of_grey_palette_and_transparent_pictures():
    profile = made_profile(_D65, _SRGB, 1.0)
    colours = in_space(PHOTO, profile)
    wanted = read_image(saved(colours, icc_profile=profile))
    clear = colours.convert("RGBA")
    assert np.array_equal(read_image(saved(clear, icc_profile=profile)), wanted)
    clear.putpixel((0, 0), (1, 2, 3, 0))
    assert (seen := read_image(saved(clear, icc_profile=profile)))[0, 0].tolist() == [
        255
    ] * 3 and np.array_equal(seen[1:], wanted[1:])
    few = colours.quantize(16)
    assert np.array_equal(
        read_image(saved(few, icc_profile=profile)),
        read_image(saved(few.convert("RGB"), icc_profile=profile)),
    )
    grey = colours.convert("L")
    assert np.array_equal(
        read_image(saved(grey, icc_profile=profile)),
        read_image(saved(grey.convert("RGB"), icc_profile=profile)),
    )


def test_no_profile_an_srgb_one_and_a_broken_one_leave_the_pixels(caplog):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (None, srgb):
        assert off(saved(Image.fromarray(PHOTO), icc_profile=profile), PHOTO) == (0, 0)
    assert not caplog.records
    for broken in (
        b"nothing" * 30,
        srgb[:200],
        made_profile(_D65, _ADOBE, 2.2).replace(b"RGB XYZ", b"CMYKXYZ"),
    ):
        assert off(saved(Image.fromarray(PHOTO), icc_profile=broken), PHOTO) == (0, 0)
    assert "colour profile is broken" in caplog.text


def test_cmyk_with_a_profile_that_is_not_cmyk_and_without():
    ink = Image.fromarray(PHOTO).convert("CMYK")
    for kind in ("JPEG", "TIFF"):
        plain = read_image(saved(ink, kind))
        assert np.abs(plain.astype(int) - PHOTO).mean() < 12
        assert np.array_equal(
            read_image(saved(ink, kind, icc_profile=made_profile(*SPACES["P3"]))), plain
        )


# ---------------------------------------------------------------------- samples


def tiff(values, photometric=1, bits=8, kind=1, order="<", more=()):
    """A TIFF of one sample a pixel, written by hand, so that another library's habits play no part."""
    height, width = values.shape
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 0), (277, 3, 1),
            (278, 4, height), (279, 4, len(data)), (339, 3, kind), *more]  # fmt: skip
    start = 8 + 2 + 12 * len(tags) + 4
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    for tag, form, value in sorted(tags):
        value = start if tag == 273 else value
        out += struct.pack(order + "HHI", tag, form, 1) + struct.pack(
            order + ("HH" if form == 3 else "I"), *([value, 0] if form == 3 else [value])
        )
    return out + b"\0" * 4 + data


HOLE = np.arange(GREY.size).reshape(GREY.shape) == 7
UNIT = (GREY / 255).astype("f4")
ODD = {
    "8 bits, white is zero": tiff(255 - GREY, 0),
    "16 bits": tiff(WIDE, 1, 16),
    "16 bits, white is zero": tiff(65535 - WIDE, 0, 16),
    "8 bits signed": tiff((GREY.astype(int) - 128).astype("i1"), 1, 8, 2),
    "16 bits signed": tiff((WIDE.astype(int) - 32768).astype("i2"), 1, 16, 2),
    "32 bits": tiff(GREY.astype("u4") * 16843009, 1, 32),
    "32 bits signed": tiff(GREY.astype("i4"), 1, 32, 2),
    "float": tiff(UNIT, 1, 32, 3),
    "float, white is zero": tiff(1 - UNIT, 0, 32, 3),
    "float 0 to 255": tiff(GREY.astype("f4"), 1, 32, 3),
    "double": tiff(GREY / 255, 1, 64, 3),
    **{f"float with {hole}": tiff(np.where(HOLE, np.float32(hole), UNIT), 1, 32, 3) for hole in (-9999, 1e20, -3.4e38, np.inf, np.nan)},
    **{f"big-endian {bits}": tiff(v, 1, bits, kind, ">") for v, bits, kind in ((WIDE, 16, 1), (UNIT, 32, 3), (GREY.astype("i4"), 32, 2))},
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_samples_of_tiff_are_right_or_refused_with_a_reason(what):
    try:
        error = np.abs(read_image(ODD[what])[..., 0].astype(int) - GREY)[~HOLE].max()
    except ImageProblem:
        assert "signed" in what or "32 bits" in what or "double" in what or "big" in what
    else:
        assert error <= 1


def test_tiff_written_by_another_library():
    tifffile = pytest.importorskip("tifffile")
    refused = 0
    for values, order, compression, plane in itertools.product(
        (PHOTO, PHOTO.astype("u2") * 257, UNIT, np.dstack([GREY, GREY * 0 + 255])),
        "<>",
        (None, "zlib"),
        ("contig", "separate"),
    ):
        if values.ndim == 2 and plane == "separate":
            continue
        pixels = np.ascontiguousarray(np.moveaxis(values, 2, 0)) if plane == "separate" else values
        colours = (
            {"photometric": "rgb"} if values.shape[2:] == (3,) else {"photometric": "minisblack"}
        )
        more = (
            {"planarconfig": plane, "extrasamples": ["unassalpha"]}
            if values.shape[2:] == (2,)
            else {"planarconfig": plane}
            if values.ndim == 3
            else {}
        )
        file = io.BytesIO()
        tifffile.imwrite(file, pixels, byteorder=order, compression=compression, **colours, **more)
        try:
            assert off(file.getvalue(), PHOTO if values.shape[2:] == (3,) else GREY)[0] <= 1
        except ImageProblem:
            refused += 1
    assert refused <= 8


def png(depth, colour, values):
    """A PNG written by hand: values (h, w) or (h, w, c) of so many bits."""
    rows = values.reshape(len(values), -1)
    if depth < 8:
        rows = [
            np.packbits((row[:, None] >> np.arange(depth)[::-1] & 1).astype(np.uint8)).tobytes()
            for row in rows
        ]
    else:
        rows = [row.astype(">u2" if depth == 16 else "u1").tobytes() for row in rows]
    parts = {b"IHDR": struct.pack(">2I5B", values.shape[1], values.shape[0], depth, colour, 0, 0, 0), b"IDAT": zlib.compress(b"".join(b"\0" + row for row in rows)),
             b"IEND": b""}  # fmt: skip
    made = [
        struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
        for t, d in parts.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_png_of_every_depth(depth):
    top = 2**depth - 1
    values = np.round(GREY / 255 * top).astype(np.uint32)
    wanted = np.round(values * (255 / top))
    assert off(png(depth, 0, values), wanted)[0] <= 1
    if depth >= 8:
        colours = PHOTO.astype(np.uint32) * (257 if depth == 16 else 1)
        assert off(png(depth, 2, colours), PHOTO)[0] <= 1
        opaque = np.full((*GREY.shape, 1), top, np.uint32)
        assert off(png(depth, 6, np.dstack([colours, opaque])), PHOTO)[0] <= 1
        assert off(png(depth, 4, np.dstack([values, opaque])), GREY)[0] <= 1


@pytest.mark.parametrize("top", [1, 15, 100, 255, 1023, 65535])
def test_portable_maps_of_every_maximum(top):
    for plain, colour in itertools.product((True, False), (True, False)):
        values = np.round((PHOTO if colour else GREY) / 255 * top).astype(int)
        head = f"P{2 + colour + 3 * (not plain)}\n64 48\n{top}\n".encode()
        body = (
            " ".join(map(str, values.ravel())).encode()
            if plain
            else values.astype("u1" if top < 256 else ">u2").tobytes()
        )
        assert off(head + body, np.round(values * (255 / top)))[0] <= 1


@pytest.mark.parametrize("alpha,same", [(255, True), (0, True), (128, False)])
def test_bmp_whose_alpha_nobody_filled(alpha, same):
    pixels = np.dstack([PHOTO[..., ::-1], np.full(GREY.shape, alpha, np.uint8)])[::-1].tobytes()
    head = struct.pack(
        "<IiiHHIIiiII4I4s",
        124,
        64,
        48,
        1,
        32,
        3,
        len(pixels),
        0,
        0,
        0,
        0,
        0xFF0000,
        0xFF00,
        0xFF,
        0xFF000000,
        b"BGRs",
    )
    data = (
        b"BM" + struct.pack("<IHHI", 138 + len(pixels), 0, 0, 138) + head.ljust(124, b"\0") + pixels
    )
    assert np.array_equal(read_image(data), PHOTO) == same


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_in_every_format_and_as_stored(kind, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    data = saved(
        Image.fromarray(PHOTO), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {})
    )
    upright = np.asarray(
        Image.fromarray(
            read_image(
                saved(
                    Image.fromarray(PHOTO), kind, **({"lossless": True} if kind == "WEBP" else {})
                )
            )
        )
    )
    turned = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.swapaxes(0, 1),
              6: np.rot90(upright, -1), 7: np.rot90(upright[::-1, ::-1], 1)[::-1], 8: np.rot90(upright)}[turn]  # fmt: skip
    assert np.array_equal(read_image(data, upright=False), upright)
    assert np.array_equal(
        read_image(data), turned if turn != 7 else upright[::-1, ::-1].swapaxes(0, 1)
    )
    assert files.size_in_head(data) == read_image(data).shape[1::-1]
    assert np.array_equal(read_thumbnail(data, 64), read_image(data))


@pytest.mark.parametrize("white,ground", [(255, 0), (245, 0), (100, 255), (0, 255)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "array"])
def test_drawings_on_nothing_keep_their_shape(white, ground, mode):
    seen = []
    for part in ((slice(8, 24), slice(8, 24)), (slice(30, 60), slice(20, 50))):
        pixels = np.zeros((64, 64, 4), np.uint8)
        pixels[part] = [white, white, white, 255]
        image = Image.fromarray(pixels)
        seen.append(
            to_rgb(pixels)
            if mode == "array"
            else read_image(saved(image if mode == "RGBA" else image.convert(mode)))
        )
        assert (
            abs(int(seen[-1][0, 0, 0]) - ground) < 2
            and abs(int(seen[-1][part][0, 0, 0]) - white) < 2
        )
    assert not np.array_equal(*seen)


@pytest.mark.parametrize(
    "mode",
    [
        "1",
        "L",
        "LA",
        "P",
        "PA",
        "RGB",
        "RGBA",
        "RGBa",
        "RGBX",
        "CMYK",
        "YCbCr",
        "LAB",
        "HSV",
        "I",
        "I;16",
        "I;16B",
        "F",
    ],
)
def test_pil_images_of_every_mode(mode):
    base = Image.fromarray(PHOTO)
    if mode in ("I", "I;16", "I;16B", "F"):
        image = base.convert("L").convert("I" if mode != "F" else "F")
        image = image.convert(mode) if mode.startswith("I;") else image
        assert read_image(image).shape == PHOTO.shape
        return
    steps = {"RGBa": "RGBA", "PA": "P"}
    image = base.convert("RGBA" if mode == "RGBa" else steps.get(mode, "RGB")).convert(mode)
    wanted = np.asarray(
        base.convert("L").convert("RGB") if mode in ("1", "L", "LA") else base
    ).astype(int)
    assert np.abs(read_image(image) - wanted).mean() < (140 if mode in ("1", "P", "PA") else 4)


def test_arrays_of_every_type():
    torch, pandas = pytest.importorskip("torch"), pytest.importorskip("pandas")
    for dtype in (np.uint8, np.int16, np.int32, np.int64):
        assert np.array_equal(to_rgb(PHOTO.astype(dtype)), PHOTO)
    for dtype in (np.float16, np.float32, np.float64):
        assert np.abs(to_rgb((PHOTO / 255).astype(dtype)).astype(int) - PHOTO).max() <= 1
    assert np.array_equal(to_rgb(torch.from_numpy(PHOTO.copy())), PHOTO) and np.array_equal(
        to_rgb(pandas.DataFrame(GREY))[..., 0], GREY
    )
    for bad, words in (
        (np.full((4, 4), np.nan), "0..1"), (torch.zeros(4, 9, 9), "channel-first"),
        (GREY.astype(complex), "numbers"),
    ):  # fmt: skip
        with pytest.raises(ImageProblem, match=words):
            to_rgb(bad)


# ---------------------------------------------------------------------- ends


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_without_its_end_marker_is_read_and_a_truncated_one_is_not(mode, options, tmp_path):
    data = saved(Image.fromarray(np.tile(PHOTO, (3, 3, 1))).convert(mode), "JPEG", **options)
    whole, path = read_image(data), tmp_path / "a.jpg"
    for cut in (1, 2):
        path.write_bytes(data[:-cut])
        for source in (path, data[:-cut], io.BytesIO(data[:-cut])):
            assert np.array_equal(read_image(source), whole)
        assert np.array_equal(read_thumbnail(path, 32), read_thumbnail(data, 32))
    for cut in (40, len(data) // 3, len(data) // 2):
        with pytest.raises(ImageProblem, match="truncated"):
            read_image(data[:-cut])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "MPO", "PPM"])
def test_what_follows_the_pixels_does_not_matter(kind):
    options = (
        {"save_all": True, "append_images": [Image.fromarray(PHOTO[::-1])]} if kind == "MPO" else {}
    )
    data = saved(Image.fromarray(PHOTO), kind, **options)
    whole = read_image(data)
    cut = {"PNG": 12, "GIF": 1}.get(kind, 0)
    for more in (data + b"garbage" * 99, data[: len(data) - cut]):
        assert np.array_equal(read_image(more), whole)


# ---------------------------------------------------------------------- what files may cost


def test_files_of_every_format_odd_and_mutated_are_read_or_refused():
    program = Path(__file__).with_name("hostile_files.py")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(["." if not p else p for p in sys.path]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, program, "500"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    found = json.loads(done.stdout)
    assert (
        found["read"] > 200 and found["refused"] > 200 and found["read"] + found["refused"] == 1000
    )
    assert found["peak"] < 1_500_000_000


def sparse(folder, name, head, size):
    with open(folder / name, "wb") as file:
        file.write(head)
        file.truncate(size)
    return folder / name


@pytest.mark.parametrize("name,head,size", [
    ("a.webp", b"RIFF\0\0\0\0WEBPVP8L", 3 << 30), ("a.jpg", b"\xff\xd8\xff\xe0", 30 << 30), ("b.jpg", b"\xff\xd8\xff\xe0", 900 << 20),
    ("a.gif", b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0, 0, 0), 1 << 30), ("a.png", b"\x89PNG\r\n\x1a\n", 900 << 20),
])  # fmt: skip
def test_files_are_not_read_further_than_a_picture_goes(tmp_path, monkeypatch, name, head, size):
    given, read = [], files._File.read
    monkeypatch.setattr(
        files._File, "read", lambda self, n=-1: given.append(d := read(self, n)) or d
    )
    path = sparse(tmp_path, name, head, size)
    tracemalloc.start()
    with pytest.raises(ImageProblem) as caught:
        read_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    n_read = sum(map(len, given))
    assert (n_read > 0) == (size <= files.MAX_BYTES) and n_read <= files._OPEN_BYTES + files._BLOCK
    assert len(given) < 200_000 and peak < 300e6
    if size > files.MAX_PIXELS * 20:
        with pytest.raises(ImageProblem, match="too large a file"):
            ImageCollection.from_files([path]).digest(0)
    assert caught.value.reason


def test_scans_of_a_jpeg_are_counted():
    data = saved(Image.fromarray(PHOTO), "JPEG", progressive=True)
    scan = data[data.rfind(b"\xff\xda") : -2]
    assert read_image(data[:-2] + scan * 20 + b"\xff\xd9").shape == PHOTO.shape
    with pytest.raises(ImageProblem, match="more data than"):
        read_image(data[:-2] + scan * 5000 + b"\xff\xd9")


@pytest.mark.parametrize(
    "mode,kind",
    [
        ("RGB", "PNG"),
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("F", "TIFF"),
        ("RGBA", "WEBP"),
        ("I;16", "TIFF"),
    ],
)
def test_bytes_a_pixel(mode, kind):
    options = (
        {"transparency": bytes(range(256))}
        if mode == "P"
        else {"lossless": True, "method": 0}
        if kind == "WEBP"
        else {}
    )
    data = saved(
        Image.new("L", (3000, 2000), 7).convert(mode)
        if mode in "PF"
        else Image.new(mode, (3000, 2000), 7),
        kind,
        **options,
    )
    tracemalloc.start()
    read_image(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak / 6e6 < 12


def test_threads_share_a_budget_of_pixels(tmp_path, monkeypatch):
    for number in range(12):
        Image.new("RGBA", (400, 300), (number, 0, 0, 99)).save(tmp_path / f"{number}.png")
        Image.new("RGB", (300, 100 + number)).save(tmp_path / f"{number}.jpg")

    class Watched(files._Decoding):
        most = 0

        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            vars(self)["most"] = max(self.most, vars(self).get("taken", 0))

    gate = Watched(250_000)
    for module in (files, collection):
        monkeypatch.setattr(module, "DECODING", gate)
    monkeypatch.setattr(os, "cpu_count", lambda: 28)
    images = ImageCollection.from_folder(tmp_path)
    assert (
        len(images.verify(progress=False)) == 24 and len(survey(images, progress=False).table) == 24
    )
    assert 120_000 <= gate.most <= 250_000 and gate.taken == 0
    with pytest.raises(ImageProblem), gate.kept():
        read_image(b"none")
    files.read_image(tmp_path / "0.png")
    assert gate.taken == 0


def test_a_picture_beyond_the_budget_is_decoded_alone_and_nothing_waits_for_ever():
    gate = files._Decoding(100)
    order = []

    def one(pixels):
        with gate.kept(), gate.kept(pixels):
            with gate.kept(pixels):  # a second of the same thread does not wait
                order.append(pixels)
            assert gate.taken >= 2 * pixels  # kept to the end of the outermost block

    threads = [
        threading.Thread(target=one, args=(pixels,), daemon=True)
        for pixels in (500, 30, 40, 500, 20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(order) == [20, 30, 40, 500, 500] and gate.taken == 0


def test_raw_files_are_not_taken_for_their_previews(tmp_path):
    (tmp_path / "a.nef").write_bytes(saved(Image.fromarray(PHOTO), "TIFF"))
    with pytest.raises(ImageProblem, match="raw camera data is not read"):
        read_image(tmp_path / "a.nef")
    with pytest.raises(ImageProblem, match="raw camera data is not read"):
        read_image(tiff(GREY, more=[(50706, 4, 1)]))


def test_damaged_tags_warn_nobody(recwarn):
    logging.getLogger("cbirkit").debug("")
    tags = b"".join(struct.pack("<HHII", 270 + i % 9, 2, 5, 999_999) for i in range(2000))
    with pytest.raises(ImageProblem):
        read_image(b"II*\0" + struct.pack("<IH", 8, 2000) + tags)
