"""Nodes with other versions than the driver."""

from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.execution.cluster.node_versions import own_versions, require_same_versions
from fer_ray.execution.tasks import block_tasks, runner

OTHER = {"fer_ray": "9.9", "numpy": own_versions()["numpy"], "only-on-the-driver": "1"}
MESSAGE = r"has fer_ray \S+ \(the job: 9\.9\)\. .* rerun the same command"


def test_other_version_is_named() -> None:
    require_same_versions(own_versions())
    require_same_versions({"only-on-the-driver": "1"})
    with pytest.raises(UserError, match=MESSAGE):
        require_same_versions(OTHER)


@pytest.mark.slow
def test_tasks_and_trials_refuse_another_version(
    local_ray: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (block_tasks, runner):
        monkeypatch.setattr(module, "own_versions", lambda: OTHER)
    results = block_tasks.run_tasks(
        str, iter([1]), 1, lambda: False, lambda item: [item], str, lambda: None
    )
    with pytest.raises(UserError, match=MESSAGE):
        list(results)
    with pytest.raises(UserError, match=MESSAGE):
        runner.run_items(print, [1], tmp_path, None, lambda count: None)
