"""The parameters of the tabletop world: reproducible, independent of the category, true. Nothing here needs Blender."""

import ast
import csv
import gzip
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tabletop import pack, parameters, scenes, shapes, tables
from tabletop.camera import Camera, enclosing_circle
from tabletop.catalogue import CATEGORIES, GROUPS

ROOT = Path(__file__).resolve().parent.parent


def run_python(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=ROOT / "tools", capture_output=True, text=True, timeout=300, check=False
    )


def camera_of(row):
    position = [row[f"camera_{axis}"] for axis in "xyz"]
    return Camera(
        position, row["elevation"], row["lens"], (row.get("shift_x", 0), row.get("shift_y", 0))
    )


def test_catalogue_has_a_hierarchy_of_small_functions():
    assert (
        len(CATEGORIES) == sum(map(len, GROUPS.values())) >= 36
    )  # so no name stands in two groups
    assert len(GROUPS) >= 6 and min(map(len, GROUPS.values())) >= 6
    assert max(len(inspect.getsourcelines(shape)[0]) for shape in CATEGORIES.values()) <= 40
    unseen = parameters.unseen_categories()
    assert all(2 <= len(unseen & set(names)) <= len(names) / 2 for names in GROUPS.values())


@pytest.mark.parametrize("category", CATEGORIES)
def test_instances_are_whole_meshes_of_one_size(category):
    for seed in (0, 1):
        vertices, faces, surfaces = parameters.mesh_of(category, seed)
        assert np.isfinite(vertices).all() and vertices[:, 2].min() == pytest.approx(0)
        middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        assert np.linalg.norm(vertices - middle, axis=1).max() == pytest.approx(1)
        assert 0 <= min(map(min, faces)) and max(map(max, faces)) < len(vertices)
        assert len(surfaces) == len(faces) and set(surfaces) <= set(range(len(shapes.SURFACES)))
    again = shapes.join(CATEGORIES[category](np.random.default_rng(1)))[0]
    np.testing.assert_array_equal(again, vertices)
    assert not np.array_equal(parameters.mesh_of(category, 0)[0], vertices)


def test_tables_follow_from_their_seed_alone(monkeypatch):
    keys = ["mug_0_0", "ice_cream_5_7", "car_3_2"]
    rows = [parameters.row(key) for key in keys] + [scenes.row("scene_013")]
    code = f"from tabletop import parameters, scenes; print([parameters.row(k) for k in {keys}] + [scenes.row('scene_013')])"
    assert ast.literal_eval(run_python(code).stdout) == rows
    monkeypatch.setattr(parameters, "SEED", parameters.SEED + 1)
    assert parameters.row("mug_0_0")["shape_seed"] != rows[0]["shape_seed"]


def test_names_of_pictures_are_unique_and_views_of_an_instance_share_its_look():
    names = [name for keys, _ in tables.PARTS.values() for name in keys()]
    assert len(names) == len(set(names))
    assert len(parameters.keys()) == len(CATEGORIES) * parameters.N_INSTANCES * parameters.N_VIEWS
    first, second = parameters.row("teapot_2_0"), parameters.row("teapot_2_5")
    same = ("shape_seed", "material", "pattern", "colour", "accent", "instance")
    assert [first[name] for name in same] == [second[name] for name in same]
    assert first["azimuth"] != second["azimuth"] and first["split"] == "query" != second["split"]


@pytest.mark.parametrize("key", ["mug_0_0", "pencil_1_3", "bed_2_5", "scissors_4_1"])
def test_an_object_fills_the_circle_that_was_drawn_for_it(key):
    row = parameters.row(key)
    vertices = parameters.mesh_of(row["category"], row["shape_seed"])[0]
    turned = shapes.Part(vertices, []).turn("z", row["azimuth"]).vertices
    centre, radius = enclosing_circle(camera_of(row).project(turned))
    assert radius == pytest.approx(row["circle_radius"], rel=0.01)
    assert centre == pytest.approx((row["circle_x"], row["circle_y"]), abs=0.005)


def test_camera_projects_as_a_pinhole_does():
    camera = Camera((0, -10, 0), 0, 36.0, (0.1, 0))
    assert camera.project([(0, 0, 0), (1, 0, 2)]) == pytest.approx(
        np.array([(-0.1, 0), (0.0, 0.2)])
    )


@pytest.mark.parametrize(
    "points", [[(0, 0), (2, 0)], [(0, 0), (4, 0), (2, 0.1)], [(0, 0), (1, 0), (0, 1), (1, 1)]]
)
def test_enclosing_circle(points):
    _, radius = enclosing_circle(points)
    extent = np.ptp(points, axis=0)
    assert radius == pytest.approx(
        np.hypot(*extent) / 2 if len(points) == 4 else extent[0] / 2, rel=0.01
    )


@pytest.mark.parametrize("key", ["scene_001", "scene_016", "scene_029", "scene_033", "scene_048"])
def test_scenes_say_what_they_hold(key):
    row = scenes.row(key)
    things, camera = row["objects"], camera_of(row)
    assert 3 <= len(things) <= 7 and len({thing["category"] for thing in things}) == len(things)
    for thing in things:
        points = camera.project(scenes._placed(thing))
        assert np.abs(points).max() <= 0.5 and thing["area"] > 20
        if thing["bearer"] < 0:
            low, high = scenes.SIZES[thing["size"]]
            assert low * 0.95 <= enclosing_circle(points)[1] <= high * 1.05
    assert row["relations"]
    for i, relation, j in row["relations"]:
        a, b = things[i], things[j]
        assert {
            "left of": a["x"] < b["x"],
            "in front of": a["y"] < b["y"],
            "on": a["z"] > 0 and (a["x"], a["y"]) == (b["x"], b["y"]),
            "inside": a["z"] > 0 and a["scale"] < b["scale"],
        }[relation]
    assert len(set(row["captions"])) == scenes.N_CAPTIONS
    assert not any(letter in caption for caption in row["captions"] for letter in "{}")


def test_domains_are_paired_with_views_of_objects():
    keys = tables.domain_keys()
    assert len(keys) == len(tables.DOMAINS) * 12 * 4 * 4
    assert {key.partition("_")[2] for key in keys} <= set(parameters.keys())
    row, photograph = tables.domain_row(keys[0]), parameters.row(keys[0].partition("_")[2])
    assert all(row[name] == value for name, value in photograph.items() if name != "picture")


def test_table_holds_a_row_a_picture(tmp_path, monkeypatch):
    monkeypatch.setitem(tables.PARTS, "objects", (lambda: ["mug_0_0", "cake_1_2"], parameters.row))
    tables.write_table("objects", tmp_path / "objects.csv")
    with open(tmp_path / "objects.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["picture"] for row in rows] == ["mug_0_0", "cake_1_2"]
    assert json.loads(rows[0]["distractors"]) == parameters.row("mug_0_0")["distractors"]
    assert float(rows[1]["camera_y"]) == parameters.row("cake_1_2")["camera_y"]


def test_packing_finds_every_picture_again_and_adds_what_masks_tell(tmp_path, monkeypatch):
    keys, source = ["scene_000", "scene_001"], tmp_path / "scenes"
    monkeypatch.setitem(tables.PARTS, "scenes", (lambda: keys, scenes.row))
    source.mkdir()
    masks = np.zeros((2, scenes.HEIGHT, scenes.WIDTH), np.uint8)
    masks[0, 10:14, 20:25] = 2
    for number, key in enumerate(keys):
        Image.fromarray(np.full((scenes.HEIGHT, scenes.WIDTH, 3), 90 * number, np.uint8)).save(
            source / f"{key}.webp"
        )
        Image.fromarray(masks[number]).save(source / f"{key}.png")
    pack.pack("scenes", tmp_path, tmp_path / "packed")
    with gzip.open(tmp_path / "packed" / "scenes.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("image", "mask"):
        data = (tmp_path / "packed" / f"scenes.{name}s").read_bytes()
        parts = [data[int(r[f"{name}_start"]) :][: int(r[f"{name}_bytes"])] for r in rows]
        assert parts == [
            (source / (key + {"image": ".webp", "mask": ".png"}[name])).read_bytes() for key in keys
        ]
        assert sum(map(len, parts)) == len(data)
    first, second = json.loads(rows[0]["objects"])[:2]
    assert first["box"] is None and first["visible"] == 0
    assert second["box"] == [20, 10, 25, 14] and second["visible"] == round(20 / second["area"], 3)
    (source / "scene_001.png").unlink()
    with pytest.raises(
        FileNotFoundError, match="1 pictures of scenes are not rendered, scene_001 first"
    ):
        pack.pack("scenes", tmp_path, tmp_path / "packed")


@pytest.mark.parametrize("module", ["render", "sheet", "materials"])
def test_without_blender_one_sentence_says_how_to_get_it(module):
    ended = run_python(f"import sys; sys.modules['bpy'] = None; import tabletop.{module}")
    assert ended.returncode == 1 and ended.stderr.count("\n") == 1
    assert 'pip install "bpy==4.5.*"' in ended.stderr


def test_the_package_never_imports_blender():
    assert not [
        path
        for path in (ROOT / "cbirkit").rglob("*.py")
        if "bpy" in path.read_text(encoding="utf-8")
    ]
