# A Ruby service: Node and einhorn are copied into the Ruby image.
#   docker build -f docker/recipes/ruby.Dockerfile examples/ruby
# On Alpine: BASE_IMAGE=ruby:3-alpine, the musl images for the other two, and the line marked musl.
ARG NODE_IMAGE=node:24-bookworm-slim
ARG EINHORN_FILES=einhorn:1.0.0-files
ARG BASE_IMAGE=ruby:3-slim-bookworm

FROM ${NODE_IMAGE} AS node
FROM ${EINHORN_FILES} AS einhorn

FROM ${BASE_IMAGE}
COPY --from=node /usr/local/bin/node /usr/local/bin/node
# musl: COPY --from=node /usr/lib/libstdc++.so.6 /usr/lib/libgcc_s.so.1 /usr/lib/
COPY --from=einhorn / /
WORKDIR /app
COPY . .
USER 1000:1000
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["einhornsh", "ready"]
ENTRYPOINT ["einhorn", "-n", "auto", "-m", "manual", "-b", "0.0.0.0:8080", "--"]
CMD ["ruby", "server.rb"]
