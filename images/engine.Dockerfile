# Storage nodes and instances: PostgreSQL's server, Python, the pinned dependencies, and the project on top.
# Build from the root of the project: docker build -f images/engine.Dockerfile .
ARG BASE=debian:trixie-slim

FROM $BASE AS python
# Left out, from the base too: what only people read, and the interpreter's own tests and help.
RUN printf 'path-exclude=%s\n' '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/locale/*' > /etc/dpkg/dpkg.cfg.d/slim \
 && apt-get update \
 && apt-get install -y --no-install-recommends python3 ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /usr/lib/python3*/test /usr/lib/python3*/pydoc_data \
    /usr/share/doc/* /usr/share/man/* /usr/share/locale/*

FROM python AS wanted
WORKDIR /src
COPY images/requirements.py pyproject.toml ./
RUN python3 requirements.py engine > requirements.txt

FROM python AS dependencies
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /src/
RUN python3 -m venv --without-pip /opt/borealis && python3 -m venv /opt/build \
 && /opt/build/bin/pip install --quiet --no-cache-dir --constraint /src/constraints.txt hatchling
COPY --from=wanted /src/requirements.txt /src/
RUN /opt/build/bin/pip --python /opt/borealis/bin/python install --quiet --no-cache-dir \
    --constraint /src/constraints.txt --requirement /src/requirements.txt \
 && find /opt/borealis -type f -name '*.[ch]' -delete -o -type f -name '*.py[xi]' -delete -o -type f -name '*.pxd' -delete

FROM dependencies AS project
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev libssl-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/build/bin/pip --python /opt/borealis/bin/python install --quiet --no-cache-dir --no-deps --prefix /out /wheels/*.whl

# The usual locales of the C library, for CREATE DATABASE ... LOCALE and COLLATE; any other by ICU.
FROM python AS locales
RUN apt-get update && apt-get install -y --no-install-recommends locales \
 && for name in da_DK de_AT de_CH de_DE en_AU en_CA en_GB en_US es_ES es_MX fi_FI fr_CA fr_FR hi_IN it_IT ja_JP ko_KR \
      nb_NO nl_NL pl_PL pt_BR pt_PT ru_RU sv_SE tr_TR uk_UA zh_CN zh_TW; \
    do localedef -i "$name" -f UTF-8 "$name.UTF-8" || exit 1; done

# What a layer deletes still weighs in the image: all of it in one layer, without that.
FROM scratch
COPY --from=python / /
ARG PG_MAJOR=17
# No cluster of Debian's own is made. Left out: what only JIT needs, for PostgreSQL runs without it when it is not there;
# sources of locales; Perl beyond its base, which only Debian's wrappers of the client programs want: the programs
# themselves come first in the path.
RUN mkdir -p /etc/postgresql-common \
 && echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf \
 && printf 'path-exclude=%s\n' '/usr/lib/*/libLLVM*' '/usr/lib/*/libz3*' '/usr/lib/llvm-*' \
      '/usr/lib/postgresql/*/lib/bitcode/*' '/usr/lib/postgresql/*/lib/llvmjit*' '/usr/share/i18n/*' \
      >> /etc/dpkg/dpkg.cfg.d/slim \
 && apt-get update \
 && apt-get install -y --no-install-recommends "postgresql-$PG_MAJOR" \
 && ln -s /usr/lib/postgresql/$PG_MAJOR/bin/* /usr/local/bin/ \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /usr/share/perl /usr/lib/*/perl
COPY --from=locales /usr/lib/locale/locale-archive /usr/lib/locale/locale-archive
COPY images/trust-extensions /usr/local/bin/
RUN trust-extensions /usr/share/postgresql/$PG_MAJOR
RUN groupadd --gid 10001 borealis && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin borealis
ENV PATH=/opt/borealis/bin:/usr/local/bin:/usr/bin:/bin PG_BIN=/usr/lib/postgresql/$PG_MAJOR/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=dependencies /opt/borealis /opt/borealis
COPY --from=project /out /opt/borealis
USER 10001:10001
CMD ["borealis-agent"]
