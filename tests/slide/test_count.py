"""From results to sample.json, fields.csv and the report, and what a person may override."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from bccd_d2.cli.count import main
from bccd_d2.cli.tune.counts import main as tune_counts
from bccd_d2.evaluation.counting import in_counting_frame
from bccd_d2.evaluation.miscounts import Miscounts, read_miscounts
from bccd_d2.masks.cells import Cells
from bccd_d2.slide.count import CountOptions, count_sample, miscounts_for
from bccd_d2.slide.fields import read_sample

from .results_folder import SHA, write_results


def in_frame(smears) -> list[int]:
    cells = [Cells.from_label_map(smear.label_map) for smear in smears]
    return [int(in_counting_frame(one.boxes, one.image_size).sum()) for one in cells]


def with_a_bar(results: Path, number: int) -> None:
    path = results.parent / "images" / f"field_{number:02d}.png"
    image = cv2.imread(str(path))
    image[440:446, 400:560] = 0
    cv2.imwrite(str(path), image)


def test_a_folder_of_results_becomes_numbers(results, smears, tmp_path, capsys):
    with_a_bar(results, 2)
    assert main([str(results), "--out", str(tmp_path / "counted")]) == 0
    said = json.loads((tmp_path / "counted" / "sample.json").read_text())
    expected = in_frame(smears)
    kept = expected[:2] + expected[3:]
    assert said["cells"] == {"cell": sum(kept)}
    assert said["quantities"]["cells"]["value"] == pytest.approx(np.mean(kept))
    assert said["quantities"]["cells"]["low"] < np.mean(kept)
    assert said["fields"]["left_out"] == [
        {"field": "field_02", "reasons": ["a scale bar or writing in the image"]}
    ]
    assert any("need a model that knows types" in text for text in said["warnings"])
    assert any("nobody measured" in text for text in said["warnings"])
    rows = list(csv.DictReader((tmp_path / "counted" / "fields.csv").open()))
    assert [row["counts"] for row in rows] == ["True"] * 2 + ["False"] + ["True"] * 3
    assert [int(row["cells_in_frame"]) for row in rows] == expected
    page = (tmp_path / "counted" / "report.html").read_text()
    assert "Gundersen" in page and "field_02" in page and "data:image/jpeg" in page
    assert "5 of 6 fields count" in capsys.readouterr().out


def test_a_type_that_the_model_knows_and_no_cell_has_counts_as_none(smears, tmp_path):
    maps = [smear.label_map for smear in smears]
    types = [["red"] * int(labels.max()) for labels in maps]
    results = write_results(tmp_path, [smear.image for smear in smears], maps, types)
    run = json.loads((results / "run.json").read_text())
    run["models"][0] |= {"classes": ["red", "white"], "unsure_below": 0.4}  # as bccd predict does
    (results / "run.json").write_text(json.dumps(run))
    main([str(results), "--out", str(tmp_path / "counted")])
    found = json.loads((tmp_path / "counted" / "sample.json").read_text())["quantities"]
    assert found["white_cells_per_100_red_cells"]["value"] == 0
    assert found["platelets_per_100_red_cells"]["value"] is None


def test_a_person_overrides_the_checks(results, smears, tmp_path):
    with_a_bar(results, 2)
    out = tmp_path / "counted"
    given = ["--include", "field_02", "--exclude", "field_05"]
    assert main([str(results), "--out", str(out), *given]) == 0
    rows = {row["field"]: row for row in csv.DictReader((out / "fields.csv").open())}
    assert rows["field_02"]["counts"] == "True" and "decision" in rows["field_02"]["said"]
    assert rows["field_05"]["counts"] == "False"
    said = json.loads((out / "sample.json").read_text())
    assert said["cells"]["cell"] == sum(in_frame(smears)[:5])


def test_a_name_that_is_no_field_is_refused(results, tmp_path, capsys):
    assert main([str(results), "--out", str(tmp_path / "o"), "--include", "field_99"]) == 2
    assert "has no field 'field_99'" in capsys.readouterr().err


def test_images_that_are_gone_are_counted_unchecked(results, tmp_path):
    (results.parent / "images" / "field_01.png").unlink()
    counted = count_sample(read_sample(results))
    assert counted.fields[1].counts and counted.fields[1].quality is None
    assert any("quality of 1 fields was not checked" in text for text in counted.warnings)


def test_images_that_failed_before_are_said(results, tmp_path, capsys):
    run = json.loads((results / "run.json").read_text())
    run["failures"] = [{"image": "torn", "file": "smear/torn.png", "page": 1, "reason": "cut"}]
    (results / "run.json").write_text(json.dumps(run))
    assert main([str(results), "--out", str(tmp_path / "o")]) == 1
    said = "ot counted, for bccd predict failed on them: torn.png"
    assert f"warning: n{said}" in capsys.readouterr().err
    assert f"N{said}" in (tmp_path / "o" / "report.html").read_text()


def test_a_copy_of_a_field_does_not_count_twice(results):
    sample = read_sample(results)
    again = replace(sample.fields[1], name="copy of 1")
    counted = count_sample(replace(sample, fields=[*sample.fields, again]))
    assert counted.fields[-1].reasons == ["the same picture as field_01"]
    assert counted.table.tolist() == count_sample(sample).table.tolist()
    instead = count_sample(counted.sample, CountOptions(exclude=("field_01",)))
    assert instead.fields[-1].counts and instead.table.sum() == counted.table.sum()


def test_a_field_is_measured_at_the_size_of_its_own_cells(smears, tmp_path):
    """Of another microscope, sharp as the others for how large its cells are."""
    large = [cv2.resize(part, None, fx=3, fy=3, interpolation=how)
             for part, how in ((smears[0].image, cv2.INTER_LINEAR),
                               (smears[0].label_map, cv2.INTER_NEAREST))]  # fmt: skip
    images, labels = [s.image for s in smears[1:]], [s.label_map for s in smears[1:]]
    results = write_results(tmp_path, [*images, large[0]], [*labels, large[1]])
    [*_, last] = count_sample(read_sample(results), CountOptions()).fields
    assert last.counts and last.quality.blur < 0.6, last.reasons


def test_no_field_left_is_said(results, tmp_path, capsys):
    names = [f"field_{n:02d}" for n in range(6)]
    assert main([str(results), "--out", str(tmp_path / "o"), "--exclude", *names]) == 0
    assert "no field counts" in capsys.readouterr().err
    assert json.loads((tmp_path / "o" / "sample.json").read_text())["quantities"] == {}


def test_broken_results_name_the_file(results, tmp_path, capsys):
    (results / "csv" / "field_03.csv").unlink()
    assert main([str(results), "--out", str(tmp_path / "o")]) == 2
    assert "field_03.csv does not exist; predict again" in capsys.readouterr().err


def test_types_make_the_numbers_of_a_laboratory(smears, tmp_path):
    types = []
    for smear in smears:
        names = ["red blood cell"] * int(smear.label_map.max())
        names[0], names[1], names[2] = "ring", "platelet", "neutrophil"
        types.append(names)
    results = write_results(
        tmp_path, [s.image for s in smears], [s.label_map for s in smears], types
    )
    options = CountOptions(pixel_size=0.1, platelet_factor=15000)
    counted = count_sample(read_sample(results), options)
    by_key = {q.key: q for q in counted.quantities}
    infected = counted.table[:, counted.types.index("ring")].sum()
    assert by_key["parasitaemia"].counted == infected
    assert "more red cells: 500 is the least" in by_key["parasitaemia"].remark
    assert by_key["red_cells_per_mm2"].estimate.value > 0
    assert main([str(results), "--out", str(tmp_path / "o"), "--pixel-size", "0.1"]) == 0
    row = next(csv.DictReader((tmp_path / "o" / "samples.csv").open()))
    assert float(row["parasitaemia"]) == pytest.approx(by_key["parasitaemia"].estimate.value, 1e-3)
    assert float(row["parasitaemia_low"]) < float(row["parasitaemia"])


def test_several_samples_are_rows_of_one_table_and_one_bad_does_not_end_them(
    smears, tmp_path, capsys
):
    images, labels = [s.image for s in smears[:2]], [s.label_map for s in smears[:2]]
    folders = [write_results(tmp_path / name, images, labels) for name in ("a", "b", "c")]
    (folders[1] / "csv" / "field_00.csv").unlink()
    assert main([*map(str, folders), "--out", str(tmp_path / "all")]) == 1
    rows = list(csv.DictReader((tmp_path / "all" / "samples.csv").open()))
    assert [row["sample"] for row in rows] == ["a_out", "c_out"]
    for name in ("report.html", "report.md", "report.pdf", "sample.json", "fields.csv"):
        assert (tmp_path / "all" / "c_out" / name).is_file()
    assert "field_00.csv does not exist" in capsys.readouterr().err
    assert main([str(folders[0]), str(folders[0]), "--out", str(tmp_path / "x")]) == 2


def test_measured_errors_are_found_by_the_models_checksum(results, tmp_path):
    ones = np.array([[50], [60]])
    known = Miscounts(("cell",), ones, ones[:, :, None] - 5, ones * 0, (SHA,), "two images")
    (tmp_path / "drawn.counts.json").write_text(json.dumps(known.to_json()))
    sample = read_sample(results)
    found = miscounts_for(sample, CountOptions(), tmp_path)
    assert found is not None and found.measured_on == "two images"
    run = json.loads((results / "run.json").read_text())
    run["looked_at"]["score_threshold"] = 0.9  # at another threshold it miscounts otherwise
    (results / "run.json").write_text(json.dumps(run))
    assert miscounts_for(read_sample(results), CountOptions(), tmp_path) is None
    given = CountOptions(miscounts=str(tmp_path / "drawn.counts.json"))
    corrected = count_sample(sample, given).quantities[0].estimate
    plain = count_sample(sample).quantities[0].estimate
    assert corrected.value == pytest.approx(plain.value * 110 / 100)


def test_a_measurement_on_few_infected_cells_is_said(smears, tmp_path):
    maps = [smear.label_map for smear in smears]
    types = [["red"] * (int(labels.max()) - 1) + ["infected"] for labels in maps]
    sample = read_sample(write_results(tmp_path, [s.image for s in smears], maps, types))
    for cells, warned in ((33, True), (400, False)):
        truth = np.array([[900, cells]])
        known = Miscounts(("red", "infected"), truth, truth[:, :, None] * np.eye(2, dtype=int),
                          truth * 0, (SHA,), "one image")  # fmt: skip
        path = tmp_path / "m.json"
        path.write_text(json.dumps(known.to_json()))
        said = count_sample(sample, CountOptions(miscounts=str(path))).warnings
        assert any("on 33 infected cells alone" in text for text in said) == warned


def test_the_shipped_measurements_are_of_the_shipped_models():
    folder = Path(__file__).resolve().parents[2] / "bccd_d2" / "models" / "pretrained"
    known = json.loads((folder / "registry.json").read_text())["models"]
    for path in folder.glob("*.counts.json"):
        assert read_miscounts(path).models == (known[path.name.split(".")[0]]["sha256"],)


def test_errors_are_measured_on_a_converted_dataset(tiny_dataset, smears, tmp_path, capsys):
    from bccd_d2.evaluation.truth import read_truth
    from bccd_d2.io.dataset_file import image_root, read_description
    from bccd_d2.io.images import read_image

    description = read_description(tiny_dataset)
    truth = read_truth(Path(tiny_dataset) / description["splits"]["val"]["json"])
    images = [read_image(image_root(tiny_dataset) / one.file_name) for one in truth.values()]
    labels = [one.cells.to_label_map() for one in truth.values()]
    labels[0][labels[0] == labels[0].max()] = 0  # one is missed
    results = write_results(tmp_path, images, labels)
    text = (results / "counts.csv").read_text()
    for number, one in enumerate(truth.values()):
        stem = Path(one.file_name).stem
        text = text.replace(f"field_{number:02d},", f"{stem},")
        for kind, suffix in (("csv", "csv"), ("labels", "png")):
            old = results / kind / f"field_{number:02d}.{suffix}"
            old.rename(old.with_name(f"{stem}.{suffix}"))
    (results / "counts.csv").write_text(text)
    out = tmp_path / "m.json"
    given = ["--predictions", str(results), "--dataset", str(tiny_dataset), "--out", str(out)]
    assert tune_counts([*given]) == 0
    found = read_miscounts(out)
    missed = int(found.truth.sum() - found.found_as.sum())
    assert missed in (0, 1) and found.invented.sum() == 0  # 0: it lies outside the frame
    assert found.truth.sum() > 10 and found.models == (SHA,)
    assert "| type | true cells | found as cell | missed |" in capsys.readouterr().out
    assert tune_counts([*given, "--split", "no"]) == 2
    assert "has no split 'no'" in capsys.readouterr().err
