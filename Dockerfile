ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends ca-certificates python3 python3-venv >/dev/null
WORKDIR /src
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY reconciler reconciler
COPY templates templates
RUN python3 -m venv /opt/dispatcher \
    && /opt/dispatcher/bin/pip install --quiet --no-cache-dir . \
    && /opt/dispatcher/bin/pip uninstall --quiet --yes pip

FROM ${BASE}
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends nginx-light python3 >/dev/null \
    && rm -rf /var/lib/apt/lists/* /etc/nginx /var/www \
    && install -d -o www-data -g www-data /etc/nginx
COPY --from=build /opt/dispatcher /opt/dispatcher
ENV PATH=/opt/dispatcher/bin:/usr/sbin:/usr/bin:/bin
USER www-data
ENTRYPOINT ["dispatcher"]
CMD ["--help"]
