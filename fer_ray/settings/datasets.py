"""Published data sets: layout, label codes, subjects, official split, licence and citation.

The originals are licensed or on request, and were not available to the authors of `fer_ray`: the
layouts follow the data sets' publications and documentation.
"""

from dataclasses import dataclass, field
from typing import Literal

from fer_ray.settings.label_codes import LabelCodes

DatasetName = Literal[
    "ckplus", "ckplus48", "fer2013", "ferplus", "rafdb", "affectnet", "jaffe", "kdef", "rafd"
]
# Where labels are: in the CK+ layout; in names of folders or in any label file; in file names; or
# in the data set's own files.
LabelsIn = Literal["ckplus", "folders", "names", "files"]
RESEARCH = "research only, on request"


@dataclass(frozen=True)
class DatasetSpec:
    """A published data set.

    Attributes:
        title: Its usual name.
        labels_in: Where its labels are.
        needs: The files by which its layout is recognised, in words.
        licence: Terms of use, in short. Only the owner's terms count.
        citation: The publication to cite.
        codes: The codes of its numeric labels.
        file_name: Pattern of the names of its images, without extension. Groups: subject, session,
            frame, label.
        words: Emotion of each label in file names, if the label is not the name of one.
        official: Its official split into training and test, in words; None if it has none.
        numbered_folders: Whether copies of it have folders that are named by its codes.
    """

    title: str
    labels_in: LabelsIn
    needs: str
    licence: str
    citation: str
    codes: LabelCodes | None = None
    file_name: str | None = None
    words: dict[str, str] = field(default_factory=dict)
    official: str | None = None
    numbered_folders: bool = False


_TWO_LETTERS = {
    "AF": "fear", "AN": "anger", "DI": "disgust", "FE": "fear", "HA": "happy", "NE": "neutral",
    "SA": "sadness", "SU": "surprise",
}  # fmt: skip

DATASETS: dict[DatasetName, DatasetSpec] = {
    "ckplus": DatasetSpec(
        "CK+",
        "ckplus",
        "a folder cohn-kanade-images of SUBJECT/SESSION/*.png, next to a folder Emotion",
        RESEARCH,
        "Lucey et al., The Extended Cohn-Kanade Dataset (CK+), CVPR 2010 workshops",
        "ckplus",
    ),
    "ckplus48": DatasetSpec(
        "CK+48",
        "folders",
        "files such as S010_004_00000017.png in folders named after emotions",
        f"that of CK+: {RESEARCH}",
        "Lucey et al., The Extended Cohn-Kanade Dataset (CK+), CVPR 2010 workshops",
        None,  # its sessions are numbers as well
        r"(?P<subject>S\d{2,4})_(?P<session>\d{3})_(?P<frame>\d{6,8})",
    ),
    "fer2013": DatasetSpec(
        "FER2013",
        "folders",
        "a CSV file with the columns emotion and pixels, or images in folders named after emotions "
        "or by the numbers 0 to 6",
        "not stated by its authors; the images are from the web",
        "Goodfellow et al., Challenges in representation learning, ICONIP 2013",
        "fer2013",
        official="Training; tested on PrivateTest, or on the folder test",
        numbered_folders=True,
    ),
    "ferplus": DatasetSpec(
        "FER+",
        "files",
        "fer2013new.csv next to the images or to fer2013.csv, or label.csv in FER2013Train, "
        "FER2013Valid and FER2013Test",
        "MIT License for the labels; the images are those of FER2013",
        "Barsoum et al., Training deep networks for facial expression recognition with "
        "crowd-sourced label distribution, ICMI 2016",
        "ferplus",
        official="Training; tested on PrivateTest",
    ),
    "rafdb": DatasetSpec(
        "RAF-DB",
        "files",
        "EmoLabel/list_patition_label.txt and the images, or images in folders 1 to 7 below train "
        "and test",
        RESEARCH,
        "Li et al., Reliable crowdsourcing and deep locality-preserving learning for expression "
        "recognition in the wild, CVPR 2017",
        "rafdb",
        official="train; tested on test",
        numbered_folders=True,
    ),
    "affectnet": DatasetSpec(
        "AffectNet",
        "files",
        "train_set and val_set, each with images and annotations/*_exp.npy; or training.csv and "
        "validation.csv next to the numbered folders of images. If your folders are named by its "
        "codes, pass --label-codes affectnet as well",
        RESEARCH,
        "Mollahosseini et al., AffectNet: a database for facial expression, valence, and arousal "
        "computing in the wild, IEEE Transactions on Affective Computing 2019",
        "affectnet",
        official="train_set or training.csv; tested on val_set or validation.csv, since the test "
        "set is not published",
    ),
    "jaffe": DatasetSpec(
        "JAFFE",
        "names",
        "files such as KA.AN1.39.tiff",
        "non-commercial research only, on request",
        "Lyons et al., Coding facial expressions with Gabor wavelets, FG 1998",
        None,
        r"(?P<subject>[A-Z]{2})\.(?P<label>AN|DI|FE|HA|NE|SA|SU)\d\.\d+",
        _TWO_LETTERS,
    ),
    "kdef": DatasetSpec(
        "KDEF",
        "names",
        "files such as AF01ANS.JPG",
        "non-commercial research only, on request",
        "Lundqvist et al., The Karolinska Directed Emotional Faces, Karolinska Institutet 1998",
        None,
        r"(?P<session>[AB])(?P<subject>[FM]\d{2})(?P<label>AF|AN|DI|HA|NE|SA|SU)(FL|HL|S|HR|FR)",
        _TWO_LETTERS,
    ),
    "rafd": DatasetSpec(
        "RaFD",
        "names",
        "files such as Rafd090_01_Caucasian_female_angry_frontal.jpg",
        "non-commercial research only, on request",
        "Langner et al., Presentation and validation of the Radboud Faces Database, Cognition and "
        "Emotion 2010",
        None,
        r"Rafd\d+_(?P<subject>\d+)_[A-Za-z]+_(fe)?male_(?P<label>angry|contemptuous|disgusted|"
        r"fearful|happy|neutral|sad|surprised)_(frontal|left|right)",
    ),
}
# What data sets call the parts of their official split, in lower case: first folder, beginning of a
# file name, or beginning of a row.
PARTS = {
    "train": "train", "training": "train", "train_set": "train", "fer2013train": "train",
    "test": "test", "privatetest": "test", "fer2013test": "test",
    "val": "validation", "valid": "validation", "validation": "validation", "val_set": "validation",
    "publictest": "validation", "fer2013valid": "validation",
}  # fmt: skip


def describe_dataset(name: DatasetName) -> str:
    """The title, licence, citation and official split of a data set, as one line."""
    spec = DATASETS[name]
    parts = [spec.title, f"licence: {spec.licence}", f"cite: {spec.citation}"]
    if spec.official:
        parts.append(f"--protocol official: {spec.official}")
    return "; ".join(parts)
