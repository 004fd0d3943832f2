# One image for web, worker and single use: docker run --rm -p 127.0.0.1:8300:8300 -v weightloom:/data weightloom
# A package mirror, or PyTorch's index of smaller builds without CUDA: --build-arg PIP_INDEX_URL / PIP_EXTRA_INDEX_URL

FROM python:3.11-slim AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/weightloom
ENV PATH=/opt/weightloom/bin:$PATH
WORKDIR /opt/weightloom/src
COPY constraints.txt ./
RUN pip install --constraint constraints.txt torch==2.13.0
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY worker worker
COPY templates templates
COPY static static
RUN pip install --constraint constraints.txt --editable ".[postgres]" && python -m compileall -q app worker

FROM python:3.11-slim
RUN groupadd --gid 10001 weightloom \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /cache --shell /usr/sbin/nologin weightloom \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data /cache
COPY --from=build /opt/weightloom /opt/weightloom
ENV PATH=/opt/weightloom/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/cache/huggingface \
    NUMBA_CACHE_DIR=/cache/numba \
    WEIGHTLOOM_DATA=/data \
    WEIGHTLOOM_HOST=0.0.0.0
WORKDIR /data
USER 10001:10001
VOLUME ["/data", "/cache"]
EXPOSE 8300
HEALTHCHECK --interval=15s --timeout=6s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8300/healthz', timeout=4)"]
CMD ["weightloom", "up"]
