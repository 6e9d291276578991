# A service in an image that has no Node and gets none: einhorn as a single executable. Here with Python.
#   docker build -f docker/recipes/single.Dockerfile examples/python
ARG EINHORN_SINGLE=einhorn:1.0.0-single
ARG BASE_IMAGE=python:3-slim-bookworm

FROM ${EINHORN_SINGLE} AS einhorn

FROM ${BASE_IMAGE}
COPY --from=einhorn / /
WORKDIR /app
COPY . .
USER 1000:1000
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["einhornsh", "ready"]
ENTRYPOINT ["einhorn", "-n", "auto", "-m", "manual", "-b", "0.0.0.0:8080", "--"]
CMD ["python3", "server.py"]
