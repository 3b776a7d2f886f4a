# Both stages start from the same base, so that the virtual environment finds the Python that it was made with.
FROM python:3.11-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# The base's own pip fills it, and is not copied along.
RUN python -m venv --without-pip /opt/imgsvc
WORKDIR /src
# The packages first: they change less often than the code, and this layer is then kept.
COPY requirements.lock ./
RUN pip --python /opt/imgsvc/bin/python install --require-hashes -r requirements.lock
# The lock has brought what builds the wheel as well: this step asks no package index.
COPY pyproject.toml README.md LICENSE ./
COPY alembic ./alembic
COPY src ./src
RUN pip --python /opt/imgsvc/bin/python install --no-build-isolation --no-deps .


FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="imgsvc" \
      org.opencontainers.image.description="Product catalogues in, compressed images out." \
      org.opencontainers.image.licenses="MIT"

# Numbers of our own, so that the files in a volume belong to the same user after an update of the base.
RUN groupadd --gid 10001 imgsvc \
    && useradd --uid 10001 --gid imgsvc --no-create-home --home-dir /data --shell /usr/sbin/nologin imgsvc \
    && install --directory --owner=imgsvc --group=imgsvc --mode=0750 /data

COPY --from=build /opt/imgsvc /opt/imgsvc

ENV PATH=/opt/imgsvc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    IMGSVC_DATA_DIR=/data \
    IMGSVC_HOST=0.0.0.0

# Declared after the folder was made: a new volume takes its owner.
VOLUME /data
WORKDIR /data
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["imgsvc"]
CMD ["api"]
