import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.report import page as page_module
from fer_ray.report.gallery import MAX_SHOWN
from fer_ray.report.page import write_report

ONE = (("svm-linear", "subject-10fold", 0.6),)
HOSTILE = "<script>alert(1)<&'\""  # a slash would start a folder


class Tags(HTMLParser):
    """Every start tag with its attributes, and all text."""

    def __init__(self, html):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def of(self, name, css_class=None):
        found = [attrs for tag, attrs in self.found if tag == name]
        return [attrs for attrs in found if css_class in (None, attrs.get("class"))]


def read(file):
    html = file.read_text(encoding="utf-8")
    return file.parent, html, Tags(html)


def report(built, source_root="there", show_faces=False):
    root = built.source_root if source_root == "there" else source_root
    return read(write_report(built.run_dir, root, show_faces))


def faces_in(tags):
    """Gallery images: they alone are not inside a figure, and have no dark twin."""
    return [attrs for attrs in tags.of("img") if attrs["width"] == "160"]


def test_the_report_is_one_page_with_its_figures_as_png_beside_it(plain_page):
    folder, html, tags = read(plain_page)
    assert sorted(file.name for file in folder.iterdir()) == [
        "agreement-0.png", "agreement-1.png", "calibration-0.png", "calibration-1.png",
        "class-counts.png", "comparison.png",
        "confusion-svm-linear-reference-loso.png",
        "confusion-svm-linear-reference-random.png",
        "confusion-svm-linear-reference-subject-10fold.png",
        "confusion-svm-poly-reference-random.png",
        "confusion-svm-poly-reference-subject-10fold.png",
        "index.html", "landmarks.png", "misclassified.png", "test-labels.png",
    ]  # fmt: skip
    assert len(html) < 3_000_000
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in folder.glob("*.png"))
    assert len(tags.of("figure")) == len(list(folder.glob("*.png")))


def test_the_page_asks_nothing_of_the_network_and_runs_no_script(synthetic_page):
    _, html, tags = read(synthetic_page)
    sources = [attrs["src"] for attrs in tags.of("img")]
    sources += [attrs["srcset"] for attrs in tags.of("source")]
    sources += [attrs["href"] for attrs in tags.of("link")]
    assert all(source.startswith("data:") for source in sources)
    assert all(attrs["href"].startswith("#") for attrs in tags.of("a"))
    assert tags.of("script") == []
    assert not re.search(r"url\(|@import|\son\w+=|\sstyle=", html)


def test_the_policy_allows_this_style_sheet_and_no_other(plain_page):
    _, html, tags = read(plain_page)
    style = re.search("<style>(.*?)</style>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(meta["content"] for meta in tags.of("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none';")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_every_picture_has_a_text_alternative(synthetic_page):
    _, _, tags = read(synthetic_page)
    pictures = tags.of("img") + tags.of("svg")
    assert pictures
    assert all(len(attrs.get("alt") or attrs.get("aria-label")) > 20 for attrs in pictures)


@pytest.mark.parametrize(
    ("synthetic", "show_faces", "shown"),
    [(False, False, 0), (False, True, MAX_SHOWN), (True, False, MAX_SHOWN)],
)
def test_faces_are_shown_only_when_asked_for_or_synthetic(build_run, synthetic, show_faces, shown):
    folder, _, tags = report(build_run(synthetic=synthetic, experiments=ONE), show_faces=show_faces)
    assert len(faces_in(tags)) == shown
    assert len(tags.of("svg", "marks")) == MAX_SHOWN - shown
    assert (folder / "landmarks-face.png").exists() == (shown > 0)
    faces = [
        attrs for attrs in tags.of("img") if "Face of" in attrs["alt"] or "face" in attrs["alt"]
    ]
    assert (len(faces) > 0) == (shown > 0)
    assert ("--show-faces" in tags.text) == (shown == 0)


def test_without_leave_no_source_image_is_even_opened(build_run, monkeypatch):
    monkeypatch.setattr("fer_ray.report.faces.decode_file", lambda *_: pytest.fail("opened"))
    report(build_run(experiments=ONE), show_faces=False)


def delete(file):
    file.unlink()


def change(file):
    file.write_bytes(file.read_bytes() + b"more")


def damage(file):
    file.write_bytes(b"no image")


@pytest.mark.parametrize("harm", [None, delete, change, damage])
def test_the_report_comes_without_faces_when_the_source_images_are_gone(build_run, harm):
    built = build_run(synthetic=True, experiments=ONE)
    for file in built.source_root.rglob("*.png") if harm else ():
        harm(file)
    folder, _, tags = report(built, source_root="there" if harm else None)
    assert faces_in(tags) == []
    assert tags.text.count("The source image is not there any more") == MAX_SHOWN + 1
    assert not (folder / "landmarks-face.png").exists()


def test_hostile_file_names_are_shown_as_text(build_run):
    _, html, tags = report(build_run(stem=HOSTILE, experiments=ONE), show_faces=True)
    assert HOSTILE in tags.text
    assert any(HOSTILE in attrs["alt"] for attrs in tags.of("img"))
    assert tags.of("script") == []
    assert "<script>" not in html


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_data_are_called_so_wherever_an_accuracy_is_named(
    plain_page, synthetic_page, synthetic
):
    _, html, tags = read(synthetic_page if synthetic else plain_page)
    for section in ("experiments", "trials", "confusion", "wrong", "published"):
        part = html.split(f'<section id="{section}">')[1].split("</section>")[0]
        assert ("synthetic" in part) == synthetic, section
    assert ("synthetic" in re.search("<h1>.*?</p>", html, re.DOTALL).group()) == synthetic
    matrices = [attrs["alt"] for attrs in tags.of("img") if "Confusion" in attrs["alt"]]
    assert all(("synthetic" in alt) == synthetic for alt in matrices)


def test_published_figures_are_said_not_to_compare_with_other_data(plain_page):
    _, _, tags = read(plain_page)
    assert "compare only if it is a part of CK+" in tags.text
    assert "83.88\u00a0%" in tags.text
    assert "79.76\u00a0%" in tags.text
    assert "83.3\u00a0%" in tags.text


def test_every_random_split_stands_beside_its_share_of_known_subjects(plain_page):
    _, html, _ = read(plain_page)
    shares = re.findall(r"90\.0\u00a0% of (?:the )?test images", html)
    assert len(shares) >= 6  # verdict, table, two trial tables, two matrices


def test_long_trial_tables_are_folded_and_short_ones_of_the_best_are_open(plain_page):
    _, html, _ = read(plain_page)
    trials = html.split('<section id="trials">')[1].split("</section>")[0]
    opened = re.findall(r"<details( open)?>\s*<summary><strong>(\w+)", trials)
    assert opened == [
        (" open", "Linear"), ("", "Polynomial"),  # 10 folds
        ("", "Linear"),  # leave one subject out: 16 folds
        (" open", "Linear"), ("", "Polynomial"),  # random
    ]  # fmt: skip


def test_counts_add_up_and_a_run_whose_counts_do_not_is_called_so(build_run):
    built = build_run(experiments=())
    _, _, tags = report(built)
    assert "equals the 50 selected: every image has exactly one outcome" in tags.text
    record = json.loads((built.run_dir / "extract.json").read_text())
    record["counts"]["ok"] += 1
    (built.run_dir / "extract.json").write_text(json.dumps(record))
    _, _, tags = report(built)
    assert "do not trust this run" in tags.text


def test_a_run_without_trials_still_tells_of_its_data(build_run):
    folder, _, tags = report(build_run(experiments=()))
    assert "No verdict yet" in tags.text
    assert sorted(file.name for file in folder.glob("*.png")) == [
        "class-counts.png",
        "landmarks.png",
    ]


def test_photographs_without_sequences_or_subjects_make_a_report_too(build_run):
    built = build_run(experiments=(("svm-linear", "random", 0.6),), subjects_known=False)
    record = json.loads((built.run_dir / "extract.json").read_text())
    record["data"] |= {"layout": "folders", "subjects": 0}
    del record["data"]["sequences"], record["data"]["labelled_sequences"]
    (built.run_dir / "extract.json").write_text(json.dumps(record))
    _, _, tags = report(built)
    assert "On “source” (10 random splits)" in tags.text
    assert "No subject is known here" in tags.text
    assert not re.search(r"\b(nan|None)\b", tags.text)


def test_contempt_of_ckplus_is_shown_within_its_late_cohort(build_run):
    built = build_run(experiments=ONE)
    file = built.run_dir / "frames" / "part-0.parquet"
    frames = pq.read_table(file)
    late = [name if name < "S009" else f"S2{name[2:]}" for name in frames["subject"].to_pylist()]
    at = frames.column_names.index("subject")
    pq.write_table(frames.set_column(at, "subject", pa.array(late)), file)
    _, _, tags = report(built)
    assert "late cohort" not in tags.text  # the data are not CK+
    record = json.loads((built.run_dir / "extract.json").read_text())
    record["data"]["labelled_sequences"] = 327
    (built.run_dir / "extract.json").write_text(json.dumps(record))
    _, _, tags = report(built)
    assert "Contempt in the late cohort" in tags.text
    assert "Others there so called" in tags.text


def test_warnings_and_settings_of_the_trials_are_shown_where_there_are_any(build_run):
    built = build_run(experiments=ONE)
    record = {"seconds": 75.0, "workers": 4, "settings": {"svm": {"C": 1.0}}, "warnings": ["Mind."]}
    (built.run_dir / "trials.json").write_text(json.dumps(record))
    _, _, tags = report(built)
    assert all(text in tags.text for text in ("Mind.", "75 s", "4 workers", "svm.C"))


def test_a_report_is_the_same_to_the_byte_when_made_again(build_run):
    built = build_run(synthetic=True, experiments=ONE)
    first, _, _ = report(built)
    before = {file.name: file.read_bytes() for file in first.iterdir()}
    again, _, _ = report(built)
    assert {file.name: file.read_bytes() for file in again.iterdir()} == before


def test_a_report_that_fails_leaves_the_one_before_untouched(build_run, monkeypatch):
    built = build_run(experiments=ONE)
    folder, html, _ = report(built)
    monkeypatch.setattr(page_module, "render", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report(built)
    assert (folder / "index.html").read_text(encoding="utf-8") == html
    monkeypatch.undo()
    report(built)
    assert sorted(path.name for path in built.run_dir.iterdir() if "report" in path.name) == [
        "report"
    ]


def test_the_most_confident_mistakes_come_first_and_all_are_counted(plain_page):
    _, html, _ = read(plain_page)
    wrong = html.split('<section id="wrong">')[1].split("</section>")[0]
    listed = wrong.split("All wrong answers")[1]
    confidences = [
        float(found) for found in re.findall(r'class="n">(\d+\.\d)\u00a0%</td><td', listed)
    ]
    assert confidences[0] == max(confidences)
    total = int(re.search(r"(\d+) of 48 answers are wrong", wrong).group(1))
    assert listed.count("<tr><th") == total + 1
    assert "predictions/svm-linear-reference-subject-10fold.parquet" in listed
