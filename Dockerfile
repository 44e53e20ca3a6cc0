# Serves one finished index, mounted read-only:
#
#   docker build -t scopeview .                              small: PyTorch's CPU build
#   docker build -t scopeview:cuda --build-arg TORCH=cuda .  with a GPU: docker run --gpus all ...
#   docker run -p 127.0.0.1:8000:8000 -v "$PWD/data/demo:/data/index:ro" scopeview
#
# The entry point is the whole command line: docker run scopeview info /data/index

FROM python:3.11-slim AS build

# cpu (the default), cuda (whatever the package index has), or a PyTorch build by name, such as cu130.
ARG TORCH=cpu
ENV PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1
WORKDIR /src

# uv knows where PyTorch keeps its CPU build, so no address stands here. Dependencies come before the code, so
# that a change of code does not install them again.
COPY pyproject.toml constraints.txt ./
RUN pip install -c constraints.txt uv \
 && uv venv --python /usr/local/bin/python3 /opt/scopeview \
 && case "$TORCH" in \
      cpu)  set -- --torch-backend cpu ;; \
      cuda) set -- --extra gpu ;; \
      *)    set -- --extra gpu --torch-backend "$TORCH" ;; \
    esac \
 && uv pip install --python /opt/scopeview -c constraints.txt "$@" -r pyproject.toml

COPY . .
RUN uv build --wheel --build-constraints constraints.txt --out-dir /wheels . \
 && uv pip install --python /opt/scopeview --no-deps /wheels/*.whl


FROM python:3.11-slim

LABEL org.opencontainers.image.title="Scopeview" \
      org.opencontainers.image.licenses="Apache-2.0"

RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin scopeview \
 && install -d -o scopeview -g scopeview /uploads /models \
 && install -d /data
COPY --from=build /opt/scopeview /opt/scopeview

# /models keeps what the Hugging Face hub sent, when an index names its model by id; HOME is for caches.
ENV PATH=/opt/scopeview/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    HF_HOME=/models \
    SCOPEVIEW_UPLOAD_DIR=/uploads

USER 10001
WORKDIR /tmp
VOLUME ["/uploads", "/models"]
EXPOSE 8000
# http.client and not urllib: a proxy in the environment must not answer for us.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]

ENTRYPOINT ["scopeview"]
CMD ["serve", "/data/index", "--host", "0.0.0.0", "--port", "8000"]
