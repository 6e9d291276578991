# A Go service: built in the Go image, then one static binary beside Node and einhorn.
#   docker build -f docker/recipes/go.Dockerfile examples/go
# On Alpine: EINHORN_IMAGE=einhorn:1.0.0-musl; the binary is static and does not care.
ARG EINHORN_IMAGE=einhorn:1.0.0
ARG GO_IMAGE=golang:1-bookworm

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /server .

FROM ${EINHORN_IMAGE}
COPY --from=build /server /app/server
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["einhornsh", "ready"]
CMD ["-n", "auto", "-m", "manual", "-b", "0.0.0.0:8080", "--", "/app/server"]
