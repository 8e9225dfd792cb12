"""The files of a CK+ folder by sequence: in SUBJECT/SESSION, or elsewhere with such a name."""

from dataclasses import dataclass, field
from pathlib import Path

from fer_ray.sources.datasets.ckplus_roots import FRAME_NAME, is_subject
from fer_ray.sources.image_files import FileEntry, folders_and_files, is_image
from fer_ray.sources.quality import Quality

Key = tuple[str, str]  # subject and session, equal for S005/001, s005/001 and S005/1


@dataclass
class SequenceFiles:
    """The files of one session of a subject.

    Attributes:
        subject: Name of the subject, in upper case as in CK+.
        session: Name of the session.
        files: Their paths, sorted by name within each folder.
    """

    subject: str
    session: str
    files: list[Path] = field(default_factory=list)

    @property
    def order(self) -> tuple[str, str]:
        """The key by which sequences are sorted."""
        return self.subject, self.session

    @property
    def name(self) -> str:
        """Subject and session, such as `S005/001`."""
        return f"{self.subject}/{self.session}"


def sequence_key(subject: str, session: str) -> Key:
    """Key by which the images and the label of a sequence are matched."""
    session = session.strip()
    return subject.strip().upper(), session.lstrip("0") if session.isdigit() else session


def files_by_sequence(root: Path, source: Path, quality: Quality) -> dict[Key, SequenceFiles]:
    """Files in SUBJECT/SESSION below `root`, and files outside such folders by their names.

    Args:
        root: Folder of images or of label files.
        source: The source; paths in examples are relative to it.
        quality: Counts junk, and images that belong to no sequence.

    Raises:
        UserError: A folder cannot be listed.
    """
    sequences: dict[Key, SequenceFiles] = {}
    subjects, files = folders_and_files(root, quality)
    _add_by_name(root, files, source, sequences, quality)
    for subject in subjects:
        folder = root / subject.name
        sessions, files = folders_and_files(folder, quality)
        _add_by_name(folder, files, source, sequences, quality)
        for session in sessions:
            found = _sequence(subject.name, session.name, sequences)
            below, files = folders_and_files(folder / session.name, quality)
            found.files += [folder / session.name / file.name for file in files]
            for other in below:
                path = (folder / session.name / other.name).relative_to(source)
                quality.note("folder_in_sequence", f"{path.as_posix()}/")
    return sequences


def _sequence(subject: str, session: str, sequences: dict[Key, SequenceFiles]) -> SequenceFiles:
    name = subject.strip().upper() if is_subject(subject) else subject
    return sequences.setdefault(sequence_key(subject, session), SequenceFiles(name, session))


def _add_by_name(
    folder: Path,
    files: list[FileEntry],
    source: Path,
    sequences: dict[Key, SequenceFiles],
    quality: Quality,
) -> None:
    for file in files:
        if parts := FRAME_NAME.match(file.name):
            _sequence(parts[1], parts[2], sequences).files.append(folder / file.name)
        elif is_image(file.name):
            path = (folder / file.name).relative_to(source)
            quality.note("misplaced_image", path.as_posix())
