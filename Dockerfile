# The image. By default nothing is compiled. These arguments make the build compile nginx, for active health checks, and
# leave out Debian's Lua module, which such an nginx cannot load:
#   --build-arg NGINX_SOURCE=FOLDER          nginx's unpacked source, a folder of the build context
#   --build-arg UPSTREAM_CHECK_SOURCE=FOLDER the same for nginx_upstream_check_module
#   --build-arg UPSTREAM_CHECK_PATCH=FILE    the module's patch for this nginx, a file in the module's folder
ARG BASE=debian:trixie-slim
ARG NGINX_SOURCE=

FROM ${BASE} AS program
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends ca-certificates python3 python3-venv >/dev/null
WORKDIR /src
# The lock names each package by its hash, and no package is built here: a build would fetch what no lock names.
COPY .ci/requirements.txt .ci/
RUN python3 -m venv /opt/dispatcher \
    && /opt/dispatcher/bin/pip install --quiet --no-cache-dir --no-compile --no-deps --require-hashes --only-binary :all: \
        --requirement .ci/requirements.txt
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY reconciler reconciler
COPY templates templates
# The root file system is read-only at run time, so bytecode is made now. It is valid whatever times a copy gives the
# sources.
RUN /opt/dispatcher/bin/pip install --quiet --no-compile --no-deps --no-index --no-build-isolation . \
    && /opt/dispatcher/bin/pip check \
    && /opt/dispatcher/bin/pip uninstall --quiet --yes pip setuptools \
    && rm -f /opt/dispatcher/bin/[Aa]ctivate* \
    && find /opt/dispatcher -name __pycache__ -prune -exec rm -r {} + \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/dispatcher

# Debian's nginx, and its Lua module with the library that this needs. They load only into the nginx of their own build.
FROM ${BASE} AS nginx
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends \
        libcap2-bin libnginx-mod-http-lua lua-resty-core nginx-light python3 >/dev/null

FROM ${BASE} AS compiled
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends \
        gcc libc6-dev libpcre2-dev libssl-dev make patch zlib1g-dev >/dev/null
ARG NGINX_SOURCE
ARG UPSTREAM_CHECK_SOURCE=nginx_upstream_check_module
ARG UPSTREAM_CHECK_PATCH=
COPY ${NGINX_SOURCE} /src/nginx/
COPY ${UPSTREAM_CHECK_SOURCE} /src/nginx_upstream_check_module/
WORKDIR /src/nginx
RUN patch -p1 <"../nginx_upstream_check_module/${UPSTREAM_CHECK_PATCH:?names no file}" \
    && ./configure --prefix=/etc/nginx --sbin-path=/usr/sbin/nginx --error-log-path=stderr --with-threads --with-pcre-jit \
        --with-http_ssl_module --with-http_v2_module --with-http_auth_request_module \
        --add-module=../nginx_upstream_check_module >/dev/null \
    && make -s -j "$(nproc)" \
    && install -s objs/nginx /usr/sbin/nginx

FROM ${BASE} AS nginx-from-source
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends \
        libcap2-bin libpcre2-8-0 python3 zlib1g >/dev/null
COPY --from=compiled /usr/sbin/nginx /usr/sbin/nginx

FROM nginx${NGINX_SOURCE:+-from-source} AS root
# Two files of one nginx, with and without a capability. Linux refuses to run a file whose capability is outside of the
# container's bounding set. So if all capabilities are dropped, the file without one runs, and binds ports below 1024 by
# net.ipv4.ip_unprivileged_port_start. Under no_new_privs the capability does nothing: capabilities(7), execve(2).
RUN install -D /usr/sbin/nginx /usr/local/libexec/nginx \
    && setcap cap_net_bind_service=ep /usr/local/libexec/nginx \
    && printf '%s\n' '#!/bin/sh' \
        'capable=/usr/local/libexec/nginx' \
        '"$capable" -v 2>/dev/null || exec /usr/sbin/nginx "$@"' \
        'exec "$capable" "$@"' >/usr/local/sbin/nginx \
    && chmod 755 /usr/local/sbin/nginx
# dpkg's list of packages stays for scanners, and so does each package's licence. Programs that install packages go.
RUN dpkg --purge --force-all apt libapt-pkg7.0 libcap2-bin perl-base sqv tzdata >/dev/null 2>&1; \
    find /usr/share/doc -type f ! -name copyright -delete; \
    rm -rf /etc/apt /etc/nginx /usr/lib/apt /usr/share/info /usr/share/locale /usr/share/man /var/cache/* /var/lib/apt \
        /var/log/* /var/www /tmp/* /usr/lib/*/gconv /usr/lib/python3*/ensurepip /usr/lib/python3*/pydoc_data /usr/lib/python3*/test \
    && install -d -o 10001 -g 10001 /etc/nginx
COPY --from=program /opt/dispatcher /opt/dispatcher
# Lists what the image is made of, and under which licences: sbom.cdx.json and licences.txt.
COPY .ci/sbom.py /tmp/
RUN python3 -B /tmp/sbom.py /usr/share/doc/dispatcher /opt/dispatcher/lib/python3*/site-packages && rm /tmp/sbom.py

# The image has one layer, without what was removed above.
FROM scratch
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="dispatcher" \
    org.opencontainers.image.description="A name- and path-based router for Kubernetes that sends traffic straight to Pods" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=root / /
ENV PATH=/opt/dispatcher/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1
# The user is a number, so that Kubernetes can see that it is not root. No system gives this number to anybody.
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["dispatcher"]
