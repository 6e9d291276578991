# A Node service: the product image has everything but the code.
#   docker build -f docker/recipes/node.Dockerfile examples/node-http
ARG EINHORN_IMAGE=einhorn:1.0.0
FROM ${EINHORN_IMAGE}
WORKDIR /app
COPY . .
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["einhornsh", "ready"]
CMD ["-n", "auto", "-m", "manual", "-b", "0.0.0.0:8080", "--", "node", "server.mjs"]
