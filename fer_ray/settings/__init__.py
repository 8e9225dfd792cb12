"""Settings: frozen, strict models. They import pydantic and yaml only, so `--help` stays fast.

`ExtractSettings`, `TrialSettings`, `SearchSettings`, `NetworkSettings`, `HeadSearchSettings` and
`SweepSettings.faces` define results. `Execution` and the rest of `SweepSettings` affect only how a
job runs.
"""
