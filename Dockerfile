# What builds the library stays in the first stage.
FROM python:3.11-slim AS build
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir "pip>=25.1"
WORKDIR /src
COPY pyproject.toml setup.py README.md LICENSE ./
COPY framework framework
RUN /venv/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
RUN /venv/bin/pip install --no-cache-dir --group demo /wheels/*.whl

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home app && install --directory --owner app /data
COPY --from=build /venv /venv
WORKDIR /app
COPY celeryconfig.py ./
COPY demo demo
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER app
CMD ["framework", "worker"]
