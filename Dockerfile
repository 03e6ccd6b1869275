# The engine as an image: one program, `atp`, for the service, the consumers and the commands. Its servers are not inside.

FROM python:3.11-slim AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements.lock requirements-image.lock ./
RUN pip install --constraint requirements.lock hatchling \
    && python -m venv /opt/atp && /opt/atp/bin/pip install --no-deps --requirement requirements-image.lock
COPY pyproject.toml README.md ./
COPY atp/ atp/
COPY atp_client/ atp_client/
COPY cli/ cli/
COPY consumers/ consumers/
COPY inventory/ inventory/
COPY service/ service/
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/atp/bin/pip install --no-deps /wheels/*.whl \
    && /opt/atp/bin/python -m compileall -q /opt/atp/lib

FROM python:3.11-slim
LABEL org.opencontainers.image.title="atp" org.opencontainers.image.description="What can be promised, from where, by when; held atomically."
# Numbers, so that an orchestrator can see that it is not root. The folder is for what a set-up writes: keys, a token.
RUN groupadd --gid 10001 atp && useradd --uid 10001 --gid atp --no-create-home --shell /usr/sbin/nologin atp \
    && install -d -o atp -g atp /var/lib/atp
COPY --from=build /opt/atp /opt/atp
ENV PATH=/opt/atp/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    ATP_LOG_FORMAT=json ATP_METRICS_LISTEN=0.0.0.0:9464
USER 10001:10001
WORKDIR /var/lib/atp
# 8443: gRPC, where ATP_SERVICE_LISTEN says so. 9464: /metrics, /ready, /live.
EXPOSE 8443 9464
# Asked to stop, a process finishes what it has in hand: give it longer than that takes (docs/operations.md).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9464/ready', timeout=2)"]
ENTRYPOINT ["atp"]
CMD ["--help"]
