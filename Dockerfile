# Both stages use the same base image, so that the virtual environment finds its Python.
FROM python:3.11-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# The base image's pip installs into it, so that the final image needs none.
RUN python -m venv --without-pip /opt/imgsvc
WORKDIR /src
# Packages first: they change less often than the code, so this layer stays cached.
COPY requirements.lock ./
RUN pip --python /opt/imgsvc/bin/python install --require-hashes -r requirements.lock
# The lock includes the build packages: this step accesses no package index.
COPY pyproject.toml README.md LICENSE ./
COPY alembic ./alembic
COPY src ./src
RUN pip --python /opt/imgsvc/bin/python install --no-build-isolation --no-deps .


FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="imgsvc" \
      org.opencontainers.image.description="Product catalogues in, compressed images out." \
      org.opencontainers.image.licenses="MIT"

# Fixed ids, so that the files in a volume belong to the same user after an update of the base image.
RUN groupadd --gid 10001 imgsvc \
    && useradd --uid 10001 --gid imgsvc --no-create-home --home-dir /data --shell /usr/sbin/nologin imgsvc \
    && install --directory --owner=imgsvc --group=imgsvc --mode=0750 /data

COPY --from=build /opt/imgsvc /opt/imgsvc

ENV PATH=/opt/imgsvc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    IMGSVC_DATA_DIR=/data \
    IMGSVC_HOST=0.0.0.0

# Declared after the folder is created: a new volume inherits its owner.
VOLUME /data
WORKDIR /data
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["imgsvc"]
CMD ["api"]
