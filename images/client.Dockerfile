# A client to try a cluster with: psql, psycopg, SQLAlchemy and `borealis ledger`, upon the engine's layers.
# Build from the root of the project: docker build -f images/client.Dockerfile --build-arg ENGINE=... .
ARG BASE=debian:trixie-slim
ARG ENGINE=borealis/engine:17-dev

FROM $BASE AS wanted
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/*
WORKDIR /src
COPY images/requirements.py pyproject.toml ./
RUN (python3 requirements.py local && echo sqlalchemy) > requirements.txt

FROM $BASE AS dependencies
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates \
 && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /src/
RUN python3 -m venv --without-pip /opt/client && python3 -m venv /opt/build \
 && /opt/build/bin/pip install --quiet --no-cache-dir --constraint /src/constraints.txt hatchling
COPY --from=wanted /src/requirements.txt /src/
RUN /opt/build/bin/pip --python /opt/client/bin/python install --quiet --no-cache-dir \
    --constraint /src/constraints.txt --requirement /src/requirements.txt

FROM dependencies AS project
WORKDIR /src
COPY . .
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/build/bin/pip --python /opt/client/bin/python install --quiet --no-cache-dir --no-deps --prefix /out /wheels/*.whl

FROM $ENGINE
COPY --from=dependencies /opt/client /opt/client
COPY --from=project /out /opt/client
ENV PATH=/opt/client/bin:/usr/local/bin:/usr/bin:/bin
CMD ["sleep", "infinity"]
