import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fer_ray.evaluation.experiments.experiment_groups import group_experiments
from fer_ray.evaluation.experiments.results import read_results
from fer_ray.report import run_page
from fer_ray.report.figures.forest_plot import NARROW, WIDE, forest_plot
from fer_ray.report.run_page import write_report
from fer_ray.report.sections.confusion_tables import MAX_IMAGES
from fer_ray.report.sections.misclassified import MAX_CARDS
from fer_ray.report.text.method_settings import experiment_setting_rows
from fer_ray.report.theme import LIGHT

ONE = (("svm-linear", "subject-10fold", 0.6),)
HOSTILE = "<script>alert(1)<&'\""  # a slash would start a folder


class Tags(HTMLParser):
    """Every start tag with its attributes, and all text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def of(self, name, css_class=None):
        matching = [attrs for tag, attrs in self.tags if tag == name]
        return [attrs for attrs in matching if css_class in (None, attrs.get("class"))]


def read(file):
    html = file.read_text(encoding="utf-8")
    return file.parent, html, Tags(html)


def report(built, source_root="built", show_faces=False):
    root = built.source_root if source_root == "built" else source_root
    return read(write_report(built.run_dir, root, show_faces))


def faces_in(tags):
    """Gallery images: they alone are not inside a figure, and have no dark twin."""
    return [attrs for attrs in tags.of("img") if attrs["width"] == "160"]


def test_files_of_the_report(plain_page):
    folder, html, tags = read(plain_page)
    assert sorted(file.name for file in folder.iterdir()) == [
        "calibration-0.png", "calibration-1.png", "class-counts.png", "comparison.png",
        "confusion-svm-linear-reference-loso.png",
        "confusion-svm-linear-reference-random.png",
        "confusion-svm-linear-reference-subject-10fold.png",
        "confusion-svm-poly-reference-random.png",
        "confusion-svm-poly-reference-subject-10fold.png",
        "index.html", "landmarks.png", "leading-models.png", "misclassified.png", "test-labels.png",
    ]  # fmt: skip
    assert len(html) < 3_000_000
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in folder.glob("*.png"))
    embedded = [file for file in folder.glob("*.png") if not file.name.startswith("confusion")]
    matrices = tags.of("figure", "confusion")
    assert len(tags.of("figure")) - len(matrices) == len(embedded)
    assert len(matrices) == 5 + 2  # each experiment, and two on the first screen


def test_page_is_self_contained(synthetic_page):
    _, html, tags = read(synthetic_page)
    sources = [attrs["src"] for attrs in tags.of("img")]
    sources += [attrs["srcset"] for attrs in tags.of("source")]
    sources += [attrs["href"] for attrs in tags.of("link")]
    assert all(source.startswith("data:") for source in sources)
    assert all(attrs["href"].startswith("#") for attrs in tags.of("a"))
    assert tags.of("script") == [{}]  # inline
    assert not re.search(r"url\(|@import|\son\w+=|\sstyle=|fetch|XMLHttp|innerHTML|eval", html)


def test_content_security_policy(plain_page):
    _, html, tags = read(plain_page)
    policy = next(meta["content"] for meta in tags.of("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none';")
    for tag in ("style", "script"):
        content = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL).group(1)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_pictures_have_text_alternatives(synthetic_page):
    _, _, tags = read(synthetic_page)
    pictures = tags.of("img") + tags.of("svg")
    assert pictures
    assert all(len(attrs.get("alt") or attrs.get("aria-label")) > 20 for attrs in pictures)


@pytest.mark.parametrize(
    ("synthetic", "show_faces", "shown"),
    [(False, False, 0), (False, True, MAX_CARDS), (True, False, MAX_CARDS)],
)
def test_faces_are_shown_on_request_or_if_synthetic(build_run, synthetic, show_faces, shown):
    folder, _, tags = report(build_run(synthetic=synthetic, experiments=ONE), show_faces=show_faces)
    assert len(faces_in(tags)) == shown
    assert len(tags.of("svg", "marks")) == MAX_CARDS - shown
    behind = [attrs for attrs in tags.of("img") if attrs["width"] == "72"]
    assert (len(behind) > 0) == (shown > 0)
    assert (folder / "landmarks-face.png").exists() == (shown > 0)
    faces = [
        attrs for attrs in tags.of("img") if "Face of" in attrs["alt"] or "face" in attrs["alt"]
    ]
    assert (len(faces) > 0) == (shown > 0)
    assert ("--show-faces" in tags.text) == (shown == 0)


def test_no_source_image_is_opened_without_show_faces(build_run, monkeypatch):
    monkeypatch.setattr("fer_ray.faces.crops.decode_file", lambda *_: pytest.fail("opened"))
    report(build_run(experiments=ONE), show_faces=False)


def delete(file):
    file.unlink()


def change(file):
    file.write_bytes(file.read_bytes() + b"more")


def damage(file):
    file.write_bytes(b"no image")


@pytest.mark.parametrize(
    "harm",
    [None, change, *(pytest.param(one, marks=pytest.mark.thorough) for one in (delete, damage))],
)
def test_faces_of_missing_images_are_left_out(build_run, harm):
    built = build_run(synthetic=True, experiments=ONE)
    for file in built.source_root.rglob("*.png") if harm else ():
        harm(file)
    folder, _, tags = report(built, source_root="built" if harm else None)
    assert faces_in(tags) == []
    assert tags.text.count("The source image no longer exists") == MAX_CARDS + 1
    assert not (folder / "landmarks-face.png").exists()


def test_hostile_file_names_are_escaped(build_run):
    _, html, tags = report(build_run(stem=HOSTILE, experiments=ONE), show_faces=True)
    assert HOSTILE in tags.text
    assert any(HOSTILE in attrs["alt"] for attrs in tags.of("img"))
    assert html.count("<script>") == len(tags.of("script")) == 1


@pytest.mark.parametrize("synthetic", [True, False])
def test_accuracies_state_synthetic_data(plain_page, synthetic_page, synthetic):
    _, html, _ = read(synthetic_page if synthetic else plain_page)
    for section in ("experiments", "trials", "confusion", "wrong", "published"):
        part = html.split(f'<section id="{section}">')[1].split("</section>")[0]
        assert ("synthetic" in part) == synthetic, section
    assert ("synthetic" in re.search("<h1>.*?</p>", html, re.DOTALL).group()) == synthetic
    captions = re.findall('class="confusion".*?<figcaption>(.*?)</figcaption>', html, re.DOTALL)
    assert len(captions) == 7
    assert all(("synthetic" in caption) == synthetic for caption in captions)


def test_published_results_on_other_data(plain_page):
    _, _, tags = read(plain_page)
    assert "Compare them only if it is a subset of CK+" in tags.text
    assert "83.88%" in tags.text
    assert "79.76%" in tags.text
    assert "83.3%" in tags.text


def test_random_splits_state_subject_overlap(plain_page):
    _, html, _ = read(plain_page)
    shares = re.findall(r"90\.0% of (?:the )?test images", html)
    assert len(shares) >= 6  # verdict, table, two trial tables, two matrices


def test_open_and_collapsed_trial_tables(plain_page):
    _, html, _ = read(plain_page)
    trials = html.split('<section id="trials">')[1].split("</section>")[0]
    opened = re.findall(r"<details( open)?>\s*<summary><strong>(\w+)", trials)
    assert opened == [
        (" open", "Linear"), ("", "Polynomial"),  # 10 folds
        ("", "Linear"),  # leave one subject out: 16 folds
        (" open", "Linear"), ("", "Polynomial"),  # random
    ]  # fmt: skip


def test_status_counts_are_checked(build_run):
    built = build_run(experiments=())
    _, _, tags = report(built)
    assert "equals the 50 selected images: every image has exactly one outcome" in tags.text
    record = json.loads((built.run_dir / "extract.json").read_text())
    record["counts"]["ok"] += 1
    (built.run_dir / "extract.json").write_text(json.dumps(record))
    _, _, tags = report(built)
    assert "do not trust this run" in tags.text


def test_report_without_trials(build_run):
    folder, _, tags = report(build_run(experiments=()))
    assert "No verdict yet" in tags.text
    assert sorted(file.name for file in folder.glob("*.png")) == [
        "class-counts.png",
        "landmarks.png",
    ]


def test_report_without_sequences_or_subjects(build_run):
    built = build_run(experiments=(("svm-linear", "random", 0.6),), subjects_known=False)
    record = json.loads((built.run_dir / "extract.json").read_text())
    record["data"] |= {"layout": "folders", "subjects": 0}
    del record["data"]["sequences"], record["data"]["labelled_sequences"]
    (built.run_dir / "extract.json").write_text(json.dumps(record))
    _, _, tags = report(built)
    assert "On “source” (10 random splits)" in tags.text
    assert "Subjects are unknown" in tags.text
    assert not re.search(r"\b(nan|None)\b", tags.text)


def record_late(built):
    """Subjects who show contempt, and others, become late ones: S201 and so on."""
    file = built.run_dir / "frames" / "part-0.parquet"
    frames = pq.read_table(file)
    names, emotions = (frames[name].to_pylist() for name in ("subject", "emotion"))
    late = {name for name, emotion in zip(names, emotions, strict=True) if emotion == "contempt"}
    renamed = [f"S2{name[2:]}" if name in late or name > "S012" else name for name in names]
    at = frames.column_names.index("subject")
    pq.write_table(frames.set_column(at, "subject", pa.array(renamed)), file)


def test_contempt_of_all_subjects_needs_no_note(build_run):
    _, _, tags = report(build_run(experiments=ONE))
    assert "late cohort" not in tags.text


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"labelled_sequences": 327}, "On CK+. All contempt sequences of CK+"),
        ({}, "On “source”, which has the layout of CK+. All contempt sequences of CK+"),
        ({"layout": "folders"}, None),
        pytest.param({"synthetic": True}, None, marks=pytest.mark.thorough),
    ],
)
def test_contempt_in_the_late_cohort(build_run, changes, where):
    built = build_run(experiments=ONE)
    record_late(built)
    record = json.loads((built.run_dir / "extract.json").read_text())
    record["data"] |= changes
    (built.run_dir / "extract.json").write_text(json.dumps(record))
    _, _, tags = report(built)
    assert ("Contempt in the late cohort" in tags.text) == (where is not None)
    assert (where or "") in tags.text
    assert not re.search(r"\b(nan|None)\b", tags.text)


def test_warnings_and_duration_of_trials(build_run):
    built = build_run(experiments=ONE)
    record = {"seconds": 75.0, "workers": 4, "settings": {"svm": {"C": 1.0}}, "warnings": ["Mind."]}
    (built.run_dir / "trials.json").write_text(json.dumps(record))
    _, _, tags = report(built)
    assert all(text in tags.text for text in ("Mind.", "75 s", "4 workers"))


def test_settings_of_each_experiment(build_run):
    settings = {"kernels": ["linear", "poly"], "C": 0.5, "gamma": "auto", "degree": 3,
                "n_trials": 10, "seed": 7, "augment": 0}  # fmt: skip
    linear, poly = ({"kernel": kernel, "settings": settings} for kernel in ("linear", "poly"))
    built = build_run(experiments=(
        ("svm-linear", "random", 0.6, {"metadata": {"fer_ray.recipe": linear}}),
        ("svm-poly", "loso", 0.6, {"metadata": {"fer_ray.recipe": poly}}),
        ("head", "loso", 0.5, {"metadata": {"fer_ray.recipe": {"head": {"epochs": 20}}}}),
        ("svm-rbf", "loso", 0.4),
    ))  # fmt: skip
    rows = experiment_setting_rows(group_experiments(read_results(built.run_dir).experiments))
    shown = {row["experiment"]: dict(row["settings"]) for row in rows}
    assert shown == {
        "svm-linear-reference-random": {
            "kernel": "linear", "C": "0.5", "n_trials": "10", "seed": "7", "augment": "0"},
        "svm-poly-reference-loso": {
            "kernel": "poly", "C": "0.5", "gamma": "auto", "degree": "3", "augment": "0"},
        "head-reference-loso": {"epochs": "20", "seed": "0"},
        "svm-rbf-reference-loso": {},
    }  # fmt: skip
    _, html, tags = report(built)
    assert html.count("<span>C</span> 0.5") == 2
    assert "not recorded" in tags.text


def test_headings_of_random_groups(build_run):
    two = {"n_trials": 2, "settings": "-n_trials=2"}
    built = build_run(experiments=(
        ("svm-linear", "random", 0.5), ("svm-poly", "random", 0.4),
        ("svm-linear", "random", 0.9, two), ("svm-poly", "random", 0.8, two),
    ))  # fmt: skip
    _, html, tags = report(built)
    assert "On “source” (10 random splits), the linear SVM" in tags.text
    experiments, trials = (
        html.split(f'<section id="{name}">')[1].split("</section>")[0]
        for name in ("experiments", "trials")
    )
    for section in (experiments, trials):
        assert re.findall("<h3>(.*?)</h3>", section) == ["10 random splits", "2 random splits"]
    assert re.findall(r'class="best"', experiments) == ['class="best"'] * 2


def test_standard_deviation_of_random_trials(plain_page):
    built = read_results(plain_page.parent.parent)
    (group,) = [
        item for item in group_experiments(built.experiments) if item.split == "10 random splits"
    ]
    summary = group.best.summary
    expected = f"{100 * summary.test_accuracy:.1f} ± {100 * summary.test_accuracy_sd:.1f}%"
    _, html, _ = read(plain_page)
    for section in ("experiments", "trials"):
        assert expected in html.split(f'<section id="{section}">')[1].split("</section>")[0]


def test_sizes_and_pixel_formats(build_run):
    built = build_run(experiments=ONE)
    _, _, tags = report(built)
    assert "Sizes: 640×490 (50). Pixels: gray (48), RGB (2)." in tags.text
    record = json.loads((built.run_dir / "extract.json").read_text())
    record["data"]["sizes"] = {"640×490": 40}  # only the most frequent ones are recorded
    (built.run_dir / "extract.json").write_text(json.dumps(record))
    assert "Sizes: 640×490 (40), other sizes (10)." in report(built)[2].text
    del record["data"]["sizes"]
    (built.run_dir / "extract.json").write_text(json.dumps(record))
    assert "Sizes" not in report(built)[2].text


def test_leakage_audit_is_shown(build_run):
    audited = {"protocol": "random", "test_images": 90, "subject": 81, "sequence": 30, "content": 0,
               "near_duplicate": None, "splits": []}  # fmt: skip
    audit = {"metadata": {"fer_ray.leakage": audited}}
    built = build_run(
        experiments=(("svm-linear", "random", 0.6, audit), ("svm-linear", "loso", 0.6))
    )
    _, _, tags = report(built)
    assert tags.text.count("Leakage audit") == 1
    assert "of 90 test images over all splits, 81 show a subject who is also in" in tags.text
    assert "appearance unknown." in tags.text


def test_highest_confidence_error_is_shown_once(plain_page):
    _, html, _ = read(plain_page)
    wrong = html.split('<section id="wrong">')[1].split("<h3>All misclassified images")[0]
    worst = re.search(r"The error with the highest confidence: (\S+),", wrong).group(1)
    assert wrong.count(worst) == 2  # in the figure's caption and in its text alternative


def test_forest_plot_labels_wrap(build_run):
    searched = {"feature_set": "chosen", "settings": "-configurations=9-feature_sets=hog,landmarks"}
    built = build_run(experiments=(*ONE, ("search", "subject-10fold", 0.7, searched)))
    groups = group_experiments(read_results(built.run_dir).experiments)
    for layout in (NARROW, WIDE):
        figure = forest_plot(groups, "faces", layout, LIGHT)
        FigureCanvasAgg(figure).draw()
        (axes,) = figure.axes
        sizes = {text.get_fontsize() for text in axes.texts}
        assert sizes == {9, 10}  # the data beneath a heading, and all else
        boxes = [text.get_window_extent() for text in axes.texts]
        assert max(box.x1 for box in boxes) <= figure.bbox.x1
        left = [
            box
            for text, box in zip(axes.texts, boxes, strict=True)
            if text.get_horizontalalignment() == "left"
        ]
        right = [box for text, box in zip(axes.texts, boxes, strict=True)
                 if text.get_horizontalalignment() == "right"]  # fmt: skip
        assert not any(a.overlaps(b) for a in left for b in right)
        if layout.side_labels:
            marks = axes.get_window_extent()
            assert max(box.x1 for box in left) < marks.x0 < marks.x1 < min(box.x0 for box in right)


def test_report_is_reproducible(build_run):
    built = build_run(synthetic=True, experiments=ONE)
    first, _, _ = report(built)
    before = {file.name: file.read_bytes() for file in first.iterdir()}
    again, _, _ = report(built)
    assert {file.name: file.read_bytes() for file in again.iterdir()} == before


def test_failed_report_leaves_the_earlier_one(build_run, monkeypatch):
    built = build_run(experiments=ONE)
    folder, html, _ = report(built)
    monkeypatch.setattr(run_page, "render", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report(built)
    assert (folder / "index.html").read_text(encoding="utf-8") == html
    monkeypatch.undo()
    report(built)
    assert sorted(path.name for path in built.run_dir.iterdir() if "report" in path.name) == [
        "report"
    ]


def test_misclassified_images_are_ordered_and_counted(plain_page):
    _, html, _ = read(plain_page)
    wrong = html.split('<section id="wrong">')[1].split("</section>")[0]
    listed = wrong.split("All misclassified images")[1]
    confidences = [float(share) for share in re.findall(r'class="n">(\d+\.\d)%</td><td', listed)]
    assert confidences[0] == max(confidences)
    total = int(re.search(r"(\d+) of 48 predictions are wrong", wrong).group(1))
    assert listed.count("<tr><th") == total + 1
    assert "predictions/svm-linear-reference-subject-10fold.parquet" in listed


def test_images_behind_confusion_cells(plain_page):
    built = read_results(plain_page.parent.parent)
    _, html, tags = read(plain_page)
    targets = {attrs["href"][1:] for attrs in tags.of("a") if "images-" in attrs["href"]}
    assert targets == {attrs["id"] for attrs in tags.of("tr") if "id" in attrs}
    best = group_experiments(built.experiments)[0].best
    wrong = best.predictions.query("label != predicted")
    label, guess = int(wrong["label"].iloc[0]), int(wrong["predicted"].iloc[0])
    cell = html.split(f'<tr id="images-0-{label}-{guess}">')[1].split("</tr>")[0]
    names = wrong.query("label == @label and predicted == @guess")["image_id"]
    assert len(names) <= MAX_IMAGES
    assert {Path(path).stem for path in re.findall("<code>(.*?)</code>", cell)} == set(names)


def test_first_screen_compares_with_the_baseline(build_run):
    better = {"feature_set": "hog"}
    built = build_run(experiments=(*ONE, ("svm-poly", "subject-10fold", 0.7),
                                   ("svm-linear", "subject-10fold", 0.9, better)))  # fmt: skip
    _, html, _ = report(built)
    screen = html.split('<div class="screen">')[1].split("</main>")[0]
    assert re.findall("<figcaption>(Best|Baseline|Second best): (.*?),", screen) == [
        ("Best", "linear SVM on hog features"),
        ("Baseline", "linear SVM on reference features"),
    ]
    assert "<strong>48 of 50</strong> images are usable (96.0%), from 16 subjects." in screen
